"""Training a module of Sonnet."""

from collections.abc import Callable, Sequence
from typing import Any

import sonnet as snt
import tensorflow as tf

from problems import base, examples, model_problem, seeded, validation


class SonnetProblem(model_problem.ModelProblem):
  """The loss of a Sonnet module on random minibatches of examples.

  Use it to train an optimizer for a module, or to compare optimizers on it.

  The module is called on the inputs, with is_training=True if it takes that:
  batch normalization uses the mean and the variance of the minibatch, and
  dropout draws its masks from the seed of the loss. Moving averages do not
  change. The parameters are named like the variables, without ":0".

  For each run, the initializers of the module draw the weights anew, from the
  seed of `sample`; a seed that was given to an initializer is ignored. Weights
  that do not come from `tf.random.normal`, `truncated_normal` or `uniform`,
  because an initializer loads them for instance, are the same in all runs. The
  same holds for variables with trainable=False: those that are random are drawn
  for each run, and the others keep the values that `module_fn` gave them.

  Example:

    def cross_entropy(labels, logits):
      return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    inputs = np.random.default_rng(0).normal(size=[512, 8])
    labels = np.argmax(inputs[:, :3], axis=1)
    problem = problems.SonnetProblem(
        lambda: snt.nets.MLP([20, 3]), cross_entropy, (inputs, labels))
  """

  def __init__(self, module_fn: Callable[[], snt.Module],
               loss_fn: Callable[..., Any], data: Any, batch_size: int = 128):
    """Calls `module_fn`, reads the data, and computes a loss as a check.

    Args:
      module_fn: Returns a new module.
      loss_fn: Takes the targets and the outputs of a minibatch, and returns
        losses of shape [] or [B], whose mean is taken.
      data: See `KerasProblem`.
      batch_size: See `KerasProblem`.

    Raises:
      ValueError: An argument is not what it must be, or the loss cannot be
        computed.
    """
    super().__init__(loss_fn, data, batch_size)
    if not callable(module_fn):
      raise ValueError(f"module_fn is {module_fn!r}, but must be a function "
                       "that makes a module.")
    self._module_fn = module_fn
    inputs, *_ = self.minibatch(tf.constant([0, 0]))
    trainable = self._create_variables(inputs)
    self._drawn: list[tf.Variable] = []
    draw = seeded.seeded(lambda: self._trace(None, None, inputs)[1:])
    self._forward = seeded.seeded(
        lambda *args: self._trace(*args)[0], [
            [tf.TensorSpec(v.shape, v.dtype) for v in trainable],
            [tf.TensorSpec(v.shape, v.dtype) for v in self._drawn],
            tf.nest.map_structure(tf.TensorSpec.from_tensor, inputs)])
    self._set_weights([v.name.removesuffix(":0") for v in trainable], draw)

  def predict(self, params: base.Params, constants: base.Constants,
              inputs: examples.Batch, seed: tf.Tensor
              ) -> tuple[examples.Batch, Any]:
    return self._forward(
        seed, *(params[name] for name in self._names), *constants,
        *tf.nest.flatten(inputs)), 0.

  def _create_variables(self, inputs: examples.Batch) -> list[tf.Variable]:
    """Makes a module, and returns its trainable variables in their order."""
    with seeded.created_variables() as self._created:
      try:
        module = self._make_module()
        made = [(c, c.variable.numpy()) for c in self._created]
        _call(module, inputs)
      except Exception as error:
        raise ValueError(
            "module_fn must make an snt.Module that can be called on the "
            f"inputs: {validation.sentence(error)}") from error
    # What this call assigned came from its own random weights.
    for created, value in made:
      if not created.variable.trainable:
        created.variable.assign(value)
    self._loaded = [c.variable for c, _ in made if c.assigned() is not None]
    weights = [c for c in self._created if c.variable.trainable]
    own = snt.allow_empty_variables(module).trainable_variables
    if not own:
      raise ValueError(f"module_fn returns {module.name!r}, which has no "
                       "trainable variables.")
    if {id(w.variable) for w in weights} != {id(v) for v in own}:
      raise ValueError(
          f"module_fn returns {module.name!r}, whose variables existed before "
          "or do not all belong to it, but must make a new module.")
    for weight in weights:
      if weight.assigned() is not None:
        raise ValueError(
            f"module_fn, or the module, assigns to {weight.variable.name!r}: "
            "give the module an initializer of these values instead.")
    return [w.variable for w in weights]

  def _make_module(self) -> snt.Module:
    module = self._module_fn()
    if not isinstance(module, snt.Module):
      raise ValueError(f"it returns {type(module).__name__}.")
    return module

  def _trace(self, weights: Sequence[tf.Tensor] | None,
             constants: Sequence[tf.Tensor] | None, inputs: examples.Batch
             ) -> tuple[examples.Batch, list[tf.Tensor], list[tf.Tensor]]:
    """Returns outputs, initial weights and random constants, in a graph.

    No variable that is trained or random is read: a new module is made, whose
    variables are replaced by tensors when they are created.

    Args:
      weights: What to compute the outputs from; by default the initial weights.
      constants: The values of random variables; by default their initial
        values, and which are random is found out.
      inputs: The inputs of a minibatch.
    """
    first = iter(self._created)
    initial_weights: list[tf.Tensor] = []
    drawn: list[tf.Tensor] = []
    if constants is None:
      self._drawn.clear()

    def creator(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
      del next_creator
      value = kwargs["initial_value"]
      value = tf.convert_to_tensor(
          value() if callable(value) else value, kwargs.get("dtype"))
      created = next(first, None)
      if created is None or created.variable.shape != value.shape:
        raise ValueError(
            "module_fn must make the same variables at each call.")
      variable = created.variable
      if variable.trainable:
        initial_weights.append(value)
        return weights[len(initial_weights) - 1] if weights else value
      if constants is None and seeded.is_random(value) and not _among(
          variable, self._loaded):
        self._drawn.append(variable)
      if not _among(variable, self._drawn):
        # `seeded` leaves assignments to it out of the graph.
        return variable
      drawn.append(value)
      return seeded.Untrained(
          value if constants is None else constants[len(drawn) - 1],
          variable.name)

    with tf.variable_creator_scope(creator):
      outputs = _call(self._make_module(), inputs)
    return outputs, initial_weights, drawn


def _call(module: snt.Module, inputs: examples.Batch) -> examples.Batch:
  """Returns the outputs of a module, which has its variables then."""
  # The signature does not say whether a module takes `is_training`: Sonnet
  # wraps the method, and snt.nets.MLP takes it only with dropout.
  try:
    return module(inputs, is_training=True)
  except (TypeError, ValueError) as error:
    if "is_training" not in str(error):
      raise
  return module(inputs)


def _among(variable: tf.Variable, variables: Sequence[tf.Variable]) -> bool:
  return any(variable is v for v in variables)
