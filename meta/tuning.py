"""The search for the learning rate of a hand-designed optimizer."""

from collections.abc import Callable, Iterable, Sequence
import json
import math
import os
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from l2lgd import files
from meta import evaluation, replicas
import networks
import problems

_PER_DECADE = 12  # The grid is 10^(k / 12).
_FIRST = range(-36, 1, _PER_DECADE)  # From 0.001 to 1.
_LIMIT = 8 * _PER_DECADE  # The grid ends at 10^-8 and 10^8.


class Tuning(NamedTuple):
  """The result of a search."""
  learning_rates: list[float]  # All rates that were tried, ascending.
  losses: list[float]  # Mean final loss of each, of `evaluation.losses_at`;
  # infinite if a run diverged.

  @property
  def best(self) -> float:
    """The learning rate with the lowest loss."""
    return self.learning_rates[int(np.argmin(self.losses))]


def tune(evaluator: Callable[..., evaluation.Evaluation],
         seeds: Sequence[int | tf.Tensor],
         progress: Callable = lambda x: x) -> Tuning:
  """Searches for the learning rate with the lowest mean final loss.

  It starts with one rate per decade, from 0.001 to 1. The grid grows by a
  decade, with three rates, while the best rate is at an edge, or while the loss
  of the highest rate is within 1 % of the best: on such a plateau, where no
  rate makes progress, higher ones may. It ends at 1e-8 and 1e8. Then rates
  closer and closer to the best are tried, down to a twelfth of a decade.

  Example:

    evaluator = evaluation.Evaluator(networks.Adam(), problem, num_steps=100)
    rate = tuning.tune(evaluator, seeds=range(10)).best

  Args:
    evaluator: Evaluates a hand-designed optimizer: an `evaluation.Evaluator`,
      or a candidate of a `shared_evaluator.SharedEvaluator`.
    seeds: Seeds of the runs that are made at every rate.
    progress: See `evaluation.Evaluator.__call__`.

  Raises:
    ValueError: There is no seed, or the optimizer has no learning rate.
  """
  losses: dict[int, float] = {}  # By k.

  def measure(ks: Iterable[int]) -> int:
    """Tries the rates that are new, and returns the best k of all."""
    new = sorted(k for k in set(ks) - set(losses) if abs(k) <= _LIMIT)
    if new:  # All in one call, so that they are side by side if they fit.
      final = evaluation.losses_at(evaluator(
          [*seeds] * len(new), progress,
          [_rate(k) for k in new for _ in seeds]).losses)
      losses.update(zip(new, evaluation.mean_curve(
          final.reshape([len(new), -1]).T)))
    return min(losses, key=lambda k: (_finite(losses[k]), k))

  best = measure(_FIRST)
  while True:
    low, high = min(losses), max(losses)
    plateau = losses[best] + 0.01 * abs(losses[best])
    if high < _LIMIT and losses[high] <= plateau < np.inf:
      best = measure(range(high, high + _PER_DECADE + 1, 4))
    elif best == low > -_LIMIT:
      best = measure(range(low, low - _PER_DECADE - 1, -4))
    else:
      break
  for step in (6, 3, 1, 1):  # 1 + 1 = 2, next to what has been tried.
    best = measure((best - step, best + step))
  ks = sorted(losses)
  return Tuning([_rate(k) for k in ks], [_finite(losses[k]) for k in ks])


def _rate(k: int) -> float:
  return float(f"{10.**(k / _PER_DECADE):.3g}")  # Exactly as it is printed.


def _finite(loss: float) -> float:
  return float(loss) if np.isfinite(loss) else np.inf


def fingerprint(problem: problems.Problem) -> list[list[float | None]]:
  """Returns losses that tell this problem from others, with other data say.

  They are those of two runs of three steps of gradient descent; None stands for
  a loss that is not finite.
  """
  losses = evaluation.Evaluator(
      networks.Sgd(0.1), problem, 3, jit_compile=False)([0, 1]).losses
  return [[float(x) if np.isfinite(x) else None for x in run] for run in losses]


class Cache:
  """The searches that are kept in a JSON file, each under its settings."""

  def __init__(self, filename: str | None):
    """Reads the file.

    Args:
      filename: The file, which need not exist yet. None keeps searches in
        memory only.

    Raises:
      ValueError: The file is damaged.
    """
    self._filename = filename and files.expand(filename)
    self._searches: list[dict[str, Any]] = []
    self._read()

  def _read(self) -> None:
    """Reads the file, if there is one."""
    if self._filename is None or not os.path.exists(self._filename):
      return
    with open(self._filename, encoding="utf-8") as file:
      try:
        self._searches = json.load(file)
        if not isinstance(self._searches, list):
          raise TypeError("it has no list")
        for search in self._searches:
          search["settings"], search["learning_rates"], search["losses"]
      except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{self._filename} holds no searches of learning rates: move it "
            f"if it is of another program, and delete it if it is damaged "
            f"({error!r}).") from error

  def find(self, settings: dict[str, Any]) -> Tuning | None:
    """Returns the search that is kept under these settings, or None.

    Of several processes, all find it or none does, as they search together.

    Args:
      settings: JSON values that determine the result.
    """
    found = next((search for search in self._searches
                  if search["settings"] == settings), None)
    is_everywhere = min(replicas.of_workers(int(found is not None)))
    if found is None or not is_everywhere:
      return None
    return Tuning(found["learning_rates"], [
        math.inf if loss is None else loss for loss in found["losses"]])

  def add(self, settings: dict[str, Any], found: Tuning) -> None:
    """Keeps a search.

    Args:
      settings: JSON values that determine the result.
      found: The result.

    Raises:
      ValueError: The file is damaged.
      OSError: The file cannot be written; an existing one is left as it was.
    """
    search = {"settings": settings, "learning_rates": found.learning_rates,
              "losses": [loss if math.isfinite(loss) else None
                         for loss in found.losses]}
    if self._filename is None or not replicas.is_first_worker():
      self._searches.append(search)
      return
    with files.in_turn(os.path.dirname(self._filename) or "."):
      self._read()  # Other processes may have written it.
      self._searches.append(search)
      files.write_json(self._filename, self._searches)
