"""Tests of errors and interrupts in programs."""

import contextlib
import signal

from absl import flags
from absl.testing import absltest, parameterized
import tensorflow as tf

from l2lgd.commands import program


class ProgramTest(parameterized.TestCase):

  def end(self, error):
    """What a program prints at its end, which an error causes."""
    with self.assertRaises(SystemExit) as end, program.user_errors():
      raise error
    return end.exception.code

  @parameterized.parameters(
      (ValueError("seed is 1.5, but must be\n  an integer."),
       "error: seed is 1.5, but must be an integer."),
      (FileNotFoundError(2, "No such file", "a.npz"),
       "error: [Errno 2] No such file: 'a.npz'"),
      (flags.IllegalFlagValueError("flag --x=y"), "error: flag --x=y"),
      (tf.errors.ResourceExhaustedError(None, None, "File too large; a/b"),
       "error: File too large; a/b"),
      (ValueError("{{function_node __wrapped__Add_device_}} Shapes differ "
                  "[Op:AddV2] name: "), "error: Shapes differ"))
  def test_error_of_the_user_is_one_line(self, error, line):
    self.assertEqual(self.end(error), line)

  @parameterized.parameters(TypeError, KeyError, RuntimeError)
  def test_error_of_the_program_is_raised(self, error):
    with self.assertRaises(error), program.user_errors():
      raise error("A bug.")

  def test_message_ends_a_program_with_exit_status_1(self):
    with self.assertRaises(SystemExit) as end:
      program.fail("No.")
    # Python prints a string to stderr, and exits with status 1.
    self.assertEqual(end.exception.code, "error: No.")

  @parameterized.parameters(signal.SIGINT, signal.SIGTERM)
  def test_interrupt_is_postponed(self, signum):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with program.postponed_interrupts() as caught:
      self.assertEqual(caught, [])
      signal.raise_signal(signum)
      self.assertEqual(caught, [signum])
      # A second one is not, and kills the process.
      self.assertEqual(signal.getsignal(signum), signal.SIG_DFL)
    self.assertEqual(
        [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)], before)

  def test_handlers_are_restored_after_an_error(self):
    before = signal.getsignal(signal.SIGINT)
    with contextlib.suppress(ValueError), program.postponed_interrupts():
      raise ValueError
    self.assertEqual(signal.getsignal(signal.SIGINT), before)


if __name__ == "__main__":
  absltest.main()
