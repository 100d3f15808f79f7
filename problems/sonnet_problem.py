"""Training a module of Sonnet."""

from collections.abc import Callable
from typing import Any

import sonnet as snt
import tensorflow as tf

from problems import base, seeded, supervised


class SonnetProblem(supervised.Supervised):
  """The loss of a Sonnet module on minibatches of examples.

  The module is called on the inputs, with is_training=True where it takes
  that: batch normalization takes the mean and the variance of the minibatch,
  and dropout draws its masks from the seed of the loss. Moving averages do not
  change. The parameters have the names of the variables, without ":0".

  Weights are drawn anew, by the initializers of the module, from the seed of
  `sample`; seeds that the initializers were given do not matter. What does not
  come from `tf.random.normal`, `truncated_normal` or `uniform`, such as the
  values of an initializer that loads them, is the same for all seeds.
  """

  def __init__(self, module_fn: Callable[[], snt.Module], loss_fn: Callable,
               data: Any, batch_size: int = 128):
    """Initializes the problem, making a module.

    Args:
      module_fn: Makes the module.
      loss_fn: Takes the targets and the outputs of a minibatch, and returns
        losses of shape [] or [B], whose mean is taken.
      data: Inputs and targets; see `supervised.Supervised`.
      batch_size: Number of examples in a minibatch, B.

    Raises:
      ValueError: An argument is not what it must be, or the loss cannot be
        computed.
    """
    super().__init__(loss_fn, data, batch_size)
    if not callable(module_fn):
      raise ValueError(f"module_fn is {module_fn!r}, but must be a function "
                       "that makes a module.")
    self._module_fn = module_fn
    inputs, _ = supervised.minibatch(
        self._data, self._batch_size, tf.constant([0, 0]))
    with seeded.created_variables() as self._created:
      try:
        _, module = self._call_new_module(inputs)
      except Exception as error:
        raise ValueError(f"module_fn must make an snt.Module that can be called"
                         f" on the inputs: {error}") from error
    weights = [c for c in self._created if c.variable.trainable]
    trainable = [w.variable for w in weights]
    own = snt.allow_empty_variables(module).trainable_variables
    if not own:
      raise ValueError(f"module_fn returns {module.name!r}, which has no "
                       "trainable variables.")
    if {id(v) for v in trainable} != {id(v) for v in own}:
      raise ValueError(
          f"module_fn returns {module.name!r}, whose variables were there "
          "before or are not all its own, but must make a new module.")
    for weight in weights:
      if weight.assigned() is not None:
        raise ValueError(
            f"module_fn, or the module, assigns to {weight.variable.name!r}: "
            "give the module an initializer of these values.")
    self._forward = seeded.seeded(
        lambda weights, inputs: self._trace(inputs, weights)[0], [
            [tf.TensorSpec(v.shape, v.dtype) for v in trainable],
            tf.nest.map_structure(tf.TensorSpec.from_tensor, inputs)])
    self._set_weights(
        [v.name.removesuffix(":0") for v in trainable],
        seeded.seeded(lambda: self._trace(inputs)[1]))

  def predict(self, params: base.Params, inputs: supervised.Batch,
              seed: tf.Tensor) -> tuple[supervised.Batch, Any]:
    return self._forward(
        seed, *(params[name] for name in self._names),
        *tf.nest.flatten(inputs)), 0.

  def _call_new_module(self, inputs):
    """The outputs, and the module, which has its variables then."""
    module = self._module_fn()
    if not isinstance(module, snt.Module):
      raise ValueError(f"it returns {type(module).__name__}.")
    # Sonnet hides the signature, and snt.nets.MLP takes it with dropout alone.
    try:
      return module(inputs, is_training=True), module
    except (TypeError, ValueError) as error:
      if "is_training" not in str(error):
        raise
    return module(inputs), module

  def _trace(self, inputs, weights=None):
    """The outputs, and what weights start from, in a graph.

    Nothing is read from a trainable variable: the module is a new one, which is
    given tensors where it makes them.
    """
    first = iter(self._created)
    initial_values = []

    def creator(next_creator, **kwargs):
      del next_creator
      value = kwargs["initial_value"]
      value = tf.convert_to_tensor(
          value() if callable(value) else value, kwargs.get("dtype"))
      created = next(first, None)
      if created is None or created.variable.shape != value.shape:
        raise ValueError(
            "module_fn must make the same variables at each call.")
      if not created.variable.trainable:
        # What is assigned to it is left out of the graph.
        return created.variable
      initial_values.append(value)
      return weights[len(initial_values) - 1] if weights else value

    with tf.variable_creator_scope(creator):
      outputs, _ = self._call_new_module(inputs)
    return outputs, initial_values
