"""A trained optimizer for Keras."""

from typing import Any

import tensorflow as tf

from meta import learned_optimizer, pretrained_networks, slots
import networks
from networks import net_config as net_config_lib


@tf.keras.utils.register_keras_serializable("meta")
class KerasLearnedOptimizer(tf.keras.optimizers.Optimizer):
  """`LearnedOptimizer` for `model.compile`, with the same updates.

  Callbacks, gradient clipping, checkpoints and `get_config` work as with
  Keras's own optimizers. The configuration holds the networks and their
  weights: to load a saved model, import `meta` first; the folder of the trained
  optimizer is no longer needed.

  Example:

    model.compile(meta.KerasLearnedOptimizer("paper-mnist"), "mse")
    model.fit(inputs, targets)
  """

  def __init__(self, path: str | None = None,
               net_assignments: networks.Assignments | None = None,
               net_config: dict[str, Any] | None = None,
               learning_rate: Any = 1.0, **kwargs: Any):
    """Loads a trained optimizer.

    Args:
      path: See `LearnedOptimizer.load`. None if `net_config` has the weights.
      net_assignments: See `LearnedOptimizer.load`. The name of a parameter is
        its `path`.
      net_config: See `LearnedOptimizer.load`.
      learning_rate: Factor of the updates: a number, or a schedule of Keras.
      **kwargs: See `keras.optimizers.Optimizer`.

    Raises:
      FileNotFoundError: See `LearnedOptimizer.load`.
      ValueError: See `LearnedOptimizer.load`; or there is neither a path nor a
        configuration.
    """
    super().__init__(learning_rate, **kwargs)
    if path is not None:
      self._learned = learned_optimizer.LearnedOptimizer.load(
          path, net_config, net_assignments)
      self._net_config = net_config_lib.with_arrays(self._learned.networks)
    elif net_config:
      self._learned = learned_optimizer.LearnedOptimizer(
          net_config_lib.make(net_config), net_assignments)
      self._net_config = net_config
    else:
      raise ValueError(
          "path is None, but must be the folder of a trained optimizer, or one "
          f"of {list(pretrained_networks.pretrained())}.")

  def build(self, variables: list[tf.keras.Variable]) -> None:
    if self.built:
      return
    super().build(variables)
    self._slots = []
    for variable in variables:
      name = slots.parameter_name(variable)

      def make_variable(value, index, name=name):
        return self.add_variable(
            value.shape, lambda shape, dtype: value, value.dtype.name,
            name=f"{name.replace('/', '_')}_state_{index}")

      self._slots.append(slots.make_slot(
          self._learned.network_for(name), name, variable.shape,
          make_variable))

  def update_step(self, gradient: tf.Tensor, variable: tf.keras.Variable,
                  learning_rate: tf.Tensor) -> None:
    gradient = slots.as_gradient(gradient, variable)
    slot = self._slots[self._get_variable_index(variable)]
    if isinstance(gradient, tf.IndexedSlices):
      if slot.has_rows and not tf.distribute.has_strategy():
        slot.update_rows(gradient, variable, learning_rate)
        return
      gradient = tf.convert_to_tensor(gradient)
    update, next_state = slot.update(
        gradient, tf.convert_to_tensor(variable),
        [tf.convert_to_tensor(v) for v in slot.variables])
    self.assign_add(variable, tf.cast(
        update * tf.cast(learning_rate, update.dtype), variable.dtype))
    for old, new in zip(slot.variables, next_state, strict=True):
      self.assign(old, new)

  def get_config(self) -> dict[str, Any]:
    return super().get_config() | {
        "net_config": self._net_config,
        "net_assignments": self._learned.net_assignments}
