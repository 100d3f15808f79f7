"""Settings of the process, made when this module is imported.

They must be made before TensorFlow is imported, which this module then does.
"""

from collections.abc import Iterator
import contextlib
import ctypes
import os
import platform

# From malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8

# Silences TensorFlow's start-up log, and enables oneDNN, which more than halves
# the time of convolutions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Plots are files. A notebook names its own backend, which may not be installed
# for the programs that are started in it.
os.environ["MPLBACKEND"] = "agg"

# XLA runs independent operations on several cores. If it also divides each
# matrix product, which is small here, the cores wait for one another: training
# with a sample of the coordinates is then no faster on two than on one.
_xla_flags = os.environ.get("XLA_FLAGS", "")
if "xla_cpu_multi_thread_eigen" not in _xla_flags:
  os.environ["XLA_FLAGS"] = (
      f"{_xla_flags} --xla_cpu_multi_thread_eigen=false".strip())

if platform.libc_ver()[0] == "glibc":
  # Before there are threads: keep freed memory in one heap. Otherwise the pages
  # of large tensors are mapped anew at every step, which takes longer than
  # computing their contents.
  _malloc = ctypes.CDLL(None)
  _malloc.mallopt(_M_MMAP_MAX, 0)
  _malloc.mallopt(_M_TRIM_THRESHOLD, -1)
  _malloc.mallopt(_M_ARENA_MAX, 1)


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
  """Drops what libraries write to stderr; exceptions are still raised."""
  stderr = os.dup(2)
  with open(os.devnull, "wb") as null:
    os.dup2(null.fileno(), 2)
  try:
    yield
  finally:
    os.dup2(stderr, 2)
    os.close(stderr)


with _silent_stderr():  # TensorFlow logs before it reads its log level.
  import tensorflow as tf

# pfor logs every operation that it must run in a sequential loop, and
# tf.function the tracing of an unroll for each of many problems.
tf.get_logger().addFilter(
    lambda record: record.module not in ("pfor", "polymorphic_function"))
