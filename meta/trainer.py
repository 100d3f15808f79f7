"""Meta-training, one epoch after another, with validation."""

from collections.abc import Callable, Mapping, Sequence
import functools
import math
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from meta import (
    best,
    diagnostics,
    evaluation,
    meta_optimizer,
    nests,
    recorders,
    replicas,
    schedules,
    seeds,
    unroll,
)
from meta import meta_step as meta_step_lib
from meta import settings as settings_lib
import networks
from networks import baselines
import problems

Problems = (problems.Problem | Sequence[problems.Problem]
            | Mapping[str, problems.Problem])
"""A problem, or several of them: those of a dictionary have its names."""


def named(problem: Problems) -> dict[str, problems.Problem]:
  """Returns problems by name; by default, that of their class.

  Those of the same class are numbered.

  Raises:
    ValueError: There is no problem, or something is not a problem.
  """
  if isinstance(problem, Mapping):
    result = dict(problem)
  else:
    each = [problem] if isinstance(problem, problems.Problem) else problem
    if not isinstance(each, Sequence) or isinstance(each, str):
      raise ValueError(f"problem is {problem!r}, but must be a Problem, or "
                       "several in a list or in a dictionary of their names.")
    names = [type(p).__name__ for p in each]
    result = {f"{name}_{i}" if names.count(name) > 1 else name: p
              for i, (name, p) in enumerate(zip(names, each, strict=True))}
  if not result:
    raise ValueError("problem is empty, but must hold at least one problem.")
  others = [p for p in result.values() if not isinstance(p, problems.Problem)]
  if others:
    raise ValueError(f"problem has {others}, but must hold Problems only.")
  return result


class _Compiled(NamedTuple):
  """What is compiled for one of the problems."""
  name: str | None  # None if there are no others.
  meta_step: meta_step_lib.MetaStep
  imitation_step: meta_step_lib.MetaStep  # The same if there is no teacher.
  evaluate: evaluation.Evaluator
  trace: Callable[[int], diagnostics.Trace]  # Takes the number of updates.


class Trainer:
  """Meta-trains networks on a problem, or on several, and validates them.

  Each epoch trains on one of the problems, which share the networks and Adam.

  Functions are drawn from the seed and the number of the run alone, so a
  restored trainer continues exactly as if it had never stopped. `meta.train`
  is the loop around it, with checkpoints and logs.

  In the scope of a distribution strategy, in which the networks must be made,
  the replicas share out the tasks and the validation runs.

  Attributes:
    optimizer: The networks that are trained.
    settings: How they are trained.
    net_assignments: Which parameters each network optimizes.
    meta_step: The step of meta-training on the first problem.
  """

  def __init__(self, problem: Problems,
               optimizer: meta_optimizer.MetaOptimizer,
               settings: settings_lib.Settings | None = None,
               net_assignments: networks.Assignments | None = None):
    """Creates the networks' variables and Adam's slots.

    Args:
      problem: The problem to train on; or several, in a list or by name.
      optimizer: The networks to train.
      settings: How to train them.
      net_assignments: See `MetaOptimizer.meta_minimize`.

    Raises:
      ValueError: A setting is out of its range, `num_tasks` is not a multiple
        of the number of replicas, or see `MetaOptimizer.meta_minimize`.
    """
    settings = settings or settings_lib.Settings()
    for name, value, cls in (
        ("optimizer", optimizer, meta_optimizer.MetaOptimizer),
        ("settings", settings, settings_lib.Settings)):
      if not isinstance(value, cls):
        raise ValueError(
            f"{name} is {value!r}, but must be a meta.{cls.__name__}.")
    settings.check()
    replicas.check_multiple("num_tasks", settings.num_tasks)
    by_name = named(problem)
    settings.check_problems(len(by_name))
    self._problems = list(by_name.values())
    self.optimizer = optimizer
    self.settings = settings
    self.net_assignments = net_assignments
    self._validation_seeds = [seeds.derive(settings.seed, "validation", i)
                              for i in range(settings.evaluation_epochs)]
    self._compiled: list[_Compiled] = []
    for name, one in by_name.items():
      self._compiled.append(self._compile(
          name if len(by_name) > 1 else None, one))
    self.meta_step = self._compiled[0].meta_step
    self._num_epochs = tf.Variable(0, trainable=False, dtype=tf.int64)
    self._best = best.Best(settings, [
        *self.meta_step.network.variables, *self.meta_step.optimizer.variables])
    k = settings.num_tasks
    num_unrolls = math.ceil(settings.num_steps / settings.unroll_length)
    # How many unrolls each task is ahead.
    self._offsets = [i * num_unrolls // k if settings.stagger else 0
                     for i in range(k)]
    self._where = replicas.on_each(nests.where)
    self._runs: Any = None
    if settings.stagger:  # An epoch ends in the middle of runs.
      self._runs = tf.nest.map_structure(
          lambda t: tf.Variable(t, trainable=False),
          replicas.gather(k, self._start(self.meta_step, [0] * k)))

  def _compile(self, name: str | None, problem: problems.Problem) -> _Compiled:
    settings = self.settings
    minimize = functools.partial(
        self.optimizer.meta_minimize, problem, settings.unroll_length,
        settings.learning_rate, self.net_assignments,
        second_derivatives=settings.second_derivatives,
        jit_compile=settings.jit_compile,
        num_sampled=settings.sampled_coordinates,
        max_gradient_norm=settings.max_gradient_norm,
        objective=settings.objective, estimator=settings.estimator,
        perturbation_stddev=settings.perturbation_stddev,
        perturbation_pairs=settings.perturbation_pairs)
    step = minimize(
        adam=self._compiled[0].meta_step.optimizer if self._compiled else None)
    make_teacher = baselines.BY_NAME[settings.teacher]
    imitation_step = minimize(
        adam=step.optimizer,
        teacher=make_teacher(settings.teacher_learning_rate)
    ) if settings.imitation else step
    evaluate = evaluation.Evaluator(
        step.network, problem, settings.num_steps, settings.jit_compile)
    trace = functools.partial(
        diagnostics.trace, step.network, problem, self._validation_seeds[0])
    return _Compiled(name, step, imitation_step, evaluate,
                     tf.function(trace, autograph=False))

  def initial_losses(self) -> list[float | None]:
    """Returns the loss of each problem at the start of its first validation.

    These losses show whether a run is resumed on the problems that it began
    with. None stands for a loss that is not finite.
    """
    losses = []
    for problem in self._problems:
      run = unroll.start(networks.Sgd(), problem, self._validation_seeds[0])
      loss = float(tf.reduce_mean(unroll.loss(problem, run)))
      losses.append(loss if math.isfinite(loss) else None)
    return losses

  @property
  def num_epochs(self) -> int:
    """The number of epochs made so far."""
    return int(self._num_epochs.numpy())

  @property
  def stage(self) -> int:
    """The number of stages of the curriculum that are over."""
    return self._best.stage

  @property
  def has_stalled(self) -> bool:
    """Whether the training is to stop; see `best.Best`."""
    return self._best.has_stalled

  def checkpoint(self) -> tf.train.Checkpoint:
    """Returns a checkpoint of everything that training needs to continue."""
    # The names are part of the file format.
    runs = {} if self._runs is None else {"_under_way": self._runs}
    return tf.train.Checkpoint(training=tf.train.Checkpoint(
        epoch=self._num_epochs, _network=self.meta_step.network,
        _optimizer=self.meta_step.optimizer, **self._best.state(), **runs))

  def run_epoch(self) -> recorders.Epoch:
    """Trains for one epoch, on one of the problems."""
    start_time = time.perf_counter()
    settings, number = self.settings, self.num_epochs
    if settings.decay_epochs is not None:
      self.meta_step.optimizer.learning_rate = schedules.learning_rate(
          settings, number)
    compiled = self._compiled[
        schedules.problem(settings, number, len(self._compiled))]
    num_steps = schedules.num_steps(settings, number, self.stage)
    is_imitation = schedules.imitates(settings, number)
    infos, final_losses = self._unroll(
        compiled.imitation_step if is_imitation else compiled.meta_step,
        num_steps)
    self._num_epochs.assign_add(1)
    epoch = recorders.Epoch(
        number=self.num_epochs,
        final_loss=float(np.mean(final_losses, dtype=np.float64)),
        meta_loss=float(sum(i.meta_loss for i in infos)),
        gradient_norms=[float(i.gradient_norm) for i in infos],
        seconds=time.perf_counter() - start_time, num_steps=num_steps,
        problem=compiled.name, is_imitation=is_imitation)
    if settings.restart_from_best and epoch.num_dropped == len(infos):
      self._best.restore()
      if self._runs:  # They have diverged, too.
        self._keep(self._start(
            compiled.meta_step, [self.num_epochs] * settings.num_tasks))
    return epoch

  def _unroll(self, meta_step: meta_step_lib.MetaStep, num_steps: int
              ) -> tuple[list[meta_step_lib.StepInfo], list[np.ndarray]]:
    """Makes the unrolls of an epoch.

    Returns:
      The results of each, and the losses after the last updates of runs.
    """
    length = self.settings.unroll_length
    num_unrolls = math.ceil(num_steps / length)
    run = self._runs and replicas.split(
        self.settings.num_tasks,
        tf.nest.map_structure(tf.convert_to_tensor, self._runs))
    infos, final_losses = [], []
    for i in range(num_unrolls):
      run = self._restart_finished(
          meta_step, run, self.num_epochs * num_unrolls + i, num_unrolls)
      info, run = meta_step.train(run, min(length, num_steps - i * length))
      infos.append(info)
      last = info.losses[-1].numpy().reshape([self.settings.num_tasks, -1])
      final_losses += [last[k] for k, offset in enumerate(self._offsets)
                       if (i + 1 + offset) % num_unrolls == 0]
    if self._runs:
      self._keep(run)
    return infos, final_losses

  def _keep(self, run: unroll.Run) -> None:
    """Keeps the runs with which the next epoch continues."""
    tf.nest.map_structure(lambda v, t: v.assign(t), self._runs,
                          replicas.gather(self.settings.num_tasks, run))

  def validate(self) -> list[recorders.Validation]:
    """Evaluates the networks on the validation runs of each problem.

    Where this ends a stage of the curriculum, `stage` is the next one after it.

    Raises:
      ValueError: There are several problems, or the objective is "log", and the
        mean initial loss of a problem is not above 0.
    """
    num_steps = schedules.validation_steps(self.settings, self.stage)
    results = []
    for compiled in self._compiled:
      start_time = time.perf_counter()
      losses = compiled.evaluate(
          self._validation_seeds, num_steps=num_steps).losses
      seconds = time.perf_counter() - start_time
      results.append((losses, compiled.trace(num_steps),
                      seconds / len(self._validation_seeds)))
    # After the traces, as it may go back to the best networks.
    improved = self._best.compare([losses for losses, *_ in results])
    return [recorders.Validation(
        self.num_epochs, losses, trace, improved, seconds, compiled.name)
            for compiled, (losses, trace, seconds) in zip(
                self._compiled, results, strict=True)]

  def _start(self, meta_step: meta_step_lib.MetaStep,
             numbers: Sequence[int]) -> unroll.Run:
    """Starts every task on its run of the given number."""
    settings = self.settings
    return meta_step.reset(replicas.share(
        settings.num_tasks, lambda tasks: seeds.stack([
            seeds.derive(settings.seed, "training",
                         numbers[k] * settings.num_tasks + k)
            for k in tasks])))

  def _restart_finished(
      self, meta_step: meta_step_lib.MetaStep, run: unroll.Run | None,
      number: int, num_unrolls: int) -> unroll.Run:
    """Starts new runs of the tasks whose run is over.

    Args:
      meta_step: The step of the problem.
      run: The runs of all tasks; None in the first unroll of an epoch, if no
        run continues from one epoch to the next.
      number: Number of unrolls made so far, if all runs have as many.
      num_unrolls: Number of unrolls in a run.
    """
    runs, done = zip(*[divmod(number + offset, num_unrolls)
                       for offset in self._offsets], strict=True)
    at_start = np.equal(done, 0)
    if run is not None and not at_start.any():
      return run
    new = self._start(meta_step, runs)
    if at_start.all():
      return new
    return self._where(
        replicas.split(len(runs), tf.constant(at_start)), new, run)
