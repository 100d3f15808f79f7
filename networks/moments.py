"""Running means of gradients and of their squares."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

TINY = 1e-37  # Smaller squares, those of gradients below 3e-19, count as 0.
_HUGE = 1e30  # Larger ones are clipped, so that sums of them do not overflow.


class Moments(NamedTuple):
  """Running means of gradients and of their squares, which start from zero."""
  means: tf.Tensor  # [K, D, N], for K decays.
  squares: tf.Tensor  # [L, D, N], for L decays.
  peaks: tf.Tensor  # The largest value so far of the mean of `squares[0]` over
  # the parameter's coordinates, repeated for each of its rows, [1, N].
  step: tf.Tensor  # Number of gradients so far, int32, shape [], or [1, N].


class RunningMoments:
  """Means and mean squares with exponential weights, of rows of gradients."""

  def __init__(self, decays: Sequence[float], square_decays: Sequence[float]):
    """Sets the decays, K of the means and L of the mean squares."""
    self._decays = np.reshape(decays, [-1, 1, 1])
    self._square_decays = np.reshape(square_decays, [-1, 1, 1])

  def start(self, rows: tf.Tensor) -> Moments:
    """Returns the moments before the first gradients, shaped as rows [D, N]."""
    zeros = tf.zeros_like(rows)
    return Moments(tf.stack([zeros] * len(self._decays)),
                   tf.stack([zeros] * len(self._square_decays)), zeros[:1],
                   tf.constant(0))

  def update(self, moments: Moments, rows: tf.Tensor,
             sizes: Sequence[int | None]) -> Moments:
    """Returns the moments after gradients [D, N].

    Args:
      moments: Those before.
      rows: The gradients.
      sizes: Number of rows of each parameter, N in all.
    """
    moments = Moments(
        _mean(moments.means, rows, self._decays),
        _mean(moments.squares, tf.minimum(rows**2, _HUGE),
              self._square_decays),
        moments.peaks, moments.step + 1)
    fastest = self.unbiased(moments)[1][0]  # [D, N]
    parts = [fastest] if len(sizes) == 1 else tf.split(fastest, sizes, axis=1)
    levels = [tf.reduce_mean(p) * tf.ones_like(p[:1]) for p in parts]
    return moments._replace(
        peaks=tf.maximum(moments.peaks, tf.concat(levels, 1)))

  def unbiased(self, moments: Moments) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the means [K, D, N] and squares [L, D, N], corrected.

    As in Adam, a mean that starts from zero is divided by the sum of its
    weights (Kingma and Ba 2015, algorithm 1).
    """
    def sum_of_weights(decays):
      decays = tf.constant(decays, moments.means.dtype)
      return 1 - decays**tf.cast(moments.step, decays.dtype)

    return (moments.means / sum_of_weights(self._decays),
            moments.squares / sum_of_weights(self._square_decays))


def log(v: tf.Tensor) -> tf.Tensor:
  """Returns the logarithm of v, or of `TINY` if v is smaller."""
  return tf.math.log(tf.maximum(v, TINY))


def inverse_root(v: tf.Tensor) -> tf.Tensor:
  """Returns 1 / sqrt(v), and 0 where v counts as 0."""
  return tf.where(v > TINY, tf.math.rsqrt(tf.maximum(v, TINY)), 0.)


def rms(x: tf.Tensor) -> tf.Tensor:
  """Returns the root mean square of all numbers, shape []."""
  return tf.sqrt(tf.reduce_mean(x**2))


def _mean(old: tf.Tensor, value: tf.Tensor, decays: np.ndarray) -> tf.Tensor:
  """Returns the next running means."""
  decays = tf.constant(decays, value.dtype)
  return decays * old + (1 - decays) * value
