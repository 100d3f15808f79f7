"""Settings of the experiments, as data: which networks on which problem."""

from collections.abc import Callable
import os
from typing import Any, NamedTuple

import networks
from networks import weights
import problems

NetConfig = dict[str, dict[str, Any]]  # By id; arguments of networks.factory.

class Experiment(NamedTuple):
  """One experiment."""
  make_problem: Callable[..., problems.Problem]
  net_config: NetConfig
  net_assignments: networks.Assignments | None = None
  learning_rate: float = 0.001  # Of Adam, which trains the networks.
  has_data: bool = False  # make_problem takes split, data_dir and download.


def _coordinatewise(**net_options):
  return {"cw": {"net": "CoordinateWiseDeepLSTM", "net_options": net_options}}


def _neural_art(style: str, image_size: int) -> Callable[..., problems.Problem]:
  """Returns a maker of the problem with a picture of the data directory."""
  def make(data_dir=None, **data):
    return problems.NeuralArt(
        os.path.join(data_dir or "", "style", style), image_size=image_size,
        data_dir=data_dir, **data)
  return make


_PAPER_NEURAL_ART = _coordinatewise(
    layers=(20, 20), preprocess_name="LogAndSign", preprocess_options={"k": 10},
    # Random first updates end in noise, which takes many epochs to unlearn.
    initializer={"linear": "zeros"})
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
                        preprocess_options={"k": 5}, scale=0.01),
        has_data=True),
    # The paper's.
    "paper-quadratic": Experiment(
        lambda: problems.Quadratic(batch_size=128, num_dims=10, stddev=1.,
                                   distribution="normal", separate=True),
        _coordinatewise(layers=(20, 20)), learning_rate=0.003),
    "paper-mnist": Experiment(
        lambda **data: problems.Mnist(layers=(20,), **data),
        _coordinatewise(layers=(20, 20), preprocess_name="LogAndSign",
                        preprocess_options={"k": 10}, scale=0.1,
                        # From random first updates, training at this learning
                        # rate ends in saturated sigmoids.
                        initializer={"linear": "zeros"}),
        learning_rate=0.01, has_data=True),
    "paper-neural-art": Experiment(
        _neural_art("van_gogh_starry_night.png", image_size=64),
        _PAPER_NEURAL_ART, learning_rate=0.003, has_data=True),
    # For the test of a network trained on the former.
    "paper-neural-art-128": Experiment(
        _neural_art("kandinsky_transverse_line.png", image_size=128),
        _PAPER_NEURAL_ART, learning_rate=0.003, has_data=True),
}


def get(name: str) -> Experiment:
  """Returns the experiment of a name.

  Raises:
    ValueError: There is none.
  """
  if name not in EXPERIMENTS:
    raise ValueError(
        f"problem is {name!r}, but must be one of {list(EXPERIMENTS)}.")
  return EXPERIMENTS[name]


def with_seed(net_config: NetConfig, seed: int) -> NetConfig:
  """Returns the configuration with the seed of the first weights."""
  return {
      key: config | {"net_options": {"seed": seed} | config["net_options"]}
      if "layers" in config["net_options"] else config
      for key, config in net_config.items()}


def with_weights(net_config: NetConfig, path: str) -> NetConfig:
  """Returns the configuration with the networks saved in a folder.

  A file that says what its network is takes the place of what is configured.

  Args:
    net_config: The networks to look for.
    path: A folder that `MetaOptimizer.save`, or the original, wrote.

  Raises:
    FileNotFoundError: There is no file of some network.
    ValueError: A file is broken.
  """
  loaded = {}
  for key, config in net_config.items():
    filename = os.path.join(path, f"{key}.l2l")
    saved = weights.read(filename)
    loaded[key] = config if saved.net is None else {"net": saved.net}
    loaded[key] = loaded[key] | {"net_path": filename}
  return loaded
