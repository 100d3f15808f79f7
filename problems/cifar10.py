"""Training a convolutional network on CIFAR-10.

The experiment of Andrychowicz et al. 2016, section 3.3.
"""

from collections.abc import Sequence
import itertools

import numpy as np
import tensorflow as tf

from l2lgd import checks
from problems import base, classification, datasets

_SIZE = 32  # Pixels a side.
_KERNEL = 5  # Height and width of the filters.
_EPSILON = 1e-3  # Added to the variance of batch normalization.


class Cifar10(classification.Classification):
  """The cross-entropy of a convolutional network on minibatches of CIFAR-10.

  Each convolution and each dense layer but the last is followed by batch
  normalization, which has an offset and no scale, and takes the mean and the
  variance of the minibatch (Ioffe & Szegedy 2015, algorithm 1), by ReLU and,
  after a convolution, by max pooling of 2 x 2 pixels.
  """

  def __init__(self, conv_channels: Sequence[int] = (16, 16, 16),
               linear_layers: Sequence[int] = (32,), batch_norm: bool = True,
               batch_size: int = 128, split: str = "train",
               labels: Sequence[int] | None = None,
               data_dir: str | None = None, download: bool = False):
    """Initializes the problem, reading the data set.

    Args:
      conv_channels: Number of channels of each convolution, at most five.
      linear_layers: Number of units of each hidden dense layer.
      batch_norm: Whether there is batch normalization.
      batch_size: Number of images in a minibatch, B.
      split: The part of the data set: "train", "validation" or "test".
      labels: The classes, 0 to 9, whose images are used, numbered anew in this
        order; by default all.
      data_dir: Where the files are; see `datasets.cifar10`.
      download: Whether to download them if they are not there.

    Raises:
      ValueError: An argument is out of its range, or a file is broken.
      OSError: The files are not there, or could not be downloaded.
    """
    conv_channels = checks.positive_integers("conv_channels", conv_channels)
    linear_layers = checks.positive_integers("linear_layers", linear_layers)
    if len(conv_channels) > 5:
      raise ValueError(f"conv_channels is {conv_channels!r}, but must be at "
                       "most five: each halves the 32 pixels of a side.")
    # Before the files are read, which takes a while.
    checks.positive_integer("batch_size", batch_size)
    classes = _classes(labels)
    self._num_convs = len(conv_channels)
    self._num_linears = len(linear_layers) + 1
    self._batch_norm = batch_norm
    shapes = {}
    for i, (c_in, c_out) in enumerate(itertools.pairwise([3, *conv_channels])):
      shapes[f"conv_net_2d/conv_2d_{i}/w"] = [_KERNEL, _KERNEL, c_in, c_out]
      shapes[f"conv_net_2d/conv_2d_{i}/b"] = [c_out]
      if batch_norm:
        shapes[f"conv_net_2d/batch_norm_{i}/beta"] = [1, 1, 1, c_out]
    side = _SIZE >> self._num_convs
    sizes = [side * side * [3, *conv_channels][-1], *linear_layers,
             len(classes)]
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
      shapes[f"mlp/linear_{i}/w"] = [fan_in, fan_out]
      shapes[f"mlp/linear_{i}/b"] = [fan_out]
      if batch_norm and i < len(linear_layers):
        shapes[_mlp_beta(i)] = [1, fan_out]
    images, numbers = datasets.cifar10(data_dir, split, download)
    if labels is not None:
      chosen = np.isin(numbers, classes)
      images, numbers = images[chosen], numbers[chosen]
      if not len(images):
        raise ValueError(f"labels is {labels!r}, but CIFAR-10 under {data_dir} "
                         f"has no such images in its split {split!r}.")
      number_anew = np.zeros(10, np.uint8)
      number_anew[classes] = range(len(classes))
      numbers = number_anew[numbers]
    super().__init__(images, numbers, shapes, batch_size)

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    params, constants = super().sample(seed)
    return {name: tf.zeros_like(p) if name.endswith("/beta") else p
            for name, p in params.items()}, constants

  def logits(self, params: base.Params, images: tf.Tensor) -> tf.Tensor:
    h = images  # [B, side, side, C]
    for i in range(self._num_convs):
      h = tf.nn.conv2d(h, params[f"conv_net_2d/conv_2d_{i}/w"], 1, "SAME")
      h = h + params[f"conv_net_2d/conv_2d_{i}/b"]
      if self._batch_norm:
        h = _normalize(h, params[f"conv_net_2d/batch_norm_{i}/beta"])
      # ReLU is monotonic: after the maxima it has a quarter of the work.
      h = tf.nn.relu(tf.nn.max_pool2d(h, 2, 2, "VALID"))
    h = tf.reshape(h, [-1, np.prod(h.shape[1:])])  # [B, side * side * C]
    for i in range(self._num_linears):
      h = h @ params[f"mlp/linear_{i}/w"] + params[f"mlp/linear_{i}/b"]
      if i < self._num_linears - 1:
        if self._batch_norm:
          h = _normalize(h, params[_mlp_beta(i)])
        h = tf.nn.relu(h)
    return h  # [B, classes]


def _classes(labels: Sequence[int] | None) -> list[int]:
  if labels is None:
    return list(range(10))
  classes = [int(l) for l in labels if 0 <= l <= 9]
  if not len(labels) == len(set(classes)) >= 2:
    raise ValueError(f"labels is {labels!r}, but must be two or more different "
                     "ones of 0 to 9.")
  return classes


def _mlp_beta(i: int) -> str:
  """The name of the i-th offset, as Sonnet 1 counts."""
  return f"mlp/batch_norm{f'_{i}' if i else ''}/beta"


def _normalize(x: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
  """Batch normalization of the channels, the last axis."""
  beta = tf.reshape(beta, [-1])  # [C]
  images = tf.reshape(x, [x.shape[0], -1, 1, x.shape[-1]])  # [B, H * W, 1, C]
  normal, _, _ = tf.compat.v1.nn.fused_batch_norm(
      images, tf.ones_like(beta), beta, epsilon=_EPSILON)
  return tf.reshape(normal, x.shape)
