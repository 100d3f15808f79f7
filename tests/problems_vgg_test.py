"""Tests of the convolutions of VGG-19."""

import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from problems import vgg
from problems.datasets import vgg19


def with_average_pooling(layer):
  """Returns a copy of a Keras layer, with the mean in place of the maximum."""
  if isinstance(layer, tf.keras.layers.MaxPooling2D):
    return tf.keras.layers.AveragePooling2D(2, 2, name=layer.name)
  return type(layer).from_config(layer.get_config())


class VggTest(parameterized.TestCase):

  def test_features_are_those_of_keras(self):
    rng = np.random.default_rng(0)
    original = tf.keras.applications.VGG19(
        weights=None, include_top=False, input_shape=(32, 48, 3))
    for weight in original.weights:
      if len(weight.shape) == 1:  # The biases, zeros so far.
        weight.assign(rng.normal(0., 10., weight.shape))
    model = tf.keras.models.clone_model(
        original, clone_function=with_average_pooling)
    model.set_weights(original.get_weights())
    outputs = [model.get_layer(f"block{name[4]}_conv{name[6]}").output
               for name in vgg.LAYERS]
    images = rng.uniform(0., 255., [2, 32, 48, 3]).astype(np.float32)
    expected = tf.keras.Model(model.input, outputs)(
        tf.keras.applications.vgg19.preprocess_input(images.copy()))
    folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    (folder / vgg19.URL.rpartition("/")[2]).touch()
    with mock.patch.object(
        tf.keras.applications, "VGG19", return_value=original):
      weights = vgg19.read(vgg.LAYERS, str(folder))
    actual = vgg.features(weights, images)
    self.assertEqual(tuple(actual), vgg.LAYERS)
    for name, e in zip(vgg.LAYERS, expected, strict=True):
      self.assertGreater(np.std(e), 1e-3, name)
      np.testing.assert_allclose(
          actual[name], e, rtol=1e-4, atol=1e-4 * np.max(e), err_msg=name)

  @parameterized.parameters(("conv1_1", 1), ("conv4_2", 10), ("conv5_1", 13))
  def test_no_layer_is_after_the_last(self, last, number):
    weights = {"mean_rgb": np.zeros([3], np.float32)}
    for i, name in enumerate(vgg.LAYERS):
      weights[f"{name}_w"] = np.ones([3, 3, 1 if i else 3, 1], np.float32)
      weights[f"{name}_b"] = np.zeros([1], np.float32)
    features = vgg.features(weights, tf.ones([1, 16, 16, 3]), last)
    self.assertEqual(tuple(features), vgg.LAYERS[:number])


if __name__ == "__main__":
  absltest.main()
