"""The best of the validations of a training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from meta import settings as settings_lib

_MIN_VALIDATIONS = 3  # In a stage of the curriculum, after the first.
# A smaller final loss, relative to the initial one, counts as this one, so that
# no problem drowns the others; so does one that is negative by rounding.
_MIN_RATIO = 1e-6
_WORST = float(np.finfo(np.float64).max)  # The worst of all scores.


class Best:
  """Compares validations, and remembers what is needed of the best.

  Lower is better. On one problem, that is the mean final loss. On several, it
  is the mean over the problems of log10 of the final loss relative to the
  initial loss of the same runs, so that no problem drowns the others; their
  losses must be above 0.

  With `curriculum`, the runs become longer from stage to stage (Chen et al.
  2020, "Training Stronger Baselines for Learning to Optimize"). A stage begins
  with a validation, and all of its validations have the length of the next
  stage. It is over when there have been three more, and the last is no better
  than the best. The next stage then begins with the best networks, and Adam, of
  this one. If none of its validations was better than the first, or if it was
  the last stage, the training stops.
  """

  def __init__(self, settings: settings_lib.Settings, variables: Sequence[Any]):
    """Creates the variables that are part of a checkpoint.

    Args:
      settings: The settings of the training.
      variables: The variables of the networks and of the meta-optimizer.
    """
    self._is_logarithmic = settings.objective == "log"
    self._patience = settings.patience
    self._num_stages = (
        0 if settings.curriculum is None else len(settings.curriculum))
    self._variables = variables
    self._score = tf.Variable(np.inf, trainable=False, dtype=tf.float64)
    # Number of validations since the best one.
    self._num_stale = tf.Variable(0, trainable=False, dtype=tf.int64)
    self._stage = tf.Variable(0, trainable=False, dtype=tf.int64)
    # Number of validations in the stage.
    self._num_validations = tf.Variable(0, trainable=False, dtype=tf.int64)
    self._values = [tf.Variable(v.numpy(), trainable=False) for v in variables
                   ] if settings.restart_from_best or self._num_stages else []

  @property
  def stage(self) -> int:
    """The number of stages of the curriculum that are over."""
    return int(self._stage.numpy())

  @property
  def has_stalled(self) -> bool:
    """Whether the training is to stop.

    That is when `patience` validations in a row have brought no improvement, or
    at the end of a stage that has no next one.
    """
    if self._num_stages:
      return self._is_stage_over()
    return self._patience is not None and (
        int(self._num_stale.numpy()) >= self._patience)

  def state(self) -> dict[str, Any]:
    """Returns what a checkpoint needs, by its name in the file format."""
    state = {"best": self._score}
    if self._patience is not None or self._num_stages:
      state["num_stale"] = self._num_stale
    if self._num_stages:
      state |= {"stage": self._stage, "num_validations": self._num_validations}
    if self._values:
      state["best_variables"] = self._values
    return state

  def compare(self, losses: Sequence[np.ndarray]) -> bool:
    """Returns whether a validation is the best so far, and remembers it.

    At the end of a stage of the curriculum, the next one begins.

    Args:
      losses: The losses of each problem, [runs, T + 1].
    """
    score = _score(losses, self._is_logarithmic)
    improved = bool(score < self._score.numpy())
    self._num_stale.assign(0 if improved else self._num_stale + 1)
    self._num_validations.assign_add(1)
    if improved:
      self._score.assign(score)
      _assign(self._values, self._variables)
    # The last improvement was not the first validation.
    has_improved = self._num_stale.numpy() < self._num_validations.numpy() - 1
    if (self._is_stage_over() and has_improved
        and self.stage + 1 < self._num_stages):
      self._begin_next_stage()
    return improved

  def restore(self) -> None:
    """With `restart_from_best` or `curriculum`, restores the best values."""
    _assign(self._variables, self._values)

  def _is_stage_over(self) -> bool:
    return bool(self._num_validations.numpy() > _MIN_VALIDATIONS
                and self._num_stale.numpy() > 0)

  def _begin_next_stage(self) -> None:
    self.restore()
    self._stage.assign_add(1)
    self._score.assign(np.inf)  # Longer runs have other scores.
    self._num_stale.assign(0)
    self._num_validations.assign(0)


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
  for variable, value in zip(variables, values):  # Either may be empty.
    variable.assign(value.numpy())


def _score(losses: Sequence[np.ndarray], is_logarithmic: bool) -> float:
  """Returns what `Best` compares.

  Functions that are not finite where they begin, as some of a problem may be,
  say nothing about the networks.

  Args:
    losses: The losses of each problem, [runs, T + 1].
    is_logarithmic: Whether the meta-loss has the logarithms of the losses.

  Raises:
    ValueError: Losses are not above 0, but their logarithms are needed.
  """
  losses = [of_one[np.isfinite(of_one[:, 0])] for of_one in losses]
  if not all(map(len, losses)):
    return _WORST
  finals = [np.mean(of_one[:, -1], dtype=np.float64) for of_one in losses]
  initials = [float(np.mean(of_one[:, 0], dtype=np.float64))
              for of_one in losses]
  if min(initials) <= 0. and (len(losses) > 1 or is_logarithmic):
    raise ValueError(
        f"The initial losses of the problems are {initials}, but must be above "
        "0: " + ("their logarithms are the objective." if is_logarithmic else
                 "several problems are compared by the logarithms of their "
                 "losses."))
  score = float(finals[0])
  if len(losses) > 1:
    with np.errstate(all="ignore"):
      ratios = np.divide(finals, initials)
      score = float(np.mean(np.log10(np.where(
          ratios > -_MIN_RATIO, np.maximum(ratios, _MIN_RATIO), np.nan))))
  return score if np.isfinite(score) else _WORST
