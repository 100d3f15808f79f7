"""The losses of any network on any problem."""

from collections.abc import Callable, Sequence
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import checks
from meta import seeds as seeds_lib
from meta import unroll
import networks
import problems


class Evaluator:
  """Runs a network on functions drawn from a problem, compiled once.

  The same seeds give the same functions, starting points and minibatches to
  every network.
  """

  def __init__(self, network: networks.Network, problem: problems.Problem,
               num_steps: int):
    """Args:
      network: Any optimizer, learned or designed by hand.
      problem: What it optimizes.
      num_steps: Updates in a run, T.

    Raises:
      ValueError: `num_steps` is not a positive integer, or the network cannot
        optimize the parameters of this problem.
    """
    checks.positive_integer("num_steps", num_steps)
    unroll.start(network, problem, seed=0)  # Makes the network's variables.

    @tf.function(autograph=False)
    def losses(seed):
      run = unroll.start(network, problem, seed)
      return unroll.unroll(network, problem, run, num_steps)[0]
    self._losses = losses

  def __call__(self, seeds: Sequence[int | tf.Tensor],
               progress: Callable = lambda x: x) -> np.ndarray:
    """Makes a run for every seed.

    Args:
      seeds: Integers or int32 tensors of shape [2].
      progress: Wraps the seeds in a progress bar.

    Returns:
      The losses before each update and after the last one, shape
      [seeds, T + 1]. Where the problem is one of S functions at once, each of
      them is a row, [seeds * S, T + 1].
    """
    rows = []
    for seed in progress(seeds):
      losses = self._losses(seeds_lib.as_seed(seed)).numpy()  # [T + 1, ...]
      rows.append(losses.reshape([len(losses), -1]).T)
    return np.concatenate(rows)


class Summary(NamedTuple):
  """Statistics of final losses."""
  mean: float  # Of the runs that did not diverge, as are those below.
  standard_error: float  # Of the mean; NaN where there is a single run.
  lower_quartile: float
  median: float
  upper_quartile: float
  num_runs: int
  num_diverged: int  # Runs whose final loss is not finite.

  @property
  def log_mean(self) -> float:
    """Decimal logarithm of the mean."""
    with np.errstate(divide="ignore"):
      return float(np.log10(self.mean))


def summarize(final_losses: np.ndarray) -> Summary:
  """Returns the statistics of final losses, shape [runs].

  Where every run diverged, the mean and the quartiles are infinite.
  """
  finite = final_losses[np.isfinite(final_losses)].astype(np.float64)
  if finite.size:
    with np.errstate(invalid="ignore"):
      standard_error = np.std(finite) / np.sqrt(finite.size - 1)
    statistics = [np.mean(finite), standard_error,
                  *np.percentile(finite, (25, 50, 75))]
  else:
    statistics = [math.inf] * 5
  return Summary(*map(float, statistics), final_losses.size,
                 final_losses.size - finite.size)
