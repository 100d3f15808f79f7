"""Random scales of the coordinates of any problem."""

import tensorflow as tf

from l2lgd import checks, philox
from problems import base


class RandomScaling(base.Problem):
  """A problem whose coordinates are scaled at random, anew in each run.

  It optimizes f(c * x) from x_0 / c, where f and x_0 are those of another
  problem, and c = exp(u) with u drawn from U(-r, r) for each coordinate (Lv et
  al. 2017). The losses at the start are those of the other problem, but the
  scales of gradients differ by factors of up to exp(2r). An optimizer that is
  trained on it cannot rely on them, and so works on more problems.

  Example:

    problem = problems.RandomScaling(problems.Quadratic(), r=3.)
    params, constants = problem.sample(tf.constant([1, 2]))
  """

  def __init__(self, problem: base.Problem, r: float = 3.):
    """Wraps a problem.

    Args:
      problem: The problem.
      r: The largest absolute value of the logarithm of a scale.

    Raises:
      ValueError: `problem` is no problem, or `r` is not positive.
    """
    if not isinstance(problem, base.Problem):
      raise ValueError(f"problem is {problem!r}, but must be a Problem.")
    self._problem = problem
    self._r = checks.positive("r", r)

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    function_seed, scale_seed = philox.split(seed)
    params, constants = self._problem.sample(function_seed)
    scales = {
        name: tf.exp(
            2 * self._r * philox.uniform(x.shape, own, x.dtype) - self._r)
        for (name, x), own in zip(
            params.items(), philox.split(scale_seed, len(params)))}
    scaled = {name: x / scales[name] for name, x in params.items()}
    return scaled, (constants, scales)

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    constants, scales = constants
    return self._problem.loss(
        {name: scales[name] * x for name, x in params.items()}, constants, seed)
