"""Optimizers designed by hand, as networks without variables."""

from typing import Any, NamedTuple

import sonnet as snt
import tensorflow as tf

import checks
from networks import base


@snt.allow_empty_variables
class Sgd(base.Network):
  """Gradient descent."""

  def __init__(self, learning_rate: float = 0.001, name: str | None = None):
    super().__init__(name)
    self._learning_rate = checks.positive("learning_rate", learning_rate)

  @property
  def options(self) -> dict[str, Any]:
    return {"learning_rate": self._learning_rate}

  def initial_state(self, params: base.Params) -> base.State:
    return ()

  def __call__(self, gradients: base.Params,
               state: base.State) -> tuple[base.Params, base.State]:
    updates = tf.nest.map_structure(
        lambda g: -self._learning_rate * g, gradients)
    return updates, state


class AdamState(NamedTuple):
  """Adam's memory, in the letters of the paper."""
  t: tf.Tensor  # Steps made, int32, shape [].
  m: base.Params  # First moments.
  v: base.Params  # Second raw moments.


def adam_update(g: tf.Tensor, alpha: float, beta_1: float, beta_2: float,
                epsilon: float, t: tf.Tensor, m: tf.Tensor,
                v: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Returns the update and the new m and v (Kingma & Ba 2015, algorithm 1)."""
  m = beta_1 * m + (1. - beta_1) * g
  v = beta_2 * v + (1. - beta_2) * g**2
  m_hat = m / (1. - beta_1**t)
  v_hat = v / (1. - beta_2**t)
  # At v = 0 the square root has no finite derivative.
  v_hat = tf.maximum(v_hat, g.dtype.as_numpy_dtype(1e-30))
  return -alpha * m_hat / (tf.sqrt(v_hat) + epsilon), m, v


@snt.allow_empty_variables
class Adam(base.Network):
  """Adam (Kingma & Ba 2015)."""

  def __init__(self, learning_rate: float = 1e-3, beta1: float = 0.9,
               beta2: float = 0.999, epsilon: float = 1e-8,
               name: str | None = None):
    super().__init__(name)
    self._learning_rate = checks.positive("learning_rate", learning_rate)
    self._beta1 = checks.fraction("beta1", beta1)
    self._beta2 = checks.fraction("beta2", beta2)
    self._epsilon = checks.positive("epsilon", epsilon)

  @property
  def options(self) -> dict[str, Any]:
    return {"learning_rate": self._learning_rate, "beta1": self._beta1,
            "beta2": self._beta2, "epsilon": self._epsilon}

  def initial_state(self, params: base.Params) -> base.State:
    zeros = tf.nest.map_structure(tf.zeros_like, params)
    return AdamState(tf.constant(0), zeros, zeros)

  def __call__(self, gradients: base.Params,
               state: base.State) -> tuple[base.Params, base.State]:
    t = state.t + 1
    results = [
        adam_update(g, self._learning_rate, self._beta1, self._beta2,
                    self._epsilon, tf.cast(t, g.dtype), m, v)
        for g, m, v in zip(*map(tf.nest.flatten,
                                (gradients, state.m, state.v)), strict=True)]
    updates, m, v = (tf.nest.pack_sequence_as(gradients, flat)
                     for flat in zip(*results))
    return updates, AdamState(t, m, v)
