"""Settings of the experiments, as data: which networks on which problem."""

from collections.abc import Callable
import os
from typing import Any, NamedTuple

import networks
import problems

_LSTM = {"layers": (20, 20)}
_LOG_AND_SIGN = {"preprocess_name": "LogAndSign"}


class Experiment(NamedTuple):
  """One experiment."""
  make_problem: Callable[..., problems.Problem]
  net_config: dict[str, dict[str, Any]]  # By id; arguments of the factory.
  net_assignments: networks.Assignments | None = None
  learning_rate: float = 0.001  # Of Adam, which trains the networks.


def _coordinatewise(**net_options):
  return {"cw": {"net": "CoordinateWiseDeepLSTM", "net_options": net_options}}


_ZERO = _coordinatewise(layers=(), initializer="zeros")

EXPERIMENTS = {
    # The original's.
    "simple": Experiment(problems.Simple, _ZERO),
    "simple-multi": Experiment(
        problems.SimpleMultiOptimizer,
        _ZERO | {"adam": {"net": "Adam", "net_options": {"learning_rate": .1}}},
        [("cw", ["x_0"]), ("adam", ["x_1"])]),
    "quadratic": Experiment(
        lambda: problems.Quadratic(batch_size=128, num_dims=10),
        _coordinatewise(layers=(20, 20))),
    "mnist": Experiment(
        lambda **data: problems.Mnist(layers=(20,), **data),
        _coordinatewise(layers=(20, 20), preprocess_name="LogAndSign",
                        preprocess_options={"k": 5}, scale=0.01)),
    # The paper's.
    "paper-quadratic": Experiment(
        lambda: problems.Quadratic(batch_size=128, num_dims=10, stddev=1.,
                                   distribution="normal", separate=True),
        _coordinatewise(layers=(20, 20)), learning_rate=0.003),
    "paper-mnist": Experiment(
        lambda **data: problems.Mnist(layers=(20,), **data),
        _coordinatewise(layers=(20, 20), preprocess_name="LogAndSign",
                        preprocess_options={"k": 10}, scale=0.1),
        learning_rate=0.003),
}
