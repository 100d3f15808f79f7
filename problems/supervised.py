"""What problems of training a model on examples share."""

import abc
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from l2lgd import checks
from problems import base, seeded

Batch = Any  # A nest of tensors, shape [B, ...] each.


def minibatch(data: Batch, batch_size: int, seed: tf.Tensor) -> Batch:
  """Returns examples drawn with replacement, all evenly.

  Args:
    data: All n examples, a nest of tensors of shape [n, ...].
    batch_size: B.
    seed: Shape [2].
  """
  size = tf.nest.flatten(data)[0].shape[0]
  indices = tf.random.stateless_uniform(
      [batch_size], seed, minval=0, maxval=size, dtype=tf.int32,
      alg="philox")  # [B]
  return tf.nest.map_structure(lambda t: tf.gather(t, indices), data)


class Supervised(base.Problem):
  """Training a model: its mean loss on random minibatches of examples.

  All functions drawn are the same but for the point to start from.
  """

  def __init__(self, loss_fn: Callable, data: Any, batch_size: int):
    """Reads the data.

    A subclass then says what is trained by `_set_weights`.

    Args:
      loss_fn: Takes the targets and the model's outputs of a minibatch, and
        returns a loss of shape [] or [B], whose mean is taken.
      data: Inputs and targets, in a tuple of two arrays, shape [n, ...] each
        (or nests of arrays), or a `tf.data.Dataset` of such pairs that is not
        batched: it is read once, to its end, and kept. float64, which is
        NumPy's default, becomes float32.
      batch_size: Number of examples in a minibatch, B.

    Raises:
      ValueError: An argument is not what it must be.
    """
    if not callable(loss_fn) or isinstance(loss_fn, type):
      raise ValueError(f"loss_fn is {loss_fn!r}, but must be a function of "
                       "targets and outputs.")
    self._loss_fn = loss_fn
    self._batch_size = checks.positive_integer("batch_size", batch_size)
    # Made eagerly: a `tf.function` captures them, and they are never copied.
    self._data = _read(data)  # Of [n, ...].

  def _set_weights(self, names: list[str],
                   draw: Callable[[tf.Tensor], list[tf.Tensor]]) -> None:
    """Takes what is trained, and checks that a loss can be computed.

    Args:
      names: Of the weights. One that is there already gets a number.
      draw: Returns the values to start from, as a pure function of a seed.

    Raises:
      ValueError: It cannot.
    """
    self._names = []
    for name in names:
      count = names[:len(self._names)].count(name)
      self._names.append(f"{name}_{count}" if count else name)
    self._draw = draw
    created = []

    def creator(next_creator, **kwargs):
      del next_creator  # Keras would not recover from an error here.
      created.append(kwargs["name"])
      value = kwargs["initial_value"]
      return value() if callable(value) else value

    with tf.variable_creator_scope(creator):
      graph = tf.function(self._check, autograph=False).get_concrete_function(
          tf.TensorSpec([2], tf.int32)).graph
    if created:
      raise ValueError(
          f"The model creates {created[0]!r} while it runs, but must have all "
          "its variables before.")
    impure = seeded.impure_operations(graph)
    if impure:
      raise ValueError(
          f"The loss runs {', '.join(impure)}, which keep a state, but must "
          "depend on nothing but the weights, the minibatch and the seed.")

  @abc.abstractmethod
  def predict(self, params: base.Params, inputs: Batch,
              seed: tf.Tensor) -> tuple[Batch, Any]:
    """Returns the model's outputs in training, and its own losses.

    Args:
      params: The weights.
      inputs: Of a minibatch.
      seed: Seed of the model's noise (dropout's, say), shape [2].

    Returns:
      What `loss_fn` takes, and a scalar to be added, of the weights' size say.
    """

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    return dict(zip(self._names, self._draw(seed), strict=True)), ()

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    examples, noise = tf.unstack(tf.random.split(seed, 2, alg="philox"))
    inputs, targets = minibatch(self._data, self._batch_size, examples)
    outputs, own_loss = self.predict(params, inputs, noise)
    return tf.reduce_mean(self._loss_fn(targets, outputs)) + own_loss

  def _check(self, seed):
    """Computes a loss by steps, and names the one that fails."""
    params, _ = self.sample(seed)
    dtypes = sorted({p.dtype.name for p in params.values()})
    if dtypes not in (["float32"], ["float64"]):
      raise ValueError(
          f"The weights are of {', '.join(dtypes)}, but must all be of "
          "float32, as they are with the policy mixed_float16, or of float64.")
    inputs, targets = minibatch(self._data, self._batch_size, seed)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(params)
      try:
        outputs, own_loss = self.predict(params, inputs, seed)
      except Exception as error:
        raise ValueError("The model cannot be called on inputs of "
                         f"{_describe(inputs)}: {error}") from error
      try:
        losses = tf.convert_to_tensor(self._loss_fn(targets, outputs))
      except Exception as error:
        raise ValueError(
            f"loss_fn cannot be called on targets of {_describe(targets)} and "
            f"outputs of {_describe(outputs)}: {error}") from error
      if (not losses.dtype.is_floating
          or losses.shape not in ([], [self._batch_size])):
        raise ValueError(
            f"loss_fn returns {_describe(losses)} for targets of "
            f"{_describe(targets)} and outputs of {_describe(outputs)}, but "
            f"must return floats of shape [] or [{self._batch_size}].")
      loss = tf.reduce_mean(losses) + own_loss
    if all(g is None for g in tape.gradient(loss, list(params.values()))):
      raise ValueError("The loss has no gradient by any weight: neither "
                       "loss_fn nor the model may leave TensorFlow, or round.")


def _read(data):
  """The inputs and targets, as tensors."""
  if isinstance(data, tf.data.Dataset):
    data = _read_dataset(data)
  if not isinstance(data, (tuple, list)) or len(data) != 2:
    raise ValueError(f"data is {type(data).__name__}, but must be a tuple of "
                     "inputs and targets, or a tf.data.Dataset of such pairs.")
  try:
    data = tf.nest.map_structure(tf.convert_to_tensor, tuple(data))
  except (ValueError, TypeError) as error:
    raise ValueError(f"data has no arrays: {error}") from error
  arrays = tf.nest.flatten(data)
  if any(a.shape.rank == 0 for a in arrays) or not arrays:
    raise ValueError(f"data is of {_describe(data)}, but all must be arrays of "
                     "one entry an example.")
  if len({a.shape[0] for a in arrays}) > 1:
    raise ValueError(f"data is of {_describe(data)}, but all must have the "
                     "same number of examples.")
  if not arrays[0].shape[0]:
    raise ValueError("data is empty, but must have an example.")
  return tf.nest.map_structure(
      lambda a: tf.cast(a, tf.float32) if a.dtype == tf.float64 else a, data)


def _read_dataset(data):
  """All elements of a data set, stacked."""
  if data.cardinality() == tf.data.INFINITE_CARDINALITY:
    raise ValueError("data never ends, but must be finite: minibatches are "
                     "drawn from all of it. Leave out .repeat().")
  try:
    chunks = list(data.batch(1024))
  except tf.errors.OpError as error:
    raise ValueError("data cannot be read as single examples of one shape, in "
                     f"no batches: {error.message}") from error
  if not chunks:
    raise ValueError("data is empty, but must have an example.")
  return tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *chunks)


def _describe(nest):
  """The types and shapes of tensors."""
  tensors = [tf.convert_to_tensor(t) for t in tf.nest.flatten(nest)[:9]]
  texts = [f"{t.dtype.name} {t.shape.as_list()}" for t in tensors]
  return ", ".join([*texts[:8], *(["..."] if texts[8:] else [])])
