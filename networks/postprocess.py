"""Postprocessing: the outputs of a learned network become updates."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from l2lgd import checks
from networks import preprocess

_NONLINEARITIES = {"linear": tf.identity, "tanh": tf.tanh}
_MAX_DIRECTION = 3.


class Factors(NamedTuple):
  """What a step's outputs are multiplied by, and what is added to them."""
  factor: Any  # Tensor [1, N] or [D, N]; () for 1.
  offset: Any  # Tensor [D, N]; () for 0.


class Postprocessing:
  """Turns outputs into updates, by default a multiple of them.

  An update is s (scale * h(output) - nominal_step * direction)
  - weight_decay * parameter. With `nonlinearity="tanh"` and a `min_size`, its
  root mean square over a tensor is bounded by a multiple of that of the tensor,
  whatever the network computes: no gradient can make the optimizee diverge in a
  few steps.

  Attributes:
    options: The arguments but for the scale, as JSON values; those that are at
      their defaults are left out.
  """

  def __init__(self, scale: float = 1., nonlinearity: str = "linear",
               nominal_step: float = 0., min_size: float | None = None,
               weight_decay: float = 0.):
    """Sets the parts of the formula.

    Args:
      scale: Factor of the outputs.
      nonlinearity: h, "linear" or "tanh".
      nominal_step: Factor of the normalized momentum, which the preprocessing
        must have. The network learns what to add to the step of a hand-designed
        optimizer (Harrison et al. 2022, "A Closer Look at Learned Optimization:
        Stability, Robustness, and Inductive Biases", section 4).
      min_size: If it is given, s is the root mean square of the tensor that
        the update belongs to, but at least this number: steps are relative to
        the size of the parameters (Shazeer and Stern 2018, "Adafactor", section
        8). Otherwise, s is 1.
      weight_decay: Fraction of the parameter that is subtracted at each step,
        independently of the gradients (Loshchilov and Hutter 2019).

    Raises:
      ValueError: An argument is not as described.
    """
    self._scale = checks.finite("scale", scale)
    self._nonlinearity = _NONLINEARITIES[
        checks.one_of("nonlinearity", nonlinearity, _NONLINEARITIES)]
    self._nominal_step = checks.finite("nominal_step", nominal_step, 0.)
    self._min_size = (
        None if min_size is None else checks.positive("min_size", min_size))
    self._weight_decay = checks.fraction("weight_decay", weight_decay)
    defaults = {"nonlinearity": "linear", "nominal_step": 0.,
                "min_size": None, "weight_decay": 0.}
    given = {"nonlinearity": nonlinearity, "nominal_step": nominal_step,
             "min_size": min_size, "weight_decay": weight_decay}
    self.options = {name: value for name, value in given.items()
                    if value != defaults[name]}

  @property
  def needs_direction(self) -> bool:
    """Whether the preprocessing must have a momentum."""
    return bool(self._nominal_step)

  @property
  def needs_params(self) -> bool:
    """Whether the parameters must be known."""
    return self._min_size is not None or bool(self._weight_decay)

  def prepare(self, direction: tf.Tensor | None,
              params: Sequence[tf.Tensor]) -> Factors:
    """Returns what does not depend on the outputs.

    Args:
      direction: The normalized momentum [D, N]. Where it is 0, because all
        gradients have been 0, the parameter is not moved. None has none.
      params: The parameters, each in rows [D, N], if they are needed.
    """
    factor: Any = ()
    offset: Any = ()
    if self._min_size is not None:
      factor = tf.concat([
          tf.ones_like(p[:1]) * tf.maximum(_rms(p), self._min_size)
          for p in params], 1)  # [1, N]
    if direction is not None:
      if self._nominal_step:
        offset = -self._nominal_step * tf.clip_by_value(
            direction, -_MAX_DIRECTION, _MAX_DIRECTION)
        offset = offset if self._min_size is None else offset * factor
      moved = tf.cast(direction != 0., direction.dtype)
      factor = moved if self._min_size is None else moved * factor
    if self._weight_decay:
      decay = -self._weight_decay * tf.concat(params, 1)
      offset = offset + decay if self._nominal_step else decay
    return Factors(factor, offset)

  def __call__(self, outputs: tf.Tensor, factors: Factors) -> tf.Tensor:
    """Returns the updates [D, N] for outputs [D, N]."""
    updates = self._nonlinearity(outputs) * self._scale
    if not isinstance(factors.factor, tuple):
      updates *= factors.factor
    if not isinstance(factors.offset, tuple):
      updates += factors.offset
    return updates


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
  if result.needs_direction and not preprocessing.has_direction:
    raise ValueError(
        f"nominal_step is positive, but preprocess_name is "
        f"{preprocess_name!r}, which has no momentum: use RNNprop or "
        "NormalizedMomenta.")
  return result


def _rms(x: tf.Tensor) -> tf.Tensor:
  return tf.sqrt(tf.reduce_mean(x**2))
