"""Tables and CSV files of what optimizers reached."""

from collections.abc import Mapping
import csv
import io

import numpy as np
import tabulate

from l2lgd import files
from meta import evaluation, tuning

Losses = Mapping[str, np.ndarray]
"""The losses of runs by optimizer, each of shape [runs, T + 1]."""


def table(losses: Losses, learning_rates: Mapping[str, float | None]) -> str:
  """Returns a table of the final losses of every optimizer, the best one first.

  Optimizers with runs that diverged come last.

  Args:
    losses: The losses by optimizer.
    learning_rates: The learning rates of the optimizers that have one.
  """
  summaries = {name: evaluation.summarize(runs[:, -1])
               for name, runs in losses.items()}
  rows = [(name, learning_rates.get(name), s.mean, s.standard_error, s.median,
           s.lower_quartile, s.upper_quartile, s.num_diverged)
          for name, s in sorted(
              summaries.items(), key=lambda item: item[1].rank)]
  return tabulate.tabulate(
      [[None if isinstance(x, float) and not np.isfinite(x) else x
        for x in row] for row in rows],
      headers=("Optimizer", "Rate", "Mean", "Std. error", "Median", "25 %",
               "75 %", "Diverged"), floatfmt=".4g", missingval="-")


def tuning_table(title: str, found: tuning.Tuning) -> str:
  """Returns a table of the mean final loss at every learning rate tried."""
  return tabulate.tabulate(
      [(f"{rate:g}", f"{loss:.4g}" if np.isfinite(loss) else "diverged",
        "best" if rate == found.best else "")
       for rate, loss in zip(*found, strict=True)],
      headers=(f"{title}, rate", "Mean loss", ""),
      disable_numparse=True)


def write_csv(filename: str, losses: Losses) -> None:
  """Writes a CSV file with a row for each optimizer, run and step.

  Raises:
    OSError: The file cannot be written; an existing one is left as it was.
  """
  file = io.StringIO()
  rows = csv.writer(file, lineterminator="\n")
  rows.writerow(["optimizer", "run", "step", "loss"])
  for name, runs in losses.items():
    rows.writerows((name, run, step, loss)
                   for (run, step), loss in np.ndenumerate(runs))
  files.write_atomically(filename, file.getvalue().encode())
