"""The experiments, as data: which networks are trained on which problem."""

from collections.abc import Callable, Iterable
import functools
import os
import re
from typing import Any, NamedTuple

from l2lgd import files
from meta import pretrained_networks, user_problems
import networks
from networks import net_config
import problems

_DATA = ("split", "data_dir", "download")
OF_CLASSIFIER = ("layers", "activation", "init_stddev")
"""Options of the network that classifies MNIST."""
_OPTIONS = (*_DATA, *OF_CLASSIFIER)


class Experiment(NamedTuple):
  """A problem, the networks that are trained on it, and how."""
  make_problem: Callable[..., problems.Problem]  # Its arguments: `options`.
  net_config: networks.NetConfig  # The networks by id.
  net_assignments: networks.Assignments | None = None  # Which parameters each
  # network optimizes. None gives all of them to the only network.
  learning_rate: float = 0.001  # Learning rate of Adam, the meta-optimizer.
  options: tuple[str, ...] = ()  # Names of the arguments of `make_problem` that
  # may be given, such as "split".
  num_steps: int = 100  # Updates in a run.
  unroll_length: int = 20  # Updates in an unroll, T.

  @property
  def has_data(self) -> bool:
    """Whether the problem has a data set of several splits."""
    return "split" in self.options

  def make_optimizer(self, path: files.Path | None = None
                     ) -> networks.Partition:
    """Returns a learned optimizer for the problem.

    Args:
      path: Folder of trained networks; see `pretrained_networks.find`. None
        leaves the networks untrained.

    Raises:
      ValueError: They do not fit the problem, or a file is damaged.
      FileNotFoundError: There is no such folder.
    """
    config = self.net_config
    if path is not None:
      config = net_config.with_weights(config, pretrained_networks.find(path))
    return networks.Partition(net_config.make(config), self.net_assignments)


def _lstm(net: str = "CoordinateWiseDeepLSTM",
          **net_options: Any) -> dict[str, Any]:
  """Returns arguments of the factory for an LSTM of two layers."""
  return {"net": net, "net_options": {"layers": (20, 20)} | net_options}


def _paper(net: str = "CoordinateWiseDeepLSTM",
           **net_options: Any) -> dict[str, Any]:
  """Returns arguments of the factory for the network of the paper."""
  # A linear layer of zeros, so that the first updates are 0: from random ones,
  # training at the learning rates below ends in saturated sigmoids, and neural
  # art in noise.
  return _lstm(net, preprocess_name="LogAndSign", preprocess_options={"k": 10},
               initializer={"linear": "zeros"}, **net_options)


def _bounded(scale: float, nominal_step: float,
             preprocess_options: dict[str, Any],
             **postprocess_options: Any) -> dict[str, Any]:
  """Returns arguments of the factory for a network whose steps are bounded.

  What it learns is added to the step of a hand-designed optimizer.
  """
  return _lstm(
      preprocess_name="NormalizedMomenta",
      preprocess_options=preprocess_options, scale=scale,
      initializer={"linear": "zeros"}, postprocess_options={
          "nonlinearity": "tanh", "nominal_step": nominal_step,
          "log_range": 4, **postprocess_options})


# For problems of many kinds: the more inputs a layer has, the smaller its
# weights are, and the steps that suit them.
_GENERAL = _bounded(0.06, 0.03, {"time_scales": (10, 100, 1000)},
                    min_size=0.03, max_size=1)
DEFAULT_NETWORK = _bounded(0.02, 0.01, {"absolute": True})
"""The network that `l2l-train` takes for a problem of the user."""


def _paper_quadratic(net: str, batch_size: int) -> Experiment:
  return Experiment(
      lambda: problems.Quadratic(batch_size, num_dims=10, stddev=1.,
                                 distribution="normal", separate=True),
      {"cw": _lstm(net)}, learning_rate=0.003)


def _paper_mnist(net: str = "CoordinateWiseDeepLSTM",
                 **fixed: Any) -> Experiment:
  """Returns an experiment whose other options can be given."""
  return Experiment(
      functools.partial(problems.Mnist, **fixed),
      {"cw": _paper(net, scale=0.1)}, learning_rate=0.01,
      options=tuple(o for o in _OPTIONS if o not in fixed))


def _cifar10(*labels: int) -> Callable[..., problems.Problem]:
  return functools.partial(problems.Cifar10, labels=labels or None)


def _neural_art(style: str, image_size: int) -> Callable[..., problems.Problem]:
  """Returns a function that makes the problem, with a style of data_dir."""
  def make(data_dir=None, **data):
    return problems.NeuralArt(
        os.path.join(data_dir or "", "style", style), image_size=image_size,
        data_dir=data_dir, **data)
  return make


_ZERO = _lstm(layers=(), initializer="zeros")

# The kernels of the convolutions have a network of their own.
_CIFAR10_ASSIGNMENTS = [
    ("conv", [f"conv_net_2d/conv_2d_{i}/w" for i in range(3)]),
    ("fc", [*(f"conv_net_2d/conv_2d_{i}/b" for i in range(3)),
            *(f"conv_net_2d/batch_norm_{i}/beta" for i in range(3)),
            "mlp/linear_0/w", "mlp/linear_0/b", "mlp/batch_norm/beta",
            "mlp/linear_1/w", "mlp/linear_1/b"])]


def _paper_cifar10(*labels: int) -> Experiment:
  return Experiment(
      _cifar10(*labels), {"conv": _paper(scale=0.1), "fc": _paper(scale=0.1)},
      _CIFAR10_ASSIGNMENTS, learning_rate=0.003, options=_DATA)


def _paper_neural_art(style: str, image_size: int) -> Experiment:
  return Experiment(
      _neural_art(style, image_size), {"cw": _paper()}, learning_rate=0.003,
      options=_DATA, num_steps=128, unroll_length=32)


EXPERIMENTS = {
    # DeepMind's.
    "simple": Experiment(problems.Simple, {"cw": _ZERO}),
    "simple-multi": Experiment(
        problems.SimpleMultiOptimizer,
        {"cw": _ZERO,
         "adam": {"net": "Adam", "net_options": {"learning_rate": .1}}},
        [("cw", ["x_0"]), ("adam", ["x_1"])]),
    "quadratic": Experiment(
        lambda: problems.Quadratic(batch_size=128, num_dims=10),
        {"cw": _lstm()}),
    "mnist": Experiment(
        problems.Mnist, {"cw": net_config.ORIGINAL},
        options=_OPTIONS),
    "cifar": Experiment(
        _cifar10(), {"cw": net_config.ORIGINAL}, options=_DATA),
    "cifar-multi": Experiment(
        _cifar10(), {"conv": net_config.ORIGINAL, "fc": net_config.ORIGINAL},
        _CIFAR10_ASSIGNMENTS, options=_DATA),
    # The paper's. Networks trained on one of a family run on the others, too.
    "paper-quadratic": _paper_quadratic("CoordinateWiseDeepLSTM", 128),
    # One function in a run, as the coordinates share information in it.
    "paper-quadratic-gac": _paper_quadratic("LSTMWithGAC", 1),
    "paper-quadratic-ntm": _paper_quadratic("NTMBFGS", 1),
    "paper-mnist": _paper_mnist(),
    "paper-mnist-relu": _paper_mnist(activation="relu"),
    "paper-mnist-gac": _paper_mnist("LSTMWithGAC"),
    "paper-cifar10": _paper_cifar10(),
    "paper-cifar5": _paper_cifar10(0, 1, 2, 3, 4),
    "paper-cifar5-sub": _paper_cifar10(5, 6, 7, 8, 9),
    "paper-cifar2": _paper_cifar10(0, 1),
    "paper-cifar2-sub": _paper_cifar10(2, 3, 4, 5, 6, 7, 8, 9),
    "paper-neural-art": _paper_neural_art("van_gogh_starry_night.png", 64),
    "paper-neural-art-128": _paper_neural_art(
        "kandinsky_transverse_line.png", 128),
}

# Names that stand for several experiments, to train on all of them.
GROUPS = {"small-tasks": [f"small-{i}" for i in range(22)],
          "wide-tasks": [f"wide-{i}" for i in range(5)],
          "hard-tasks": [f"hard-{i}" for i in range(6)]}
_TASKS: dict[str, tuple[Callable[..., problems.Problem], tuple[str, ...]]] = {
    "small": (problems.small_task, _DATA), "wide": (problems.wide_task, _DATA),
    "hard": (problems.hard_task, ())}


def expand(names: Iterable[str]) -> list[str]:
  """Returns names of experiments, with those of groups replaced.

  The groups are "small-tasks", "wide-tasks" and "hard-tasks".
  """
  return [each for name in names for each in GROUPS.get(name, [name])]


def get(name: str) -> Experiment:
  """Returns an experiment by name.

  Args:
    name: A key of `EXPERIMENTS`, such as "quadratic" or "paper-mnist"
      (`list(experiments.EXPERIMENTS)` has all); "small-N", "wide-N" or
      "hard-N", where N is the index of a `problems.small_task`, `wide_task` or
      `hard_task`; or
      "module:function", where the function returns an `Experiment`, or any
      problem, for which a network with momenta and bounded steps is trained. A
      function with arguments returns a problem; those named `split`,
      `data_dir`, `download`, `layers`, `activation` and `init_stddev` become
      `options` of its experiment.

  Raises:
    ValueError: There is no experiment of that name, or the function of a user
      fails.
  """
  if ":" in name:
    return _of_user(name)
  if match := re.fullmatch(rf"({'|'.join(_TASKS)})-(\d+)", name):
    known = GROUPS[f"{match[1]}-tasks"]
    if match[1] != "small" and name not in known:
      raise ValueError(f"problem is {name!r}, but must be one of {known}.")
    make_task, options = _TASKS[match[1]]
    return Experiment(
        functools.partial(make_task, int(match[2])),
        {"cw": _GENERAL}, learning_rate=0.003, options=options)
  if name not in EXPERIMENTS:
    raise ValueError(
        f"problem is {name!r}, but must be one of "
        f"{[*EXPERIMENTS, *GROUPS]}, small-N, wide-N or hard-N (N is a "
        "number), or module:function.")
  return EXPERIMENTS[name]


def _of_user(name: str) -> Experiment:
  """Returns the experiment of a "module:function"."""
  function, arguments = user_problems.find(name)
  options = tuple(a for a in arguments if a in _OPTIONS)
  if not options:
    function = functools.cache(function)  # It is called once.
    made = function()
    if isinstance(made, Experiment):
      user_problems.guarded(name, net_config.make)(made.net_config)
      return made._replace(make_problem=_checked(
          name, user_problems.guarded(name, made.make_problem)))
  return Experiment(
      _checked(name, function), {"cw": DEFAULT_NETWORK},
      learning_rate=0.003, options=options)


def _checked(name: str, function: Callable[..., Any]
             ) -> Callable[..., problems.Problem]:
  """Returns a function that must return a problem."""
  def make_problem(**options: Any) -> problems.Problem:
    problem = function(**options)
    if isinstance(problem, Experiment):
      raise ValueError(
          f"problem is {name!r}, a function with the arguments of a problem "
          "that returns an Experiment: give the arguments to its make_problem, "
          "and their names to its options.")
    if not isinstance(problem, problems.Problem):
      raise ValueError(
          f"problem is {name!r}, which returns {type(problem).__name__}, but "
          "must return a problems.Problem or a meta.experiments.Experiment.")
    return problem

  return make_problem
