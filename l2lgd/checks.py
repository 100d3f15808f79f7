"""Checks of arguments: each returns the value, or raises a ValueError.

The errors name the argument, its value and what is allowed.
"""

from collections.abc import Callable, Collection
import math
import numbers
from typing import Any

import keras
import numpy as np


def positive_integer(name: str, value: Any) -> int:
  """Returns the value, which must be a positive integer.

  Raises:
    ValueError: It is something else.
  """
  if not _is_integer(value) or value < 1:
    raise ValueError(f"{name} is {value!r}, but must be a positive integer.")
  return int(value)


def integer(name: str, value: Any) -> int:
  """Returns the value, which must be an integer.

  Raises:
    ValueError: It is something else.
  """
  if not _is_integer(value):
    raise ValueError(f"{name} is {value!r}, but must be an integer.")
  return int(value)


def positive_integers(name: str, values: Any) -> list[int]:
  """Returns the values as a list; all of them must be positive integers.

  Raises:
    ValueError: One is something else, or `values` is no list, tuple or array.
  """
  return _each(positive_integer, name, values, "positive integers")


def finite(name: str, value: Any, minimum: float = -math.inf) -> float:
  """Returns the value, which must be a finite number, at least the minimum.

  Raises:
    ValueError: It is something else.
  """
  if not _is_finite(value) or value < minimum:
    bound = "" if minimum == -math.inf else f" of at least {minimum}"
    raise ValueError(
        f"{name} is {value!r}, but must be a finite number{bound}.")
  return float(value)


def positive(name: str, value: Any) -> float:
  """Returns the value, which must be a finite number above zero.

  Raises:
    ValueError: It is something else.
  """
  if not _is_finite(value) or value <= 0:
    raise ValueError(f"{name} is {value!r}, but must be a positive number.")
  return float(value)


def positives(name: str, values: Any) -> list[float]:
  """Returns the values as a list; all of them must be finite and above zero.

  Raises:
    ValueError: One is something else, or `values` is no list, tuple or array.
  """
  return _each(positive, name, values, "positive numbers")


def fraction(name: str, value: Any) -> float:
  """Returns the value, which must be a number in [0, 1).

  Raises:
    ValueError: It is something else.
  """
  if not _is_finite(value) or not 0 <= value < 1:
    raise ValueError(f"{name} is {value!r}, but must be in [0, 1).")
  return float(value)


def probability(name: str, value: Any) -> float:
  """Returns the value, which must be a number in [0, 1].

  Raises:
    ValueError: It is something else.
  """
  if not _is_finite(value) or not 0 <= value <= 1:
    raise ValueError(f"{name} is {value!r}, but must be in [0, 1].")
  return float(value)


def keras_backend() -> None:
  """Raises a ValueError if Keras does not compute with TensorFlow."""
  backend = keras.backend.backend()
  if backend != "tensorflow":
    raise ValueError(f"Keras's backend is {backend!r}, but must be "
                     "'tensorflow': set KERAS_BACKEND=tensorflow.")


def one_of(name: str, value: Any, allowed: Collection[str]) -> str:
  """Returns the value, which must be one of the allowed strings.

  Raises:
    ValueError: It is something else.
  """
  if not isinstance(value, str) or value not in allowed:
    raise ValueError(
        f"{name} is {value!r}, but must be one of {sorted(allowed)}.")
  return value


def _each(check: Callable[[str, Any], Any], name: str, values: Any,
          what: str) -> list[Any]:
  """Returns the values of a list, tuple or array, each of them checked."""
  if not isinstance(values, list | tuple | np.ndarray):
    raise ValueError(f"{name} is {values!r}, but must be a tuple of {what}.")
  return [check(f"{name}[{i}]", value) for i, value in enumerate(values)]


def _is_integer(value: Any) -> bool:
  # A bool is an Integral too, but nobody means it as a size.
  return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
  # A bool is a Real too, but nobody means it as a quantity.
  return (isinstance(value, numbers.Real) and not isinstance(value, bool)
          and math.isfinite(value))
