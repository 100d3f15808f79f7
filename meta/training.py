"""Meta-training, one epoch after another, with validation."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from meta import evaluation, meta_optimizer, seeds, unroll


class Epoch(NamedTuple):
  """What an epoch, `num_steps` updates of every task, came to."""
  final_loss: float  # Of the optimizees, after the last update of their runs.
  meta_loss: float  # Sum of the meta-losses of its unrolls.
  gradient_norms: list[float]  # Of the meta-gradient of each unroll.

  @property
  def num_dropped(self) -> int:
    """Unrolls whose meta-gradient was not finite, and was not used."""
    return int(np.sum(~np.isfinite(self.gradient_norms)))


class Training(tf.Module):
  """The state of meta-training, which `tf.train.Checkpoint` saves as a whole.

  Epochs draw their functions from the seed and their number alone: a training
  that is restored goes on exactly as if it had never stopped.
  """

  def __init__(self, step: meta_optimizer.MetaStep,
               validation: evaluation.Evaluator, seed: int, num_steps: int,
               validation_epochs: int, num_tasks: int = 1,
               stagger: bool = False):
    """Args:
      step: The step of meta-training.
      validation: Evaluates the network that is trained.
      seed: Of all functions.
      num_steps: Updates in an epoch. Those that do not fill an unroll are a
        shorter one at the end.
      validation_epochs: Runs in a validation, the same in each.
      num_tasks: Runs side by side in an epoch, K.
      stagger: Whether every unroll has tasks at all stages of their runs. The
        first run of a task is then a shorter one.

    Raises:
      ValueError: Tasks are to be staggered, but the unrolls do not fill a run.
    """
    super().__init__("training")
    if stagger and num_steps % step.len_unroll:
      raise ValueError(
          f"num_steps is {num_steps}, but must be a multiple of the unroll, "
          f"{step.len_unroll}, for tasks to be staggered.")
    self.epoch = tf.Variable(0, trainable=False, dtype=tf.int64)
    self.best = tf.Variable(np.inf, trainable=False, dtype=tf.float64)
    self._network = step.network
    self._optimizer = step.optimizer
    self._step = step
    self._validation = validation
    self._seed = seed
    self._num_steps = num_steps
    self._num_tasks = num_tasks
    self._num_unrolls = math.ceil(num_steps / step.len_unroll)
    # Unrolls that each task is ahead.
    self._lead = [k * self._num_unrolls // num_tasks if stagger else 0
                  for k in range(num_tasks)]
    self._under_way = None
    if stagger:  # An epoch ends in the middle of runs.
      self._under_way = tf.nest.map_structure(
          lambda t: tf.Variable(t, trainable=False),
          self._begin([0] * num_tasks))
    self._validation_seeds = [
        seeds.derive(seed, "validation", i) for i in range(validation_epochs)]

  def run_epoch(self) -> Epoch:
    """Trains for one epoch."""
    run = self._under_way and tf.nest.map_structure(
        tf.convert_to_tensor, self._under_way)
    infos, final_losses = [], []
    for i in range(self._num_unrolls):
      run = self._begin_again(run, int(self.epoch) * self._num_unrolls + i)
      done = i * self._step.len_unroll
      info, run = self._step.train(
          run, min(self._step.len_unroll, self._num_steps - done))
      infos.append(info)
      last = info.losses[-1].numpy().reshape([self._num_tasks, -1])
      final_losses += [last[k] for k, lead in enumerate(self._lead)
                       if (i + 1 + lead) % self._num_unrolls == 0]
    if self._under_way:
      tf.nest.map_structure(lambda v, t: v.assign(t), self._under_way, run)
    self.epoch.assign_add(1)
    return Epoch(
        final_loss=float(np.mean(final_losses, dtype=np.float64)),
        meta_loss=float(sum(i.meta_loss for i in infos)),
        gradient_norms=[float(i.gradient_norm) for i in infos])

  def _begin(self, runs: list[int]) -> unroll.Run:
    """Starts every task on its run of the number given."""
    tasks = [seeds.derive(self._seed, "training", r * self._num_tasks + k)
             for k, r in enumerate(runs)]
    return self._step.reset(tf.stack(tasks) if len(tasks) > 1 else tasks[0])

  def _begin_again(self, run: unroll.Run | None, number: int) -> unroll.Run:
    """Starts those tasks anew that are at their end, before an unroll."""
    runs, done = zip(*[divmod(number + lead, self._num_unrolls)
                       for lead in self._lead], strict=True)
    at_start = np.equal(done, 0)
    if not at_start.any():
      return run
    new = self._begin(runs)
    if at_start.all():
      return new
    return tf.nest.map_structure(
        lambda n, o: tf.where(
            at_start.reshape([-1, *[1] * (n.shape.rank - 1)]), n, o), new, run)

  def validate(self) -> tuple[np.ndarray, bool]:
    """Evaluates the network on the validation runs.

    Returns:
      The losses, shape [runs, T + 1], and whether their mean after the last
      step is the best so far. The first network is, however bad.
    """
    losses = self._validation(self._validation_seeds)
    value = np.mean(losses[:, -1], dtype=np.float64)
    value = value if np.isfinite(value) else np.finfo(np.float64).max
    improved = value < self.best
    if improved:
      self.best.assign(value)
    return losses, bool(improved)
