"""The devices that this process may use."""

from collections.abc import Iterator
import os

import tensorflow as tf


def num_cores() -> int:
  """Returns the number of cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):  # On Linux.
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def has_gpu() -> bool:
  """Returns whether there is a GPU."""
  return bool(tf.config.get_visible_devices("GPU"))


def gpu_names() -> Iterator[str]:
  """Yields the names of the GPUs that this process may use."""
  for gpu in tf.config.get_visible_devices("GPU"):
    details = tf.config.experimental.get_device_details(gpu)
    yield details.get("device_name", "")
