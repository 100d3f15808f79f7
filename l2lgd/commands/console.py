"""What the programs print."""

from collections.abc import Callable, Iterable, Iterator, Sequence
import sys
import time
from typing import Any

import numpy as np
import tqdm

from l2lgd import devices
import meta
from meta import evaluation

_SECONDS_PER_LINE = 60.  # Where there is no progress bar.


def print_device() -> None:
  """Prints which device computes."""
  gpu = next(devices.gpu_names(), None)
  if gpu is None:
    print(f"Running on CPU, {devices.num_cores()} cores", flush=True)
  else:
    print(f"Running on GPU {gpu}", flush=True)


def progress(iterable: Iterable[Any], title: str) -> Iterator[Any]:
  """Yields from an iterable, and shows how far it is.

  On a terminal that is a progress bar, elsewhere a line a minute.

  Args:
    iterable: What has a length.
    title: What is done.
  """
  bar = tqdm.tqdm(iterable, desc=title, disable=None, dynamic_ncols=True,
                  leave=False)
  lines = Lines(bar.disable)
  for i, item in enumerate(bar):
    lines.print(f"{title}: {i} of {bar.total}")
    yield item


class Lines:
  """Prints a line a minute at most, in place of a progress bar."""

  def __init__(self, enabled: bool):
    """Starts the first minute.

    Args:
      enabled: Whether there is no bar.
    """
    self._enabled = enabled
    self._last_time = time.perf_counter()

  def print(self, line: str) -> None:
    """Prints a line if the last one is a minute old."""
    now = time.perf_counter()
    if self._enabled and now - self._last_time >= _SECONDS_PER_LINE:
      self._last_time = now
      print(line, flush=True)


class Timer:
  """Shows and measures the progress of runs, that of `Evaluator`.

  Attributes:
    seconds: Time that all runs took. Of several chunks of runs the first, which
      may have to be compiled, counts as the mean of the others.
    num_chunks: Number of chunks of runs.
  """

  def __init__(self, title: str):
    """Measures nothing yet.

    Args:
      title: What is evaluated.
    """
    self._title = title
    self.seconds = 0.
    self.num_chunks = 0

  def __call__(self, chunks: Sequence[Any]) -> Iterator[Any]:
    """Yields the chunks."""
    times = []
    for chunk in progress(chunks, self._title):
      start_time = time.perf_counter()
      yield chunk
      times.append(time.perf_counter() - start_time)
    self.num_chunks = len(times)
    self.seconds = float(np.mean(times[1:] or times)) * self.num_chunks


def print_stats(header: str, final_losses: np.ndarray,
                mean_time: float, with_compilation: bool = False) -> None:
  """Prints the two lines of DeepMind's program, and the distribution.

  Args:
    header: What was measured.
    final_losses: The final losses, shape [runs].
    mean_time: Seconds per epoch.
    with_compilation: Whether compilation is a part of this time.
  """
  _print(header,
         f"Log Mean Final Error: "
         f"{evaluation.summarize(final_losses).log_mean:.2f}",
         _time(mean_time, with_compilation),
         f"Final error: {_distribution(final_losses)}")


def _print(*lines: str) -> None:
  tqdm.tqdm.write("\n".join(lines))
  sys.stdout.flush()


def _time(mean_time: float, with_compilation: bool) -> str:
  """Returns the line of the time of an epoch."""
  note = ", with compilation" if with_compilation else ""
  return f"Mean epoch time: {mean_time:.2f} s{note}"


def _distribution(final_losses: np.ndarray) -> str:
  """Returns the mean, the quartiles and the number that diverged, in words."""
  s = evaluation.summarize(final_losses)
  return (f"mean {s.mean:.4g}, median {s.median:.4g}, quartiles "
          f"{s.lower_quartile:.4g} to {s.upper_quartile:.4g}, "
          f"{s.num_diverged} of {s.num_runs} diverged")


class Console(meta.Recorder):
  """Prints the progress of meta-training."""

  def __init__(self, num_epochs: int, log_period: int, save_path: str | None,
               describe: Callable[[], str],
               was_interrupted: Callable[[], bool]):
    """Prints nothing yet.

    Args:
      num_epochs: Number of epochs of the whole training.
      log_period: Number of epochs from one report to the next.
      save_path: Folder of the run; None if nothing is saved.
      describe: Returns what is trained, the first line.
      was_interrupted: Returns whether the user has stopped the training.
    """
    self._num_epochs = num_epochs
    self._log_period = log_period
    self._save_path = save_path
    self._describe = describe
    self._was_interrupted = was_interrupted
    self._epochs: list[meta.Epoch] = []  # Epochs since the last report.
    # Whether the next ones are the first, and have to be compiled.
    self._is_first_epoch = True
    self._is_first_run = True  # The same for validations.

  def begin(self, num_epochs: int) -> None:
    print(self._describe(), flush=True)
    if self._save_path is None:
      print("Nothing is saved: give a --save_path to keep the network.",
            flush=True)
    elif num_epochs:
      print(f"Resuming {self._save_path} after epoch {num_epochs}.", flush=True)
    self._bar = tqdm.tqdm(
        total=self._num_epochs, initial=num_epochs, unit="epoch", disable=None,
        dynamic_ncols=True)
    self._lines = Lines(self._bar.disable)

  def epoch(self, epoch: meta.Epoch) -> None:
    self._bar.update()
    self._bar.set_postfix(loss=f"{epoch.final_loss:.4g}")
    self._lines.print(f"Epoch {epoch.number} of {self._num_epochs}: "
                      f"loss {epoch.final_loss:.4g}")
    self._epochs.append(epoch)
    if (epoch.number % self._log_period == 0
        or epoch.number == self._num_epochs):
      self._report()

  def validation(self, validation: meta.Validation) -> None:
    final_losses = validation.losses[:, -1]
    if validation.problem is not None:
      _print(f"EVALUATION, {validation.problem}: {_distribution(final_losses)}")
      return
    print_stats("EVALUATION", final_losses,
                validation.seconds, self._is_first_run)
    self._is_first_run = False

  def end(self, num_epochs: int) -> None:
    self._bar.close()
    if self._save_path is not None:
      print(f"Saved {self._save_path} after epoch {num_epochs}."
            f"{self._reason(num_epochs)}", flush=True)

  def _reason(self, num_epochs: int) -> str:
    """Returns why a training has ended before its last epoch."""
    if num_epochs >= self._num_epochs:
      return ""
    if self._was_interrupted():
      return (" Resume it with --resume. Until then, its networks are those "
              "of an earlier validation.")
    return " It was stopped early, as the validations no longer improved."

  def _report(self) -> None:
    """Prints the statistics of the epochs since the last report."""
    epochs, self._epochs = self._epochs, []
    seconds = [e.seconds for e in epochs]
    with_compilation = self._is_first_epoch and len(epochs) == 1
    if self._is_first_epoch and len(epochs) > 1:
      del seconds[0]  # Most of it is compilation.
    self._is_first_epoch = False
    losses: dict[str | None, list[float]] = {}  # By problem.
    for e in epochs:
      if not e.is_imitation:
        losses.setdefault(e.problem, []).append(e.final_loss)
    header, mean_time = f"Epoch {epochs[-1].number}", float(np.mean(seconds))
    if None in losses:
      print_stats(header, np.array(losses[None]), mean_time, with_compilation)
    elif losses:
      _print(header, _time(mean_time, with_compilation), *(
          f"{problem}: {_distribution(np.array(of_one))}"
          for problem, of_one in sorted(losses.items())))
    else:
      _print(header, _time(mean_time, with_compilation), "imitation alone")
    dropped = sum(e.num_dropped for e in epochs)
    if dropped:
      total = sum(len(e.gradient_norms) for e in epochs)
      tqdm.tqdm.write(f"{dropped} of {total} meta-gradients were not finite, "
                      "and were dropped.")
