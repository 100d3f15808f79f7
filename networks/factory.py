"""Makes networks by name, and saves them to files."""

from collections.abc import Mapping
import inspect
from typing import Any

import numpy as np

from l2lgd import checks, files
from networks import (
    base,
    baselines,
    coordinatewise,
    deep_lstm,
    kernel,
    lstm_with_gac,
    ntm_bfgs,
    weights,
)

_CLASSES = {cls.__name__: cls for cls in (
    deep_lstm.StandardDeepLSTM, coordinatewise.CoordinateWiseDeepLSTM,
    kernel.KernelDeepLSTM, lstm_with_gac.LSTMWithGAC,
    ntm_bfgs.NTMBFGS)} | baselines.BY_NAME


def factory(net: str, net_options: Any = (),
            net_path: files.Path | None = None) -> base.Network:
  """Returns a network.

  Example:

    network = networks.factory(
        "CoordinateWiseDeepLSTM", {"layers": (20, 20), "scale": 0.1})
    trained = networks.factory(
        "CoordinateWiseDeepLSTM", net_path="trained/paper-mnist/cw.l2l")

  Args:
    net: Name of the network's class.
    net_options: Arguments of the class, a dictionary or pairs. If the file
      contains them, they may be left out.
    net_path: A file with the weights, written by `save` or by DeepMind's
      program. None makes a new network.

  Raises:
    ValueError: The name is unknown; an option is unknown, missing or out of
      its range, or contradicts the file; or the file is damaged, or of another
      network.
    FileNotFoundError: The file does not exist.
  """
  cls = _CLASSES[checks.one_of("net", net, _CLASSES)]
  try:
    given = dict(net_options)
  except (TypeError, ValueError) as error:
    raise ValueError(
        f"net_options is {net_options!r}, but must be a dictionary of the "
        "network's options.") from error
  saved = None if net_path is None else _read(net, net_path)
  options = given if saved is None else {**(saved.net_options or {}), **given}
  known = _parameters(cls)
  unknown = sorted(set(options) - set(known))
  missing = sorted(name for name, parameter in known.items()
                   if parameter.default is parameter.empty
                   and name not in options)
  if unknown or missing:
    problem = f"has {unknown}" if unknown else f"lacks {missing}"
    raise ValueError(f"net_options {problem}, but the options of {net} are "
                     f"{sorted(known)}.")
  network = cls(**options)
  if saved is not None:
    _check_options(network, given, saved, net_path)
    _check_variables(network, saved.weights, net_path)
    if saved.weights:
      network = cls(**options | {"initializer": saved.weights})
  return network


def save(network: base.Network, filename: files.Path,
         trained_on: dict[str, Any] | None = None) -> None:
  """Writes a network's class, options and weights to a file.

  Args:
    network: A network whose variables exist.
    filename: The file, `<id>.l2l` by convention. An existing file is replaced
      once the new one is complete.
    trained_on: Notes about the training, as JSON values.

  Raises:
    OSError: The file cannot be written; an existing one is left as it was.
    ValueError: The network is of a class that `factory` does not know, or has
      no variables yet; or `trained_on` has values other than JSON's.
  """
  weights.write(filename, content(network, trained_on))


def content(network: base.Network,
            trained_on: dict[str, Any] | None = None) -> weights.Saved:
  """Returns what `save` writes."""
  name = name_of(network)
  return weights.Saved(
      arrays(network), name, network.options, trained_on or {})


def name_of(network: base.Network) -> str:
  """Returns the name that makes a network of the same class.

  Raises:
    ValueError: There is none.
  """
  cls = type(network)
  if _CLASSES.get(cls.__name__) is not cls:
    raise ValueError(
        f"A network is a {cls.__name__}, a class that is not of the library. "
        "It cannot be copied, pickled or written to a file; a checkpoint can "
        "hold its weights.")
  return cls.__name__


def arrays(network: base.Network) -> weights.Weights:
  """Returns the weights of a network whose variables exist.

  Those of bfloat16, which NumPy does not have, are float32.

  Raises:
    ValueError: There are none yet, or two of them have the same name.
  """
  try:
    variables = network.variables
  except ValueError as error:  # Sonnet's, which is about modules of its user.
    raise ValueError(
        f"A {type(network).__name__} has no variables yet: train it, or call "
        "its initial_state.") from error
  values: weights.Weights = {}
  for variable in variables:
    module, name = variable.name.split(":")[0].split("/")[-2:]
    value = variable.numpy()
    if name in values.setdefault(module, {}):
      raise ValueError(f"Two variables of {type(network).__name__} are called "
                       f"{module}/{name}: give its modules different names.")
    values[module][name] = (
        value if value.dtype.kind == "f" else value.astype(np.float32))
  return values


def _parameters(cls: Any) -> dict[str, inspect.Parameter]:
  """Returns a constructor's parameters, including those that it passes on."""
  parameters = dict(inspect.signature(cls.__init__).parameters)
  if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
    parameters = _parameters(cls.__base__) | parameters
    parameters.pop("output_size", None)  # The subclasses determine it.
  return {name: parameter for name, parameter in parameters.items()
          if name not in ("self", "name")
          and parameter.kind is not parameter.VAR_KEYWORD}


def _read(net: str, net_path: files.Path) -> weights.Saved:
  """Returns what a file holds.

  Raises:
    ValueError: Its network is of another class.
  """
  saved = weights.read(net_path)
  if saved.net not in (None, net):
    raise ValueError(f"net is {net!r}, but must be {saved.net!r}, the class of "
                     f"the network in {net_path}.")
  return saved


def _check_options(network: base.Network, given: Mapping[str, Any],
                   saved: weights.Saved, net_path: files.Path | None) -> None:
  """Raises ValueError if options contradict a file that says what it has."""
  if saved.net_options is None:
    return
  for name in given:
    value, theirs = network.options.get(name), saved.net_options.get(name)
    if value != theirs:
      raise ValueError(f"{net_path} was trained with {name}={theirs!r}, but "
                       f"net_options has {name}={value!r}.")


def _check_variables(network: base.Network, saved: weights.Weights,
                     net_path: files.Path | None) -> None:
  """Raises ValueError if a file lacks variables of its network."""
  needed = getattr(network, "variable_names", {})  # Others have none.
  held = {layer: sorted(arrays) for layer, arrays in saved.items()}
  if held != {layer: sorted(names) for layer, names in needed.items()}:
    raise ValueError(
        f"{net_path} holds the weights {held}, but its network, a "
        f"{type(network).__name__} of the options {network.options}, needs "
        f"{needed}.")
