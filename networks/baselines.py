"""Hand-designed optimizers, as networks without variables.

They are the baselines of the learned ones. The defaults are those of Torch's
package `optim`, which the paper used (Andrychowicz et al. 2016, section 3);
`Momentum` and `RMSProp` name their exceptions. The formulas are in the letters
of their papers.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from l2lgd import checks
from networks import base, elementwise


class SgdState(NamedTuple):
  """The state of gradient descent."""
  learning_rate: tf.Tensor


class Sgd(elementwise.Elementwise):
  """Gradient descent: the update is -learning_rate * gradient.

  Example:

    network = networks.Sgd(learning_rate=0.1)
  """
  _state_class = SgdState

  def __init__(self, learning_rate: float = 0.001, name: str | None = None):
    """Sets the learning rate.

    Args:
      learning_rate: Factor of the gradients; positive.
      name: Name of the module.

    Raises:
      ValueError: `learning_rate` is not as described.
    """
    super().__init__(name, learning_rate)

  @staticmethod
  def _update(g: tf.Tensor, alpha: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return (-alpha * g,)


class MomentumState(NamedTuple):
  """The state of momentum and of Nesterov's method."""
  learning_rate: tf.Tensor
  v: base.Params  # Velocities.


class Momentum(elementwise.Elementwise):
  """Momentum (Polyak 1964), as in Sutskever et al. 2013, equations 1 and 2.

  The `optim.sgd` of Torch 7, the Lua package that the paper used, has no
  momentum by default; 0.9 is the default of its `optim.nag`. Where `optim.sgd`
  is given a momentum, it also multiplies the gradient by 1 - momentum; this
  class does not.
  """
  _state_class = MomentumState

  def __init__(self, learning_rate: float = 1e-3, momentum: float = 0.9,
               name: str | None = None):
    """Sets the learning rate and the momentum.

    Args:
      learning_rate: Factor of the gradients; positive.
      momentum: Factor by which the velocity decays, mu; in [0, 1).
      name: Name of the module.

    Raises:
      ValueError: An argument is not as described.
    """
    super().__init__(name, learning_rate,
                     momentum=checks.fraction("momentum", momentum))

  @staticmethod
  def _update(g: tf.Tensor, epsilon: tf.Tensor, v: tf.Tensor, *,
              momentum: float) -> tuple[tf.Tensor, ...]:
    mu = momentum
    v = mu * v - epsilon * g
    return v, v


class Nesterov(Momentum):
  """Nesterov's accelerated gradient (1983).

  Equations 3 and 4 of Sutskever et al. 2013, which take the gradient at
  theta + mu v. That point, not theta, is what the parameters hold here (Bengio
  et al. 2013), so that losses are those at that point, as those of Torch 7's
  `optim.nag` are. From one step to the next, it moves by
  mu v_{t+1} - epsilon g.
  """

  @staticmethod
  def _update(g: tf.Tensor, epsilon: tf.Tensor, v: tf.Tensor, *,
              momentum: float) -> tuple[tf.Tensor, ...]:
    mu = momentum
    v = mu * v - epsilon * g
    return mu * v - epsilon * g, v


class RpropState(NamedTuple):
  """The state of Rprop."""
  learning_rate: tf.Tensor
  delta: base.Params  # Sizes of the steps, as multiples of the learning rate.
  g: base.Params  # Previous gradients; 0 where the sign had changed.


class Rprop(elementwise.Elementwise):
  """Resilient backpropagation (Riedmiller & Braun 1993).

  Where the sign of the gradient changes, the coordinate stays and the previous
  step is not taken back: this is iRprop- (Igel & Huesken 2000), as in
  Torch 7's `optim.rprop`.
  """
  _state_class = RpropState

  def __init__(self, learning_rate: float = 0.1, eta_plus: float = 1.2,
               eta_minus: float = 0.5, min_step: float = 1e-6,
               max_step: float = 50., name: str | None = None):
    """Sets how the sizes of the steps begin, grow and shrink.

    Args:
      learning_rate: Size of the first step, delta_0; positive.
      eta_plus: Factor of the size while the sign stays the same; at least 1.
      eta_minus: Factor of the size where the sign changes; in [0, 1).
      min_step: Smallest size; positive.
      max_step: Largest size; at least `min_step`.
      name: Name of the module.

    Raises:
      ValueError: An argument is not as described.
    """
    super().__init__(
        name, learning_rate,
        eta_plus=checks.finite("eta_plus", eta_plus, 1.),
        eta_minus=checks.fraction("eta_minus", eta_minus),
        min_step=checks.positive("min_step", min_step),
        max_step=checks.finite("max_step", max_step, min_step))

  def _memory(self, params: base.Params) -> list[Any]:
    ones = tf.nest.map_structure(tf.ones_like, params)
    return [ones, elementwise.zeros(params)]

  @staticmethod
  def _update(g: tf.Tensor, delta_0: tf.Tensor, delta: tf.Tensor,
              last_g: tf.Tensor, *, eta_plus: float, eta_minus: float,
              min_step: float, max_step: float) -> tuple[tf.Tensor, ...]:
    sign = tf.sign(g) * tf.sign(last_g)  # g * last_g may underflow.
    delta = tf.where(sign > 0, eta_plus * delta,
                     tf.where(sign < 0, eta_minus * delta, delta))
    delta = tf.clip_by_value(delta, min_step / delta_0, max_step / delta_0)
    g = tf.where(sign < 0, tf.zeros_like(g), g)
    return -tf.sign(g) * delta_0 * delta, delta, g


class AdagradState(NamedTuple):
  """The state of Adagrad."""
  learning_rate: tf.Tensor
  diag_g: base.Params  # Sums of the squared gradients.


class Adagrad(elementwise.Elementwise):
  """Adagrad (Duchi et al. 2011, figure 1, with diagonal matrices)."""
  _state_class = AdagradState

  def __init__(self, learning_rate: float = 1e-3, epsilon: float = 1e-10,
               name: str | None = None):
    """Sets the learning rate and what keeps the divisor above 0.

    Args:
      learning_rate: Size of the first step, eta; positive.
      epsilon: Added to the root of the sum of squares, delta; positive.
      name: Name of the module.

    Raises:
      ValueError: An argument is not as described.
    """
    super().__init__(name, learning_rate,
                     epsilon=checks.positive("epsilon", epsilon))

  @staticmethod
  def _update(g: tf.Tensor, eta: tf.Tensor, diag_g: tf.Tensor, *,
              epsilon: float) -> tuple[tf.Tensor, ...]:
    delta = epsilon
    diag_g = diag_g + g**2
    s = elementwise.root(diag_g)
    return -eta * g / (delta + s), diag_g


class RMSPropState(NamedTuple):
  """The state of RMSProp."""
  learning_rate: tf.Tensor
  mean_square: base.Params  # Running means of the squared gradients.


class RMSProp(elementwise.Elementwise):
  """RMSProp (Tieleman & Hinton 2012, lecture 6.5).

  As in Torch 7's `optim.rmsprop`, epsilon is added to the root, not under it.
  The default of decay (its alpha) is the lecture's 0.9: with 0.99, RMSProp
  stays above the paper's loss on MNIST at any learning rate.

  Example:

    network = networks.RMSProp(learning_rate=0.01, decay=0.99)
  """
  _state_class = RMSPropState

  def __init__(self, learning_rate: float = 1e-2, decay: float = 0.9,
               epsilon: float = 1e-8, name: str | None = None):
    """Sets the learning rate, and how fast old gradients are forgotten.

    Args:
      learning_rate: Size of a step along a constant gradient, eta; positive.
      decay: Factor by which old squares decay in their mean; in [0, 1).
      epsilon: Added to the root of the mean square; positive.
      name: Name of the module.

    Raises:
      ValueError: An argument is not as described.
    """
    super().__init__(name, learning_rate,
                     decay=checks.fraction("decay", decay),
                     epsilon=checks.positive("epsilon", epsilon))

  @staticmethod
  def _update(g: tf.Tensor, eta: tf.Tensor, mean_square: tf.Tensor, *,
              decay: float, epsilon: float) -> tuple[tf.Tensor, ...]:
    mean_square = decay * mean_square + (1. - decay) * g**2
    return -eta * g / (elementwise.root(mean_square) + epsilon), mean_square


class AdamState(NamedTuple):
  """The state of Adam, in the letters of the paper."""
  learning_rate: tf.Tensor
  t: tf.Tensor  # Number of steps made, int32, shape [].
  m: base.Params  # First moments.
  v: base.Params  # Second raw moments.


class Adam(elementwise.Elementwise):
  """Adam (Kingma & Ba 2015, algorithm 1).

  Example:

    network = networks.Adam(learning_rate=0.001, beta2=0.99)
  """
  _state_class = AdamState

  def __init__(self, learning_rate: float = 1e-3, beta1: float = 0.9,
               beta2: float = 0.999, epsilon: float = 1e-8,
               name: str | None = None):
    """Sets the hyperparameters of algorithm 1.

    Args:
      learning_rate: Size of a step along a constant gradient, alpha; positive.
      beta1: Decay rate of the first moments; in [0, 1).
      beta2: Decay rate of the second moments; in [0, 1).
      epsilon: Added to the root of the second moment; positive.
      name: Name of the module.

    Raises:
      ValueError: An argument is not as described.
    """
    super().__init__(name, learning_rate,
                     beta1=checks.fraction("beta1", beta1),
                     beta2=checks.fraction("beta2", beta2),
                     epsilon=checks.positive("epsilon", epsilon))

  def _memory(self, params: base.Params) -> list[Any]:
    zeros = elementwise.zeros(params)
    return [tf.constant(0), zeros, zeros]

  def __call__(self, gradients: base.Params,
               state: base.State) -> tuple[base.Params, base.State]:
    t = state.t + 1
    updates, m, v = self._map_update(
        gradients, state.learning_rate, state.m, state.v, t=t)
    return updates, AdamState(state.learning_rate, t, m, v)

  @staticmethod
  def _update(g: tf.Tensor, alpha: tf.Tensor, m: tf.Tensor, v: tf.Tensor, *,
              t: tf.Tensor, beta1: float, beta2: float,
              epsilon: float) -> tuple[tf.Tensor, ...]:
    # In 16 bits, beta2 would be 1.
    t = tf.cast(t, g.dtype if g.dtype.size > 2 else tf.float32)
    m = beta1 * m + (1. - beta1) * g
    v = beta2 * v + (1. - beta2) * g**2
    m_hat = m / tf.cast(1. - beta1**t, g.dtype)
    v_hat = v / tf.cast(1. - beta2**t, g.dtype)
    return -alpha * m_hat / (elementwise.root(v_hat) + epsilon), m, v


BY_NAME: dict[str, type[base.Network]] = {
    cls.__name__: cls
    for cls in (Sgd, Momentum, Nesterov, Rprop, Adagrad, RMSProp, Adam)}
"""The hand-designed optimizers by name."""
