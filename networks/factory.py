"""Networks by name, and their files."""

import inspect
from typing import Any

from l2lgd import checks
from networks import base, baselines, lstm, weights

_CLASSES = {cls.__name__: cls for cls in (
    lstm.StandardDeepLSTM, lstm.CoordinateWiseDeepLSTM, lstm.KernelDeepLSTM,
    baselines.Sgd, baselines.Momentum, baselines.Nesterov, baselines.Rprop,
    baselines.Adagrad, baselines.RMSProp, baselines.Adam)}


def factory(net: str, net_options: Any = (),
            net_path: str | None = None) -> base.Network:
  """Makes a network.

  Args:
    net: Name of its class.
    net_options: Arguments of the class, a dictionary or pairs. Where a file
      says what its network was made with, they may be left out.
    net_path: A file to take the weights from, written by `save` or by the
      original program; None for a new network.

  Returns:
    The network.

  Raises:
    ValueError: The name or an option is unknown, or contradicts the file.
    FileNotFoundError: There is no such file.
  """
  cls = _CLASSES[checks.one_of("net", net, _CLASSES)]
  options = dict(net_options)
  if net_path is not None:
    options = _with_file(net, options, net_path)
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
  if net_path is not None:
    _check_layers(network, options.get("initializer", {}), net_path)
  return network


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
  """Parameters of a class, and of its parent where it hands them on."""
  parameters = dict(inspect.signature(cls.__init__).parameters)
  if "kwargs" in parameters:
    parameters = _parameters(cls.__base__) | parameters
    del parameters["output_size"]  # The subclasses determine it.
  return {name: parameter for name, parameter in parameters.items()
          if name not in ("self", "name", "kwargs")}


def _check_layers(network, layers, net_path):
  """Raises ValueError where a file lacks layers of its network."""
  hidden = network.options.get("layers")
  if hidden is None:
    return
  needed = {"linear", *(f"lstm_{i + 1}" for i in range(len(hidden)))}
  if set(layers) != needed:
    raise ValueError(
        f"{net_path} holds the weights of {sorted(layers)}, but a network of "
        f"layers={hidden} needs those of {sorted(needed)}.")


def save(network: base.Network, filename: str,
         trained_on: dict[str, Any] | None = None) -> None:
  """Writes a network's class, options and weights to a file.

  Args:
    network: A network whose variables exist.
    filename: By custom `<id>.l2l`. A file that exists is replaced at once.
    trained_on: What to note about its training, as JSON values.

  Raises:
    OSError: The file could not be written; a file of that name is intact.
  """
  arrays = {}
  for variable in network.variables:
    module, name = variable.name.split(":")[0].split("/")[-2:]
    arrays.setdefault(module, {})[name] = variable.numpy()
  weights.write(filename, weights.Saved(
      arrays, type(network).__name__, network.options, trained_on or {}))


def _with_file(net, options, net_path):
  """The options of a file, with its weights; checked against those given."""
  saved = weights.read(net_path)
  if saved.net not in (None, net):
    raise ValueError(f"{net_path} holds a {saved.net}, not a {net}.")
  for name, value in (saved.net_options or {}).items():
    given = options.setdefault(name, value)
    if isinstance(given, tuple):
      given = list(given)
    if given != value:
      raise ValueError(f"{net_path} was trained with {name}={value!r}, but "
                       f"net_options has {name}={given!r}.")
  if saved.weights:
    options["initializer"] = saved.weights
  return options
