"""The smallest problems: squares of scalars."""

import tensorflow as tf

from l2lgd import checks
from problems import base


class Simple(base.Problem):
  """The function x^2, from x = 1.

  It has one parameter, no randomness, and a minimum that everyone knows. So it
  shows within seconds whether a training loop works.

  Example:

    problem = problems.Simple()
    params, constants = problem.sample(seed=tf.constant([0, 0]))
    problem.loss(params, constants, seed=tf.constant([0, 1]))  # 1.0
  """

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    del seed  # There is only one function.
    return {"x": tf.ones([])}, ()

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    return tf.square(params["x"])  # []


class SimpleMultiOptimizer(base.Problem):
  """The sum of x_i^2, from x_i = 1.

  It has as many parameters as one likes, so that each can have a network of
  its own.

  Example:

    optimizer = meta.MetaOptimizer(
        one={"net": "CoordinateWiseDeepLSTM"},
        two={"net": "Adam", "net_options": {"learning_rate": 0.1}})
    step = optimizer.meta_minimize(
        problems.SimpleMultiOptimizer(), len_unroll=5,
        net_assignments=[("one", ["x_0"]), ("two", ["x_1"])])
  """

  def __init__(self, num_dims: int = 2):
    """Creates the problem.

    Args:
      num_dims: Number of parameters, `x_0`, `x_1` and so on, each a scalar.

    Raises:
      ValueError: `num_dims` is not a positive integer.
    """
    self._num_dims = checks.positive_integer("num_dims", num_dims)

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    del seed  # There is only one function.
    return {f"x_{i}": tf.ones([]) for i in range(self._num_dims)}, ()

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    return tf.add_n(
        [tf.square(params[f"x_{i}"]) for i in range(self._num_dims)])  # []
