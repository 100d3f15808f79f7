"""The examples on which a model is trained: reading and describing them."""

from typing import Any

import tensorflow as tf

Batch = Any
"""A nest of tensors of shape [B, ...] each."""


def read(data: Any) -> tuple[Batch, Batch]:
  """Returns all inputs and targets as tensors, [n, ...] each.

  Args:
    data: Inputs and targets, in a tuple of two arrays, shape [n, ...] each (or
      nests of arrays), or a `tf.data.Dataset` of such pairs that is not
      batched: it is read once, to its end, and kept. float64, which is NumPy's
      default, becomes float32.

  Raises:
    ValueError: The data have another form.
  """
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
    raise ValueError(f"data has {describe(data)}, but all must be arrays with "
                     "one entry for each example.")
  if len({a.shape[0] for a in arrays}) > 1:
    raise ValueError(f"data has {describe(data)}, but all must have the same "
                     "number of examples.")
  if not arrays[0].shape[0]:
    raise ValueError("data is empty, but must have an example.")
  return tf.nest.map_structure(
      lambda a: tf.cast(a, tf.float32) if a.dtype == tf.float64 else a, data)


def describe(nest: Any) -> str:
  """Returns the types and shapes of tensors, those of the first eight."""
  tensors = [tf.convert_to_tensor(t) for t in tf.nest.flatten(nest)[:9]]
  texts = [f"{t.dtype.name} {t.shape.as_list()}" for t in tensors]
  return ", ".join([*texts[:8], *(["..."] if texts[8:] else [])])


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
