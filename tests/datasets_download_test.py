"""Tests of downloading a data set."""

import hashlib
import os
import pathlib
import shutil
import tempfile
import threading
from unittest import mock

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from l2lgd import files
from problems.datasets import mnist
from tests import fake_data


class DownloadTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory()))
    self.origin = self.root / "origin.npz"
    np.savez(self.origin, **fake_data.mnist_arrays())
    digest = hashlib.sha256(self.origin.read_bytes()).hexdigest()
    self.enter_context(
        mock.patch.object(mnist, "URL", self.origin.as_uri()))
    self.enter_context(mock.patch.object(mnist, "SHA256", digest))
    self.dir = self.root / "a" / "b"  # Not there yet.

  def test_download_makes_the_file(self):
    images, _ = mnist.read(str(self.dir), "test", download=True)
    np.testing.assert_array_equal(images, fake_data.mnist_arrays()["x_test"])
    self.assertEqual(os.listdir(self.dir), ["mnist.npz"])
    self.assertEqual((self.dir / "mnist.npz").read_bytes(),
                     self.origin.read_bytes())

  def test_file_is_downloaded_beside_its_place(self):
    # From another file system, it could not be moved there in one step.
    def copy(name: str, *args: object, cache_dir: str, **kwargs: object) -> str:
      return shutil.copy(self.origin, pathlib.Path(cache_dir) / name)

    with mock.patch.object(tf.keras.utils, "get_file", copy):
      mnist.read(str(self.dir), "test", download=True)
    self.assertEqual(os.listdir(self.dir), ["mnist.npz"])

  def test_second_call_does_not_download(self):
    mnist.read(str(self.dir), "test", download=True)
    self.origin.unlink()
    mnist.read(str(self.dir), "train", download=True)
    mnist.read(str(self.dir), "train")

  def test_download_of_another_process_is_awaited_and_taken(self):
    self.dir.mkdir(parents=True)
    reader = threading.Thread(
        target=mnist.read, args=(str(self.dir), "test", True))
    with mock.patch.object(tf.keras.utils, "get_file") as get_file:
      with files.in_turn(self.dir):  # As the other process does.
        reader.start()
        reader.join(0.1)
        self.assertTrue(reader.is_alive())
        shutil.copy(self.origin, self.dir / "mnist.npz")
      reader.join()
    get_file.assert_not_called()

  def test_rest_of_a_download_that_was_killed_is_removed(self):
    rest = self.dir / ".download-mnist.npz"
    rest.mkdir(parents=True)
    (rest / "origin.npz").write_bytes(b"half")
    self.test_download_makes_the_file()

  def test_default_directory_is_that_of_keras(self):
    with mock.patch.dict(os.environ, KERAS_HOME=str(self.root / "keras")):
      mnist.read(None, "train", download=True)
    self.assertTrue((self.root / "keras" / "datasets" / "mnist.npz").exists())

  def test_wrong_checksum_leaves_no_file(self):
    self.origin.write_bytes(self.origin.read_bytes() + b"more")
    with self.assertRaisesRegex(
        OSError, f"{self.origin}.* could not be downloaded .*hash.*by hand"):
      mnist.read(str(self.dir), "train", download=True)
    self.assertEmpty(os.listdir(self.dir))

  def test_unreachable_origin_is_reported(self):
    self.origin.unlink()
    with self.assertRaisesRegex(
        OSError, "could not be downloaded .*No such file.*by hand"):
      mnist.read(str(self.dir), "train", download=True)
    self.assertEmpty(os.listdir(self.dir))

  def test_directory_that_cannot_be_made_is_reported(self):
    self.dir = self.origin / "below_a_file"
    with self.assertRaisesRegex(OSError, "could not be downloaded"):
      mnist.read(str(self.dir), "train", download=True)


if __name__ == "__main__":
  absltest.main()
