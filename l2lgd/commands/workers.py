"""Processes on this machine that share out the work of a command."""

from collections.abc import Callable, Iterator
import contextlib
import ctypes
import functools
import json
import multiprocessing
from multiprocessing import connection
import os
import platform
import signal
import socket
import sys
import tempfile
from typing import IO, Any

from absl import flags
import tensorflow as tf

from l2lgd import checks
from l2lgd.commands import cluster, program

FLAGS = flags.FLAGS
flags.DEFINE_integer("num_workers", 1, "Processes on this machine that share "
                     "out the tasks, whose number they must divide, or the "
                     "runs.")

_PR_SET_PDEATHSIG = 1  # From sys/prctl.h.
# Until processes are killed that do not end by themselves after another failed.
_SECONDS_TO_END = 5
_INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


def run(main: Callable[[], int | None]) -> None:
  """Runs a command, in as many processes as `--num_workers` says."""
  @functools.wraps(main)
  def start() -> int | None:
    with program.user_errors():
      checks.positive_integer("--num_workers", FLAGS.num_workers)
      if FLAGS.num_workers > 1 and cluster.is_described():
        raise ValueError(
            f"--num_workers is {FLAGS.num_workers}, but must be 1 where "
            "TF_CONFIG or SLURM describes the processes.")
      if FLAGS.num_workers > 1:
        return _Workers(main, FLAGS.num_workers).result()
    return main()

  program.run(start)


class _Workers:
  """Copies of this process, the first of which prints.

  Each has its share of the cores, as TensorFlow fills few cores with small
  tensors. They do not use GPUs.
  """

  def __init__(self, main: Callable[[], int | None], num: int):
    """Starts them.

    Args:
      main: What each of them does.
      num: Their number.
    """
    # TensorFlow has been imported, but has computed nothing yet, so that the
    # process can be copied.
    context = multiprocessing.get_context("fork")
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(num)]
    # What processes other than the first write to stderr.
    self._errors = [tempfile.TemporaryFile("w+") for _ in range(num)]
    self._processes = [
        context.Process(target=_work, args=(main, addresses, i, errors),
                        daemon=True)  # If one cannot be started, all end.
        for i, errors in enumerate(self._errors)]
    for process in self._processes:
      process.start()

  def result(self) -> int:
    """Waits for the end, and returns the exit status.

    If one process fails, all end, and a line says why.
    """
    running: dict[Any, int] = {
        p.sentinel: i for i, p in enumerate(self._processes)}
    failed: list[int] = []  # In the order of their ends.
    hung: list[int] = []
    with self._signals_passed_on() as caught:
      while running:
        ended = connection.wait(
            list(running), _SECONDS_TO_END if failed else None)
        for sentinel in ended:
          i = running.pop(sentinel)
          self._processes[i].join()
          if self._processes[i].exitcode not in (0, *_INTERRUPTED):
            failed.append(i)
        if failed and not ended:
          hung = list(running.values())
          for i in hung:
            self._processes[i].kill()
    if failed and not caught:
      self._fail(failed, hung)
    return 128 + caught[0] if caught else (
        max(p.exitcode or 0 for p in self._processes))

  @contextlib.contextmanager
  def _signals_passed_on(self) -> Iterator[list[int]]:
    """Passes Ctrl-C and SIGTERM on; yields a list to which they are added."""
    caught: list[int] = []

    def pass_on(signum, frame):
      del frame
      caught.append(signum)
      for process in self._processes:
        with contextlib.suppress(ProcessLookupError):
          os.kill(process.pid, signum)

    for signum in (signal.SIGINT, signal.SIGTERM):
      signal.signal(signum, pass_on)
    yield caught

  def _fail(self, failed: list[int], hung: list[int]) -> None:
    """Ends the program with a line about the first cause, if none is there."""
    codes = {i: self._processes[i].exitcode or 0 for i in failed}
    causes = [i for i in failed if codes[i] != cluster.LOST_OTHERS] or failed
    if 0 in causes and codes[0] == 1:
      sys.exit(1)  # It has printed one.
    cause = causes[0]
    self._errors[cause].seek(0)
    text = self._errors[cause].read()
    if codes[cause] != 1 or not text:
      end = ("no longer answered" if cause in hung else
             f"has ended with status {codes[cause]}")
      text = (f"error: Process {cause} of {len(self._processes)} {end}: "
              f"{cluster.REMEDY}\n")
    sys.stderr.write(text)
    sys.exit(1)


def _work(main: Callable[[], int | None], addresses: list[str], index: int,
          errors: IO[Any]) -> None:
  """Does the work of one of the processes."""
  os.setpgid(0, 0)  # Ctrl-C is for the parent, which passes it on.
  if platform.libc_ver()[0] == "glibc":  # It ends with the parent.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[index::len(addresses)] or cores)
  if index:
    os.dup2(errors.fileno(), 2)
  for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, signal.SIG_DFL)
  os.environ |= {cluster.HAS_PARENT: "1", "TF_CONFIG": json.dumps({
      "cluster": {"worker": addresses},
      "task": {"type": "worker", "index": index}})}
  tf.config.set_visible_devices([], "GPU")
  sys.exit(main())


def _free_ports(num: int) -> list[int]:
  """Returns ports of the loopback address that no program uses."""
  with contextlib.ExitStack() as stack:
    sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0)))
               for _ in range(num)]
    return [s.getsockname()[1] for s in sockets]
