"""Preprocessing of gradients: each number becomes one or more features."""

import numpy as np
import tensorflow as tf

from l2lgd import checks


class Identity:
  """Leaves the gradients as they are."""

  def __call__(self, gradients: tf.Tensor) -> tf.Tensor:
    return gradients

  def cut_off(self, gradients: tf.Tensor) -> tf.Tensor | None:
    """Returns which gradients are cut off, bool; None where none can be."""


class Clamp:
  """Clips to an interval; a bound of None is none."""

  def __init__(self, min_value: float | None = None,
               max_value: float | None = None):
    if None not in (min_value, max_value) and not min_value <= max_value:
      raise ValueError(
          f"min_value is {min_value!r} and max_value is {max_value!r}, but "
          "min_value must not be the greater one.")
    self._min = -np.inf if min_value is None else min_value
    self._max = np.inf if max_value is None else max_value

  def __call__(self, gradients: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(gradients, self._min, self._max)

  def cut_off(self, gradients: tf.Tensor) -> tf.Tensor:
    """Returns which gradients are clipped, bool."""
    return (gradients < self._min) | (gradients > self._max)


class LogAndSign:
  """Scales every gradient to a logarithm and a sign, both of order one.

  The logarithm tells gradients of very different sizes apart, the sign part
  grows linearly around zero, where the logarithm is cut off (Andrychowicz et
  al. 2016, appendix A, where k is called p).
  """

  def __init__(self, k: float):
    """Args:
      k: Gradients below exp(-k) count as small; positive.

    Raises:
      ValueError: k is not positive.
    """
    self._k = checks.positive("k", k)

  def __call__(self, gradients: tf.Tensor) -> tf.Tensor:
    """Maps [..., D] to [..., 2 D]: D logarithms, then D signs."""
    eps = np.finfo(gradients.dtype.as_numpy_dtype).eps
    log = tf.math.log(tf.abs(gradients) + eps)
    log = tf.maximum(log / self._k, -1.)
    sign = tf.clip_by_value(gradients * np.exp(self._k), -1., 1.)
    return tf.concat([log, sign], axis=-1)

  def cut_off(self, gradients: tf.Tensor) -> tf.Tensor:
    """Returns which gradients are so small that the logarithm is -1, bool."""
    return tf.abs(gradients) < np.exp(-self._k)


_BY_NAME = {"identity": Identity, "Clamp": Clamp, "LogAndSign": LogAndSign}


def by_name(name: str, options: dict[str, float] | None = None):
  """Returns the preprocessing of a name, made with these options.

  Raises:
    ValueError: There is none of that name, or it does not take the options.
  """
  checks.one_of("preprocess_name", name, _BY_NAME)
  try:
    return _BY_NAME[name](**(options or {}))
  except TypeError as error:
    raise ValueError(
        f"preprocess_options are {options!r}, which {name} does not take: "
        f"{error}.") from error
