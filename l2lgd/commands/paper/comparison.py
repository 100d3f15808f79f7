"""A comparison: the runs of all optimizers of a setting."""

from collections.abc import Callable, Mapping, Sequence
import os
import time
from typing import Any, NamedTuple

from l2lgd.commands import console
from l2lgd.commands import optimizers as optimizers_lib
from l2lgd.commands import tuner as tuner_lib
from l2lgd.commands.paper import records, table
from meta import diagnostics, experiments, seeds, tuning
import networks
from networks import baselines
import problems

_NUM_PICTURES = 3  # Runs that are drawn.
_NUM_RATES = 13  # Learning rates that a search tries, about.


class Comparison(NamedTuple):
  """What to compute, and where the files are."""
  setting: table.Setting
  draws: str | None  # See `table.Panel`.
  rates: Mapping[str, Mapping[str, Any]]  # Arguments of hand-designed
  # optimizers that are not to be searched for.
  data_dir: str | None
  download: bool
  fingerprints: Mapping[str, str]  # What tells each learned optimizer from
  # others that had its name.
  folder: str  # The folder of the results.

  @property
  def names(self) -> list[str]:
    """The names of the optimizers."""
    return [*self.setting.learned, *self.setting.hand_designed]

  @property
  def picture(self) -> str | None:
    """The file that is drawn besides the losses."""
    return self.draws and os.path.join(self.folder, "-".join([
        self.draws, str(min(self.setting.num_runs, _NUM_PICTURES)),
        *self.fingerprints.values()]) + ".png")

  @property
  def is_complete(self) -> bool:
    """Whether everything has been computed."""
    return (all(map(self.has, self.names))
            and (self.picture is None or os.path.exists(self.picture)))

  @property
  def cost_left(self) -> float:
    """The seconds that what is not computed yet takes, about."""
    return sum(self.cost(name) for name in self.names
               if not self.has(name))

  def cost(self, name: str) -> float:
    """Returns the seconds that an optimizer takes, about."""
    setting, made = self.setting, self.num_made(name)
    runs = setting.num_runs - made
    if not made and name in baselines.BY_NAME and name not in self.rates:
      num_rates = _NUM_RATES * len(tuner_lib.candidates(name))
      runs += num_rates * setting.tuning_runs
    learned, hand_designed = table.SECONDS_PER_STEP.get(
        setting.problem, (.001, .001))
    return table.SECONDS_TO_START + runs * setting.num_steps * (
        learned if name in setting.learned else hand_designed)

  def read(self) -> dict[str, records.Record]:
    """Returns the runs of the optimizers of which all have been made."""
    return {name: records.read(self.folder, self.stem(name),
                               self.setting.num_runs)
            for name in self.names if self.has(name)}

  def has(self, name: str) -> bool:
    """Returns whether all runs of an optimizer have been made."""
    return self.num_made(name) >= self.setting.num_runs

  def num_made(self, name: str) -> int:
    """Returns how many runs of an optimizer have been made."""
    return records.count(self.folder, self.stem(name))

  def stem(self, name: str) -> str:
    """Returns what the names of an optimizer's files begin with."""
    return "-".join([name, *filter(None, [self.fingerprints.get(name)])])


def compute(comparison: Comparison, report: Callable[[float], None]) -> None:
  """Computes what has not been computed before, one optimizer after another.

  Args:
    comparison: What to compute.
    report: Is called with the cost of each optimizer that is done.

  Raises:
    ValueError: A file is damaged, a network does not fit the problem, or what
      has been computed before is of other data.
    OSError: A file is not there, or cannot be written.
  """
  os.makedirs(comparison.folder, exist_ok=True)
  setting = comparison.setting
  experiment = experiments.get(setting.problem)
  data = {"split": setting.split, "data_dir": comparison.data_dir,
          "download": comparison.download}
  problem = experiment.make_problem(
      **setting.options, **(data if experiment.has_data else {}))
  records.check_losses(comparison.folder, tuning.fingerprint(problem))
  learned = {name: experiment.make_optimizer(path)
             for name, path in setting.learned.items()}
  optimizers = _make_optimizers(comparison, problem, learned)
  run_seeds = [seeds.derive(setting.seed, "test", i)
               for i in range(setting.num_runs)]
  for name in comparison.names:
    if comparison.has(name):
      continue
    cost, start_time = comparison.cost(name), time.perf_counter()
    stem, made = comparison.stem(name), comparison.num_made(name)
    network, evaluate = optimizers.find(
        name, records.read(comparison.folder, stem, made).options
        if made else None)
    result = evaluate(run_seeds[made:], console.Timer(name))
    records.add(
        comparison.folder, stem, range(made, setting.num_runs), result.losses,
        {} if network is None else network.options,
        time.perf_counter() - start_time,
        result.params["image"] if comparison.draws == "pictures" else None)
    report(cost)
  if comparison.picture and not os.path.exists(comparison.picture):
    _draw(comparison, comparison.picture, problem, learned, run_seeds)


def _make_optimizers(comparison: Comparison, problem: problems.Problem,
                     learned: Mapping[str, networks.Network]
                     ) -> optimizers_lib.Optimizers:
  setting = comparison.setting
  return optimizers_lib.Optimizers(
      problem, setting.num_steps, learned,
      {name: comparison.rates.get(name) for name in setting.hand_designed
       if name in baselines.BY_NAME},
      tuner_lib.Tuner(problem, setting.tuning_runs, {},
                      os.path.join(comparison.folder, "tuning.json")))


def _draw(comparison: Comparison, filename: str, problem: Any,
          learned: Mapping[str, networks.Network],
          run_seeds: Sequence[Any]) -> None:
  """Draws what a panel has besides the losses."""
  from meta import plots  # Only here, as it takes a while to import.
  folder, setting = comparison.folder, comparison.setting
  if comparison.draws == "pictures":
    plots.images(
        filename, problem,
        plots.contents(problem, run_seeds[:_NUM_PICTURES]),
        {name: records.read_images(folder, comparison.stem(name))[
            :_NUM_PICTURES] for name in comparison.names})
    return
  runs = comparison.read()
  hand_designed = {name: baselines.BY_NAME[name](**runs[name].options)
                   for name in setting.hand_designed}
  responses, traces = diagnostics.compare(
      {**learned, **hand_designed}, problem, run_seeds[0],
      setting.num_steps)
  plots.updates(filename, responses, traces, setting.problem)
