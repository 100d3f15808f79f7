"""The reader of the weight files of DeepMind's program, which are pickles.

A pickle is a program: it calls the functions that it names. This reader gives
it stand-ins for the few names that arrays need, and never the real objects. So
it builds nothing but dictionaries and arrays of floats, whatever the file says.
"""

from collections.abc import Callable
import io
import pickle
import re
from typing import Any, Literal

import numpy as np


def parse(data: bytes) -> Any:
  """Returns the weights of a file, {module: {variable: array}}.

  The caller must check that they have this form. A file can also contain other
  dictionaries, literals and the stand-ins, all of which are harmless.

  Args:
    data: The content of the file.

  Raises:
    Exception: The pickle is damaged or refused; a damaged one can raise
      anything. Nothing that it names has been run.
  """
  # latin1 keeps the bytes of the strings of Python 2, which hold the arrays.
  tree = _Unpickler(io.BytesIO(data), encoding="latin1").load()
  return _map_values(lambda variables: _map_values(_array, variables), tree)


def _map_values(function: Callable[[Any], Any], value: Any) -> Any:
  """Applies a function to the values of a dictionary; leaves others alone."""
  if not isinstance(value, dict):
    return value
  return {name: function(item) for name, item in value.items()}


def _array(value: Any) -> Any:
  """Returns the array that a stand-in holds; other values as they are."""
  return value.array if isinstance(value, _Array) else value


class _Unpickler(pickle.Unpickler):
  """Builds nothing but dictionaries, arrays of floats and literals."""

  def find_class(self, module: str, name: str) -> Any:
    """Returns the stand-in of a name; the real object is never looked up."""
    name = f"{module}.{name}"
    if name not in _STAND_INS:
      raise _refusal(name)
    return _STAND_INS[name]


def _refusal(name: str) -> ValueError:
  """Returns the error for a name that weights do not need."""
  # The precision accepts nothing but strings: the text of another object could
  # be of any length.
  return ValueError(f"it names '{name:.80}', which is refused, as weights do "
                    "not need it; nothing of it was run")


class _Name:
  """Stands for a function or a class: a pickle can call it, not change it."""

  __slots__ = ("_function",)

  def __init__(self, function: Callable[..., Any]):
    self._function = function

  def __call__(self, *args: Any) -> Any:
    return self._function(*args)

  def __setstate__(self, state: Any) -> None:
    # Without this method, the BUILD instruction would set the attributes.
    raise ValueError("it changes a function, which is refused; nothing of it "
                     "was run")


class _Dtype:
  """Stands for `numpy.dtype`."""

  def __init__(self, name: str, *unused_align_and_copy: Any):
    self.name = name

  def __setstate__(self, state: tuple[Any, ...]) -> None:
    self.name = state[1] + self.name  # Byte order and type: "<f4".


class _Array:
  """Stands for `numpy.ndarray`; holds a real one once it has its state."""

  def __init__(self, *unused: Any):
    self.array: np.ndarray | None = None

  def __setstate__(self, state: tuple[Any, ...]) -> None:
    _, shape, dtype, is_fortran, data = state
    self.fill(data, dtype, shape, "F" if is_fortran else "C")

  def fill(self, data: bytes | str, dtype: _Dtype, shape: tuple[int, ...],
           order: Literal["C", "F"]) -> "_Array":
    """Builds the array. Whatever its shape, it is no larger than the data."""
    if not re.fullmatch("[<>=|]?f[248]", dtype.name):
      raise ValueError(f"it has an array of type {dtype.name[:20]!r}, but only "
                       "floats are allowed")
    if isinstance(data, str):
      data = data.encode("latin1")
    flat = np.frombuffer(data, dtype.name)
    flat = flat.astype(flat.dtype.newbyteorder("="))  # A writable copy.
    self.array = flat.reshape(shape, order=order)
    return self


def _create_array(function: _Name, args: tuple[Any, ...], state: Any,
                  attributes: None = None) -> _Array:
  """Stands for dill's function; accepts arrays without attributes."""
  if function is not _RECONSTRUCT or attributes is not None:
    raise ValueError("it builds something other than an array, which is "
                     "refused; nothing of it was run")
  array = _RECONSTRUCT(*args)
  array.__setstate__(state)
  return array


def _load_type(name: str) -> _Name:
  """Stands for dill's function; accepts `dict` and its name in Python 2."""
  if name not in ("dict", "DictType"):
    raise _refusal(name)
  return _DICT


def _import_module(name: str) -> object:
  """Stands for dill's function; accepts the modules of `_reconstruct`."""
  if name not in _MODULES:
    raise _refusal(name)
  return _MODULE


def _get_attr(module: object, name: str) -> _Name:
  """Stands for dill's function; accepts `_reconstruct`."""
  if module is not _MODULE or name != "_reconstruct":
    raise _refusal(name)
  return _RECONSTRUCT


_DICT = _Name(dict)
_MODULE = object()
_RECONSTRUCT = _Name(_Array)
_MODULES = tuple(f"numpy.{core}.{module}" for core in ("core", "_core")
                 for module in ("multiarray", "_multiarray_umath"))
_DILL = {function.__name__: _Name(function) for function in (
    _create_array, _load_type, _import_module, _get_attr)}

_STAND_INS = {
    "__builtin__.dict": _DICT,
    "builtins.dict": _DICT,
    "collections.OrderedDict": _DICT,
    "collections.defaultdict": _Name(lambda unused_factory=None: {}),
    # How Python 3 writes bytes for Python 2.
    "_codecs.encode": _Name(lambda text, _: str.encode(text, "latin1")),
    "numpy.ndarray": _Name(_Array),
    "numpy.dtype": _Name(_Dtype),
    **{f"{module}._reconstruct": _RECONSTRUCT for module in _MODULES},
    **{f"numpy.{core}.numeric._frombuffer": _Name(
        lambda *args: _Array().fill(*args)) for core in ("core", "_core")},
    # Up to dill 0.2.6 the module was called dill.dill.
    **{f"dill.{module}.{name}": function
       for module in ("dill", "_dill") for name, function in _DILL.items()},
}
