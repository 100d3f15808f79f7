"""Evaluates optimizers, learned and designed by hand, on a problem."""

import functools
import json
import math
import os
import secrets
import time

from absl import flags

from l2lgd.commands import (
  cli,  # First: it keeps the start-up messages of TensorFlow away.
)

# isort: split
import tensorflow as tf

from l2lgd import files
from l2lgd.commands import report
from meta import (
  diagnostics,
  evaluation,
  experiments,
  meta_optimizer,
  seeds,
  tuning,
  unroll,
)
import networks
import problems

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(cli)  # For --help.
_BASELINES = {cls.__name__: cls for cls in (
    networks.Sgd, networks.Momentum, networks.Nesterov, networks.Rprop,
    networks.Adagrad, networks.RMSProp, networks.Adam)}
# What else is searched, as no value of it serves all problems.
_TUNED_OPTIONS = {"RMSProp": [
    {"decay": 0.9}, {"decay": 0.99}, {"decay": 0.999},
    {"decay": 0.999, "epsilon": 1.}]}
flags.DEFINE_list("optimizer", ["L2L"], "L2L, the learned one, or one designed "
                  f"by hand: {', '.join(_BASELINES)}; several, with commas "
                  "between, run on the same functions. all: all of them, those "
                  "designed by hand tuned.")
flags.DEFINE_list("path", [], "Folder of the trained networks; without it, L2L "
                  "is untrained. Several, with commas between, are compared "
                  "under the names of the folders.")
flags.DEFINE_integer("num_epochs", 100, "Runs to evaluate.")
flags.DEFINE_integer("seed", None, "Of the runs, for the same ones again. "
                     "(default: a random one, which is printed)")
flags.DEFINE_float("learning_rate", 0.001,
                   "Of the optimizers designed by hand.")
flags.DEFINE_bool("tune", False, "Whether to search the learning rate of each "
                  "optimizer designed by hand (of RMSProp, decay and epsilon "
                  "too), on validation runs.")
flags.DEFINE_integer("tuning_epochs", 10, "Validation runs at each rate.")
flags.DEFINE_string("split", "test",
                    "Part of the data set: train, validation or test.")
flags.DEFINE_string("output", None, "CSV file to write, one row a run and step;"
                    " what was tuned is kept in tuning.json beside it.")
flags.DEFINE_string("plot", None, "PNG file of the learning curves to write.")
flags.DEFINE_string("plot_updates", None, "PNG file to write: updates as "
                    "functions of a gradient, beside Sgd's and Adam's, and how "
                    "each optimizer goes in a run. --logdir gets it, too.")
flags.DEFINE_string("pictures", None, "PNG file of the pictures of neural art "
                    "to write.")
flags.DEFINE_string("logdir", None,
                    "Folder to write the learning curves to, for TensorBoard.")

_NUM_PICTURES = 6  # Runs that are drawn.
_NUM_COORDINATES = 3  # Whose updates are drawn.


def main() -> None:
  cli.print_device()
  with cli.user_errors():
    cli.check_positive(
        "num_steps", "num_epochs", "learning_rate", "tuning_epochs")
    names = ["L2L", *_BASELINES] if FLAGS.optimizer == ["all"] else (
        FLAGS.optimizer or [""])
    problem, experiment = cli.make_problem(FLAGS.split)
    if FLAGS.pictures and not isinstance(problem, problems.NeuralArt):
      raise ValueError(f"--pictures is for neural art, not {FLAGS.problem}.")
    for filename in (
        FLAGS.output, FLAGS.plot, FLAGS.plot_updates, FLAGS.pictures):
      check_writable(filename)
    optimizers = {key: network for name in names
                  for key, network in make_networks(name, experiment).items()}
    evaluators = {name: make_evaluator(network, problem)
                  for name, network in optimizers.items()}
    seed = secrets.randbits(31) if FLAGS.seed is None else FLAGS.seed
    run_seeds = [seeds.derive(seed, "test", i) for i in range(FLAGS.num_epochs)]
    split = f" (split {FLAGS.split})" if experiment.has_data else ""
    print(f"Evaluating on {FLAGS.problem}{split}: {FLAGS.num_epochs} runs of "
          f"{FLAGS.num_steps} steps, seed {seed}", flush=True)
    losses, params = {}, {}
    for name, evaluator in evaluators.items():
      start = time.perf_counter()
      losses[name], params[name] = evaluator.run(run_seeds, cli.progress)
      seconds = (time.perf_counter() - start) / FLAGS.num_epochs
      cli.print_stats(name, evaluation.summarize(losses[name][:, -1]), seconds)
    report.print_table(losses, {
        name: network.options.get("learning_rate")
        for name, network in optimizers.items()})
    if FLAGS.output:
      report.write_csv(FLAGS.output, losses)
    if FLAGS.plot:
      report.plot(FLAGS.plot, losses, FLAGS.problem)
    if FLAGS.logdir:
      report.write_tensorboard(FLAGS.logdir, losses)
    if FLAGS.plot_updates:
      plot_updates(optimizers, problem, run_seeds[0])
    if FLAGS.pictures:
      contents = [
          unroll.start(networks.Sgd(), problem, s).constants.image.numpy()
          for s in run_seeds[:_NUM_PICTURES]]
      report.draw_pictures(
          FLAGS.pictures, problem, contents,
          {name: p["image"][:_NUM_PICTURES] for name, p in params.items()})


def plot_updates(optimizers: dict[str, networks.Network],
                 problem: problems.Problem, seed: tf.Tensor) -> None:
  """Draws the updates in a run, beside Sgd's and Adam's."""
  references = {cls.__name__: cls() for cls in (networks.Sgd, networks.Adam)
                if cls.__name__ not in optimizers}
  num_steps = FLAGS.num_steps
  steps = {min(1, num_steps - 1), num_steps // 10, num_steps // 2,
           num_steps - 1}
  responses = list(diagnostics.responses(
      optimizers | references, problem, seed, sorted(steps), _NUM_COORDINATES))
  traces = {}
  for name, network in optimizers.items():
    trace = tf.function(
        functools.partial(diagnostics.trace, network, problem), autograph=False)
    traces[name] = tf.nest.map_structure(
        lambda t: t.numpy(), trace(seed, num_steps))
  report.plot_updates(FLAGS.plot_updates, responses, traces, FLAGS.problem)
  if FLAGS.logdir:
    report.write_updates(FLAGS.logdir, traces, FLAGS.plot_updates)


def make_evaluator(network: networks.Network,
                   problem: problems.Problem) -> evaluation.Evaluator:
  """Returns the evaluator that the flags ask for."""
  return evaluation.Evaluator(
      network, problem, FLAGS.num_steps, cli.jit_compile())


def make_networks(
    name: str,
    experiment: experiments.Experiment) -> dict[str, networks.Network]:
  """Returns the optimizers that a name in --optimizer stands for.

  Raises:
    ValueError: There is none, or its files do not fit.
    FileNotFoundError: --path holds no network of this problem.
  """
  if name in _BASELINES:
    return {name: make_baseline(name)}
  if name != "L2L":
    raise ValueError(f"--optimizer is {name!r}, but must be one of "
                     f"{['L2L', *_BASELINES]}.")
  config = experiment.net_config
  if not FLAGS.path:
    print("L2L is untrained: give its --path.")
  paths = {"L2L": None} if not FLAGS.path else {
      "L2L" if len(FLAGS.path) == 1 else
      f"L2L-{os.path.basename(os.path.abspath(path))}": path
      for path in FLAGS.path}
  if len(paths) < len(FLAGS.path):
    raise ValueError(f"--path is {','.join(FLAGS.path)}, but the folders must "
                     "have different names.")
  return {key: networks.Partition(
      meta_optimizer.MetaOptimizer(**(
          experiments.with_weights(config, path) if path else config)).networks,
      experiment.net_assignments) for key, path in paths.items()}


def make_baseline(name: str) -> networks.Network:
  """Returns an optimizer designed by hand, tuned if the flags ask for it."""
  make = _BASELINES[name]
  if not FLAGS.tune and FLAGS.optimizer != ["all"]:
    return make(FLAGS.learning_rate)
  if FLAGS["learning_rate"].present:
    raise ValueError("--learning_rate is what --tune searches: give one of "
                     "them.")
  best, best_loss = None, math.inf
  for options in _TUNED_OPTIONS.get(name, [{}]):
    found = search(name, make(**options))
    report.print_tuning(
        ", ".join([name, *(f"{k} {v}" for k, v in options.items())]), found)
    if best is None or min(found.losses) < best_loss:
      best, best_loss = make(found.best, **options), min(found.losses)
  return best


def search(name: str, network: networks.Network) -> tuning.Tuning:
  """Returns the search of a learning rate, from tuning.json if it is there."""
  settings = {flag: FLAGS[flag].value for flag in (
      "problem", "layers", "activation", "num_steps", "tuning_epochs",
      "data_dir")}
  settings |= {"optimizer": name, "options": network.options}
  filename = FLAGS.output and os.path.join(
      os.path.dirname(FLAGS.output), "tuning.json")
  searches = read_searches(filename) if filename else []
  for old in searches:
    if old["settings"] == settings:
      return tuning.Tuning(old["learning_rates"], [
          math.inf if loss is None else loss for loss in old["losses"]])
  found = tuning.tune(
      make_evaluator(network, validation_problem()),
      [seeds.derive(0, "validation", i) for i in range(FLAGS.tuning_epochs)],
      cli.progress)
  searches.append({
      "settings": settings, "learning_rates": found.learning_rates,
      "losses": [loss if math.isfinite(loss) else None
                 for loss in found.losses]})
  if filename:
    files.write_atomically(
        filename, json.dumps(searches, indent=2).encode())
  return found


@functools.cache
def validation_problem() -> problems.Problem:
  """Returns what optimizers are tuned on, whose data are read once."""
  return cli.make_problem("validation")[0]


def read_searches(filename: str) -> list[dict]:
  """Returns what tuning.json holds.

  Raises:
    ValueError: It is damaged.
  """
  if not os.path.exists(filename):
    return []
  with open(filename, encoding="utf-8") as file:
    try:
      searches = json.load(file)
      for search in searches:
        search["settings"], search["learning_rates"], search["losses"]
    except (ValueError, TypeError, KeyError) as error:
      raise ValueError(
          f"{filename} is damaged, delete it: {error!r}.") from error
  return searches


def check_writable(filename: str | None) -> None:
  """Raises an error where the file could not be written, before any work."""
  if filename is None:
    return
  exists = os.path.lexists(filename)
  if exists and not os.path.isfile(filename):  # A device would be replaced.
    raise ValueError(f"{filename} is not a file.")
  with open(filename, "ab"):
    pass
  if not exists:
    os.remove(filename)


def run() -> None:
  cli.run(main)
