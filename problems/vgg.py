"""The convolutions of VGG-19 (Simonyan and Zisserman 2015, table 1, E)."""

from collections.abc import Mapping

import tensorflow as tf

# As far as the style of a picture is looked for.
LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2",
          "conv3_1", "conv3_2", "conv3_3", "conv3_4",
          "conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv5_1")


def features(weights: Mapping[str, tf.Tensor], images: tf.Tensor,
             last: str = LAYERS[-1]) -> dict[str, tf.Tensor]:
  """Returns the activations of the layers, after their ReLU.

  Blocks are joined by average pooling, where VGG-19 has maxima: so do Gatys et
  al. 2015 (section "Methods"), who found the pictures better.

  Args:
    weights: By name, as `datasets.vgg19` returns them.
    images: Floats from 0 to 255, in the order red, green, blue, shape
      [B, height, width, 3].
    last: The layer after which to stop.

  Returns:
    By layer, in their order; those of the i-th block have the shape
    [B, height / 2^(i - 1), width / 2^(i - 1), C], rounded down.
  """
  activations = {}
  h = images - weights["mean_rgb"]  # [B, height, width, 3]
  for name in LAYERS[:LAYERS.index(last) + 1]:
    if name.endswith("_1") and activations:
      h = tf.nn.avg_pool2d(h, 2, 2, "VALID")
    h = tf.nn.conv2d(h, weights[f"{name}_w"], 1, "SAME")
    h = tf.nn.relu(h + weights[f"{name}_b"])
    activations[name] = h
  return activations
