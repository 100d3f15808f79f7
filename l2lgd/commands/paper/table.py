"""The panels of the paper's figures, as data.

Andrychowicz et al. 2016, arXiv 1606.04474.
"""

from collections.abc import Mapping, Sequence
import json
import pathlib
from typing import Any, NamedTuple

from networks import baselines

OF_PAPER = ("Adam", "RMSProp", "Sgd", "Nesterov")
"""The hand-designed optimizers of the paper."""


class Setting(NamedTuple):
  """Runs of learned and hand-designed optimizers on the same functions."""
  problem: str  # A name of `meta.experiments`.
  # Trained networks by the names that the optimizers have here. The first is of
  # the paper's kind, and the verdict is about it.
  learned: Mapping[str, str]
  num_steps: int = 100
  num_runs: int = 100
  tuning_runs: int = 10  # Runs at each learning rate of a search.
  options: Mapping[str, Any] = {}  # Arguments of the problem.
  split: str | None = None  # Part of the data set, if there is one.
  hand_designed: Sequence[str] = tuple(baselines.BY_NAME)
  seed: int = 0


class Panel(NamedTuple):
  """A panel of a figure."""
  figures: tuple[str, ...]  # The figures of the paper that have it.
  title: str
  shows: str  # What the paper shows.
  # By label. Several are drawn in one plot: final losses by the number of
  # units, which is their label.
  settings: Mapping[str, Setting]
  # The paper's mean losses, read off its figure: by optimizer, and by step or
  # number of units.
  published: Mapping[str, Mapping[int, float]] = {}
  learned_is_ahead: bool | None = True  # Of all rivals, in the paper. None if
  # the paper has no such panel.
  rivals: Sequence[str] = ()  # By default, the hand-designed optimizers.
  # What is drawn besides the losses: "pictures" of neural art or "updates" as
  # functions of a gradient.
  draws: str | None = None
  note: str = ""  # What to know about our runs.

  @property
  def setting(self) -> Setting:
    """The first setting, for what all have in common."""
    return next(iter(self.settings.values()))

  @property
  def num_steps(self) -> int:
    """Updates in a run."""
    return self.setting.num_steps

  def published_loss(self, label: str, name: str, step: int) -> float | None:
    """Returns the loss of an optimizer in the paper, if it is known.

    Args:
      label: The setting.
      name: The optimizer.
      step: The step; of several settings, the last one.
    """
    return self.published.get(name, {}).get(int(label) if label else step)


_GENERAL = {"general": "general", "general-small": "general-small"}
_MNIST = {"LSTM": "paper-mnist", "LSTM-momenta": "paper-mnist-momenta",
          "LSTM-long": "paper-mnist-long", **_GENERAL}
_CIFAR10 = {"LSTM": "paper-cifar10", "LSTM-momenta": "paper-cifar10-momenta"}
_WITH_SUB = {**_CIFAR10, "LSTM-sub": "paper-cifar5-sub",
             "LSTM-sub-momenta": "paper-cifar5-sub-momenta"}
_ART = {"LSTM": "paper-neural-art",
        "LSTM-momenta": "paper-neural-art-momenta"}
_UNITS = (5, 10, 15, 20, 30, 40, 50, 60)


def _mnist(num_steps: int = 100, num_runs: int = 200,
           **options: Any) -> dict[str, Setting]:
  # The paper's values match those of training images.
  return {"": Setting("paper-mnist", _MNIST, num_steps, num_runs,
                      options=options, split="train")}


def _long_mnist(num_steps: int, num_runs: int, tuning_runs: int,
                units: str) -> Panel:
  return Panel(
      ("beyond",), f"MNIST, 20 {units} units, {num_steps:,} steps",
      "There are no runs of MNIST beyond 200 steps.",
      {"": Setting("paper-mnist", {
          "LSTM-long": "paper-mnist-long",
          "LSTM-momenta": "paper-mnist-momenta", **_GENERAL}, num_steps,
                   num_runs, tuning_runs, {"activation": units.lower()},
                   split="train")},
      learned_is_ahead=None)


def _units(num_layers: int) -> dict[str, Setting]:
  return {str(units): Setting(
      "paper-mnist", {"LSTM": "paper-mnist"}, options={
          "layers": (units,) * num_layers}, split="train",
      hand_designed=("Adam",)) for units in _UNITS}


def _cifar10(problem: str, learned: Mapping[str, str],
             num_runs: int) -> dict[str, Setting]:
  return {"": Setting(problem, learned, 1000, num_runs, tuning_runs=1,
                      split="test")}


def _art(problem: str, num_runs: int) -> dict[str, Setting]:
  return {"": Setting(problem, _ART, num_steps=128, num_runs=num_runs,
                      tuning_runs=1, split="test")}


_TWO_LAYERS = {
    "LSTM": {100: .331}, "Adam": {100: .717}, "RMSProp": {100: .743},
    "Nesterov": {100: .770}, "Sgd": {100: 1.76}}
_AHEAD = "The LSTM is below all hand-designed optimizers"

PANELS: dict[str, Panel] = {
    "quadratic": Panel(
        ("4",), "Quadratics",
        f"{_AHEAD}. The paper's plot is of losses divided by 10.",
        {"": Setting("paper-quadratic", {
            "LSTM": "paper-quadratic", "LSTM-PES": "paper-quadratic-pes"},
                     num_runs=50, tuning_runs=50)},
        {"LSTM": {20: 1.50, 100: .41}, "Adam": {20: 21.5, 100: .51},
         "RMSProp": {20: 6.1, 100: .61}, "Nesterov": {20: 1.97, 100: .80},
         "Sgd": {20: 4.4, 100: 2.15}}),
    "mnist": Panel(
        ("4",), "MNIST, 20 sigmoid units", f"{_AHEAD}.", _mnist(num_runs=560),
        {"LSTM": {20: .445, 100: .254}, "Adam": {20: 1.46, 100: .353},
         "RMSProp": {20: 1.61, 100: .353}, "Nesterov": {20: 1.35, 100: .331},
         "Sgd": {20: 1.94, 100: .460}}),
    "mnist-200": Panel(
        ("4",), "MNIST, run on to 200 steps",
        f"{_AHEAD}, though it was trained to make 100 steps.", _mnist(200, 420),
        {"LSTM": {200: .205}, "Adam": {200: .300}, "RMSProp": {200: .285},
         "Nesterov": {200: .258}, "Sgd": {200: .325}}),
    "mnist-40": Panel(
        ("5",), "MNIST, 40 units",
        f"{_AHEAD}, though it was trained on 20 units.",
        _mnist(num_runs=340, layers=(40,)),
        {"LSTM": {100: .193}, "Adam": {100: .325}, "RMSProp": {100: .325},
         "Nesterov": {100: .308}, "Sgd": {100: .449}}),
    "mnist-2-layers": Panel(
        ("5",), "MNIST, two layers of 20 units, initial weights of N(0, .01²)",
        f"{_AHEAD}, though it was trained on one layer. The paper does not "
        "say what the standard deviation of the initial weights is; .01 is "
        "DeepMind's.",
        _mnist(layers=(20, 20)), _TWO_LAYERS),
    "mnist-2-layers-03": Panel(
        ("5",), "MNIST, two layers of 20 units, initial weights of N(0, .03²)",
        "The same panel as the one above.",
        _mnist(layers=(20, 20), init_stddev=.03), _TWO_LAYERS,
        note="With these initial weights, Sgd, RMSProp and Adam are about as "
        "fast as in the paper's figure; Nesterov is slower."),
    "mnist-relu": Panel(
        ("5",), "MNIST, 20 ReLU units",
        "The LSTM, trained on sigmoid units, fails.",
        _mnist(num_runs=750, activation="relu"),
        {"LSTM": {100: 2.57}, "Adam": {100: .368}, "RMSProp": {100: .403},
         "Nesterov": {100: .368}, "Sgd": {100: .449}}, learned_is_ahead=False),
    "units": Panel(
        ("6",), "MNIST, final loss by the number of units",
        "The LSTM is below Adam, whatever the number of units.", _units(1),
        {"LSTM": {20: .254, 40: .193}, "Adam": {20: .353, 40: .325}}),
    "units-2-layers": Panel(
        ("6",), "MNIST, final loss by the units of each of two layers",
        "The LSTM is below Adam, whatever the number of units.", _units(2),
        {"LSTM": {20: .331}, "Adam": {20: .717}}),
    "cifar10": Panel(
        ("7",), "CIFAR-10", f"{_AHEAD} for 1,000 steps.",
        _cifar10("paper-cifar10", _CIFAR10, 24)),
    "cifar5": Panel(
        ("7",), "CIFAR-5, the first five labels",
        f"{_AHEAD}, and LSTM-sub, which was trained on other labels, is close "
        "to it.", _cifar10("paper-cifar5", {**_WITH_SUB, **_GENERAL}, 20)),
    "cifar2": Panel(
        ("7",), "CIFAR-2, the first two labels",
        f"{_AHEAD}, and LSTM-sub, which was trained on other labels, is close "
        "to it.", _cifar10("paper-cifar2", {**_WITH_SUB, **_GENERAL}, 16)),
    "art-64": Panel(
        ("8", "9"), "Neural art, 64 x 64 pixels, the style of training",
        f"{_AHEAD}.", _art("paper-neural-art", 24), draws="pictures"),
    "art-128": Panel(
        ("8", "9"), "Neural art, 128 x 128 pixels, another style",
        f"{_AHEAD}.", _art("paper-neural-art-128", 20), draws="pictures"),
    "updates": Panel(
        ("appendix",), "Update rules, on MNIST",
        "The update of a coordinate as a function of its gradient is no fixed "
        "curve: it depends on the step and on the coordinate's past.",
        {"": Setting("paper-mnist", {"LSTM": "paper-mnist"}, split="train",
                     hand_designed=("Adam",), num_runs=20, tuning_runs=3)},
        draws="updates"),
    "memory": Panel(
        ("appendix",), "Quadratics, optimizers whose coordinates share memory",
        "NTM-BFGS is below the LSTM.",
        {"": Setting("paper-quadratic-ntm", {
            "NTM-BFGS": "paper-quadratic-ntm",
            "LSTM+GAC": "paper-quadratic-gac", "LSTM": "paper-quadratic"},
                     hand_designed=("BFGS", "L-BFGS"), num_runs=2500)},
        rivals=("LSTM",), note="NTM-BFGS and LSTM+GAC were trained for 1,200 "
        "epochs, the LSTM for 600."),
    "mnist-gac": Panel(
        ("appendix",), "MNIST, LSTM+GAC",
        "LSTM+GAC is below the LSTM.",
        {"": Setting("paper-mnist-gac", {
            "LSTM+GAC": "paper-mnist-gac", "LSTM": "paper-mnist"},
                     hand_designed=("L-BFGS",), num_runs=50, split="train")},
        rivals=("LSTM",),
        note="L-BFGS minimizes the mean over the minibatches of all steps. "
        "Only its last loss is on a minibatch that it has not seen."),
    "mnist-1000": _long_mnist(1000, 20, 3, "sigmoid"),
    "mnist-relu-1000": _long_mnist(1000, 60, 3, "ReLU"),
    "mnist-10000": _long_mnist(10000, 8, 1, "sigmoid"),
    "mnist-relu-10000": _long_mnist(10000, 8, 1, "ReLU"),
}

SECONDS_PER_STEP = {
    "paper-quadratic": (.0003, .00003), "paper-mnist": (.003, .0003),
    "paper-cifar10": (.025, .018), "paper-cifar5": (.025, .018),
    "paper-cifar2": (.025, .018), "paper-neural-art": (.045, .042),
    "paper-neural-art-128": (.17, .16)}
"""What a step of a run takes on one core, about, to foresee the time.

Of learned optimizers, and of hand-designed ones.
"""
SECONDS_TO_START = 5.
"""What is added for the compilation of each optimizer."""

_RATES = pathlib.Path(__file__).with_name("rates.json")  # As a run writes them.
_QUICK_RUNS = {  # Others: 2.
    "paper-quadratic": 4, "paper-mnist": 10, "paper-quadratic-ntm": 100}
_QUICK_TUNING_RUNS = 3
_QUICK_STEPS = {  # The most for which there is time.
    "paper-mnist": 2000, "paper-cifar10": 100, "paper-cifar5": 100,
    "paper-cifar2": 100, "paper-neural-art-128": 32}


def quick(panel: Panel) -> Panel:
  """Returns a panel with less to compute."""
  shortened = panel._replace(settings={
      label: s._replace(
          num_runs=max(2, min(_QUICK_RUNS.get(s.problem, 2), s.num_runs // 10)),
          tuning_runs=min(s.tuning_runs, _QUICK_TUNING_RUNS),
          num_steps=min(s.num_steps, _QUICK_STEPS.get(s.problem, s.num_steps)),
          hand_designed=[n for n in s.hand_designed
                         if n in OF_PAPER or n not in baselines.BY_NAME])
      for label, s in [*panel.settings.items()][::3]})
  if shortened.num_steps == panel.num_steps:
    return shortened
  return shortened._replace(learned_is_ahead=None, note=(
      f"These are {shortened.num_steps:,} of {panel.num_steps:,} steps, at "
      "learning rates that were searched for all of them, so that they do not "
      "test what the panel shows."))


def known_rates() -> dict[str, dict[str, dict[str, dict[str, float]]]]:
  """Returns options of hand-designed optimizers, for which none are searched.

  They are by panel, by setting and by optimizer.
  """
  return json.loads(_RATES.read_text(encoding="utf-8"))


def select(names: Sequence[str]) -> dict[str, Panel]:
  """Returns the panels of these names or figures; all, if there are none.

  Raises:
    ValueError: A name is unknown.
  """
  figures = {figure for panel in PANELS.values() for figure in panel.figures}
  for name in names:
    if name not in PANELS and name not in figures:
      raise ValueError(
          f"--panels has {name!r}, but must be figures, {sorted(figures)}, or "
          f"panels, {list(PANELS)}.")
  return {key: panel for key, panel in PANELS.items()
          if not names or {key, *panel.figures} & {*names}}
