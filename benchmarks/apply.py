"""Times a step of `LearnedOptimizer` against one of Keras's Adam.

  python -m benchmarks.apply

The network is the paper's: two layers of 20 units. Both optimizers update one
vector in a compiled `tf.function`, in turn, with the same gradients.
"""

import tempfile
import time

from absl import flags
import numpy as np
import tabulate
import tensorflow as tf

from l2lgd.commands import console, options, program
import meta

FLAGS = flags.FLAGS
flags.DEFINE_integer("repeats", 20, "Steps of which the median is taken.")
_SIZES = (10**5, 10**6)


def main() -> None:
  console.print_device()
  with program.user_errors():
    options.check_positive("repeats")
  rows = [(size, *measure(size)) for size in _SIZES]
  print(tabulate.tabulate(
      [(size, learned, adam, learned / adam, num_bytes)
       for size, learned, adam, num_bytes in rows],
      headers=("Parameters", "Learned ns/parameter", "Adam ns/parameter",
               "Ratio", "State bytes/parameter"), floatfmt=".3g"))


def measure(size: int) -> tuple[float, float, float]:
  """Returns nanoseconds per parameter of both, and bytes of the state."""
  optimizer = meta.MetaOptimizer()
  network, = optimizer.networks.values()
  network.initial_state({"x": tf.zeros([1])})
  with tempfile.TemporaryDirectory() as folder:
    optimizer.save(folder)
    learned = meta.LearnedOptimizer.load(folder)
  gradient = tf.random.stateless_normal([size], (0, 0), alg="philox")
  steps = [_step(o, tf.Variable(tf.zeros([size])), gradient)
           for o in (learned, tf.keras.optimizers.Adam())]
  times = []
  for _ in range(FLAGS.repeats):
    times.append([])
    for step in steps:
      start = time.perf_counter()
      step()
      times[-1].append(time.perf_counter() - start)
  state = sum(v.shape.num_elements() * v.dtype.size for v in learned.states[0])
  return *(np.median(times, axis=0) / size * 1e9), state / size


def _step(optimizer, variable, gradient):
  """Returns a compiled step that has run before."""
  step = tf.function(lambda: optimizer.apply([gradient], [variable]),
                     autograph=False, jit_compile=True)
  if not isinstance(optimizer, meta.LearnedOptimizer):
    optimizer.build([variable])
  step()
  step()
  return lambda: (step(), variable.numpy()[:1])


if __name__ == "__main__":
  program.run(main)
