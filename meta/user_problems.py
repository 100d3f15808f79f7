"""Functions that users name as "module:function"."""

from collections.abc import Callable
import functools
import importlib.machinery
import importlib.util
import inspect
import os
import types
from typing import Any

from problems import validation


def find(name: str) -> tuple[Callable[..., Any], list[str]]:
  """Imports a function of a user.

  Args:
    name: "module:function".

  Returns:
    The function, guarded, and the names of its arguments.

  Raises:
    ValueError: There is no such module or function, or importing it fails.
  """
  function = _import(name)
  signature = guarded(name, inspect.signature)(function)
  return guarded(name, function), list(signature.parameters)


def guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a function whose errors are ValueErrors that name their place.

  Args:
    name: "module:function", for the errors.
    function: A function of a user.
  """
  return functools.partial(
      validation.computed, f"problem is {name!r}, which", function)


def _import(name: str) -> Callable[..., Any]:
  module_name, _, function_name = name.partition(":")
  if module_name.endswith(".py") or "/" in module_name:
    raise ValueError(
        f"problem is {name!r}, but must be the name of a module, not of a file,"
        f" and of its function, such as my_problem:{function_name}.")
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
    module = guarded(name, importlib.import_module)(path)
    if i == 0:
      _check_not_hidden(name, module)
  function = getattr(module, function_name, None)
  if not callable(function):
    file = getattr(module, "__file__", None)
    raise ValueError(
        f"problem is {name!r}, but {module_name}{f' ({file})' if file else ''} "
        f"has no function {function_name!r}.")
  return function


def _check_not_hidden(name: str, module: types.ModuleType) -> None:
  """Raises a ValueError if the user's file is hidden by another module.

  Python's own modules, and what is imported already, take precedence.
  """
  spec = importlib.machinery.PathFinder.find_spec(
      module.__name__, [os.getcwd()])
  own = spec and spec.origin
  found = getattr(module, "__file__", None)
  if own and (found is None
              or os.path.realpath(own) != os.path.realpath(found)):
    raise ValueError(
        f"problem is {name!r}, but {own} is hidden by another module of this "
        f"name, {found or 'a part of Python'}: rename your file.")
