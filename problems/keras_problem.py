"""Training a model of Keras."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from problems import base, seeded, supervised


class KerasProblem(supervised.Supervised):
  """The loss of a Keras model on minibatches of examples.

  The model is called with training=True: batch normalization takes the mean
  and the variance of the minibatch, and dropout draws its masks from the seed
  of the loss. Losses of the model's own, such as those of regularizers, are
  added. The parameters have the names `variable.path`.

  Weights are drawn anew, by the initializers of the layers, from the seed of
  `sample`; seeds that the initializers were given do not matter. What does not
  come from TensorFlow's random operations, such as weights that `model_fn`
  loads, is the same for all seeds. So are variables that are not trainable:
  those of the first model, which never change.
  """

  def __init__(self, model_fn: Callable[[], keras.Model],
               loss_fn: Callable | str, data: Any, batch_size: int = 128):
    """Initializes the problem, making a model.

    Args:
      model_fn: Makes the model, with all its weights.
      loss_fn: A loss of Keras, its name, or any function that takes the targets
        and the outputs of a minibatch and returns losses of shape [] or [B],
        whose mean is taken.
      data: Inputs and targets; see `supervised.Supervised`.
      batch_size: Number of examples in a minibatch, B.

    Raises:
      ValueError: An argument is not what it must be, or the loss cannot be
        computed.
    """
    if keras.backend.backend() != "tensorflow":
      raise ValueError("Keras computes with another library, but must with "
                       "TensorFlow: set KERAS_BACKEND=tensorflow.")
    if isinstance(loss_fn, str):
      loss_fn = keras.losses.get(loss_fn)
    super().__init__(loss_fn, data, batch_size)
    if not callable(model_fn):
      raise ValueError(f"model_fn is {model_fn!r}, but must be a function that "
                       "makes a model.")
    # By recording how each variable gets its value, no model has to be made
    # again for a draw, which would take long and change the state of Keras.
    with seeded.created_variables() as created:
      model = model_fn()
    if not isinstance(model, keras.Model):
      raise ValueError(f"model_fn returns {type(model).__name__}, but must "
                       "return a keras.Model.")
    if not model.built:
      raise ValueError(
          f"model_fn returns {model.name!r}, which has no weights yet: begin "
          "with keras.Input, or call it on some inputs.")
    if not model.trainable_variables:
      raise ValueError(f"model_fn returns {model.name!r}, which has no "
                       "trainable weights.")
    origins = {id(c.variable): c for c in created}
    if any(id(v.value) not in origins for v in model.trainable_variables):
      raise ValueError(f"model_fn returns {model.name!r}, which was there "
                       "before, but must make a new model.")
    self._model = model
    self._constants = [tf.convert_to_tensor(v.value)
                       for v in model.non_trainable_variables]
    weights = [origins[id(v.value)] for v in model.trainable_variables]
    self._set_weights(
        [v.path for v in model.trainable_variables],
        seeded.seeded(lambda: [_initial_value(w) for w in weights],
                      with_keys=True))

  def predict(self, params: base.Params, inputs: supervised.Batch,
              seed: tf.Tensor) -> tuple[supervised.Batch, Any]:
    constants = self._model.non_trainable_variables
    seeds = tf.unstack(tf.random.split(seed, len(constants), alg="philox"))
    # The state of a layer's noise is one of its variables.
    values = [*(params[name] for name in self._names), *(
        tf.cast(own, v.dtype) if v.name == "seed_generator_state" else value
        for v, value, own in zip(constants, self._constants, seeds))]
    variables = [*self._model.trainable_variables, *constants]
    # What stateless_call does, but layers within others train as well, where
    # the call of the model does not take `training`.
    with keras.StatelessScope(zip(variables, values), collect_losses=True):
      outputs = self._model(inputs, training=True)
      return outputs, sum(self._model.losses)


def _initial_value(weight: seeded.Created) -> tf.Tensor:
  """What a weight starts from, in a graph."""
  value = weight.assigned()
  if value is None:
    value = weight.initial_value
    value = value() if callable(value) else value
  return tf.convert_to_tensor(tf.identity(value), weight.variable.dtype)
