"""Exports trained optimizers to plain TensorFlow."""

import os
import tempfile
from typing import Any

import tensorflow as tf

from l2lgd import files
from meta import pretrained_networks
import networks
from networks import net_config as net_config_lib
from networks import weights

_DESCRIPTION = "optimizer.json"


def export(path: files.Path, output: files.Path,
           net_config: networks.NetConfig | None = None) -> dict[str, str]:
  """Writes each network of a trained optimizer as a SavedModel.

  A SavedModel needs neither this library nor Sonnet. It has two signatures,
  which the file `optimizer.json` beside it describes:

  * `initial_state` takes `parameters`, and returns the state as `state_0`,
    `state_1` and so on.
  * `update` takes `gradients` and the state, and `parameters` if the updates
    depend on them. It returns `updates`, which are to be added to the
    parameters, and the next state.
  Gradients and parameters are float32. A coordinatewise network takes vectors
  of any length; one for kernels takes [kh, kw, C_in, C_out], with any numbers
  of channels. A network that joins parameters, such as `networks.LSTMWithGAC`,
  needs all of them in one vector.

  Args:
    path: Folder of the trained optimizer, or a name that `meta.pretrained()`
      lists.
    output: Folder to write. If there are several networks, each has a folder in
      it.
    net_config: See `LearnedOptimizer.load`.

  Returns:
    The folders by the networks' ids.

  Raises:
    FileNotFoundError: There is no trained optimizer.
    ValueError: See `LearnedOptimizer.load`, except that networks may join
      parameters; or `output` is empty, exists and is not an empty folder, or
      has one of the characters that TensorFlow reads as a pattern, such as *.
    OSError: A file cannot be written.
  """
  output = files.expand_exact("output", output)
  # Hidden files may be those of an export that was interrupted.
  if os.path.exists(output) and (not os.path.isdir(output) or not all(
      name.startswith(".") for name in os.listdir(output))):
    raise ValueError(f"output is {output}, which exists: give another folder.")
  path = pretrained_networks.find(path)
  nets = net_config_lib.make(net_config_lib.from_folder(path, net_config))
  parts = {key: (key,) if len(nets) > 1 else () for key in nets}
  os.makedirs(output, exist_ok=True)
  # All networks or none of them.
  with tempfile.TemporaryDirectory(dir=output, prefix=".") as temporary:
    for key, part in parts.items():
      saved = weights.read(net_config_lib.filename(path, key))
      _export(nets[key], os.path.join(temporary, *part), saved.trained_on)
    for name in os.listdir(temporary):
      os.replace(os.path.join(temporary, name), os.path.join(output, name))
  return {key: os.path.join(output, *part) for key, part in parts.items()}


def _export(network: networks.Network, folder: str,
            trained_on: dict[str, Any]) -> None:
  """Writes the SavedModel of a network, and the file that describes it."""
  shape = network.parameter_shape
  template = net_config_lib.create_variables(network)

  @tf.function(autograph=False)
  def initial_state(parameters):
    return _named(network.initial_state({"x": parameters}))

  @tf.function(autograph=False)
  def update(gradients, parameters=None, **state):
    updates, state = network.step(
        {"x": gradients}, tf.nest.pack_sequence_as(
            template, [state[name] for name in _named(template)]),
        {"x": parameters})
    return {"updates": updates["x"]} | _named(state)

  start = initial_state.get_concrete_function(
      tf.TensorSpec(shape, tf.float32, "parameters"))
  inputs = {name: tf.TensorSpec(shape, tf.float32, name)
            for name in ("gradients", "parameters")
            if name == "gradients" or network.needs_params}
  specs = inputs | {
      name: tf.TensorSpec(t.shape, t.dtype, name)
      for name, t in start.structured_outputs.items()}
  module = tf.Module()
  module.network = network
  tf.saved_model.save(module, folder, {
      "initial_state": start,
      "update": update.get_concrete_function(**specs)})
  files.write_json(os.path.join(folder, _DESCRIPTION), {
      "net": type(network).__name__, "net_options": network.options,
      "trained_on": trained_on,
      "signatures": {
          "initial_state": {"parameters": shape},
          "update": {
              name: spec.shape.as_list() for name, spec in specs.items()}}})


def _named(state: networks.State) -> dict[str, tf.Tensor]:
  return {f"state_{i}": t for i, t in enumerate(tf.nest.flatten(state))}
