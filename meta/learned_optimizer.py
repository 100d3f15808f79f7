"""A trained optimizer for custom training loops."""

from collections.abc import Mapping, Sequence
import os
from typing import Any, NamedTuple, TypeAlias

import sonnet as snt
import tensorflow as tf

from meta import pretrained_networks
import networks
from networks import net_config as net_config_lib
from networks import weights

Parameter: TypeAlias = "tf.Variable | tf.keras.Variable"


class Slot(NamedTuple):
  """The network that optimizes one parameter, and its state."""
  name: str  # The name of the parameter.
  network: networks.Network
  template: Any  # The structure of the state.
  variables: list[Any]  # The state, flat; variables of TensorFlow or Keras.

  def update(self, gradient: tf.Tensor, state: Sequence[tf.Tensor]
             ) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Returns what is to be added to the parameter, and its next state.

    Args:
      gradient: The gradient of the parameter, of any floating-point type. The
        update is of float32.
      state: The values of `variables`.
    """
    updates, next_state = self.network(
        {self.name: tf.cast(gradient, tf.float32)},
        tf.nest.pack_sequence_as(self.template, state))
    return updates[self.name], tf.nest.flatten(next_state)


class _Slots:
  """Slots by `variable.ref()`, in no dictionary that `tf.Module` would sort."""

  def __init__(self) -> None:
    self.by_reference: dict[Any, Slot] = {}


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

  Attributes:
    networks: The networks by id.
    net_assignments: Which parameters each network optimizes.
    states: The variables of the state of each parameter, in the order in which
      the parameters were first seen. As with `snt.optimizers`, a checkpoint
      depends on this order: names differ from one model of a class to the next.
  """

  def __init__(self, nets: Mapping[str, networks.Network],
               net_assignments: networks.Assignments | None = None,
               name: str | None = None):
    """Creates an optimizer from networks; `load` reads trained ones.

    Args:
      nets: The networks by id.
      net_assignments: Pairs of a network's id and the names of the parameters
        that it optimizes. A name may be the end of one, from a "/" on. None
        gives all parameters to the only network.
      name: Name of the module.

    Raises:
      ValueError: See `networks.Partition`.
    """
    super().__init__(name or "learned_optimizer")
    networks.Partition(nets, net_assignments)  # Checks the arguments.
    self.networks = dict(nets)
    self.net_assignments = net_assignments
    self.states: list[list[tf.Variable]] = []
    self._slots = _Slots()

  @classmethod
  def load(cls, path: str, net_config: networks.NetConfig | None = None,
           net_assignments: networks.Assignments | None = None
           ) -> "LearnedOptimizer":
    """Returns a trained optimizer.

    Args:
      path: The `--save_path` of `train.py` or another folder that
        `MetaOptimizer.save` wrote; or a name that `meta.pretrained()` lists.
      net_config: What the networks are, by id, as for `MetaOptimizer`. Only
        files of DeepMind's program need it, as they do not say.
      net_assignments: Replaces the assignments of the training, if the
        parameters now have other names.

    Raises:
      FileNotFoundError: There is no trained network.
      ValueError: A file is damaged, or does not fit its configuration.
    """
    path = pretrained_networks.find(path)
    nets = net_config_lib.make(net_config_lib.from_folder(path, net_config))
    if net_assignments is None:
      saved = weights.read(os.path.join(path, f"{next(iter(nets))}.l2l"))
      net_assignments = saved.trained_on.get("net_assignments")
    return cls(nets, net_assignments)

  def apply(self, gradients: Sequence[tf.Tensor],
            parameters: Sequence[Parameter]) -> None:
    """Updates the parameters by one step.

    Args:
      gradients: One gradient for each parameter, of its shape.
      parameters: Floating-point variables.

    Raises:
      ValueError: The numbers of gradients and parameters differ or are 0; a
        gradient is None, or has another shape than its parameter; no network is
        assigned to a parameter, or the network cannot optimize it; or the call
        is in the scope of a distribution strategy, but not in one of its
        replicas. No parameter has changed then.
    """
    gradients, parameters = list(gradients), list(parameters)
    if len(gradients) != len(parameters) or not parameters:
      raise ValueError(
          f"Got {len(gradients)} gradients for {len(parameters)} parameters; "
          "apply needs one gradient per parameter, and at least one.")
    gradients = [as_gradient(g, p) for g, p in zip(gradients, parameters)]
    replica = tf.distribute.get_replica_context()
    if replica is None:
      raise ValueError("apply was called in the scope of a distribution "
                       "strategy. Call it in the function that the strategy's "
                       "run() calls, or outside the scope.")
    if tf.distribute.has_strategy():
      gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    names = [parameter_name(p) for p in parameters]
    variables = [p.value if isinstance(p, tf.keras.Variable) else p
                 for p in parameters]
    # States are created, and variables assigned, in the cross-replica context.
    replica.merge_call(self._apply, args=(names, gradients, variables))

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
    slots = [self._slot(strategy, name, variable)
             for name, variable in zip(names, variables)]
    for slot, gradient, variable in zip(slots, gradients, variables):

      def assign(variable, gradient, *state, slot=slot):
        update, next_state = slot.update(gradient, state)
        variable.assign_add(tf.cast(update, variable.dtype))
        for old, new in zip(state, next_state, strict=True):
          old.assign(new)

      strategy.extended.update(
          variable, assign, args=(gradient, *slot.variables), group=False)

  def _slot(self, strategy: tf.distribute.Strategy, name: str,
            variable: tf.Variable) -> Slot:
    """Returns the slot of a parameter, which is created the first time."""
    slots, key = self._slots.by_reference, variable.ref()
    if key not in slots:
      # A checkpoint that was restored before assigns to new states at once.
      with tf.init_scope(), strategy.extended.colocate_vars_with(variable):
        slots[key] = make_slot(
            self.network_for(name), name, variable.shape,
            lambda value, _: tf.Variable(
                value, trainable=False, name=f"{name}/state"))
        self.states.append(slots[key].variables)
    return slots[key]


def make_slot(network: networks.Network, name: str, shape: Sequence[int],
              make_variable: Any) -> Slot:
  """Returns a slot whose state is that before the first step.

  Args:
    network: The network that optimizes the parameter.
    name: The name of the parameter.
    shape: The shape of the parameter.
    make_variable: Makes a variable from its initial value and its index.

  Raises:
    ValueError: The network cannot optimize parameters of this shape.
  """
  state = network.initial_state({name: tf.zeros(shape)})
  return Slot(name, network, tf.nest.map_structure(lambda _: None, state), [
      make_variable(t, i) for i, t in enumerate(tf.nest.flatten(state))])


def parameter_name(parameter: Parameter) -> str:
  """Returns the name by which a network is assigned to a parameter."""
  if isinstance(parameter, tf.keras.Variable):
    return parameter.path
  return parameter.name.split(":")[0]


def as_gradient(gradient: tf.Tensor | None, parameter: Parameter) -> tf.Tensor:
  """Returns the gradient of a parameter, checked, as a tensor.

  Raises:
    ValueError: The gradient is None or does not fit the parameter, or the
      parameter is not a floating-point variable of known shape.
  """
  if not isinstance(parameter, tf.Variable | tf.keras.Variable):
    raise ValueError(f"A parameter is {parameter!r}, but must be a variable.")
  name = parameter_name(parameter)
  dtype, shape = tf.as_dtype(parameter.dtype), tf.TensorShape(parameter.shape)
  if not dtype.is_floating:
    raise ValueError(f"The parameter {name!r} is of type {dtype.name}, but "
                     "must be of a floating-point type: leave it out.")
  if not shape.is_fully_defined():
    raise ValueError(f"The parameter {name!r} has shape {shape}, but its shape "
                     "must be known.")
  if gradient is None:
    raise ValueError(
        f"The gradient of {name!r} is None: the loss does not depend on this "
        "parameter. Leave both out.")
  gradient = tf.convert_to_tensor(gradient)  # A list, or that of an embedding.
  if not gradient.dtype.is_floating:
    raise ValueError(f"The gradient of {name!r} is of type "
                     f"{gradient.dtype.name}, but must be of a floating-point "
                     "type.")
  if not shape.is_compatible_with(gradient.shape):
    raise ValueError(f"The gradient of {name!r} has shape {gradient.shape}, "
                     f"but the parameter has {shape}.")
  return gradient
