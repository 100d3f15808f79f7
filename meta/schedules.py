"""What changes from epoch to epoch, as functions of the number of the epoch.

They depend on nothing else but the stage of the curriculum, which is part of a
checkpoint, so a run that is resumed goes on as it would have.
"""

import math

import numpy as np
import tensorflow as tf

from l2lgd import philox
from meta import seeds
from meta import settings as settings_lib


def learning_rate(settings: settings_lib.Settings, epoch: int) -> float:
  """Returns the learning rate of the meta-optimizer in an epoch.

  It decays to 0 over `decay_epochs` as half a cosine, which is equation 5 of
  Loshchilov & Hutter 2017 (SGDR) without restarts.

  Args:
    settings: The settings of the training.
    epoch: Number of the epochs before it.
  """
  if settings.decay_epochs is None:
    return settings.learning_rate
  progress = min(epoch / settings.decay_epochs, 1.)
  return settings.learning_rate * (1 + math.cos(math.pi * progress)) / 2


def num_steps(settings: settings_lib.Settings, epoch: int,
              stage: int = 0) -> int:
  """Returns the number of updates in the runs of an epoch.

  With `min_num_steps`, its logarithm is drawn uniformly, so that short runs are
  as frequent as long ones at every scale (Metz et al. 2022, VeLO), and rounded
  to whole unrolls.

  Args:
    settings: The settings of the training.
    epoch: Number of the epochs before it.
    stage: Number of the stages of the curriculum before it.
  """
  if settings.curriculum is not None:
    return int(settings.curriculum[stage])
  if settings.min_num_steps is None:
    return int(settings.num_steps)
  ratio = settings.num_steps / settings.min_num_steps
  length = settings.min_num_steps * ratio**_uniform(settings, "length", epoch)
  return int(
      settings.unroll_length * round(length / settings.unroll_length))


def validation_steps(settings: settings_lib.Settings, stage: int = 0) -> int:
  """Returns the number of updates in the runs of a validation.

  With a curriculum, it is that of the next stage, or the last one's own.

  Args:
    settings: The settings of the training.
    stage: Number of the stages of the curriculum before it.
  """
  if settings.curriculum is None:
    return int(settings.num_steps)
  return int(
      settings.curriculum[min(stage + 1, len(settings.curriculum) - 1)])


def problem(settings: settings_lib.Settings, epoch: int,
            num_problems: int) -> int:
  """Returns which of several problems an epoch trains on.

  It is drawn with a probability in proportion to its weight.

  Args:
    settings: The settings of the training.
    epoch: Number of the epochs before it.
    num_problems: Number of problems.
  """
  if num_problems == 1:
    return 0
  weights = settings.problem_weights
  if weights is None:
    weights = [1.] * num_problems
  ends = np.cumsum(weights) / np.sum(weights)
  return int(np.searchsorted(
      ends[:-1], _uniform(settings, "problem", epoch), side="right"))


def imitates(settings: settings_lib.Settings, epoch: int) -> bool:
  """Returns whether an epoch imitates the teacher.

  Args:
    settings: The settings of the training.
    epoch: Number of the epochs before it.
  """
  return settings.imitation > 0. and (
      _uniform(settings, "imitation", epoch) < settings.imitation)


def _uniform(settings: settings_lib.Settings, purpose: str,
             epoch: int) -> float:
  """Draws a number of [0, 1) for an epoch."""
  return float(philox.uniform(
      [], seeds.derive(settings.seed, purpose, epoch), tf.float64))
