"""Tests of what the programs print."""

import contextlib
import io
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from l2lgd import devices
from l2lgd.commands import console
import meta
from meta import diagnostics


def make_epoch(number, final_loss=1., seconds=1., gradient_norms=(1., 1.)):
  return meta.Epoch(
      number=number, final_loss=final_loss, meta_loss=0.,
      gradient_norms=list(gradient_norms), seconds=seconds, num_steps=1)


def make_validation(final_losses, seconds):
  losses = np.stack([np.ones(len(final_losses)), final_losses], axis=1)
  return meta.Validation(
      1, losses, diagnostics.Trace(*[[0.]] * 4, {}), True, seconds)


class ConsoleTest(parameterized.TestCase):

  def printed(self, function, *args):
    """What a function prints; a progress bar stays silent."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
      function(*args)
    self.assertEqual(stderr.getvalue(), "")
    return stdout.getvalue()

  def test_device_without_a_gpu_is_the_cpu(self):
    with (mock.patch.object(
        tf.config, "get_visible_devices", return_value=[]),
          mock.patch.object(devices, "num_cores", return_value=3)):
      self.assertEqual(self.printed(console.print_device),
                       "Running on CPU, 3 cores\n")

  @parameterized.parameters(
      ({"device_name": "NVIDIA H100"}, "NVIDIA H100"), ({}, ""))
  def test_device_is_the_first_gpu(self, details, name):
    with mock.patch.object(
        tf.config, "get_visible_devices",
        return_value=["one", "two"]) as visible, mock.patch.object(
            tf.config.experimental, "get_device_details",
            return_value=details) as get_details:
      self.assertEqual(self.printed(console.print_device),
                       f"Running on GPU {name}\n")
    visible.assert_called_once_with("GPU")
    get_details.assert_called_once_with("one")

  def test_statistics_are_those_of_the_runs_that_did_not_diverge(self):
    self.assertEqual(
        self.printed(console.print_stats, "Adam",
                     np.array([0., 1., np.inf, 3., 5., 491., np.nan]), 0.126),
        "Adam\n"
        "Log Mean Final Error: 2.00\n"
        "Mean epoch time: 0.13 s\n"
        "Final error: mean 100, median 3, quartiles 1 to 5, 2 of 7 diverged\n")

  def test_negative_losses_have_no_logarithm(self):
    self.assertIn(
        "Log Mean Final Error: nan\n",
        self.printed(console.print_stats, "Sgd", np.array([-1.]), 0.))

  def test_statistics_of_diverged_runs_are_infinite(self):
    self.assertEqual(
        self.printed(console.print_stats, "Sgd", np.array([np.nan]), 0.),
        "Sgd\n"
        "Log Mean Final Error: inf\n"
        "Mean epoch time: 0.00 s\n"
        "Final error: mean inf, median inf, quartiles inf to inf, "
        "1 of 1 diverged\n")

  def record(self, *, num_epochs=5, log_period=2, path="runs/a", start=0,
             epochs=(), validations=None, was_interrupted=False):
    """The lines of a training."""
    def train():
      recorder = console.Console(num_epochs, log_period, path, lambda: "Net.",
                                 lambda: was_interrupted)
      recorder.begin(start)
      for epoch in epochs:
        recorder.epoch(epoch)
        for validation in (validations or {}).get(epoch.number, ()):
          recorder.validation(validation)
      recorder.end(epochs[-1].number if epochs else start)
    first, *lines = self.printed(train).splitlines()
    self.assertEqual(first, "Net.")
    return lines

  def test_epochs_are_reported_every_log_period_and_at_the_end(self):
    epochs = [make_epoch(i, final_loss=10.**i, seconds=i)
              for i in (1, 2, 3, 4, 5)]
    lines = self.record(epochs=epochs)
    # Since the last report each: the means, and their number. The time of the
    # first epoch is that of its compilation.
    self.assertEqual(lines, [
        "Epoch 2", "Log Mean Final Error: 1.74", "Mean epoch time: 2.00 s",
        "Final error: mean 55, median 55, quartiles 32.5 to 77.5, "
        "0 of 2 diverged",
        "Epoch 4", "Log Mean Final Error: 3.74", "Mean epoch time: 3.50 s",
        "Final error: mean 5500, median 5500, quartiles 3250 to 7750, "
        "0 of 2 diverged",
        "Epoch 5", "Log Mean Final Error: 5.00", "Mean epoch time: 5.00 s",
        "Final error: mean 1e+05, median 1e+05, quartiles 1e+05 to 1e+05, "
        "0 of 1 diverged",
        "Saved runs/a after epoch 5."])

  def test_compilation_is_named_where_it_cannot_be_left_out(self):
    validation = make_validation([1.], seconds=3.)
    lines = self.record(
        num_epochs=3, log_period=1, start=1,
        epochs=[make_epoch(2, seconds=7.), make_epoch(3, seconds=2.)],
        validations={2: [validation], 3: [validation]})
    self.assertEqual([line for line in lines if "time" in line], [
        "Mean epoch time: 7.00 s, with compilation",
        "Mean epoch time: 3.00 s, with compilation",
        "Mean epoch time: 2.00 s", "Mean epoch time: 3.00 s"])

  def test_line_a_minute_stands_for_the_progress_bar(self):
    times = iter([0., 59., 61., 120., 121., 300.])
    epochs = [make_epoch(i, final_loss=i / 8) for i in range(1, 6)]
    with mock.patch.object(
        console.time, "perf_counter", side_effect=lambda: next(times)):
      lines = self.record(num_epochs=9, log_period=9, epochs=epochs)
    self.assertEqual(lines[:-1], [
        "Epoch 2 of 9: loss 0.25", "Epoch 4 of 9: loss 0.5",
        "Epoch 5 of 9: loss 0.625"])

  def test_validation_is_reported_with_the_time_of_a_run(self):
    lines = self.record(
        num_epochs=1, epochs=[make_epoch(1)],
        validations={1: [make_validation([1., 100., 199.], seconds=2.)]})
    self.assertEqual(lines[4:], [
        "EVALUATION", "Log Mean Final Error: 2.00",
        "Mean epoch time: 2.00 s, with compilation",
        "Final error: mean 100, median 100, quartiles 50.5 to 149.5, "
        "0 of 3 diverged",
        "Saved runs/a after epoch 1."])

  def test_dropped_meta_gradients_are_counted_since_the_last_report(self):
    lines = self.record(epochs=[
        make_epoch(1, np.nan, gradient_norms=(1., np.nan, np.inf)),
        make_epoch(2, gradient_norms=(1., 1., np.nan)),
        make_epoch(3, gradient_norms=(1., 1., 1.)),
        make_epoch(4, gradient_norms=(1., 1., 1.)),
        make_epoch(5, gradient_norms=(np.nan, 1., 1.))])
    dropped = [line for line in lines if "dropped" in line]
    self.assertEqual(dropped, [
        "3 of 6 meta-gradients were not finite, and were dropped.",
        "1 of 3 meta-gradients were not finite, and were dropped."])
    self.assertIn("1 of 2 diverged", lines[3])

  def test_resumption_is_announced(self):
    self.assertEqual(
        self.record(start=5),
        ["Resuming runs/a after epoch 5.", "Saved runs/a after epoch 5."])

  def test_run_that_was_interrupted_can_be_resumed(self):
    self.assertEqual(
        self.record(log_period=9, epochs=[make_epoch(1), make_epoch(2)],
                    was_interrupted=True),
        ["Saved runs/a after epoch 2. Resume it with --resume. Until then, its "
         "networks are those of an earlier validation."])

  def test_run_that_is_over_was_not_interrupted(self):
    lines = self.record(num_epochs=1, epochs=[make_epoch(1)],
                        was_interrupted=True)
    self.assertEqual(lines[-1], "Saved runs/a after epoch 1.")

  def test_run_that_ended_by_itself_was_stopped_early(self):
    self.assertEqual(
        self.record(log_period=9, epochs=[make_epoch(1), make_epoch(2)]),
        ["Saved runs/a after epoch 2. It was stopped early, as the validations "
         "no longer improved."])

  def test_losses_of_imitation_are_left_out(self):
    epochs = [make_epoch(1, 2.), make_epoch(2, 5.)._replace(is_imitation=True),
              make_epoch(3, 4.), make_epoch(4)._replace(is_imitation=True)]
    lines = self.record(num_epochs=4, log_period=3, epochs=epochs)
    self.assertIn("mean 3, median 3", lines[3])
    self.assertEqual(
        lines[4:7], ["Epoch 4", "Mean epoch time: 1.00 s", "imitation alone"])

  def test_several_problems_are_reported_by_name(self):
    epochs = [make_epoch(1, 2.)._replace(problem="a"),
              make_epoch(2, 5.)._replace(problem="b"),
              make_epoch(3, 4.)._replace(problem="a")]
    validations = [make_validation([8.], 1.)._replace(problem=name)
                   for name in ("a", "b")]
    lines = self.record(num_epochs=3, log_period=3, epochs=epochs,
                        validations={3: validations, 2: validations})
    evaluations = [
        f"EVALUATION, {name}: mean 8, median 8, quartiles 8 to 8, 0 of 1 "
        "diverged" for name in ("a", "b")]
    self.assertEqual(lines, [
        *evaluations, "Epoch 3", "Mean epoch time: 1.00 s",
        "a: mean 3, median 3, quartiles 2.5 to 3.5, 0 of 2 diverged",
        "b: mean 5, median 5, quartiles 5 to 5, 0 of 1 diverged",
        *evaluations, "Saved runs/a after epoch 3."])

  def test_training_that_is_not_saved_says_so_at_once(self):
    self.assertEqual(
        self.record(path=None, log_period=9, epochs=[make_epoch(1)]),
        ["Nothing is saved: give a --save_path to keep the network."])

  def test_progress_is_a_bar_on_a_terminal_only(self):
    tqdm = console.tqdm.tqdm
    with mock.patch.object(console.tqdm, "tqdm", wraps=tqdm) as bar:
      self.assertEqual(self.printed(list, console.progress([1, 2], "Runs")), "")
    self.assertIsNone(bar.call_args.kwargs["disable"])
    self.assertEqual(list(console.progress([1, 2, 3], "Runs")), [1, 2, 3])

  def test_progress_is_a_line_a_minute_elsewhere(self):
    times = iter([0., 1., 60., 100., 130.])
    with mock.patch.object(
        console.time, "perf_counter", side_effect=lambda: next(times)):
      self.assertEqual(
          self.printed(list, console.progress("abcd", "Runs")),
          "Runs: 1 of 4\nRuns: 3 of 4\n")

  @parameterized.parameters(
      ([9.], 9.), ([9., 1.], 2.), ([9., 1., 3.], 6.))
  def test_first_of_several_chunks_takes_as_long_as_the_others(
      self, seconds, total):
    clock = [0.]
    timer = console.Timer("Runs")
    with mock.patch.object(
        console.time, "perf_counter", side_effect=lambda: clock[0]):
      for passed in timer(seconds):
        clock[0] += passed
    self.assertEqual((timer.seconds, timer.num_chunks), (total, len(seconds)))

  def test_statistics_may_be_of_times_with_compilation(self):
    self.assertIn(
        "\nMean epoch time: 2.00 s, with compilation\n",
        self.printed(console.print_stats, "Sgd", np.array([1.]), 2., True))


if __name__ == "__main__":
  absltest.main()
