"""Training a small network on MNIST (Andrychowicz et al. 2016, section 3.2)."""

from collections.abc import Sequence

import tensorflow as tf

from l2lgd import checks
from problems import classification, datasets, layers

_ACTIVATIONS = {"sigmoid": tf.sigmoid, "relu": tf.nn.relu}
_NUM_PIXELS = 28 * 28
_NUM_CLASSES = 10


class Mnist(classification.Classification):
  """The cross-entropy of a multilayer perceptron on minibatches of MNIST.

  The defaults are the paper's network, one hidden layer of 20 sigmoid units.
  The paper also applies the optimizer that was trained on it to 40 units, to
  two layers and to ReLU; other arguments give these problems.

  Example:

    problem = problems.Mnist(activation="relu", data_dir="data", download=True)
    test = problems.Mnist(activation="relu", data_dir="data", split="test")
  """

  def __init__(self, layers: Sequence[int] = (20,),
               activation: str = "sigmoid", batch_size: int = 128,
               split: str = "train", data_dir: str | None = None,
               download: bool = False, init_stddev: float = 0.01):
    """Reads the data set.

    Args:
      layers: Number of units of each hidden layer.
      activation: Activation of the hidden layers: "sigmoid" or "relu".
      batch_size: Number of images in a minibatch, B.
      split: The part of the data set: "train", "validation" or "test".
      data_dir: The directory of mnist.npz, or of the original IDX files. None,
        that of Keras, needs `download`.
      download: Whether to download the data set if it is not there.
      init_stddev: Standard deviation of the initial weights and biases;
        positive. The default is DeepMind's; the paper does not give its own.

    Raises:
      ValueError: An argument is out of its range, or a file is broken.
      OSError: The files are not there, or could not be downloaded.
    """
    network = _network(
        checks.positive_integers("layers", layers), activation,
        checks.positive("init_stddev", init_stddev))
    # Checked before the files are read, which takes a while.
    checks.positive_integer("batch_size", batch_size)
    images, labels = datasets.mnist.read(data_dir, split, download)
    super().__init__(images, labels, network, batch_size)


def _network(hidden: Sequence[int], activation: str,
             init_stddev: float) -> list[layers.Layer]:
  """Returns the layers of the classifier."""
  checks.one_of("activation", activation, _ACTIVATIONS)
  return layers.mlp(
      [_NUM_PIXELS, *hidden, _NUM_CLASSES], _ACTIVATIONS[activation],
      init=layers.Init(init_stddev))
