"""The optimizers of a comparison, learned, hand-designed and quasi-Newton."""

from collections.abc import Mapping
from typing import Any

from l2lgd.commands import tuner as tuner_lib
from meta import evaluation, quasi_newton, shared_evaluator
import networks
from networks import baselines
import problems

Evaluator = (evaluation.Evaluator | shared_evaluator.Candidate
             | quasi_newton.QuasiNewton)


class Optimizers:
  """What evaluates each of several optimizers on the same problem."""

  def __init__(self, problem: problems.Problem, num_steps: int,
               learned: Mapping[str, networks.Network],
               hand_designed: Mapping[str, Mapping[str, Any] | None],
               tuner: tuner_lib.Tuner,
               jit_compile: bool | None = None):
    """Computes nothing yet.

    Args:
      problem: The problem.
      num_steps: See `evaluation.Evaluator`.
      learned: The learned optimizers by name.
      hand_designed: The options of hand-designed optimizers by name; None of
        those whose options are searched for.
      tuner: Searches for them.
      jit_compile: See `evaluation.Evaluator`.
    """
    self._problem = problem
    self._num_steps = num_steps
    self._learned = learned
    self._hand_designed = hand_designed
    self._tuner = tuner
    self._jit_compile = jit_compile
    # All candidates, so that results do not depend on which are left to do.
    self._shared = shared_evaluator.SharedEvaluator([
        network for name, options in hand_designed.items() for network in (
            [baselines.BY_NAME[name](**options)] if options
            else tuner_lib.candidates(name))],
        problem, num_steps, jit_compile)

  def find(self, name: str, options: Mapping[str, Any] | None = None
           ) -> tuple[networks.Network | None, Evaluator]:
    """Returns an optimizer and what evaluates it.

    A quasi-Newton method is no network: there is None.

    Args:
      name: The optimizer.
      options: Those of a hand-designed one, if they are not to be searched for.
    """
    if name in quasi_newton.METHODS:
      return None, quasi_newton.QuasiNewton(
          name, self._problem, self._num_steps)
    if name in self._learned:
      network = self._learned[name]
      return network, evaluation.Evaluator(
          network, self._problem, self._num_steps, self._jit_compile)
    options = options or self._hand_designed[name]
    network = (baselines.BY_NAME[name](**options) if options
               else self._tuner.best(name, self._shared))
    return network, self._shared.of(network)
