"""Tests of the scripts, run as a user runs them: each in its own process."""

import csv
import functools
import multiprocessing
from multiprocessing import forkserver
import os
import pathlib
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import NamedTuple
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import evaluation, experiments, optimizer, seeds, training
import networks
from networks import weights
from tests import toys

ROOT = pathlib.Path(__file__).parents[1]
LEGACY = ROOT / "tests" / "data" / "legacy"
# The processes are copies of one that has imported TensorFlow already.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["cli", "meta.training", "matplotlib.pyplot"])

# 25 steps are two unrolls and a half; the last epoch is a validation, too.
FIXED = ("--num_steps=25", "--unroll_length=10", "--evaluation_period=20",
         "--evaluation_epochs=2")
TRAIN = ("train.py", "--num_epochs=60", "--log_period=20", *FIXED)
# The weights and the checkpoint of these networks are larger files.
LARGE = ("train.py", "--problem=quadratic", "--num_steps=2",
         "--unroll_length=2", "--log_period=1", "--evaluation_period=1",
         "--evaluation_epochs=1")
EVALUATE = ("evaluate.py", "--num_steps=5", "--num_epochs=3")
SGD = (*EVALUATE, "--optimizer=Sgd")

DEVICE = r"Running on (CPU, \d+ cores|GPU .*)\n"
STATS = (r"Log Mean Final Error: -?\d+\.\d\d\n"
         r"Mean epoch time: \d+\.\d\d s\n"
         r"Final error: mean \S+, median \S+, quartiles \S+ to \S+, "
         r"0 of %d diverged\n")


class Result(NamedTuple):
  """What came of a script."""
  code: int  # Negative: the signal that killed it.
  stdout: str
  stderr: str


class Process:
  """A script under way, with little room for lines that nobody has read."""

  def __init__(self, argv, before=None):
    self._errors = tempfile.NamedTemporaryFile("w+")
    reader, writer = PROCESSES.Pipe(duplex=False)
    if hasattr(resource, "F_SETPIPE_SZ"):
      pass
    self._process = PROCESSES.Process(
        target=_script, args=(argv, writer, self._errors.name, before))
    self._process.start()
    writer.close()
    self._lines = os.fdopen(os.dup(reader.fileno()))

  def wait_for(self, line):
    """Reads up to a line that begins so."""
    for read in self._lines:
      if read.startswith(line):
        return
    raise AssertionError(f"No line {line!r}: {self.result()}")

  def kill(self, signum):
    os.kill(self._process.pid, signum)

  def result(self):
    """Waits for the end."""
    stdout = self._lines.read()
    self._process.join()
    with self._lines, self._errors:
      return Result(self._process.exitcode, stdout, self._errors.read())
