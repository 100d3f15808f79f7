"""A trained optimizer for Keras."""

import numbers
from typing import Any

import keras
import tensorflow as tf

from l2lgd import checks, files
from meta import gradient_pairs, learned_optimizer, pretrained_networks
from meta import guard as guard_lib
import networks
from networks import net_config as net_config_lib


@keras.utils.register_keras_serializable("meta")
class KerasLearnedOptimizer(keras.optimizers.Optimizer):
  """`LearnedOptimizer` for `model.compile`, with the same updates.

  Callbacks, gradient clipping, checkpoints and `get_config` work as with
  Keras's own optimizers. The configuration holds the networks and their
  weights: to load a saved model, import `meta` first; the folder of the trained
  optimizer is no longer needed.

  Example:

    model.compile(meta.KerasLearnedOptimizer("general"), "mse")
    model.fit(inputs, targets)
  """

  def __init__(self, path: files.Path | None = None,
               net_assignments: networks.Assignments | None = None,
               net_config: dict[str, Any] | None = None,
               learning_rate: Any = 1.0, shard: bool | None = None,
               guard: bool = False, **kwargs: Any):
    """Loads a trained optimizer.

    Args:
      path: See `LearnedOptimizer.load`. None if `net_config` has the weights.
      net_assignments: See `LearnedOptimizer.load`. The name of a parameter is
        its `path`.
      net_config: See `LearnedOptimizer.load`.
      learning_rate: Factor of the updates: a number, or a schedule of Keras.
      shard: See `LearnedOptimizer`.
      guard: Whether a `Guard` makes safe steps where gradients are too large;
        its `num_rejected` is then an attribute. Keras applies a `weight_decay`
        in these steps, too.
      **kwargs: See `keras.optimizers.Optimizer`.

    Raises:
      FileNotFoundError: See `LearnedOptimizer.load`.
      ValueError: See `LearnedOptimizer.load`; there is neither a path nor a
        configuration; `guard` is no boolean; or Keras's backend is not
        TensorFlow.
    """
    checks.keras_backend()
    if isinstance(learning_rate, numbers.Real):
      # A float, as Keras refuses other numbers.
      learning_rate = checks.finite("learning_rate", learning_rate)
    super().__init__(learning_rate, **kwargs)
    self._shard = shard
    if path is not None:
      self._learned = learned_optimizer.LearnedOptimizer.load(
          path, net_config, net_assignments, shard=shard)
    elif net_config:
      self._learned = learned_optimizer.LearnedOptimizer(
          net_config_lib.make(net_config), net_assignments, shard=shard)
    else:
      raise ValueError(
          "path is None, but must be the folder of a trained optimizer, or one "
          f"of {list(pretrained_networks.pretrained())}.")
    self._net_config = net_config_lib.with_arrays(self._learned.networks)
    self._guard = (guard_lib.Guard(self._learned)
                   if checks.boolean("guard", guard) else None)

  @property
  def num_rejected(self) -> tf.Variable:
    """Number of steps that the learned optimizer did not make.

    Raises:
      AttributeError: There is no guard.
    """
    if self._guard is None:
      raise AttributeError("num_rejected is of a guard: give guard=True.")
    return self._guard.num_rejected

  def build(self, variables: list[keras.Variable]) -> None:
    if self.built:
      return
    self._learned.create_states(  # Which may refuse them.
        [gradient_pairs.parameter_name(v) for v in variables],
        [*map(gradient_pairs.variable_of, variables)])
    super().build(variables)
    for states in self._learned.states:
      for state in states:
        self._track_variable(state)
    for i, variable in enumerate(self._guard.statistics if self._guard else ()):
      self._track_variable(keras.Variable(  # Which has a path.
          variable, dtype=variable.dtype, trainable=False, name=f"guard_{i}"))

  def _backend_update_step(self, grads: list[Any],
                           trainable_variables: list[keras.Variable],
                           learning_rate: tf.Tensor) -> None:
    # Not `update_step`: one call is for all parameters.
    variables = [*map(gradient_pairs.variable_of, trainable_variables)]
    gradients = gradient_pairs.sum_over_replicas(
        [*map(gradient_pairs.as_gradient, grads, trainable_variables)])

    def update():
      self._learned.update(gradients, variables, learning_rate)

    if self._guard:
      self._guard.step(
          [*zip(gradients, variables, strict=True)], update, learning_rate)
    else:
      update()

  def _trackable_children(self, save_type: str = "checkpoint",
                          **kwargs: Any) -> dict[str, Any]:
    children = super()._trackable_children(save_type, **kwargs)
    if save_type != "checkpoint":
      del children["_variables"]  # See `LearnedOptimizer`.
    return children

  def get_config(self) -> dict[str, Any]:
    return super().get_config() | {
        "net_config": self._net_config, "shard": self._shard,
        "guard": self._guard is not None,
        "net_assignments": self._learned.net_assignments}
