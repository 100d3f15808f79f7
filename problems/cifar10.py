"""Training a convolutional network on CIFAR-10.

The experiment of Andrychowicz et al. 2016, section 3.3.
"""

from collections.abc import Iterable, Sequence
import itertools
import numbers

import numpy as np
import tensorflow as tf

from l2lgd import checks
from problems import classification, datasets, layers

_SIZE = 32  # Pixels a side.
_FILTER_SIZE = 5
_NUM_CLASSES = 10


class Cifar10(classification.Classification):
  """The cross-entropy of a convolutional network on minibatches of CIFAR-10.

  The defaults are the network of DeepMind's program: three convolutions of 16
  channels, each with max pooling, and a hidden layer of 32 units, all with
  batch normalization and ReLU. The paper also uses subsets of the classes,
  CIFAR-5 and CIFAR-2; `labels` selects them.

  Example:

    problem = problems.Cifar10(data_dir="data", download=True)
    cifar5 = problems.Cifar10(labels=(0, 1, 2, 3, 4), data_dir="data")
  """

  def __init__(self, conv_channels: Sequence[int] = (16, 16, 16),
               linear_layers: Sequence[int] = (32,), batch_norm: bool = True,
               batch_size: int = 128, split: str = "train",
               labels: Sequence[int] | None = None,
               data_dir: str | None = None, download: bool = False):
    """Reads the data set.

    Args:
      conv_channels: Number of channels of each convolution, at most five.
      linear_layers: Number of units of each hidden dense layer.
      batch_norm: Whether there is batch normalization.
      batch_size: Number of images in a minibatch, B.
      split: The part of the data set: "train", "validation" or "test".
      labels: The classes, 0 to 9, whose images are used. They are renumbered in
        this order. By default all are used.
      data_dir: The directory of cifar-10-batches-bin, the official binary
        version. None, that of Keras, needs `download`.
      download: Whether to download the data set if it is not there.

    Raises:
      ValueError: An argument is out of its range, or a file is broken.
      OSError: The files are not there, or could not be downloaded.
    """
    if labels is not None:
      labels = _check_labels(labels)
    network = _network(
        checks.positive_integers("conv_channels", conv_channels),
        checks.positive_integers("linear_layers", linear_layers),
        batch_norm, _NUM_CLASSES if labels is None else len(labels))
    # Checked before the files are read, which takes a while.
    checks.positive_integer("batch_size", batch_size)
    images, classes = datasets.cifar10.read(data_dir, split, download)
    if labels is not None:
      images, classes = _select(images, classes, labels)
    super().__init__(images, classes, network, batch_size)


def _network(conv_channels: Sequence[int], linear_layers: Sequence[int],
             batch_norm: bool, num_classes: int) -> list[layers.Layer]:
  """Returns the layers of the classifier."""
  if len(conv_channels) > 5:
    raise ValueError(
        f"conv_channels is {conv_channels!r}, but must be at most five numbers:"
        f" each convolution halves the {_SIZE} pixels of a side.")
  channels = [3, *conv_channels]  # The images have three colours.
  network = []
  for i, (c_in, c_out) in enumerate(itertools.pairwise(channels)):
    network.append(layers.conv_2d(
        f"conv_net_2d/conv_2d_{i}", _FILTER_SIZE, c_in, c_out))
    if batch_norm:
      network.append(layers.batch_norm(
          f"conv_net_2d/batch_norm_{i}", 1, 1, 1, c_out))
    network.append(layers.function(_max_pool_and_relu))
  side = _SIZE >> len(conv_channels)
  sizes = [side * side * channels[-1], *linear_layers, num_classes]
  return [*network, *layers.mlp(sizes, tf.nn.relu, batch_norm)]


def _max_pool_and_relu(images: tf.Tensor) -> tf.Tensor:
  # ReLU is monotonic: after the maxima it has a quarter of the work.
  return tf.nn.relu(tf.nn.max_pool2d(images, 2, 2, "VALID"))


def _check_labels(labels: Sequence[int]) -> list[int]:
  """Returns the labels, at least two different classes."""
  given = list(labels) if isinstance(labels, Iterable) else [labels]
  classes = [int(l) for l in given
             if isinstance(l, numbers.Integral) and 0 <= int(l) < _NUM_CLASSES]
  if not len(given) == len(set(classes)) >= 2:
    raise ValueError(f"labels is {labels!r}, but must be two or more different "
                     "classes of 0 to 9.")
  return classes


def _select(images: np.ndarray, classes: np.ndarray,
            labels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
  """Returns the images of these labels, and their places in `labels`."""
  chosen = np.isin(classes, labels)
  if not chosen.any():
    raise ValueError(f"labels is {labels!r}, but must be classes of which the "
                     f"files have images: {np.unique(classes).tolist()}.")
  places = np.zeros(_NUM_CLASSES, np.uint8)
  places[labels] = range(len(labels))
  return images[chosen], places[classes[chosen]]
