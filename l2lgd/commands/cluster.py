"""The devices and the processes that share out the work of a command."""

from collections.abc import Iterator
import contextlib
import functools
import json
import math
import os
import pathlib
import signal
import socket
import sys
import threading
from typing import Any
import zlib

from absl import flags
import tensorflow as tf
from tensorflow.python.eager import context

from l2lgd.commands import program
from meta import replicas

FLAGS = flags.FLAGS

LOST_OTHERS = 75  # Exit status of a process whose parent prints the cause.
HAS_PARENT = "L2LGD_HAS_PARENT"  # Environment variable of such a process.
# Environment variables that describe several processes.
VARIABLES = ("TF_CONFIG", "SLURM_STEP_NUM_TASKS")
REMEDY = "start all processes again; a training goes on with --resume."

_SECONDS_TO_START = 300  # In which all processes must be there.
# In which a process must give a sign of life. TensorFlow's 10 are too few where
# many processes share a core.
_SECONDS_TO_ANSWER = 18
# Flags that may differ between machines.
_LOCAL = ("data_dir", "download", "save_path", "output", "plot", "plot_updates",
          "pictures", "logdir", "path", "init")
_EXAMPLE = ('{"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
            '"task": {"type": "worker", "index": 0}}')


def is_described() -> bool:
  """Returns whether TF_CONFIG or SLURM describes several processes."""
  return "TF_CONFIG" in os.environ or _num_slurm_tasks() > 1


@contextlib.contextmanager
def shared(num_runs: int) -> Iterator[None]:
  """Enters the scope of the strategy whose replicas share out the work.

  The replicas are the devices of the processes that TF_CONFIG or SLURM
  describes, or else those of this process, as many as divide `num_runs`. One
  device needs no strategy. Only the first process prints.

  Args:
    num_runs: The number of tasks; 0 if any number of devices can share.

  Raises:
    ValueError: The description is broken, or another process has been started
      in another way.
    OSError: The processes cannot reach each other, or one has ended.
  """
  if is_described():
    with _lost_connections(), _connect().scope():
      replicas.check_same("The flags, or the versions of this library or of "
                          "TensorFlow,", _checksum(),
                          "start all of them in the same way")
      with contextlib.ExitStack() as stack:
        if not replicas.is_first_worker():
          stack.enter_context(contextlib.redirect_stdout(
              stack.enter_context(open(os.devnull, "w"))))
        yield
      replicas.wait_for_all()
    return
  devices = (tf.config.list_logical_devices("GPU")
             or tf.config.list_logical_devices("CPU"))
  num = math.gcd(len(devices), num_runs)
  with (tf.distribute.MirroredStrategy([d.name for d in devices[:num]]).scope()
        if num > 1 else contextlib.nullcontext()):
    yield


def _num_slurm_tasks() -> int:
  text = os.environ.get("SLURM_STEP_NUM_TASKS", "1")
  if not text.isdecimal():
    raise ValueError(f"SLURM_STEP_NUM_TASKS is {text!r}, but must be an "
                     "integer: to run one process alone, unset it.")
  return int(text)


def _connect() -> tf.distribute.Strategy:
  """Connects to the other processes."""
  if "TF_CONFIG" not in os.environ:
    os.environ["TF_CONFIG"] = slurm_config()
  address = _own_address(os.environ["TF_CONFIG"])
  port = int(address.rpartition(":")[2])
  try:  # TensorFlow would share the port with another program of its own.
    socket.create_server(("", port)).close()
  except OSError as error:
    raise OSError(f"The port of {address} cannot be opened: {error.strerror}. "
                  "Give another one in TF_CONFIG.") from error
  watch = threading.Timer(_SECONDS_TO_START, _give_up)
  watch.daemon = True
  watch.start()
  # There is no public setting.
  tensorflow = context.context()
  tensorflow.configure_coordination_service = functools.partial(
      tensorflow.configure_coordination_service,
      heartbeat_timeout_in_ms=1000 * _SECONDS_TO_ANSWER)
  try:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    for signum in (signal.SIGINT, signal.SIGTERM):
      # TensorFlow has put a handler of its own in place of this one.
      signal.signal(signum, signal.getsignal(signum))
    return strategy
  finally:
    watch.cancel()


def _give_up() -> None:
  print(f"error: Not all processes have started within {_SECONDS_TO_START} s: "
        "start all that TF_CONFIG or SLURM describes, or unset "
        f"{' and '.join(VARIABLES)} to run one alone.", file=sys.stderr,
        flush=True)
  os._exit(1)


def slurm_config() -> str:
  """Returns the TF_CONFIG of a process that SLURM has started."""
  try:
    # The resolver counts GPUs, of which SLURM shows each process its own.
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
        gpus_per_node=_num_slurm_tasks(), gpus_per_task=1, auto_set_gpu=False)
    cluster = resolver.cluster_spec().as_dict()
  except (RuntimeError, ValueError) as error:
    raise ValueError(
        f"The variables of SLURM are broken: {str(error).rstrip('.')}. To run "
        "one process alone, unset SLURM_STEP_NUM_TASKS.") from error
  task_type, index = resolver.get_task_info()
  return json.dumps({
      "cluster": cluster, "task": {"type": task_type, "index": index}})


def _own_address(text: str) -> str:
  """Returns the address of this process.

  Args:
    text: The value of TF_CONFIG.

  Raises:
    ValueError: It is broken.
  """
  try:
    config = json.loads(text)
    task, jobs = config["task"], config["cluster"]
    index = int(task["index"])
    address = jobs[task["type"]][index]
    valid = (set(jobs) <= {"chief", "worker"} and index >= 0
             and 0 < int(address.rpartition(":")[2]) < 2**16)
  except (ValueError, TypeError, KeyError, IndexError, AttributeError):
    valid = False
  if not valid:
    raise ValueError(
        f"TF_CONFIG is {text!r}, but must be such as {_EXAMPLE!r}, with jobs "
        "named chief and worker; without several processes, unset it.")
  return address


@contextlib.contextmanager
def _lost_connections() -> Iterator[None]:
  """Ends with one line if another process has ended or does not answer."""
  try:
    yield
  except tf.errors.OpError as error:
    message = error.message.lower()
    if "collective" not in message and "coordinat" not in message:
      raise
    if HAS_PARENT in os.environ:
      sys.exit(LOST_OTHERS)
    raise ConnectionError(
        "Another process has ended, or no longer answers: "
        f"{REMEDY}") from error


def _checksum() -> int:
  """Returns a number that tells versions and flags from others."""
  values: dict[str, Any] = {
      name: FLAGS[name].value for name in sorted(FLAGS)
      if name not in _LOCAL}
  checksum = zlib.crc32(repr((tf.__version__, values)).encode())
  root = pathlib.Path(program.__file__).parents[2]
  for folder in ("l2lgd", "meta", "networks", "problems"):
    for file in sorted((root / folder).rglob("*.py")):
      checksum = zlib.crc32(file.read_bytes(), checksum)
  return checksum
