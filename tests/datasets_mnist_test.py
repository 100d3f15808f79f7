"""Tests of the reader of MNIST."""

import gzip
import os
import pathlib
import struct
import tempfile
from unittest import mock
import zipfile

from absl.testing import absltest, parameterized
import numpy as np

from problems.datasets import mnist
from tests import fake_data

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx_bytes(array):
  """An IDX file of bytes, by the description on LeCun's MNIST page."""
  magic = {3: 2051, 1: 2049}[array.ndim]
  header = struct.pack(f">{1 + array.ndim}i", magic, *array.shape)
  return header + array.tobytes()


class MnistTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    self.arrays = fake_data.mnist_arrays(25, 4)

  def write_npz(self, **changes):
    np.savez(self.dir / "mnist.npz", **{**self.arrays, **changes})

  def write_idx(self, separator="-", gz=False):
    for part, key in (("train", "train"), ("t10k", "test")):
      for kind, rank, letter in (("images", 3, "x"), ("labels", 1, "y")):
        name = f"{part}-{kind}{separator}idx{rank}-ubyte"
        content = idx_bytes(self.arrays[f"{letter}_{key}"])
        if gz:
          name, content = f"{name}.gz", gzip.compress(content)
        (self.dir / name).write_bytes(content)

  def read(self, split="train", **options):
    return mnist.read(str(self.dir), split, **options)

  def assert_is_small_mnist(self):
    x, y = self.arrays["x_train"], self.arrays["y_train"]
    expected = {"validation": (x[:2], y[:2]), "train": (x[2:], y[2:]),
                "test": (self.arrays["x_test"], self.arrays["y_test"])}
    for split in expected:
      images, labels = self.read(split)
      np.testing.assert_array_equal(images, expected[split][0], strict=True)
      np.testing.assert_array_equal(labels, expected[split][1], strict=True)

  # --- Good files.

  def test_npz_is_read(self):
    self.write_npz()
    self.assert_is_small_mnist()

  @parameterized.product(separator=("-", "."), gz=(False, True))
  def test_idx_files_are_read(self, separator, gz):
    self.write_idx(separator, gz)
    self.assert_is_small_mnist()

  def test_npz_goes_before_idx_files(self):
    self.write_idx()
    self.arrays["x_train"] = 255 - self.arrays["x_train"]
    self.write_npz()
    self.assert_is_small_mnist()

  @parameterized.parameters((48, 3), (36, 3), (24, 2))
  def test_validation_images_are_a_twelfth_up_to_a_limit(
      self, number, expected):
    self.assertEqual(mnist._MAX_VALIDATION, 5000)
    arrays = fake_data.mnist_arrays(number, 4)
    np.savez(self.dir / "mnist.npz", **arrays)
    with mock.patch.object(mnist, "_MAX_VALIDATION", 3):
      self.assertLen(self.read("validation")[0], expected)
      np.testing.assert_array_equal(
          self.read("train")[1], arrays["y_train"][expected:])

  def test_test_files_are_not_needed_for_training(self):
    self.write_idx()
    for path in self.dir.glob("t10k-*"):
      path.unlink()
    self.assertLen(self.read("train")[0], 23)

  def test_training_arrays_are_not_needed_for_testing(self):
    np.savez(self.dir / "mnist.npz", x_test=self.arrays["x_test"],
             y_test=self.arrays["y_test"])
    self.assertLen(self.read("test")[0], 4)

  def test_tilde_is_the_home_directory(self):
    self.write_npz()
    with mock.patch.dict(os.environ, HOME=str(self.dir)):
      self.assertLen(mnist.read("~", "train")[0], 23)

  # --- No files.

  def test_no_directory_given_is_an_error_with_its_remedy(self):
    with self.assertRaisesRegex(ValueError, "--data_dir.*--download"):
      mnist.read(None, "train")

  def test_nothing_found_is_an_error_with_its_remedy(self):
    with self.assertRaisesRegex(
        FileNotFoundError, f"No MNIST under {self.dir}.*--download"):
      self.read()

  @parameterized.parameters(IMAGES, LABELS)
  def test_one_idx_file_is_not_enough(self, name):
    self.write_idx()
    (self.dir / name).unlink()
    with self.assertRaisesRegex(FileNotFoundError, "the four IDX files"):
      self.read()

  def test_unknown_split_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "split is 'dev', but must be one"):
      self.read("dev")

  # --- Broken files.

  def assert_broken(self, message, name="mnist.npz", split="train"):
    """A ValueError names the file, and then what is wrong."""
    with self.assertRaisesRegex(
        ValueError, f"{self.dir / name}.*{message}"):
      self.read(split)

  @parameterized.parameters(b"", b"not a zip archive")
  def test_npz_that_is_no_zip_archive(self, content):
    (self.dir / "mnist.npz").write_bytes(content)
    self.assert_broken("not a zip archive")

  def test_npz_that_is_truncated(self):
    self.write_npz()
    path = self.dir / "mnist.npz"
    path.write_bytes(path.read_bytes()[:-100])
    self.assert_broken("not a zip archive")

  def test_npz_with_a_wrong_byte(self):
    self.write_npz()
    path = self.dir / "mnist.npz"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    self.assert_broken("cannot be read.*CRC")

  def test_npz_with_a_broken_header(self):
    with zipfile.ZipFile(self.dir / "mnist.npz", "w") as archive:
      for key in ("x_train", "y_train"):
        header = b"{'descr': ("  # Nothing closes it.
        archive.writestr(
            f"{key}.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header))
            + header)
    self.assert_broken("cannot be read")

  def test_npz_with_pickles(self):
    self.write_npz(y_train=np.array([{}] * 25, object))
    self.assert_broken("cannot be read.*allow_pickle")

  def test_npz_without_an_array(self):
    del self.arrays["y_train"]
    self.write_npz()
    self.assert_broken(r"lacks the arrays \['y_train'\]")

  @parameterized.parameters(
      ("x_train", np.zeros([25, 28, 28], np.float32), "x_train is float32"),
      ("x_train", np.zeros([25, 784], np.uint8), r"shape \[25, 784\]"),
      ("x_train", np.uint8(3), r"shape \[\]"),
      ("y_train", np.zeros([25], np.int64), "y_train is int64"),
      ("y_train", np.zeros([25, 1], np.uint8), r"shape \[25, 1\]"),
      ("y_train", np.zeros([24], np.uint8), "25 images, .* 24 labels"),
      ("y_train", np.full([25], 10, np.uint8), "label 10, .* 0 to 9"))
  def test_npz_with_a_wrong_array(self, key, value, message):
    self.write_npz(**{key: value})
    self.assert_broken(message)

  def test_npz_without_images(self):
    self.write_npz(x_test=np.zeros([0, 28, 28], np.uint8),
                   y_test=np.zeros([0], np.uint8))
    self.assert_broken("no images", split="test")

  @parameterized.parameters("train", "validation")
  def test_too_few_images_for_a_validation_split(self, split):
    self.write_npz(x_train=self.arrays["x_train"][:11],
                   y_train=self.arrays["y_train"][:11])
    if split == "train":
      self.assertLen(self.read(split)[0], 11)
    else:
      with self.assertRaisesRegex(ValueError, "'validation', but .* only 11"):
        self.read(split)

  @parameterized.parameters(
      (IMAGES, 0, r"begins with the bytes \[\]"),
      (IMAGES, 3, "must begin with"),
      (IMAGES, 10, "ends within its header of 16"),
      (LABELS, 7, "ends within its header of 8"),
      (IMAGES, -1, "has 19599 bytes of data, .* 19600"),
      (LABELS, -2, "has 23 bytes of data, .* 25"))
  def test_idx_that_is_truncated(self, name, stop, message):
    self.write_idx()
    path = self.dir / name
    path.write_bytes(path.read_bytes()[:stop])
    self.assert_broken(message, name)

  def test_idx_with_bytes_to_spare(self):
    self.write_idx()
    with (self.dir / LABELS).open("ab") as file:
      file.write(b"\0")
    self.assert_broken("has 26 bytes of data, .* 25", LABELS)

  def test_idx_with_wrong_magic(self):
    self.write_idx()
    (self.dir / IMAGES).write_bytes((self.dir / LABELS).read_bytes())
    self.assert_broken(
        r"\[00 00 08 01\], but must begin with \[00 00 08 03\]", IMAGES)

  def test_idx_of_images_of_another_size(self):
    self.write_idx()
    (self.dir / IMAGES).write_bytes(
        idx_bytes(np.zeros([25, 14, 28], np.uint8)))
    self.assert_broken(r"shape \[25, 14, 28\]", IMAGES)

  def test_idx_files_of_different_lengths(self):
    self.write_idx()
    (self.dir / LABELS).write_bytes(idx_bytes(np.zeros([3], np.uint8)))
    self.assert_broken(f"25 images, but {self.dir / LABELS} has 3", IMAGES)

  def test_idx_with_a_label_out_of_range(self):
    self.write_idx()
    (self.dir / LABELS).write_bytes(idx_bytes(np.full([25], 11, np.uint8)))
    self.assert_broken("label 11", LABELS)

  def test_idx_without_images(self):
    self.write_idx()
    (self.dir / IMAGES).write_bytes(idx_bytes(np.zeros([0, 28, 28], np.uint8)))
    (self.dir / LABELS).write_bytes(idx_bytes(np.zeros([0], np.uint8)))
    self.assert_broken("no images", IMAGES)

  @parameterized.named_parameters(
      ("not_gzip", lambda content: b"not gzip", "Not a gzipped file"),
      ("truncated", lambda content: content[:-50], "EOFError"),
      ("wrong_checksum", lambda content: content[:-8] + bytes(8), "CRC"))
  def test_corrupt_gzip(self, corrupt, message):
    self.write_idx(gz=True)
    path = self.dir / f"{IMAGES}.gz"
    path.write_bytes(corrupt(path.read_bytes()))
    self.assert_broken(f"cannot be read.*{message}", path.name)

  def test_directory_in_place_of_a_file(self):
    self.write_idx()
    (self.dir / LABELS).unlink()
    (self.dir / LABELS).mkdir()
    with self.assertRaisesRegex(OSError, LABELS):  # It is not damaged.
      self.read()


if __name__ == "__main__":
  absltest.main()
