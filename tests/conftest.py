"""Settings of pytest for all tests."""

import gc


def pytest_collection_finish():
  """Lets the garbage collector run less often.

  Tracing makes millions of objects, almost all of which stay: with Python's
  settings, looking through them takes up to a third of the time of the tests.
  """
  gc.freeze()  # What has been imported stays, too.
  gc.set_threshold(10_000, 10, 10)
