"""Tests of the reader of data sets."""

import gzip
import hashlib
import os
import pathlib
import struct
import tarfile
import tempfile
from unittest import mock
import zipfile

from absl.testing import absltest, parameterized
import numpy as np
from PIL import Image
import tensorflow as tf

from problems import datasets, vgg
from tests import fake_data

SPLITS = ("train", "validation", "test")
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def small_mnist():
  """The arrays of a small mnist.npz: 25 training images and 4 test images."""
  rng = np.random.default_rng(0)
  return {"x_train": rng.integers(0, 256, [25, 28, 28], np.uint8),
          "y_train": rng.integers(0, 10, [25], np.uint8),
          "x_test": rng.integers(0, 256, [4, 28, 28], np.uint8),
          "y_test": rng.integers(0, 10, [4], np.uint8)}


def idx_bytes(array):
  """An IDX file of bytes, by the description on LeCun's MNIST page."""
  magic = {3: 2051, 1: 2049}[array.ndim]
  header = struct.pack(f">{1 + array.ndim}i", magic, *array.shape)
  return header + array.tobytes()


class MnistTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    self.arrays = small_mnist()

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
    return datasets.mnist(str(self.dir), split, **options)

  def assert_is_small_mnist(self):
    x, y = self.arrays["x_train"], self.arrays["y_train"]
    expected = {"validation": (x[:2], y[:2]), "train": (x[2:], y[2:]),
                "test": (self.arrays["x_test"], self.arrays["y_test"])}
    for split in SPLITS:
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

  def test_full_size_has_5000_validation_images(self):
    labels = np.arange(60000) % 10
    np.savez_compressed(
        self.dir / "mnist.npz", x_train=np.zeros([60000, 28, 28], np.uint8),
        y_train=labels.astype(np.uint8))
    self.assertLen(self.read("validation")[0], 5000)
    train_images, train_labels = self.read("train")
    self.assertLen(train_images, 55000)
    np.testing.assert_array_equal(train_labels, labels[5000:])

  def test_test_files_are_not_needed_for_training(self):
    self.write_idx()
    for path in self.dir.glob("t10k-*"):
      path.unlink()
    self.assertLen(self.read("train")[0], 23)

  def test_training_arrays_are_not_needed_for_testing(self):
    np.savez(self.dir / "mnist.npz", x_test=self.arrays["x_test"],
             y_test=self.arrays["y_test"])
    self.assertLen(self.read("test")[0], 4)

  # --- No files.

  def test_no_directory_given_is_an_error_with_its_remedy(self):
    with self.assertRaisesRegex(ValueError, "--data_dir.*--download"):
      datasets.mnist(None, "train")

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
    self.assert_broken("no zip archive")

  def test_npz_that_is_truncated(self):
    self.write_npz()
    path = self.dir / "mnist.npz"
    path.write_bytes(path.read_bytes()[:-100])
    self.assert_broken("no zip archive")

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
    self.assert_broken("cannot be read", LABELS)


class DownloadTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory()))
    self.origin = self.root / "origin.npz"
    np.savez(self.origin, **small_mnist())
    digest = hashlib.sha256(self.origin.read_bytes()).hexdigest()
    self.enter_context(
        mock.patch.object(datasets, "MNIST_URL", self.origin.as_uri()))
    self.enter_context(mock.patch.object(datasets, "MNIST_SHA256", digest))
    self.dir = self.root / "a" / "b"  # Not there yet.

  def test_download_makes_the_file(self):
    images, _ = datasets.mnist(str(self.dir), "test", download=True)
    np.testing.assert_array_equal(images, small_mnist()["x_test"])
    self.assertEqual(os.listdir(self.dir), ["mnist.npz"])
    self.assertEqual((self.dir / "mnist.npz").read_bytes(),
                     self.origin.read_bytes())

  def test_second_call_does_not_download(self):
    datasets.mnist(str(self.dir), "test", download=True)
    self.origin.unlink()
    datasets.mnist(str(self.dir), "train", download=True)
    datasets.mnist(str(self.dir), "train")

  def test_default_directory_is_that_of_keras(self):
    with mock.patch.dict(os.environ, KERAS_HOME=str(self.root / "keras")):
      datasets.mnist(None, "train", download=True)
    self.assertTrue((self.root / "keras" / "datasets" / "mnist.npz").exists())

  def test_wrong_checksum_leaves_no_file(self):
    self.origin.write_bytes(self.origin.read_bytes() + b"more")
    with self.assertRaisesRegex(
        OSError, f"{self.origin}.* could not be downloaded .*hash.*by hand"):
      datasets.mnist(str(self.dir), "train", download=True)
    self.assertEmpty(os.listdir(self.dir))

  def test_unreachable_origin_is_reported(self):
    self.origin.unlink()
    with self.assertRaisesRegex(
        OSError, "could not be downloaded .*No such file.*by hand"):
      datasets.mnist(str(self.dir), "train", download=True)
    self.assertEmpty(os.listdir(self.dir))

  def test_directory_that_cannot_be_made_is_reported(self):
    self.dir = self.origin / "below_a_file"
    with self.assertRaisesRegex(OSError, "could not be downloaded"):
      datasets.mnist(str(self.dir), "train", download=True)


class Cifar10Test(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = self.enter_context(tempfile.TemporaryDirectory())
    self.dir = f"{self.root}/cifar-10-batches-bin"
    os.mkdir(self.dir)
    self.records = fake_data.write_cifar10(self.dir)

  @parameterized.parameters("", "cifar-10-batches-bin")
  def test_records_are_labels_and_planes_of_colour(self, folder):
    images, labels = datasets.cifar10(f"{self.root}/{folder}", "test")
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
          datasets.cifar10(self.root, split)[1], part)

  @parameterized.parameters(
      (lambda b: b[:-1], "has 12291 bytes, but must have 3073 for each image"),
      (lambda b: b"", "has 0 bytes"),
      (lambda b: b"\x0a" + b[1:], "has the label 10, but must have 0 to 9"))
  def test_broken_batch_is_named(self, corrupt, message):
    path = pathlib.Path(self.dir, "data_batch_3.bin")
    path.write_bytes(corrupt(path.read_bytes()))
    with self.assertRaisesRegex(ValueError, f"data_batch_3.bin {message}"):
      datasets.cifar10(self.root, "train")
    datasets.cifar10(self.root, "test")

  def test_missing_batch_is_named(self):
    os.remove(f"{self.dir}/data_batch_5.bin")
    with self.assertRaisesRegex(
        FileNotFoundError, "No .*data_batch_5.bin.*not complete"):
      datasets.cifar10(self.root, "train")

  def test_too_small_a_file_has_no_validation_images(self):
    fake_data.write_cifar10(self.dir, per_batch=1)
    with self.assertRaisesRegex(ValueError, "less than ten training images"):
      datasets.cifar10(self.root, "validation")

  def test_nothing_there_says_what_to_do(self):
    with self.assertRaisesRegex(FileNotFoundError, "Put .*--download"):
      datasets.cifar10(f"{self.root}/nowhere", "train")
    with self.assertRaisesRegex(ValueError, "--data_dir.*--download"):
      datasets.cifar10(None, "train")

  def download(self, content=b""):
    """Downloads an archive of the folder into another one."""
    archive = f"{self.root}/cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
      file.add(self.dir, "cifar-10-batches-bin")
    digest = hashlib.sha256(pathlib.Path(archive).read_bytes()).hexdigest()
    with open(archive, "ab") as file:
      file.write(content)
    with (mock.patch.object(datasets, "CIFAR10_URL", f"file://{archive}"),
          mock.patch.object(datasets, "CIFAR10_SHA256", digest)):
      return datasets.cifar10(f"{self.root}/new", "test", download=True)

  def test_download_makes_the_folder(self):
    _, labels = self.download()
    np.testing.assert_array_equal(
        labels, self.records["test_batch.bin"][:, 0])
    self.assertEqual(os.listdir(f"{self.root}/new"), ["cifar-10-batches-bin"])

  def test_download_of_another_checksum_leaves_nothing(self):
    with self.assertRaisesRegex(OSError, "could not be downloaded.*hash"):
      self.download(b"more")
    self.assertEmpty(os.listdir(f"{self.root}/new"))


class ContentImagesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    self.npz = self.dir / "content_images.npz"

  @parameterized.parameters(
      ("train", 64, "train"), ("validation", 64, "valid"), ("test", 64, "test"),
      ("train", 5, "train5"), ("validation", 5, "valid5"),
      ("test", 128, "test128"))
  def test_split_and_size_name_the_array(self, split, size, name):
    images = np.random.default_rng(0).integers(
        0, 256, [3, size, size, 3], np.uint8)
    np.savez(self.npz, **{name: images})
    np.testing.assert_array_equal(
        datasets.content_images(str(self.dir), split, size), images,
        strict=True)

  @parameterized.parameters("train", "validation", "test")
  def test_split_is_a_folder_where_there_is_no_file(self, split):
    for i, name in enumerate(("train", "validation", "test")):
      (self.dir / "content" / name).mkdir(parents=True)
      for j in range(i + 1):
        fake_data.write_image(
            self.dir / "content" / name / f"{j}.png", np.zeros([9, 9, 3]))
    images = datasets.content_images(str(self.dir), split, 4)
    number = {"train": 1, "validation": 2, "test": 3}[split]
    self.assertEqual(images.shape, (number, 4, 4, 3))

  @parameterized.parameters(
      (np.zeros([2, 64, 64, 3], np.float32), "train is float32"),
      (np.zeros([2, 64, 64], np.uint8), r"shape \[2, 64, 64\], but must be"),
      (np.zeros([2, 32, 32, 3], np.uint8), r"of shape \[n, 64, 64, 3\]"),
      (np.zeros([0, 64, 64, 3], np.uint8), "train has no images"))
  def test_wrong_array(self, array, message):
    np.savez(self.npz, train=array)
    with self.assertRaisesRegex(ValueError, f"{self.npz}.*{message}"):
      datasets.content_images(str(self.dir), "train", 64)

  def test_missing_array(self):
    np.savez(self.npz, train=np.zeros([2, 64, 64, 3], np.uint8))
    with self.assertRaisesRegex(ValueError, r"lacks the arrays \['test'\]"):
      datasets.content_images(str(self.dir), "test", 128)

  def test_other_size_is_resized_as_images_in_a_folder_are(self):
    images = np.random.default_rng(0).integers(
        0, 256, [2, 64, 64, 3], np.uint8)
    np.savez(self.npz, test=images, test32=images[:1, ::2, ::2])
    folder = self.dir / "content" / "test"
    folder.mkdir(parents=True)
    for i, pixels in enumerate(images):
      fake_data.write_image(folder / f"{i}.png", pixels)
    np.testing.assert_array_equal(
        datasets.content_images(str(self.dir), "test", 96),
        datasets.image_folder(str(folder), 96), strict=True)
    self.assertLen(datasets.content_images(str(self.dir), "test", 32), 1)

  def test_nothing_found_is_an_error_with_its_remedy(self):
    with self.assertRaisesRegex(
        FileNotFoundError, f"No content images under {self.dir}. Put content_"
        f"images.npz there, or images into {self.dir}/content/test."):
      datasets.content_images(str(self.dir), "test", 64)

  def test_no_directory_given_is_an_error_with_its_remedy(self):
    with self.assertRaisesRegex(ValueError, "data_dir is None.*--data_dir"):
      datasets.content_images(None, "train", 64)

  def test_unknown_split_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "split is 'dev', but must be one"):
      datasets.content_images(str(self.dir), "dev", 64)


class ImageTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))

  @parameterized.parameters((20, 60), (60, 20), (20, 20))
  def test_image_is_the_central_square(self, height, width):
    pixels = np.full([height, width, 3], 255, np.uint8)
    top, left = (height - 20) // 2, (width - 20) // 2
    pixels[top:top + 20, left:left + 20] = (10, 20, 30)
    fake_data.write_image(self.dir / "a.png", pixels)
    for size in (8, 20, 33):
      np.testing.assert_array_equal(
          datasets.image(str(self.dir / "a.png"), size),
          np.full([size, size, 3], (10, 20, 30), np.uint8), strict=True)

  def test_image_of_its_own_size_is_as_it_is(self):
    pixels = np.random.default_rng(0).integers(0, 256, [9, 9, 3], np.uint8)
    fake_data.write_image(self.dir / "a.png", pixels)
    np.testing.assert_array_equal(
        datasets.image(str(self.dir / "a.png"), 9), pixels)

  @parameterized.parameters("L", "RGBA", "P", "1")
  def test_image_of_another_mode_has_three_channels(self, mode):
    Image.new(mode, (9, 7), 1).save(self.dir / "a.png")
    self.assertEqual(
        datasets.image(str(self.dir / "a.png"), 5).shape, (5, 5, 3))

  def test_photograph_is_turned_upright(self):
    pixels = np.zeros([8, 8, 3], np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # Upside down.
    Image.fromarray(pixels).save(self.dir / "a.png", exif=exif)
    np.testing.assert_array_equal(
        datasets.image(str(self.dir / "a.png"), 8), pixels[::-1])

  @parameterized.named_parameters(
      ("empty", lambda content: b""), ("text", lambda content: b"no image"),
      ("truncated", lambda content: content[:-60]),
      ("changed", lambda content: content.replace(b"IDAT", b"IDAX")))
  def test_broken_image_is_named(self, corrupt):
    path = self.dir / "a.png"
    fake_data.write_image(path, np.random.default_rng(0).integers(0, 256, [9, 9, 3]))
    path.write_bytes(corrupt(path.read_bytes()))
    with self.assertRaisesRegex(
        ValueError, f"{path} cannot be read as an image"):
      datasets.image(str(path), 8)

  def test_missing_image_is_named(self):
    with self.assertRaisesRegex(FileNotFoundError, f"No image {self.dir}/no"):
      datasets.image(str(self.dir / "no.png"), 8)

  def test_folder_is_read_in_the_order_of_names(self):
    for i, name in enumerate(("b.png", "a.JPG", "c.jpeg")):
      fake_data.write_image(self.dir / name, np.full([9 + i, 12, 3], 100 * i))
    (self.dir / "notes.txt").write_text("These are mine.")
    (self.dir / "d.png").mkdir()
    images = datasets.image_folder(str(self.dir), 4)
    self.assertEqual(images.dtype, np.uint8)
    np.testing.assert_array_equal(
        images, np.broadcast_to(
            np.reshape([100, 0, 200], [3, 1, 1, 1]), [3, 4, 4, 3]))

  def test_empty_folder_is_named(self):
    (self.dir / "notes.txt").write_text("Nothing yet.")
    with self.assertRaisesRegex(ValueError, f"{self.dir} has no images.*png"):
      datasets.image_folder(str(self.dir), 4)

  def test_missing_folder_is_named(self):
    with self.assertRaisesRegex(FileNotFoundError, "No folder .*/nowhere"):
      datasets.image_folder(str(self.dir / "nowhere"), 4)


class Vgg19Test(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    self.arrays = fake_data.small_vgg()

  def read(self, **changes):
    np.savez(self.dir / "vgg19_conv.npz", **{**self.arrays, **changes})
    return datasets.vgg19(vgg.LAYERS, str(self.dir))

  def test_weights_are_read_as_float32(self):
    half = self.arrays["conv4_2_w"].astype(np.float16)
    weights = self.read(conv4_2_w=half)
    self.assertCountEqual(weights, self.arrays)
    for name, array in (self.arrays | {"conv4_2_w": half}).items():
      np.testing.assert_array_equal(
          weights[name], array.astype(np.float32), strict=True)

  def test_other_layers_are_left_out(self):
    self.read()
    weights = datasets.vgg19(("conv1_1",), str(self.dir))
    self.assertCountEqual(weights, ["mean_rgb", "conv1_1_w", "conv1_1_b"])

  @parameterized.parameters(
      ("mean_rgb", np.zeros([1], np.float32), r"floats of shape \[3\]"),
      ("conv1_1_w", np.zeros([3, 3, 3, 2], np.int32), "is int32 .* be floats"),
      ("conv1_1_w", np.zeros([2, 3, 3, 3], np.float32),
       r"shape \[2, 3, 3, 3\], but must be floats of shape \[3, 3, 3, 2\]"),
      ("conv2_1_w", np.zeros([3, 3, 9, 2], np.float32), "must be floats"),
      ("conv5_1_b", np.zeros([1, 2], np.float32), r"of shape \[2\]"),
      ("conv3_3_b", np.float32([1., np.nan]), "not finite"))
  def test_wrong_array_is_named(self, name, value, message):
    with self.assertRaisesRegex(
        ValueError, f"{self.dir}/vgg19_conv.npz, {name} .*{message}"):
      self.read(**{name: value})

  def test_missing_arrays_are_named(self):
    np.savez(self.dir / "vgg19_conv.npz", mean_rgb=self.arrays["mean_rgb"])
    with self.assertRaisesRegex(
        ValueError, r"lacks the arrays \['conv1_1_b', 'conv1_1_w'\]"):
      datasets.vgg19(("conv1_1",), str(self.dir))

  def test_no_directory_given_is_an_error_with_its_remedy(self):
    with self.assertRaisesRegex(ValueError, "data_dir is None.*--download"):
      datasets.vgg19(vgg.LAYERS, None)

  def test_nothing_found_is_an_error_with_its_remedy(self):
    with self.assertRaisesRegex(
        FileNotFoundError, f"No VGG-19 under {self.dir}.*--download"):
      datasets.vgg19(vgg.LAYERS, str(self.dir))

  def test_file_goes_before_a_download(self):
    self.read()
    with mock.patch.object(tf.keras.applications, "VGG19") as model:
      datasets.vgg19(vgg.LAYERS, str(self.dir), download=True)
    model.assert_not_called()

  def test_failed_download_is_reported(self):
    with mock.patch.object(
        tf.keras.applications, "VGG19", side_effect=Exception("No network.")):
      with self.assertRaisesRegex(
          OSError, "VGG-19 could not be downloaded: No network. Put vgg19_"):
        datasets.vgg19(vgg.LAYERS, None, download=True)


if __name__ == "__main__":
  absltest.main()
