"""The weight file: everything that is needed to use a trained network again.

A weight file is a zip archive of `network.json`, which names the network and
its options, and of one `MODULE/VARIABLE.npy` for each array. It contains
nothing that could be executed. Files of DeepMind's program can be read, too;
see `legacy_weights`.
"""

from collections.abc import ItemsView
import io
import json
from typing import Any, NamedTuple
import zipfile

import numpy as np

from l2lgd import checks, files
from networks import legacy_weights

Weights = dict[str, dict[str, np.ndarray]]
"""Arrays as {module: {variable: array}}."""

_FORMAT = 1
_HEADER = "network.json"
_ARRAY = ".npy"
_ZIP_MAGIC = b"PK\x03\x04"


class Saved(NamedTuple):
  """The content of a weight file."""
  weights: Weights
  net: str | None  # The network's class; None in a legacy file.
  net_options: dict[str, Any] | None  # JSON values; None in a legacy file.
  trained_on: dict[str, Any]  # JSON values; empty in a legacy file.


def write(filename: files.Path, saved: Saved) -> None:
  """Writes a weight file; the same content always gives the same bytes.

  Args:
    filename: The file. An existing file is replaced once the new one is
      complete.
    saved: The content.

  Raises:
    ValueError: The content is not as `Saved` describes it.
    OSError: The file cannot be written; an existing one is left as it was.
  """
  files.write_atomically(filename, as_bytes(saved))


def as_bytes(saved: Saved) -> bytes:
  """Returns what `write` writes to a file."""
  _check_header(saved)
  header = {
      "format": _FORMAT, "net": saved.net,
      "net_options": checks.json_value("net_options", saved.net_options),
      "trained_on": checks.json_value("trained_on", saved.trained_on)}
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    # The date of a ZipInfo is 1980; that of a plain name would be today.
    archive.writestr(
        zipfile.ZipInfo(_HEADER), json.dumps(header, indent=2, sort_keys=True))
    for (module, variable), array in sorted(
        _flatten(saved.weights).items(), key=lambda item: item[0]):
      npy = io.BytesIO()
      np.lib.format.write_array(
          npy, np.asarray(array, order="C"), allow_pickle=False)
      archive.writestr(
          zipfile.ZipInfo(f"{module}/{variable}{_ARRAY}"), npy.getvalue())
  return buffer.getvalue()


def read(filename: files.Path) -> Saved:
  """Reads a weight file of this library or of DeepMind's program.

  The weights of a legacy file are returned as they are: `b_gates` does not
  contain the forget gate's bias of 1, which is added at run time.

  Args:
    filename: The file.

  Raises:
    FileNotFoundError: The file does not exist.
    ValueError: It is a folder, or not a complete weight file, or it would build
      something other than arrays. Nothing that it names has been run.
  """
  try:
    with open(files.expand(filename), "rb") as file:
      data = file.read()
  except FileNotFoundError as error:
    raise FileNotFoundError(
        f"No weight file {str(filename)!r}. Train a network first, or give the "
        "path of a trained one.") from error
  except IsADirectoryError as error:
    raise ValueError(f"{str(filename)!r} is a folder, but must be a weight "
                     "file, such as the cw.l2l in it.") from error
  parse = _parse_zip if data.startswith(_ZIP_MAGIC) else _parse_legacy
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
  """Raises ValueError unless all but the weights is as `Saved` describes it."""
  _, net, net_options, trained_on = saved
  for name, value, is_allowed, allowed in (
      ("net", net, isinstance(net, str | None), "a string or None"),
      ("net_options", net_options, isinstance(net_options, dict | None),
       "a dictionary or None"),
      ("trained_on", trained_on, isinstance(trained_on, dict),
       "a dictionary")):
    if not is_allowed:
      raise ValueError(f"{name} is {value!r}, but must be {allowed}")


def _flatten(weights: Weights) -> dict[tuple[str, str], np.ndarray]:
  """Returns {(module, variable): array}.

  Raises:
    ValueError: The weights are not as `Weights` describes them.
  """
  arrays = {}
  for module, variables in _items("the weights", weights):
    for variable, array in _items(f"module {module!r}", variables):
      # Variable.numpy() is a NumPy scalar if the shape is [].
      is_array = isinstance(array, np.ndarray | np.generic)
      if not (is_array and array.dtype.kind == "f"):
        found = array.dtype if is_array else type(array).__name__
        raise ValueError(f"{module}/{variable} is of type {found}, but must be "
                         "an array of floats")
      if not module or not variable or "/" in variable:
        raise ValueError(f"the name of variable {variable!r} of module "
                         f"{module!r} is empty or contains '/'")
      arrays[module, variable] = array
  return arrays


def _items(what: str, value: Any) -> ItemsView[str, Any]:
  """Returns the items of a dictionary whose keys must be strings."""
  is_dict = isinstance(value, dict)
  if not (is_dict and all(isinstance(name, str) for name in value)):
    found = "other keys" if is_dict else f"type {type(value).__name__}"
    raise ValueError(
        f"{what} must be a dictionary with strings as keys, but has {found}")
  return value.items()


def _parse_zip(data: bytes) -> Saved:
  """Parses a file that `write` wrote."""
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
      raise ValueError(f"it contains {name!r}, but must contain nothing but "
                       f"{_HEADER} and MODULE/VARIABLE{_ARRAY}")
    weights.setdefault(module, {})[variable] = np.lib.format.read_array(
        io.BytesIO(content), allow_pickle=False)
  trained_on: Any = header.get("trained_on")  # `read` checks all types.
  return Saved(
      weights, header.get("net"), header.get("net_options"), trained_on)


def _parse_legacy(data: bytes) -> Saved:
  """Parses a file of DeepMind's program."""
  return Saved(legacy_weights.parse(data), net=None, net_options=None,
               trained_on={})
