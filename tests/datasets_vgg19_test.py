"""Tests of the reader of VGG-19's weights."""

import hashlib
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from problems import vgg
from problems.datasets import vgg19
from tests import fake_data


class Vgg19Test(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    self.arrays = fake_data.small_vgg()

  def read(self, **changes):
    np.savez(self.dir / "vgg19_conv.npz", **{**self.arrays, **changes})
    return vgg19.read(vgg.LAYERS, str(self.dir))

  def test_weights_are_read_as_float32(self):
    half = self.arrays["conv4_2_w"].astype(np.float16)
    weights = self.read(conv4_2_w=half)
    self.assertCountEqual(weights, self.arrays)
    for name, array in (self.arrays | {"conv4_2_w": half}).items():
      np.testing.assert_array_equal(
          weights[name], array.astype(np.float32), strict=True)

  def test_tilde_is_the_home_directory(self):
    self.read()
    with mock.patch.dict(os.environ, HOME=str(self.dir)):
      self.assertCountEqual(vgg19.read(vgg.LAYERS, "~"), self.arrays)

  def test_other_layers_are_left_out(self):
    self.read()
    weights = vgg19.read(("conv1_1",), str(self.dir))
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
      vgg19.read(("conv1_1",), str(self.dir))

  def test_no_directory_given_is_an_error_with_its_remedy(self):
    with self.assertRaisesRegex(ValueError, "data_dir is None.*--download"):
      vgg19.read(vgg.LAYERS, None)

  def test_nothing_found_is_an_error_with_its_remedy(self):
    with self.assertRaisesRegex(
        FileNotFoundError, f"No VGG-19 under {self.dir}.*--download"):
      vgg19.read(vgg.LAYERS, str(self.dir))

  def test_file_goes_before_a_download(self):
    self.read()
    with mock.patch.object(tf.keras.applications, "VGG19") as model:
      vgg19.read(vgg.LAYERS, str(self.dir), download=True)
    model.assert_not_called()

  def test_download_is_put_into_the_directory(self):
    source = self.dir / "source.h5"
    source.write_bytes(b"weights")
    model = mock.Mock()
    model.get_layer("").get_weights.return_value = (
        np.zeros([3, 3, 3, 2]), np.zeros([2]))
    folder = self.dir / "new"
    with mock.patch.multiple(
        vgg19, URL=source.as_uri(),
        MD5=hashlib.md5(source.read_bytes()).hexdigest()), mock.patch.object(
            tf.keras.applications, "VGG19", return_value=model) as read:
      for _ in range(2):
        vgg19.read(("conv1_1",), str(folder), download=True)
        source.unlink(missing_ok=True)  # The second time, it is there.
    self.assertEqual((folder / "source.h5").read_bytes(), b"weights")
    read.assert_called_with(weights=str(folder / "source.h5"),
                            include_top=False)

  def test_failed_download_is_reported(self):
    with mock.patch.object(vgg19, "URL", (self.dir / "none.h5").as_uri()):
      with self.assertRaisesRegex(OSError, "could not be downloaded.* by hand"):
        vgg19.read(vgg.LAYERS, str(self.dir), download=True)
    self.assertEmpty([*self.dir.iterdir()])

  def test_damaged_file_of_keras_is_an_error_that_names_it(self):
    path = self.dir / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
    path.write_bytes(b"damaged")
    with self.assertRaisesRegex(ValueError, f"{path} cannot be read"):
      vgg19.read(vgg.LAYERS, str(self.dir))


if __name__ == "__main__":
  absltest.main()
