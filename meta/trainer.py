"""Meta-training, one epoch after another, with validation."""

from collections.abc import Sequence
import functools
import math
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from meta import diagnostics, evaluation, meta_optimizer, schedules, seeds
from meta import settings as settings_lib
from meta import unroll
import networks
import problems


class Epoch(NamedTuple):
  """The results of an epoch, `num_steps` updates of every task."""
  number: int  # Number of epochs made so far, this one included.
  final_loss: float  # Mean of the losses after the last updates of runs.
  meta_loss: float  # Sum of the meta-losses of the unrolls.
  gradient_norms: list[float]  # Norm of the meta-gradient of each unroll.
  seconds: float  # Time that the epoch took.

  @property
  def num_dropped(self) -> int:
    """Number of meta-gradients that were not finite, and were not used."""
    return int(np.sum(~np.isfinite(self.gradient_norms)))


class Validation(NamedTuple):
  """The results of a validation."""
  epoch: int  # Number of epochs made so far.
  losses: np.ndarray  # Losses of the runs, shape [runs, T + 1].
  trace: diagnostics.Trace  # What the networks do in the first of the runs.
  improved: bool  # Whether the mean final loss is the lowest so far. That of
  # the first validation is, whatever its value.
  seconds: float  # Time that the runs took.


class Trainer:
  """Meta-trains networks on a problem, and validates them.

  Functions are drawn from the seed and the number of the run alone, so a
  restored trainer continues exactly as if it had never stopped. `meta.train`
  is the loop around it, with checkpoints and logs.

  Attributes:
    optimizer: The networks that are trained.
    settings: How they are trained.
    net_assignments: Which parameters each network optimizes.
    meta_step: The step of meta-training.
  """

  def __init__(self, problem: problems.Problem,
               optimizer: meta_optimizer.MetaOptimizer,
               settings: settings_lib.Settings | None = None,
               net_assignments: networks.Assignments | None = None):
    """Creates the networks' variables and Adam's slots.

    Args:
      problem: The problem to train on.
      optimizer: The networks to train.
      settings: How to train them.
      net_assignments: See `MetaOptimizer.meta_minimize`.

    Raises:
      ValueError: A setting is out of its range, or see
        `MetaOptimizer.meta_minimize`.
    """
    settings = settings or settings_lib.Settings()
    settings.check()
    self.optimizer = optimizer
    self.settings = settings
    self.net_assignments = net_assignments
    self.meta_step = optimizer.meta_minimize(
        problem, settings.unroll_length, settings.learning_rate,
        net_assignments, settings.second_derivatives, settings.jit_compile,
        settings.sampled_coordinates, settings.max_gradient_norm,
        settings.objective)
    self._evaluate = evaluation.Evaluator(
        self.meta_step.network, problem, settings.num_steps,
        settings.jit_compile)
    self._validation_seeds = [seeds.derive(settings.seed, "validation", i)
                              for i in range(settings.evaluation_epochs)]
    self._trace = tf.function(functools.partial(
        diagnostics.trace, self.meta_step.network, problem,
        self._validation_seeds[0], settings.num_steps), autograph=False)
    self._num_epochs = tf.Variable(0, trainable=False, dtype=tf.int64)
    self._best = tf.Variable(np.inf, trainable=False, dtype=tf.float64)
    k = settings.num_tasks
    self._num_unrolls = math.ceil(settings.num_steps / settings.unroll_length)
    # How many unrolls each task is ahead.
    self._offsets = [i * self._num_unrolls // k if settings.stagger else 0
                     for i in range(k)]
    self._runs: Any = None
    if settings.stagger:  # An epoch ends in the middle of runs.
      self._runs = tf.nest.map_structure(
          lambda t: tf.Variable(t, trainable=False), self._start([0] * k))

  @property
  def num_epochs(self) -> int:
    """The number of epochs made so far."""
    return int(self._num_epochs)

  def checkpoint(self) -> tf.train.Checkpoint:
    """Returns a checkpoint of everything that training needs to continue."""
    # The names are part of the file format.
    runs = {} if self._runs is None else {"_under_way": self._runs}
    return tf.train.Checkpoint(training=tf.train.Checkpoint(
        epoch=self._num_epochs, best=self._best,
        _network=self.meta_step.network, _optimizer=self.meta_step.optimizer,
        **runs))

  def run_epoch(self) -> Epoch:
    """Trains for one epoch."""
    start_time = time.perf_counter()
    if self.settings.decay_epochs is not None:
      self.meta_step.optimizer.learning_rate = schedules.learning_rate(
          self.settings, self.num_epochs)
    length = self.settings.unroll_length
    run = self._runs and tf.nest.map_structure(
        tf.convert_to_tensor, self._runs)
    infos, final_losses = [], []
    for i in range(self._num_unrolls):
      run = self._restart_finished(run, self.num_epochs * self._num_unrolls + i)
      info, run = self.meta_step.train(
          run, min(length, self.settings.num_steps - i * length))
      infos.append(info)
      last = info.losses[-1].numpy().reshape([self.settings.num_tasks, -1])
      final_losses += [last[k] for k, offset in enumerate(self._offsets)
                       if (i + 1 + offset) % self._num_unrolls == 0]
    if self._runs:
      tf.nest.map_structure(lambda v, t: v.assign(t), self._runs, run)
    self._num_epochs.assign_add(1)
    return Epoch(
        number=self.num_epochs,
        final_loss=float(np.mean(final_losses, dtype=np.float64)),
        meta_loss=float(sum(i.meta_loss for i in infos)),
        gradient_norms=[float(i.gradient_norm) for i in infos],
        seconds=time.perf_counter() - start_time)

  def validate(self) -> Validation:
    """Evaluates the networks on the validation runs."""
    start_time = time.perf_counter()
    losses = self._evaluate(self._validation_seeds).losses
    seconds = time.perf_counter() - start_time
    value = np.mean(losses[:, -1], dtype=np.float64)
    value = value if np.isfinite(value) else np.finfo(np.float64).max
    improved = bool(value < self._best)
    if improved:
      self._best.assign(value)
    return Validation(
        self.num_epochs, losses, self._trace(), improved, seconds)

  def _start(self, numbers: Sequence[int]) -> unroll.Run:
    """Starts every task on its run of the given number."""
    settings = self.settings
    return self.meta_step.reset(seeds.stack([
        seeds.derive(settings.seed, "training", n * settings.num_tasks + k)
        for k, n in enumerate(numbers)]))

  def _restart_finished(self, run: unroll.Run | None,
                        number: int) -> unroll.Run:
    """Starts new runs of the tasks whose run is over.

    Args:
      run: The runs of all tasks; None in the first unroll of an epoch, if no
        run continues from one epoch to the next.
      number: Number of unrolls made so far.
    """
    runs, done = zip(*[divmod(number + offset, self._num_unrolls)
                       for offset in self._offsets], strict=True)
    at_start = np.equal(done, 0)
    if run is not None and not at_start.any():
      return run
    new = self._start(runs)
    if at_start.all():
      return new
    return tf.nest.map_structure(
        lambda n, o: tf.where(
            at_start.reshape([-1, *[1] * (n.shape.rank - 1)]), n, o), new, run)
