"""The examples on which a model is trained: reading and describing them."""

from typing import Any

import numpy as np
import tensorflow as tf

Batch = Any
"""A nest of tensors of shape [B, ...] each."""


def read(data: Any) -> tuple[Batch, ...]:
  """Returns all inputs and targets as tensors, [n, ...] each.

  Sample weights, if there are any, are a third array, float32, shape [n].

  Args:
    data: Inputs and targets, and perhaps sample weights, in a tuple of arrays,
      shape [n, ...] each (or nests of arrays), or a `tf.data.Dataset` of such
      tuples that is not batched: it is read once, to its end, and kept.
      float64, which is NumPy's default, becomes float32.

  Raises:
    ValueError: The data have another form.
  """
  if isinstance(data, tf.data.Dataset):
    data = _read_dataset(data)
  if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
    raise ValueError(f"data is {type(data).__name__}, but must be a tuple of "
                     "inputs and targets, and perhaps sample weights, or a "
                     "tf.data.Dataset of such tuples.")
  try:
    data = tf.nest.map_structure(tf.convert_to_tensor, tuple(data))
  except (ValueError, TypeError) as error:
    raise ValueError(f"data has no arrays: {error}") from error
  arrays = tf.nest.flatten(data)
  if any(a.shape.rank == 0 for a in arrays) or not arrays:
    raise ValueError(f"data has {describe(data)}, but all must be arrays with "
                     "one entry for each example.")
  if len({a.shape[0] for a in arrays}) > 1:
    raise ValueError(f"data has {describe(data)}, but all must have the same "
                     "number of examples.")
  if not arrays[0].shape[0]:
    raise ValueError("data is empty, but must have an example.")
  data = tf.nest.map_structure(
      lambda a: tf.cast(a, tf.float32) if a.dtype == tf.float64 else a, data)
  return *data[:2], *(_read_weights(w) for w in data[2:])


def describe(nest: Any) -> str:
  """Returns the types and shapes of tensors, those of the first eight."""
  tensors = [tf.convert_to_tensor(t) for t in tf.nest.flatten(nest)[:9]]
  texts = [f"{t.dtype.name} {t.shape.as_list()}" for t in tensors]
  return ", ".join([*texts[:8], *(["..."] if texts[8:] else [])])


def extreme(data: Batch) -> np.ndarray:
  """Returns the indices of the examples that a loss most likely refuses.

  They have the smallest or the largest of all integers of an array, which are
  out of range if any is (labels, say), or numbers that are not finite.

  Args:
    data: A nest of all examples, [n, ...] each.
  """
  indices = set()
  for array in tf.nest.flatten(data):
    rows = tf.reshape(array, [array.shape[0], -1])
    if rows.dtype.is_integer and rows.shape[1]:
      indices |= {int(tf.argmin(tf.reduce_min(rows, 1))),
                  int(tf.argmax(tf.reduce_max(rows, 1)))}
    elif rows.dtype.is_floating:
      broken = ~tf.reduce_all(tf.math.is_finite(rows), 1)  # [n]
      indices |= set(tf.where(broken)[:1, 0].numpy().tolist())
  return np.array(sorted(indices), np.int32)


def _read_weights(weights: Any) -> tf.Tensor:
  """Returns the sample weights as float32, [n]."""
  if not tf.is_tensor(weights) or tf.size(weights) != weights.shape[0]:
    raise ValueError(f"data has sample weights of {describe(weights)}, but "
                     "there must be one number for each example.")
  weights = tf.reshape(tf.cast(weights, tf.float32), [-1])
  if not np.all(np.isfinite(weights)):
    raise ValueError("data has sample weights that are nan or inf, but they "
                     "must be finite.")
  return weights


def _read_dataset(data: tf.data.Dataset) -> Any:
  """Returns all elements of a data set, stacked."""
  if data.cardinality() == tf.data.INFINITE_CARDINALITY:
    raise ValueError("data never ends, but must be finite: minibatches are "
                     "drawn from all of it. Remove .repeat().")
  try:
    chunks = list(data.batch(1024))
  except tf.errors.OpError as error:
    raise ValueError(
        "data must be single examples of one shape, not batches: "
        f"{error.message}") from error
  if not chunks:
    raise ValueError("data is empty, but must have an example.")
  return tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *chunks)
