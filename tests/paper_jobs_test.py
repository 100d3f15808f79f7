"""Tests of jobs in processes."""

import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized

from l2lgd import devices
from l2lgd.commands.paper import jobs


def work(what, report):
  """A job that ends well, badly, or not by itself."""
  print("working")
  report(.5)
  if what == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
  if what != "well":
    raise {"ValueError": ValueError, "KeyError": KeyError}[what]("a\n reason")


class JobsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())

  def job(self, what):
    return jobs.Job(what, 1., work, (what,),
                    os.path.join(self.folder, what, "log.txt"))

  def test_jobs_are_done_and_failures_have_reasons(self):
    pathlib.Path(self.folder, "unlogged").touch()  # In place of its folder.
    errors = jobs.run([*map(self.job, ("well", "killed", "unlogged"))], 3)
    self.assertCountEqual(errors, ["killed", "unlogged"])
    self.assertRegex(errors["killed"], r"exit status -9; see .*killed/log\.txt")
    self.assertRegex(errors["unlogged"], r"^its log .*txt cannot be written: ")
    with open(self.job("well").log, encoding="utf-8") as file:
      self.assertEqual(file.read(), "working\n")

  @parameterized.parameters(
      ("well", None), ("ValueError", "a reason"),
      ("KeyError", r"KeyError: 'a\n reason'"))
  def test_errors_are_one_line(self, what, expected):
    done = []
    self.assertEqual(jobs.do(self.job(what), done.append), expected)
    self.assertEqual(done, [.5])

  def test_process_ends_with_its_parent(self):
    def read():
      raise EOFError

    with (mock.patch.object(os, "_exit") as end,
          self.assertRaises(EOFError)):
      jobs._end_with(read)
    end.assert_called_once_with(1)

  def test_training_that_fails_has_its_reason(self):
    # Neither a module beside it nor a cluster of the shell is one.
    pathlib.Path(self.folder, "problems.py").write_text("1 / 0")
    self.enter_context(contextlib.chdir(self.folder))
    self.enter_context(mock.patch.dict(
        os.environ, TF_CONFIG="", SLURM_STEP_NUM_TASKS="2"))
    with self.assertRaisesRegex(
        ValueError, "l2l-train failed: .*problem is 'unknown'"):
      jobs.train([["--problem=unknown"]], 1., self.fail)

  def test_training_that_is_killed_says_so(self):
    with mock.patch.object(subprocess, "Popen") as start:
      start.return_value.stderr.read.return_value = "a warning"
      start.return_value.wait.return_value = -9
      with self.assertRaisesRegex(
          ValueError, "l2l-train failed: its exit status is -9"):
        jobs.train([["--problem=simple"]], 1., self.fail)

  def test_cores_are_counted(self):
    with mock.patch.object(
        os, "sched_getaffinity", return_value={0, 2}, create=True):
      self.assertEqual(devices.num_cores(), 2)


if __name__ == "__main__":
  absltest.main()
