"""The cores of the machine."""

import os


def count() -> int:
  """Returns how many cores this process may use."""
  if hasattr(os, "sched_getaffinity"):  # On Linux.
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
