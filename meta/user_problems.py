"""Functions that users name as "module:function"."""

from collections.abc import Callable
import functools
import importlib.util
import inspect
import os
import traceback
from typing import Any

import l2lgd
import networks
import problems

_LIBRARY = tuple(os.path.dirname(path) for path in (
    __file__, l2lgd.__file__, networks.__file__, problems.__file__))


def find(name: str) -> tuple[Callable[..., Any], bool]:
  """Imports a function of a user.

  Args:
    name: "module:function".

  Returns:
    The function, guarded, and whether it takes the argument `split`.

  Raises:
    ValueError: There is no such module or function, or importing it fails.
  """
  function = _import(name)
  takes_split = "split" in _call(name, inspect.signature, function).parameters
  return guarded(name, function), takes_split


def guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a function whose errors are ValueErrors that name their place.

  Args:
    name: "module:function", for the errors.
    function: A function of a user.
  """
  return functools.partial(_call, name, function)


def _import(name: str) -> Callable[..., Any]:
  module_name, _, function_name = name.partition(":")
  parts = module_name.split(".")
  module = None
  for i in range(len(parts)):  # Parent packages first; find_spec needs them.
    path = ".".join(parts[:i + 1])
    try:
      found = importlib.util.find_spec(path) is not None
    except (ImportError, ValueError):  # The parent is no package; no name.
      found = False
    if not found:
      raise ValueError(
          f"problem is {name!r}, but there is no module {path!r} in this "
          "folder or on PYTHONPATH.")
    module = _call(name, importlib.import_module, path)
  function = getattr(module, function_name, None)
  if not callable(function):
    raise ValueError(f"problem is {name!r}, but {module_name} has no function "
                     f"{function_name!r}.")
  return function


def _call(name: str, function: Callable[..., Any], *args: Any,
          **kwargs: Any) -> Any:
  """Calls a user's function; its errors become ValueErrors with their place."""
  try:
    return function(*args, **kwargs)
  except (Exception, SystemExit) as error:
    raise ValueError(f"problem is {name!r}, which raises "
                     f"{type(error).__name__}{_place(error)}: {error}"
                     ) from error


def _place(error: BaseException) -> str:
  """Returns the line of the user's code where an error was raised, if any."""
  if isinstance(error, SyntaxError):
    return f" at {error.filename}:{error.lineno}"
  own = [f for f in traceback.extract_tb(error.__traceback__)
         if not f.filename.startswith((*_LIBRARY, "<frozen"))
         and "site-packages" not in f.filename
         and "importlib" not in f.filename]
  return f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
