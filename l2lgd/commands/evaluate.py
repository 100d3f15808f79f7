"""Evaluates learned and hand-designed optimizers on a problem."""

from collections.abc import Mapping
import os
import secrets
from typing import Any

from absl import flags
import numpy as np

from l2lgd import files
from l2lgd.commands import cluster, console, options, program, workers
from l2lgd.commands import optimizers as optimizers_lib
from l2lgd.commands import tuner as tuner_lib
from meta import (
    diagnostics,
    evaluation,
    experiments,
    pretrained_networks,
    quasi_newton,
    replicas,
    results,
    seeds,
    tensorboard,
)
import networks
from networks import baselines
import problems
from problems.datasets import sources

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(options)  # For --help.
flags.adopt_module_key_flags(workers)
flags.DEFINE_list("optimizer", ["L2L"], "L2L, the learned optimizer, or a "
                  f"hand-designed one: {', '.join(baselines.BY_NAME)}; or "
                  f"{' or '.join(quasi_newton.METHODS)}. "
                  "Several, separated by commas, run on the same functions; "
                  "all is L2L and the hand-designed ones, tuned.")
flags.DEFINE_list("path", [], "Folder of the trained networks, or the name of "
                  "some that come with the library, such as general-small. "
                  "Without it, L2L is untrained. Several, "
                  "separated by commas, are compared under the names of the "
                  "folders.")
flags.DEFINE_integer("num_epochs", 100, "Runs to evaluate.")
flags.DEFINE_integer("seed", None, "Seed of the runs, to repeat them. "
                     "(default: a random one, which is printed)")
flags.DEFINE_float("learning_rate", 0.001,
                   "Learning rate of the hand-designed optimizers.")
flags.DEFINE_bool("tune", False, "Whether to search for the learning rate of "
                  "each hand-designed optimizer (of RMSProp, decay and epsilon "
                  "too), in other runs of the problem.")
flags.DEFINE_integer("tuning_epochs", 10, "Runs at each rate of the search.")
flags.DEFINE_enum("split", "test", sources.SPLITS, "Part of the data set.")
flags.DEFINE_string("output", None, "CSV file to write, one row for each run "
                    "and step; tuned rates are kept in tuning.json beside it.")
flags.DEFINE_string("plot", None, "PNG file to write: the learning curves.")
flags.DEFINE_string("plot_updates", None, "PNG file to write: updates as "
                    "functions of a gradient, beside those of Sgd and Adam, "
                    "and how they go in a run. With --logdir, TensorBoard has "
                    "it, too.")
flags.DEFINE_string("pictures", None, "PNG file to write: the pictures of "
                    "neural art.")
flags.DEFINE_string("logdir", None, "Folder to write the learning curves to, "
                    "for TensorBoard.")

_NUM_PICTURES = 6  # Runs that are drawn.
_ENDINGS = {"output": ".csv", "plot": ".png", "plot_updates": ".png",
            "pictures": ".png"}  # Of the files that are written.


def main() -> None:
  with program.user_errors(), cluster.shared(num_runs=0):
    console.print_device()
    options.check_positive(
        "num_steps", "num_epochs", "learning_rate", "tuning_epochs")
    experiment = options.experiment()
    check_flags()
    if replicas.is_first_worker():
      check_outputs()
    learned = make_learned_optimizers(experiment)
    seed = FLAGS.seed
    if seed is None:
      seed = int(replicas.of_workers(secrets.randbits(31))[0])
    run_seeds = [seeds.derive(seed, "test", i) for i in range(FLAGS.num_epochs)]
    problem = options.make_problem(experiment, FLAGS.split)  # May download.
    if FLAGS.pictures and not isinstance(problem, problems.NeuralArt):
      raise ValueError(f"--pictures is for neural art, not {FLAGS.problem}.")
    optimizers, evaluators = make_optimizers(problem, learned)
    data = f" (split {FLAGS.split})" if experiment.has_data else ""
    if options.images_of([FLAGS.problem]).get("images") == "synthetic":
      data = " (synthetic images)"
    print(f"Evaluating on {FLAGS.problem}{data}: {FLAGS.num_epochs} runs of "
          f"{FLAGS.num_steps} steps, seed {seed}", flush=True)
    losses: dict[str, np.ndarray] = {}
    images: dict[str, np.ndarray] = {}
    for name, evaluator in evaluators.items():
      losses[name], params = evaluate(name, evaluator, run_seeds)
      if FLAGS.pictures:
        # A copy, as the images of all runs may fill the memory.
        images[name] = params["image"][:_NUM_PICTURES].copy()
      if FLAGS.output and replicas.is_first_worker():
        results.write_csv(FLAGS.output, losses)  # Others may fail later.
    if not replicas.is_first_worker():
      return
    print(results.table(losses, {
        name: network.options.get("learning_rate")
        for name, network in optimizers.items()}))
    if FLAGS.logdir:
      log_curves(losses)
    if FLAGS.plot or FLAGS.plot_updates or FLAGS.pictures:
      plot(problem, optimizers, losses, images, run_seeds)


def log_curves(losses: dict[str, np.ndarray]) -> None:
  """Writes the mean learning curves for TensorBoard."""
  for name, runs in losses.items():
    finite = evaluation.finite_runs(runs)
    tensorboard.write_curves(os.path.join(FLAGS.logdir, name), {
        "evaluation/loss": evaluation.mean_curve(
            finite if len(finite) else runs)})


def check_outputs() -> None:
  """Checks, before any work, that files and folders can be written."""
  paths = {flag: str(FLAGS[flag].value) for flag in ("logdir", *_ENDINGS)
           if FLAGS[flag].value is not None}
  for flag, path in paths.items():
    files.check_not_empty(f"--{flag}", path)
  if len({os.path.realpath(files.expand(path)) for path in paths.values()}
         ) < len(paths):
    given = " ".join(f"--{flag}={path}" for flag, path in paths.items())
    raise ValueError(f"{given} must be different files.")
  for flag, path in paths.items():
    ending = _ENDINGS.get(flag, "")
    if not path.lower().endswith(ending):
      raise ValueError(f"--{flag} is {path}, but must end with {ending}.")
    try:
      (files.make_folder if flag == "logdir" else files.check_writable)(path)
      if flag == "output" and tunes():
        files.check_writable(tuning_file())
    except OSError as error:
      raise ValueError(
          f"--{flag} is {path}, but {error.filename or path} cannot be "
          f"written: {error.strerror}.") from error


def evaluate(name: str, evaluator: optimizers_lib.Evaluator,
             run_seeds: list) -> evaluation.Evaluation:
  """Makes the runs of one optimizer, and prints their statistics."""
  timer = console.Timer(name)
  was_compiled = evaluator.is_compiled
  result = evaluator(run_seeds, timer)
  console.print_stats(
      name, result.losses[:, -1], timer.seconds / len(run_seeds),
      with_compilation=timer.num_chunks == 1 and not was_compiled)
  return result


def make_optimizers(
    problem: problems.Problem, learned: Mapping[str, networks.Network]
) -> tuple[dict[str, networks.Network], dict[str, optimizers_lib.Evaluator]]:
  """Returns the optimizers that --optimizer names, in this order.

  Args:
    problem: The problem, on which the optimizers are evaluated.
    learned: The learned optimizers, for which the name L2L stands.

  Returns:
    The optimizers that are networks, and what evaluates each optimizer.

  Raises:
    ValueError: One does not suit the problem.
  """
  names = [name for each in optimizer_names()
           for name in (learned if each == "L2L" else [each])]
  options_of_all = None if tunes() else {"learning_rate": FLAGS.learning_rate}
  find = optimizers_lib.Optimizers(
      problem, FLAGS.num_steps, learned,
      {name: options_of_all for name in names if name in baselines.BY_NAME},
      tuner_lib.Tuner(
          problem, FLAGS.tuning_epochs, {flag: FLAGS[flag].value for flag in (
              "problem", *experiments.OF_CLASSIFIER, "num_steps",
              "tuning_epochs")},
          tuning_file() if FLAGS.output and tunes() else None),
      options.jit_compile()).find
  # Searches come last, as another optimizer may not suit the problem.
  found = {name: find(name) for name in sorted(
      names, key=lambda name: name in baselines.BY_NAME)}
  found = {name: found[name] for name in names}
  return ({name: network for name, (network, _) in found.items()
           if network is not None},
          {name: evaluator for name, (_, evaluator) in found.items()})


def tuning_file() -> str:
  """Returns the file of the rates that are found, beside the CSV file."""
  return os.path.join(os.path.dirname(FLAGS.output), "tuning.json")


def optimizer_names() -> list[str]:
  """Returns the names in --optimizer; "all" stands for L2L and the baselines.

  Raises:
    ValueError: A name is unknown.
  """
  all_names = ["L2L", *baselines.BY_NAME]
  known = [*all_names, *quasi_newton.METHODS]
  if FLAGS.optimizer == ["all"]:
    return all_names
  names = [*dict.fromkeys(FLAGS.optimizer or [""])]
  for name in names:
    if name not in known:
      raise ValueError(f"--optimizer has {name!r}, but must be 'all' by "
                       f"itself, or some of {known}.")
  return names


def tunes() -> bool:
  """Returns whether learning rates are searched for."""
  return FLAGS.tune or FLAGS.optimizer == ["all"]


def check_flags() -> None:
  """Raises a ValueError if a name is unknown, or flags do not go together."""
  names = optimizer_names()
  if FLAGS["path"].present and not FLAGS.path:
    raise ValueError("--path is '', but must be trained optimizers: give "
                     "folders or names, or leave it out for an untrained one.")
  if FLAGS.path and "L2L" not in names:
    raise ValueError(f"--path is {','.join(FLAGS.path)}, but --optimizer is "
                     f"{','.join(names)}: add L2L, or leave --path out.")
  if FLAGS.plot_updates and set(names) <= set(quasi_newton.METHODS):
    raise ValueError(f"--plot_updates is for optimizers that are given "
                     f"gradients, not {', '.join(names)}.")
  if tunes() and FLAGS["tune"].present and not FLAGS.tune:
    raise ValueError("--optimizer=all tunes: leave --notune out, or name the "
                     "optimizers.")
  for flag in ("tune", "learning_rate"):
    if FLAGS[flag].present and not set(names) & set(baselines.BY_NAME):
      raise ValueError(f"--{flag} is for hand-designed optimizers, but "
                       f"--optimizer is {','.join(names)}.")
  if FLAGS["tuning_epochs"].present and not tunes():
    raise ValueError(f"--tuning_epochs is {FLAGS.tuning_epochs}, but nothing "
                     "is tuned: add --tune, or leave it out.")
  if tunes() and FLAGS["learning_rate"].present:
    raise ValueError("--learning_rate is searched for by --tune and "
                     "--optimizer=all: leave it, or these, out.")


def make_learned_optimizers(
    experiment: experiments.Experiment) -> dict[str, networks.Network]:
  """Returns the learned optimizers of --path, or else an untrained one."""
  if "L2L" not in optimizer_names():
    return {}
  if not FLAGS.path:
    print("L2L is untrained: give its --path.")
    return {"L2L": experiment.make_optimizer()}
  folders = find_folders()
  names = ["L2L"] if len(folders) == 1 else [
      f"L2L-{os.path.basename(os.path.abspath(f))}" for f in folders]
  if len(set(names)) < len(names):
    raise ValueError(f"--path is {','.join(FLAGS.path)}, but the folders "
                     "must have different names.")
  return dict(zip(names, map(experiment.make_optimizer, folders)))


def find_folders() -> list[str]:
  """Returns the folders of --path.

  Raises:
    FileNotFoundError: There is no such folder.
  """
  whole = ",".join(FLAGS.path)  # The name of one folder may have a comma.
  if os.path.isdir(files.expand(whole)):
    return [whole]
  try:
    return [pretrained_networks.find(path) for path in FLAGS.path]
  except FileNotFoundError as error:
    if len(FLAGS.path) == 1:
      raise
    raise FileNotFoundError(
        f"{error} A comma separates paths, unless a path that has one is in "
        "double quotes: --path='\"a,b\",c'.") from error


def plot(problem: Any, optimizers: dict[str, networks.Network],
         losses: dict[str, np.ndarray], images: dict[str, np.ndarray],
         run_seeds: list) -> None:
  """Draws the plots that the flags ask for."""
  from meta import plots  # Only here, as it takes a while to import.
  if FLAGS.plot:
    plots.learning_curves(FLAGS.plot, losses, FLAGS.problem)
  if FLAGS.plot_updates:
    responses, traces = diagnostics.compare(
        optimizers, problem, run_seeds[0], FLAGS.num_steps)
    plots.updates(FLAGS.plot_updates, responses, traces, FLAGS.problem)
    if FLAGS.logdir:
      for name, trace in traces.items():
        tensorboard.write_curves(os.path.join(FLAGS.logdir, name), {
            f"updates/{tag}": curve for tag, curve in trace.by_name().items()})
      tensorboard.write_picture(FLAGS.logdir, "updates", FLAGS.plot_updates)
  if FLAGS.pictures:
    plots.images(
        FLAGS.pictures, problem,
        plots.contents(problem, run_seeds[:_NUM_PICTURES]), images)


def run() -> None:
  """Runs the program."""
  workers.run(main)
