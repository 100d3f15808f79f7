"""The smallest problems: squares of scalars."""

import tensorflow as tf

from l2lgd import checks
from problems import base


class Simple(base.Problem):
  """x^2, from x = 1."""

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    del seed  # There is but one such function.
    return {"x": tf.ones([])}, ()

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    return tf.square(params["x"])  # []


class SimpleMultiOptimizer(base.Problem):
  """The sum of x_i^2, from x_i = 1: a parameter for each network."""

  def __init__(self, num_dims: int = 2):
    """Initializes the problem.

    Args:
      num_dims: Number of parameters, `x_0`, `x_1` and so on, each a scalar.

    Raises:
      ValueError: `num_dims` is not a positive integer.
    """
    self._num_dims = checks.positive_integer("num_dims", num_dims)

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    del seed  # There is but one such function.
    return {f"x_{i}": tf.ones([]) for i in range(self._num_dims)}, ()

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    return tf.add_n(
        [tf.square(params[f"x_{i}"]) for i in range(self._num_dims)])  # []
