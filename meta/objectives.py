"""The meta-loss: what the losses of an unroll amount to."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from meta import unroll

NAMES = ("sum", "log")
_EPSILON = 1e-8  # Keeps the logarithm of a loss of 0 finite.


def meta_loss(losses: tf.Tensor, objective: str = "sum",
              batched: bool = False) -> tf.Tensor:
  """Returns the meta-loss of an unroll, shape [].

  "sum" is the sum of the losses over T, and their mean over K and S: equation
  3 of Andrychowicz et al. 2016, with every weight 1. "log" is the sum over T of
  log(f_t + epsilon) - log(f_0 + epsilon), and its mean over K, where f is the
  mean over S, and f_0 that before the unroll (Wichrowska et al. 2017). It needs
  losses above 0; a fall to a tenth counts the same at every size of the loss.

  Args:
    losses: The losses of the unroll, as `unroll.unroll` returns them.
    objective: "sum" or "log".
    batched: Whether these are of runs side by side.
  """
  if objective == "sum":
    return tf.reduce_sum(losses) / losses[0].shape.num_elements()
  logs = terms(losses, objective, 2 if batched else 1)
  return tf.reduce_sum(logs - logs[0]) / logs[0].shape.num_elements()


def terms(losses: tf.Tensor, objective: str, num_axes: int) -> tf.Tensor:
  """Returns f, or with "log", log(f + epsilon), whose sum is over T.

  Args:
    losses: Losses.
    objective: See `meta_loss`.
    num_axes: How many axes to keep; f are the means over the others.
  """
  means = tf.reduce_mean(losses, list(range(num_axes, losses.shape.rank)))
  return tf.math.log(means + _EPSILON) if objective == "log" else means


def derivatives_of(losses: tf.Tensor, objective: str, batched: bool
                   ) -> Callable[[Any, Any], Any]:
  """Returns a function for the derivatives of the t-th term of a meta-loss.

  Its arguments are the derivatives of the t-th loss, and t. The factor of the
  means over K and S is left out.
  """
  if objective == "sum":
    return lambda gradients, t: gradients
  # Those of the logarithms. They are not numbers where a logarithm is not, so
  # that the meta-gradient of losses below 0 is dropped.
  slopes = tf.exp(-terms(losses, objective, 2 if batched else 1))
  scale = unroll.vectorized(
      lambda gradients, factor: tf.nest.map_structure(
          lambda g: g * tf.cast(factor, g.dtype), gradients), batched)
  return lambda gradients, t: scale(gradients, slopes[t])
