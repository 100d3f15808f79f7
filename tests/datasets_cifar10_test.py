"""Tests of the reader of CIFAR-10."""

import hashlib
import os
import pathlib
import tarfile
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np

from problems.datasets import cifar10
from tests import fake_data


class Cifar10Test(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = self.enter_context(tempfile.TemporaryDirectory())
    self.dir = f"{self.root}/cifar-10-batches-bin"
    os.mkdir(self.dir)
    self.records = fake_data.write_cifar10(self.dir)

  @parameterized.parameters("", "cifar-10-batches-bin")
  def test_records_are_labels_and_planes_of_colour(self, folder):
    images, labels = cifar10.read(f"{self.root}/{folder}", "test")
    records = self.records["test_batch.bin"]
    np.testing.assert_array_equal(labels, records[:, 0])
    self.assertEqual((images.shape, images.dtype), ((4, 32, 32, 3), np.uint8))
    for n, y, x, c in ((0, 0, 0, 0), (1, 5, 9, 1), (3, 31, 30, 2)):
      self.assertEqual(
          images[n, y, x, c], records[n, 1 + 1024 * c + 32 * y + x])

  def test_splits_are_parts_of_the_batches_in_their_order(self):
    labels = np.concatenate([
        self.records[f"data_batch_{i}.bin"][:, 0] for i in range(1, 6)])
    for split, part in (("validation", labels[:2]), ("train", labels[2:])):
      np.testing.assert_array_equal(
          cifar10.read(self.root, split)[1], part)

  def test_tilde_is_the_home_directory(self):
    with mock.patch.dict(os.environ, HOME=self.root):
      self.assertLen(cifar10.read("~", "test")[0], 4)

  @parameterized.parameters(
      (lambda b: b[:-1], "has 12291 bytes, but must have 3073 for each image"),
      (lambda b: b"", "has 0 bytes"),
      (lambda b: b"\x0a" + b[1:], "has the label 10, but .* 0 to 9"))
  def test_broken_batch_is_named(self, corrupt, message):
    path = pathlib.Path(self.dir, "data_batch_3.bin")
    path.write_bytes(corrupt(path.read_bytes()))
    with self.assertRaisesRegex(ValueError, f"data_batch_3.bin {message}"):
      cifar10.read(self.root, "train")
    cifar10.read(self.root, "test")

  def test_missing_batch_is_named(self):
    os.remove(f"{self.dir}/data_batch_5.bin")
    with self.assertRaisesRegex(
        FileNotFoundError, "No .*data_batch_5.bin.*incomplete"):
      cifar10.read(self.root, "train")

  def test_too_small_a_file_has_no_validation_images(self):
    fake_data.write_cifar10(self.dir, per_batch=1)
    with self.assertRaisesRegex(ValueError, "fewer than ten training images"):
      cifar10.read(self.root, "validation")

  def test_nothing_there_says_what_to_do(self):
    with self.assertRaisesRegex(FileNotFoundError, "Put .*--download"):
      cifar10.read(f"{self.root}/nowhere", "train")
    with self.assertRaisesRegex(ValueError, "--data_dir.*--download"):
      cifar10.read(None, "train")

  @parameterized.parameters("cifar-10-batches-py", "data_batch_1")
  def test_version_for_python_is_named(self, name):
    folder = f"{self.root}/python"
    os.makedirs(f"{folder}/{name}")
    with self.assertRaisesRegex(
        FileNotFoundError,
        rf"No CIFAR-10 under {folder}\. Only its version for Python \({name}\)"
        r" is there, but the binary version \(https://.*/cifar-10-binary.tar.gz"
        r"\) is needed\. Put the folder cifar-10-batches-bin there"):
      cifar10.read(folder, "train")

  def download(self, content=b""):
    """Downloads an archive of the folder into another one."""
    archive = f"{self.root}/cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
      file.add(self.dir, "cifar-10-batches-bin")
    digest = hashlib.sha256(pathlib.Path(archive).read_bytes()).hexdigest()
    with open(archive, "ab") as file:
      file.write(content)
    with (mock.patch.object(cifar10, "URL", f"file://{archive}"),
          mock.patch.object(cifar10, "SHA256", digest)):
      return cifar10.read(f"{self.root}/new", "test", download=True)

  def test_download_makes_the_folder(self):
    _, labels = self.download()
    np.testing.assert_array_equal(
        labels, self.records["test_batch.bin"][:, 0])
    self.assertEqual(os.listdir(f"{self.root}/new"), ["cifar-10-batches-bin"])

  def test_download_of_another_checksum_leaves_nothing(self):
    with self.assertRaisesRegex(OSError, "could not be downloaded.*hash"):
      self.download(b"more")
    self.assertEmpty(os.listdir(f"{self.root}/new"))


if __name__ == "__main__":
  absltest.main()
