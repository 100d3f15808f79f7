"""The convolutions of VGG-19 (Simonyan and Zisserman 2015, table 1, E)."""

from collections.abc import Mapping

import tensorflow as tf

# Neural art needs no layer after conv5_1.
LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2",
          "conv3_1", "conv3_2", "conv3_3", "conv3_4",
          "conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv5_1")


def features(weights: Mapping[str, tf.Tensor], images: tf.Tensor,
             last: str = LAYERS[-1]) -> dict[str, tf.Tensor]:
  """Returns the activations of the layers, after their ReLU.

  Average pooling takes the place of VGG-19's maxima. Gatys et al. 2015 found
  that it gives better pictures (section "Methods").

  Args:
    weights: Arrays by name, as `datasets.vgg19.read` returns them.
    images: Red, green and blue, floats from 0 to 255, shape
      [B, height, width, 3].
    last: The layer after which to stop.

  Returns:
    Activations by layer, in order. Those of the i-th block have the shape
    [B, height / 2^(i - 1), width / 2^(i - 1), C], rounded down.
  """
  activations: dict[str, tf.Tensor] = {}
  h = images - weights["mean_rgb"]  # [B, height, width, 3]
  for name in LAYERS[:LAYERS.index(last) + 1]:
    if name.endswith("_1") and activations:
      h = tf.nn.avg_pool2d(h, 2, 2, "VALID")
    h = tf.nn.conv2d(h, weights[f"{name}_w"], 1, "SAME")
    h = tf.nn.relu(h + weights[f"{name}_b"])
    activations[name] = h
  return activations
