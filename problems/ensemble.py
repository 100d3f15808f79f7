"""Sums of problems."""

from collections.abc import Sequence

import tensorflow as tf

from l2lgd import checks
from problems import base


class Ensemble(base.Problem):
  """A weighted sum of problems, each with parameters of its own.

  The parameters of the i-th problem are named `problem_<i>/<name>`.
  """

  def __init__(self, problems: Sequence[base.Problem],
               weights: Sequence[float] | None = None):
    """Initializes the problem.

    Args:
      problems: The terms of the sum; their losses must have the same shape.
      weights: Of the terms, one a problem. By default 1.

    Raises:
      ValueError: There is no problem, something is not a problem, a weight is
        not a finite number, or there are more or fewer weights than problems.
    """
    self._problems = list(problems)
    if not self._problems:
      raise ValueError("problems is empty, but must hold at least one.")
    others = [p for p in self._problems if not isinstance(p, base.Problem)]
    if others:
      raise ValueError(f"problems has {others}, but must hold Problems only.")
    weights = [1.] * len(self._problems) if weights is None else list(weights)
    if len(weights) != len(self._problems):
      raise ValueError(
          f"weights is {weights}, but must be {len(self._problems)} numbers, "
          "one a problem.")
    self._weights = [checks.finite(f"weights[{i}]", weight)
                     for i, weight in enumerate(weights)]

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    params, constants = {}, []
    for i, problem in enumerate(self._problems):
      own_params, own_constants = problem.sample(_own_seed(seed, i))
      params |= {f"problem_{i}/{name}": value
                 for name, value in own_params.items()}
      constants.append(own_constants)
    return params, tuple(constants)

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    losses = []
    for i, problem in enumerate(self._problems):
      prefix = f"problem_{i}/"
      own_params = {name.removeprefix(prefix): value
                    for name, value in params.items()
                    if name.startswith(prefix)}
      losses.append(self._weights[i] * problem.loss(
          own_params, constants[i], _own_seed(seed, i)))
    return tf.add_n(losses)  # Unlike `+`, it refuses a mix of shapes.


def _own_seed(seed: tf.Tensor, i: int) -> tf.Tensor:
  return tf.random.fold_in(seed, i, alg="philox")  # [2]
