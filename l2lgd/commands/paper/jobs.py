"""Jobs in processes side by side, which end with the program."""

from collections.abc import Callable, Sequence
import multiprocessing
from multiprocessing import connection
import os
import subprocess
import sys
import threading
import time
import traceback
from typing import Any, NamedTuple

import tensorflow as tf
import tqdm

from l2lgd import devices
from l2lgd.commands import cluster, console


class Job(NamedTuple):
  """Work for a process of its own."""
  name: str
  cost: float  # Seconds on one core, about.
  function: Callable[..., None]  # Of `args`, and a function to which it reports
  # the cost of each part that is done.
  args: tuple[Any, ...]
  log: str  # File that takes what it prints.


def run(jobs: Sequence[Job], num_processes: int) -> dict[str, str]:
  """Runs jobs, those that take longest first.

  Args:
    jobs: The jobs.
    num_processes: How many run side by side; they share the cores.

  Returns:
    For each job that failed, the reason by its name.
  """
  waiting = sorted(jobs, key=lambda job: job.cost)
  running: dict[Any, tuple[Job, Any]] = {}
  errors: dict[str, str] = {}
  num_threads = max(1, devices.num_cores() // num_processes)
  progress = _Progress(sum(job.cost for job in jobs))
  while waiting or running:
    while waiting and len(running) < num_processes:
      own, process = _start(waiting[-1], num_threads)
      running[own] = waiting.pop(), process
    ready: Any
    for ready in connection.wait([*running], timeout=1):
      job, process = running[ready]
      try:
        message = ready.recv()
      except (EOFError, OSError):
        process.join()
        del running[ready]
        if process.exitcode:
          errors.setdefault(job.name, "its process ended with the exit status "
                            f"{process.exitcode}; see {job.log}")
        continue
      if isinstance(message, str):
        errors[job.name] = message
      else:
        progress.add(message)
    progress.show([job.name for job, _ in running.values()])
  progress.close()
  return errors


def _start(job: Job, num_threads: int) -> tuple[Any, Any]:
  """Starts a process; returns the connection to it, and the process."""
  # Once TensorFlow has computed something, its process cannot be forked.
  context = multiprocessing.get_context("spawn")
  own, other = context.Pipe()
  process = context.Process(target=_main, args=(job, num_threads, other))
  process.start()
  other.close()
  return own, process


def _main(job: Job, num_threads: int, parent: connection.Connection) -> None:
  """Does a job in its process."""
  threading.Thread(
      target=_end_with, args=(parent.recv,), daemon=True).start()
  try:
    os.makedirs(os.path.dirname(job.log), exist_ok=True)
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
  except OSError as error:
    parent.send(f"its log {job.log} cannot be written: {error.strerror}")
    return
  for stream in (1, 2):
    os.dup2(log, stream)
  set_threads(num_threads)
  reason = do(job, parent.send)
  if reason is not None:
    parent.send(reason)


def set_threads(num_threads: int) -> None:
  """Sets how many threads TensorFlow has for operations, and in each."""
  tf.config.threading.set_intra_op_parallelism_threads(num_threads)
  tf.config.threading.set_inter_op_parallelism_threads(num_threads)


def do(job: Job, report: Callable[[float], None]) -> str | None:
  """Does a job; returns why it failed, or None.

  Args:
    job: The job.
    report: Is called with the cost of each part that is done.
  """
  try:
    job.function(*job.args, report)
  except (ValueError, OSError) as error:  # The user can fix it.
    return " ".join(str(error).split())
  except Exception as error:
    traceback.print_exc()
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
  return None


def _end_with(read: Callable[[], Any]) -> None:
  """Ends this process when the other end of a connection is closed."""
  try:
    read()
  finally:
    os._exit(1)


def train(argvs: Sequence[Sequence[str]], cost: float,
          report: Callable[[float], None]) -> None:
  """Runs `l2l-train` in processes of its own, which end with this one.

  They have as many threads as this one.

  Args:
    argvs: Its flags, of one training after another.
    cost: What to report in the end.
    report: See `Job`.

  Raises:
    ValueError: It fails.
  """
  num_threads = tf.config.threading.get_intra_op_parallelism_threads()
  code = ("from l2lgd.commands.paper import jobs; jobs.end_with_input(); "
          f"jobs.set_threads({num_threads}); from l2lgd.commands import train; "
          "train.run()")
  for argv in argvs:
    process = subprocess.Popen(
        # Modules are those of this process, and not of the current folder.
        [sys.executable, "-P", "-c", code, *argv], stdin=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        env={key: value for key, value in os.environ.items()
             if key not in cluster.VARIABLES}  # They are no cluster.
        | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    stderr = process.stderr.read() if process.stderr else ""
    if status := process.wait():
      reason = stderr if status == 1 else f"its exit status is {status}"
      raise ValueError(f"l2l-train failed: {reason}")
  report(cost)


def end_with_input() -> None:
  """Makes this process end when its standard input does."""
  threading.Thread(
      target=_end_with, args=(sys.stdin.read,), daemon=True).start()


class _Progress:
  """Shows how much is done, and how long the rest will take."""

  def __init__(self, total: float):
    self._total = total
    self._done = 0.
    self._start_time = time.perf_counter()
    self._bar = tqdm.tqdm(total=100, disable=None, dynamic_ncols=True,
                          bar_format="{percentage:3.0f}%|{bar}| {desc}")
    self._lines = console.Lines(self._bar.disable)

  def add(self, cost: float) -> None:
    self._done += cost

  def show(self, names: Sequence[str]) -> None:
    """Shows the progress and what is being done."""
    text = ", ".join(map(os.path.basename, names))
    if self._done:
      elapsed = time.perf_counter() - self._start_time
      left = elapsed * max(0., self._total - self._done) / self._done
      text = f"{left / 60:.0f} minutes left, at {text}"
    self._bar.n = 100 * self._done / max(self._total, 1e-9)
    self._bar.set_description_str(text)
    self._lines.print(f"{self._bar.n:.0f} % done, {text}")

  def close(self) -> None:
    self._bar.close()
