"""Training a model of Keras."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from l2lgd import checks, philox
from problems import base, examples, model_problem, seeded


class KerasProblem(model_problem.ModelProblem):
  """The loss of a Keras model on random minibatches of examples.

  Use it to train an optimizer for a model, or to compare optimizers on it.

  The model is called with training=True: batch normalization uses the mean and
  the variance of the minibatch, and dropout draws its masks from the seed of
  the loss. The model's own losses, such as those of regularizers, are added.
  The parameters are named by `variable.path`.

  For each run, the initializers of the layers draw the weights anew, from the
  seed of `sample`; a seed that was given to an initializer is ignored. Weights
  that do not come from TensorFlow's random operations, because `model_fn` loads
  them for instance, are the same in all runs. The same holds for variables that
  are not trained, such as those of frozen layers: those that are random are
  drawn for each run, and the others keep the values that `model_fn` gave them.

  Example:

    def model_fn():
      return keras.Sequential([
          keras.Input([8]), keras.layers.Dense(20, "tanh"),
          keras.layers.Dense(1)])

    inputs = np.random.default_rng(0).normal(size=[512, 8])
    targets = np.sum(inputs**2, axis=1, keepdims=True)
    problem = problems.KerasProblem(model_fn, "mse", (inputs, targets))
  """

  def __init__(self, model_fn: Callable[[], keras.Model],
               loss_fn: Callable[..., Any] | str, data: Any,
               batch_size: int = 128):
    """Calls `model_fn` once, reads the data, and computes a loss as a check.

    Args:
      model_fn: Returns a new model, with all its weights.
      loss_fn: A loss of Keras, its name, or any function that takes the targets
        and the outputs of a minibatch and returns losses of shape [] or [B],
        whose mean is taken.
      data: Inputs and targets, in a tuple of two arrays, shape [n, ...] each
        (or nests of arrays), or a `tf.data.Dataset` of such examples, one by
        one, not in batches; it is read to its end and kept in memory. float64
        becomes float32. A third array, shape [n], holds sample weights: each
        loss is multiplied by its weight, and the mean is over the number of
        examples, as in Keras. Minibatches are drawn by position, so a `Dataset`
        must have the same order each time: shuffle it with a seed, or not at
        all.
      batch_size: Number of examples in a minibatch, B.

    Raises:
      ValueError: An argument is not what it must be, or the loss cannot be
        computed.
    """
    checks.keras_backend()
    super().__init__(
        _named_loss(loss_fn) if isinstance(loss_fn, str) else loss_fn, data,
        batch_size)
    if not callable(model_fn) or isinstance(model_fn, keras.Model):
      raise ValueError(f"model_fn is {model_fn!r}, but must be a function that "
                       "makes a model.")
    self._model, created = _make_model(model_fn)
    draw = seeded.seeded(
        lambda: self._initial_values(created), with_keys=True)
    # Those that are the same for all runs are shared.
    self._shared = {id(v): tf.convert_to_tensor(v.value)
                    for v in self._model.non_trainable_variables
                    if all(v is not drawn for drawn in self._drawn)}
    self._set_weights([v.path for v in self._model.trainable_variables], draw)

  def predict(self, params: base.Params, constants: base.Constants,
              inputs: examples.Batch, seed: tf.Tensor
              ) -> tuple[examples.Batch, Any]:
    untrained = self._model.non_trainable_variables
    seeds = philox.split(seed, len(untrained))
    known = self._shared | {
        id(v): value for v, value in zip(self._drawn, constants, strict=True)}
    # The state of a layer's random generator is one of its variables.
    values = [*(params[name] for name in self._names), *(
        tf.cast(own, v.dtype) if v.name == "seed_generator_state"
        else known[id(v)] for v, own in zip(untrained, seeds))]
    variables = [*self._model.trainable_variables, *untrained]
    # This is `stateless_call`, except that nested layers are in training mode
    # too where the model's own call does not take `training`.
    with keras.StatelessScope(
        zip(variables, values), collect_losses=True) as scope:
      outputs = self._model(inputs, training=True)
      penalty = sum(self._model.losses)
    own = {id(v) for v in (*variables, *self._model.metrics_variables)}
    if not own.issuperset(scope.state_mapping):
      raise ValueError(
          "It changes a variable that is not its own, as keras.random does "
          "without a seed: give the layer that draws random numbers a "
          "keras.random.SeedGenerator as an attribute, and pass it as seed.")
    return outputs, penalty

  def _initial_values(self, created: dict[int, seeded.Created]
                      ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Returns the initial weights and random constants, in a graph."""
    weights = [_initial_value(created[id(v.value)])
               for v in self._model.trainable_variables]
    self._drawn = []
    constants = []
    for variable in self._model.non_trainable_variables:
      origin = created.get(id(variable.value))
      # Copies of loaded values, which may be large, are not needed.
      if origin is not None and origin.assigned() is None:
        value = _initial_value(origin)
        if seeded.is_random(value):
          self._drawn.append(variable)
          constants.append(value)
    return weights, constants


class _MeanLoss(keras.losses.Loss):
  """The mean of a function's losses over all axes, as `compile` takes it."""

  def __init__(self, function: Callable[..., Any]):
    super().__init__("mean_loss")
    self._function = function

  def call(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    if targets.shape == outputs.shape[:-1] and outputs.shape[-1] == 1:
      targets = targets[..., tf.newaxis]  # There is a single unit.
    return self._function(targets, outputs)


def _named_loss(name: str) -> keras.losses.Loss:
  """Returns the loss of Keras that has a name."""
  try:
    loss = keras.losses.get(name)
  except ValueError as error:
    raise ValueError(f"loss_fn is {name!r}, but must be a function, a loss of "
                     "Keras, or its name, such as 'mse'.") from error
  return loss if isinstance(loss, keras.losses.Loss) else _MeanLoss(loss)


def _make_model(model_fn: Callable[[], keras.Model]
                ) -> tuple[keras.Model, dict[int, seeded.Created]]:
  """Makes a model, and records by `id` how its variables were created.

  With that record, weights can be drawn without making the model again, which
  would be slow and would change the state of Keras.
  """
  with seeded.created_variables() as created:
    model = model_fn()
  if not isinstance(model, keras.Model):
    raise ValueError(f"model_fn returns {type(model).__name__}, but must "
                     "return a keras.Model.")
  if not model.built:
    raise ValueError(
        f"model_fn returns {model.name!r}, which has no weights yet: begin "
        "with keras.Input, or call the model on some inputs.")
  if not model.trainable_variables:
    raise ValueError(f"model_fn returns {model.name!r}, which has no "
                     "trainable weights.")
  origins = {id(c.variable): c for c in created}
  if any(id(v.value) not in origins for v in model.trainable_variables):
    raise ValueError(f"model_fn returns {model.name!r}, which existed before, "
                     "but must make a new model.")
  return model, origins


def _initial_value(weight: seeded.Created) -> tf.Tensor:
  """Returns the initial value of a weight, in a graph."""
  value = weight.assigned()
  if value is None:
    value = weight.initial_value
    value = value() if callable(value) else value
  return tf.convert_to_tensor(tf.identity(value), weight.variable.dtype)
