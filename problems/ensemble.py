"""Sums of problems."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import inspect
from typing import Any

import tensorflow as tf

from l2lgd import checks, philox
from problems import base, cifar10, mnist, quadratic, simple


class Ensemble(base.Problem):
  """A weighted sum of problems, each with its own parameters.

  An optimizer is trained or evaluated on all of them at once. The parameters of
  the i-th problem are named `problem_<i>/<name>`.

  Example:

    problem = problems.Ensemble(
        [problems.Quadratic(num_dims=5), problems.Simple()], weights=[1., 0.1])
    params, constants = problem.sample(seed=tf.constant([0, 0]))
    list(params)  # ["problem_0/x", "problem_1/x"]

  Problems may also be given as in DeepMind's program:

    problem = problems.Ensemble([
        {"name": "quadratic", "options": {"num_dims": 5}}, {"name": "simple"}])
  """

  def __init__(self, problems: Sequence[base.Problem | Mapping[str, Any]],
               weights: Sequence[float] | None = None):
    """Creates the sum.

    Args:
      problems: The terms of the sum; their losses must have the same shape.
        A dictionary of "name" and "options" stands for what DeepMind's function
        of that name makes: "simple", "simple_multi_optimizer", "quadratic",
        "mnist", "cifar10" or "ensemble".
      weights: The weight of each term; by default 1.

    Raises:
      ValueError: `problems` is no list, or empty; something in it is not a
        problem; a dictionary has an unknown name, key or option, or an option
        out of its range; a weight is not a finite number; or there are more or
        fewer weights than problems.
      OSError: See `Mnist` and `Cifar10`.
    """
    if not isinstance(problems, list | tuple):
      raise ValueError(f"problems is {problems!r}, but must be a list.")
    self._problems = [_make(problem) if isinstance(problem, Mapping)
                      else problem for problem in problems]
    if not self._problems:
      raise ValueError("problems is empty, but must hold at least one problem.")
    others = [p for p in self._problems if not isinstance(p, base.Problem)]
    if others:
      raise ValueError(f"problems has {others}, but must hold Problems only.")
    if not isinstance(weights, Iterable | None):
      raise ValueError(
          f"weights is {weights!r}, but must be a list of numbers.")
    weights = [1.] * len(self._problems) if weights is None else list(weights)
    if len(weights) != len(self._problems):
      raise ValueError(
          f"weights is {weights}, but must be {len(self._problems)} numbers, "
          "one for each problem.")
    self._weights = [checks.finite(f"weights[{i}]", weight)
                     for i, weight in enumerate(weights)]

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    params: base.Params = {}
    constants = []
    for i, problem in enumerate(self._problems):
      term_params, term_constants = problem.sample(
          philox.fold_in(seed, i))
      params |= {f"problem_{i}/{name}": value
                 for name, value in term_params.items()}
      constants.append(term_constants)
    return params, tuple(constants)

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    losses = []
    for i, problem in enumerate(self._problems):
      prefix = f"problem_{i}/"
      term_params = {name.removeprefix(prefix): value
                     for name, value in params.items()
                     if name.startswith(prefix)}
      losses.append(self._weights[i] * problem.loss(
          term_params, constants[i], philox.fold_in(seed, i)))
    return tf.add_n(losses)  # Unlike `+`, it refuses a mix of shapes.


def _make(specification: Mapping[str, Any]) -> base.Problem:
  """Returns the problem that a dictionary of DeepMind's form describes."""
  unknown = set(specification) - {"name", "options"}
  if unknown or "name" not in specification:
    raise ValueError(f"problems has {dict(specification)}, but a dictionary "
                     "must have the key 'name', and may have 'options'.")
  name = checks.one_of("name", specification["name"], _BY_NAME)
  make, names = _BY_NAME[name]
  given = specification.get("options") or {}
  if not hasattr(given, "items"):
    raise ValueError(f"options of {name!r} is {given!r}, but must be a "
                     "dictionary.")
  options = {names.get(key, key): value for key, value in given.items()}
  for key in _QUEUE_OPTIONS if name == "cifar10" else ():
    options.pop(key, None)
  known = inspect.signature(make).parameters
  unknown = set(options) - set(known)
  if unknown:
    raise ValueError(f"options of {name!r} has the keys {sorted(unknown)}, but "
                     f"its keys must be among {sorted({*known, *names})}.")
  return make(**options)


# By the names of the functions in DeepMind's problems.py; then the options that
# have other names here.
_BY_NAME: dict[str, tuple[Callable[..., base.Problem], dict[str, str]]] = {
    "simple": (simple.Simple, {}),
    "simple_multi_optimizer": (simple.SimpleMultiOptimizer, {}),
    "quadratic": (quadratic.Quadratic, {}),
    "ensemble": (Ensemble, {}),
    "mnist": (mnist.Mnist, {"mode": "split"}),
    "cifar10": (cifar10.Cifar10, {"mode": "split", "path": "data_dir"}),
}
_QUEUE_OPTIONS = "num_threads", "min_queue_examples"  # No queue is needed.
