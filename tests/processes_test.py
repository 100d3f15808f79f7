"""Tests of what only a process can show of a program."""

import os
import re
import signal
import subprocess
import sys
import tempfile

from absl.testing import absltest

from tests import processes, programs, run_files
from tests.programs import DEVICE, STATS, TRAINING

TRAIN = ("train.py", "--num_steps=2", "--unroll_length=2",
         "--evaluation_epochs=1", "--jit_compile=false", "--log_period=1",
         "--evaluation_period=3")

setUpModule = processes.start


class ProcessesTest(programs.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = os.path.join(
        self.enter_context(tempfile.TemporaryDirectory()), "runs", "run")

  def python(self, *argv):
    """Runs a program in a new process, without any help of the tests."""
    return subprocess.run(
        [sys.executable, *argv], cwd=processes.ROOT, capture_output=True,
        text=True, check=False)

  def test_training_from_the_start(self):
    # The modules that it imports are the only lines on stderr.
    result = self.python(
        "-X", "importtime", *TRAIN, "--num_epochs=3",
        f"--save_path={self.folder}")
    self.assertEqual(result.returncode, 0)
    self.assertRegex(
        result.stdout, rf"\A{TRAINING}EVALUATION\n{STATS}"
        + "".join(rf"Epoch {n}\n{STATS}" for n in (1, 2, 3))
        + rf"EVALUATION\n{STATS}"
        rf"Saved {re.escape(self.folder)} after epoch 3\.\n\Z")
    modules = []
    for line in result.stderr.splitlines():
      self.assertRegex(line, r"\Aimport time: ")
      modules.append(line.rpartition("|")[2].strip())
    self.assertIn("meta.trainer", modules)
    # Training draws nothing, and need not wait for it.
    self.assertEmpty([m for m in modules if m.startswith("matplotlib")])

  def test_killed_and_interrupted_training_is_resumed_as_if_it_never_was(self):
    # An epoch prints 200 bytes: it is at most 20 epochs ahead of this test.
    argv = (*TRAIN, "--num_epochs=48", "--resume")
    path = f"--save_path={self.folder}"
    process = processes.Process((*argv, path))
    process.wait_for("Epoch 2")
    process.kill(signal.SIGKILL)
    self.assertEqual(process.result().code, -signal.SIGKILL)
    process = processes.Process((*argv, path))
    process.wait_for("Epoch 24")
    process.kill(signal.SIGINT)
    result = process.result()
    self.assertEqual((result.code, result.stderr), (128 + signal.SIGINT, ""))
    epoch = re.search(
        rf"Saved .*/run after epoch (\d+)\. {programs.RESUME}\n\Z",
        result.stdout)[1]
    self.assertIn(f"checkpoints/ckpt-{epoch}.index",
                  run_files.files(self.folder))
    result = programs.run("train", *argv[1:], path)
    self.assert_done(result)
    self.assertIn(f"Resuming {self.folder} after epoch {epoch}.\n",
                  result.stdout)
    expected = f"{self.folder}-at-once"
    self.assert_done(programs.run(
        "train", *argv[1:], f"--save_path={expected}"))
    for name in ("cw.l2l", "run.json"):
      self.assertEqual(run_files.files(self.folder)[name],
                       run_files.files(expected)[name])
    actual, expected = map(run_files.scalars, (self.folder, expected))
    self.assertCountEqual(actual, expected)
    for tag in ("training/meta_loss", "training/meta_gradient_norm",
                "validation/loss_curve", "validation/final_loss"):
      self.assertEqual(actual[tag], expected[tag])

  def test_evaluation(self):
    plot = f"{self.folder}.png"
    os.makedirs(os.path.dirname(plot))
    result = processes.run(
        "evaluate.py", "--problem=paper-quadratic", "--path=paper-quadratic",
        "--num_steps=20", "--num_epochs=2", "--seed=0", f"--plot={plot}")
    self.assert_done(result)
    stats = STATS.replace(r"(\d+)", "256")
    self.assertRegex(
        result.stdout, rf"\A{DEVICE}Evaluating on paper-quadratic: 2 runs of "
        rf"20 steps, seed 0\nL2L\n{stats}Optimizer [^\n]+\n[ -]+\n"
        r"L2L +- [^\n]+ 0\n\Z")
    with open(plot, "rb") as file:
      self.assertEqual(file.read(8), programs.PNG)

  def test_interrupted_evaluation_ends_without_a_traceback(self):
    process = processes.Process((
        "evaluate.py", "--problem=quadratic", "--optimizer=Sgd", "--seed=0",
        "--num_epochs=2000", "--num_steps=500"))
    process.wait_for(
        "Evaluating on quadratic: 2000 runs of 500 steps, seed 0")
    process.kill(signal.SIGINT)
    result = process.result()
    self.assertEqual((result.code, result.stderr), (-signal.SIGINT, ""))

  def test_mistake_is_reported_in_one_line(self):
    self.assert_error(processes.run("train.py", "--num_steps=ten"),
                      "--num_steps=ten")


if __name__ == "__main__":
  absltest.main()
