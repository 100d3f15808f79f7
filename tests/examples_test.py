"""Tests of the examples: they run, and end with what they claim."""

import contextlib
import io
import pathlib
import re
import runpy
import tempfile

from absl.testing import absltest

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


def run(name):
  """Runs an example in a folder of its own; returns what it printed."""
  with (tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()) as stdout):
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
  return stdout.getvalue()


class ExamplesTest(absltest.TestCase):

  def test_rosenbrock_comes_near_the_minimum(self):
    line = re.fullmatch(
        r"From 4 down to (\S+), at \[\S+, \S+\]\n", run("rosenbrock.py"))
    self.assertLess(float(line[1]), 0.1)

  def test_keras_classifier_is_ahead_of_adam_at_its_default_rate(self):
    losses = [float(line.split(": ")[1])
              for line in run("keras_classifier.py").splitlines()]
    learned, default, *_ = losses
    self.assertLen(losses, 4)
    self.assertLess(learned, 1.)
    self.assertGreater(default, 1.)


if __name__ == "__main__":
  absltest.main()
