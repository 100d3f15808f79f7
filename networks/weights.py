"""The weight file: what a trained network needs to be used again.

A weight file is a zip of `network.json`, which names the network and its
options, and of one `MODULE/VARIABLE.npy` an array. It holds nothing that could
be run. The original's files, pickles written by dill, can be read too, by a
reader that builds nothing but dictionaries and arrays of floats.
"""

from collections.abc import Callable, ItemsView
import io
import json
import pickle
import re
from typing import Any, NamedTuple
import zipfile

import numpy as np

from l2lgd import files

Weights = dict[str, dict[str, np.ndarray]]  # {module: {variable: array}}.

_FORMAT = 1
_HEADER = "network.json"
_ARRAY = ".npy"
_ZIP_MAGIC = b"PK\x03\x04"


class Saved(NamedTuple):
  """The content of a weight file."""
  weights: Weights
  net: str | None  # The network's class; None in an old file.
  net_options: dict[str, Any] | None  # JSON values; None in an old file.
  trained_on: dict[str, Any]  # JSON values; empty in an old file.


def write(filename: str, saved: Saved) -> None:
  """Writes a weight file; the same content always gives the same bytes.

  Args:
    filename: Where to. A file that is there is replaced, once the new one is
      whole.
    saved: What to write.

  Raises:
    ValueError: The content is not what `Saved` says.
    OSError: The file cannot be written; the one that was there survives.
  """
  _check_header(saved)
  header = {"format": _FORMAT, "net": saved.net,
            "net_options": saved.net_options, "trained_on": saved.trained_on}
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    # A ZipInfo's date is 1980 unless given, where a plain name's is today.
    archive.writestr(
        zipfile.ZipInfo(_HEADER), json.dumps(header, indent=2, sort_keys=True))
    for (module, variable), array in sorted(
        _flatten(saved.weights).items(), key=lambda item: item[0]):
      npy = io.BytesIO()
      np.lib.format.write_array(
          npy, np.asarray(array, order="C"), allow_pickle=False)
      archive.writestr(
          zipfile.ZipInfo(f"{module}/{variable}{_ARRAY}"), npy.getvalue())
  files.write_atomically(filename, buffer.getvalue())


def read(filename: str) -> Saved:
  """Reads a weight file, of this library or of the original.

  An old file's weights are returned as they are: `b_gates` does not contain
  the forget gate's bias of 1, which is added at run time.

  Args:
    filename: The file.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is not a whole weight file, or it wants to build something
      else than arrays. Nothing that it names has been run.
  """
  try:
    with open(filename, "rb") as file:
      data = file.read()
  except FileNotFoundError as error:
    raise FileNotFoundError(
        f"No weight file {str(filename)!r}. Train a network first, or give the "
        "path of a trained one.") from error
  parse = _parse_zip if data.startswith(_ZIP_MAGIC) else _parse_pickle
  try:
    saved = parse(data)
    _check_header(saved)
    _flatten(saved.weights)
  except Exception as error:  # A broken pickle can raise anything.
    raise ValueError(
        f"Cannot read the weight file {str(filename)!r}: "
        f"{str(error) or type(error).__name__}. If the file is damaged, copy "
        "it again or train the network again.") from error
  return saved


def _check_header(saved: Saved) -> None:
  """Raises ValueError unless all but the weights is what `Saved` says."""
  _, net, net_options, trained_on = saved
  for name, value, is_allowed, allowed in (
      ("net", net, isinstance(net, str | None), "a string or None"),
      ("net_options", net_options, isinstance(net_options, dict | None),
       "a dictionary or None"),
      ("trained_on", trained_on, isinstance(trained_on, dict),
       "a dictionary")):
    if not is_allowed:
      raise ValueError(f"{name} is {value!r}, but has to be {allowed}")


def _flatten(weights: Weights) -> dict[tuple[str, str], np.ndarray]:
  """Returns {(module, variable): array}, checked."""
  arrays = {}
  for module, variables in _items("the weights", weights):
    for variable, array in _items(f"module {module!r}", variables):
      # TensorFlow returns a NumPy scalar where the shape is [].
      is_array = isinstance(array, np.ndarray | np.generic)
      if not (is_array and array.dtype.kind == "f"):
        found = array.dtype if is_array else type(array).__name__
        raise ValueError(f"{module}/{variable} is of type {found}, but has to "
                         "be an array of floats")
      if not module or not variable or "/" in variable:
        raise ValueError(f"variable {variable!r} of module {module!r} is badly "
                         "named: a variable's name has to be without '/', and "
                         "no name may be empty")
      arrays[module, variable] = array
  return arrays


def _items(what: str, value: Any) -> ItemsView[str, Any]:
  """Returns the items of a dictionary, checked to be one with names."""
  is_dict = isinstance(value, dict)
  if not (is_dict and all(isinstance(name, str) for name in value)):
    found = "other keys" if is_dict else f"type {type(value).__name__}"
    raise ValueError(
        f"{what} has to be a dictionary with strings as keys, but has {found}")
  return value.items()


def _parse_zip(data: bytes) -> Saved:
  """Returns the content of a file that `write` wrote."""
  with zipfile.ZipFile(io.BytesIO(data)) as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
  if _HEADER not in members:
    raise ValueError(f"it is a zip file without {_HEADER}")
  header = json.loads(members.pop(_HEADER))
  if not isinstance(header, dict) or "format" not in header:
    raise ValueError(f"its {_HEADER} does not say which format it has")
  if header["format"] != _FORMAT:
    raise ValueError(
        f"it has format {header['format']!r}, but this library reads format "
        f"{_FORMAT}. Update the library if the file is newer")
  weights: Weights = {}
  for name, content in members.items():
    module, _, variable = name.removesuffix(_ARRAY).rpartition("/")
    if not (module and variable and name.endswith(_ARRAY)):
      raise ValueError(f"it contains {name!r}, but has to contain {_HEADER} "
                       f"and MODULE/VARIABLE{_ARRAY} only")
    weights.setdefault(module, {})[variable] = np.lib.format.read_array(
        io.BytesIO(content), allow_pickle=False)
  return Saved(weights, header.get("net"), header.get("net_options"),
               header.get("trained_on"))


# The rest reads old files. A pickle is a program that calls what it names. Here
# it gets stand-ins for the few names that arrays need, never the real things.


def _parse_pickle(data: bytes) -> Saved:
  """Returns the content of a file of the original."""
  # latin1 keeps the bytes of Python 2's strings, which hold its arrays.
  tree = _Unpickler(io.BytesIO(data), encoding="latin1").load()
  weights = {
      module: {variable: getattr(array, "array", array)
               for variable, array in _items(f"module {module!r}", variables)}
      for module, variables in _items("the weights", tree)}
  return Saved(weights, net=None, net_options=None, trained_on={})


class _Unpickler(pickle.Unpickler):
  """Builds dictionaries, arrays of floats and Python's literals only."""

  def find_class(self, module: str, name: str) -> Any:
    """Returns the stand-in; the real thing is not even looked up."""
    name = f"{module}.{name}"
    if name not in _STAND_INS:
      raise _refusal(name)
    return _STAND_INS[name]


def _refusal(name: str) -> ValueError:
  # The precision admits strings only: another object's text has no bounds.
  return ValueError(f"it names '{name:.80}', which is refused, as weights do "
                    "not need it; nothing of it was run")


class _Name:
  """Stands for a function or a class; a pickle can call it, not change it."""

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
    self.array = None

  def __setstate__(self, state: tuple[Any, ...]) -> None:
    _, shape, dtype, is_fortran, data = state
    self.fill(data, dtype, shape, "F" if is_fortran else "C")

  def fill(self, data: bytes | str, dtype: _Dtype, shape: tuple[int, ...],
           order: str) -> "_Array":
    """Makes the array. It is never larger than the data, whatever the shape."""
    if not re.fullmatch("[<>=|]?f[248]", dtype.name):
      raise ValueError(f"it has an array of type {dtype.name[:20]!r}, but only "
                       "floats are allowed")
    if isinstance(data, str):
      data = data.encode("latin1")
    flat = np.frombuffer(data, dtype.name)
    flat = flat.astype(flat.dtype.newbyteorder("="))  # A copy, to write on.
    self.array = flat.reshape(shape, order=order)
    return self


def _create_array(function: _Name, args: tuple[Any, ...], state: Any,
                  attributes: None = None) -> _Array:
  """Stands for dill's function, for arrays without attributes."""
  if function is not _RECONSTRUCT or attributes is not None:
    raise ValueError("it builds something else than an array, which is "
                     "refused; nothing of it was run")
  array = _RECONSTRUCT(*args)
  array.__setstate__(state)
  return array


def _load_type(name: str) -> _Name:
  """Stands for dill's function, for the type `dict` (or Python 2's name)."""
  if name not in ("dict", "DictType"):
    raise _refusal(name)
  return _DICT


def _import_module(name: str) -> object:
  """Stands for dill's function, for the modules of `_reconstruct`."""
  if name not in _MODULES:
    raise _refusal(name)
  return _MODULE


def _get_attr(module: object, name: str) -> _Name:
  """Stands for dill's function, for `_reconstruct`."""
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
    # dill 0.2.6 and before, and after.
    **{f"dill.{module}.{name}": function
       for module in ("dill", "_dill") for name, function in _DILL.items()},
}
