"""The search for the learning rate of an optimizer designed by hand."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from meta import evaluation

# The grid: 10^(k / 12). At first every fourth, three a decade.
_PER_DECADE = 12
_FIRST = range(-36, 1, 4)  # From 0.001 to 1.
_LIMIT = 8 * _PER_DECADE  # Nothing beyond 10^8, nor below 10^-8.


class Tuning(NamedTuple):
  """What a search found."""
  learning_rates: list[float]  # All that were tried, ascending.
  losses: list[float]  # Mean final loss of each; infinite if a run diverged.

  @property
  def best(self) -> float:
    """The learning rate of the least loss."""
    return self.learning_rates[int(np.argmin(self.losses))]


def tune(evaluator: evaluation.Evaluator, seeds: Sequence[int | tf.Tensor],
         progress: Callable = lambda x: x) -> Tuning:
  """Searches the learning rate of the least mean final loss.

  The grid has three rates a decade. It is widened, a decade at a time, while
  the best is at an edge, or the highest rate is as good but for one part in a
  hundred: where no rate leads anywhere, higher ones may. Then rates between the
  best and its neighbours are tried, twice, down to twelve a decade.

  Args:
    evaluator: Of an optimizer designed by hand.
    seeds: The runs to make at every rate.
    progress: Wraps the runs in a progress bar.
  """
  losses = {}  # By k.

  def measure(ks: Iterable[int]) -> int:
    """Tries what was not yet, and returns the best of all."""
    new = sorted(k for k in set(ks) - set(losses) if abs(k) <= _LIMIT)
    if new:  # All of them in one call, side by side as far as there is room.
      final = evaluator(
          [*seeds] * len(new), progress,
          [_rate(k) for k in new for _ in seeds])[:, -1]
      losses.update(zip(new, np.mean(
          final.reshape([len(new), -1]), axis=1, dtype=np.float64)))
    return min(losses, key=lambda k: (_finite(losses[k]), k))

  best = measure(_FIRST)
  while True:
    low, high = min(losses), max(losses)
    level = losses[best] + 0.01 * abs(losses[best])
    if high < _LIMIT and losses[high] <= level < np.inf:
      best = measure(range(high, high + _PER_DECADE + 1, 4))
    elif best == low > -_LIMIT:
      best = measure(range(low, low - _PER_DECADE - 1, -4))
    else:
      break
  for step in (2, 1):
    best = measure((best - step, best + step))
  ks = sorted(losses)
  return Tuning([_rate(k) for k in ks], [_finite(losses[k]) for k in ks])


def _rate(k: int) -> float:
  return float(f"{10.**(k / _PER_DECADE):.3g}")  # As it is printed.


def _finite(loss: float) -> float:
  return float(loss) if np.isfinite(loss) else np.inf
