"""The learned optimizer under DeepMind's names."""

from collections.abc import Mapping
import os
from typing import Any

import keras

from l2lgd import checks, files
from meta import evolution, imitation, meta_step
import networks
from networks import net_config as net_config_lib
import problems


class MetaOptimizer:
  """Networks that learn to optimize.

  This is where meta-training starts. `meta_minimize` returns the step that
  trains the networks, for a loop of your own; `meta.train` is the complete
  loop, with validation, checkpoints and logs.

  Example:

    optimizer = meta.MetaOptimizer()  # The network of DeepMind's program.
    step = optimizer.meta_minimize(problems.Quadratic(), len_unroll=20)
    for epoch in range(100):
      run = step.reset(seed=epoch)
      for _ in range(5):
        losses, run = step.step(run)
    optimizer.save("runs/quadratic")

  Attributes:
    networks: The networks by id.
  """

  def __init__(self, **net_config: Mapping[str, Any]):
    """Builds the networks.

    Args:
      **net_config: For each network its id, and a dictionary of the arguments
        of `networks.factory`. Without any, there is one coordinatewise network,
        the default of DeepMind's program.

    Raises:
      ValueError: An id is empty or has a "/", a configuration is not a
        dictionary of these arguments, or see `networks.factory`.
      FileNotFoundError: See `networks.factory`.
    """
    self.networks = net_config_lib.make(
        net_config or {"coordinatewise": net_config_lib.ORIGINAL})

  def meta_loss(
      self, problem: problems.Problem, len_unroll: int,
      net_assignments: networks.Assignments | None = None,
      second_derivatives: bool = False,
      jit_compile: bool | None = None) -> meta_step.Unroller:
    """Returns an object that unrolls the optimization of a problem.

    Args:
      problem: The problem that the networks optimize.
      len_unroll: Number of updates in an unroll, T.
      net_assignments: Pairs of a network's id and the names of the parameters
        that it optimizes. None gives all parameters to the only network.
      second_derivatives: See `meta_step.Unroller`.
      jit_compile: See `meta_step.Unroller`.

    Raises:
      ValueError: A network has no parameters; or see `meta_step.Unroller` and
        `networks.Partition`.
    """
    return meta_step.Unroller(
        _partition(self.networks, net_assignments), problem,
        len_unroll, second_derivatives, jit_compile)

  def meta_minimize(
      self, problem: problems.Problem, len_unroll: int,
      learning_rate: float = 0.01,
      net_assignments: networks.Assignments | None = None,
      second_derivatives: bool = False,
      jit_compile: bool | None = None,
      num_sampled: int | None = None,
      max_gradient_norm: float | None = None,
      objective: str = "sum",
      adam: keras.optimizers.Optimizer | None = None,
      teacher: networks.Network | None = None,
      estimator: str = "backprop",
      perturbation_stddev: float = 0.01,
      perturbation_pairs: int = 8
  ) -> meta_step.MetaStep:
    """Returns an object whose `step` trains the networks on a problem.

    Args:
      problem: The problem that the networks optimize.
      len_unroll: Number of updates in an unroll, T.
      learning_rate: Learning rate of Adam, which trains the networks; positive.
        That of `meta.Settings` is 0.001 by default. An `adam` that is given has
        its own.
      net_assignments: See `meta_loss`.
      second_derivatives: See `meta_step.MetaStep`.
      jit_compile: See `meta_step.Unroller`.
      num_sampled: See `meta_step.MetaStep`.
      max_gradient_norm: See `meta_step.MetaStep`.
      objective: See `meta_step.MetaStep`.
      adam: See `meta_step.MetaStep`.
      teacher: A hand-designed optimizer to imitate, in place of minimizing the
        losses; see `imitation.ImitationStep`. `second_derivatives`, `objective`
        and `estimator` are then ignored.
      estimator: How the meta-gradient is computed: "backprop", by truncated
        back-propagation; "es" or "pes", without back-propagation, from the
        meta-losses of perturbed weights, see `evolution.EvolutionStep`.
      perturbation_stddev: Standard deviation of the perturbations.
      perturbation_pairs: Number of pairs of perturbed runs beside each run.

    Raises:
      ValueError: A network is assigned no parameters; `estimator` is unknown;
        there is a teacher, and a parameter is assigned to several networks; or
        see `meta_step.MetaStep`, `networks.Partition`, `imitation.Student` and
        `evolution.EvolutionStep`.
    """
    checks.one_of("estimator", estimator, evolution.ESTIMATORS)
    common: dict[str, Any] = {
        "problem": problem, "len_unroll": len_unroll,
        "learning_rate": learning_rate, "jit_compile": jit_compile,
        "num_sampled": num_sampled, "max_gradient_norm": max_gradient_norm,
        "objective": objective, "adam": adam}
    if teacher is not None:
      students = {key: imitation.Student(network, teacher)
                  for key, network in self.networks.items()}
      partition = _partition(students, net_assignments)
      names = [n for _, of_network in net_assignments or () for n in of_network]
      if len({*names}) < len(names):
        raise ValueError(
            f"net_assignments is {net_assignments!r}, but with a teacher each "
            "parameter must have one network, as updates of several add up.")
      return imitation.ImitationStep(partition, **common)
    partition = _partition(self.networks, net_assignments)
    if estimator != "backprop":
      return evolution.EvolutionStep(
          partition, second_derivatives=second_derivatives,
          persistent=estimator == "pes", stddev=perturbation_stddev,
          num_pairs=perturbation_pairs, **common)
    return meta_step.MetaStep(
        partition, second_derivatives=second_derivatives, **common)

  def save(self, path: files.Path, trained_on: dict[str, Any] | None = None,
           net_assignments: networks.Assignments | None = None) -> list[str]:
    """Writes each network to `<path>/<id>.l2l`, and returns these files.

    Args:
      path: A folder, which is created if it does not exist.
      trained_on: Notes about the training, as JSON values.
      net_assignments: The assignments of the training, which
        `LearnedOptimizer.load` will use.

    Raises:
      OSError: A file cannot be written; existing ones are left as they were.
      ValueError: A network has no variables yet, or is of a class that
        `networks.factory` does not know; or `trained_on` has values other than
        JSON's.
    """
    if net_assignments is not None:
      trained_on = (trained_on or {}) | {"net_assignments": net_assignments}
    path = files.expand(path)
    os.makedirs(path, exist_ok=True)
    return net_config_lib.save(path, self.networks, trained_on)


def _partition(nets: Mapping[str, networks.Network],
               net_assignments: networks.Assignments | None
               ) -> networks.Partition:
  """Returns networks as one, each of which must have parameters to train on."""
  partition = networks.Partition(nets, net_assignments)
  if net_assignments is not None:
    idle = sorted(nets.keys() - {key for key, _ in net_assignments})
    if idle:
      raise ValueError(f"net_assignments gives no parameters to {idle}, but "
                       "every network must have some: leave these out.")
  return partition
