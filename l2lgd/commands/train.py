"""Trains networks to optimize a problem."""

import json
from typing import Any

from absl import flags

from l2lgd.commands import console, options, program
import meta
from meta import experiments, pretrained_networks, seeds
import networks
from networks import net_config
import problems

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(options)  # For --help.
flags.DEFINE_string("save_path", None, "Folder to save the run in.")
flags.DEFINE_bool("resume", False, "Whether to resume the run in --save_path, "
                  "if there is one.")
flags.DEFINE_string("init", None, "Trained networks to start from: a folder, "
                    "or the name of the library's own. Without it, the weights "
                    "are random.")
flags.DEFINE_string("net_options", None, "Options of the networks to train, in "
                    "place of the experiment's: JSON, such as "
                    '\'{"layers": [10], "scale": 0.01, "initializer": "zeros", '
                    '"preprocess_name": "LogAndSign", "preprocess_options": '
                    '{"k": 5}}\'.')
flags.DEFINE_integer("num_epochs", 10000, "Epochs of meta-training.")
flags.DEFINE_integer("log_period", 100, "Epochs from one report to the next.")
flags.DEFINE_integer("evaluation_period", 1000,
                     "Epochs from one validation to the next.")
flags.DEFINE_integer("evaluation_epochs", 20, "Runs in a validation.")
flags.DEFINE_integer("unroll_length", 20,
                     "Updates through which the meta-gradient is "
                     "back-propagated. (32 for neural art)")
flags.DEFINE_integer("num_tasks", 1, "Functions optimized side by side; the "
                     "meta-loss is their mean.")
flags.DEFINE_bool("stagger", False, "Whether these functions are at different "
                  "steps of their runs.")
flags.DEFINE_string("sampled_coordinates", "all",
                    "Number of coordinates, drawn anew at each unroll, from "
                    "which the meta-gradient is estimated, or all.")
flags.DEFINE_float("learning_rate", None, "Learning rate of Adam, which trains "
                   "the networks. (default: that of the experiment, "
                   "0.001 to 0.01)")
flags.DEFINE_bool("second_derivatives", False,
                  "Whether to differentiate the optimizee's gradients, too.")
flags.DEFINE_integer("seed", 0, "Seed of everything that is random.")
flags.DEFINE_string("split", "train",
                    "Part of the data set: train, validation or test.")


def main() -> int:
  console.print_device()
  with program.user_errors(), program.postponed_interrupts() as interrupts:
    options.check_positive(
        "num_steps", "num_epochs", "log_period", "evaluation_period",
        "evaluation_epochs", "unroll_length", "learning_rate", "num_tasks")
    if FLAGS.resume and FLAGS.save_path is None:
      raise ValueError("--resume needs the --save_path of the run to resume.")
    experiment = options.experiment()
    FLAGS.set_default("unroll_length", experiment.unroll_length)
    FLAGS.set_default("learning_rate", experiment.learning_rate)
    settings = meta.Settings(
        num_steps=FLAGS.num_steps,
        unroll_length=FLAGS.unroll_length,
        learning_rate=FLAGS.learning_rate,
        second_derivatives=FLAGS.second_derivatives,
        num_tasks=FLAGS.num_tasks,
        sampled_coordinates=sampled_coordinates(),
        stagger=FLAGS.stagger,
        seed=FLAGS.seed,
        evaluation_period=FLAGS.evaluation_period,
        evaluation_epochs=FLAGS.evaluation_epochs,
        jit_compile=options.jit_compile())
    net_options = parse_net_options()
    problem = options.make_problem(experiment, FLAGS.split)
    optimizer = meta.MetaOptimizer(**initial_config(experiment, net_options))
    meta.train(
        problem, optimizer,
        FLAGS.num_epochs, settings, experiment.net_assignments,
        FLAGS.save_path, FLAGS.resume, FLAGS.log_period,
        description={name: FLAGS[name].value for name in (
            "problem", "layers", "activation", "split", "init")} | {
                "net_options": net_options},
        recorders=[console.Console(
            FLAGS.num_epochs, FLAGS.log_period, FLAGS.save_path,
            lambda: describe(problem, optimizer))],
        should_stop=lambda: bool(interrupts))
  return 128 + interrupts[0] if interrupts else 0


def describe(problem: problems.Problem, optimizer: meta.MetaOptimizer) -> str:
  """Returns a line about the training, when the networks have variables."""
  params, _ = problem.sample(seeds.as_seed(FLAGS.seed))
  size = sum(p.shape.num_elements() for p in params.values())
  nets = ", ".join(
      f"{key} ({type(network).__name__}, "
      f"{sum(v.shape.num_elements() for v in network.trainable_variables)} "
      "weights)" for key, network in optimizer.networks.items())
  return (f"Training {nets} on {FLAGS.problem} ({size} parameters), learning "
          f"rate {FLAGS.learning_rate}, seed {FLAGS.seed}")


def parse_net_options() -> dict[str, Any] | None:
  """Returns the value of --net_options, None if it is not given.

  Raises:
    ValueError: It is no JSON object.
  """
  if FLAGS.net_options is None:
    return None
  try:
    options = json.loads(FLAGS.net_options)
  except ValueError:
    options = None
  if not isinstance(options, dict):
    raise ValueError(
        f"--net_options is {FLAGS.net_options!r}, but must be a JSON object in "
        "single quotes, such as '{\"layers\": [10]}'.")
  return options


def initial_config(experiment: experiments.Experiment,
                   net_options: dict[str, Any] | None) -> networks.NetConfig:
  """Returns the networks of an experiment, with the weights to start from."""
  if FLAGS.init is None:
    config = experiment.net_config
    if net_options is not None:
      config = net_config.with_options(config, net_options)
    return net_config.with_seed(config, FLAGS.seed)
  if net_options is not None:
    raise ValueError("--net_options is for new networks, but those of --init "
                     "have their options: give one of them.")
  return net_config.with_weights(
      experiment.net_config, pretrained_networks.find(FLAGS.init))


def sampled_coordinates() -> int | None:
  """Returns the value of the flag; None for all."""
  value = FLAGS.sampled_coordinates
  if value == "all":
    return None
  if not value.isdecimal() or not int(value):
    raise ValueError(f"--sampled_coordinates is {value}, but must be a "
                     "positive integer or all.")
  return int(value)


def run() -> None:
  """Runs the program."""
  program.run(main)
