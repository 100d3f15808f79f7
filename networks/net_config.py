"""Configurations of networks: for each id, what `networks.factory` is given.

  net_config = {
      "cw": {"net": "CoordinateWiseDeepLSTM", "net_options": {"layers": (20,)}},
      "adam": {"net": "Adam", "net_options": {"learning_rate": 0.1}}}

A configuration is data. The functions here return changed copies of it, and
`make` builds the networks.
"""

from collections.abc import Mapping, Set
import os
import pathlib
from typing import Any

import tensorflow as tf

from l2lgd import files
from networks import base, weights

# The package's `factory` is a function.
from networks.factory import arrays, content, factory, name_of

NetConfig = Mapping[str, Mapping[str, Any]]
"""Arguments of `networks.factory` by id."""

ORIGINAL: Mapping[str, Any] = {
    "net": "CoordinateWiseDeepLSTM",
    "net_options": {
        "layers": (20, 20),
        "preprocess_name": "LogAndSign",
        "preprocess_options": {"k": 5},
        "scale": 0.01,
    },
}
"""The default network of DeepMind's program."""


def make(net_config: NetConfig) -> dict[str, base.Network]:
  """Returns the networks of a configuration by id.

  Raises:
    ValueError: A configuration is not as described, or see `networks.factory`.
    FileNotFoundError: See `networks.factory`.
  """
  for key, config in net_config.items():
    _check(key, config, {"net"})
  return {key: factory(**config) for key, config in net_config.items()}


def _check(key: str, config: Any, needed: Set[str] = frozenset()) -> None:
  """Raises a ValueError if the configuration of a network has another form."""
  if not key or "/" in key:
    raise ValueError(f"The id of a network is {key!r}, but must be the name of "
                     "a file, without '/'.")
  if not isinstance(config, Mapping) or not (
      needed <= config.keys() <= {"net", "net_options", "net_path"}):
    raise ValueError(
        f"The configuration of network {key!r} is {config!r}, but must be a "
        "dictionary with net, and perhaps net_options and net_path, such as "
        "{'net': 'Adam', 'net_options': {'learning_rate': 0.1}}.")


def with_seed(net_config: NetConfig, seed: int) -> NetConfig:
  """Returns the configuration with a seed for all initial weights.

  Args:
    net_config: The networks. Those that have no weights, or whose seed is
      configured already, stay as they are.
    seed: The seed.
  """
  return {key: {**config, "net_options": {
      "seed": seed, **dict(config["net_options"])}}
          if _is_learned(config) else config
          for key, config in net_config.items()}


def with_options(net_config: NetConfig,
                 net_options: Mapping[str, Any]) -> NetConfig:
  """Returns the configuration with other options of the learned networks.

  Args:
    net_config: The networks. Those without layers, the hand-designed ones, stay
      as they are.
    net_options: The options to replace; the others are kept. Another
      `preprocess_name` also drops the options of the old preprocessing, and
      those of the postprocessing, which may depend on it.

  Raises:
    ValueError: No network is a learned one.
  """
  replaced = {}
  for key, config in net_config.items():
    if _is_learned(config):
      options = dict(config["net_options"])
      if "preprocess_name" in net_options:
        options.pop("preprocess_options", None)
        options.pop("postprocess_options", None)
      replaced[key] = {**config, "net_options": {**options, **net_options}}
  if not replaced:
    raise ValueError(
        f"net_options is {dict(net_options)!r}, but none of the networks "
        f"{sorted(net_config)} has layers: they are hand-designed.")
  return {**net_config, **replaced}


def with_weights(net_config: NetConfig, path: files.Path) -> NetConfig:
  """Returns the configuration with the weights that are saved in a folder.

  A file that says what its network is takes precedence over the configuration.
  The only network of a folder stands for all learned ones.

  Args:
    net_config: The networks to look for.
    path: A folder that `MetaOptimizer.save`, or DeepMind's program, wrote.

  Raises:
    FileNotFoundError: There is no saved network.
    ValueError: The folder has other networks, or a file is damaged.
  """
  saved = saved_ids(path)
  sources = {key: key for key in net_config}
  learned = {key for key, config in net_config.items() if _is_learned(config)}
  if len(saved) == 1 and not saved & (net_config.keys() - learned):
    sources = dict.fromkeys(learned, *saved)
  if saved and not (sources and saved >= {*sources.values()}):
    others = "" if len(saved) == 1 else (
        ", or one for any problem, such as general")
    raise ValueError(
        f"{os.fspath(path)} has the networks {sorted(saved)}, but the problem "
        f"needs {sorted(net_config)}: give networks that were trained on it"
        f"{others}.")
  return {**net_config, **{
      key: {**(_class_of(path, source) or net_config[key]),
            "net_path": filename(path, source)}
      for key, source in sources.items()}}


def from_folder(path: files.Path,
                net_config: NetConfig | None = None) -> NetConfig:
  """Returns the configuration of the networks that are saved in a folder.

  Args:
    path: A folder that `MetaOptimizer.save`, or DeepMind's program, wrote.
    net_config: The networks to look for. Their options must not contradict the
      files. None takes all networks of the folder, whose files must then say
      what they are; those of DeepMind's program do not.

  Raises:
    FileNotFoundError: There is no saved network.
    ValueError: A file is damaged, what its network is is said nowhere, or
      `net_config` is no dictionary.
  """
  path = files.expand(path)
  keys = sorted(saved_ids(path))
  if not keys:
    raise FileNotFoundError(
        f"No trained optimizer in {str(path)!r}: it has no .l2l file. Give the "
        "--save_path of l2l-train, or a folder that MetaOptimizer.save wrote.")
  if not isinstance(net_config, Mapping | None):
    raise ValueError(f"net_config is {net_config!r}, but must be a dictionary "
                     "of the networks by id; net_assignments is another "
                     "argument.")
  configs = net_config or {key: {} for key in keys}
  for key, config in configs.items():
    _check(key, config)
  loaded = {key: {**_class_of(path, key), **config,
                  "net_path": filename(path, key)}
            for key, config in configs.items()}
  for key, config in loaded.items():
    if "net" not in config:
      raise ValueError(
          f"{config['net_path']} does not say what its network is: give "
          f"net_config={{{key!r}: {{'net': ..., 'net_options': ...}}}}.")
  return loaded


def _is_learned(config: Mapping[str, Any]) -> bool:
  """Returns whether a network has layers, as hand-designed ones have not."""
  return "layers" in dict(config.get("net_options", ()))


def saved_ids(path: files.Path) -> set[str]:
  """Returns the ids of the networks that are saved in a folder."""
  return {file.stem for file in pathlib.Path(files.expand(path)).glob("*.l2l")}


def _class_of(path: files.Path, key: str) -> dict[str, str]:
  """Returns the class of a saved network; nothing if the file lacks it."""
  net = weights.read(filename(path, key)).net
  return {} if net is None else {"net": net}


def with_arrays(networks: Mapping[str, base.Network]
                ) -> dict[str, dict[str, Any]]:
  """Returns the configuration of networks, with their weights in it.

  It holds JSON values only. `make` builds the same networks from it.

  Args:
    networks: The networks by id.

  Raises:
    ValueError: One is of a class that `networks.factory` does not know.
  """
  return {key: {"net": name_of(network),
                "net_options": network.options | _initializer(network)}
          for key, network in networks.items()}


def _initializer(network: base.Network) -> dict[str, Any]:
  """Returns the option that holds the weights; none if there are no weights."""
  create_variables(network)
  layers = {
      layer: {field: array.tolist() for field, array in fields.items()}
      for layer, fields in arrays(network).items()}
  return {"initializer": layers} if layers else {}


def create_variables(network: base.Network) -> base.State:
  """Creates the variables of a network; returns a state of no coordinates."""
  return network.initial_state(
      {"x": tf.zeros([n or 0 for n in network.parameter_shape])})


def save(path: files.Path, nets: Mapping[str, base.Network],
         trained_on: dict[str, Any] | None = None) -> list[str]:
  """Writes networks to a folder, all or none, and returns their files.

  Args:
    path: The folder.
    nets: The networks by id.
    trained_on: See `networks.save`.

  Raises:
    OSError: See `networks.save`.
    ValueError: See `networks.save`.
  """
  contents: dict[files.Path, bytes] = {
      filename(path, key): weights.as_bytes(content(network, trained_on))
      for key, network in nets.items()}
  files.write_together(contents)
  return [os.fspath(name) for name in contents]


def filename(path: files.Path, key: str) -> str:
  """Returns the name of a network's file in a folder."""
  return os.path.join(path, f"{key}.l2l")
