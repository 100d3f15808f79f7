"""A comparison: the runs of all optimizers of a setting."""

from collections.abc import Callable, Mapping, Sequence
import functools
import os
import time
from typing import Any, NamedTuple

from l2lgd.commands import console
from l2lgd.commands import tuner as tuner_lib
from l2lgd.commands.paper import records, table
from meta import (
    diagnostics,
    evaluation,
    experiments,
    pretrained_networks,
    quasi_newton,
    seeds,
    shared_evaluator,
)
import networks
from networks import baselines, net_config
import problems

_NUM_PICTURES = 3  # Runs that are drawn.
_NUM_COORDINATES = 3  # Coordinates whose updates are drawn.


class Comparison(NamedTuple):
  """What to compute, and where the files are."""
  setting: table.Setting
  draws: str | None  # See `table.Panel`.
  rates: Mapping[str, Mapping[str, Any]]  # Arguments of hand-designed
  # optimizers that are not to be searched for.
  data_dir: str | None
  download: bool
  folder: str  # Of the results.

  @property
  def names(self) -> list[str]:
    """The names of the optimizers."""
    return [*self.setting.learned, *self.setting.hand_designed]

  @property
  def picture(self) -> str | None:
    """The file that is drawn besides the losses."""
    return self.draws and os.path.join(self.folder, f"{self.draws}.png")

  @property
  def is_complete(self) -> bool:
    """Whether everything has been computed."""
    return (all(records.exists(self.folder, name) for name in self.names)
            and (self.picture is None or os.path.exists(self.picture)))

  @property
  def cost_left(self) -> float:
    """The seconds that what is not computed yet takes, about."""
    return sum(self.cost(name) for name in self.names
               if not records.exists(self.folder, name))

  def cost(self, name: str) -> float:
    """Returns the seconds that an optimizer takes, about."""
    setting, runs = self.setting, self.setting.num_runs
    if name in baselines.BY_NAME and name not in self.rates:
      num_rates = 17 * len(tuner_lib.candidates([name]))
      runs += num_rates * setting.tuning_runs
    learned, hand_designed = table.SECONDS_PER_STEP.get(
        setting.problem, (.001, .001))
    return table.SECONDS_TO_START + runs * setting.num_steps * (
        learned if name in setting.learned else hand_designed)

  def read(self) -> dict[str, records.Record]:
    """Returns the runs of the optimizers that have been made."""
    return {name: records.read(self.folder, name) for name in self.names
            if records.exists(self.folder, name)}


def compute(comparison: Comparison, report: Callable[[float], None]) -> None:
  """Computes what has not been computed before, one optimizer after another.

  Args:
    comparison: What to compute.
    report: Is called with the cost of each optimizer that is done.

  Raises:
    ValueError: A file is damaged, or a network does not fit the problem.
    OSError: A file is not there, or cannot be written.
  """
  os.makedirs(comparison.folder, exist_ok=True)
  setting = comparison.setting
  experiment = experiments.get(setting.problem)
  make_problem = functools.partial(_make_problem, comparison, experiment)
  optimizers = _Optimizers(
      comparison, experiment, make_problem(setting.split),
      lambda: make_problem(setting.split and "validation"))
  run_seeds = [seeds.derive(setting.seed, "test", i)
               for i in range(setting.num_runs)]
  for name in comparison.names:
    if records.exists(comparison.folder, name):
      continue
    start_time = time.perf_counter()
    evaluate, options = optimizers.prepare(name)
    result = evaluate(run_seeds, console.Timer(name))
    image = result.params["image"][:_NUM_PICTURES] if (
        comparison.draws == "pictures") else None
    records.write(
        comparison.folder, name, result.losses, options,
        time.perf_counter() - start_time, image)
    report(comparison.cost(name))
  if comparison.picture and not os.path.exists(comparison.picture):
    _draw(comparison, comparison.picture, optimizers, run_seeds)


def _make_problem(comparison: Comparison, experiment: experiments.Experiment,
                  split: str | None) -> problems.Problem:
  data = {"split": split, "data_dir": comparison.data_dir,
          "download": comparison.download}
  return experiment.make_problem(
      **comparison.setting.options, **(data if experiment.has_data else {}))


class _Optimizers:
  """The optimizers of a comparison; hand-designed ones at their best rates.

  Attributes:
    problem: The problem of the comparison.
    learned: The learned optimizers by name.
  """

  def __init__(self, comparison: Comparison, experiment: experiments.Experiment,
               problem: problems.Problem,
               make_validation: Callable[[], problems.Problem]):
    self.problem = problem
    self.learned = {
        name: networks.Partition(net_config.make(net_config.with_weights(
            experiment.net_config, pretrained_networks.find(path))),
                                 experiment.net_assignments)
        for name, path in comparison.setting.learned.items()}
    self._comparison = comparison
    self._num_steps = comparison.setting.num_steps
    self._make_validation = make_validation
    # All of them, so that results do not depend on which ones are left to do.
    self._candidates = [
        candidate for name in comparison.setting.hand_designed
        if name in baselines.BY_NAME for candidate in (
            [baselines.BY_NAME[name](**comparison.rates[name])]
            if name in comparison.rates else tuner_lib.candidates([name]))]
    self._shared = self._share(problem)

  def prepare(self, name: str) -> tuple[Callable[..., evaluation.Evaluation],
                                        dict[str, Any]]:
    """Returns what evaluates an optimizer, and its arguments.

    Those of a hand-designed one may be searched for; others have none.
    """
    if name in self.learned:
      return evaluation.Evaluator(
          self.learned[name], self.problem, self._num_steps), {}
    if name in quasi_newton.METHODS:
      return quasi_newton.QuasiNewton(name, self.problem, self._num_steps), {}
    network = (baselines.BY_NAME[name](**self._comparison.rates[name])
               if name in self._comparison.rates else self._tuner.best(name))
    return self._shared.of(network), network.options

  @functools.cached_property
  def _tuner(self) -> tuner_lib.Tuner:
    problem = self._make_validation()
    return tuner_lib.Tuner(
        problem, self._share(problem), self._comparison.setting.tuning_runs, {},
        os.path.join(self._comparison.folder, "tuning.json"))

  def _share(self, problem: problems.Problem
             ) -> shared_evaluator.SharedEvaluator:
    return shared_evaluator.SharedEvaluator(
        self._candidates, problem, self._num_steps)


def _draw(comparison: Comparison, filename: str, optimizers: _Optimizers,
          run_seeds: Sequence[Any]) -> None:
  """Draws what a panel has besides the losses."""
  from meta import plots  # Only here, as it takes a while to import.
  folder, setting = comparison.folder, comparison.setting
  problem: Any = optimizers.problem
  if comparison.draws == "pictures":
    plots.images(
        filename, problem,
        plots.contents(problem, run_seeds[:_NUM_PICTURES]),
        {name: records.read_image(folder, name) for name in comparison.names})
    return
  hand_designed = {
      name: baselines.BY_NAME[name](**records.read(folder, name).options)
      for name in setting.hand_designed}
  responses, traces = diagnostics.compare(
      {**optimizers.learned, **hand_designed}, problem, run_seeds[0],
      setting.num_steps, _NUM_COORDINATES)
  plots.updates(filename, responses, traces, setting.problem)
