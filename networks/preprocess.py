"""Preprocessing of gradients: each number becomes one or more features.

The gradients of one run differ by many orders of magnitude. Preprocessing
brings them to a range that a neural network can process. It may keep a memory,
such as running means of the gradients.
"""

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from l2lgd import checks

Memory = tuple[tf.Tensor, ...]
"""What is kept from one step to the next: tensors [..., N] or scalars."""


class Preprocessing(abc.ABC):
  """What turns rows of gradients into the inputs of a network.

  D coordinates, or N rows of them, are processed independently.
  """

  def initial_memory(self, rows: tf.Tensor) -> Memory:
    """Returns the memory before the first step.

    Args:
      rows: Zeros or other values in the shape of the gradients, [D, N].
    """
    del rows
    return ()

  def remember(self, rows: tf.Tensor, memory: Memory) -> Memory:
    """Returns the memory after gradients [D, N]."""
    del rows
    return memory

  @abc.abstractmethod
  def features(self, rows: tf.Tensor, memory: Memory) -> Sequence[tf.Tensor]:
    """Returns the features.

    Args:
      rows: The gradients, [D, N].
      memory: The memory after these gradients.

    Returns:
      Tensors [D, N].
    """

  def direction(self, memory: Memory) -> tf.Tensor | None:
    """Returns the normalized momentum [D, N]; None without a memory.

    It is 0 where all gradients have been 0, and its size is of order one.
    """
    del memory
    return None

  def clipped(self, gradients: tf.Tensor) -> tf.Tensor | None:
    """Returns which gradients are clipped, bool; None if none ever is.

    The network cannot tell the size of a gradient that is clipped.
    """
    del gradients
    return None


class Memoryless(Preprocessing):
  """A function of the gradients alone."""

  @abc.abstractmethod
  def __call__(self, gradients: tf.Tensor) -> tf.Tensor:
    """Maps gradients [..., D] to features [..., D] or [..., 2 D]."""

  def features(self, rows: tf.Tensor, memory: Memory) -> Sequence[tf.Tensor]:
    del memory
    return tf.unstack(self(rows[..., tf.newaxis]), axis=-1)


class Identity(Memoryless):
  """Leaves the gradients as they are."""

  def __call__(self, gradients: tf.Tensor) -> tf.Tensor:
    return gradients

class Clamp(Memoryless):
  """Clips to an interval."""

  def __init__(self, min_value: float | None = None,
               max_value: float | None = None):
    """Sets the bounds.

    Args:
      min_value: Lower bound; None for no bound.
      max_value: Upper bound; None for no bound.

    Raises:
      ValueError: The lower bound is above the upper one.
    """
    self._min = -np.inf if min_value is None else min_value
    self._max = np.inf if max_value is None else max_value
    if not self._min <= self._max:
      raise ValueError(
          f"min_value is {min_value!r} and max_value is {max_value!r}, but "
          "min_value must not be greater than max_value.")

  def __call__(self, gradients: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(gradients, self._min, self._max)

  def clipped(self, gradients: tf.Tensor) -> tf.Tensor:
    return (gradients < self._min) | (gradients > self._max)


class LogAndSign(Memoryless):
  """Splits each gradient into a logarithm and a sign, both of order one.

  The logarithm distinguishes gradients of very different sizes. It is clipped
  for small gradients, where the sign part, which is linear around 0, takes over
  (Andrychowicz et al. 2016, appendix A, where k is called p).
  """

  def __init__(self, k: float):
    """Sets where the logarithm is clipped.

    Args:
      k: Gradients below exp(-k) count as small; positive.

    Raises:
      ValueError: k is not positive.
    """
    self._k = checks.positive("k", k)

  def __call__(self, gradients: tf.Tensor) -> tf.Tensor:
    """Maps [..., D] to [..., 2 D]: D logarithms, then D signs."""
    log = tf.math.log(tf.abs(gradients) + _epsilon(gradients.dtype))
    log = tf.maximum(log / self._k, -1.)
    sign = tf.clip_by_value(gradients * np.exp(self._k), -1., 1.)
    return tf.concat([log, sign], axis=-1)

  def clipped(self, gradients: tf.Tensor) -> tf.Tensor:
    return tf.abs(gradients) < np.exp(-self._k)


def _epsilon(dtype: tf.DType) -> Any:
  """Returns the distance from 1 to the next larger number, in this type."""
  one = dtype.as_numpy_dtype(1)
  return np.nextafter(one, 2 * one) - one  # np.finfo does not know bfloat16.


_BY_NAME = {"identity": Identity, "Clamp": Clamp, "LogAndSign": LogAndSign}


def by_name(name: str,
            options: dict[str, float] | None = None) -> Preprocessing:
  """Returns a preprocessing.

  Args:
    name: "identity", "Clamp" or "LogAndSign".
    options: Arguments of the constructor.

  Raises:
    ValueError: There is none of this name, or it does not take the options.
  """
  checks.one_of("preprocess_name", name, _BY_NAME)
  try:
    return _BY_NAME[name](**(options or {}))
  except TypeError as error:
    raise ValueError(
        f"preprocess_options are {options!r}, which {name} does not take: "
        f"{error}.") from error
