"""Evaluates optimizers, learned and designed by hand, on a problem."""

import csv
import io
import os
import secrets
import time

from absl import flags

import cli  # First: it keeps the start-up messages of TensorFlow away.

# isort: split
import matplotlib.pyplot as plt
import numpy as np
import tabulate

from meta import evaluation, experiments, optimizer, seeds
import networks
from networks import weights

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(cli)  # For --help.
flags.DEFINE_list("optimizer", ["L2L"], "L2L, the learned one, and Adam or Sgd;"
                  " several, with commas between, run on the same functions.")
flags.DEFINE_string("path", None, "Folder of the trained networks; without it, "
                    "L2L is untrained.")
flags.DEFINE_integer("num_epochs", 100, "Runs to evaluate.")
flags.DEFINE_integer("seed", None, "Of the runs, for the same ones again. "
                     "(default: a random one, which is printed)")
flags.DEFINE_float("learning_rate", 0.001, "Of Adam and Sgd.")
flags.DEFINE_string("split", "test",
                    "Part of the data set: train, validation or test.")
flags.DEFINE_string("output", None,
                    "CSV file to write, one row a run and step.")
flags.DEFINE_string("plot", None, "PNG file of the learning curves to write.")

_BASELINES = {"Adam": networks.Adam, "Sgd": networks.Sgd}


def main() -> None:
  cli.print_device()
  with cli.user_errors():
    cli.check_positive("num_steps", "num_epochs", "learning_rate")
    problem, experiment = cli.make_problem(FLAGS.split)
    evaluators = {
        name: evaluation.Evaluator(make_network(name, experiment), problem,
                                   FLAGS.num_steps, cli.jit_compile())
        for name in FLAGS.optimizer or [""]}
    for filename in (FLAGS.output, FLAGS.plot):
      check_writable(filename)
    seed = secrets.randbits(31) if FLAGS.seed is None else FLAGS.seed
    run_seeds = [seeds.derive(seed, "test", i) for i in range(FLAGS.num_epochs)]
    split = f" (split {FLAGS.split})" if experiment.has_data else ""
    print(f"Evaluating on {FLAGS.problem}{split}: {FLAGS.num_epochs} runs of "
          f"{FLAGS.num_steps} steps, seed {seed}", flush=True)
    losses = {}
    for name, evaluator in evaluators.items():
      start = time.perf_counter()
      losses[name] = evaluator(run_seeds, cli.progress)
      seconds = (time.perf_counter() - start) / FLAGS.num_epochs
      cli.print_stats(name, evaluation.summarize(losses[name][:, -1]), seconds)
    print_table(losses)
    if FLAGS.output:
      write_csv(FLAGS.output, losses)
    if FLAGS.plot:
      plot(FLAGS.plot, losses)


def make_network(name: str,
                 experiment: experiments.Experiment) -> networks.Network:
  """Returns the optimizer of a name.

  Raises:
    ValueError: There is none, or its files do not fit.
    FileNotFoundError: --path holds no network of this problem.
  """
  if name in _BASELINES:
    return _BASELINES[name](FLAGS.learning_rate)
  if name != "L2L":
    raise ValueError(f"--optimizer is {name!r}, but must be one of "
                     f"{['L2L', *_BASELINES]}.")
  config = experiment.net_config
  if FLAGS.path is None:
    print("L2L is untrained: give its --path.")
  else:
    config = experiments.with_weights(config, FLAGS.path)
  return networks.Partition(
      optimizer.MetaOptimizer(**config).networks, experiment.net_assignments)


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


def print_table(losses: dict[str, np.ndarray]) -> None:
  """Prints the final losses of every optimizer, side by side."""
  rows = [(name, s.mean, s.standard_error, s.median, s.lower_quartile,
           s.upper_quartile, s.num_diverged)
          for name, s in ((name, evaluation.summarize(of_runs[:, -1]))
                          for name, of_runs in losses.items())]
  print(tabulate.tabulate(
      rows, headers=("Optimizer", "Mean", "Std. error", "Median",
                     "25 %", "75 %", "Diverged"), floatfmt=".4g"))


def write_csv(filename: str, losses: dict[str, np.ndarray]) -> None:
  """Writes the losses [runs, T + 1] of each optimizer."""
  file = io.StringIO()
  rows = csv.writer(file, lineterminator="\n")
  rows.writerow(["optimizer", "run", "step", "loss"])
  for name, of_runs in losses.items():
    rows.writerows((name, run, step, loss)
                   for (run, step), loss in np.ndenumerate(of_runs))
  weights.write_atomically(filename, file.getvalue().encode())


def plot(filename: str, losses: dict[str, np.ndarray]) -> None:
  """Draws the mean loss at each step, with a band of the quartiles."""
  _, axes = plt.subplots(figsize=(6, 4), layout="constrained")
  for name, of_runs in losses.items():
    # Sums of the largest losses are no float32.
    finite = of_runs[np.isfinite(of_runs).all(axis=1)].astype(np.float64)
    if not len(finite):
      axes.plot([], [], label=f"{name} (all diverged)")
      continue
    steps = np.arange(of_runs.shape[1])
    line, = axes.plot(steps, np.mean(finite, axis=0), label=name)
    axes.fill_between(steps, *np.percentile(finite, (25, 75), axis=0),
                      color=line.get_color(), alpha=.2, linewidth=0)
  axes.set(xlabel="Step", ylabel="Loss", yscale="log", title=FLAGS.problem)
  axes.legend()
  axes.grid(alpha=.3)
  plt.savefig(filename, format="png", dpi=150)


if __name__ == "__main__":
  cli.run(main)
