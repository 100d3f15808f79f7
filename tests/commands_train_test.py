"""Tests of `train.py`, run in the process of the tests."""

import contextlib
import json
import os
import pathlib
import re
import signal
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from l2lgd.commands import console
import problems
from tests import programs, run_files
from tests.programs import DEVICE, STATS, TRAINING

TRAINED = pathlib.Path(__file__).parents[1] / "trained"
FAST = ("--num_steps=2", "--unroll_length=2", "--evaluation_epochs=1",
        "--jit_compile=false")


class Huge(problems.Problem):
  """Two functions whose values are finite, but whose sum is not."""

  def sample(self, seed):
    return {"x": tf.ones([2])}, ()

  def loss(self, params, constants, seed):
    return 3e38 + 0. * params["x"]


class TrainTest(programs.EagerTestCase):

  def setUp(self):
    super().setUp()
    self.parent = self.enter_context(tempfile.TemporaryDirectory())
    self.folder = os.path.join(self.parent, "runs", "run")

  def test_lines_and_files(self):
    result = programs.run(
        "train", *FAST, "--num_epochs=5", "--log_period=2",
        "--evaluation_period=3", "--evaluation_epochs=2",
        f"--save_path={self.folder}")
    self.assert_done(result)
    self.assertRegex(
        result.stdout,
        rf"\A{TRAINING}EVALUATION\n{STATS}Epoch 2\n{STATS}EVALUATION\n{STATS}"
        rf"Epoch 4\n{STATS}Epoch 5\n{STATS}EVALUATION\n{STATS}"
        rf"Saved {re.escape(self.folder)} after epoch 5\.\n\Z")
    self.assertContainsSubset(
        ["run.json", "cw.l2l", "checkpoints/checkpoint",
         "checkpoints/ckpt-5.index"], run_files.files(self.folder))
    # The printed errors are those of TensorBoard.
    logged = run_files.scalars(self.folder)
    losses = logged["training/final_loss"]
    validations = logged["validation/final_loss"]
    expected = [(validations[0], 2), ((losses[1] + losses[2]) / 2, 2),
                (validations[3], 2), ((losses[3] + losses[4]) / 2, 2),
                (losses[5], 1), (validations[5], 2)]
    self.assertEqual(
        re.findall(STATS, result.stdout),
        [(f"{np.log10(mean):.2f}", f"{mean:.4g}", str(count))
         for mean, count in expected])

  def test_nothing_is_saved_without_save_path(self):
    self.enter_context(contextlib.chdir(self.parent))
    result = programs.run("train", *FAST, "--num_epochs=1")
    self.assert_done(result)
    self.assertRegex(
        result.stdout,
        rf"\A{TRAINING}Nothing is saved: give a --save_path to keep the network"
        rf"\.\nEVALUATION\n{STATS}Epoch 1\n{STATS}EVALUATION\n{STATS}\Z")
    self.assertEmpty(run_files.files(self.parent))

  @parameterized.parameters(signal.SIGINT, signal.SIGTERM)
  def test_interrupted_run_is_saved_and_resumed(self, signum):
    argv = (*FAST, "--num_epochs=3", f"--save_path={self.folder}", "--resume")

    class Interrupted(console.Console):

      def epoch(self, epoch):
        super().epoch(epoch)
        if epoch.number == 2:
          signal.raise_signal(signum)

    with mock.patch.object(console, "Console", Interrupted):
      result = programs.run("train", *argv)
    self.assertEqual((result.code, result.stderr), (128 + signum, ""))
    self.assertRegex(
        result.stdout, rf"\A{TRAINING}EVALUATION\n{STATS}"
        rf"Saved {self.folder} after epoch 2\. {programs.RESUME}\n\Z")
    result = programs.run("train", *argv)
    self.assert_done(result)
    self.assertRegex(
        result.stdout, rf"\A{TRAINING}Resuming {self.folder} after epoch 2\.\n"
        rf"Epoch 3\n{STATS}EVALUATION\n{STATS}"
        rf"Saved {self.folder} after epoch 3\.\n\Z")
    result = programs.run("train", *argv)  # There is nothing left to do.
    self.assert_done(result)
    self.assertRegex(
        result.stdout, rf"\A{TRAINING}Resuming {self.folder} after epoch 3\.\n"
        rf"Saved {self.folder} after epoch 3\.\n\Z")

  def test_several_problems_are_validated_by_name(self):
    result = programs.run(
        "train", *FAST, "--problem=simple,quadratic", "--num_epochs=1",
        f"--save_path={self.folder}", "--recipe=robust", "--random_scaling=1")
    self.assert_done(result)
    self.assertRegex(
        result.stdout,
        rf"\A{DEVICE}Training cw \([^)]*\) on simple \(1 parameter\), "
        r"quadratic \(1280 parameters\), learning rate 0\.01, seed 0\n"
        r"EVALUATION, simple: [^\n]+\nEVALUATION, quadratic: [^\n]+\n"
        r"Epoch 1\nMean epoch time: [^\n]+\n\w+: [^\n]+\n"
        r"EVALUATION, simple: [^\n]+\nEVALUATION, quadratic: [^\n]+\n"
        r"Saved [^\n]* after epoch 1\.\n\Z")
    settings = json.loads(pathlib.Path(self.folder, "run.json").read_text())
    self.assertEqual(
        [settings[name] for name in (
            "problem", "recipe", "random_scaling", "decay_epochs")],
        ["simple,quadratic", "robust", 1., 1])

  def test_means_of_the_largest_losses_are_without_warning(self):
    result = programs.run(
        "train", *FAST, "--problem=tests.commands_train_test:Huge",
        "--num_epochs=1", f"--save_path={self.folder}")
    self.assert_done(result)
    self.assertRegex(
        result.stdout, r"\nEpoch 1\n(.*\n){2}Final error: mean 3e\+38, .*"
        r" 0 of 1 diverged\n(.*\n)?EVALUATION\n(.*\n){2}"
        r"Final error: mean 3e\+38, .* 0 of 2 diverged\n")

  def test_diverging_training_goes_on(self):
    result = programs.run(
        "train", *FAST, "--problem=tests.toys:Moody", "--num_epochs=8",
        f"--save_path={self.folder}")
    self.assert_done(result)
    diverged = re.search(r"(\d) of 8 diverged", result.stdout)[1]
    self.assertIn(diverged, "1234567")
    self.assertIn(f"{diverged} of 8 meta-gradients were not finite, and were "
                  "dropped.\n", result.stdout)

  def test_full_disk_ends_with_one_line_and_can_be_resumed(self):
    argv = (*FAST, "--problem=quadratic", f"--save_path={self.folder}",
            "--num_epochs=1", "--resume")
    with run_files.full_disk(40000):
      self.assert_error(
          programs.run("train", *argv),
          "Cannot write a checkpoint .*--resume.*File too large")
    result = programs.run("train", *argv)
    self.assert_done(result)
    self.assertIn(f"Saved {self.folder} after epoch 1.", result.stdout)

  def test_run_without_a_checkpoint_starts_anew(self):
    argv = (*FAST, "--problem=quadratic", "--num_epochs=2",
            "--evaluation_period=1", "--resume")
    with mock.patch.object(
        tf.train.CheckpointManager, "save", side_effect=OSError("full")):
      self.assert_error(programs.run(
          "train", *argv, f"--save_path={self.folder}"), "full")
    other = os.path.join(self.parent, "other")
    for folder in (self.folder, other):
      self.assert_done(programs.run("train", *argv, f"--save_path={folder}"))
    first, second = (pathlib.Path(folder, "cw.l2l").read_bytes()
                     for folder in (self.folder, other))
    self.assertEqual(first, second)

  def test_problem_of_a_user_in_the_current_folder(self):
    pathlib.Path(self.parent, "own_split.py").write_text(
        "import problems\n\n"
        "def make_problem(split):\n"
        "  print(f'Split {split}')\n"
        "  return problems.Simple()\n")
    self.enter_context(contextlib.chdir(self.parent))
    own = ("--problem=own_split:make_problem", "--num_steps=2",
           "--num_epochs=1", "--jit_compile=false")
    result = programs.run("train", *own, "--unroll_length=2",
                          "--evaluation_epochs=1", "--save_path=run")
    self.assert_done(result)
    # 29 * 80 + 80 in the first layer, 40 * 80 + 80 in the second, 2 * 20 + 2.
    self.assertRegex(
        result.stdout, rf"\A{DEVICE}Split train\nAll runs of "
        r"own_split:make_problem are the same: it does not use its seeds\.\n"
        r"Training cw \(CoordinateWiseDeepLSTM, 5722 weights\) on own_split:"
        r"make_problem \(1 parameter\), learning rate 0\.003, seed 0\n"
        r"EVALUATION\n")
    settings = json.loads(pathlib.Path("run/run.json").read_text())
    self.assertEqual((settings["problem"], settings["learning_rate"]),
                     ("own_split:make_problem", 0.003))
    result = programs.run("evaluate", *own, "--seed=0", "--path=run",
                          "--optimizer=L2L,Sgd", "--tune", "--tuning_epochs=1")
    self.assert_done(result)
    self.assertRegex(
        result.stdout, rf"\A{DEVICE}Split test\n(?![\s\S]*Split)(.*\n)+"
        r"Evaluating on own_split:make_problem \(split test\): 1 runs of 2 ")


if __name__ == "__main__":
  absltest.main()
