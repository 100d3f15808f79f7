"""The folder of a run: settings, networks, checkpoints and logs."""

import contextlib
import json
import os
import pathlib
import shlex
from typing import Any

import numpy as np
import tensorflow as tf

from l2lgd import checks, files
from meta import evaluation, recorders, replicas, schedules, tensorboard
from meta import settings as settings_lib
from meta import trainer as trainer_lib
from networks.factory import name_of

_CHECKPOINTS = "checkpoints"  # Folder.
_SETTINGS_FILE = "run.json"
# Settings that may change when a run is resumed.
_VARIABLE = ("jit_compile",)
# What the runs of older versions do not have, and is then not compared.
_LATER = ("networks", "net_assignments", "images")


class RunFolder(recorders.Recorder):
  """All files of a run, in one folder.

  `run.json` holds the settings, `<id>.l2l` the best networks so far (with
  `keep_last` those of the last validation), and `checkpoints` the states from
  which to resume. TensorBoard reads the rest. Of several processes, only the
  first writes. The folder is locked until `close` is called.
  """

  def __init__(self, path: files.Path, trainer: trainer_lib.Trainer,
               settings: dict[str, Any], resume: bool = False):
    """Claims the folder, and restores the trainer if there is a checkpoint.

    Args:
      path: The folder, which need not exist.
      trainer: The trainer whose state and networks are saved.
      settings: The settings of the run, as JSON values. A run can only be
        resumed with the same ones, except for `jit_compile`.
      resume: Whether to resume the run in the folder, if there is one.

    Raises:
      ValueError: The folder is locked, holds other files, a run that is not to
        be resumed, or a run with other settings or networks; its name has a
        character of patterns; or a network is not of the library.
      OSError: The folder cannot be made, read or written.
    """
    path = files.expand_exact("save_path", path)
    self._path = path
    self._trainer = trainer
    self._settings = checks.json_value("The description", settings)
    # The networks, and what each of them optimizes.
    self._networks = checks.json_value("The description", {
        "networks": {
            key: {"net": name_of(network), "net_options": network.options}
            for key, network in trainer.optimizer.networks.items()},
        "net_assignments": trainer.net_assignments})
    self._saved_epoch: int | None = None  # The networks' epoch.
    is_first = replicas.is_first_worker()
    with contextlib.ExitStack() as stack:
      if is_first:
        self._claim(resume, stack)
      checkpoint = trainer.checkpoint()
      checkpoint.save_counter.numpy()  # All processes must make this variable.
      self._manager = tf.train.CheckpointManager(
          checkpoint, os.path.join(path, _CHECKPOINTS), max_to_keep=2)
      if resume:
        self._restore()
      self._writer = (tf.summary.create_file_writer(path) if is_first
                      else tf.summary.create_noop_writer())
      self._lock = stack.pop_all()

  def close(self) -> None:
    """Unlocks the folder."""
    self._lock.close()

  def _remove_damaged_list(self) -> None:
    """Removes TensorFlow's list of the checkpoints if it cannot be read."""
    folder = os.path.join(self._path, _CHECKPOINTS)
    try:
      listed = tf.train.get_checkpoint_state(folder)
    except ValueError:  # The list is empty.
      listed = None
    if listed is None:
      pathlib.Path(folder, "checkpoint").unlink(missing_ok=True)

  def _restore(self) -> None:
    """Restores the last checkpoint that can be read, if there is any."""
    damaged: tuple[str, Exception] | None = None  # The last one.
    for filename in reversed(_find_checkpoints(self._path)):
      try:
        self._manager.checkpoint.restore(filename).assert_consumed()
        return
      except (AssertionError, ValueError) as error:
        raise ValueError(
            f"{filename} is of other networks, or of parameters of other "
            "names: resume the run with its own. (Keras names layers anew "
            "each time that a program makes them, unless you do.)") from error
      except (tf.errors.OpError, IndexError) as error:
        damaged = damaged or (filename, error)
    if damaged:
      filename, cause = damaged
      raise OSError(
          f"Cannot read {filename}: {cause}. Copy it again, or delete the "
          "folder of the checkpoints, and the run starts anew.") from cause

  def _claim(self, resume: bool, stack: contextlib.ExitStack) -> None:
    """Makes and checks the folder, and locks it until the stack is closed."""
    path = self._path
    settings_file = os.path.join(path, _SETTINGS_FILE)
    try:
      os.makedirs(path, exist_ok=True)
    except OSError as error:
      raise OSError(f"save_path is {path}, but this folder cannot be made: "
                    f"{error.strerror}.") from error
    stack.enter_context(files.locked("save_path", path))
    names = os.listdir(path)
    # What is left if writing the settings was interrupted.
    unfinished = [n for n in names if n.startswith(f".{_SETTINGS_FILE}.")]
    if names == unfinished:
      for name in unfinished:
        os.remove(os.path.join(path, name))
      files.write_json(settings_file, self._settings | self._networks | {
          "initial_losses": self._trainer.initial_losses()})
    elif not os.path.exists(settings_file):
      raise ValueError(f"save_path is {path}, a folder of other files. Give "
                       "another folder, which need not exist.")
    elif not resume:
      raise ValueError(f"save_path is {path}, which holds a run. Resume it "
                       "with --resume (in Python, resume=True), or give "
                       "another folder.")
    else:
      self._check_settings(settings_file)
      self._remove_damaged_list()

  def _check_settings(self, settings_file: str) -> None:
    """Raises a ValueError if the run was started with other settings."""
    # Editors may put a byte order mark first, which utf-8-sig drops.
    with open(settings_file, encoding="utf-8-sig") as file:
      try:
        saved = dict(json.load(file))
      except (ValueError, TypeError) as error:
        raise ValueError(
            f"{settings_file} is damaged: {error}. It must hold the settings "
            "of the run, as in the run.json of another one.") from error
    losses = saved.pop("initial_losses", None)
    # A setting that the run's version did not have was at its default.
    defaults = settings_lib.Settings()._asdict()
    old, new = defaults | saved, defaults | self._settings
    changed = [_as_flag(name, old.get(name)) for name in self._settings | old
               if name not in _VARIABLE + _LATER
               and old.get(name) != new.get(name)]
    if changed:
      raise ValueError(f"The run in {self._path} was started with "
                       f"{' '.join(changed)}: resume it with the same.")
    for name in _LATER:
      value = (self._settings | self._networks).get(name)
      if name in saved and saved[name] != value:
        raise ValueError(
            f"The run in {self._path} was started with the {name} "
            f"{json.dumps(saved[name])}, but is resumed with "
            f"{json.dumps(value)}: resume it with the same.")
    if losses is not None:  # Older versions have none.
      self._check_losses(losses)

  def _check_losses(self, saved: list[float | None]) -> None:
    """Raises a ValueError if the run was started on other problems."""
    losses = self._trainer.initial_losses()
    # The tolerance is for other devices, which round otherwise.
    if len(saved) != len(losses) or not np.allclose(
        np.array(saved, float), np.array(losses, float), rtol=1e-3,
        equal_nan=True):
      raise ValueError(
          f"The run in {self._path} was started on a problem whose loss is "
          f"{saved} at first, but is resumed on one whose loss is {losses}: "
          "resume it with the same problem and data, or give another folder.")

  def epoch(self, epoch: recorders.Epoch) -> None:
    """Writes the scalars of an epoch for TensorBoard."""
    problem = _of_problem(epoch.problem)
    if epoch.is_imitation:
      problem += "/imitation"
    scalars = {
        f"training/meta_loss{problem}": epoch.meta_loss,
        f"training/final_loss{problem}": epoch.final_loss,
        f"training/meta_gradient_norm{problem}": np.mean(epoch.gradient_norms),
        "training/meta_gradients_dropped": epoch.num_dropped,
        "training/learning_rate": schedules.learning_rate(
            self._trainer.settings, epoch.number - 1),
        f"training/num_steps{problem}": epoch.num_steps,
        f"training/steps_per_second{problem}":
            epoch.num_steps / epoch.seconds,
        **{f"meta_gradient_norm/unroll_{i + 1}{problem}": norm
           for i, norm in enumerate(epoch.gradient_norms)}}
    with self._writer.as_default(step=epoch.number):
      for tag, value in scalars.items():
        tf.summary.scalar(tag, value)

  def validation(self, validation: recorders.Validation) -> None:
    """Writes scalars for TensorBoard, and the networks if they are to be kept.

    Raises:
      OSError: The networks cannot be written; the last ones are left as they
        were.
    """
    curve = evaluation.mean_curve(validation.losses)
    problem = _of_problem(validation.problem)
    with self._writer.as_default(step=validation.epoch):
      tf.summary.scalar(f"validation/final_loss{problem}", curve[-1])
      for name, values in validation.trace.by_name().items():
        if name != "loss":
          tf.summary.scalar(
              f"diagnostics/{name}{problem}", tf.reduce_mean(values))
      # TensorBoard drops the previous curve, as its steps start again.
      tensorboard.write_curve(f"validation/loss_curve{problem}", curve)
    is_kept = validation.improved or self._trainer.settings.keep_last
    if is_kept and validation.epoch != self._saved_epoch:  # Not each problem's.
      self._saved_epoch = validation.epoch
      self._trainer.optimizer.save(
          self._path, self._settings | {"num_epochs": validation.epoch},
          self._trainer.net_assignments)

  def save_checkpoint(self) -> None:
    """Writes the state from which to resume, in the first process.

    Raises:
      OSError: It cannot be written; the last checkpoint is left as it was.
    """
    if not replicas.is_first_worker():
      return
    try:
      self._manager.save(checkpoint_number=self._trainer.num_epochs)
      self._writer.flush()
    except tf.errors.OpError as error:
      raise OSError(
          f"Cannot write a checkpoint under {self._path}, but the last one is "
          "intact: make room, then resume with --resume. TensorFlow says: "
          f"{error.message}") from error


def has_checkpoint(path: files.Path) -> bool:
  """Returns whether a folder has a state from which to resume."""
  return bool(_find_checkpoints(files.expand(path)))


def _find_checkpoints(path: str) -> list[str]:
  """Returns the checkpoints of a run, the last one at the end."""
  found = {}
  for file in pathlib.Path(path, _CHECKPOINTS).glob("ckpt-*.index"):
    number = file.stem.removeprefix("ckpt-")
    if number.isdigit():
      found[int(number)] = str(file.with_suffix(""))
  return [found[number] for number in sorted(found)]


def _of_problem(name: str | None) -> str:
  """Returns the end of the tags of one of several problems."""
  return "" if name is None else f"/{name}"


def _as_flag(name: str, value: Any) -> str:
  """Returns a setting as it is written on a command line."""
  if value is None:
    return ("--sampled_coordinates=all" if name == "sampled_coordinates"
            else f"no --{name}")
  if isinstance(value, list):
    value = ",".join(map(str, value))
  if isinstance(value, dict):
    value = shlex.quote(json.dumps(value))
  return f"--{name}={str(value).lower() if isinstance(value, bool) else value}"
