"""Postprocessing: the outputs of a learned network become updates."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from l2lgd import checks
from networks import elementwise, preprocess

_NONLINEARITIES = {"linear": tf.identity, "tanh": tf.tanh}
_MAX_DIRECTION = 3.  # A bound, which momenta seldom reach.


class Factors(NamedTuple):
  """What an update consists of beside the outputs; () stands for nothing."""
  size: Any  # Factor s, [1, N].
  moved: Any  # 1 where a coordinate has had gradients and 0 elsewhere, [D, N].
  nominal: Any  # The nominal step, [D, N].
  decay: Any  # The weight decay, [D, N].


class Postprocessing:
  """Turns outputs into updates, by default a multiple of them.

  An update is s e (scale * h(output) - nominal_step * direction)
  - weight_decay * parameter. The direction is clipped to [-3, 3], and outputs
  count as 0 where all gradients have been 0, if the preprocessing has a
  momentum. With `nonlinearity="tanh"` and a `min_size`, the root mean square of
  a parameter's update is bounded by a multiple of that of the parameter, or of
  `min_size` if that is larger, whatever the network computes: no gradient can
  make the optimizee diverge in a few steps.

  Attributes:
    num_outputs: Number of outputs for each coordinate.
    options: The arguments but for the scale, as JSON values; those that are at
      their defaults are left out.
  """

  def __init__(self, scale: float = 1., nonlinearity: str = "linear",
               nominal_step: float = 0., min_size: float | None = None,
               weight_decay: float = 0., log_range: float = 0.,
               max_size: float | None = None):
    """Sets the parts of the formula.

    Args:
      scale: Factor of the outputs; any finite number.
      nonlinearity: h, "linear" or "tanh".
      nominal_step: Factor of the normalized momentum; at least 0. If it is
        positive, the preprocessing must have a momentum, as RNNprop has. The
        network learns what to add to the step of a hand-designed
        optimizer (Harrison et al. 2022, "A Closer Look at Learned Optimization:
        Stability, Robustness, and Inductive Biases", section 4).
      min_size: If it is given, s is the root mean square of the parameter, but
        at least this positive number: steps are relative to the size of the
        parameters (Shazeer and Stern 2018, "Adafactor", section 8). Otherwise,
        s is 1.
      weight_decay: Fraction of the parameter that is subtracted at each step,
        independently of the gradients (Loshchilov and Hutter 2019); in [0, 1).
      log_range: At least 0. If it is positive, e is exp(log_range * tanh(m)),
        where m is a second output: the network sets the size of steps over
        orders of magnitude, and their direction apart from it (after Metz et
        al. 2020, "Tasks, stability, architecture, and compute"). Otherwise, e
        is 1.
      max_size: The most that s can be; at least `min_size`, which must be
        given. Without it, parameters can grow exponentially: the larger they
        are, the larger are their steps.

    Raises:
      ValueError: An argument is not as described.
    """
    self._scale = checks.finite("scale", scale)
    self._nonlinearity = _NONLINEARITIES[
        checks.one_of("nonlinearity", nonlinearity, _NONLINEARITIES)]
    self._nominal_step = checks.finite("nominal_step", nominal_step, 0.)
    self._min_size = (
        None if min_size is None else checks.positive("min_size", min_size))
    self._max_size = (
        None if max_size is None else checks.positive("max_size", max_size))
    if max_size is not None and (min_size is None or max_size < min_size):
      raise ValueError(f"max_size is {max_size}, but must be " + (
          "None, as min_size is." if min_size is None else
          f"at least min_size, which is {min_size}."))
    self._weight_decay = checks.fraction("weight_decay", weight_decay)
    self._log_range = checks.finite("log_range", log_range, 0.)
    self.num_outputs = 2 if log_range else 1
    options: dict[str, Any] = {
        "nonlinearity": nonlinearity, "nominal_step": self._nominal_step,
        "min_size": self._min_size, "weight_decay": self._weight_decay,
        "log_range": self._log_range, "max_size": self._max_size}
    # The other defaults are 0 or None.
    self.options = {name: value for name, value in options.items()
                    if value and value != "linear"}

  @property
  def needs_params(self) -> bool:
    """Whether the parameters must be known."""
    return self._min_size is not None or bool(self._weight_decay)

  def prepare(self, direction: tf.Tensor | None,
              params: Sequence[tf.Tensor]) -> Factors:
    """Returns what does not depend on the outputs.

    Args:
      direction: The normalized momentum [D, N]. Where it is 0, because all
        gradients have been 0, the parameter is not moved. None if the
        preprocessing has no momentum.
      params: The parameters, each in rows [D, N], if they are needed.
    """
    size: Any = ()
    moved: Any = ()
    nominal: Any = ()
    decay: Any = ()
    if self._min_size is not None:
      size = tf.concat([
          tf.ones_like(p[:1]) * tf.clip_by_value(
              elementwise.root(tf.reduce_mean(p**2)), self._min_size,
              self._max_size or np.inf)
          for p in params], 1)
    if direction is not None:
      moved = tf.cast(direction != 0., direction.dtype)
      if self._nominal_step:
        nominal = -self._nominal_step * tf.clip_by_value(
            direction, -_MAX_DIRECTION, _MAX_DIRECTION)
    if self._weight_decay:
      decay = -self._weight_decay * tf.concat(params, 1)
    return Factors(size, moved, nominal, decay)

  def __call__(self, outputs: tf.Tensor, factors: Factors) -> tf.Tensor:
    """Returns the updates [D, N] for outputs [D, N] or [2 D, N]."""
    magnitudes: Any = ()
    if self._log_range:
      outputs, magnitudes = tf.split(outputs, 2)
      magnitudes = tf.exp(self._log_range * tf.tanh(magnitudes))
    updates = self._nonlinearity(outputs) * self._scale
    updates = _unless_empty(tf.multiply, updates, factors.moved)
    updates = _unless_empty(tf.add, updates, factors.nominal)
    updates = _unless_empty(tf.multiply, updates, magnitudes)
    updates = _unless_empty(tf.multiply, updates, factors.size)
    return _unless_empty(tf.add, updates, factors.decay)


def from_options(scale: float, options: dict[str, Any] | None,
                 preprocess_name: str,
                 preprocessing: preprocess.Preprocessing) -> Postprocessing:
  """Returns the postprocessing that fits a preprocessing.

  Raises:
    ValueError: The options are not those of `Postprocessing`, or the
      preprocessing has no momentum for them.
  """
  try:
    result = Postprocessing(scale, **(options or {}))
  except TypeError as error:
    raise ValueError(f"postprocess_options are {options!r}, but must be "
                     f"arguments of Postprocessing: {error}.") from error
  if "nominal_step" in result.options and not preprocessing.has_direction:
    raise ValueError(
        f"nominal_step is {result.options['nominal_step']}, but "
        f"preprocess_name is {preprocess_name!r}, which has no momentum: use "
        "RNNprop or NormalizedMomenta, or postprocess_options without a "
        "nominal_step.")
  return result


def _unless_empty(function: Callable[..., tf.Tensor], x: tf.Tensor,
                  y: Any) -> tf.Tensor:
  """Returns function(x, y), and x if y is ()."""
  return x if isinstance(y, tuple) else function(x, y)
