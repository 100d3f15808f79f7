"""Plots of learning curves, updates and images; loads matplotlib."""

from collections.abc import Iterable, Mapping, Sequence
import io
import itertools
from typing import Any

import matplotlib.figure
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
import tensorflow as tf

from l2lgd import files
from meta import diagnostics, evaluation, results, unroll
import networks
from networks import baselines
import problems

# A hand-designed optimizer has the same colour in every plot.
_OF_BASELINES = {name: f"C{i}" for i, name in enumerate(baselines.BY_NAME, 1)}
_OF_OTHERS = ("C0", "C8", "C9", "black", "lime", "blue")
_NUM_POINTS = 200  # Points of the curve of a long run.


def learning_curves(
    filename: str, losses: results.Losses, title: str,
    xs: Sequence[float] | None = None, xlabel: str = "Step",
    points: Mapping[str, Mapping[int, float]] | None = None) -> None:
  """Plots the mean loss at each step, with a band between the quartiles.

  Runs of 400 steps and more are averaged over every 1/200 of them, as the noise
  of single minibatches would hide the curves.

  Args:
    filename: PNG file to write.
    losses: The losses by optimizer. Runs that diverged are left out.
    title: Title of the plot.
    xs: Where the columns of the losses stand, if they are not those of the
      steps 0, 1, ..., T.
    xlabel: What `xs` are.
    points: Published losses to draw as points: by optimizer, and by x.
  """
  figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
  colors = _colors(losses)
  start = 0.  # The highest mean loss at the first x.
  for i, (name, runs) in enumerate(losses.items()):
    finite = evaluation.finite_runs(runs)
    if not len(finite):
      axes.plot([], [], color=colors[name], label=f"{name} (all diverged)")
      continue
    x, finite = _averaged(finite) if xs is None else (xs, finite)
    curve = evaluation.mean_curve(finite)
    start = max(start, float(curve[0]))
    axes.plot(x, curve, color=colors[name], label=name,
              zorder=3 - i / len(losses))  # The first is on top.
    quartiles = np.percentile(finite.astype(np.float64), (25, 75), axis=0)
    axes.fill_between(x, *quartiles, color=colors[name], alpha=.2, linewidth=0)
  for name, values in (points or {}).items():
    axes.plot(*zip(*values.items()), "o", color=colors.get(name, "C0"),
              markeredgecolor="black", zorder=4)
  axes.set(xlabel=xlabel, ylabel="Loss", title=title)
  if _set_log_scale(axes) and axes.get_ylim()[1] > 100 * start > 0:
    axes.set_ylim(top=100 * start)  # What explodes leaves the plot.
  axes.yaxis.set_major_formatter("{x:g}")
  low, high = axes.get_ylim()
  if high < 20 * low:  # There may be only one power of ten, or none.
    axes.yaxis.set_minor_formatter("{x:g}")
  if points:
    axes.plot([], [], "o", color="white", markeredgecolor="black",
              label="published")
  figure.legend(loc="outside right upper")
  axes.grid(alpha=.3)
  _save(figure, filename)


def _averaged(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the middles of windows of steps, and the mean losses in these."""
  width = max(1, (runs.shape[1] - 1) // _NUM_POINTS)
  num = runs.shape[1] // width
  return (width * np.arange(num) + (width - 1) / 2,
          runs[:, :num * width].reshape([-1, num, width]).mean(axis=2))


def _colors(names: Iterable[str]) -> dict[str, str]:
  """Returns colours by optimizer; the first that is learned has the first."""
  others = itertools.cycle(_OF_OTHERS)
  return {name: _OF_BASELINES.get(name) or next(others) for name in names}


def updates(filename: str, responses: Sequence[diagnostics.Response],
            traces: Mapping[str, diagnostics.Trace], title: str) -> None:
  """Plots updates as functions of a gradient, and how they go in a run.

  Args:
    filename: PNG file to write.
    responses: Responses of the same coordinates in each step, sorted by step.
    traces: Traces by optimizer. Optimizers that are only in the responses are
      drawn with dashed lines.
    title: Name of the problem.
  """
  names = list(responses[0].updates)
  styles = {name: {"color": color, "label": name,
                   "linestyle": "-" if name in traces else "--"}
            for name, color in _colors(names).items()}
  steps = sorted({r.step for r in responses})
  num_rows = len(responses) // len(steps)
  figure = plt.figure(figsize=(12, 2.3 * num_rows + 4), layout="constrained")
  top, bottom = figure.subfigures(
      2, 1, squeeze=False, height_ratios=(num_rows, 1.4))[:, 0]
  top.suptitle(
      f"{title}: the update of one coordinate as a function of its gradient "
      "(dot: its actual gradient),\neverything else as in a run of "
      f"{names[0]}; unit: the RMS of the optimizer's updates of the parameter "
      "in the step")
  grid = top.subplots(num_rows, len(steps), squeeze=False)
  for response, axes in zip(responses, grid.T.flat, strict=True):
    _draw_response(axes, response, styles)
  for axes in grid[-1]:
    axes.set_xlabel("Gradient")
  for axes in grid[:, 0]:
    axes.set_ylabel("Update / RMS")
  bottom.suptitle("A run of each optimizer")
  _draw_traces(bottom.subplots(1, 4), traces, styles)
  figure.legend(*grid[0, 0].get_legend_handles_labels(),
                loc="outside lower center", ncols=len(names))
  _save(figure, filename)


def _draw_response(axes: Any, response: diagnostics.Response,
                   styles: Mapping[str, dict[str, Any]]) -> None:
  for name, values in response.updates.items():
    axes.plot(response.values, values, **styles[name])
    axes.plot(response.gradient, np.interp(
        response.gradient, response.values, values), "o", markersize=4,
              color=styles[name]["color"])
  axes.locator_params(axis="x", nbins=5)
  axes.ticklabel_format(axis="x", scilimits=(-2, 3))
  axes.axhline(0, color="gray", linewidth=.5)
  axes.axvline(0, color="gray", linewidth=.5)
  axes.grid(alpha=.3)
  axes.set_title(
      f"step {response.step}, {response.name}[{response.coordinate}]",
      fontsize=9)


def _draw_traces(grid: Sequence[Any], traces: Mapping[str, diagnostics.Trace],
                 styles: Mapping[str, dict[str, Any]]) -> None:
  panels = [
      ("Loss", "log", lambda t: t.loss),
      ("RMS of the updates", "log", lambda t: t.update_size),
      ("RMS of the updates / of the gradients", "log",
       lambda t: t.update_size / t.gradient_size),
      ("Cosine of update and -gradient", "linear", lambda t: t.cosine)]
  for axes, (title, scale, curve) in zip(grid, panels, strict=True):
    with np.errstate(divide="ignore", invalid="ignore"):  # Leaves a gap.
      for name, trace in traces.items():
        axes.plot(curve(trace), **styles[name])
    if scale == "log" and _set_log_scale(axes):
      low, high = axes.get_ylim()
      axes.set_ylim(min(low, high / 3), max(high, low * 3))
    axes.set(xlabel="Step", title=title)
    axes.title.set_fontsize(9)
    axes.grid(alpha=.3)


def _set_log_scale(axes: Any) -> bool:
  """Makes the y-axis logarithmic if any value is positive; returns whether."""
  is_log = any(np.any(line.get_ydata() > 0) for line in axes.lines)
  if is_log:
    axes.set_yscale("log")
  return is_log


def contents(problem: problems.NeuralArt,
             seeds: Sequence[int | tf.Tensor]) -> np.ndarray:
  """Returns the photograph of each run, [runs, size, size, 3]."""
  return np.stack([
      unroll.start(networks.Sgd(), problem, seed).constants.image.numpy()
      for seed in seeds])


def images(filename: str, problem: problems.NeuralArt, contents: np.ndarray,
           painted: Mapping[str, np.ndarray]) -> None:
  """Draws content, style and the image of each optimizer, side by side.

  Args:
    filename: PNG file to write.
    problem: The problem that was optimized.
    contents: The photograph of each run, [runs, size, size, 3].
    painted: The images of the same runs by optimizer,
      [runs, 1, size, size, 3].
  """
  names = ["content", "style", *painted]
  figure, grid = plt.subplots(
      len(contents), len(names), squeeze=False, layout="constrained",
      figsize=(1.4 * len(names), 1.5 * len(contents)))
  for i, (row, content) in enumerate(zip(grid, contents, strict=True)):
    pictures = [content, problem.style,
                *(problem.picture({"image": r[i]}) for r in painted.values())]
    for axes, name, picture in zip(row, names, pictures, strict=True):
      axes.imshow(picture)
      axes.set_axis_off()
      if not i:
        axes.set_title(name, fontsize=9)
  _save(figure, filename, has_photographs=True)


def _save(figure: matplotlib.figure.Figure, filename: str,
          has_photographs: bool = False) -> None:
  """Writes a PNG file, as small as what is drawn allows."""
  drawn, data = io.BytesIO(), io.BytesIO()
  # Photographs have fewer pixels than the text of a plot needs.
  figure.savefig(drawn, format="png", dpi=100 if has_photographs else 150)
  plt.close(figure)
  image = Image.open(drawn).convert("RGB")
  if not has_photographs:
    image = image.quantize(256, dither=Image.Dither.NONE)
  image.save(data, "PNG", optimize=True)
  files.write_atomically(filename, data.getvalue())
