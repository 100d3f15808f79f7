"""Trains networks to optimize a problem."""

from collections.abc import Mapping
import json
from typing import Any

from absl import flags

from l2lgd.commands import cluster, console, options, program, workers
import meta
from meta import (
    evolution,
    experiments,
    objectives,
    pretrained_networks,
    recipes,
    replicas,
    run_folder,
    seeds,
)
import networks
from networks import baselines, net_config
import problems
from problems.datasets import sources

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(options)  # For --help.
flags.adopt_module_key_flags(workers)
flags.DEFINE_string("save_path", None, "Folder to save the run in.")
flags.DEFINE_bool("resume", False, "Whether to resume the run in --save_path, "
                  "if there is one.")
flags.DEFINE_string("init", None, "Trained networks to start from: a folder, "
                    "or the name of one that comes with the library, such as "
                    "general-small. Without it, the weights are random.")
flags.DEFINE_string("net_options", None, "Options of the networks to train, in "
                    "place of the experiment's: JSON, such as "
                    '\'{"layers": [10], "scale": 0.01, "initializer": "zeros", '
                    '"preprocess_name": "LogAndSign", "preprocess_options": '
                    '{"k": 5}}\'.')
flags.DEFINE_integer("num_epochs", 10000, "Epochs of meta-training.")
flags.DEFINE_integer("log_period", 100, "Epochs from one report, and "
                     "checkpoint, to the next.")
flags.DEFINE_integer("evaluation_period", 1000,
                     "Epochs from one validation to the next.")
flags.DEFINE_integer("evaluation_epochs", 20, "Runs in a validation.")
flags.DEFINE_integer("unroll_length", 20,
                     "Updates through which the meta-gradient is "
                     "back-propagated. (32 for neural art)")
flags.DEFINE_integer("num_tasks", 1, "Functions optimized side by side; the "
                     "meta-loss is their mean.")
flags.DEFINE_bool("stagger", False, "Whether the functions of --num_tasks are "
                  "at different steps of their runs.")
flags.DEFINE_string("sampled_coordinates", "all",
                    "Number of coordinates, drawn anew at each unroll, from "
                    "which the meta-gradient is estimated, or all.")
flags.DEFINE_enum("recipe", None, list(recipes.RECIPES), "Settings of "
                  "meta-training that go together: defaults of the flags.")
flags.DEFINE_integer("decay_epochs", None, "Epochs of the cosine decay of the "
                     "learning rate, to 0.")
flags.DEFINE_float("max_gradient_norm", None,
                   "Norm to which larger meta-gradients are clipped.")
flags.DEFINE_enum("objective", "sum", list(objectives.NAMES),
                  "Whether the meta-loss is the sum of the losses or of their "
                  "logarithms.")
flags.DEFINE_integer("min_num_steps", None,
                     "Draw the length of each epoch's runs, from this to "
                     "--num_steps, log-uniformly.")
flags.DEFINE_list("curriculum", None,
                  "Updates of the optimizee in an epoch, stage by stage, in "
                  "place of --num_steps, such as 100,200,500.")
flags.DEFINE_float("imitation", 0., "Probability that an epoch imitates the "
                   "--teacher.")
flags.DEFINE_enum("teacher", "Adam", list(baselines.BY_NAME),
                  "Hand-designed optimizer to imitate.")
flags.DEFINE_float("teacher_learning_rate", 0.01, "Learning rate of the "
                   "--teacher.")
flags.DEFINE_enum("estimator", "backprop", list(evolution.ESTIMATORS),
                  "How the meta-gradient is computed: by truncated "
                  "back-propagation, or by evolution strategies, ES or "
                  "persistent ES.")
flags.DEFINE_float("perturbation_stddev", 0.01, "Standard deviation of the "
                   "perturbations of evolution strategies.")
flags.DEFINE_integer("perturbation_pairs", 8, "Pairs of perturbed runs beside "
                     "each run, for evolution strategies.")
flags.DEFINE_list("problem_weights", None,
                  "How often each of several problems is trained on, in "
                  "relation to the others.")
flags.DEFINE_float("random_scaling", None, "Scale each coordinate of the "
                   "problem by exp(u), where u is uniform in [-s, s] and s is "
                   "the value of this flag.")
flags.DEFINE_integer("patience", None,
                     "Validations in a row without improvement after which "
                     "the training stops.")
flags.DEFINE_bool("keep_last", False,
                  "Whether to save the networks of the last validation, in "
                  "place of those of the best.")
flags.DEFINE_bool("restart_from_best", False,
                  "Whether to go back to the best networks after an epoch "
                  "without any finite meta-gradient.")
flags.DEFINE_float("learning_rate", None, "Learning rate of Adam, which trains "
                   "the networks. (default: that of the experiment, "
                   "0.001 to 0.01)")
flags.DEFINE_bool("second_derivatives", False,
                  "Whether to differentiate the optimizee's gradients, too.")
flags.DEFINE_integer("seed", 0, "Seed of everything that is random.")
flags.DEFINE_enum("split", "train", sources.SPLITS, "Part of the data set.")


def main() -> int:
  with program.user_errors(), program.postponed_interrupts() as interrupts:
    options.check_positive(
        "num_steps", "num_epochs", "log_period", "evaluation_period",
        "evaluation_epochs", "unroll_length", "learning_rate", "num_tasks",
        "decay_epochs", "max_gradient_norm", "min_num_steps", "random_scaling",
        "patience", "teacher_learning_rate", "perturbation_stddev",
        "perturbation_pairs")
    if FLAGS.resume and FLAGS.save_path is None:
      raise ValueError("--resume needs the --save_path of the run to resume.")
    check_dependent_flags()
    # Functions of users may make tensors, before which a cluster must be there.
    with cluster.shared(FLAGS.num_tasks):
      found = options.experiments_by_name(problem_names())
      experiment = next(iter(found.values()))
      settings = make_settings(experiment)
      settings.check()  # Before anything is downloaded.
      settings.check_problems(len(found))
      console.print_device()
      train(found, settings, interrupts)
  return 128 + interrupts[0] if interrupts else 0


def check_dependent_flags() -> None:
  """Raises a ValueError if a flag is given that has no effect."""
  for flag, other, has_effect in (
      ("teacher", "imitation", FLAGS.imitation),
      ("teacher_learning_rate", "imitation", FLAGS.imitation),
      ("perturbation_stddev", "estimator", FLAGS.estimator != "backprop"),
      ("perturbation_pairs", "estimator", FLAGS.estimator != "backprop")):
    if FLAGS[flag].present and not has_effect:
      raise ValueError(f"--{flag} has no effect without --{other}: add it, "
                       f"or leave --{flag} out.")
  if FLAGS.stagger and FLAGS.num_tasks == 1:
    raise ValueError("--stagger has no effect with one task: add --num_tasks, "
                     "or leave it out.")
  if FLAGS.num_tasks % FLAGS.num_workers:
    raise ValueError(f"--num_workers is {FLAGS.num_workers}, but must divide "
                     f"--num_tasks, which is {FLAGS.num_tasks}: give another "
                     "of them.")
  if FLAGS["num_steps"].present and FLAGS.curriculum is not None:
    raise ValueError("--num_steps has no effect with --curriculum: leave one "
                     "of them out.")


def train(found: Mapping[str, experiments.Experiment],
          settings: meta.Settings, interrupts: list[int]) -> None:
  """Trains networks on the problems of experiments.

  Args:
    found: The experiments by name.
    settings: The settings.
    interrupts: The signals that are to end the training, a list that grows.
  """
  experiment = next(iter(found.values()))
  net_options = parse_net_options()
  optimizer = meta.MetaOptimizer(**initial_config(experiment, net_options))
  by_name = scaled_problems(found)  # Last, as it may download data.
  meta.train(
      by_name if len(by_name) > 1 else by_name[FLAGS.problem], optimizer,
      FLAGS.num_epochs, settings, experiment.net_assignments,
      FLAGS.save_path, FLAGS.resume, FLAGS.log_period,
      description={name: FLAGS[name].value for name in (
          "problem", *experiments.OF_CLASSIFIER, "split", "init",
          "random_scaling", "recipe")} | {
              "net_options": net_options} | options.images_of(found),
      recorders=[console.Console(
          FLAGS.num_epochs, FLAGS.log_period, FLAGS.save_path,
          lambda: describe(by_name, optimizer), lambda: bool(interrupts))],
      should_stop=lambda: should_stop(interrupts))


def should_stop(interrupts: list[int]) -> bool:
  """Returns whether a process has got a signal, which then all others have."""
  if not cluster.is_described():
    return bool(interrupts)
  # A signal from here on counts the next time, as the others do not know of it.
  signum = int(max(replicas.of_workers(max(interrupts, default=0))))
  if signum and not interrupts:
    interrupts.append(signum)
  return bool(signum)


def problem_names() -> list[str]:
  """Returns the names in --problem.

  Raises:
    ValueError: One is there twice.
  """
  names = experiments.expand(FLAGS.problem.split(","))
  if len(set(names)) < len(names):
    raise ValueError(f"--problem is {FLAGS.problem}, but must not name a "
                     "problem twice: give it a larger one of the "
                     "--problem_weights.")
  return names


def make_settings(experiment: experiments.Experiment) -> meta.Settings:
  """Returns the settings that the flags describe.

  Flags that were not given take the defaults of the recipe, where they fit the
  flags that were, and then those of the experiment.
  """
  FLAGS.set_default("unroll_length", experiment.unroll_length)
  defaults: dict[str, Any] = {"learning_rate": experiment.learning_rate}
  if FLAGS.recipe is not None:
    defaults |= recipes.get(
        FLAGS.recipe, FLAGS.num_epochs, FLAGS.unroll_length)
    if FLAGS.curriculum is not None or FLAGS.stagger:  # How long runs are.
      defaults.pop("min_num_steps", None)
    if FLAGS.second_derivatives or FLAGS.estimator != "backprop":
      defaults.pop("sampled_coordinates", None)  # They depend on all.
  for name, value in defaults.items():
    FLAGS.set_default(name, str(value))
  values: dict[str, Any] = {
      name: FLAGS[name].value for name in meta.Settings._fields}
  return meta.Settings(**values | {
      "sampled_coordinates": sampled_coordinates(),
      "problem_weights": options.numbers("problem_weights"),
      "curriculum": options.integers("curriculum"),
      "jit_compile": options.jit_compile()})


def scaled_problems(found: Mapping[str, experiments.Experiment]
                    ) -> dict[str, problems.Problem]:
  """Returns the problems of experiments, with the --random_scaling."""
  made = options.make_problems(found, FLAGS.split)
  if FLAGS.random_scaling is None:
    return made
  return {name: problems.RandomScaling(problem, FLAGS.random_scaling)
          for name, problem in made.items()}


def describe(by_name: Mapping[str, problems.Problem],
             optimizer: meta.MetaOptimizer) -> str:
  """Returns a line about the training, when the networks have variables."""
  sizes = []
  for name, problem in by_name.items():
    params, _ = problem.sample(seeds.as_seed(FLAGS.seed))
    size = sum(p.shape.num_elements() for p in params.values())
    noun = "parameter" if size == 1 else "parameters"
    sizes.append(f"{name} ({size} {noun})")
  nets = ", ".join(
      f"{key} ({type(network).__name__}, "
      f"{sum(v.shape.num_elements() for v in network.trainable_variables)} "
      "weights)" for key, network in optimizer.networks.items())
  return (f"Training {nets} on {', '.join(sizes)}, learning rate "
          f"{FLAGS.learning_rate}, seed {FLAGS.seed}")


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
  """Returns the networks of an experiment, with the weights to start from.

  A run that is resumed keeps its networks, as a later version of this library
  may have others for its problem. Before its first checkpoint, it starts anew.
  """
  if FLAGS.resume:
    path = FLAGS.save_path
    if (net_config.saved_ids(path) == set(experiment.net_config)
        and run_folder.has_checkpoint(path)):
      try:
        return net_config.from_folder(path)
      except ValueError as error:
        raise ValueError(f"{error} Or delete this file: the run resumes from "
                         "its checkpoint.") from error
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
  workers.run(main)
