"""Times meta-training and evaluation against the least time that they need.

The floor is what no program can do without: for every coordinate the matrix
products of the network, backwards too, and its sigmoids and hyperbolic
tangents; for every step the loss of the optimizee and its gradient. Each
operation is timed alone, in a loop, by XLA and by TensorFlow's kernels, and the
faster one counts.

  python -m benchmarks.engine --problem=quadratic,mnist --data_dir=DIR

With `--compare=2000`, training is also timed with a sample of 2,000 coordinates
for the meta-gradient, in turn with all of them. With `--growth`, quadratics of
10^3 to 10^6 coordinates and unrolls of 5 to 200 steps are measured instead;
with both, those of up to 10^7 coordinates, with the sample alone.
"""

from collections.abc import Callable, Mapping
from concurrent import futures
import functools
import multiprocessing
import resource
import sys
import time

from absl import flags
import numpy as np
import tabulate
import tensorflow as tf

from benchmarks import timing
from l2lgd import files
from l2lgd.commands import console, options, program
import meta
from meta import evaluation, experiments, seeds, unroll
import problems

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(options)  # For --help.
flags.DEFINE_integer("unroll_length", 20, "Updates in an unroll. (32 for "
                     "neural art)")
flags.DEFINE_integer("repeats", 5, "Epochs of which the median is taken.")
flags.DEFINE_bool("growth", False, "Whether to measure how time and memory "
                  "grow with the numbers of coordinates and steps.")
flags.DEFINE_integer("compare", None, "Number of sampled coordinates with "
                     "which to train, too.")
flags.DEFINE_string("output", None, "JSON file to write.")
flags.DEFINE_string("profile", None, "Folder for TensorFlow's profile of an "
                    "epoch of training.")

_NUM_CALLS = 20  # Of an operation that is timed alone.
_NUM_CHUNKS = 5  # Of runs that are evaluated, all that fit side by side.
# Numbers of coordinates, and of steps in an unroll.
_GROWTH = [(10**3, 20), (10**4, 20), (10**5, 20), (10**6, 20),
           (10**4, 5), (10**4, 50), (10**4, 200)]
_SAMPLED_GROWTH = [(10**4, 20), (10**5, 20), (10**6, 20), (10**7, 20)]


def main() -> None:
  FLAGS.set_default("problem", "quadratic")
  console.print_device()
  with program.user_errors():
    options.check_positive("num_steps", "unroll_length", "repeats", "compare")
    names = experiments.expand(FLAGS.problem.split(","))
    for name in names:
      experiments.get(name)
    if FLAGS.output:
      files.check_writable(FLAGS.output)
    results, table = growth() if FLAGS.growth else problems_in_turn(names)
  print(table)
  if FLAGS.output:
    files.write_json(FLAGS.output, results)


def problems_in_turn(names: list[str]) -> tuple[dict, str]:
  """Measures these problems; returns the results and their table."""
  results = {name: alone_in_process(measure, name) for name in names}
  rows = []
  for name, r in results.items():
    train, sampled, evaluate = (
        (r[key], r[f"{key}_busy"]) if key in r else (None, None)
        for key in ("train", "sampled", "evaluate"))
    rows.append((
        name, r["coordinates"], *train, train[0] / r["train_floor"], *sampled,
        *evaluate, evaluate[0] / r["evaluate_floor"], r["first_step"],
        r["peak_mb"]))
  return results, tabulate.tabulate(rows, headers=(
      "Problem", "Coordinates", "Train s", "cores busy", "over floor",
      "Sampled s", "cores busy", "Evaluate s", "cores busy", "over floor",
      "First step s", "Peak MB"), floatfmt=".3g")


def growth() -> tuple[list, str]:
  """Measures how time and memory grow; returns the results and their table."""
  results = [alone_in_process(measure_growth, *sizes) for sizes in (
      _SAMPLED_GROWTH if FLAGS.compare else _GROWTH)]
  return results, tabulate.tabulate(
      [(r["coordinates"], r["unroll_length"], 1e9 * r["seconds"], r["busy"],
        r["bytes"]) for r in results],
      headers=("Coordinates", "Unroll", "ns per coordinate and step",
               "cores busy", "bytes per coordinate and step"),
      floatfmt=("d", "d", ".0f", ".2f", ".0f"))


def alone_in_process(function: Callable, *args) -> dict[str, float]:
  """Calls the function in a process of its own, to measure its memory."""
  with futures.ProcessPoolExecutor(  # A Pool would wait for one that is killed.
      1, multiprocessing.get_context("spawn")) as pool:
    result = pool.submit(_with_flags, sys.argv, function, args).result()
  print(f"Measured {' '.join(map(str, args))}", flush=True)
  return result


def _with_flags(argv, function, args):
  FLAGS(argv)
  return function(*args)


def measure(name: str) -> dict[str, float]:
  """Returns seconds per epoch of a problem, their floors, and the rest."""
  FLAGS.problem = name
  experiment = options.experiment()
  problem = options.make_problem(experiment, "train")
  FLAGS.set_default("unroll_length", experiment.unroll_length)
  num_unrolls = max(1, FLAGS.num_steps // FLAGS.unroll_length)
  num_steps = num_unrolls * FLAGS.unroll_length

  def make_step(num_sampled: int | None) -> meta.MetaStep:
    return meta.MetaOptimizer(**experiment.net_config).meta_minimize(
        problem, FLAGS.unroll_length, experiment.learning_rate,
        experiment.net_assignments, jit_compile=options.jit_compile(),
        num_sampled=num_sampled)

  def epoch(meta_step: meta.MetaStep, num_unrolls: int = num_unrolls) -> None:
    run = meta_step.reset(0)
    for _ in range(num_unrolls):
      losses, run = meta_step.step(run)
    losses.numpy()

  start_time = time.perf_counter()
  meta_step = make_step(None)
  epoch(meta_step, 1)
  first_step = time.perf_counter() - start_time
  epochs = {"train": functools.partial(epoch, meta_step)}
  epochs["train"]()
  peak_mb = peak_bytes() / 2**20  # Of training, before anything else.
  if FLAGS.compare:
    epochs["sampled"] = functools.partial(epoch, make_step(FLAGS.compare))
    epochs["sampled"]()
  timings = dict(zip(
      epochs, timing.in_turn([*epochs.values()], FLAGS.repeats), strict=True))
  if FLAGS.profile:
    tf.profiler.experimental.start(FLAGS.profile)
    epochs["train"]()
    tf.profiler.experimental.stop()
  run = meta_step.reset(0)
  function, forward, backward = floor(meta_step, run)
  return {
      "coordinates": sum(p.shape.num_elements() for p in run.params.values()),
      "num_steps": num_steps, "first_step": first_step, "peak_mb": peak_mb,
      **flat(timings),
      "train_floor": num_steps * (forward + backward)
                     + (num_steps + num_unrolls) * function,
      **measure_evaluation(meta_step, num_steps)}


def measure_evaluation(meta_step: meta.MetaStep,
                       num_steps: int) -> dict[str, float]:
  """Returns seconds per run of an evaluation side by side, and their floor."""
  evaluate = evaluation.Evaluator(
      meta_step.network, meta_step.problem, num_steps, options.jit_compile())
  size = evaluate.max_side_by_side
  run_seeds = [seeds.derive(0, "test", i) for i in range(_NUM_CHUNKS * size)]
  evaluate(run_seeds)
  functions, forwards, _ = floor(
      meta_step, meta_step.reset(seeds.stack(run_seeds[:size])))
  own, = timing.in_turn([lambda: evaluate(run_seeds)], FLAGS.repeats)
  return {
      **flat({"evaluate": own._replace(seconds=own.seconds / len(run_seeds))}),
      "evaluate_floor": num_steps * (forwards + functions) / size}


def flat(timings: Mapping[str, timing.Timing]) -> dict[str, float]:
  """Returns the seconds of each timing, and the cores that were busy."""
  return {key: value for name, own in timings.items()
          for key, value in ((name, own.seconds), (f"{name}_busy", own.busy))}


def floor(meta_step: meta.MetaStep, run: unroll.Run) -> list[float]:
  """Returns the seconds per step that the mathematics needs.

  Args:
    meta_step: The step of meta-training.
    run: One run, or several side by side.

  Returns:
    The seconds of the optimizee's loss and gradient, of the networks, and of
    the derivatives of the networks.
  """
  def optimizee(params):
    loss, gradients = unroll.loss_and_gradients(
        meta_step.problem, run._replace(params=params))
    return gradients, loss

  layers = [
      floor_of_layer(lstm.w_gates, tf.size(of_run.hidden) // lstm.hidden_size)
      for key, network in meta_step.network.networks.items()
      # After the states of the layers come those of the preprocessing.
      for lstm, of_run in zip(getattr(network, "lstms", ()), run.state[key])]
  return [alone(optimizee, run.params), *np.sum([(0., 0.), *layers], axis=0)]


def floor_of_layer(w: tf.Variable, n: int) -> tuple[float, float]:
  """Returns the seconds of n coordinates in an LSTM, and of its derivatives."""
  w = tf.random.normal(w.shape)  # [F + H, 4 H]
  x = tf.random.normal([w.shape[0], n])  # Inputs and hidden state.
  g = tf.random.normal([w.shape[1], n])  # Gates, or their gradient.
  sigmoids, tanh = tf.split(g, [3 * (w.shape[1] // 4), -1])
  return (alone(lambda w: tf.matmul(w, x, transpose_a=True), w)
          + alone(tf.sigmoid, sigmoids) + 2 * alone(tf.tanh, tanh),
          alone(lambda x: tf.matmul(x, g, transpose_b=True), x)
          + alone(lambda w: tf.matmul(w, g), w))


def alone(function: Callable, args) -> float:
  """Returns the seconds of one call of many in a loop, the fastest way."""
  def loop(args):
    def body(i, args, result):
      # Each call depends on the one before, so that none is dropped.
      tiny = 1e-30 * tf.reshape(tf.nest.flatten(result)[-1], [-1])[0]
      args = tf.nest.map_structure(lambda a: a + tiny, args)
      return i + 1, args, function(args)

    return tf.while_loop(
        lambda i, *_: i < _NUM_CALLS, body, (0, args, function(args)),
        maximum_iterations=_NUM_CALLS, parallel_iterations=1)[-1]

  def seconds(jit_compile):
    compiled = tf.function(loop, autograph=False, jit_compile=jit_compile)
    compiled(args)
    own, = timing.in_turn([lambda: compiled(args)], 3)
    return own.seconds / (_NUM_CALLS + 1)

  return min(seconds(False), seconds(True))


def measure_growth(num_coordinates: int, unroll_length: int) -> dict:
  """Returns seconds and bytes of training per coordinate and step."""
  problem = problems.Quadratic(batch_size=num_coordinates // 10, num_dims=10)
  meta_step = meta.MetaOptimizer().meta_minimize(
      problem, 1, jit_compile=options.jit_compile(), num_sampled=FLAGS.compare)
  meta_step.step(meta_step.reset(0))
  before = peak_bytes()
  meta_step.len_unroll = unroll_length
  run = meta_step.reset(0)
  meta_step.step(run)
  peak = peak_bytes()
  total = num_coordinates * unroll_length
  own, = timing.in_turn(
      [lambda: meta_step.step(run)[0].numpy()], FLAGS.repeats)
  return {
      "coordinates": num_coordinates, "unroll_length": unroll_length,
      "seconds": own.seconds / total, "busy": own.busy,
      "bytes": (peak - before) / total}


def peak_bytes() -> int:
  """Returns the peak memory of this process."""
  return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
  program.run(main)
