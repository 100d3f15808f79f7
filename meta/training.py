"""Meta-training, one epoch after another, with validation."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from meta import evaluation, optimizer, seeds


class Epoch(NamedTuple):
  """What an epoch, a run of every task from start to end, came to."""
  final_loss: float  # Of the optimizees, after the last update.
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

  def __init__(self, step: optimizer.MetaStep,
               validation: evaluation.Evaluator, seed: int, num_steps: int,
               validation_epochs: int, num_tasks: int = 1):
    """Args:
      step: The step of meta-training.
      validation: Evaluates the network that is trained.
      seed: Of all functions.
      num_steps: Updates in an epoch. Those that do not fill an unroll are a
        shorter one at the end.
      validation_epochs: Runs in a validation, the same in each.
      num_tasks: Runs side by side in an epoch, K.
    """
    super().__init__("training")
    self.epoch = tf.Variable(0, trainable=False, dtype=tf.int64)
    self.best = tf.Variable(np.inf, trainable=False, dtype=tf.float64)
    self._network = step.network
    self._optimizer = step.optimizer
    self._step = step
    self._validation = validation
    self._seed = seed
    self._num_steps = num_steps
    self._num_tasks = num_tasks
    self._validation_seeds = [
        seeds.derive(seed, "validation", i) for i in range(validation_epochs)]

  def run_epoch(self) -> Epoch:
    """Trains for one epoch."""
    first = int(self.epoch) * self._num_tasks
    tasks = [seeds.derive(self._seed, "training", first + k)
             for k in range(self._num_tasks)]
    run = self._step.reset(tf.stack(tasks) if len(tasks) > 1 else tasks[0])
    infos = []
    for done in range(0, self._num_steps, self._step.len_unroll):
      info, run = self._step.train(
          run, min(self._step.len_unroll, self._num_steps - done))
      infos.append(info)
    self.epoch.assign_add(1)
    return Epoch(
        final_loss=float(np.mean(infos[-1].losses[-1], dtype=np.float64)),
        meta_loss=float(sum(i.meta_loss for i in infos)),
        gradient_norms=[float(i.gradient_norm) for i in infos])

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
