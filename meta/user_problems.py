"""Problems that users define in their own modules, by "module:function"."""

from collections.abc import Callable
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


def find(name: str) -> tuple[Callable[..., problems.Problem], bool]:
  """Imports a function that returns a problem.

  Args:
    name: "module:function".

  Returns:
    The function, which now raises a ValueError if the problem cannot be made;
    and whether it takes the argument `split`.

  Raises:
    ValueError: There is no such module or function, or importing it fails.
  """
  function = _import(name)
  takes_split = "split" in _call(name, inspect.signature, function).parameters

  def make_problem(**options: Any) -> problems.Problem:
    problem = _call(name, function, **options)
    if not isinstance(problem, problems.Problem):
      raise ValueError(f"problem is {name!r}, which returns "
                       f"{type(problem).__name__}, but must return a "
                       "problems.Problem.")
    return problem

  return make_problem, takes_split


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
