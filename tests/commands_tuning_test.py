"""Tests of how `evaluate.py` tunes learning rates."""

import importlib
import os
import pathlib
import re
import sys
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np

from meta import seeds, shared_evaluator, tuning
from networks import baselines
from problems.datasets import mnist
from tests import fake_data, programs

SGD = (*programs.EVALUATE, "--optimizer=Sgd", "--problem=quadratic")


class TuningTest(programs.EagerTestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())
    self.output = os.path.join(self.folder, "losses.csv")
    self.kept = pathlib.Path(self.folder, "tuning.json")

  def evaluate(self, *argv):
    result = programs.run(
        "evaluate", *programs.EVALUATE, "--num_steps=1", *argv)
    self.assert_done(result)
    return result.stdout

  def test_tuned_rate_is_used_and_kept(self):
    argv = ("--optimizer=Sgd", "--tune", f"--output={self.output}")
    printed = self.evaluate(*argv)
    # From x = 1, a step leads to 1 - 2 rate: of the grid, 10^(-4 / 12) is best.
    self.assertRegex(printed, r"\nSgd, rate +Mean loss *\n")
    self.assertRegex(printed, r"\n0\.464 +0\.005184 +best\n")
    self.assertRegex(printed, r"\nSgd +0\.464 +0\.005184 ")
    # The next evaluation goes by what is kept, until a setting is another.
    self.kept.write_text(self.kept.read_text().replace("0.464", "0.25"))
    origin = f"The search for Sgd is from {self.kept}.\n"
    for flags, rate, is_kept in (((), "0.25", True),
                                 (("--tuning_epochs=2",), "0.464", False)):
      printed = self.evaluate(*argv, *flags)
      self.assertRegex(printed, rf"\nSgd +{rate} ")
      self.assertEqual(origin in printed, is_kept)
    self.assertEqual(self.kept.read_text().count('"settings"'), 2)

  def test_search_is_not_used_when_the_problem_has_changed(self):
    rates = iter((0.25, 0.5))
    self.tune_by(lambda network: (next(rates), 1.))
    self.enter_context(mock.patch.object(sys, "path", [self.folder, *sys.path]))
    self.enter_context(mock.patch.object(sys, "dont_write_bytecode", True))
    for start, rate in ((1., "0.25"), (2., "0.5"), (1., "0.25")):
      sys.modules.pop("own_search", None)
      importlib.invalidate_caches()
      pathlib.Path(self.folder, "own_search.py").write_text(
          "import problems\nimport tensorflow as tf\n"
          "class Square(problems.Simple):\n"
          "  def sample(self, seed):\n"
          f"    return {{'x': tf.constant({start})}}, ()\n")
      self.assertRegex(
          self.evaluate("--problem=own_search:Square", "--optimizer=Sgd",
                        "--tune", "--jit_compile=false",
                        f"--output={self.output}"), rf"\nSgd +{rate} ")

  def tune_by(self, best):
    """Replaces the search: gives the best rate and loss for a network."""
    made = []

    def of(shared, network):
      made.append(network)
      return original(shared, network)

    def tune(evaluator, seeds, progress):
      del evaluator, seeds, progress
      rate, loss = best(made[-1])
      return tuning.Tuning([rate, 2 * rate], [loss, np.inf])

    original = shared_evaluator.SharedEvaluator.of
    self.enter_context(mock.patch.object(
        shared_evaluator.SharedEvaluator, "of", of))
    self.enter_context(mock.patch.object(tuning, "tune", tune))

  def test_all_optimizers_are_tuned(self):
    names = list(baselines.BY_NAME)
    rates = {name: (i + 1) / 64 for i, name in enumerate(names)}
    self.tune_by(lambda network: (rates[type(network).__name__], 1.))
    printed = self.evaluate("--optimizer=all")
    self.assertEqual(printed.count("is untrained"), 1)
    table = printed.rpartition("Optimizer")[2]
    self.assertEqual(
        dict(re.findall(r"\n(\w+) +([\d.]+|-) [^\n]+ 0(?=\n)", table)),
        {"L2L": "-"} | {name: f"{rate:.4g}" for name, rate in rates.items()})
    searches = re.findall(r"\n(\w+)(?:, \w+ [\d.]+)*, rate ", printed)
    self.assertEqual(
        searches, [name for name in names for _ in range(
            4 if name == "RMSProp" else 1)])

  def test_best_of_the_other_options_is_used(self):
    losses = {(0.9, 1e-8): np.inf, (0.99, 1e-8): .5, (0.999, 1e-8): .7,
              (0.999, 1.): .6}

    def best(network):
      decay, epsilon = (network.options[n] for n in ("decay", "epsilon"))
      return decay / 2, losses[decay, epsilon]

    self.tune_by(best)
    printed = self.evaluate("--optimizer=RMSProp", "--tune")
    self.assertIn("RMSProp, decay 0.999, epsilon 1.0, rate", printed)
    self.assertRegex(printed, r"\n0\.45 +diverged +best\n")
    self.assertRegex(printed, r"\nRMSProp +0\.495 ")

  def test_searches_are_on_the_same_images_with_other_seeds(self):
    fake_data.write_mnist(self.folder)
    with (mock.patch.object(
        tuning, "tune", side_effect=OSError("enough")) as tune,
          mock.patch.object(mnist, "read", side_effect=mnist.read) as read):
      self.assert_error(
          programs.run(
              "evaluate", *programs.EVALUATE, "--problem=mnist", "--tune",
              "--optimizer=Sgd", f"--data_dir={self.folder}",
              "--tuning_epochs=4"), "enough")
    read.assert_called_once_with(self.folder, "test", False)
    np.testing.assert_array_equal(
        tune.call_args.args[1],
        [seeds.derive(0, "validation", i) for i in range(4)])

  def test_learning_rate_is_given_or_tuned(self):
    for flag in ("--tune", "--optimizer=all"):
      self.assert_error(
          programs.run("evaluate", *SGD, flag, "--learning_rate=0.1"),
          "--learning_rate is searched for by --tune and --optimizer=all")

  @parameterized.parameters("{", "[1]", '[{"settings": {}}]')
  def test_damaged_search_is_reported(self, text):
    self.kept.write_text(text)
    self.assert_error(
        programs.run("evaluate", *SGD, "--tune", f"--output={self.output}"),
        "tuning.json holds no searches of learning rates: move")
    self.assertEqual(self.kept.read_text(), text)


if __name__ == "__main__":
  absltest.main()
