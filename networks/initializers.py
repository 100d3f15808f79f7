"""Initial values of variables, in all the forms in which they can be given."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from l2lgd import checks, philox

_BY_NAME: dict[str, Callable[..., tf.Tensor]] = {  # Of shape, dtype and seed.
    "zeros": lambda shape, dtype, seed: tf.zeros(shape, dtype),
    "ones": lambda shape, dtype, seed: tf.ones(shape, dtype),
    "random_normal": lambda shape, dtype, seed: 0.05 * philox.normal(
        shape, seed, dtype),
    "random_uniform": lambda shape, dtype, seed: 0.1 * (
        philox.uniform(shape, seed, dtype) - 0.5),
}


class Initializers:
  """The initializer of each variable of a network.

  A variable without an initializer is zero if it is a vector. If it is a
  matrix, it is drawn from a normal distribution of standard deviation
  1 / sqrt(number of rows), truncated at two standard deviations.
  """

  def __init__(self, initializer: Any, fields: Mapping[str, Sequence[str]],
               seed: int = 0):
    """Resolves which variable gets which initializer.

    Args:
      initializer: None, or the initializer of every variable, or a dictionary
        of initializers by field (`{"w": ..., "b": ...}`), or a dictionary by
        layer of any of these (`{"lstm_1": {"w_gates": ...}, "linear":
        "zeros"}`). An initializer is a name ("zeros", "ones", "random_normal",
        of deviation 0.05, or "random_uniform", from -0.05 to 0.05), an array,
        or a function of shape and dtype, like those in `snt.initializers` and
        `keras.initializers`. An array has the shape of the variable; one
        number is enough for a vector.
      fields: The names of the variables in each layer.
      seed: Seed of the random initial values.

    Raises:
      ValueError: A key is the name of no layer and no field, no initializer has
        a given name, or the seed is no integer.
    """
    self._seed = checks.integer("seed", seed)
    self._by_variable: dict[tuple[str, str], Callable[..., Any]] = {}
    known = {field for names in fields.values() for field in names}
    if isinstance(initializer, Mapping):
      _check_keys(initializer, set(fields) | known)
    for layer, names in fields.items():
      of_layer = initializer
      if isinstance(initializer, Mapping) and layer in initializer:
        of_layer = initializer[layer]
        if isinstance(of_layer, Mapping):
          _check_keys(of_layer, set(names), layer)
      for field in names:
        given = (of_layer.get(field) if isinstance(of_layer, Mapping)
                 else of_layer)
        self._by_variable[layer, field] = self._function(given)

  def __call__(self, layer: str, field: str, shape: Sequence[int],
               dtype: tf.DType) -> tf.Tensor:
    """Returns the initial value of a variable.

    Args:
      layer: Name of the layer.
      field: Name of the variable in the layer.
      shape: Shape of the variable.
      dtype: Type of the variable.

    Raises:
      ValueError: The given value has another shape.
    """
    value = tf.convert_to_tensor(
        self._by_variable[layer, field](shape, dtype), dtype)
    if value.shape != tuple(shape):
      raise ValueError(
          f"The weights given for {layer}/{field} have shape "
          f"{tuple(value.shape)}, but this network needs {tuple(shape)}. They "
          "belong to a network of other layers or another preprocessing.")
    return value

  def _function(self, given: Any) -> Callable[..., Any]:
    """Returns an initializer as a function of shape and dtype."""
    if isinstance(given, str) and given not in _BY_NAME:
      raise ValueError(f"initializer is {given!r}, but must be one of "
                       f"{sorted(_BY_NAME)}, an array or a function.")
    if isinstance(given, type):
      raise ValueError(f"initializer is the class {given.__name__}, but must "
                       f"be one of its instances: {given.__name__}(...).")
    if given is None or isinstance(given, str):
      drawn = _default if given is None else _BY_NAME[given]
      seed = (self._seed, len(self._by_variable))
      return lambda shape, dtype: drawn(shape, dtype, seed)
    if callable(given):
      return given
    return lambda shape, dtype: _array(given, shape, dtype)


def _array(given: Any, shape: Sequence[int], dtype: tf.DType) -> np.ndarray:
  """Returns a given array; one number becomes a vector of that number."""
  try:
    array = np.asarray(given, dtype.as_numpy_dtype)
  except (TypeError, ValueError) as error:
    raise ValueError(f"initializer has {given!r}, but must have names, numbers "
                     "or arrays of numbers.") from error
  # For a matrix, one number may be a weight of a network of another size.
  if len(shape) == 1 and array.shape in ((), (1,)):
    return np.broadcast_to(array, shape)
  return array


def _default(shape: Sequence[int], dtype: tf.DType,
             seed: tuple[int, int]) -> tf.Tensor:
  """Returns the initial value of a variable without an initializer."""
  if len(shape) == 1:
    return tf.zeros(shape, dtype)
  return shape[0]**-0.5 * philox.truncated_normal(shape, seed, dtype)


def _check_keys(given: Collection[str], known: Collection[str],
                layer: str | None = None) -> None:
  """Raises ValueError if not all given keys are known."""
  unknown = sorted(set(given) - set(known))
  if unknown:
    where = f" of layer {layer!r}" if layer else ""
    raise ValueError(f"initializer{where} has the keys {unknown}, but its keys "
                     f"must be among {sorted(known)}.")
