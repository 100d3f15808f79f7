"""First values of a network's variables, in every form a user may give them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_BY_NAME = {
    "zeros": lambda seed: tf.zeros_initializer(),
    "ones": lambda seed: tf.ones_initializer(),
    "random_normal": lambda seed: tf.random_normal_initializer(seed=seed),
    "random_uniform": lambda seed: tf.random_uniform_initializer(seed=seed),
}


class Initializers:
  """The initializer of each variable of a network.

  A variable that no initializer is given for is drawn from a normal
  distribution of standard deviation 1 / sqrt(number of rows), cut off at two
  of them, if it is a matrix, and is zero if it is a vector.
  """

  def __init__(self, initializer: Any, fields: Mapping[str, Sequence[str]],
               seed: int = 0):
    """Args:
      initializer: None, or the initializer of every variable, or a dictionary
        of them by field (`{"w": ..., "b": ...}`), or a dictionary by layer of
        any of these (`{"lstm_1": {"w_gates": ...}, "linear": "zeros"}`). One
        initializer is a name, an array, or a function of shape and dtype, as
        in `snt.initializers` and `tf.keras.initializers`.
      fields: The names of the variables in each layer.
      seed: Of the variables that are drawn at random.

    Raises:
      ValueError: No variable has the name of some key, or no initializer has
        the name given.
    """
    self._seed = seed
    self._by_variable = {}
    known = {field for names in fields.values() for field in names}
    if isinstance(initializer, Mapping):
      _check_keys(initializer, set(fields) | known)
    for layer, names in fields.items():
      ours = initializer
      if isinstance(initializer, Mapping) and layer in initializer:
        ours = initializer[layer]
        if isinstance(ours, Mapping):
          _check_keys(ours, set(names), layer)
      for field in names:
        given = ours.get(field) if isinstance(ours, Mapping) else ours
        self._by_variable[layer, field] = self._function(given)

  def __call__(self, layer: str, field: str, shape: Sequence[int],
               dtype: tf.DType) -> tf.Tensor:
    """Returns the first value of a variable.

    Raises:
      ValueError: The value given has another shape.
    """
    value = tf.convert_to_tensor(
        self._by_variable[layer, field](shape, dtype), dtype)
    if value.shape != tuple(shape):
      raise ValueError(
          f"The weights given for {layer}/{field} have shape "
          f"{tuple(value.shape)}, but this network needs {tuple(shape)}. They "
          "belong to a network of other layers or another preprocessing.")
    return value

  def _function(self, given: Any) -> Callable:
    seed = (self._seed, len(self._by_variable))
    if given is None:
      return lambda shape, dtype: _default(shape, dtype, seed)
    if isinstance(given, str):
      if given not in _BY_NAME:
        raise ValueError(f"initializer is {given!r}, but must be one of "
                         f"{sorted(_BY_NAME)}, an array or a function.")
      return _BY_NAME[given](self._seed + seed[1])
    if callable(given):
      return given
    return lambda shape, dtype: np.asarray(given, dtype.as_numpy_dtype)


def _default(shape, dtype, seed):
  if len(shape) == 1:
    return tf.zeros(shape, dtype)
  return tf.random.stateless_truncated_normal(
      shape, seed, stddev=shape[0]**-0.5, dtype=dtype, alg="philox")


def _check_keys(given, known, layer=None):
  unknown = sorted(set(given) - known)
  if unknown:
    where = f" of layer {layer!r}" if layer else ""
    raise ValueError(f"initializer{where} has the keys {unknown}, but must "
                     f"have some of {sorted(known)}.")
