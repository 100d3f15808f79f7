"""Times meta-training and evaluation against the least that they need.

The floor is what no program can do without: for every coordinate the matrix
products of the network, backwards too, and its sigmoids and hyperbolic
tangents; for every step the loss of the optimizee and its gradient. Each is
timed alone, in the form that is fastest here.

  python -m benchmarks.engine --problem=quadratic,paper-mnist --data_dir=DIR
"""

from collections.abc import Callable
import json
import multiprocessing
import resource
import sys
import time

from absl import flags

import cli  # First: it keeps the start-up messages of TensorFlow away.

# isort: split
import numpy as np
import tabulate
import tensorflow as tf

from meta import evaluation, experiments, optimizer, seeds, unroll
from networks import weights

FLAGS = flags.FLAGS
flags.DEFINE_integer("unroll_length", 20, "Updates in an unroll.")
flags.DEFINE_integer("repeats", 5, "Epochs to take the median of.")
flags.DEFINE_string("output", None, "JSON file to write.")
flags.DEFINE_string("profile", None, "Folder for TensorFlow's profile of an "
                    "epoch of training.")
FLAGS.set_default("problem", "quadratic")

_RUNS = 100  # Evaluated, or as many as lie side by side.


def main() -> None:
  cli.print_device()
  with cli.user_errors():
    cli.check_positive("num_steps", "unroll_length", "repeats")
    names = FLAGS.problem.split(",")
    for name in names:
      experiments.get(name)
  results = {}
  for name in names:
    # A process of its own for each, whose memory is that of one problem.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
      results[name] = pool.apply(measure, (sys.argv, name))
    print(f"Measured {name}", flush=True)
  print(tabulate.tabulate(
      [(name, r["coordinates"], r["train"], r["train"] / r["train_floor"],
        r["evaluate"], r["evaluate"] / r["evaluate_floor"],
        FLAGS.num_steps / r["train"], r["first_step"], r["peak_mb"])
       for name, r in results.items()],
      headers=("Problem", "Coordinates", "Train s", "over floor", "Evaluate s",
               "over floor", "Steps/s", "First step s", "Peak MB"),
      floatfmt=("", "d", ".3f", ".2f", ".3f", ".2f", ".0f", ".1f", ".0f")))
  if FLAGS.output:
    weights.write_atomically(
        FLAGS.output, json.dumps(results, indent=2).encode())


def measure(argv: list[str], name: str) -> dict[str, float]:
  """Returns seconds per epoch of a problem, their floors, and the rest."""
  FLAGS(argv)
  FLAGS.problem = name
  problem, experiment = cli.make_problem("train")
  start = time.perf_counter()
  step = optimizer.MetaOptimizer(**experiment.net_config).meta_minimize(
      problem, FLAGS.unroll_length, experiment.learning_rate,
      experiment.net_assignments, jit_compile=cli.jit_compile())

  def epoch(seed, num_unrolls=FLAGS.num_steps // FLAGS.unroll_length):
    run = step.reset(seed)
    for _ in range(num_unrolls):
      info, run = step.train(run)
    return info.losses.numpy()

  epoch(0, 1)
  first_step = time.perf_counter() - start
  evaluate = evaluation.Evaluator(
      step.network, problem, FLAGS.num_steps, cli.jit_compile())
  run_seeds = [seeds.derive(0, "test", i)
               for i in range(min(_RUNS, evaluate.max_side_by_side))]
  evaluate(run_seeds)
  result = {
      "train": median_seconds(epoch, 0, repeats=FLAGS.repeats),
      "evaluate": median_seconds(evaluate, run_seeds, repeats=FLAGS.repeats)
                  / len(run_seeds),
      "first_step": first_step,
      # Before the floor is measured, which has memory of its own.
      "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
  if FLAGS.profile:
    tf.profiler.experimental.start(FLAGS.profile)
    epoch(0)
    tf.profiler.experimental.stop()
  run = step.reset(0)
  result["coordinates"] = sum(
      p.shape.num_elements() for p in run.params.values())
  return result | floor(step, run)


def floor(step: optimizer.MetaStep, run: unroll.Run) -> dict[str, float]:
  """Returns the seconds of an epoch that the mathematics needs."""
  optimizee = alone(
      lambda run: unroll.loss_and_gradients(step.problem, run), run)
  forward = backward = 0.
  for key, network in step.network.networks.items():
    for lstm, state in zip(network.lstms, run.state[key], strict=True):
      h, n = state.hidden.shape
      w = tf.random.normal(lstm.w_gates.shape)  # [F + H, 4 H]
      x = tf.random.normal([w.shape[0], n])  # Inputs and hidden state.
      g = tf.random.normal([4 * h, n])  # Gates, or their gradient.
      forward += alone(lambda w, x: tf.matmul(w, x, transpose_a=True), w, x)
      forward += alone(tf.sigmoid, g[:3 * h])
      forward += 2 * alone(tf.tanh, g[3 * h:])
      backward += alone(lambda x, g: tf.matmul(x, g, transpose_b=True), x, g)
      backward += alone(tf.matmul, w, g)
  steps, unrolls = FLAGS.num_steps, FLAGS.num_steps // FLAGS.unroll_length
  return {
      "train_floor": steps * (forward + backward)
                     + (steps + unrolls) * optimizee,
      "evaluate_floor": steps * (forward + optimizee)}


def alone(function: Callable, *args) -> float:
  """Returns the seconds of a call, as fast as it gets, without dispatch."""
  def seconds(function, jit_compile):
    compiled = tf.function(function, autograph=False, jit_compile=jit_compile)
    compiled(*args)
    return median_seconds(compiled, *args, repeats=30)

  empty = seconds(lambda *args: tf.zeros([]), False)
  return max(0., min(seconds(function, False), seconds(function, True)) - empty)


def median_seconds(function: Callable, *args, repeats: int) -> float:
  """Returns the median of the seconds that calls take."""
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    function(*args)
    tf.test.experimental.sync_devices()
    times.append(time.perf_counter() - start)
  return float(np.median(times))


if __name__ == "__main__":
  cli.run(main)
