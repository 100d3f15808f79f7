"""The losses of any network on any problem."""

from collections.abc import Callable, Sequence
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from l2lgd import checks
from meta import meta_optimizer
from meta import seeds as seeds_lib
import networks
import problems


class Evaluator:
  """Runs a network on functions drawn from a problem, many side by side.

  The same seeds give the same functions, starting points and minibatches to
  every network.

  Attributes:
    max_side_by_side: Runs that are made at once.
  """

  def __init__(self, network: networks.Network, problem: problems.Problem,
               num_steps: int, jit_compile: bool | None = None):
    """Args:
      network: Any optimizer, learned or designed by hand.
      problem: What it optimizes.
      num_steps: Updates in a run, T.
      jit_compile: See `meta_optimizer.Unroller`.

    Raises:
      ValueError: `num_steps` is not a positive integer, or the network cannot
        optimize the parameters of this problem.
    """
    checks.positive_integer("num_steps", num_steps)
    self._meta_loss = meta_optimizer.Unroller(
        network, problem, num_steps, jit_compile=jit_compile)
    params = self._meta_loss.reset(seed=0).params
    size = sum(p.shape.num_elements() for p in params.values())
    self.max_side_by_side = max(1, _max_coordinates() // size)

  def __call__(self, seeds: Sequence[int | tf.Tensor],
               progress: Callable = lambda x: x,
               learning_rates: Sequence[float] | None = None) -> np.ndarray:
    """Makes a run for every seed, and returns their losses; see `run`."""
    return self.run(seeds, progress, learning_rates)[0]

  def run(self, seeds: Sequence[int | tf.Tensor],
          progress: Callable = lambda x: x,
          learning_rates: Sequence[float] | None = None
          ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Makes a run for every seed.

    Args:
      seeds: Integers or int32 tensors of shape [2].
      progress: Wraps the seeds in a progress bar.
      learning_rates: For each seed, in the place of that of an optimizer
        designed by hand; others do not compile anew.

    Returns:
      The losses before each update and after the last one, shape
      [seeds, T + 1]. Where the problem is one of S functions at once, each of
      them is a row, [seeds * S, T + 1]. And the parameters after the last
      update, each of shape [seeds, ...].
    """
    num_chunks = math.ceil(len(seeds) / self.max_side_by_side)
    size = math.ceil(len(seeds) / num_chunks)
    rows, params = [], []
    for start in progress(range(0, len(seeds), size)):
      # The last chunk goes round to the first seeds: all have the same shape.
      chunk = [(start + i) % len(seeds) for i in range(size)]
      own_seeds = [seeds_lib.as_seed(seeds[i]) for i in chunk]
      run = self._meta_loss.reset(
          tf.stack(own_seeds) if size > 1 else own_seeds[0])
      if learning_rates is not None:
        rates = tf.constant([learning_rates[i] for i in chunk], tf.float32)
        run = run._replace(state=run.state._replace(learning_rate=tf.reshape(
            rates, run.state.learning_rate.shape)))
      try:
        losses, run = self._meta_loss.unroll(run)
      except ValueError:  # Perhaps they can be made one after another.
        if size == 1:
          raise
        self.max_side_by_side = 1
        return self.run(seeds, progress, learning_rates)
      count = min(size, len(seeds) - start)
      losses = losses.numpy().reshape([len(losses), size, -1])[:, :count]
      rows.append(losses.reshape([len(losses), -1]).T)
      params.append({name: (p[tf.newaxis] if size == 1 else p)[:count].numpy()
                     for name, p in run.params.items()})
    return np.concatenate(rows), tf.nest.map_structure(
        lambda *parts: np.concatenate(parts), *params)


def _max_coordinates() -> int:
  """Coordinates that are worth being optimized side by side."""
  # More are no faster on a CPU, and fit in the memory of any GPU.
  return 2**20 if tf.config.list_physical_devices("GPU") else 2**15


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
