"""What the numbers of a panel say about the paper's claim."""

from collections.abc import Iterator, Mapping, Sequence
import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from l2lgd.commands.paper import records, table
from meta import evaluation

Records = Mapping[str, records.Record]
"""The runs of a setting by optimizer."""


class Difference(NamedTuple):
  """The learned optimizer's final loss minus that of the best rival."""
  best: str  # The best rival.
  mean: float  # Over the functions on which neither diverged; infinite if one
  # of them diverged more often.
  standard_error: float  # This and the next are NaN of a single function.
  margin: float  # See `_margin`.

  @property
  def is_ahead(self) -> bool:
    """Whether the learned optimizer is ahead by more than chance."""
    return self.mean < -self.margin

  @property
  def is_behind(self) -> bool:
    """Whether it is behind by more than chance."""
    return self.mean > self.margin

  def describe(self) -> str:
    """Returns the difference in words."""
    if math.isinf(self.mean) and math.isnan(self.standard_error):
      return (f"not comparable with {self.best}: on each function, one of "
              "the two diverged")
    if math.isinf(self.mean):
      return (f"ahead of {self.best}, which diverges more often"
              if self.is_ahead else
              f"behind {self.best}, which diverges less often")
    size = f"{abs(self.mean):.2g}"
    side = "below" if self.mean < 0 else "above"
    if math.isnan(self.standard_error):
      return f"{size} {side} {self.best}"
    error = f"± {self.standard_error:.1g}"
    if self.is_ahead or self.is_behind:
      return f"{size} ({error}) {side} {self.best}"
    return f"not distinguishable from {self.best} ({size} {error} {side})"


class Verdict(NamedTuple):
  """Whether a panel is as in the paper."""
  word: str  # "reproduced", "better", "not reproduced"; "shown" of a picture;
  # "ahead", "behind" or "level" where the paper has no such panel.
  reason: str  # A sentence about the first learned optimizer.
  others: str = ""  # Sentences about the others.


def difference(panel: table.Panel, label: str, runs: Records,
               name: str) -> Difference:
  """Compares a learned optimizer with the best of its rivals.

  All optimizers run on the same functions, so that the standard error is that
  of the differences; it is smaller than those of the losses.

  Args:
    panel: The panel.
    label: One of its settings.
    runs: The runs of all optimizers of the setting.
    name: The learned optimizer.
  """
  def of(other: str) -> evaluation.Summary:
    return evaluation.summarize(runs[other].final_losses)

  best = min(_rivals(panel, label), key=lambda other: of(other).rank)
  more_often = of(name).num_diverged - of(best).num_diverged
  if more_often:
    return Difference(best, math.copysign(math.inf, more_often), 0., 0.)
  with np.errstate(invalid="ignore"):
    summary = evaluation.summarize(
        runs[name].final_losses - runs[best].final_losses)
  if math.isinf(summary.mean):  # There is no function on which neither did.
    return Difference(best, math.inf, math.nan, math.nan)
  return Difference(
      best, summary.mean, summary.standard_error, _margin(summary))


def _margin(summary: evaluation.Summary) -> float:
  """Returns half the 95 % confidence interval of a mean, by Student's t."""
  num_finite = summary.num_runs - summary.num_diverged
  return float(summary.standard_error * stats.t.ppf(0.975, num_finite - 1))


def ahead_from(panel: table.Panel, label: str, runs: Records,
               name: str) -> int | None:
  """Returns the step from which on a mean is below those of all rivals.

  Args:
    panel: The panel.
    label: One of its settings.
    runs: The runs of all optimizers of the setting.
    name: The optimizer.

  Returns:
    None if it is not below them at the last step.
  """
  def curve(other: str) -> np.ndarray:
    losses = runs[other].losses
    means = [np.mean(evaluation.losses_at(losses, step))
             for step in range(losses.shape[1])]
    return np.where(np.isnan(means), np.inf, means)

  rivals = np.min([curve(other) for other in _rivals(panel, label)], axis=0)
  (behind,) = np.nonzero(curve(name) >= rivals)
  step = int(behind[-1]) + 1 if behind.size else 0
  return step if step < rivals.size else None


def judge(panel: table.Panel, runs: Mapping[str, Records]) -> Verdict:
  """Returns the verdict on the first learned optimizer of a panel.

  It is "better" where the paper's result holds and the loss is significantly
  below the paper's, or where the paper's optimizer fails and ours does not.

  Args:
    panel: The panel.
    runs: Of each setting, the runs of all its optimizers.
  """
  name = learned_name(panel)
  differences = [difference(panel, label, runs[label], name)
                 for label in panel.settings]
  num_ahead = sum(d.is_ahead for d in differences)
  is_ahead = num_ahead == len(differences)
  comparisons = list(_comparisons(panel, runs, name))
  is_lower = bool(comparisons) and all(
      not ours.num_diverged
      and ours.mean + _margin(ours) < theirs
      for ours, theirs in comparisons)
  word = _word(
      panel, is_ahead, any(d.is_behind for d in differences), is_lower)
  if len(differences) == 1:
    ((label, setting),) = panel.settings.items()
    reason, *others = (
        _describe(panel, label, runs[label], other)
        for other in setting.learned if other not in panel.rivals)
    return Verdict(word, reason, " ".join(others))
  rivals = " and ".join(sorted({d.best for d in differences}))
  return Verdict(word, f"{name} is significantly below {rivals} in {num_ahead} "
                 f"of {len(differences)} settings.")


def _word(panel: table.Panel, is_ahead: bool, is_behind: bool,
          is_lower: bool) -> str:
  """Returns the verdict.

  Args:
    panel: The panel.
    is_ahead: Whether the loss is below its rivals' in all settings.
    is_behind: Whether it is above in one.
    is_lower: Whether it is below the paper's.
  """
  if panel.draws == "updates":
    return "shown"  # The paper's claim is about the picture, not the loss.
  if panel.learned_is_ahead is None:  # There is no such panel in the paper.
    return "ahead" if is_ahead else "behind" if is_behind else "level"
  if panel.learned_is_ahead:
    if not is_ahead:
      return "not reproduced"
    return "better" if is_lower else "reproduced"
  if is_ahead or is_lower:
    return "better"
  return "reproduced" if is_behind else "not reproduced"


def _describe(panel: table.Panel, label: str, runs: Records,
              name: str) -> str:
  """Returns a sentence about an optimizer and its rivals."""
  found = difference(panel, label, runs, name)
  step = ahead_from(panel, label, runs, name) if found.is_ahead else None
  whom = ("all hand-designed optimizers" if len(_rivals(panel, label)) > 1
          else "it")
  since = "" if step is None else f", and ahead of {whom} from step {step} on"
  return f"{name} is {found.describe()}{since}."


def _rivals(panel: table.Panel, label: str) -> Sequence[str]:
  return panel.rivals or panel.settings[label].hand_designed


def learned_name(panel: table.Panel) -> str:
  """Returns the optimizer that the verdict is about."""
  return next(iter(panel.setting.learned))


def _comparisons(panel: table.Panel, runs: Mapping[str, Records], name: str
                 ) -> Iterator[tuple[evaluation.Summary, float]]:
  """Yields our final losses and the paper's, where they are known."""
  for label, setting in panel.settings.items():
    theirs = panel.published_loss(label, name, setting.num_steps)
    if theirs is not None:
      yield evaluation.summarize(runs[label][name].final_losses), theirs
