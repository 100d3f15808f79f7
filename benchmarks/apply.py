"""Times a step of `LearnedOptimizer` against Keras's Adam and AdamW.

  python -m benchmarks.apply

The network is the paper's: two layers of 20 units. For models of few and of
many variables, it is applied eagerly, in a `tf.function`, and compiled by XLA.
The optimizers make steps in turn, with the same gradients, and so does the
floor: the matrix products and nonlinearities of the network alone, compiled.
A second table has training steps of a Keras model of 60 variables, against the
floor and the model's own time, that of its loss and gradients.
"""

from collections.abc import Callable
from typing import Any

from absl import flags
import keras
import numpy as np
import tabulate
import tensorflow as tf

from benchmarks import timing
from l2lgd import checks, philox
from l2lgd.commands import console, program
import meta
from networks import net_config

FLAGS = flags.FLAGS
flags.DEFINE_integer("repeats", 20, "Steps of which the median is taken.")
_MODELS = ((4, 10**6), (60, 10**5), (300, 10**5))  # Variables, coordinates.
_MODES = ("eager", "function", "compiled")


def main() -> None:
  console.print_device()
  with program.user_errors():
    checks.positive_integer("--repeats", FLAGS.repeats)
  rows = [[num_variables, size, mode, *measure(num_variables, size, mode)]
          for num_variables, size in _MODELS for mode in _MODES]
  print(tabulate.tabulate(
      rows, headers=(
          "Variables", "Coordinates", "Mode", "ns/coordinate", "over floor",
          "cores busy", "first step s", "Adam ns/coordinate",
          "AdamW ns/coordinate", "state bytes/coordinate"), floatfmt=".3g"))
  print(tabulate.tabulate(
      [[mode, *measure_keras(mode)] for mode in _MODES[1:]], headers=(
          "Keras", "ms", "over floor and model", "cores busy"), floatfmt=".3g"))


def measure(num_variables: int, size: int, mode: str) -> list[float]:
  """Returns what a row of the table has.

  Args:
    num_variables: Number of variables of the model, which are equally large.
    size: Number of their coordinates.
    mode: "eager", "function" or "compiled".
  """
  learned = make_learned()
  optimizers = [learned, keras.optimizers.Adam(),
                keras.optimizers.AdamW()]
  sizes = [len(part) for part in np.array_split(np.arange(size), num_variables)]
  steps = [make_step(optimizer, sizes, mode) for optimizer in optimizers]
  network, = learned.networks.values()
  steps.append(make_floor(network, size))
  first, *_ = [timing.of_call(step).seconds for step in steps]
  for step in steps:
    step()
  own, adam, adamw, floor = timing.in_turn(steps, FLAGS.repeats)
  state = sum(s.shape.num_elements() * s.dtype.size
              for states in learned.states for s in states)
  return [own.seconds / size * 1e9, own.seconds / floor.seconds, own.busy,
          first, adam.seconds / size * 1e9, adamw.seconds / size * 1e9,
          state / size]


def measure_keras(mode: str, num_layers: int = 30,
                  width: int = 57) -> list[float]:
  """Returns the time of a training step in Keras, in ms, and its ratio.

  Args:
    mode: "function" or "compiled".
    num_layers: Number of layers, each of which has two variables.
    width: Units of a layer.
  """
  model = keras.Sequential([keras.Input([width]), *(
      keras.layers.Dense(width, "relu") for _ in range(num_layers))])
  inputs = tf.Variable(philox.normal([128, width], (0, 0)))

  def gradients() -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean((model(inputs) - inputs)**2)
    return tape.gradient(loss, [v.value for v in model.trainable_variables])

  is_compiled = mode == "compiled"
  network, = make_learned().networks.values()
  optimizer = meta.KerasLearnedOptimizer(
      net_config=net_config.with_arrays({"cw": network}))
  model.compile(optimizer, "mse", jit_compile=is_compiled)
  steps = [lambda: model.train_on_batch(inputs, inputs),
           tf.function(gradients, autograph=False, jit_compile=is_compiled),
           make_floor(network, model.count_params())]
  for step in steps * 2:
    step()
  own, of_model, floor = timing.in_turn(steps, FLAGS.repeats)
  return [own.seconds * 1e3,
          own.seconds / (floor.seconds + of_model.seconds), own.busy]


def make_learned() -> meta.LearnedOptimizer:
  """Returns an untrained optimizer, whose weights exist."""
  learned = meta.LearnedOptimizer(meta.MetaOptimizer().networks)
  network, = learned.networks.values()
  network.initial_state({"x": tf.zeros([1])})  # The floor has its shapes.
  return learned


def make_step(optimizer: Any, sizes: list[int],
              mode: str) -> Callable[[], None]:
  """Returns a step of an optimizer on new variables of these sizes."""
  variables = [tf.Variable(tf.zeros([n])) for n in sizes]
  gradients = [philox.normal([n], (0, i)) for i, n in enumerate(sizes)]
  if isinstance(optimizer, keras.optimizers.Optimizer):
    optimizer.build(variables)

  def step() -> None:
    optimizer.apply(gradients, variables)

  return step if mode == "eager" else tf.function(
      step, autograph=False, jit_compile=mode == "compiled")


def make_floor(network: Any, size: int) -> Callable[[], Any]:
  """Returns what no step can do without, for this number of coordinates."""
  def normal(*shape: int) -> tf.Variable:  # XLA would compute constants once.
    return tf.Variable(philox.normal(shape, (0, 0)))

  layers = [(layer.w_gates, layer.hidden_size,
             normal(layer.w_gates.shape[0], size),
             normal(5 * layer.hidden_size, size)) for layer in network.lstms]
  return tf.function(
      lambda: [(tf.matmul(w, inputs, transpose_a=True),  # Of four gates,
                tf.sigmoid(values[:3 * h]),  # three have a sigmoid,
                tf.tanh(values[3 * h:]))  # and the new cell has a tanh.
               for w, h, inputs, values in layers],
      autograph=False, jit_compile=True)


if __name__ == "__main__":
  program.run(main)
