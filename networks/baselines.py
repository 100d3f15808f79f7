"""Optimizers designed by hand, as networks without variables.

The defaults are those of Torch's package `optim`, as in the paper (Andrychowicz
et al. 2016), section 3; `Momentum` and `RMSProp` name their exceptions.
"""

import abc
from collections.abc import Iterator
from typing import Any, NamedTuple

import sonnet as snt
import tensorflow as tf

from l2lgd import checks
from networks import base


@snt.allow_empty_variables
class _Elementwise(base.Network):
  """A rule that treats each number of the parameters alike, and alone.

  Its state is a named tuple whose first field is the learning rate, a float32
  tensor of shape []: another may be put there, one for each of runs that lie
  side by side, say. The other fields are the memory.
  """

  def __init__(self, name: str | None, learning_rate: float, **others: float):
    super().__init__(name)
    self._learning_rate = checks.positive("learning_rate", learning_rate)
    self._others = others

  @property
  def options(self) -> dict[str, Any]:
    return {"learning_rate": self._learning_rate, **self._others}

  def initial_state(self, params: base.Params) -> base.State:
    return self._state(tf.constant(self._learning_rate, tf.float32), params)

  @abc.abstractmethod
  def _state(self, learning_rate: tf.Tensor, params: base.Params) -> base.State:
    """Returns the state before the first step."""

  def __call__(self, gradients: base.Params,
               state: base.State) -> tuple[base.Params, base.State]:
    updates, *memory = self._map(gradients, *state)
    return updates, type(state)(state.learning_rate, *memory)

  def _map(self, gradients: base.Params, learning_rate: tf.Tensor,
           *memory: base.Params) -> Iterator[base.Params]:
    """Returns the updates and the new memory."""
    results = [
        self._update(g, tf.cast(learning_rate, g.dtype),
                     *self._others.values(), *of_g)
        for g, *of_g in zip(
            *map(tf.nest.flatten, (gradients, *memory)), strict=True)]
    return (tf.nest.pack_sequence_as(gradients, flat) for flat in zip(*results))

  @staticmethod
  @abc.abstractmethod
  def _update(g: tf.Tensor, rate: tf.Tensor,
              *others: Any) -> tuple[tf.Tensor, ...]:
    """The formula, in the letters of its paper.

    Args:
      g: A gradient.
      rate: The learning rate.
      *others: The other options, and the memory of the numbers of g.

    Returns:
      The update and the new memory.
    """


def _zeros(params):
  return tf.nest.map_structure(tf.zeros_like, params)


def _root(v):
  """The square root, kept off 0, where it has no finite derivative."""
  return tf.sqrt(tf.maximum(v, 1e-7 if v.dtype == tf.float16 else 1e-30))


class SgdState(NamedTuple):
  """The state of gradient descent."""
  learning_rate: tf.Tensor


class Sgd(_Elementwise):
  """Gradient descent."""

  def __init__(self, learning_rate: float = 0.001, name: str | None = None):
    super().__init__(name, learning_rate)

  def _state(self, learning_rate, params):
    return SgdState(learning_rate)

  @staticmethod
  def _update(g, alpha):
    return (-alpha * g,)


class MomentumState(NamedTuple):
  """The state of momentum and of Nesterov's method."""
  learning_rate: tf.Tensor
  v: base.Params  # Velocities.


class Momentum(_Elementwise):
  """Momentum (Polyak 1964), as in Sutskever et al. 2013, equations 1 and 2.

  `optim.sgd` has no momentum unless told; 0.9 is that of `optim.nag`. With it,
  it also scales the gradient by 1 - momentum, which is not done here.
  """

  def __init__(self, learning_rate: float = 1e-3, momentum: float = 0.9,
               name: str | None = None):
    super().__init__(name, learning_rate,
                     momentum=checks.fraction("momentum", momentum))

  def _state(self, learning_rate, params):
    return MomentumState(learning_rate, _zeros(params))

  @staticmethod
  def _update(g, epsilon, mu, v):
    v = mu * v - epsilon * g
    return v, v


class Nesterov(Momentum):
  """Nesterov's accelerated gradient (1983), Sutskever et al. 2013, 3 and 4.

  The gradient is theirs at theta + mu v. That point, not theta, is what the
  parameters hold (Bengio et al. 2013), as in `optim.nag`; from one to the next,
  it moves by mu v_{t+1} - epsilon g.
  """

  @staticmethod
  def _update(g, epsilon, mu, v):
    v = mu * v - epsilon * g
    return mu * v - epsilon * g, v


class RpropState(NamedTuple):
  """The state of Rprop."""
  learning_rate: tf.Tensor
  delta: base.Params  # Sizes of the steps, in learning rates.
  g: base.Params  # Last gradients; 0 where the sign had changed.


class Rprop(_Elementwise):
  """Resilient backpropagation (Riedmiller & Braun 1993).

  Where the sign of the gradient changes there is no step, nor one back: the
  variant iRprop- of Igel & Huesken 2000, as in `optim.rprop`. The learning rate
  is the size of the first step, delta_0.
  """

  def __init__(self, learning_rate: float = 0.1, eta_plus: float = 1.2,
               eta_minus: float = 0.5, min_step: float = 1e-6,
               max_step: float = 50., name: str | None = None):
    super().__init__(
        name, learning_rate,
        eta_plus=checks.finite("eta_plus", eta_plus, 1.),
        eta_minus=checks.fraction("eta_minus", eta_minus),
        min_step=checks.positive("min_step", min_step),
        max_step=checks.finite("max_step", max_step, min_step))

  def _state(self, learning_rate, params):
    ones = tf.nest.map_structure(tf.ones_like, params)
    return RpropState(learning_rate, ones, _zeros(params))

  @staticmethod
  def _update(g, delta_0, eta_plus, eta_minus, delta_min, delta_max, delta,
              last_g):
    sign = tf.sign(g) * tf.sign(last_g)  # The product itself may underflow.
    delta = tf.where(sign > 0, eta_plus * delta,
                     tf.where(sign < 0, eta_minus * delta, delta))
    delta = tf.clip_by_value(delta, delta_min / delta_0, delta_max / delta_0)
    g = tf.where(sign < 0, tf.zeros_like(g), g)
    return -tf.sign(g) * delta_0 * delta, delta, g


class AdagradState(NamedTuple):
  """The state of Adagrad."""
  learning_rate: tf.Tensor
  diag_g: base.Params  # Sums of the squares of the gradients.


class Adagrad(_Elementwise):
  """Adagrad (Duchi et al. 2011, figure 1, with diagonal matrices)."""

  def __init__(self, learning_rate: float = 1e-3, epsilon: float = 1e-10,
               name: str | None = None):
    super().__init__(name, learning_rate,
                     epsilon=checks.positive("epsilon", epsilon))

  def _state(self, learning_rate, params):
    return AdagradState(learning_rate, _zeros(params))

  @staticmethod
  def _update(g, eta, delta, diag_g):
    diag_g = diag_g + g**2
    s = _root(diag_g)
    return -eta * g / (delta + s), diag_g


class RMSPropState(NamedTuple):
  """The state of RMSProp."""
  learning_rate: tf.Tensor
  mean_square: base.Params  # Of the gradients.


class RMSProp(_Elementwise):
  """RMSProp (Tieleman & Hinton 2012, lecture 6.5).

  As in `optim.rmsprop`, epsilon is added to the root, not under it. The default
  of decay, its alpha, is the lecture's 0.9: with 0.99, RMSProp stays above the
  paper's loss on MNIST at any learning rate.
  """

  def __init__(self, learning_rate: float = 1e-2, decay: float = 0.9,
               epsilon: float = 1e-8, name: str | None = None):
    super().__init__(name, learning_rate,
                     decay=checks.fraction("decay", decay),
                     epsilon=checks.positive("epsilon", epsilon))

  def _state(self, learning_rate, params):
    return RMSPropState(learning_rate, _zeros(params))

  @staticmethod
  def _update(g, eta, decay, epsilon, mean_square):
    mean_square = decay * mean_square + (1. - decay) * g**2
    return -eta * g / (_root(mean_square) + epsilon), mean_square


class AdamState(NamedTuple):
  """Adam's state, in the letters of the paper."""
  learning_rate: tf.Tensor
  t: tf.Tensor  # Steps made, int32, shape [].
  m: base.Params  # First moments.
  v: base.Params  # Second raw moments.


class Adam(_Elementwise):
  """Adam (Kingma & Ba 2015, algorithm 1)."""

  def __init__(self, learning_rate: float = 1e-3, beta1: float = 0.9,
               beta2: float = 0.999, epsilon: float = 1e-8,
               name: str | None = None):
    super().__init__(name, learning_rate,
                     beta1=checks.fraction("beta1", beta1),
                     beta2=checks.fraction("beta2", beta2),
                     epsilon=checks.positive("epsilon", epsilon))

  def _state(self, learning_rate, params):
    return AdamState(
        learning_rate, tf.constant(0), _zeros(params), _zeros(params))

  def __call__(self, gradients: base.Params,
               state: base.State) -> tuple[base.Params, base.State]:
    t = state.t + 1
    # In 16 bits, beta_2 would be 1.
    ts = tf.nest.map_structure(
        lambda g: tf.cast(t, g.dtype if g.dtype.size > 2 else tf.float32),
        gradients)
    updates, m, v = self._map(
        gradients, state.learning_rate, ts, state.m, state.v)
    return updates, AdamState(state.learning_rate, t, m, v)

  @staticmethod
  def _update(g, alpha, beta_1, beta_2, epsilon, t, m, v):
    m = beta_1 * m + (1. - beta_1) * g
    v = beta_2 * v + (1. - beta_2) * g**2
    m_hat = m / tf.cast(1. - beta_1**t, g.dtype)
    v_hat = v / tf.cast(1. - beta_2**t, g.dtype)
    return -alpha * m_hat / (_root(v_hat) + epsilon), m, v
