"""Training a model that the user built with Keras or Sonnet."""

import abc
from collections.abc import Callable, Iterator, Sequence
import contextlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from l2lgd import philox
from problems import base, examples, seeded, supervised, validation

_Draw = Callable[[tf.Tensor], tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]]


class ModelProblem(supervised.Supervised):
  """The loss of a user's model on random minibatches of examples.

  A subclass says how the model is computed from given weights (`predict`), and
  calls `_set_weights` at the end of its constructor.
  """

  def __init__(self, loss_fn: Callable[..., Any], data: Any, batch_size: int):
    """Reads the examples.

    Args:
      loss_fn: Takes the targets and the model's outputs of a minibatch, and
        returns a loss of shape [] or [B], whose mean is taken.
      data: Inputs and targets; see `examples.read`.
      batch_size: Number of examples in a minibatch, B.

    Raises:
      ValueError: An argument is not what it must be.
    """
    if not callable(loss_fn) or isinstance(loss_fn, type):
      raise ValueError(f"loss_fn is {loss_fn!r}, but must be a function of "
                       "targets and outputs.")
    self._loss_fn = loss_fn
    super().__init__(data, batch_size)

  def _set_weights(self, names: Sequence[str], draw: _Draw) -> None:
    """Sets what is drawn, and checks that a loss can be computed.

    Args:
      names: Names of the weights. A repeated name gets a number.
      draw: Returns the initial weights, and the values of variables that are
        not trained but random, as a pure function of a seed.

    Raises:
      ValueError: No loss can be computed, or it is not a pure function.
    """
    self._names = _distinct(names)
    self._draw = draw
    with _variables_as_tensors() as created:
      graph = tf.function(self._check, autograph=False).get_concrete_function(
          tf.TensorSpec([2], tf.int32)).graph
    if created:
      raise ValueError(
          f"The model creates {created[0]!r} while it runs, but must have "
          "created all its variables before.")
    impure = seeded.impure_operations(graph)
    if impure:
      raise ValueError(
          "The loss, or what draws the initial weights, runs "
          f"{', '.join(impure)}, which keeps a state, but must depend on "
          "nothing but the weights, the minibatch and the seed.")
    validation.check(self)
    self._check_examples()

  @abc.abstractmethod
  def predict(self, params: base.Params, constants: base.Constants,
              inputs: examples.Batch, seed: tf.Tensor
              ) -> tuple[examples.Batch, Any]:
    """Computes the model as in training.

    Args:
      params: The weights.
      constants: The values of variables that are not trained but random.
      inputs: The inputs of a minibatch.
      seed: Seed of the model's noise (that of dropout, say), shape [2].

    Returns:
      The outputs, which `loss_fn` takes, and a scalar that is added to the loss
      (the penalty of a regularizer, say).
    """

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    weights, constants = self._draw(seed)
    return dict(zip(self._names, weights, strict=True)), tuple(constants)

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    minibatch_seed, noise_seed = philox.split(seed)
    return self._loss_on(
        self.minibatch(minibatch_seed), params, constants, noise_seed)

  def _loss_on(self, batch: tuple[examples.Batch, ...], params: base.Params,
               constants: base.Constants, seed: tf.Tensor) -> tf.Tensor:
    inputs, targets, *weights = batch
    outputs, penalty = self.predict(params, constants, inputs, seed)
    return _mean(self._losses(targets, outputs, *weights), penalty)

  def _losses(self, targets: examples.Batch, outputs: examples.Batch,
              weights: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the loss, shape [], or the losses of all examples, shape [B]."""
    if weights is None:
      return self._loss_fn(targets, outputs)
    if isinstance(self._loss_fn, keras.losses.Loss):
      return self._loss_fn(targets, outputs, sample_weight=weights)
    losses = tf.convert_to_tensor(self._loss_fn(targets, outputs))
    if losses.shape.rank != 1:
      raise ValueError(
          f"it returns the shape {losses.shape.as_list()}, but must return "
          f"[{self._batch_size}], as the data have sample weights.")
    return losses * tf.cast(weights, losses.dtype)  # [B]

  def _check(self, seed: tf.Tensor) -> None:
    """Computes a loss, and names the step that fails."""
    params, constants = self.sample(seed)
    dtypes = sorted({p.dtype.name for p in params.values()})
    if dtypes not in (["float32"], ["float64"]):
      raise ValueError(
          f"The weights are of {', '.join(dtypes)}, but must all be of "
          "float32, as they are with the policy mixed_float16, or of float64.")
    self._check_loss(params, constants, seed)

  def _check_loss(self, params: base.Params, constants: base.Constants,
                  seed: tf.Tensor) -> None:
    inputs, targets, *weights = self.minibatch(seed)
    try:
      outputs, _ = self.predict(params, constants, inputs, seed)
    except Exception as error:
      raise ValueError("The model cannot be called on inputs of "
                       f"{examples.describe(inputs)}: {error}") from error
    given = (f"targets of {examples.describe(targets)} and outputs of "
             f"{examples.describe(outputs)}")
    try:
      losses = tf.convert_to_tensor(
          self._losses(targets, outputs, *weights))
    except Exception as error:
      raise ValueError(
          f"loss_fn cannot be called on {given}: {error}") from error
    if (not losses.dtype.is_floating
        or losses.shape not in ([], [self._batch_size])):
      raise ValueError(
          f"loss_fn returns {examples.describe(losses)} for {given}, but must "
          f"return floats of shape [] or [{self._batch_size}].")

  def _check_examples(self) -> None:
    """Computes the loss on minibatches with examples that it may refuse."""
    seed = tf.constant([0, 0])
    params, constants = self.sample(seed)
    extreme = examples.extreme(self._data)
    # A loss that compares examples needs different ones.
    others = np.setdiff1d(np.arange(self._size), extreme)
    for index in extreme:
      indices = np.resize([index, *others[:self._batch_size]],
                          self._batch_size)  # [B]
      loss = validation.computed(
          f"The loss of example {index}", self._loss_on, self._gather(indices),
          params, constants, seed)
      if not np.isfinite(loss):
        raise ValueError(
            f"The loss is {loss.numpy()} on a minibatch with example {index}, "
            "but must be finite. Look for nan or inf in this example.")


def _mean(losses: tf.Tensor, penalty: Any) -> tf.Tensor:
  """Returns the mean loss with a penalty, which may be more precise."""
  mean = tf.reduce_mean(losses)
  if tf.is_tensor(penalty):
    mean = tf.cast(mean, penalty.dtype)
  return mean + penalty


def _distinct(names: Sequence[str]) -> list[str]:
  """Returns the names, with a number where a name is repeated."""
  distinct: list[str] = []
  for name in names:
    free, count = name, 0
    while free in distinct or (count and free in names):
      count += 1
      free = f"{name}_{count}"
    distinct.append(free)
  return distinct


@contextlib.contextmanager
def _variables_as_tensors() -> Iterator[list[str]]:
  """Replaces variables that are created in this scope by tensors.

  An error would be simpler, but Keras does not recover from one here.

  Yields:
    A list to which their names are added.
  """
  created = []

  def creator(next_creator: Callable[..., Any], **kwargs: Any) -> Any:
    del next_creator
    created.append(kwargs["name"])
    value = kwargs["initial_value"]
    return value() if callable(value) else value

  with tf.variable_creator_scope(creator):
    yield created
