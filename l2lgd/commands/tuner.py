"""The hand-designed optimizers of `l2l-evaluate`, and their learning rates."""

import functools
import os

from absl import flags

from l2lgd.commands import console, options
from meta import results, seeds, shared_evaluator, tuning
import networks
from networks import baselines
import problems

FLAGS = flags.FLAGS

# Other options of a baseline that are searched, as no value suits all problems.
_TUNED_OPTIONS = {"RMSProp": [
    {"decay": 0.9}, {"decay": 0.99}, {"decay": 0.999},
    {"decay": 0.999, "epsilon": 1.}]}


def share(names: list[str], tune: bool, problem: problems.Problem
          ) -> shared_evaluator.SharedEvaluator:
  """Returns what evaluates hand-designed optimizers, with all tuned options."""
  return shared_evaluator.SharedEvaluator(
      [baselines.BY_NAME[name](**tuned) for name in names
       for tuned in (_TUNED_OPTIONS.get(name, [{}]) if tune else [{}])],
      problem, FLAGS.num_steps, options.jit_compile())


class Tuner:
  """Searches for the learning rates of baselines, on validation runs."""

  def __init__(self, problem: problems.Problem,
               shared: shared_evaluator.SharedEvaluator):
    """Reads the searches that are kept beside the CSV file.

    Args:
      problem: The problem of the validation runs.
      shared: Evaluates the optimizers on it.
    """
    self._shared = shared
    self._filename = FLAGS.output and os.path.join(
        os.path.dirname(FLAGS.output), "tuning.json")
    self._cache = tuning.Cache(self._filename)
    self._settings = {flag: FLAGS[flag].value for flag in (
        "problem", *options.OF_CLASSIFIER, "num_steps", "tuning_epochs",
        "data_dir")} | {"losses": tuning.fingerprint(problem)}

  def best(self, name: str) -> networks.Network:
    """Returns a baseline with the best options, and prints the searches."""
    make = baselines.BY_NAME[name]
    candidates = []
    for tuned in _TUNED_OPTIONS.get(name, [{}]):
      found = self._search(name, make(**tuned))
      title = ", ".join([name, *(f"{k} {v}" for k, v in tuned.items())])
      print(results.tuning_table(title, found), flush=True)
      candidates.append((min(found.losses), make(found.best, **tuned)))
    return min(candidates, key=lambda candidate: candidate[0])[1]

  def _search(self, name: str, network: networks.Network) -> tuning.Tuning:
    settings = self._settings | {"optimizer": name, "options": network.options}
    found = self._cache.find(settings)
    if found:
      print(f"The search for {name} is from {self._filename}.")
      return found
    found = tuning.tune(
        self._shared.of(network),
        [seeds.derive(0, "validation", i) for i in range(FLAGS.tuning_epochs)],
        functools.partial(console.progress, title=f"Tuning {name}"))
    self._cache.add(settings, found)
    return found
