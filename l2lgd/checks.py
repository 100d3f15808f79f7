"""Checks of arguments, and of Keras's backend.

Each but `is_finite` raises a ValueError that says what is wrong and what is
allowed. Those of arguments name the argument and its value, and return the
value if it is right.
"""

from collections.abc import Callable, Collection
import json
import math
import numbers
from typing import Any

import keras
import numpy as np


def positive_integer(name: str, value: Any) -> int:
  """Returns the value, which must be a positive integer."""
  _check(name, value, _is_integer(value) and value > 0, "a positive integer")
  return int(value)


def integer(name: str, value: Any) -> int:
  """Returns the value, which must be an integer of 64 bits."""
  _check(name, value, _is_integer(value) and -2**63 <= value < 2**63,
         "an integer of 64 bits")
  return int(value)


def positive_integers(name: str, values: Any) -> list[int]:
  """Returns a list, tuple or array of positive integers as a list."""
  return _each(positive_integer, name, values, "positive integers")


def boolean(name: str, value: Any) -> bool:
  """Returns the value, which must be True or False."""
  _check(name, value, isinstance(value, bool | np.bool_), "True or False")
  return bool(value)


def optional_boolean(name: str, value: Any) -> bool | None:
  """Returns the value, which must be True, False or None."""
  _check(name, value, isinstance(value, bool | np.bool_ | None),
         "True, False or None")
  return None if value is None else bool(value)


def finite(name: str, value: Any, minimum: float = -math.inf) -> float:
  """Returns the value, which must be a finite number, at least the minimum."""
  bound = "" if minimum == -math.inf else f" of at least {minimum}"
  _check(name, value, is_finite(value) and value >= minimum,
         f"a finite number{bound}")
  return float(value)


def positive(name: str, value: Any) -> float:
  """Returns the value, which must be a finite number above zero."""
  _check(name, value, is_finite(value) and value > 0, "a positive number")
  return float(value)


def positives(name: str, values: Any) -> list[float]:
  """Returns a list, tuple or array of positive numbers as a list."""
  return _each(positive, name, values, "positive numbers")


def fraction(name: str, value: Any) -> float:
  """Returns the value, which must be a number in [0, 1)."""
  _check(name, value, is_finite(value) and 0 <= value < 1, "in [0, 1)")
  return float(value)


def fractions(name: str, values: Any) -> list[float]:
  """Returns a list, tuple or array of numbers in [0, 1) as a list."""
  return _each(fraction, name, values, "numbers in [0, 1)")


def probability(name: str, value: Any) -> float:
  """Returns the value, which must be a number in [0, 1]."""
  _check(name, value, is_finite(value) and 0 <= value <= 1, "in [0, 1]")
  return float(value)


def one_of(name: str, value: Any, allowed: Collection[str]) -> str:
  """Returns the value, which must be one of the allowed strings."""
  _check(name, value, isinstance(value, str) and value in allowed,
         f"one of {sorted(allowed)}")
  return value


def json_value(name: str, value: Any) -> Any:
  """Returns a JSON value as it is read; NumPy's numbers become Python's."""
  try:
    return json.loads(json.dumps(value, default=lambda v: v.tolist()))
  except (AttributeError, TypeError, ValueError) as error:
    raise ValueError(f"{name} is {value!r}, but must hold JSON values alone."
                     ) from error


def is_finite(value: Any) -> bool:
  """Returns whether the value is a finite number."""
  # A bool is a Real too, but nobody means it as a quantity.
  return (isinstance(value, numbers.Real) and not isinstance(value, bool)
          and math.isfinite(value))


def keras_backend() -> None:
  """Raises a ValueError if Keras does not compute with TensorFlow."""
  backend = keras.backend.backend()
  if backend != "tensorflow":
    raise ValueError(f"Keras's backend is {backend!r}, but must be "
                     "'tensorflow': set KERAS_BACKEND=tensorflow.")


def _check(name: str, value: Any, is_allowed: bool, allowed: str) -> None:
  if not is_allowed:
    raise ValueError(f"{name} is {value!r}, but must be {allowed}.")


def _each(check: Callable[[str, Any], Any], name: str, values: Any,
          what: str) -> list[Any]:
  """Returns the values of a list, tuple or array, each of them checked."""
  _check(name, values, isinstance(values, list | tuple | np.ndarray),
         f"a tuple of {what}")
  return [check(f"{name}[{i}]", value) for i, value in enumerate(values)]


def _is_integer(value: Any) -> bool:
  # A bool is an Integral too, but nobody means it as a size.
  return isinstance(value, numbers.Integral) and not isinstance(value, bool)
