"""The part that all problems of training a model on examples share."""

from typing import Any

import tensorflow as tf

from l2lgd import checks, philox
from problems import base, examples


class Supervised(base.Problem):
  """Training a model: its loss on random minibatches of examples.

  All functions of such a problem are the same; what is drawn is the starting
  point, and a minibatch for each evaluation.
  """

  def __init__(self, data: Any, batch_size: int):
    """Reads the examples.

    Args:
      data: Inputs and targets; see `examples.read`.
      batch_size: Number of examples in a minibatch, B.

    Raises:
      ValueError: An argument is out of its range.
    """
    self._batch_size = checks.positive_integer("batch_size", batch_size)
    # Read eagerly: a `tf.function` captures these tensors and never copies
    # them.
    self._data = examples.read(data)  # [n, ...] each.
    self._size = tf.nest.flatten(self._data)[0].shape[0]

  def minibatch(self, seed: tf.Tensor) -> tuple[examples.Batch, ...]:
    """Draws the inputs and targets of B examples, evenly, with replacement.

    If the data have sample weights, they are the third element.

    Args:
      seed: Seed, int32, shape [2].
    """
    return self._gather(
        philox.integers([self._batch_size], seed, self._size))

  def _gather(self, indices: Any) -> tuple[examples.Batch, ...]:
    return tf.nest.map_structure(
        lambda t: tf.gather(t, indices), self._data)
