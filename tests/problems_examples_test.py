"""Tests that the examples in the docstrings of problems run."""

import contextlib
import inspect
import os
import re
import tempfile
import textwrap

from absl.testing import absltest, parameterized
import keras
import numpy as np
import sonnet as snt
import tensorflow as tf

import meta
import problems
from tests import fake_data

MODULES = {"keras": keras, "meta": meta, "np": np, "problems": problems,
           "snt": snt, "tf": tf}
CLASSES = [
    name for name, member in inspect.getmembers(problems, inspect.isclass)
    if issubclass(member, problems.Problem)]


class ExamplesTest(parameterized.TestCase):

  @parameterized.named_parameters(*zip(CLASSES, CLASSES))
  def test_example_runs(self, name):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    self.enter_context(contextlib.chdir(folder))
    os.mkdir("data")
    fake_data.write_mnist("data")
    fake_data.write_cifar10("data", per_batch=40)
    fake_data.write_neural_art("data", "train", image_size=64)
    os.rename("data/style", "photographs")
    os.rename(f"photographs/{fake_data.STYLES[0]}", "starry_night.png")
    docstring = inspect.getdoc(getattr(problems, name))
    example, = re.findall(r"^Example:\n\n((?:  .*\n|\n)+)", f"{docstring}\n",
                          re.MULTILINE)
    names = dict(MODULES)
    exec(textwrap.dedent(example), names)
    for problem in (n() for n in names.values() if inspect.isclass(n)):
      params, constants = problem.sample(tf.constant([1, 2]))
      loss = problem.loss(params, constants, tf.constant([3, 4]))
      self.assertEqual(loss.shape, [])


if __name__ == "__main__":
  absltest.main()
