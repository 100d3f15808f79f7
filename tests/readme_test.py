"""Tests that the code in the README does what it says."""

import os
import pathlib
import re
import tempfile

from absl.testing import absltest
import numpy as np

from networks import weights

README = pathlib.Path(__file__).parents[1] / "README.md"


class ReadmeTest(absltest.TestCase):

  def test_code_trains_and_saves_an_optimizer(self):
    code, = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    folder = self.enter_context(tempfile.TemporaryDirectory())
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(folder)
    names = {}
    exec(code, names)
    self.assertTrue(np.isfinite(names["losses"]).all())
    weights.read("coordinatewise.l2l")


if __name__ == "__main__":
  absltest.main()
