"""Exports a trained optimizer as a SavedModel, for plain TensorFlow.

The folder has the signatures `initial_state`, of `parameters`, and `update`, of
`gradients` and the state `state_0`, `state_1`, and so on, which returns
`updates` and the next state. `optimizer.json` describes them. A coordinatewise
optimizer takes vectors of any length, one that was made for kernels takes
[kh, kw, C_in, C_out] with any numbers of channels.
"""

import json
import os

from absl import flags

from l2lgd.commands import (
  cli,  # First: it keeps the start-up messages of TensorFlow away.
)

# isort: split
import tensorflow as tf

from l2lgd import files
from meta import learned_optimizer
import networks
from networks import weights

FLAGS = flags.FLAGS
flags.DEFINE_string("path", None, "Folder of the trained networks.")
flags.DEFINE_string("output", None, "Folder to write; of several networks, "
                    "each has a folder in it.")
_DESCRIPTION = "optimizer.json"


def main() -> None:
  with cli.user_errors():
    for name in ("path", "output"):
      if FLAGS[name].value is None:
        raise ValueError(f"--{name} is needed.")
    if os.path.exists(FLAGS.output) and (
        not os.path.isdir(FLAGS.output) or os.listdir(FLAGS.output)):
      raise ValueError(f"--output {FLAGS.output} exists: give another folder.")
    nets = learned_optimizer.load_networks(FLAGS.path)
    for key, network in nets.items():
      folder = (FLAGS.output if len(nets) == 1
                else os.path.join(FLAGS.output, key))
      export(network, os.path.join(FLAGS.path, f"{key}.l2l"), folder)
      print(f"Exported {key} to {folder}.")


def export(network: networks.Network, filename: str, folder: str) -> None:
  """Writes the SavedModel of a network and the file that describes it."""
  shape = parameter_shape(network)
  # The variables are made, by a parameter of no coordinates.
  nest = network.initial_state({"x": tf.zeros([n or 0 for n in shape])})

  @tf.function(autograph=False)
  def initial_state(parameters):
    return _named(network.initial_state({"x": parameters}))

  @tf.function(autograph=False)
  def update(gradients, **state):
    updates, state = network({"x": gradients}, tf.nest.pack_sequence_as(
        nest, [state[name] for name in _named(nest)]))
    return {"updates": updates["x"]} | _named(state)

  start = initial_state.get_concrete_function(
      tf.TensorSpec(shape, tf.float32, "parameters"))
  specs = {name: tf.TensorSpec(t.shape, t.dtype, name)
           for name, t in start.structured_outputs.items()}
  module = tf.Module()
  module.network = network
  tf.saved_model.save(module, folder, {
      "initial_state": start,
      "update": update.get_concrete_function(
          tf.TensorSpec(shape, tf.float32, "gradients"), **specs)})
  saved = weights.read(filename)
  description = {
      "net": type(network).__name__, "net_options": network.options,
      "trained_on": saved.trained_on,
      "signatures": {
          "initial_state": {"parameters": shape},
          "update": {"gradients": shape} | {
              name: spec.shape.as_list() for name, spec in specs.items()}}}
  files.write_atomically(
      os.path.join(folder, _DESCRIPTION),
      json.dumps(description, indent=2).encode())


def parameter_shape(network: networks.Network) -> list[int | None]:
  """Returns the shape of the parameters of a network, None for any length."""
  if isinstance(network, networks.KernelDeepLSTM):
    return [*network.options["kernel_shape"], None, None]
  if type(network) is networks.StandardDeepLSTM:
    return [None, network.options["output_size"]]
  return [None]


def _named(state):
  return {f"state_{i}": t for i, t in enumerate(tf.nest.flatten(state))}


def run() -> None:
  cli.run(main)
