"""Meta-training as a whole: epochs, validations, checkpoints and logs."""

from collections.abc import Callable, Sequence
import contextlib
from typing import Any

from l2lgd import checks, files
from meta import meta_optimizer, replicas, run_folder
from meta import recorders as recorders_lib
from meta import settings as settings_lib
from meta import trainer as trainer_lib
import networks


def train(
    problem: trainer_lib.Problems,
    optimizer: meta_optimizer.MetaOptimizer | None = None,
    num_epochs: int = 10000,
    settings: settings_lib.Settings | None = None,
    net_assignments: networks.Assignments | None = None,
    save_path: files.Path | None = None,
    resume: bool = False,
    log_period: int = 100,
    description: dict[str, Any] | None = None,
    recorders: Sequence[recorders_lib.Recorder] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> meta_optimizer.MetaOptimizer:
  """Meta-trains networks on a problem, or on several, as `train.py` does.

  There is a validation before the first epoch, after each
  `settings.evaluation_period` epochs, and after the last epoch. Whenever one is
  the best so far, or always with `keep_last`, the networks are written to
  `save_path`. A run that was interrupted continues with `resume=True`, and ends
  with the same weights as one that was not.

  In the scope of a distribution strategy, in which `optimizer` must be made,
  the replicas share out tasks and validation runs. Of several processes, all
  must read `save_path`, and only the first writes to it and has recorders.

  Example:

    meta.train(
        problems.Quadratic(), num_epochs=600,
        settings=meta.Settings(learning_rate=0.003, evaluation_period=100),
        save_path="runs/quadratic", resume=True)
    optimizer = meta.LearnedOptimizer.load("runs/quadratic")

  Args:
    problem: The problem to train on. Of several, in a list or in a dictionary
      of their names, each epoch trains on one that is drawn.
    optimizer: The networks to train; by default those of `MetaOptimizer()`.
    num_epochs: Number of epochs, those before a resumption included; at most
      `settings.decay_epochs`. 0 only validates.
    settings: How to train; by default `Settings()`.
    net_assignments: Pairs of a network's id and the names of the parameters
      that it optimizes. None gives all parameters to the only network.
    save_path: Folder for networks, checkpoints and TensorBoard's logs, which
      need not exist; None saves nothing.
    resume: Whether to resume the run in `save_path`, if there is one.
    log_period: Number of epochs from one checkpoint to the next.
    description: What else determines the run, as JSON values. It is written
      into the run's files, and a resumed run must have the same. By default the
      name of the problem's class, or the names of the problems.
    recorders: Objects that follow the training, such as a plot or a log.
    should_stop: Is called before each epoch, and stops the training if it
      returns True, after a checkpoint has been saved. The saved networks are
      those of the best validation, or of the last one with `keep_last`. It must
      return the same in all processes.

  Returns:
    The networks as of the last epoch.

  Raises:
    ValueError: An argument or a setting is of another type or out of its
      range; the networks cannot optimize the problem; a loss is not above 0,
      see `Trainer.validate`; `save_path` holds other files, or a run that is
      another one or is not to be resumed; another process is writing to it; or
      other workers have another `save_path`.
    OSError: A file cannot be read or written.
  """
  if num_epochs != 0:  # Which validates alone.
    checks.positive_integer("num_epochs", num_epochs)
  checks.positive_integer("log_period", log_period)
  if not isinstance(recorders, Sequence) or not all(
      isinstance(recorder, recorders_lib.Recorder) for recorder in recorders):
    raise ValueError(f"recorders is {recorders!r}, but must be objects of "
                     "meta.Recorder, such as [recorder].")
  if not isinstance(description, dict | None):
    raise ValueError(f"description is {description!r}, but must be a "
                     "dictionary of JSON values.")
  problem = trainer_lib.named(problem)
  optimizer = optimizer or meta_optimizer.MetaOptimizer()
  settings = settings or settings_lib.Settings()
  trainer = trainer_lib.Trainer(problem, optimizer, settings, net_assignments)
  if num_epochs > (settings.decay_epochs or num_epochs):
    raise ValueError(
        f"num_epochs is {num_epochs}, but must be at most decay_epochs, "
        f"{settings.decay_epochs}, after which the learning rate is 0. To go "
        "on, start another training from these networks: with --init, in "
        "Python with this optimizer.")
  folder = None
  with contextlib.ExitStack() as stack:
    if save_path is not None:
      names = [*problem]
      description = description or {
          "problem": names if len(names) > 1 else names[0]}
      folder = stack.enter_context(contextlib.closing(run_folder.RunFolder(
          save_path, trainer, description | settings._asdict(), resume)))
      recorders = [*recorders, folder]
    replicas.check_same(
        "The checkpoints in save_path", trainer.num_epochs,
        "give all of them the same folder, which each must be able to read")
    if not replicas.is_first_worker():
      recorders = []
    _follow(trainer, num_epochs, recorders, folder, log_period, should_stop)
  return optimizer


def _follow(trainer: trainer_lib.Trainer, num_epochs: int,
            recorders: Sequence[recorders_lib.Recorder],
            folder: run_folder.RunFolder | None, log_period: int,
            should_stop: Callable[[], bool]) -> None:
  """Trains to the end, and lets the recorders follow."""
  for recorder in recorders:
    recorder.begin(trainer.num_epochs)
  if not trainer.num_epochs:
    if folder:  # What it begins with, however soon it is interrupted.
      folder.save_checkpoint()
    # Its errors show before hours of training.
    _validate(trainer, recorders)
  while (trainer.num_epochs < num_epochs and not trainer.has_stalled
         and not should_stop()):
    epoch = trainer.run_epoch()
    for recorder in recorders:
      recorder.epoch(epoch)
    if (epoch.number % trainer.settings.evaluation_period == 0
        or epoch.number == num_epochs):
      _validate(trainer, recorders)
    # After the validation, whose result is part of the state.
    if folder and epoch.number % log_period == 0:
      folder.save_checkpoint()
  if folder and trainer.num_epochs % log_period:  # The others were saved above.
    folder.save_checkpoint()
  for recorder in recorders:
    recorder.end(trainer.num_epochs)


def _validate(trainer: trainer_lib.Trainer,
              recorders: Sequence[recorders_lib.Recorder]) -> None:
  stage = None
  while stage != trainer.stage:  # A new one begins with a validation.
    stage = trainer.stage
    for validation in trainer.validate():
      for recorder in recorders:
        recorder.validation(validation)
