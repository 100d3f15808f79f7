"""Programs, run in the process of the tests."""

import contextlib
import importlib
import io
import os
import signal
import sys
from typing import NamedTuple
from unittest import mock
import warnings

from absl import app, flags, logging
from absl.testing import flagsaver, parameterized
import tensorflow as tf

import meta
from meta import compilation
from tests import eager

FLAGS = flags.FLAGS
DEVICE = r"Running on (CPU, \d+ cores|GPU .*)\n"
TRAINING = rf"{DEVICE}Training [^\n]+\n"
RESUME = (r"Resume it with --resume\. Until then, its networks are those of an "
          r"earlier validation\.")
STATS = (r"Log Mean Final Error: (-?\d+\.\d\d)\n"
         r"Mean epoch time: \d+\.\d\d s(?:, with compilation)?\n"
         r"Final error: mean (\S+), median \S+, quartiles \S+ to \S+, "
         r"0 of (\d+) diverged\n")

# Flags of an evaluation that does not take long.
EVALUATE = ("--num_steps=5", "--num_epochs=3", "--jit_compile=false")
PNG = b"\x89PNG\r\n\x1a\n"  # How such a file begins.

_flags: dict[str, flags.FlagValues] = {}  # Flags of each program, by its name.


class Result(NamedTuple):
  """What a program returned and printed."""
  code: int
  stdout: str
  stderr: str


def load(name):
  """Returns the module of a program, whose flags are not registered.

  Programs have flags of the same names, so only one at a time can have its
  flags in the common registry. All tests must import programs by this function.

  Args:
    name: Name of a program of `l2lgd.commands`, or of any other module.
  """
  module = importlib.import_module(
      name if "." in name else f"l2lgd.commands.{name}")
  if name not in _flags:
    own = flags.FlagValues()
    for flag in FLAGS.flags_by_module_dict()[module.__name__]:
      own[flag.name] = flag
    FLAGS.remove_flag_values(own)
    _flags[name] = own
  return module


def run(name, *argv):
  """Runs a program to its end, as `app.run` would; returns the result."""
  stdout, stderr = io.StringIO(), io.StringIO()
  with contextlib.ExitStack() as stack:
    for context in (
        given_flags(name), _process_state(),
        mock.patch.object(sys, "argv", [f"{name}.py", *argv]),
        contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr),
        _shown_warnings()):
      stack.enter_context(context)
    try:
      load(name).run()
    except SystemExit as end:
      code = end.code or 0
    if isinstance(code, str):  # Python prints it, and exits with 1.
      print(code, file=stderr)
      code = 1
  return Result(code, stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def given_flags(name, *argv):
  """Registers the flags of a program, and parses those given, if there are any.

  Afterwards no flag is registered, and those of all programs have defaults.
  """
  load(name)
  was_parsed = FLAGS.is_parsed()
  FLAGS.append_flag_values(_flags[name])
  try:
    with flagsaver.flagsaver():
      if argv:
        FLAGS([f"{name}.py", *argv])
      yield
  finally:
    FLAGS.remove_flag_values(_flags[name])
    if not was_parsed:
      FLAGS.unparse_flags()


@contextlib.contextmanager
def _process_state():
  """Restores what a program changes in its process."""
  handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
  verbosity = logging.get_verbosity()

  def app_run(main, flags_parser):  # app.run starts once in a process.
    sys.exit(main(flags_parser(sys.argv)))

  try:
    with mock.patch.object(sys, "path", [*sys.path]), mock.patch.object(
        app, "run", app_run):
      yield
  finally:
    logging.set_verbosity(verbosity)
    for signum, handler in handlers.items():
      signal.signal(signum, handler)


@contextlib.contextmanager
def _shown_warnings():
  """Prints the warnings that a process would print."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for category in (DeprecationWarning, PendingDeprecationWarning,
                     ImportWarning, ResourceWarning):
      warnings.simplefilter("ignore", category)
    yield
  for warning in caught:
    sys.stderr.write(warnings.formatwarning(
        warning.message, warning.category, warning.filename, warning.lineno))


def save_network(folder, seed=0, layers=()):
  """Saves an untrained network, whose updates are not 0; returns it."""
  optimizer = meta.MetaOptimizer(cw={
      "net": "CoordinateWiseDeepLSTM",
      "net_options": {"layers": layers, "scale": 0.1, "seed": seed}})
  optimizer.networks["cw"].initial_state({"x": tf.zeros([2])})
  os.makedirs(folder)
  optimizer.save(folder)
  return optimizer.networks["cw"]


class TestCase(parameterized.TestCase):
  """Tests of programs."""

  def assert_done(self, result):
    """Asserts that a program ended well, without a warning."""
    self.assertEqual((result.code, result.stderr), (0, ""))

  def assert_error(self, result, pattern):
    """Asserts that a program ended with one line about the mistake."""
    self.assertRegex(result.stderr, r"\Aerror: [^\n]+\n\Z")
    self.assertRegex(result.stderr, pattern)
    self.assertEqual(result.code, 1)


class EagerTestCase(TestCase):
  """Tests of programs with runs so short that it takes longer to trace them."""

  def setUp(self):
    super().setUp()
    eager.run_eagerly(self)
    # Side by side, runs would be traced all the same.
    self.enter_context(mock.patch.object(
        compilation, "can_vectorize", return_value=False))
