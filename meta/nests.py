"""Functions of nests of tensors."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def swap_axes(tensor: tf.Tensor) -> tf.Tensor:
  """Returns a tensor whose first two axes are swapped."""
  return tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)])


def add(a: Any, b: Any) -> Any:
  """Returns the sum of two nests of tensors."""
  return tf.nest.map_structure(tf.add, a, b)


def where(condition: tf.Tensor, new: Any, old: Any) -> Any:
  """Returns new tensors of a nest where a condition on their first axes holds.

  Args:
    condition: bool, for instance [K], or [].
    new: The nest, of tensors [K, ...].
    old: What is elsewhere, of the same form, or with an axis of size 1.
  """
  return tf.nest.map_structure(
      lambda n, o: tf.where(tf.reshape(condition, [
          *condition.shape, *[1] * (n.shape.rank - condition.shape.rank)]),
                            n, o), new, old)


def norm(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
  """Returns the norm of tensors together, in the type of the first one."""
  return tf.linalg.global_norm(
      [tf.cast(t, tensors[0].dtype) for t in tensors])


def flat(nest: Any) -> tf.Tensor:
  """Returns all numbers of a nest of tensors as a vector [N]."""
  return tf.concat([tf.reshape(t, [-1]) for t in tf.nest.flatten(nest)], 0)
