"""Scripts, run as a user runs them: each in its own process."""

import fcntl
import multiprocessing
from multiprocessing import forkserver
import os
import pathlib
import runpy
import sys
import tempfile
from typing import NamedTuple
from unittest import mock

ROOT = pathlib.Path(__file__).parents[1]
# The processes are copies of one that has imported TensorFlow already.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["l2lgd.commands.console", "matplotlib.pyplot"])


def start():
  """Starts the process that is copied."""
  # Tests may be started from any folder, which is where it would look.
  with mock.patch.dict(os.environ, PYTHONPATH=str(ROOT)):
    forkserver.ensure_running()


class Result(NamedTuple):
  """What came of a script."""
  code: int  # Negative: the signal that killed it.
  stdout: str
  stderr: str


class Process:
  """A script under way."""

  def __init__(self, argv, before=None):
    reader, writer = PROCESSES.Pipe(duplex=False)
    # It waits after a page that is not read, and so is never far ahead.
    fcntl.fcntl(writer.fileno(), fcntl.F_SETPIPE_SZ, 4096)
    self._errors = tempfile.NamedTemporaryFile("r")
    self._process = PROCESSES.Process(
        target=_script, args=(argv, writer, self._errors.name, before))
    self._process.start()
    writer.close()
    self._lines = os.fdopen(os.dup(reader.fileno()), "rb", buffering=0)

  def wait_for(self, line):
    """Reads the lines up to this one."""
    for read in self._lines:
      if read.decode() == f"{line}\n":
        return
    raise AssertionError(f"No line {line!r}: {self.result()}")

  def kill(self, signum):
    """Sends a signal."""
    os.kill(self._process.pid, signum)

  def kill_child(self, index, signum):
    """Sends a signal to one of the processes that it has started."""
    pid = self._process.pid
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    os.kill(int(children.split()[index]), signum)

  def result(self):
    """Waits for the end."""
    with self._lines, self._errors:
      stdout = self._lines.read().decode()
      self._process.join()
      return Result(self._process.exitcode, stdout, self._errors.read())


def _script(argv, stdout, stderr, before):
  """Runs in the process."""
  sys.path.insert(0, str(ROOT))
  for fd, file in ((1, stdout.fileno()), (2, os.open(stderr, os.O_WRONLY))):
    os.dup2(file, fd)
  sys.stdout, sys.stderr = (open(fd, "w", closefd=False) for fd in (1, 2))
  sys.argv = list(argv)
  if before:
    before()
  runpy.run_path(str(ROOT / argv[0]), run_name="__main__")


def run(*argv, before=None):
  """Runs a script to its end."""
  return Process(argv, before).result()
