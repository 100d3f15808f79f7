"""Flags that the programs share, and what they mean."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import os
import sys
from typing import Any

from absl import flags

from l2lgd import checks
from l2lgd.commands import data
from meta import experiments
import problems
from problems import small_tasks

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(data)  # For --help.
flags.DEFINE_string("problem", "simple",
                    f"One of {', '.join(experiments.EXPERIMENTS)}; "
                    "small-N, a small task (N is a number); wide-0 to wide-4 "
                    "or hard-0 to hard-5, a wide or hard one; or "
                    "module:function, a function of yours that returns a "
                    "problems.Problem, and may take the arguments split, "
                    "data_dir, download, layers, activation and init_stddev. "
                    "l2l-train also takes several, separated by commas, and "
                    + ", ".join(f"{group}, which stands for {len(names)} tasks"
                                for group, names in experiments.GROUPS.items())
                    + ".")
flags.DEFINE_integer("num_steps", 100, "Updates of the optimizee in an epoch. "
                     "(128 for neural art, about 1000 with --recipe=general)")
flags.DEFINE_list("layers", None, "Units of each hidden layer of the network "
                  "that classifies MNIST, or an argument of your function. "
                  "(default: 20)")
flags.DEFINE_enum("activation", None, ["sigmoid", "relu"],
                  "Activation of the hidden --layers. (default: sigmoid)")
flags.DEFINE_float("init_stddev", None, "Standard deviation of the initial "
                   "weights and biases of the network that classifies MNIST. "
                   "(default: 0.01)")
flags.DEFINE_enum("jit_compile", "auto", ["auto", "true", "false"],
                  "Whether XLA compiles the unroll; auto: where that is "
                  "possible and faster.")


def check_positive(*names: str) -> None:
  """Checks that these flags are positive and finite.

  Raises:
    ValueError: One is not.
  """
  for name in names:
    if FLAGS[name].value is not None:
      checks.positive(f"--{name}", FLAGS[name].value)


def experiment() -> experiments.Experiment:
  """Returns the experiment that --problem names.

  Flags that were not given take its defaults.

  Raises:
    ValueError: It names several, or is unknown.
  """
  if len(experiments.expand(FLAGS.problem.split(","))) > 1:
    raise ValueError(f"--problem is {FLAGS.problem}, but must name one problem "
                     "alone to evaluate on.")
  return experiments_by_name([FLAGS.problem])[FLAGS.problem]


def experiments_by_name(
    names: Sequence[str]) -> dict[str, experiments.Experiment]:
  """Returns experiments by name.

  Flags that were not given take the defaults of the first one.
  """
  if any(":" in name for name in names):
    sys.path.insert(1, os.getcwd())  # Second, after the folder of the program.
  found = {name: experiments.get(name) for name in names}
  FLAGS.set_default("num_steps", found[names[0]].num_steps)
  return found


def make_problem(found: experiments.Experiment, split: str) -> problems.Problem:
  """Returns the problem of an experiment, as the flags describe it.

  Args:
    found: The experiment.
    split: The part of its data set.

  Raises:
    ValueError: A flag is for other problems, or out of its range; or a problem
      of the user cannot be computed.
    OSError: The data set cannot be read.
  """
  return make_problems({FLAGS.problem: found}, split)[FLAGS.problem]


def make_problems(found: Mapping[str, experiments.Experiment],
                  split: str) -> dict[str, problems.Problem]:
  """Returns the problems of several experiments; see `make_problem`."""
  values: dict[str, Any] = {"split": split}
  for flag in ("data_dir", "download", *experiments.OF_CLASSIFIER):
    if not FLAGS[flag].using_default_value:
      values[flag] = FLAGS[flag].value
  if FLAGS.layers is not None:
    values["layers"] = integers("layers")
  # Of the library's problems, also those without data may be given the folder,
  # as by scripts that give all programs the same flags.
  of_users = ("split", "data_dir", "download") if ":" in FLAGS.problem else ()
  for flag in (*of_users, *experiments.OF_CLASSIFIER):
    if flag in FLAGS and FLAGS[flag].present and not any(
        flag in e.options for e in found.values()):
      raise ValueError(_unused(flag, found))
  made = {}
  for name, one in found.items():
    made[name] = one.make_problem(**{
        key: value for key, value in values.items() if key in one.options})
    if ":" in name:
      problems.check(made[name])
      if problems.ignores_seed(made[name]):
        print(f"All runs of {name} are the same: it does not use its seeds.")
  return made


def images_of(names: Iterable[str]) -> dict[str, str]:
  """Returns which images the small and wide tasks have, if there are any.

  They need no files, so that nothing else in the settings distinguishes the
  two.
  """
  if not any(name.startswith(("small-", "wide-")) for name in names):
    return {}
  has_digits = small_tasks.has_digits(FLAGS.data_dir, FLAGS.download)
  return {"images": "MNIST" if has_digits else "synthetic"}


def _unused(name: str, found: Iterable[str]) -> str:
  """Returns the error of a flag that the problems do not take."""
  if ":" in FLAGS.problem:
    return (f"--{name} is given, but {FLAGS.problem} has no argument {name!r}, "
            "which it would be passed to. (The network that is trained has "
            "its options in --net_options of l2l-train.)")
  takers = [key for key, e in experiments.EXPERIMENTS.items()
            if name in e.options]
  return f"--{name} is for {', '.join(takers)}, not {', '.join(found)}."


def integers(name: str) -> list[int] | None:
  """Returns the value of a flag that is a list of integers.

  Raises:
    ValueError: Something is no integer.
  """
  return _parse(name, int, "whole numbers")


def numbers(name: str) -> list[float] | None:
  """Returns the value of a flag that is a list of numbers.

  Raises:
    ValueError: Something is no number.
  """
  return _parse(name, float, "numbers")


def _parse(name: str, parse: Callable[[str], Any], allowed: str) -> Any:
  def parse_one(text: str) -> Any:
    try:
      return parse(text)
    except ValueError:
      raise ValueError(
          f"--{name} has {text!r}, but must be {allowed}.") from None

  values = FLAGS[name].value
  return values and [parse_one(text) for text in values]


def jit_compile() -> bool | None:
  """Returns the value of --jit_compile, None for auto."""
  return {"auto": None, "true": True, "false": False}[FLAGS.jit_compile]
