"""Tests of paths: home directories, and characters that are patterns."""

import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from l2lgd import files
import meta
from meta import plots, results, tensorboard, tuning
import networks
from networks import weights
import problems

SETTINGS = meta.Settings(
    num_steps=2, unroll_length=2, evaluation_epochs=1, jit_compile=False)


def optimizer():
  """A small network whose variables exist."""
  made = meta.MetaOptimizer(net={
      "net": "CoordinateWiseDeepLSTM", "net_options": {"layers": ()}})
  made.networks["net"].initial_state({"x": tf.zeros([1])})
  return made


class PathsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.home = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory()))
    self.enter_context(mock.patch.dict(os.environ, HOME=str(self.home)))

  def test_tilde_is_the_home_directory_in_every_path(self):
    work = self.enter_context(tempfile.TemporaryDirectory())
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(work)
    losses = {"Sgd": np.ones([1, 2])}
    self.assertEqual(optimizer().save("~/net"), [f"{self.home}/net/net.l2l"])
    meta.LearnedOptimizer.load("~/net")
    meta.KerasLearnedOptimizer("~/net")
    meta.export("~/net", "~/exported")
    network = networks.factory(
        "CoordinateWiseDeepLSTM", net_path="~/net/net.l2l")
    network.initial_state({"x": tf.zeros([1])})
    networks.save(network, "~/one.l2l")
    weights.read("~/one.l2l")
    meta.train(problems.Simple(), optimizer(), 1, SETTINGS, save_path="~/run")
    results.write_csv("~/losses.csv", losses)
    plots.learning_curves("~/curves.png", losses, "Title")
    tensorboard.write_curves("~/log", {"tag": [1., 2.]})
    tensorboard.write_picture("~/log", "tag", "~/curves.png")
    tuning.Cache("~/tuning.json").add({}, tuning.Tuning([1.], [2.]))
    files.check_writable("~/new")
    self.assertEqual(os.listdir(work), [])
    self.assertCountEqual(os.listdir(self.home), [
        "net", "exported", "one.l2l", "run", "losses.csv", "curves.png", "log",
        "tuning.json"])

  @parameterized.parameters("v[1]", "v*", "v?", "[ab]/v")
  def test_patterns_are_refused_before_any_work(self, name):
    path = os.path.join(self.home, name)
    for function, argument in (
        (lambda: meta.train(
            problems.Simple(), optimizer(), 1, SETTINGS, save_path=path),
         "save_path"),
        (lambda: meta.export("paper-mnist", path), "output")):
      with self.assertRaisesRegex(
          ValueError, f"^{argument} is .* but must be without .* pattern"):
        function()
    self.assertEqual(os.listdir(self.home), [])

  def test_optimizer_in_a_folder_with_brackets_is_saved_and_loaded(self):
    for name in ("v[12]", "v1"):
      optimizer().save(self.home / name)
    self.assertEqual(
        list(meta.LearnedOptimizer.load(self.home / "v[12]").networks), ["net"])

  @parameterized.parameters(
      ("a[b", r"\["), ("a]*", r"\* \]"), ("a\\b", r"\\"))
  def test_characters_of_patterns_are_named(self, path, characters):
    with self.assertRaisesRegex(
        ValueError, f"^name is .*, but must be without {characters}, which"):
      files.expand_exact("name", path)


if __name__ == "__main__":
  absltest.main()
