"""The smallest problems: squares of scalars."""

import tensorflow as tf

from l2lgd import checks
from problems import base


class Simple(base.Problem):
  """The function x^2, from x = 1.

  It has one parameter and no randomness, so it shows within seconds whether a
  training loop works.

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

  Each parameter can be assigned to another network.

  Example:

    optimizer = meta.MetaOptimizer(
        lstm={"net": "CoordinateWiseDeepLSTM",
              "net_options": {"layers": (20, 20)}},
        adam={"net": "Adam"})
    step = optimizer.meta_minimize(
        problems.SimpleMultiOptimizer(), len_unroll=5,
        net_assignments=[("lstm", ["x_0"]), ("adam", ["x_1"])])
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
