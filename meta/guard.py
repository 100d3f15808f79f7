"""A guard of optimizers, for problems on which they may diverge."""

from collections.abc import Callable, Sequence
from typing import Any

import sonnet as snt
import tensorflow as tf

from l2lgd import checks
from meta import gradient_pairs, learned_optimizer
from networks import moments

_DECAY = 0.99  # Decay of the running mean of the norms.
_MIN_SIZE = 0.01  # Least size of a parameter: those of zeros must move.


class Guard(snt.Module):
  """An optimizer, and a safe step in its place where gradients are too large.

  The optimizer makes its first step, and each later one if the norm of all
  gradients is at most `factor` times the running mean of the norms in its steps
  before. This is the safeguard EMA of Heaton et al. 2023, "Safeguarded Learned
  Convex Optimization", with the gradient as the residual; the factor allows for
  the noise of minibatches. Otherwise the optimizer is not called, and its
  states stay as they are. Each parameter then moves against its gradient, by a
  step whose size is relative to that of the parameter. If the norm is not
  finite in float32, no parameter and no state changes. A guard does not work
  under a distribution strategy. For Keras, give `guard=True` to
  `KerasLearnedOptimizer`.

  Example:

    optimizer = meta.Guard(meta.LearnedOptimizer.load("paper-mnist"))
    optimizer.apply(gradients, variables)
    print(f"{int(optimizer.num_rejected)} steps were too large.")

  Attributes:
    optimizer: The optimizer.
    num_rejected: Number of steps that the optimizer did not make, a variable.
  """

  def __init__(self, optimizer: Any, factor: float = 3.,
               step_size: float = 0.01, name: str | None = None):
    """Sets when and how far the guard steps.

    Args:
      optimizer: A `LearnedOptimizer`, or another one that has its `apply`.
      factor: The multiple of the mean norm; at least 1.
      step_size: Root mean square of the safe step of a parameter, relative to
        that of the parameter, or to 0.01 if that is larger; positive. The step
        is also multiplied by the learning rate of a `LearnedOptimizer`.
      name: Name of the module.

    Raises:
      ValueError: An argument is not as described.
    """
    super().__init__(name)
    if not callable(getattr(optimizer, "apply", None)):
      raise ValueError(f"optimizer is {optimizer!r}, but must be an optimizer, "
                       "such as meta.LearnedOptimizer.load(...).")
    self.optimizer = optimizer
    self.num_rejected = tf.Variable(0, trainable=False, dtype=tf.int64)
    self._factor = checks.finite("factor", factor, 1.)
    self._step_size = checks.positive("step_size", step_size)
    self._sum = tf.Variable(0., trainable=False)  # Sum of the weighted norms.
    self._weight = tf.Variable(0., trainable=False)  # Sum of their weights.

  @property
  def statistics(self) -> tuple[tf.Variable, ...]:
    """The variables of the guard itself."""
    return self.num_rejected, self._sum, self._weight

  def apply(self, gradients: Sequence[tf.Tensor | None],
            parameters: Sequence[gradient_pairs.Parameter]) -> None:
    """Updates the parameters by one step.

    Args:
      gradients: See `LearnedOptimizer.apply`.
      parameters: See `LearnedOptimizer.apply`.

    Raises:
      ValueError: See `LearnedOptimizer.apply`; or the call is under a
        distribution strategy.
    """
    # They are read twice.
    gradients, parameters = gradient_pairs.as_lists(gradients, parameters)
    is_learned = isinstance(
        self.optimizer, learned_optimizer.LearnedOptimizer)
    self.step(gradient_pairs.pairs(gradients, parameters),
              lambda: self.optimizer.apply(gradients, parameters),
              self.optimizer.learning_rate if is_learned else 1.)

  def reset(self) -> None:
    """Sets all to what it was before the first step.

    So does the optimizer, which must have a `reset` of its own.
    """
    self.optimizer.reset()
    for variable in self.statistics:
      variable.assign(tf.zeros_like(variable))

  def step(self, pairs: Sequence[tuple[Any, gradient_pairs.Parameter]],
           update: Callable[[], None], learning_rate: Any) -> None:
    """Makes the step of an optimizer, or the safe one.

    Args:
      pairs: The gradients and their parameters.
      update: Makes the step of the optimizer.
      learning_rate: Factor of the safe step.

    Raises:
      ValueError: See `apply`.
    """
    if tf.distribute.has_strategy():
      raise ValueError("A Guard is under a distribution strategy, but works on "
                       "one device: call it outside the strategy's scope.")
    norm = tf.linalg.global_norm([tf.cast(
        g.values if isinstance(g, tf.IndexedSlices) else g, tf.float32)
                                  for g, _ in pairs])
    is_first = self._weight == 0.
    is_usual = norm * self._weight <= self._factor * self._sum

    def accept():
      update()
      for mean, value in ((self._sum, norm), (self._weight, 1.)):
        mean.assign(tf.where(  # Gradients of 0 are no measure.
            norm > 0., _DECAY * mean + (1. - _DECAY) * value, mean))

    def reject():
      self.num_rejected.assign_add(1)
      for gradient, parameter in pairs:
        self._make_safe_step(gradient, parameter, tf.where(
            tf.math.is_finite(norm), tf.cast(learning_rate, tf.float32), 0.))

    tf.cond(tf.math.is_finite(norm) & (is_first | is_usual), accept, reject)

  def _make_safe_step(
      self, gradient: Any, parameter: gradient_pairs.Parameter,
      factor: tf.Tensor) -> None:
    """Makes the safe step of a parameter."""
    variable = gradient_pairs.variable_of(parameter)
    g = tf.cast(tf.convert_to_tensor(gradient), tf.float32)
    size = tf.maximum(moments.rms(tf.cast(variable, tf.float32)), _MIN_SIZE)
    update = self._step_size * size * tf.math.divide_no_nan(g, moments.rms(g))
    variable.assign_sub(tf.cast(
        tf.math.multiply_no_nan(update, factor), variable.dtype))
