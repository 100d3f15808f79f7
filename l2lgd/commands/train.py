"""Trains networks to optimize a problem."""

from collections.abc import Callable, Iterator
import contextlib
import functools
import json
import os
import signal
import time

from absl import flags

from l2lgd.commands import (
  cli,  # First: it keeps the start-up messages of TensorFlow away.
)

# isort: split
import numpy as np
import tensorflow as tf
import tqdm

from meta import (
  diagnostics,
  evaluation,
  experiments,
  meta_optimizer,
  seeds,
  training,
)

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(cli)  # For --help.
flags.DEFINE_string("save_path", None, "Folder to save the run in.")
flags.DEFINE_bool("resume", False, "Whether to go on with the run in "
                  "--save_path, if there is one.")
flags.DEFINE_integer("num_epochs", 10000, "Epochs of meta-training.")
flags.DEFINE_integer("log_period", 100, "Epochs from one report to the next.")
flags.DEFINE_integer("evaluation_period", 1000,
                     "Epochs from one validation to the next.")
flags.DEFINE_integer("evaluation_epochs", 20, "Runs in a validation.")
flags.DEFINE_integer("unroll_length", 20,
                     "Updates that the meta-gradient goes back through. "
                     "(32 for neural art)")
flags.DEFINE_integer("num_tasks", 1, "Functions optimized side by side; the "
                     "meta-loss is their mean.")
flags.DEFINE_bool("stagger", False, "Whether these functions are at different "
                  "steps of their runs.")
flags.DEFINE_float("learning_rate", None, "Of Adam, which trains the networks. "
                   "(default: 0.001, or what the paper-* problems note)")
flags.DEFINE_bool("second_derivatives", False,
                  "Whether to differentiate the optimizee's gradients too.")
flags.DEFINE_integer("seed", 0, "Of everything that is random.")
flags.DEFINE_string("split", "train",
                    "Part of the data set: train, validation or test.")

_SETTINGS_FILE = "run.json"
# The settings that a run cannot change on its way.
_FIXED = ("problem", "layers", "activation", "num_steps", "unroll_length",
          "learning_rate", "second_derivatives", "seed", "split",
          "evaluation_period", "evaluation_epochs", "num_tasks", "stagger",
          "jit_compile")


def main() -> int:
  cli.print_device()
  with cli.user_errors():
    cli.check_positive(
        "num_steps", "num_epochs", "log_period", "evaluation_period",
        "evaluation_epochs", "unroll_length", "learning_rate", "num_tasks")
    if FLAGS.resume and FLAGS.save_path is None:
      raise ValueError("--resume needs the --save_path of the run to resume.")
    problem, experiment = cli.make_problem(FLAGS.split)
    FLAGS.set_default("unroll_length", experiment.unroll_length)
    learning_rate = FLAGS.learning_rate or experiment.learning_rate
    settings = {name: FLAGS[name].value for name in _FIXED}
    settings["learning_rate"] = learning_rate
    learner = meta_optimizer.MetaOptimizer(
        **experiments.with_seed(experiment.net_config, FLAGS.seed))
    step = learner.meta_minimize(
        problem, FLAGS.unroll_length, learning_rate, experiment.net_assignments,
        FLAGS.second_derivatives, cli.jit_compile())
    validation = evaluation.Evaluator(
        step.network, problem, FLAGS.num_steps, cli.jit_compile())
    state = training.Training(
        step, validation, FLAGS.seed, FLAGS.num_steps, FLAGS.evaluation_epochs,
        FLAGS.num_tasks, FLAGS.stagger)
    saver = Saver(state, learner, settings) if FLAGS.save_path else None
    trace = tf.function(functools.partial(
        diagnostics.trace, step.network, problem,
        seeds.derive(FLAGS.seed, "validation", 0), FLAGS.num_steps),
                        autograph=False)
  if saver is None:
    tqdm.tqdm.write("Nothing is saved: give a --save_path to keep the network.")
  with cli.user_errors(), postponed_interrupts() as interrupts:
    train(state, saver, trace, learning_rate, interrupts)
  return 128 + interrupts[0] if interrupts else 0


def train(state: training.Training, saver: "Saver | None",
          trace: Callable[[], diagnostics.Trace], learning_rate: float,
          interrupts: list[int]) -> None:
  """Trains up to --num_epochs, or to an interrupt, and saves on the way."""
  epochs, start_time = [], time.perf_counter()
  bar = cli.progress(total=FLAGS.num_epochs, initial=int(state.epoch),
                     unit="epoch")
  with bar:
    while int(state.epoch) < FLAGS.num_epochs and not interrupts:
      epoch_start = time.perf_counter()
      epochs.append(state.run_epoch())
      number = int(state.epoch)
      bar.update()
      bar.set_postfix(loss=f"{epochs[-1].final_loss:.4g}")
      if saver:
        saver.log_epoch(number, epochs[-1], learning_rate,
                        FLAGS.num_steps / (time.perf_counter() - epoch_start))
      last = number == FLAGS.num_epochs
      report = number % FLAGS.log_period == 0 or last
      if report:
        print_epochs(number, epochs, time.perf_counter() - start_time)
        epochs = []
      if number % FLAGS.evaluation_period == 0 or last:
        improved = validate(state, saver, trace)
        if saver and improved:
          saver.save_networks(number)
      if saver and report:
        saver.save_checkpoint()
      if report:
        start_time = time.perf_counter()
  if saver:
    saver.save_checkpoint()
    tqdm.tqdm.write(f"Saved {FLAGS.save_path} after epoch {int(state.epoch)}."
                    + (" Go on with --resume." if interrupts else ""))


def print_epochs(number: int, epochs: list[training.Epoch],
                 seconds: float) -> None:
  """Prints the statistics of the epochs since the last report."""
  summary = evaluation.summarize(np.array([e.final_loss for e in epochs]))
  cli.print_stats(f"Epoch {number}", summary, seconds / len(epochs))
  dropped = sum(e.num_dropped for e in epochs)
  if dropped:
    total = sum(len(e.gradient_norms) for e in epochs)
    tqdm.tqdm.write(f"Meta-gradients not finite, and dropped: {dropped} of "
                    f"{total}")


def validate(state: training.Training, saver: "Saver | None",
             trace: Callable[[], diagnostics.Trace]) -> bool:
  """Evaluates, prints and logs; returns whether it is the best so far."""
  start_time = time.perf_counter()
  losses, improved = state.validate()
  cli.print_stats("EVALUATION", evaluation.summarize(losses[:, -1]),
                  (time.perf_counter() - start_time) / FLAGS.evaluation_epochs)
  if saver:
    saver.log_validation(int(state.epoch), losses, trace())
  return improved


class Saver:
  """The files of a run, all of them in one folder.

  `run.json` holds the settings, `<id>.l2l` the best network, `checkpoints`
  the state to resume from; TensorBoard reads the rest.
  """

  def __init__(self, state: training.Training,
               meta_optimizer: meta_optimizer.MetaOptimizer, settings: dict):
    """Takes the folder --save_path, and restores the run in it to resume.

    Raises:
      ValueError: The folder holds another run or other files.
      OSError: The folder cannot be made or written.
    """
    self._meta_optimizer = meta_optimizer
    self._settings = settings
    self._claim_folder()
    self._manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(training=state),
        os.path.join(FLAGS.save_path, "checkpoints"), max_to_keep=2)
    if self._manager.latest_checkpoint:
      try:
        self._manager.checkpoint.restore(
            self._manager.latest_checkpoint).assert_consumed()
      except tf.errors.OpError as error:
        raise OSError(f"Cannot read {self._manager.latest_checkpoint}: "
                      f"{error.message}") from error
      print(f"Resuming {FLAGS.save_path} after epoch {int(state.epoch)}.")
    self._state = state
    self._dropped = 0
    self._writer = tf.summary.create_file_writer(FLAGS.save_path)

  def log_epoch(self, number: int, epoch: training.Epoch, learning_rate: float,
                steps_per_second: float) -> None:
    """Writes an epoch's TensorBoard scalars."""
    self._dropped += epoch.num_dropped
    with self._writer.as_default(step=number):
      tf.summary.scalar("training/meta_loss", epoch.meta_loss)
      tf.summary.scalar("training/final_loss", epoch.final_loss)
      tf.summary.scalar("training/meta_gradient_norm",
                        np.mean(epoch.gradient_norms))
      for i, norm in enumerate(epoch.gradient_norms):
        tf.summary.scalar(f"meta_gradient_norm/unroll_{i + 1}", norm)
      tf.summary.scalar("training/meta_gradients_dropped", self._dropped)
      tf.summary.scalar("training/learning_rate", learning_rate)
      tf.summary.scalar("training/steps_per_second", steps_per_second)

  def log_validation(self, number: int, losses: np.ndarray,
                     trace: diagnostics.Trace) -> None:
    """Writes a validation's TensorBoard scalars; losses [runs, T + 1]."""
    curve = np.mean(losses, axis=0, dtype=np.float64)  # float32 may overflow.
    with self._writer.as_default():
      tf.summary.scalar("validation/final_loss", curve[-1], number)
      # The curve replaces that of the validation before, for which TensorBoard
      # sees steps that it has been at already.
      for step, loss in enumerate(curve):
        tf.summary.scalar("validation/loss_curve", loss, step)
      for name, values in trace.by_name().items():
        if name != "loss":
          tf.summary.scalar(
              f"diagnostics/{name}", tf.reduce_mean(values), number)

  def save_networks(self, number: int) -> None:
    """Writes the networks, the best so far.

    Raises:
      OSError: They could not be written; the last ones are intact.
    """
    self._meta_optimizer.save(
        FLAGS.save_path, self._settings | {"num_epochs": number},
        experiments.get(FLAGS.problem).net_assignments)

  def save_checkpoint(self) -> None:
    """Writes what --resume needs.

    Raises:
      OSError: It could not be written; the last checkpoint is intact.
    """
    try:
      self._manager.save(checkpoint_number=self._state.epoch)
      self._writer.flush()
    except tf.errors.OpError as error:
      raise OSError(
          f"Cannot write a checkpoint under {FLAGS.save_path}, but the last "
          "one is intact: make room, then go on with --resume. TensorFlow "
          f"says: {error.message}"
      ) from error

  def _claim_folder(self):
    path = FLAGS.save_path
    settings_file = os.path.join(path, _SETTINGS_FILE)
    os.makedirs(path, exist_ok=True)
    files = [f for f in os.listdir(path) if f != f".{_SETTINGS_FILE}.tmp"]
    if not files:
      files.write_atomically(
          settings_file, json.dumps(self._settings, indent=2).encode())
    elif not os.path.exists(settings_file):
      raise ValueError(f"--save_path {path} is a folder of other files. Give "
                       "another one, which need not exist.")
    elif not FLAGS.resume:
      raise ValueError(f"--save_path {path} holds a run. Go on with it by "
                       "--resume, or give another folder.")
    else:
      with open(settings_file, encoding="utf-8") as file:
        try:
          saved = dict(json.load(file))
        except (ValueError, TypeError) as error:
          raise ValueError(f"{settings_file} is damaged: {error}.") from error
      changed = [f"--{name}={saved.get(name)}" for name in _FIXED
                 if saved.get(name) != self._settings[name]]
      if changed:
        raise ValueError(f"The run in {path} was started with "
                         f"{' '.join(changed)}: resume it with the same.")


@contextlib.contextmanager
def postponed_interrupts() -> Iterator[list[int]]:
  """Collects Ctrl-C and SIGTERM, so that an epoch can end; a second one kills.

  Yields:
    A list to which the number of the signal is added.
  """
  caught = []

  def note(signum, frame):
    del frame
    caught.append(signum)
    signal.signal(signum, signal.SIG_DFL)

  previous = {s: signal.signal(s, note)
              for s in (signal.SIGINT, signal.SIGTERM)}
  try:
    yield caught
  finally:
    for signum, handler in previous.items():
      signal.signal(signum, handler)


def run() -> None:
  cli.run(main)
