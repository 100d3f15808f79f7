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
from networks import moments

Memory = tuple[tf.Tensor, ...]
"""What is kept from one step to the next: tensors [..., N] or scalars."""


class Preprocessing(abc.ABC):
  """What turns rows of gradients into the inputs of a network.

  The N rows of D coordinates are processed independently of one another, except
  for means over a parameter.

  Attributes:
    has_direction: Whether `direction` returns a tensor.
  """
  has_direction = False

  def initial_memory(self, rows: tf.Tensor) -> Memory:
    """Returns the memory before the first step.

    Args:
      rows: Zeros or other values in the shape of the gradients, [D, N].
    """
    del rows
    return ()

  def remember(self, rows: tf.Tensor, memory: Memory,
               sizes: Sequence[int | None]) -> Memory:
    """Returns the memory after a step.

    Args:
      rows: The gradients, [D, N].
      memory: The memory before them.
      sizes: Number of rows of each parameter, N in all.
    """
    del rows, sizes
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

  def clipped(self, rows: tf.Tensor) -> tf.Tensor | None:
    """Returns which gradients [D, N] are clipped, bool; None if none ever is.

    To the network, gradients that are clipped look alike, or nearly so.
    """
    del rows
    return None


class Identity(Preprocessing):
  """Leaves the gradients as they are."""

  def features(self, rows: tf.Tensor, memory: Memory) -> Sequence[tf.Tensor]:
    del memory
    return [rows]


class Clamp(Preprocessing):
  """Clips to an interval."""

  def __init__(self, min_value: float | None = None,
               max_value: float | None = None):
    """Sets the bounds.

    Args:
      min_value: Lower bound; None for no bound.
      max_value: Upper bound; None for no bound.

    Raises:
      ValueError: A bound is not a finite number, or the lower one is above
        the upper one.
    """
    self._min = (
        -np.inf if min_value is None else checks.finite("min_value", min_value))
    self._max = (
        np.inf if max_value is None else checks.finite("max_value", max_value))
    if not self._min <= self._max:
      raise ValueError(
          f"min_value is {min_value!r} and max_value is {max_value!r}, but "
          "min_value must not be greater than max_value.")

  def features(self, rows: tf.Tensor, memory: Memory) -> Sequence[tf.Tensor]:
    del memory
    return [tf.clip_by_value(rows, self._min, self._max)]

  def clipped(self, rows: tf.Tensor) -> tf.Tensor:
    return (rows < self._min) | (rows > self._max)


class LogAndSign(Preprocessing):
  """Splits each gradient into a logarithm and a sign, both of order one.

  The logarithm distinguishes gradients of very different sizes. It is clipped
  for small gradients, where the sign part, which is linear around 0, takes over
  (Andrychowicz et al. 2016, appendix A, where k is called p).
  """

  def __init__(self, k: float):
    """Sets where the logarithm is clipped.

    Args:
      k: Gradients below exp(-k) count as small; positive. The paper has 10,
        DeepMind's program 5.

    Raises:
      ValueError: k is not positive.
    """
    self._k = checks.positive("k", k)

  def features(self, rows: tf.Tensor, memory: Memory) -> Sequence[tf.Tensor]:
    """Returns the logarithms and the signs."""
    del memory
    log = tf.math.log(tf.abs(rows) + _epsilon(rows.dtype))
    # With a larger exponent, the factor would be infinite.
    slope = np.exp(min(self._k, np.floor(np.log(rows.dtype.max))))
    return [tf.maximum(log / self._k, -1.),
            tf.clip_by_value(rows * slope, -1., 1.)]

  def clipped(self, rows: tf.Tensor) -> tf.Tensor:
    return tf.abs(rows) < np.exp(-self._k)


def _epsilon(dtype: tf.DType) -> Any:
  """Returns the distance from 1 to the next larger number, in this type."""
  one = dtype.as_numpy_dtype(1)
  return np.nextafter(one, 2 * one) - one  # np.finfo does not know bfloat16.


class _Momentum(Preprocessing):
  """The base of features that are made of running means."""
  has_direction = True

  def __init__(self, decays: Sequence[float], square_decays: Sequence[float]):
    for name, values in (("decays", decays), ("square_decays", square_decays)):
      if not checks.fractions(name, values):
        raise ValueError(f"{name} is {values!r}, but must not be empty.")
    self._running = moments.RunningMoments(decays, square_decays)

  def initial_memory(self, rows: tf.Tensor) -> Memory:
    if rows.dtype.size < 4:  # A decay of 0.999 would be 1 in bfloat16.
      raise ValueError(
          f"The parameters are of type {rows.dtype.name}, but must be of type "
          f"float32 or float64 for {type(self).__name__}, which keeps running "
          "means.")
    return self._running.start(rows)

  def remember(self, rows: tf.Tensor, memory: Memory,
               sizes: Sequence[int | None]) -> Memory:
    return self._running.update(moments.Moments(*memory), rows, sizes)

  def direction(self, memory: Memory) -> tf.Tensor:
    means, squares = self._running.unbiased(moments.Moments(*memory))
    return means[-1] * moments.inverse_root(squares[-1])


class RNNprop(_Momentum):
  """The directions of RMSProp and of Adam (Lv et al. 2017, section 4.1)."""

  def __init__(self, decay: float = 0.95, epsilon: float = 1e-8):
    """Sets the decay.

    Args:
      decay: Decay of the running means of the gradients and of their squares.
      epsilon: What is added to the root of the mean square.

    Raises:
      ValueError: `decay` is not in [0, 1), or `epsilon` is not positive.
    """
    checks.fraction("decay", decay)
    super().__init__([decay], [decay])
    self._epsilon = checks.positive("epsilon", epsilon)

  def features(self, rows: tf.Tensor, memory: Memory) -> Sequence[tf.Tensor]:
    """Returns m / sqrt(v) and g / sqrt(v)."""
    (m,), (v,) = map(
        tf.unstack, self._running.unbiased(moments.Moments(*memory)))
    root = tf.sqrt(tf.maximum(v, moments.TINY)) + self._epsilon
    return [m / root, rows / root]


class NormalizedMomenta(_Momentum):
  """Momenta of several time scales, divided by the root mean square.

  They tell the network how the gradient, and its means over a few steps to
  hundreds, compare with the usual size; whether this size grows or falls; and
  how many steps it has made (after Metz et al. 2022, "VeLO: Training Versatile
  Learned Optimizers by Scaling Up", appendix B).

  The logarithms of the mean squares tell how large gradients are: relative to
  the largest that the parameter has had, so that a network does the same for a
  loss that is multiplied by a number. If they are `absolute`, the scale tells
  how far the optimization of a familiar problem has come, and misleads on
  others.
  """

  def __init__(self, decays: Sequence[float] = (0.5, 0.9, 0.99),
               square_decays: Sequence[float] = (0.9, 0.999),
               time_scales: Sequence[float] = (10., 100.),
               absolute: bool = False):
    """Sets the time scales.

    Args:
      decays: Decays of the means of the gradients; in [0, 1).
      square_decays: Decays of the means of their squares; in [0, 1). The root
        of the mean of the last decay is the divisor.
      time_scales: Numbers of steps s, positive, for the features
        tanh(t / s) - 1 after t steps.
      absolute: Whether the logarithms of the mean squares are those of the
        squares themselves, not of their ratios to the largest.

    Raises:
      ValueError: A decay is not in [0, 1), a time scale is not positive, or
        there are no decays.
    """
    super().__init__(decays, square_decays)
    self._time_scales = checks.positives("time_scales", time_scales)
    self._absolute = checks.boolean("absolute", absolute)

  def features(self, rows: tf.Tensor, memory: Memory) -> Sequence[tf.Tensor]:
    """Returns 1 + K + (L - 1) + S + L features, for S time scales."""
    memory = moments.Moments(*memory)
    means, squares = self._running.unbiased(memory)
    scale = moments.inverse_root(squares[-1])
    logs = [moments.log(v) for v in tf.unstack(squares)]
    peak = 0. if self._absolute else moments.log(memory.peaks)
    step = tf.cast(memory.step, rows.dtype)
    return [rows * scale, *tf.unstack(means * scale),
            *(tf.clip_by_value((log - logs[-1]) / 5, -2., 2.)
              for log in logs[:-1]),
            *(tf.ones_like(rows) * (tf.tanh(step / s) - 1)
              for s in self._time_scales),
            *((log - peak) / 20 for log in logs)]


_BY_NAME = {"identity": Identity, "Clamp": Clamp, "LogAndSign": LogAndSign,
            "RNNprop": RNNprop, "NormalizedMomenta": NormalizedMomenta}


def by_name(name: str,
            options: dict[str, Any] | None = None) -> Preprocessing:
  """Returns a preprocessing.

  Args:
    name: "identity", "Clamp", "LogAndSign", "RNNprop" or "NormalizedMomenta".
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
