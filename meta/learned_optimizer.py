"""A trained optimizer for custom training loops."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

import numpy as np
import sonnet as snt
import tensorflow as tf

from meta import pretrained_networks, slots
import networks
from networks import net_config as net_config_lib
from networks import weights


class LearnedOptimizer(snt.Module):
  """Trained networks, with the interface of the optimizers of `snt.optimizers`.

  Use it in the place of `snt.optimizers.Adam` in a custom training loop. Each
  parameter has its own state, which is created when it is first seen. The
  networks compute in float32, whatever the type of the parameters. Under a
  distribution strategy, gradients are summed over the replicas, as Keras's
  optimizers do.

  Example:

    optimizer = meta.LearnedOptimizer.load("paper-mnist")
    with tf.GradientTape() as tape:
      loss = loss_fn(labels, model(images))
    variables = model.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)

  A checkpoint, a copy and a pickle hold the states. As with `snt.optimizers`,
  they go by the order in which the parameters were first seen: names differ
  from one model of a class to the next.

  Attributes:
    networks: The networks by id.
    net_assignments: Which parameters each network optimizes.
    learning_rate: Factor of the updates, a number or a scalar variable.
    states: The variables of the state of each parameter, in the order in which
      the parameters were first seen. The states of deleted parameters are
      dropped when the next parameter is first seen.
  """

  def __init__(self, nets: Mapping[str, networks.Network],
               net_assignments: networks.Assignments | None = None,
               learning_rate: float | tf.Variable = 1.0,
               name: str | None = None):
    """Creates an optimizer from networks; `load` reads trained ones.

    Args:
      nets: The networks by id.
      net_assignments: Pairs of a network's id and the names of the parameters
        that it optimizes. A name may be the end of one, from a "/" on. None
        gives all parameters to the only network.
      learning_rate: Factor of the updates. A variable may change during
        training.
      name: Name of the module.

    Raises:
      ValueError: See `networks.Partition`.
    """
    super().__init__(name or "learned_optimizer")
    networks.Partition(nets, net_assignments)  # Checks the arguments.
    self.networks = dict(nets)
    self.net_assignments = net_assignments
    self.learning_rate = learning_rate
    self.states: list[list[tf.Variable]] = []
    self._slots = slots.Slots()

  @classmethod
  def load(cls, path: str, net_config: networks.NetConfig | None = None,
           net_assignments: networks.Assignments | None = None,
           learning_rate: float | tf.Variable = 1.0) -> "LearnedOptimizer":
    """Returns a trained optimizer.

    Args:
      path: The `--save_path` of `train.py` or another folder that
        `MetaOptimizer.save` wrote; or a name that `meta.pretrained()` lists.
      net_config: What the networks are, by id, as for `MetaOptimizer`. Only
        files of DeepMind's program need it, as they do not say.
      net_assignments: Replaces the assignments of the training, if the
        parameters now have other names.
      learning_rate: Factor of the updates.

    Raises:
      FileNotFoundError: There is no trained network.
      ValueError: A file is damaged, or does not fit its configuration.
    """
    path = pretrained_networks.find(path)
    nets = net_config_lib.make(net_config_lib.from_folder(path, net_config))
    if net_assignments is None:
      saved = weights.read(os.path.join(path, f"{next(iter(nets))}.l2l"))
      net_assignments = saved.trained_on.get("net_assignments")
    return cls(nets, net_assignments, learning_rate)

  def __reduce__(self) -> Any:
    """Copies and pickles the networks and the states."""
    states = [[v.numpy() for v in state] for state in self.states]
    return _rebuild, (net_config_lib.with_arrays(self.networks),
                      self.net_assignments, self.learning_rate, self.name,
                      states)

  def apply(self, gradients: Sequence[tf.Tensor | None],
            parameters: Sequence[slots.Parameter]) -> None:
    """Updates the parameters by one step.

    Args:
      gradients: One gradient for each parameter, of its shape. A parameter
        whose gradient is None is left as it is.
      parameters: Floating-point variables.

    Raises:
      ValueError: The numbers of gradients and parameters differ or are 0; all
        gradients are None, or one has another shape than its parameter; no
        network is assigned to a parameter, or the network cannot optimize it;
        or the call is in the scope of a distribution strategy, but not in one
        of its replicas. No parameter has changed then.
    """
    gradients, parameters = list(gradients), list(parameters)
    if len(gradients) != len(parameters) or not parameters:
      raise ValueError(
          f"Got {len(gradients)} gradients for {len(parameters)} parameters; "
          "apply needs one gradient per parameter, and at least one.")
    pairs = [(slots.as_gradient(g, p), p) for g, p in zip(gradients, parameters)
             if g is not None]
    if not pairs:
      raise ValueError(
          "All gradients are None: the loss does not depend on any of the "
          f"parameters {[slots.parameter_name(p) for p in parameters]}.")
    gradients, parameters = map(list, zip(*pairs))
    replica = tf.distribute.get_replica_context()
    if replica is None:
      raise ValueError("apply was called in the scope of a distribution "
                       "strategy. Call it in the function that the strategy's "
                       "run() calls, or outside the scope.")
    if tf.distribute.has_strategy():
      gradients = replica.all_reduce(
          tf.distribute.ReduceOp.SUM, [*map(tf.convert_to_tensor, gradients)])
    names = [slots.parameter_name(p) for p in parameters]
    variables = [p.value if isinstance(p, tf.keras.Variable) else p
                 for p in parameters]
    # States are created, and variables assigned, in the cross-replica context.
    replica.merge_call(self._apply, args=(names, gradients, variables))

  def reset(self) -> None:
    """Sets all states to those before the first step."""
    for parameter, slot in self._slots.items():
      state = slot.network.initial_state({slot.name: tf.zeros(parameter.shape)})
      for variable, value in zip(slot.variables, tf.nest.flatten(state)):
        variable.assign(value)

  def network_for(self, name: str) -> networks.Network:
    """Returns the networks that optimize a parameter, as one.

    Raises:
      ValueError: No network is assigned to it.
    """
    if self.net_assignments is None:
      return networks.Partition(self.networks)
    own = [(key, [name]) for key, names in self.net_assignments
           if any(f"/{name}".endswith(f"/{end}") for end in names)]
    if not own:
      raise ValueError(
          f"No network is assigned to the parameter {name!r}: give "
          f"net_assignments, pairs of one of {sorted(self.networks)} and the "
          "names of its parameters.")
    return networks.Partition(self.networks, own)

  def _apply(self, strategy: tf.distribute.Strategy, names: list[str],
             gradients: list[tf.Tensor], variables: list[tf.Variable]) -> None:
    # All slots first, as one of the parameters may be refused.
    own_slots = [self._slot(strategy, name, variable)
                 for name, variable in zip(names, variables)]
    for slot, gradient, variable in zip(own_slots, gradients, variables):
      if isinstance(gradient, tf.IndexedSlices) and not slot.has_rows:
        gradient = tf.convert_to_tensor(gradient)

      def assign(variable, gradient, *state, slot=slot):
        if isinstance(gradient, tf.IndexedSlices):
          slot.update_rows(gradient, variable, self.learning_rate)
          return
        update, next_state = slot.update(gradient, variable, state)
        update *= tf.cast(self.learning_rate, update.dtype)
        variable.assign_add(tf.cast(update, variable.dtype))
        for old, new in zip(state, next_state, strict=True):
          old.assign(new)

      strategy.extended.update(
          variable, assign, args=(gradient, *slot.variables), group=False)

  def _slot(self, strategy: tf.distribute.Strategy, name: str,
            variable: tf.Variable) -> slots.Slot:
    """Returns the slot of a parameter, which is created the first time."""
    slot = self._slots.find(variable)
    if slot is None:
      # A checkpoint that was restored before assigns to new states at once.
      with tf.init_scope(), strategy.extended.colocate_vars_with(variable):
        slot = self._new_slot(name, variable)
      self._slots.add(variable, slot)
    return slot

  def _new_slot(self, name: str, variable: tf.Variable) -> slots.Slot:
    """Returns a slot with the next state that is in no slot, or a new one."""
    self._drop_deleted()
    slot = slots.make_slot(
        self.network_for(name), name, variable.shape,
        lambda value, _: tf.Variable(
            value, trainable=False, name=f"{name}/state"))
    index = len(self._slots)
    if index == len(self.states):
      self.states.append(slot.variables)
      return slot
    state = self.states[index]
    shapes = [[tuple(v.shape) for v in vs] for vs in (state, slot.variables)]
    if shapes[0] != shapes[1]:
      raise ValueError(
          f"The parameter {name!r} of shape {variable.shape} comes at place "
          f"{index}, where the copied optimizer had one of another shape: "
          "apply it to the parameters in the same order.")
    return slot._replace(variables=state)

  def _drop_deleted(self) -> None:
    """Drops the states of parameters that no longer exist."""
    before = len(self._slots)
    self._slots.drop_deleted()
    if len(self._slots) < before:
      kept = [slot.variables for _, slot in self._slots.items()]
      self.states = [*kept, *self.states[before:]]


def _rebuild(net_config: networks.NetConfig,
             net_assignments: networks.Assignments | None,
             learning_rate: Any, name: str,
             states: list[list[np.ndarray]]) -> LearnedOptimizer:
  """Returns an optimizer from what `__reduce__` returned."""
  optimizer = LearnedOptimizer(
      net_config_lib.make(net_config), net_assignments, learning_rate, name)
  optimizer.states = [[tf.Variable(value, trainable=False) for value in state]
                      for state in states]
  return optimizer
