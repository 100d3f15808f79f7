"""Training a small network on MNIST (Andrychowicz et al. 2016, section 3.2)."""

from collections.abc import Sequence
import itertools

import tensorflow as tf

from l2lgd import checks
from problems import base, classification, datasets

_ACTIVATIONS = {"sigmoid": tf.sigmoid, "relu": tf.nn.relu}
_NUM_PIXELS = 28 * 28
_NUM_CLASSES = 10


class Mnist(classification.Classification):
  """The cross-entropy of a multilayer perceptron on minibatches of MNIST."""

  def __init__(self, layers: Sequence[int] = (20,),
               activation: str = "sigmoid", batch_size: int = 128,
               split: str = "train", data_dir: str | None = None,
               download: bool = False):
    """Initializes the problem, reading the data set.

    Args:
      layers: Number of units of each hidden layer.
      activation: Of the hidden layers: "sigmoid" or "relu".
      batch_size: Number of images in a minibatch, B.
      split: The part of the data set: "train", "validation" or "test".
      data_dir: Where its files are; see `datasets.mnist`.
      download: Whether to download them if they are not there.

    Raises:
      ValueError: An argument is out of its range, or a file is broken.
      OSError: The files are not there, or could not be downloaded.
    """
    hidden = checks.positive_integers("layers", layers)
    sizes = [_NUM_PIXELS, *hidden, _NUM_CLASSES]
    self._activation = _ACTIVATIONS[
        checks.one_of("activation", activation, _ACTIVATIONS)]
    # Before the files are read, which takes a while.
    checks.positive_integer("batch_size", batch_size)
    self._num_linears = len(sizes) - 1
    shapes = {}
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
      shapes[f"mlp/linear_{i}/w"] = [fan_in, fan_out]
      shapes[f"mlp/linear_{i}/b"] = [fan_out]
    images, labels = datasets.mnist(data_dir, split, download)
    super().__init__(images, labels, shapes, batch_size)

  def logits(self, params: base.Params, images: tf.Tensor) -> tf.Tensor:
    h = tf.reshape(images, [tf.shape(images)[0], _NUM_PIXELS])  # [B, 784]
    for i in range(self._num_linears):
      if i > 0:
        h = self._activation(h)
      h = h @ params[f"mlp/linear_{i}/w"] + params[f"mlp/linear_{i}/b"]
    return h  # [B, C]
