"""What the programs print."""

import os
import sys
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

import meta
from meta import evaluation


def print_device() -> None:
  """Prints which device computes."""
  gpus = tf.config.list_physical_devices("GPU")
  if gpus:
    name = tf.config.experimental.get_device_details(gpus[0]).get(
        "device_name", "")
    print(f"Running on GPU {name}", flush=True)
  else:
    print(f"Running on CPU, {os.cpu_count()} cores", flush=True)


def progress(iterable: Any = None, **options: Any) -> tqdm.tqdm:
  """Returns a tqdm progress bar, which is silent unless on a terminal."""
  return tqdm.tqdm(iterable, disable=None, dynamic_ncols=True, **options)


def print_stats(header: str, final_losses: np.ndarray,
                mean_time: float) -> None:
  """Prints the two lines of DeepMind's program, and the distribution.

  Args:
    header: What was measured.
    final_losses: The final losses, shape [runs].
    mean_time: Seconds per epoch.
  """
  summary = evaluation.summarize(final_losses)
  tqdm.tqdm.write("\n".join([
      header,
      f"Log Mean Final Error: {summary.log_mean:.2f}",
      f"Mean epoch time: {mean_time:.2f} s",
      f"Final error: mean {summary.mean:.4g}, median {summary.median:.4g}, "
      f"quartiles {summary.lower_quartile:.4g} to "
      f"{summary.upper_quartile:.4g}, {summary.num_diverged} of "
      f"{summary.num_runs} diverged"]))
  sys.stdout.flush()


class Console(meta.Recorder):
  """Prints the progress of meta-training."""

  def __init__(self, num_epochs: int, log_period: int, save_path: str | None):
    """Prints nothing yet.

    Args:
      num_epochs: Number of epochs of the whole training.
      log_period: Number of epochs from one report to the next.
      save_path: Folder of the run; None if nothing is saved.
    """
    self._num_epochs = num_epochs
    self._log_period = log_period
    self._save_path = save_path
    self._epochs: list[meta.Epoch] = []  # Those since the last report.

  def begin(self, num_epochs: int) -> None:
    if self._save_path is None:
      print("Nothing is saved: give a --save_path to keep the network.",
            flush=True)
    elif num_epochs:
      print(f"Resuming {self._save_path} after epoch {num_epochs}.", flush=True)
    self._bar = progress(
        total=self._num_epochs, initial=num_epochs, unit="epoch")

  def epoch(self, epoch: meta.Epoch) -> None:
    self._bar.update()
    self._bar.set_postfix(loss=f"{epoch.final_loss:.4g}")
    self._epochs.append(epoch)
    if (epoch.number % self._log_period == 0
        or epoch.number == self._num_epochs):
      self._report()

  def validation(self, validation: meta.Validation) -> None:
    final_losses = validation.losses[:, -1]
    print_stats("EVALUATION", final_losses,
                validation.seconds / len(final_losses))

  def end(self, num_epochs: int) -> None:
    self._bar.close()
    if self._save_path is not None:
      is_over = num_epochs >= self._num_epochs
      print(f"Saved {self._save_path} after epoch {num_epochs}."
            f"{'' if is_over else ' Resume it with --resume.'}", flush=True)

  def _report(self) -> None:
    """Prints the statistics of the epochs since the last report."""
    epochs, self._epochs = self._epochs, []
    print_stats(f"Epoch {epochs[-1].number}",
                np.array([e.final_loss for e in epochs]),
                float(np.mean([e.seconds for e in epochs])))
    dropped = sum(e.num_dropped for e in epochs)
    if dropped:
      total = sum(len(e.gradient_norms) for e in epochs)
      tqdm.tqdm.write(f"{dropped} of {total} meta-gradients were not finite, "
                      "and were dropped.")
