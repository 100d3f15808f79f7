"""Tests of the readers of pictures and photographs."""

import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
from PIL import Image

from problems.datasets import content_images, images
from tests import fake_data


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
          images.read(str(self.dir / "a.png"), size),
          np.full([size, size, 3], (10, 20, 30), np.uint8), strict=True)

  def test_image_of_its_own_size_is_as_it_is(self):
    pixels = np.random.default_rng(0).integers(0, 256, [9, 9, 3], np.uint8)
    fake_data.write_image(self.dir / "a.png", pixels)
    np.testing.assert_array_equal(
        images.read(str(self.dir / "a.png"), 9), pixels)

  @parameterized.parameters("L", "RGBA", "P", "1")
  def test_image_of_another_mode_has_three_channels(self, mode):
    Image.new(mode, (9, 7), 1).save(self.dir / "a.png")
    self.assertEqual(
        images.read(str(self.dir / "a.png"), 5).shape, (5, 5, 3))

  @parameterized.parameters(
      ("a.png", np.uint16, 257), ("a.tif", np.uint16, 257),
      ("a.tif", np.int32, 257), ("a.pgm", np.int32, 257),
      ("a.tif", np.float32, 1 / 255), ("a.tif", np.float32, 1.),
      ("a.tif", np.uint8, 1))
  def test_grey_levels_of_other_types_are_scaled(self, name, dtype, scale):
    levels = np.arange(256).reshape([16, 16])
    Image.fromarray((levels * scale).astype(dtype)).save(self.dir / name)
    expected = np.repeat(levels[..., np.newaxis], 3, 2).astype(np.uint8)
    np.testing.assert_array_equal(
        images.read(str(self.dir / name), 16), expected, strict=True)

  def test_levels_between_bytes_are_rounded(self):
    levels = np.full([4, 4], 257 * 7 + 200, np.uint16)
    Image.fromarray(levels).save(self.dir / "a.png")
    np.testing.assert_array_equal(images.read(str(self.dir / "a.png"), 4), 8)

  @parameterized.parameters(
      (np.int32, -1, "-1 to 0, but must be from 0 to 65535"),
      (np.int32, 65536, "0 to 65536, but must be"),
      (np.float32, 256, "0.0 to 256.0, but must be from 0 to 1 or 255"),
      (np.float32, np.nan, "nan to nan, but must be"))
  def test_levels_out_of_range_are_named(self, dtype, level, message):
    levels = np.zeros([4, 4], dtype)
    levels[1, 2] = level
    Image.fromarray(levels).save(self.dir / "a.tif")
    with self.assertRaisesRegex(
        ValueError, f"a.tif cannot be read as an image: .*{message}"):
      images.read(str(self.dir / "a.tif"), 4)

  @parameterized.parameters(
      ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
      ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
      ("RGBA", (0, 100, 255, 51), (204, 224, 255)),
      ("LA", (10, 0), (255, 255, 255)), ("LA", (10, 255), (10, 10, 10)))
  def test_transparent_pixels_are_on_white(self, mode, color, expected):
    Image.new(mode, (6, 6), color).save(self.dir / "a.png")
    np.testing.assert_array_equal(
        images.read(str(self.dir / "a.png"), 6),
        np.full([6, 6, 3], expected, np.uint8), strict=True)

  def test_transparent_color_is_white(self):
    Image.new("RGB", (6, 6), (1, 2, 3)).save(
        self.dir / "a.png", transparency=(1, 2, 3))
    with_palette = Image.new("P", (6, 6), 0)
    with_palette.putpalette([1, 2, 3, 4, 5, 6])
    with_palette.save(self.dir / "b.png", transparency=0)
    np.testing.assert_array_equal(images.read_folder(str(self.dir), 6), 255)

  def test_photograph_is_turned_upright(self):
    pixels = np.zeros([8, 8, 3], np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # Upside down.
    Image.fromarray(pixels).save(self.dir / "a.png", exif=exif)
    np.testing.assert_array_equal(
        images.read(str(self.dir / "a.png"), 8), pixels[::-1])

  @parameterized.named_parameters(
      ("empty", lambda content: b""), ("text", lambda content: b"no image"),
      ("truncated", lambda content: content[:-60]),
      ("changed", lambda content: content.replace(b"IDAT", b"IDAX")))
  def test_broken_image_is_named(self, corrupt):
    path = self.dir / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, [9, 9, 3])
    fake_data.write_image(path, pixels)
    path.write_bytes(corrupt(path.read_bytes()))
    with self.assertRaisesRegex(
        ValueError, f"{path} cannot be read as an image"):
      images.read(str(path), 8)

  def test_tilde_is_the_home_directory(self):
    fake_data.write_image(self.dir / "a.png", np.full([9, 9, 3], 50))
    with mock.patch.dict(os.environ, HOME=str(self.dir)):
      np.testing.assert_array_equal(
          images.read("~/a.png", 4), np.full([4, 4, 3], 50))
      self.assertLen(images.read_folder("~", 4), 1)

  def test_missing_image_is_named(self):
    with self.assertRaisesRegex(FileNotFoundError, f"No image {self.dir}/no"):
      images.read(str(self.dir / "no.png"), 8)

  def test_folder_is_read_in_the_order_of_names(self):
    for i, name in enumerate(("b.png", "a.JPG", "c.jpeg")):
      fake_data.write_image(self.dir / name, np.full([9 + i, 12, 3], 100 * i))
    (self.dir / "notes.txt").write_text("These are mine.")
    (self.dir / "d.png").mkdir()
    arrays = images.read_folder(str(self.dir), 4)
    self.assertEqual(arrays.dtype, np.uint8)
    np.testing.assert_array_equal(
        arrays, np.broadcast_to(
            np.reshape([100, 0, 200], [3, 1, 1, 1]), [3, 4, 4, 3]))

  @parameterized.parameters(
      "bmp", "gif", "jfif", "jp2", "jpeg", "jpg", "png", "PPM", "tif", "tiff",
      "webp")
  def test_folder_has_images_of_every_common_kind(self, suffix):
    fake_data.write_image(self.dir / f"a.{suffix}", np.full([9, 9, 3], 255))
    np.testing.assert_array_equal(
        images.read_folder(str(self.dir), 8), np.full([1, 8, 8, 3], 255))

  @parameterized.parameters("h5", "eps", "mpg", "npy", "csv")
  def test_other_files_are_left_out(self, suffix):
    (self.dir / f"b.{suffix}").write_text("No image.")
    fake_data.write_image(self.dir / "a.png", np.zeros([9, 9, 3]))
    self.assertLen(images.read_folder(str(self.dir), 8), 1)

  def test_hidden_files_are_left_out(self):
    fake_data.write_image(self.dir / "x.jpg", np.zeros([9, 9, 3]))
    (self.dir / "._x.jpg").write_bytes(b"What a Mac writes beside a file.")
    self.assertLen(images.read_folder(str(self.dir), 8), 1)

  def test_broken_image_of_a_folder_is_named(self):
    fake_data.write_image(self.dir / "a.png", np.zeros([9, 9, 3]))
    (self.dir / "b.tiff").write_bytes(b"No image.")
    with self.assertRaisesRegex(
        ValueError, f"{self.dir}/b.tiff cannot be read as an image"):
      images.read_folder(str(self.dir), 8)

  def test_empty_folder_is_named(self):
    (self.dir / "notes.txt").write_text("Nothing yet.")
    with self.assertRaisesRegex(ValueError, f"{self.dir} has no images.*png"):
      images.read_folder(str(self.dir), 4)

  def test_missing_folder_is_named(self):
    with self.assertRaisesRegex(FileNotFoundError, "No folder .*/nowhere"):
      images.read_folder(str(self.dir / "nowhere"), 4)


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
    array = np.random.default_rng(0).integers(
        0, 256, [3, size, size, 3], np.uint8)
    np.savez(self.npz, **{name: array})
    np.testing.assert_array_equal(
        content_images.read(str(self.dir), split, size), array, strict=True)

  @parameterized.parameters("train", "validation", "test")
  def test_split_is_a_folder_where_there_is_no_file(self, split):
    for i, name in enumerate(("train", "validation", "test")):
      (self.dir / "content" / name).mkdir(parents=True)
      for j in range(i + 1):
        fake_data.write_image(
            self.dir / "content" / name / f"{j}.png", np.zeros([9, 9, 3]))
    array = content_images.read(str(self.dir), split, 4)
    number = {"train": 1, "validation": 2, "test": 3}[split]
    self.assertEqual(array.shape, (number, 4, 4, 3))

  @parameterized.parameters(
      (np.zeros([2, 64, 64, 3], np.float32), "train is float32"),
      (np.zeros([2, 64, 64], np.uint8), r"shape \[2, 64, 64\], but must be"),
      (np.zeros([2, 32, 32, 3], np.uint8), r"of shape \[n, 64, 64, 3\]"),
      (np.zeros([0, 64, 64, 3], np.uint8), "train has no images"))
  def test_wrong_array(self, array, message):
    np.savez(self.npz, train=array)
    with self.assertRaisesRegex(ValueError, f"{self.npz}.*{message}"):
      content_images.read(str(self.dir), "train", 64)

  def test_damaged_file(self):
    np.savez(self.npz, train=np.zeros([2, 64, 64, 3], np.uint8))
    data = self.npz.read_bytes()
    start = data.index(b"PK\x01\x02")  # Of the list of the arrays.
    self.npz.write_bytes(data[:start] + b"XX" + data[start + 2:])
    with self.assertRaisesRegex(ValueError, f"{self.npz} cannot be read"):
      content_images.read(str(self.dir), "train", 64)

  def test_missing_array(self):
    np.savez(self.npz, train=np.zeros([2, 64, 64, 3], np.uint8))
    with self.assertRaisesRegex(ValueError, r"lacks the arrays \['test'\]"):
      content_images.read(str(self.dir), "test", 128)

  def test_other_size_is_resized_as_images_in_a_folder_are(self):
    array = np.random.default_rng(0).integers(0, 256, [2, 64, 64, 3], np.uint8)
    np.savez(self.npz, test=array, test32=array[:1, ::2, ::2])
    folder = self.dir / "content" / "test"
    folder.mkdir(parents=True)
    for i, pixels in enumerate(array):
      fake_data.write_image(folder / f"{i}.png", pixels)
    np.testing.assert_array_equal(
        content_images.read(str(self.dir), "test", 96),
        images.read_folder(str(folder), 96), strict=True)
    self.assertLen(content_images.read(str(self.dir), "test", 32), 1)

  def test_tilde_is_the_home_directory(self):
    np.savez(self.npz, train=np.zeros([2, 64, 64, 3], np.uint8))
    with mock.patch.dict(os.environ, HOME=str(self.dir)):
      self.assertLen(content_images.read("~", "train", 64), 2)

  def test_nothing_found_is_an_error_with_its_remedy(self):
    with self.assertRaisesRegex(
        FileNotFoundError, f"No content images under {self.dir}. Put content_"
        f"images.npz there, or images into {self.dir}/content/test."):
      content_images.read(str(self.dir), "test", 64)

  def test_no_directory_given_is_an_error_with_its_remedy(self):
    with self.assertRaisesRegex(ValueError, "data_dir is None.*--data_dir"):
      content_images.read(None, "train", 64)

  def test_unknown_split_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "split is 'dev', but must be one"):
      content_images.read(str(self.dir), "dev", 64)


if __name__ == "__main__":
  absltest.main()
