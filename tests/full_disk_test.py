"""Tests of the folder of a run on a full disk."""

import os
import tempfile

from absl.testing import absltest, parameterized
import tensorflow as tf

from meta import run_folder
from networks import weights
from tests import run_files
from tests.toy_runs import SETTINGS, make_epoch, make_trainer, make_validation


class FullDiskTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = os.path.join(
        self.enter_context(tempfile.TemporaryDirectory()), "run")
    # Networks of 12 KB, whose checkpoints are of 30 KB and more.
    self.trainer = make_trainer(layers=(20,))

  def claim(self, resume=False):
    claimed = run_folder.RunFolder(self.folder, self.trainer, SETTINGS, resume)
    claimed.close()
    return claimed

  def record(self, folder, number):
    """Records all that a training gives a folder in an epoch."""
    self.trainer._num_epochs.assign(number)
    folder.epoch(make_epoch(number))
    folder.validation(make_validation(number))
    folder.save_checkpoint()

  @parameterized.parameters(
      (400, "events", True), (6000, "cw.l2l", True),
      # The networks have their place before the checkpoint does.
      (20000, "checkpoint.*--resume", False))
  def test_full_disk_leaves_the_last_files(self, size, message, kept):
    self.record(self.claim(), 1)
    before = run_files.files(self.folder)
    for variable in self.trainer.meta_step.network.variables:
      variable.assign_add(tf.ones_like(variable))
    folder = self.claim(resume=True)
    with run_files.full_disk(size), self.assertRaisesRegex(
        (OSError, tf.errors.OpError),
        f"File too large.*{message}|{message}.*File too large"):
      self.record(folder, 2)
    after = run_files.files(self.folder)
    self.assertEqual(after["cw.l2l"] == before["cw.l2l"], kept)
    for name in set(before) - {"cw.l2l"}:
      self.assertEqual(after[name], before[name], name)
    weights.read(os.path.join(self.folder, "cw.l2l"))
    # There is room again.
    self.claim(resume=True)
    self.assertEqual(self.trainer.num_epochs, 1)

  def test_full_disk_at_the_start_leaves_an_empty_folder(self):
    with run_files.full_disk(50), self.assertRaisesRegex(
        OSError, "File too large.*run.json"):
      self.claim()
    self.assertEmpty(run_files.files(self.folder))


if __name__ == "__main__":
  absltest.main()
