"""The hand-designed optimizers of a comparison, and their learning rates."""

import functools
from typing import Any

from l2lgd.commands import console
from meta import results, seeds, shared_evaluator, tuning
import networks
from networks import baselines
import problems

# Other options of a baseline that are searched, as no value suits all problems.
_TUNED_OPTIONS = {"RMSProp": [
    {"decay": 0.9}, {"decay": 0.99}, {"decay": 0.999},
    {"decay": 0.999, "epsilon": 1.}]}


def tuned_options(name: str) -> set[str]:
  """Returns the options of an optimizer that are searched with its rate."""
  return {option for options in _TUNED_OPTIONS.get(name, []) for option in
          options}


def candidates(name: str) -> list[networks.Network]:
  """Returns a hand-designed optimizer with each of the options to search."""
  return [baselines.BY_NAME[name](**tuned)
          for tuned in _TUNED_OPTIONS.get(name, [{}])]


class Tuner:
  """Searches for the learning rates of baselines.

  The runs of a search are of the same problem as those of the comparison, as
  in the paper, but have other seeds. They are not made on other images: the
  best rates of long runs are those that suit the number of images.
  """

  def __init__(self, problem: problems.Problem, num_runs: int,
               settings: dict[str, Any], filename: str | None):
    """Reads the searches that are kept in a file.

    Args:
      problem: The problem.
      num_runs: Number of runs at each rate.
      settings: What else determines the searches, as JSON values.
      filename: JSON file of the searches, which need not exist. None keeps
        nothing.

    Raises:
      ValueError: The file is damaged.
    """
    self._problem = problem
    self._seeds = [seeds.derive(0, "validation", i) for i in range(num_runs)]
    self._filename = filename
    self._cache = tuning.Cache(filename)
    self._given_settings = settings

  def best(self, name: str, shared: shared_evaluator.SharedEvaluator
           ) -> networks.Network:
    """Returns a baseline with the best options, and prints the searches.

    Args:
      name: The baseline.
      shared: Evaluates its candidates on the problem.
    """
    make = baselines.BY_NAME[name]
    tried = []
    for tuned in _TUNED_OPTIONS.get(name, [{}]):
      found = self._search(name, make(**tuned), shared)
      title = ", ".join([name, *(f"{k} {v}" for k, v in tuned.items())])
      print(results.tuning_table(title, found), flush=True)
      tried.append((min(found.losses), make(found.best, **tuned)))
    return min(tried, key=lambda pair: pair[0])[1]

  @functools.cached_property
  def _settings(self) -> dict[str, Any]:
    return self._given_settings | {
        "losses": tuning.fingerprint(self._problem)}

  def _search(self, name: str, network: networks.Network,
              shared: shared_evaluator.SharedEvaluator) -> tuning.Tuning:
    settings = self._settings | {"optimizer": name, "options": network.options}
    found = self._cache.find(settings)
    if found:
      print(f"The search for {name} is from {self._filename}.")
      return found
    found = tuning.tune(
        shared.of(network), self._seeds,
        functools.partial(console.progress, title=f"Tuning {name}"))
    self._cache.add(settings, found)
    return found
