"""What changes from epoch to epoch, as functions of the number of the epoch.

They depend on nothing else, so a run that is resumed goes on as it would have.
"""

import math

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
