"""The page and its Markdown summary: verdicts, tables and pictures."""

import base64
from collections.abc import Mapping, Sequence
import math
import os
import shlex
from typing import Any, NamedTuple

import jinja2
import numpy as np

from l2lgd import files
from l2lgd.commands import tuner
from l2lgd.commands.paper import comparison as comparison_lib
from l2lgd.commands.paper import table, verdicts
from meta import evaluation
from networks import baselines

_PICTURES = "pictures"  # Folder.
_WITHOUT_NUMBER = {
    ("appendix",): "Appendix", ("beyond",): "Beyond the paper"}


class Row(NamedTuple):
  """What one optimizer reached."""
  label: str  # The setting's.
  name: str
  options: str  # The learning rate, and what else was searched.
  means: list[str]  # At some steps.
  published: list[str]  # The paper's, at the same steps.
  standard_error: str  # This and the following are of the last step.
  median: str
  num_diverged: int
  difference: str  # From the best rival, of a learned one.
  minutes: str


class Section(NamedTuple):
  """What the page says about a panel."""
  key: str
  panel: table.Panel
  error: str | None  # Why it failed.
  verdict: verdicts.Verdict | None
  steps: list[int]  # A column of the table each.
  rows: list[Row]
  pictures: dict[str, str]  # What they show, by the name of the file.
  commands: list[str]  # That make the same runs.
  records: Mapping[str, verdicts.Records]  # By setting.

  @property
  def minutes(self) -> float:
    """The time of the searches and runs, in all processes together."""
    return sum(record.seconds for of_setting in self.records.values()
               for record in of_setting.values()) / 60

  @property
  def has_published(self) -> list[bool]:
    """Whether the paper has losses, at each of the steps."""
    return [any(losses) for losses in zip(*(r.published for r in self.rows))]

  @property
  def search(self) -> str:
    """How the learning rates were found, to follow a sentence."""
    if not any(row.options for row in self.rows):
      return ""
    if not self.commands:
      return " The learning rates were searched before."
    return (" Other runs at each rate of the search: "
            f"{self.panel.setting.tuning_runs}.")

  @property
  def word(self) -> str:
    """The verdict in a word or two."""
    return self.verdict.word if self.verdict else "failed"

  @property
  def reason(self) -> str:
    """Why the verdict is what it is."""
    return self.verdict.reason if self.verdict else self.error or ""

  @property
  def text(self) -> str:
    """The reason, and what there is to say of other learned optimizers."""
    others = self.verdict.others if self.verdict else ""
    return f"{self.reason} {others}".rstrip()


def make_section(
    key: str, panel: table.Panel,
    comparisons: Mapping[str, comparison_lib.Comparison], error: str | None,
    output: str) -> Section:
  """Draws the pictures of a panel, and returns what the page says about it.

  Args:
    key: Name of the panel.
    panel: The panel.
    comparisons: What was computed, by setting.
    error: Why it failed, if it did.
    output: Folder of the page.
  """
  runs = {label: c.read() for label, c in comparisons.items()}
  steps = _steps(panel)
  rows, pictures, verdict = [], {}, None
  if all(c.is_complete for c in comparisons.values()):
    rows = [_row(panel, label, name, runs[label], steps)
            for label, c in comparisons.items() for name in c.names]
    pictures = _draw(key, panel, comparisons, runs, output)
    learned = verdicts.learned_name(panel)
    if error is None and any(
        not np.isfinite(r[learned].final_losses).any() for r in runs.values()):
      error = f"All runs of {learned} diverged."
    if error is None:
      verdict = verdicts.judge(panel, runs)
  commands = [command(c) for c in comparisons.values() if not c.rates]
  return Section(
      key, panel, error, verdict, steps, rows, pictures, commands, runs)


def write(output: str, sections: Sequence[Section], machines: Sequence[str],
          program: str) -> None:
  """Writes the page, `index.html`, and its Markdown summary, `results.md`.

  Args:
    output: Folder to write to.
    sections: The panels.
    machines: What computed them, and with which software.
    program: The command that was run.

  Raises:
    OSError: A file cannot be written.
  """
  figures: dict[str, list[Section]] = {}
  for section in sections:
    figures.setdefault(_title(section.panel.figures), []).append(section)
  for filename, escape in (("index.html", True), ("results.md", False)):
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "templates"),
        autoescape=escape, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined)
    text = environment.get_template(filename).render(
        figures=figures, sections=sections, machines=machines, program=program,
        pictures=_PICTURES, embed=lambda name: _embed(output, name),
        minutes=sum(section.minutes for section in sections))
    files.write_atomically(os.path.join(output, filename), text.encode())


def command(comparison: comparison_lib.Comparison) -> str:
  """Returns the command that makes the same runs."""
  setting = comparison.setting
  flags = {
      "problem": setting.problem, "path": ",".join(setting.learned.values()),
      "optimizer": "all", "num_steps": setting.num_steps,
      "num_epochs": setting.num_runs, "tuning_epochs": setting.tuning_runs,
      "seed": setting.seed, **setting.options}
  if {*setting.hand_designed} != {*baselines.BY_NAME}:
    flags["optimizer"] = ",".join(["L2L", *setting.hand_designed])
    if {*setting.hand_designed} & {*baselines.BY_NAME}:
      flags["tune"] = True
    else:
      del flags["tuning_epochs"]
  if setting.split:
    flags |= {"split": setting.split, "data_dir": "DIR"}
  return shlex.join(["l2l-evaluate", *(
      f"--{name}" if value is True else f"--{name}={_value(value)}"
      for name, value in flags.items())])


def _value(value: Any) -> str:
  return ",".join(map(str, value)) if isinstance(
      value, list | tuple) else str(value)


def _title(figures: tuple[str, ...]) -> str:
  if figures in _WITHOUT_NUMBER:
    return _WITHOUT_NUMBER[figures]
  noun = "Figures" if len(figures) > 1 else "Figure"
  return f"{noun} {' and '.join(figures)}"


def _steps(panel: table.Panel) -> list[int]:
  """Returns the steps at which the table has means."""
  num_steps = panel.num_steps
  if len(panel.settings) > 1:
    return [num_steps]
  published = {step for values in panel.published.values() for step in values}
  parts = {num_steps // part for part in (100, 10, 5, 2, 1)}
  return sorted(step for step in published | parts if 10 <= step <= num_steps
                or step == num_steps)


def _row(panel: table.Panel, label: str, name: str, runs: verdicts.Records,
         steps: Sequence[int]) -> Row:
  record = runs[name]
  final = evaluation.summarize(record.final_losses)
  shown = {"learning_rate", *tuner.tuned_options(name)}
  options = [
      f"{value:g}" if option == "learning_rate" else f"{option} {value:g}"
      for option, value in record.options.items() if option in shown]
  published = [panel.published_loss(label, name, step) for step in steps]
  is_compared = (
      name in panel.settings[label].learned and name not in panel.rivals)
  return Row(
      label, name, ", ".join(options),
      means=[f"{_mean_at(record.losses, step):.3g}" for step in steps],
      published=["" if value is None else f"{value:.3g}"
                 for value in published],
      standard_error="" if math.isnan(final.standard_error)
      else f"{final.standard_error:.2g}",
      median=f"{final.median:.3g}",
      num_diverged=final.num_diverged,
      difference=verdicts.difference(panel, label, runs, name).describe()
      if is_compared else "",
      minutes=f"{record.seconds / 60:.1f}")


def _mean_at(losses: np.ndarray, step: int) -> float:
  return evaluation.summarize(evaluation.losses_at(losses, step)).mean


def _draw(key: str, panel: table.Panel,
          comparisons: Mapping[str, comparison_lib.Comparison],
          runs: Mapping[str, verdicts.Records], output: str) -> dict[str, str]:
  """Draws the losses, and copies what was drawn besides them."""
  from meta import plots  # Only here, as it takes a while to import.
  folder = os.path.join(output, _PICTURES)
  os.makedirs(folder, exist_ok=True)
  name = f"{key}.png"
  path = os.path.join(folder, name)
  if len(runs) > 1:
    units = [int(label) for label in runs]
    plots.learning_curves(path, {
        name: np.stack([r[name].final_losses for r in runs.values()], axis=1)
        for name in next(iter(comparisons.values())).names}, panel.title,
                          units, "Units", panel.published)
  else:
    (of_setting,) = runs.values()
    plots.learning_curves(path, {
        name: record.losses for name, record in of_setting.items()},
                          panel.title, points={
        name: {step: loss for step, loss in values.items()
               if step <= panel.num_steps}
        for name, values in panel.published.items()})
  pictures = {name: "Mean losses, and bands between the quartiles"}
  for comparison in comparisons.values():
    if comparison.picture:
      name = f"{key}-{panel.draws}.png"
      with open(comparison.picture, "rb") as file:
        files.write_atomically(os.path.join(folder, name), file.read())
      pictures[name] = {
          "pictures": "The photograph, the style, and what the optimizers made "
          "of them", "updates": "Updates as functions of a gradient"}[
              panel.draws or ""]
  return pictures


def _embed(output: str, name: str) -> str:
  """Returns a picture as a URL that holds it."""
  with open(os.path.join(output, _PICTURES, name), "rb") as file:
    return f"data:image/png;base64,{base64.b64encode(file.read()).decode()}"
