"""Settings of pytest for all tests."""

import gc
import os

# Of a shell, they would make the tests wait for other processes.
for _name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS"):
  os.environ.pop(_name, None)


def pytest_collection_finish():
  """Lets the garbage collector run less often.

  Tracing makes millions of objects, almost all of which stay: with Python's
  settings, looking through them takes up to a third of the time of the tests.
  """
  gc.freeze()  # What has been imported stays, too.
  gc.set_threshold(10_000, 10, 10)
