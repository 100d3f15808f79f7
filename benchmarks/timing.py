"""Times of functions that are called in turn."""

from collections.abc import Callable, Sequence
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class Timing(NamedTuple):
  """Medians over the calls of a function."""
  seconds: float  # Wall-clock time.
  busy: float  # Processor time over wall-clock time: how many cores were busy.


def of_call(function: Callable[[], Any]) -> Timing:
  """Times one call."""
  wall, processor = time.perf_counter(), time.process_time()
  function()
  tf.test.experimental.sync_devices()
  seconds = time.perf_counter() - wall
  return Timing(seconds, (time.process_time() - processor) / seconds)


def in_turn(functions: Sequence[Callable[[], Any]],
            repeats: int) -> list[Timing]:
  """Calls functions in turn, so that what disturbs them disturbs all alike.

  Args:
    functions: Functions that have been compiled.
    repeats: Number of calls of each.
  """
  times = [[of_call(f) for f in functions] for _ in range(repeats)]
  return [Timing(*medians) for medians in np.median(times, axis=0).tolist()]
