"""Settings of the experiments, as data: which networks on which problem."""

from collections.abc import Callable
import functools
import importlib.util
import inspect
import os
import traceback
from typing import Any, NamedTuple

import l2lgd
import networks
from networks import weights
import problems

NetConfig = dict[str, dict[str, Any]]  # By id; arguments of networks.factory.
_LIBRARY = tuple(map(os.path.dirname, (
    __file__, l2lgd.__file__, networks.__file__, problems.__file__)))


class Experiment(NamedTuple):
  """One experiment."""
  make_problem: Callable[..., problems.Problem]
  net_config: NetConfig
  net_assignments: networks.Assignments | None = None
  learning_rate: float = 0.001  # Of Adam, which trains the networks.
  has_data: bool = False  # make_problem takes split, data_dir and download.
  num_steps: int = 100  # Updates in a run.
  unroll_length: int = 20  # T.


def _lstm(**net_options: Any) -> dict[str, Any]:
  """Arguments of the factory for the coordinatewise network."""
  return {"net": "CoordinateWiseDeepLSTM",
          "net_options": {"layers": (20, 20)} | net_options}


def _log_and_sign(k: float, **net_options: Any) -> dict[str, Any]:
  return _lstm(preprocess_name="LogAndSign", preprocess_options={"k": k},
               **net_options)


def _cifar10(*labels: int) -> Callable[..., problems.Problem]:
  return functools.partial(problems.Cifar10, labels=labels or None)


def _neural_art(style: str, image_size: int) -> Callable[..., problems.Problem]:
  """Returns a maker of the problem with a picture of the data directory."""
  def make(data_dir=None, **data):
    return problems.NeuralArt(
        os.path.join(data_dir or "", "style", style), image_size=image_size,
        data_dir=data_dir, **data)
  return make


_ZERO = _lstm(layers=(), initializer="zeros")
_ORIGINAL = _log_and_sign(5, scale=0.01)
# From random first updates, training at the learning rates here ends in
# saturated sigmoids, and neural art in noise.
_PAPER = functools.partial(_log_and_sign, 10, initializer={"linear": "zeros"})

# The kernels of the convolutions have a network of their own.
_CIFAR10_ASSIGNMENTS = [
    ("conv", [f"conv_net_2d/conv_2d_{i}/w" for i in range(3)]),
    ("fc", [*(f"conv_net_2d/conv_2d_{i}/b" for i in range(3)),
            *(f"conv_net_2d/batch_norm_{i}/beta" for i in range(3)),
            "mlp/linear_0/w", "mlp/linear_0/b", "mlp/batch_norm/beta",
            "mlp/linear_1/w", "mlp/linear_1/b"])]


def _paper_cifar10(*labels: int) -> Experiment:
  return Experiment(
      _cifar10(*labels), {"conv": _PAPER(scale=0.1), "fc": _PAPER(scale=0.1)},
      _CIFAR10_ASSIGNMENTS, learning_rate=0.003, has_data=True)


def _paper_neural_art(style: str, image_size: int) -> Experiment:
  return Experiment(
      _neural_art(style, image_size), {"cw": _PAPER()}, learning_rate=0.003,
      has_data=True, num_steps=128, unroll_length=32)


EXPERIMENTS = {
    # The original's.
    "simple": Experiment(problems.Simple, {"cw": _ZERO}),
    "simple-multi": Experiment(
        problems.SimpleMultiOptimizer,
        {"cw": _ZERO,
         "adam": {"net": "Adam", "net_options": {"learning_rate": .1}}},
        [("cw", ["x_0"]), ("adam", ["x_1"])]),
    "quadratic": Experiment(
        lambda: problems.Quadratic(batch_size=128, num_dims=10),
        {"cw": _lstm()}),
    "mnist": Experiment(problems.Mnist, {"cw": _ORIGINAL}, has_data=True),
    "cifar": Experiment(_cifar10(), {"cw": _ORIGINAL}, has_data=True),
    "cifar-multi": Experiment(
        _cifar10(), {"conv": _ORIGINAL, "fc": _ORIGINAL}, _CIFAR10_ASSIGNMENTS,
        has_data=True),
    # The paper's. Networks trained on one run on those of its family, too.
    "paper-quadratic": Experiment(
        lambda: problems.Quadratic(batch_size=128, num_dims=10, stddev=1.,
                                   distribution="normal", separate=True),
        {"cw": _lstm()}, learning_rate=0.003),
    "paper-mnist": Experiment(
        problems.Mnist, {"cw": _PAPER(scale=0.1)}, learning_rate=0.01,
        has_data=True),
    "paper-cifar10": _paper_cifar10(),
    "paper-cifar5": _paper_cifar10(0, 1, 2, 3, 4),
    "paper-cifar5-sub": _paper_cifar10(5, 6, 7, 8, 9),
    "paper-cifar2": _paper_cifar10(0, 1),
    "paper-cifar2-sub": _paper_cifar10(2, 3, 4, 5, 6, 7, 8, 9),
    "paper-neural-art": _paper_neural_art("van_gogh_starry_night.png", 64),
    "paper-neural-art-128": _paper_neural_art(
        "kandinsky_transverse_line.png", 128),
}


def get(name: str) -> Experiment:
  """Returns the experiment of a name.

  Args:
    name: A key of EXPERIMENTS; or "module:function", where the function returns
      any problem, and is given a `split` where it takes one. A network as for
      "paper-mnist" is trained on it.

  Raises:
    ValueError: There is none.
  """
  if ":" in name:
    make = _import(name)
    has_split = "split" in _call(name, inspect.signature, make).parameters

    def make_problem(**data):
      problem = _call(name, make, **(
          {"split": data["split"]} if has_split else {}))
      if not isinstance(problem, problems.Problem):
        raise ValueError(f"problem is {name!r}, which returns "
                         f"{type(problem).__name__}, but must return a "
                         "problems.Problem.")
      return problem

    return Experiment(make_problem, {"cw": _PAPER(scale=0.1)},
                      learning_rate=0.003, has_data=has_split)
  if name not in EXPERIMENTS:
    raise ValueError(
        f"problem is {name!r}, but must be one of {list(EXPERIMENTS)}, or "
        "module:function.")
  return EXPERIMENTS[name]


def _import(name: str) -> Callable[..., problems.Problem]:
  """The function of "module:function"."""
  module_name, _, function_name = name.partition(":")
  parts = module_name.split(".")
  for i in range(len(parts)):  # Its packages first, which it is looked up in.
    path = ".".join(parts[:i + 1])
    try:
      found = importlib.util.find_spec(path) is not None
    except (ImportError, ValueError):  # Not in a package; of an empty name.
      found = False
    if not found:
      raise ValueError(
          f"problem is {name!r}, but there is no module {path!r} in this "
          "folder or on PYTHONPATH.")
    module = _call(name, importlib.import_module, path)
  function = getattr(module, function_name, None)
  if not callable(function):
    raise ValueError(f"problem is {name!r}, but {module_name} has no function "
                     f"{function_name!r}.")
  return function


def _call(name: str, function: Callable, *args: Any, **kwargs: Any) -> Any:
  """What another's function returns, or its error with the place it is at."""
  try:
    return function(*args, **kwargs)
  except (Exception, SystemExit) as error:
    raise ValueError(f"problem is {name!r}, which raises "
                     f"{type(error).__name__}{_place(error)}: {error}"
                    ) from error


def _place(error: BaseException) -> str:
  """The line of another's program that an error is at, or nothing."""
  if isinstance(error, SyntaxError):
    return f" at {error.filename}:{error.lineno}"
  own = [f for f in traceback.extract_tb(error.__traceback__)
         if not f.filename.startswith((*_LIBRARY, "<frozen"))
         and "site-packages" not in f.filename
         and "importlib" not in f.filename]
  return f" at {own[-1].filename}:{own[-1].lineno}" if own else ""


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
