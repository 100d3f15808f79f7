"""The settings of meta-training."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from l2lgd import checks
from meta import evolution, objectives
from networks import baselines

# What checks settings; None is allowed where it is the default.
_CHECKS: list[tuple[Callable[..., Any], tuple[str, ...]]] = [
    (checks.positive_integer, (
        "num_steps", "unroll_length", "num_tasks", "evaluation_period",
        "evaluation_epochs", "perturbation_pairs", "decay_epochs",
        "min_num_steps", "patience", "sampled_coordinates")),
    (checks.positive, (
        "learning_rate", "teacher_learning_rate", "perturbation_stddev",
        "max_gradient_norm")),
    (checks.boolean, (
        "second_derivatives", "stagger", "keep_last", "restart_from_best")),
    (checks.optional_boolean, ("jit_compile",)),
    (checks.probability, ("imitation",)),
    (checks.positives, ("problem_weights",))]


class Settings(NamedTuple):
  """How networks are meta-trained; the defaults are DeepMind's.

  An epoch makes one run per task: `num_steps` updates, in unrolls of
  `unroll_length`, with one update of the networks after each unroll.
  """
  num_steps: int = 100  # Updates of the optimizee in an epoch; the most of them
  # with `min_num_steps`.
  unroll_length: int = 20  # Updates in an unroll, T. A remainder of `num_steps`
  # is a shorter last unroll.
  learning_rate: float = 0.001  # Learning rate of Adam, the meta-optimizer.
  second_derivatives: bool = False  # See `meta_step.MetaStep`.
  num_tasks: int = 1  # Runs side by side, K; the meta-loss is their mean.
  sampled_coordinates: int | None = None  # Coordinates, or rows, of each task
  # from which the meta-gradient is estimated; see `meta_step.MetaStep`.
  stagger: bool = False  # Whether tasks start at different unrolls, so that
  # each step averages early and late parts of runs. The first runs of all
  # tasks but the first are shorter.
  seed: int = 0  # Seed of all functions and of their noise. The initial weights
  # have the seed of their network's constructor.
  evaluation_period: int = 1000  # Epochs from one validation to the next.
  evaluation_epochs: int = 20  # Runs in a validation, the same in each.
  jit_compile: bool | None = None  # See `meta_step.Unroller`.
  decay_epochs: int | None = None  # Epochs in which `learning_rate` decays to
  # 0; see `schedules.learning_rate`. None leaves it constant.
  max_gradient_norm: float | None = None  # See `meta_step.MetaStep`.
  objective: str = "sum"  # The meta-loss; see `meta_step.MetaStep`.
  min_num_steps: int | None = None  # The fewest updates in an epoch, whose
  # number is drawn; see `schedules.num_steps`. None: always `num_steps`.
  problem_weights: Sequence[float] | None = None  # Of several problems, how
  # often each is trained on in relation to the others; None: equally often.
  patience: int | None = None  # Validations in a row without improvement after
  # which `train` stops. None never stops early.
  keep_last: bool = False  # Whether the networks of the last validation are
  # saved, in place of those of the best.
  restart_from_best: bool = False  # Whether networks and Adam go back to the
  # best validation after an epoch without any finite meta-gradient.
  curriculum: Sequence[int] | None = None  # Updates in an epoch, stage by
  # stage, in place of `num_steps`; see `best.Best`.
  imitation: float = 0.  # The probability that an epoch imitates a teacher; see
  # `imitation.ImitationStep`.
  teacher: str = "Adam"  # The class of the teacher, a hand-designed optimizer.
  teacher_learning_rate: float = 0.01  # Its learning rate.
  estimator: str = "backprop"  # How the meta-gradient is computed; see
  # `MetaOptimizer.meta_minimize`.
  perturbation_stddev: float = 0.01  # What "es" and "pes" perturb weights by.
  perturbation_pairs: int = 8  # Pairs of perturbed runs beside each task's.

  def check(self) -> None:
    """Raises a ValueError that names a setting which is out of its range."""
    for check, names in _CHECKS:
      for name in names:
        value = getattr(self, name)
        if value is not None or self._field_defaults[name] is not None:
          check(name, value)
    checks.one_of("estimator", self.estimator, evolution.ESTIMATORS)
    checks.one_of("objective", self.objective, objectives.NAMES)
    checks.one_of("teacher", self.teacher, baselines.BY_NAME)
    if self.sampled_coordinates is not None and (
        self.second_derivatives or self.estimator != "backprop"):
      raise ValueError(
          f"sampled_coordinates is {self.sampled_coordinates}, but must be all "
          "(in Python, None) with second derivatives and with evolution "
          "strategies, which depend on all coordinates.")
    if self.curriculum is not None:
      self._check_curriculum(self.curriculum)
    if self.min_num_steps is not None:
      self._check_lengths(self.min_num_steps)
    if self.stagger:
      self._check_stagger()

  def check_problems(self, num_problems: int) -> None:
    """Raises a ValueError if these settings do not fit so many problems."""
    if self.stagger and num_problems > 1:
      raise ValueError("stagger is True, but must be False with several "
                       "problems, each of which has whole runs.")
    weights = self.problem_weights
    if weights is not None and len(weights) != num_problems:
      raise ValueError(
          f"problem_weights is {list(weights)}, but must be as many numbers as "
          f"there are problems, {num_problems}.")

  def _check_curriculum(self, curriculum: Sequence[int]) -> None:
    """Checks that runs become longer, and that nothing else changes them."""
    lengths = checks.positive_integers("curriculum", curriculum)
    if not lengths or lengths != sorted(set(lengths)):
      raise ValueError(
          f"curriculum is {lengths}, but must be increasing numbers.")
    for name in ("stagger", "min_num_steps", "patience"):
      if getattr(self, name):
        raise ValueError(
            f"{name} is {getattr(self, name)}, but must be "
            f"{self._field_defaults[name]} with a curriculum, which says how "
            "long runs are and when the training stops.")

  def _check_lengths(self, min_num_steps: int) -> None:
    """Checks that runs of different lengths consist of whole unrolls."""
    if min_num_steps > self.num_steps:
      raise ValueError(f"min_num_steps is {min_num_steps}, but must be at most "
                       f"num_steps, {self.num_steps}.")
    for name in ("min_num_steps", "num_steps"):
      if getattr(self, name) % self.unroll_length:
        raise ValueError(
            f"{name} is {getattr(self, name)}, but must be a multiple of "
            f"unroll_length, {self.unroll_length}, for the lengths of runs to "
            "be drawn.")

  def _check_stagger(self) -> None:
    """Checks that the runs of all tasks are equally long, in whole unrolls."""
    if self.min_num_steps is not None:
      raise ValueError(
          f"min_num_steps is {self.min_num_steps}, but must be None for tasks "
          "to be staggered: their runs are equally long.")
    if self.num_steps % self.unroll_length:
      raise ValueError(
          f"num_steps is {self.num_steps}, but must be a multiple of "
          f"unroll_length, {self.unroll_length}, for tasks to be staggered.")
    if self.imitation:
      raise ValueError(
          f"imitation is {self.imitation}, but must be 0 for tasks to be "
          "staggered: their runs last longer than an epoch.")
