"""What the scripts share: flags, errors, progress and printing."""

from collections.abc import Callable, Iterator
import contextlib
import ctypes
import math
import os
import platform
import re
import signal
import sys

from absl import app, flags, logging

# Before TensorFlow is loaded: its start-up messages would hide ours, and its
# convolutions take less than half the time with oneDNN on any processor.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
if platform.libc_ver()[0] == "glibc":
  # Before there are threads: malloc keeps what is freed, in one heap. The pages
  # of large tensors would else be mapped anew at every step, which takes longer
  # than to compute them.
  _MMAP_MAX, _TRIM_THRESHOLD, _ARENA_MAX = -4, -1, -8  # As in malloc.h.
  _malloc = ctypes.CDLL(None)
  _malloc.mallopt(_MMAP_MAX, 0)
  _malloc.mallopt(_TRIM_THRESHOLD, -1)
  _malloc.mallopt(_ARENA_MAX, 1)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
  """Drops what libraries write there; Python's exceptions come through."""
  stderr = os.dup(2)
  with open(os.devnull, "wb") as null:
    os.dup2(null.fileno(), 2)
  try:
    yield
  finally:
    os.dup2(stderr, 2)
    os.close(stderr)


with _quiet_stderr():  # TensorFlow logs before any setting counts.
  import tensorflow as tf
  import tqdm

  from meta import evaluation, experiments
  import problems

# It tells at length of what runs side by side make one after another.
tf.get_logger().addFilter(lambda record: record.module != "pfor")

FLAGS = flags.FLAGS
flags.DEFINE_string("problem", "simple",
                    f"One of {', '.join(experiments.EXPERIMENTS)}; or "
                    "module:function, a function of yours that returns a "
                    "problems.Problem (of a split, where it takes one).")
flags.DEFINE_integer("num_steps", 100, "Updates of the optimizee in an epoch. "
                     "(128 for neural art)")
flags.DEFINE_list("layers", None, "Units of each hidden layer of the network "
                  "that classifies MNIST. (default: 20)")
flags.DEFINE_enum("activation", None, ["sigmoid", "relu"], "Of these layers. "
                  "(default: sigmoid)")
flags.DEFINE_string("data_dir", None, "Folder of the data set.")
flags.DEFINE_bool("download", False,
                  "Whether to download a data set that is not there.")
flags.DEFINE_enum("jit_compile", "auto", ["auto", "true", "false"],
                  "Whether XLA compiles the unroll; auto: where it can.")


def run(main: Callable[[], int | None]) -> None:
  """Runs a script; a flag that is not understood ends it with one line."""
  def parse(argv):
    try:
      rest = FLAGS(argv)
    except flags.Error as error:
      fail(error)
    if not FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # absl says INFO in a script.
    if rest[1:]:
      fail(f"{rest[1]!r} is not a flag: write --name=value.")
    return rest
  for flag in FLAGS.get_key_flags_for_module(main.__module__):
    FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # For --help.
  # TensorFlow loses some of the KeyboardInterrupts that come while it traces.
  signal.signal(signal.SIGINT, signal.SIG_DFL)
  app.run(lambda _: main(), flags_parser=parse)


def fail(error: Exception | str) -> None:
  """Ends the script with one line and exit status 1."""
  # TensorFlow adds the names of its nodes.
  text = re.sub(r"\{\{.*?\}\}|\[Op:\w+\]( name:)?", "", str(error))
  sys.exit(f"error: {' '.join(text.split())}")


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
  """Ends the script with one line where the user can mend what is wrong."""
  try:
    yield
  except (ValueError, OSError) as error:
    fail(error)
  except tf.errors.OpError as error:  # Of a file.
    fail(error.message)


def check_positive(*names: str) -> None:
  """Checks that the flags of these names are positive and finite.

  Raises:
    ValueError: One is not.
  """
  for name in names:
    value = FLAGS[name].value
    if value is not None and not 0 < value < math.inf:
      raise ValueError(f"--{name} is {value}, but must be positive.")


def make_problem(split: str) -> tuple[problems.Problem,
                                      experiments.Experiment]:
  """Returns what --problem names, and its other settings.

  Flags that are not given take the experiment's defaults.
  """
  if ":" in FLAGS.problem:  # After the folder of the script.
    sys.path.insert(1, os.getcwd())
  experiment = experiments.get(FLAGS.problem)
  FLAGS.set_default("num_steps", experiment.num_steps)
  options = {}
  if FLAGS.layers is not None:
    options["layers"] = [_integer("layers", units) for units in FLAGS.layers]
  if FLAGS.activation is not None:
    options["activation"] = FLAGS.activation
  if options and experiment.make_problem is not problems.Mnist:
    raise ValueError(f"--{next(iter(options))} is for mnist and paper-mnist, "
                     f"not {FLAGS.problem}.")
  if experiment.has_data:
    options |= {"split": split, "data_dir": FLAGS.data_dir,
                "download": FLAGS.download}
  return experiment.make_problem(**options), experiment


def _integer(name: str, text: str) -> int:
  try:
    return int(text)
  except ValueError:
    raise ValueError(
        f"--{name} has {text!r}, but must be whole numbers.") from None


def jit_compile() -> bool | None:
  """Returns what --jit_compile says, None for auto."""
  return {"auto": None, "true": True, "false": False}[FLAGS.jit_compile]


def print_device() -> None:
  """Prints which device runs the script."""
  gpus = tf.config.list_physical_devices("GPU")
  if gpus:
    name = tf.config.experimental.get_device_details(gpus[0]).get(
        "device_name", "")
    print(f"Running on GPU {name}", flush=True)
  else:
    print(f"Running on CPU, {os.cpu_count()} cores", flush=True)


def progress(iterable=None, **options):
  """Returns a tqdm progress bar, which is silent unless on a terminal."""
  return tqdm.tqdm(iterable, disable=None, dynamic_ncols=True, **options)


def print_stats(header: str, summary: evaluation.Summary,
                mean_time: float) -> None:
  """Prints the original's two lines, and the distribution behind them.

  Args:
    header: What was measured.
    summary: Of the final losses.
    mean_time: Seconds per epoch.
  """
  tqdm.tqdm.write("\n".join([
      header,
      f"Log Mean Final Error: {summary.log_mean:.2f}",
      f"Mean epoch time: {mean_time:.2f} s",
      f"Final error: mean {summary.mean:.4g}, median {summary.median:.4g}, "
      f"quartiles {summary.lower_quartile:.4g} to "
      f"{summary.upper_quartile:.4g}, {summary.num_diverged} of "
      f"{summary.num_runs} diverged"]))
  sys.stdout.flush()
