"""A trained optimizer for custom training loops."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import sonnet as snt
import tensorflow as tf

from l2lgd import checks, files
from meta import gradient_pairs, groups, pretrained_networks, slots
import networks
from networks import net_config as net_config_lib
from networks import weights


class LearnedOptimizer(snt.Module):
  """Trained networks, with the interface of the optimizers of `snt.optimizers`.

  Use it in place of `snt.optimizers.Adam` in a custom training loop. Each
  parameter has its own state, which is created when it is first seen. The
  networks compute in float32, whatever the type of the parameters. Under a
  distribution strategy, the optimizer sums the gradients over the replicas, as
  Keras's optimizers do.

  Example:

    optimizer = meta.LearnedOptimizer.load("general")
    with tf.GradientTape() as tape:
      loss = loss_fn(labels, model(images))
    variables = model.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)

  Checkpoints, copies and pickles hold the states; copies and pickles can be
  made only of networks that `networks.factory` can make. As with
  `snt.optimizers`, states belong to parameters by the order in which these were
  first seen, not by name: two models of one class may have different names.

  Attributes:
    networks: The networks by id.
    net_assignments: Which parameters each network optimizes.
    learning_rate: Factor of the updates, a number or a scalar variable.
    states: The state of each parameter, in the order in which the parameters
      were first seen: a list of objects with `numpy()`, `assign`, `shape` and
      `dtype`. They are parts of variables that parameters share if they were
      first seen together. The states of deleted parameters are dropped when the
      next parameter is first seen; the memory is freed if none is left that
      shares it.
  """

  # The weights are not among the variables, as a module that has an optimizer
  # would train them with its own.
  _TF_MODULE_IGNORED_PROPERTIES = (
      snt.Module._TF_MODULE_IGNORED_PROPERTIES | {"networks"})

  def __init__(self, nets: Mapping[str, networks.Network],
               net_assignments: networks.Assignments | None = None,
               learning_rate: float | tf.Variable = 1.0,
               name: str | None = None, shard: bool | None = None):
    """Creates an optimizer from networks; `load` reads trained ones.

    Args:
      nets: The networks by id.
      net_assignments: Pairs of a network's id and the names of the parameters
        that it optimizes. A name may be the end of one, after a "/"; the
        longest that fits counts. None gives all parameters to the only network.
      learning_rate: Factor of the updates: a scalar variable, which may change
        during training, or a number, of which a `tf.function` keeps the value
        that it had when it was traced.
      name: Name of the module.
      shard: Whether the replicas of a distribution strategy share out
        coordinates and their states, where a network treats coordinates alike;
        see `shards`. None does so where it is faster. States are then read and
        assigned, as for checkpoints, outside of replicas, by all processes.

    Raises:
      ValueError: A network joins parameters, as `networks.LSTMWithGAC` does;
        `learning_rate` is neither a finite number nor a scalar variable;
        `shard` is not True, False or None; or see `networks.Partition`.
    """
    super().__init__(name or "learned_optimizer")
    networks.Partition(nets, net_assignments)  # Checks the arguments.
    for key, network in nets.items():
      if network.joins_parameters:
        raise ValueError(
            f"The network {key!r} is a {type(network).__name__}, whose updates "
            "of a parameter depend on the others. It cannot be a "
            "LearnedOptimizer, which may get them one by one: call the network "
            "itself with all gradients.")
    self.networks = dict(nets)
    self.net_assignments = None if net_assignments is None else tuple(
        (key, tuple(names)) for key, names in net_assignments)
    self.learning_rate = _checked(learning_rate)
    self._shard = checks.optional_boolean("shard", shard)
    self.states: list[list[Any]] = []
    self._shared: list[tf.Variable] = []  # What the states are parts of.
    self._slots = slots.Slots()
    self._error: str | None = None  # Why a checkpoint did not fit.

  @classmethod
  def load(cls, path: files.Path, net_config: networks.NetConfig | None = None,
           net_assignments: networks.Assignments | None = None,
           learning_rate: float | tf.Variable = 1.0,
           shard: bool | None = None) -> "LearnedOptimizer":
    """Returns a trained optimizer.

    Args:
      path: The `--save_path` of `train.py` or another folder that
        `MetaOptimizer.save` wrote; or a name that `meta.pretrained()` lists.
      net_config: What the networks are, by id, as for `MetaOptimizer`. Only
        files of DeepMind's program need it, as they do not say.
      net_assignments: Replaces the assignments of the training, if the
        parameters now have other names.
      learning_rate: See `LearnedOptimizer`.
      shard: See `LearnedOptimizer`.

    Raises:
      FileNotFoundError: There is no trained network.
      ValueError: `path` is a file, or no path; a file is damaged, or does not
        fit its configuration; a file of DeepMind's program has none in
        `net_config`; or see `LearnedOptimizer`, which refuses networks that
        join parameters.
    """
    path = pretrained_networks.find(path)
    nets = net_config_lib.make(net_config_lib.from_folder(path, net_config))
    if net_assignments is None:
      saved = weights.read(net_config_lib.filename(path, next(iter(nets))))
      net_assignments = saved.trained_on.get("net_assignments")
    return cls(nets, net_assignments, learning_rate, shard=shard)

  def __reduce__(self) -> Any:
    """Copies and pickles the networks and the states.

    Raises:
      ValueError: See `net_config.with_arrays`.
    """
    self._drop_deleted()
    states = [[v.numpy() for v in state] for state in self.states]
    return _rebuild, (net_config_lib.with_arrays(self.networks),
                      self.net_assignments, self.learning_rate, self.name,
                      states, self._shard)

  def apply(self, gradients: Sequence[tf.Tensor | None],
            parameters: Sequence[gradient_pairs.Parameter]) -> None:
    """Updates the parameters by one step.

    Args:
      gradients: One gradient for each parameter, of its shape. A parameter
        whose gradient is None is left as it is.
      parameters: Floating-point variables.

    Raises:
      ValueError: An argument is no list, or the lists differ in length or are
        empty; a parameter is given twice, or is not a floating-point variable
        of known shape; all gradients are None, or one is not of a
        floating-point type or has another shape than its parameter; no network
        is assigned to a parameter, or the network cannot optimize it; a copy
        is given parameters in another order; or the call is in the scope of a
        distribution strategy, but not in one of its replicas. No parameter has
        changed then.
      RuntimeError: A checkpoint that was restored has a state of another shape
        for a parameter.
    """
    gradients, parameters = map(
        list, zip(*gradient_pairs.pairs(gradients, parameters)))
    gradients = gradient_pairs.sum_over_replicas(gradients)
    names = [gradient_pairs.parameter_name(p) for p in parameters]
    variables = [*map(gradient_pairs.variable_of, parameters)]
    # All states first, as one of the parameters may be refused.
    tf.distribute.get_replica_context().merge_call(
        lambda _, args: self.create_states(names, args), args=(variables,))
    self.update(gradients, variables, self.learning_rate)

  def reset(self) -> None:
    """Sets all states to those before the first step."""
    for group in self._groups():
      group.reset()
    self.states = self.states[:len(self._slots)]  # Without those of a copy.

  def networks_for(self, name: str) -> dict[str, networks.Network]:
    """Returns the networks that optimize a parameter, by id.

    Raises:
      ValueError: No network is assigned to it.
    """
    if self.net_assignments is None:
      return self.networks
    ends = [end for _, names in self.net_assignments for end in names
            if f"/{name}".endswith(f"/{end}")]
    if not ends:
      raise ValueError(
          f"No network is assigned to the parameter {name!r}: give "
          f"net_assignments, pairs of one of {sorted(self.networks)} and the "
          "names of its parameters.")
    # The most exact one, as "head/kernel" is where there is "kernel" too.
    longest = max(ends, key=len)
    return {key: self.networks[key] for key, names in self.net_assignments
            if longest in names}

  def create_states(self, names: Sequence[str],
                    variables: Sequence[tf.Variable]) -> None:
    """Creates the states of the parameters that have none.

    Args:
      names: The names of the parameters.
      variables: The parameters.

    Raises:
      ValueError: See `apply`.
      RuntimeError: See `apply`.
    """
    new = [(name, v) for name, v in zip(names, variables, strict=True)
           if v not in self._slots]
    if not new:
      return
    if self._error is not None:  # A part of it has been restored.
      raise RuntimeError(self._error)
    self._drop_deleted()
    names, variables = zip(*new)
    # A checkpoint that was restored before assigns to new states at once.
    with tf.init_scope():
      new_slots = slots.make(
          names, variables, [self.networks_for(name) for name in names],
          self._shard)
      for i, slot in enumerate(new_slots):
        self._check_states(len(self._slots) + i, names[i], variables[i].shape,
                           slot.states)
      for variable, slot in zip(variables, new_slots):
        try:
          self._add_states(len(self._slots), slot.states)
        except RuntimeError as error:
          self._error = str(error)
          raise
        self._slots.add(variable, slot)
      self._shared = [tensor.variable for group in self._groups()
                      for tensor in group.tensors]

  def update(self, gradients: Sequence[Any], variables: Sequence[tf.Variable],
             learning_rate: Any) -> None:
    """Updates parameters that have states, in a replica.

    Args:
      gradients: The gradients, the same for all replicas.
      variables: The parameters.
      learning_rate: Factor of the updates.
    """
    gradients, variables = self._slots.update_shards(
        gradients, variables, learning_rate)
    if variables:  # They are assigned in the cross-replica context.
      tf.__internal__.distribute.interim.maybe_merge_call(
          self._slots.update, tf.distribute.get_strategy(), gradients,
          variables, learning_rate)

  def _groups(self) -> list[groups.Group]:
    return list(dict.fromkeys(slot.group for _, slot in self._slots.items()))

  def _trackable_children(self, save_type: str = "checkpoint",
                          **kwargs: Any) -> dict[str, Any]:
    self._drop_deleted()
    # A checkpoint has the state of each parameter; a SavedModel, which cannot
    # restore parts of variables, has the variables.
    children = super()._trackable_children(save_type, **kwargs)
    children.pop("_shared" if save_type == "checkpoint" else "states")
    return children

  def _check_states(self, index: int, name: str, shape: tf.TensorShape,
                    states: list[Any]) -> None:
    """Raises a ValueError if a copy has other states at the place `index`."""
    copied = self.states[index] if index < len(self.states) else states
    if [tuple(v.shape) for v in copied] != [tuple(v.shape) for v in states]:
      raise ValueError(
          f"The parameter {name!r} of shape {shape} comes at place {index}, "
          "where the copied optimizer had one of another shape: apply it to "
          "the parameters in the same order.")

  def _add_states(self, index: int, states: list[Any]) -> None:
    """Adds the states of a new parameter, or replaces those of a copy."""
    if index == len(self.states):
      self.states.append(states)
      return
    for state, value in zip(states, self.states[index], strict=True):
      state.assign(value.numpy())
    self.states = [*self.states[:index], states, *self.states[index + 1:]]

  def _drop_deleted(self) -> None:
    """Drops the states of parameters that no longer exist."""
    before = len(self._slots)
    self._slots.drop_deleted()
    if len(self._slots) < before:
      kept = [slot.states for _, slot in self._slots.items()]
      self.states = [*kept, *self.states[before:]]


def _checked(learning_rate: Any) -> Any:
  """Returns a learning rate, a finite number or a scalar variable."""
  if isinstance(learning_rate, tf.Variable | keras.Variable):
    if not tf.TensorShape(learning_rate.shape).rank:
      return learning_rate
  elif checks.is_finite(learning_rate):
    return learning_rate
  raise ValueError(
      f"learning_rate is {learning_rate!r}, but must be a finite number, or a "
      "scalar tf.Variable, to which you assign the values of a schedule.")


def _rebuild(net_config: networks.NetConfig,
             net_assignments: networks.Assignments | None,
             learning_rate: Any, name: str, states: list[list[np.ndarray]],
             shard: bool | None = None) -> LearnedOptimizer:
  """Returns an optimizer from what `__reduce__` returned."""
  optimizer = LearnedOptimizer(
      net_config_lib.make(net_config), net_assignments, learning_rate, name,
      shard)
  optimizer.states = [[tf.Variable(value, trainable=False) for value in state]
                      for state in states]
  return optimizer
