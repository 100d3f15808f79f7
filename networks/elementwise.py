"""The base class of optimizers that treat all coordinates alike."""

import abc
from collections.abc import Iterator
from typing import Any

import sonnet as snt
import tensorflow as tf

from l2lgd import checks
from networks import base


@snt.allow_empty_variables
class Elementwise(base.Network):
  """A formula that is applied to each coordinate of the parameters on its own.

  The state is a NamedTuple. Its first field is `learning_rate`, a float32
  tensor of shape []; the other fields are the memory, zeros before the first
  step. A subclass names the class of its state and implements `_update`, the
  formula.

  Example:

    class State(NamedTuple):
      learning_rate: tf.Tensor
      mean: networks.Params  # Running mean of the gradients.

    class SignOfMean(elementwise.Elementwise):
      _state_class = State

      def __init__(self, learning_rate=0.01, decay=0.9, name=None):
        super().__init__(name, learning_rate, decay=decay)

      @staticmethod
      def _update(g, rate, mean, *, decay):
        mean = decay * mean + (1. - decay) * g
        return -rate * tf.sign(mean), mean
  """

  _state_class: Any  # The class of the state, a NamedTuple.

  def __init__(self, name: str | None, learning_rate: float,
               **hyperparams: float):
    """Keeps the hyperparameters, which `options` returns.

    Args:
      name: Name of the module.
      learning_rate: The initial learning rate.
      **hyperparams: Other hyperparameters, keyword arguments of `_update`.

    Raises:
      ValueError: The learning rate is not positive.
    """
    super().__init__(name)
    self._learning_rate = checks.positive("learning_rate", learning_rate)
    self._hyperparams = hyperparams

  @property
  def options(self) -> dict[str, Any]:
    return {"learning_rate": self._learning_rate, **self._hyperparams}

  def initial_state(self, params: base.Params) -> base.State:
    return self._state_class(
        tf.constant(self._learning_rate, tf.float32), *self._memory(params))

  def with_learning_rate(self, state: base.State,
                         learning_rate: Any) -> base.State:
    return state._replace(learning_rate=tf.reshape(
        tf.convert_to_tensor(learning_rate, tf.float32),
        state.learning_rate.shape))

  def __call__(self, gradients: base.Params,
               state: base.State) -> tuple[base.Params, base.State]:
    updates, *memory = self._map_update(gradients, *state)
    return updates, self._state_class(state.learning_rate, *memory)

  def _memory(self, params: base.Params) -> list[Any]:
    """Returns the fields of the memory before the first step."""
    return [zeros(params)] * (len(self._state_class._fields) - 1)

  def _map_update(self, gradients: base.Params, learning_rate: tf.Tensor,
                  *memory: base.Params, **others: Any) -> Iterator[base.Params]:
    """Applies the formula to all parameters.

    Args:
      gradients: The gradients.
      learning_rate: The learning rate, shape [].
      *memory: The fields of the memory.
      **others: More keyword arguments of `_update`.

    Returns:
      The updates, and each field of the next memory.
    """
    results = [
        self._update(g, tf.cast(learning_rate, g.dtype), *memory_of_g,
                     **self._hyperparams, **others)
        for g, *memory_of_g in zip(
            *map(tf.nest.flatten, (gradients, *memory)), strict=True)]
    return (tf.nest.pack_sequence_as(gradients, flat) for flat in zip(*results))

  @staticmethod
  @abc.abstractmethod
  def _update(g: tf.Tensor, rate: tf.Tensor, *memory: Any,
              **hyperparams: Any) -> tuple[tf.Tensor, ...]:
    """Returns the update of a parameter, and its part of the next memory.

    Args:
      g: The gradient of the parameter.
      rate: The learning rate, in the type of g, shape [].
      *memory: The parameter's part of each field of the memory.
      **hyperparams: The hyperparameters by name.
    """


def zeros(params: base.Params) -> base.Params:
  """Returns zeros in the shapes of the parameters."""
  return tf.nest.map_structure(tf.zeros_like, params)


def root(v: tf.Tensor) -> tf.Tensor:
  """Returns the square root of v, kept above 0, where its slope is infinite."""
  return tf.sqrt(tf.maximum(v, 1e-7 if v.dtype == tf.float16 else 1e-30))
