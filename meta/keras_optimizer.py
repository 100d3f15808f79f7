"""A trained optimizer as one of Keras's."""

import os
from typing import Any

import tensorflow as tf

from meta import learned_optimizer, meta_optimizer
import networks
from networks import weights


@tf.keras.utils.register_keras_serializable("meta")
class KerasLearnedOptimizer(tf.keras.optimizers.Optimizer):
  """`LearnedOptimizer` for `model.compile`, with the same updates.

  Its configuration holds the networks and their weights: a model that was
  saved is loaded without the folder, where `meta` has been imported.
  """

  def __init__(self, path: str | None = None,
               net_assignments: networks.Assignments | None = None,
               net_config: dict[str, Any] | None = None,
               learning_rate: Any = 1.0, **kwargs):
    """Args:
      path: See `LearnedOptimizer.load`; None where `net_config` has the
        weights.
      net_assignments: See `LearnedOptimizer.load`; a parameter's name is its
        `path`.
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
      self._net_config = {key: _config(net, os.path.join(path, f"{key}.l2l"))
                          for key, net in self._learned.networks.items()}
    elif net_config:
      self._learned = learned_optimizer.LearnedOptimizer(
          meta_optimizer.MetaOptimizer(**net_config).networks, net_assignments)
      self._net_config = net_config
    else:
      raise ValueError("path is None, but must be the folder of a trained "
                       "optimizer.")

  def build(self, variables: list[tf.keras.Variable]) -> None:
    if self.built:
      return
    super().build(variables)
    self._states, self._templates = [], []
    for variable in variables:
      name = learned_optimizer.parameter_name(variable)
      state = self._learned.initial_state(name, variable.shape)
      self._templates.append(tf.nest.map_structure(lambda _: None, state))
      self._states.append([
          self.add_variable(t.shape, lambda shape, dtype, t=t: t, t.dtype.name,
                            name=f"{name.replace('/', '_')}_state_{i}")
          for i, t in enumerate(tf.nest.flatten(state))])

  def update_step(self, gradient: tf.Tensor, variable: tf.keras.Variable,
                  learning_rate: tf.Tensor) -> None:
    gradient = learned_optimizer.as_gradient(gradient, variable)
    index = self._get_variable_index(variable)
    update, new_state = self._learned.update(
        learned_optimizer.parameter_name(self._trainable_variables[index]),
        gradient, tf.nest.pack_sequence_as(
            self._templates[index],
            [tf.convert_to_tensor(v) for v in self._states[index]]))
    self.assign_add(variable, tf.cast(
        update * tf.cast(learning_rate, update.dtype), variable.dtype))
    for old, new in zip(
        self._states[index], tf.nest.flatten(new_state), strict=True):
      self.assign(old, new)

  def get_config(self) -> dict[str, Any]:
    return super().get_config() | {
        "net_config": self._net_config,
        "net_assignments": self._learned.net_assignments}


def _config(network, filename):
  """Arguments of `networks.factory` with the weights of a file, as JSON."""
  layers = {layer: {field: array.tolist() for field, array in fields.items()}
            for layer, fields in weights.read(filename).weights.items()}
  options = {"initializer": layers} if layers else {}
  return {"net": type(network).__name__,
          "net_options": network.options | options}
