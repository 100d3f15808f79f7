"""What the tests of weight files share."""

import os
import pathlib
import re
import tempfile

from absl.testing import parameterized
import numpy as np

from networks import weights

DATA = pathlib.Path(__file__).parent / "data"

NOT_WEIGHTS = {
    "list": [1.0],
    "array": np.ones(2),
    "flat": {"w": np.ones(2)},
    "deep": {"linear": {"w": {"w": np.ones(2)}}},
    "number": {"linear": {"w": 1.0}},
    "none": {"linear": {"w": None}},
    "integers": {"linear": {"w": np.ones(2, np.int32)}},
    "complex": {"linear": {"w": np.ones(2, np.complex64)}},
    "objects": {"linear": {"w": np.array([None])}},
    "strings": {"linear": {"w": np.array(["a"])}},
    "integer_module": {1: {"w": np.ones(2)}},
    "integer_variable": {"linear": {1: np.ones(2)}},
    "slash": {"linear": {"w/x": np.ones(2)}},
    "no_variable": {"linear": {"": np.ones(2)}},
    "no_module": {"": {"w": np.ones(2)}},
}


class FileTestCase(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enterContext(tempfile.TemporaryDirectory())
    self.file = os.path.join(self.folder, "net.l2l")
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(self.folder)

  def put(self, data):
    with open(self.file, "wb") as file:
      file.write(data)

  def get(self):
    with open(self.file, "rb") as file:
      return file.read()

  def assert_same_weights(self, actual, expected):
    self.assertCountEqual(actual, expected)
    for module, variables in expected.items():
      self.assertCountEqual(actual[module], variables)
      for name, array in variables.items():
        np.testing.assert_array_equal(actual[module][name], array, strict=True)

  def assert_refused(self, message=""):
    with self.assertRaisesRegex(
        ValueError, f"(?s)Cannot read .*{re.escape(self.file)}.*{message}.*"
        "train the network again"):
      weights.read(self.file)
