"""Tables, files and pictures of what optimizers came to."""

from collections.abc import Mapping, Sequence
import csv
import io
import os

import matplotlib.pyplot as plt
import numpy as np
import tabulate
import tensorflow as tf

from l2lgd import files
from meta import diagnostics, evaluation, tuning
import problems

Losses = Mapping[str, np.ndarray]  # By optimizer, shape [runs, T + 1].


def print_table(losses: Losses,
                learning_rates: Mapping[str, float | None]) -> None:
  """Prints the final losses of every optimizer, the best one first."""
  rows = [(name, learning_rates[name], s.mean, s.standard_error, s.median,
           s.lower_quartile, s.upper_quartile, s.num_diverged)
          for name, s in ((name, evaluation.summarize(of_runs[:, -1]))
                          for name, of_runs in losses.items())]
  rows.sort(key=lambda row: (row[-1], row[2]))  # Runs diverged, mean.
  print(tabulate.tabulate(
      [[("-" if isinstance(x, float) and not np.isfinite(x) else x)
        for x in row] for row in rows],
      headers=("Optimizer", "Rate", "Mean", "Std. error", "Median", "25 %",
               "75 %", "Diverged"), floatfmt=".4g", missingval="-"))


def print_tuning(title: str, found: tuning.Tuning) -> None:
  """Prints the mean final loss at every learning rate that was tried."""
  print(tabulate.tabulate(
      [(f"{rate:g}", f"{loss:.4g}" if np.isfinite(loss) else "diverged",
        "best" if rate == found.best else "")
       for rate, loss in zip(*found, strict=True)],
      headers=(f"{title}, rate", "Mean on validation", ""),
      disable_numparse=True), flush=True)


def write_csv(filename: str, losses: Losses) -> None:
  """Writes one row a run and step."""
  file = io.StringIO()
  rows = csv.writer(file, lineterminator="\n")
  rows.writerow(["optimizer", "run", "step", "loss"])
  for name, of_runs in losses.items():
    rows.writerows((name, run, step, loss)
                   for (run, step), loss in np.ndenumerate(of_runs))
  files.write_atomically(filename, file.getvalue().encode())


def write_tensorboard(folder: str, losses: Losses) -> None:
  """Writes the mean loss at each step, a run of TensorBoard an optimizer."""
  for name, of_runs in losses.items():
    writer = tf.summary.create_file_writer(os.path.join(folder, name))
    with writer.as_default():
      for step, loss in enumerate(np.mean(of_runs, axis=0, dtype=np.float64)):
        tf.summary.scalar("evaluation/loss", loss, step)
    writer.close()


def write_updates(folder: str, traces: Mapping[str, diagnostics.Trace],
                  picture: str) -> None:
  """Writes the traces, a run of TensorBoard an optimizer, and the picture."""
  for name, trace in traces.items():
    writer = tf.summary.create_file_writer(os.path.join(folder, name))
    with writer.as_default():
      for tag, curve in trace.by_name().items():
        for step, value in enumerate(curve):
          tf.summary.scalar(f"updates/{tag}", value, step)
    writer.close()
  writer = tf.summary.create_file_writer(folder)
  with writer.as_default():
    tf.summary.image(
        "updates", tf.io.decode_png(tf.io.read_file(picture))[tf.newaxis], 0)
  writer.close()


def plot(filename: str, losses: Losses, title: str) -> None:
  """Draws the mean loss at each step, with a band of the quartiles."""
  figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
  for i, (name, of_runs) in enumerate(losses.items()):
    # Sums of the largest losses are no float32.
    finite = of_runs[np.isfinite(of_runs).all(axis=1)].astype(np.float64)
    if not len(finite):
      axes.plot([], [], label=f"{name} (all diverged)")
      continue
    steps = np.arange(of_runs.shape[1])
    line, = axes.plot(steps, np.mean(finite, axis=0), label=name,
                      zorder=3 - i / len(losses))  # The first is on top.
    axes.fill_between(steps, *np.percentile(finite, (25, 75), axis=0),
                      color=line.get_color(), alpha=.2, linewidth=0)
  axes.set(xlabel="Step", ylabel="Loss", yscale="log", title=title)
  axes.yaxis.set_major_formatter("{x:g}")
  low, high = axes.get_ylim()
  if high < 20 * low:  # A power of ten alone would be little to go by.
    axes.yaxis.set_minor_formatter("{x:g}")
  figure.legend(loc="outside right upper")
  axes.grid(alpha=.3)
  _save(figure, filename)


def plot_updates(filename: str, responses: Sequence[diagnostics.Response],
                 traces: Mapping[str, diagnostics.Trace], title: str) -> None:
  """Draws what optimizers make of a gradient, and how they went in a run.

  Args:
    filename: PNG file to write.
    responses: Of the same coordinates in each step; steps one after another.
    traces: By optimizer. Those in the responses alone are dashed.
    title: Of the problem.
  """
  names = list(responses[0].updates)
  styles = {name: {"color": f"C{i % 10}", "label": name,
                   "linestyle": "-" if name in traces else "--"}
            for i, name in enumerate(names)}
  steps = sorted({r.step for r in responses})
  num_rows = len(responses) // len(steps)
  figure = plt.figure(figsize=(12, 2.3 * num_rows + 4), layout="constrained")
  top, bottom = figure.subfigures(2, height_ratios=(num_rows, 1.4))
  top.suptitle(
      f"{title}: the update of one coordinate as a function of its gradient "
      f"(dot: the one that it had),\nall else as in a run of {names[0]}; unit: "
      "the RMS of the optimizer's updates of the parameter in the step")
  grid = top.subplots(num_rows, len(steps), squeeze=False)
  for response, axes in zip(responses, grid.T.flat, strict=True):
    _plot_response(axes, response, styles)
    axes.set_title(f"step {response.step}, {response.name}[{response.index}]",
                   fontsize=9)
  for axes in grid[-1]:
    axes.set_xlabel("Gradient")
  for axes in grid[:, 0]:
    axes.set_ylabel("Update / RMS")
  bottom.suptitle("A run of each optimizer")
  axes = bottom.subplots(1, 4)
  _plot_traces(axes, traces, styles)
  figure.legend(*grid[0, 0].get_legend_handles_labels(),
                loc="outside lower center", ncols=len(names))
  _save(figure, filename)


def _plot_response(axes, response, styles):
  for name, updates in response.updates.items():
    axes.plot(response.values, updates, **styles[name])
    axes.plot(response.gradient, np.interp(
        response.gradient, response.values, updates), "o", markersize=4,
              color=styles[name]["color"])
  axes.locator_params(axis="x", nbins=5)
  axes.ticklabel_format(axis="x", scilimits=(-2, 3))
  axes.axhline(0, color="gray", linewidth=.5)
  axes.axvline(0, color="gray", linewidth=.5)
  axes.grid(alpha=.3)


def _plot_traces(grid, traces, styles):
  curves = {
      "Loss": lambda t: t.loss,
      "RMS of the updates": lambda t: t.update_size,
      "RMS of the updates / of the gradients":
          lambda t: t.update_size / t.gradient_size,
      "Cosine of update and -gradient": lambda t: t.cosine}
  for axes, (label, curve) in zip(grid, curves.items(), strict=True):
    with np.errstate(divide="ignore", invalid="ignore"):  # Not finite: a gap.
      drawn = {name: curve(trace) for name, trace in traces.items()}
    for name, values in drawn.items():
      axes.plot(values, **styles[name])
    if axes is not grid[3] and any((v > 0).any() for v in drawn.values()):
      axes.set_yscale("log")
      low, high = axes.get_ylim()
      axes.set_ylim(min(low, high / 3), max(high, low * 3))
    axes.set(xlabel="Step", title=label)
    axes.title.set_fontsize(9)
    axes.grid(alpha=.3)


def draw_pictures(filename: str, problem: problems.NeuralArt,
                  contents: np.ndarray,
                  results: Mapping[str, np.ndarray]) -> None:
  """Draws content, style and what each optimizer made of them, side by side.

  Args:
    filename: PNG file to write.
    problem: The problem that was optimized.
    contents: The photographs, one a run, [runs, size, size, 3].
    results: By optimizer the images of the same runs, [runs, 1, size, size, 3].
  """
  names = ["content", "style", *results]
  figure, grid = plt.subplots(
      len(contents), len(names), squeeze=False, layout="constrained",
      figsize=(1.4 * len(names), 1.5 * len(contents)))
  for i, (row, content) in enumerate(zip(grid, contents, strict=True)):
    images = [content, problem.style,
              *(problem.picture({"image": r[i]}) for r in results.values())]
    for axes, name, image in zip(row, names, images, strict=True):
      axes.imshow(image)
      axes.set_axis_off()
      if not i:
        axes.set_title(name, fontsize=9)
  _save(figure, filename)


def _save(figure, filename):
  figure.savefig(filename, format="png", dpi=150)
  plt.close(figure)
