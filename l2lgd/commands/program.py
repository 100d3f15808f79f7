"""How programs run: command line, errors and interrupts."""

from collections.abc import Callable, Iterator
import contextlib
import re
import signal
import sys
from typing import NoReturn

from absl import app, flags, logging
import tensorflow as tf

FLAGS = flags.FLAGS


def run(main: Callable[[], int | None]) -> None:
  """Runs a program; a flag that is not understood ends it with one line.

  Args:
    main: The program, in the module that defines its flags. Returns the exit
      status; None is 0.
  """
  def parse(argv: list[str]) -> list[str]:
    try:
      rest = FLAGS(argv)
    except flags.Error as error:
      fail(re.sub("(invalid literal for int.* base 10|could not convert string "
                  "to float):", "must be a number, not", str(error)))
    if not FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # absl's default is INFO.
    if rest[1:]:
      fail(f"{rest[1]!r} is not a flag: write --name=value.")
    return rest

  for flag in FLAGS.get_key_flags_for_module(main.__module__):
    FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # For --help.
  # TensorFlow loses some KeyboardInterrupts that arrive while it traces.
  signal.signal(signal.SIGINT, signal.SIG_DFL)
  app.run(lambda _: main(), flags_parser=parse)


def fail(error: Exception | str) -> NoReturn:
  """Ends the program with one line and exit status 1."""
  # TensorFlow adds the names of its nodes.
  text = re.sub(r"\{\{.*?\}\}|\[Op:\w+\]( name:)?", "", str(error))
  sys.exit(f"error: {' '.join(text.split())}")


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
  """Ends the program with one line on an error that the user can fix."""
  try:
    yield
  except (ValueError, OSError, flags.Error) as error:
    fail(error)
  except tf.errors.OpError as error:  # TensorFlow's own errors of files.
    fail(error.message)


@contextlib.contextmanager
def postponed_interrupts() -> Iterator[list[int]]:
  """Collects Ctrl-C and SIGTERM, so that an epoch can end; a second one kills.

  Yields:
    A list to which the number of each signal is added.
  """
  caught: list[int] = []

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
