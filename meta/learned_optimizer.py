"""A trained optimizer in a training loop of one's own."""

from collections.abc import Mapping, Sequence
import functools
import os
import pathlib

import sonnet as snt
import tensorflow as tf

from meta import experiments, meta_optimizer
import networks
from networks import weights

Parameter = tf.Variable | tf.keras.Variable


class LearnedOptimizer(snt.Module):
  """Trained networks, to be used like an optimizer of `snt.optimizers`.

  Each parameter has a state of its own, made when it is first seen. The
  networks compute in float32, whatever the type of the parameters. Under a
  distribution strategy the gradients are summed over the replicas, as Keras's
  optimizers do.

  Attributes:
    states: For each parameter, in the order in which they were first seen, the
      variables of its state. As with `snt.optimizers`, a checkpoint goes by
      this order: names differ from one model of a class to the next.
  """

  def __init__(self, nets: Mapping[str, networks.Network],
               net_assignments: networks.Assignments | None = None,
               name: str | None = None):
    """Args:
      nets: The networks by id.
      net_assignments: Pairs of an id and the names of the parameters of that
        network, or their ends from a "/" on; None gives all to the only
        network.
      name: Name of the module.

    Raises:
      ValueError: See `networks.Partition`.
    """
    super().__init__(name or "learned_optimizer")
    networks.Partition(nets, net_assignments)  # Checks them.
    self.networks = dict(nets)
    self.net_assignments = net_assignments
    self.states = []
    self._state = functools.cache(self._make_state)

  @classmethod
  def load(cls, path: str, net_config: experiments.NetConfig | None = None,
           net_assignments: networks.Assignments | None = None
           ) -> "LearnedOptimizer":
    """Returns the optimizer that is saved in a folder.

    Args:
      path: The `--save_path` of `train.py`, or what `MetaOptimizer.save` wrote.
      net_config: What the networks are, by id, as for `MetaOptimizer`; needed
        for files of DeepMind's program, which do not say.
      net_assignments: In the place of those that are saved, where the names
        of the parameters are others than in training.

    Raises:
      FileNotFoundError: There is no trained network.
      ValueError: A file is broken, or does not fit its configuration.
    """
    nets = load_networks(path, net_config)
    if net_assignments is None:
      saved = weights.read(os.path.join(path, f"{next(iter(nets))}.l2l"))
      net_assignments = saved.trained_on.get("net_assignments")
    return cls(nets, net_assignments)

  def apply(self, gradients: Sequence[tf.Tensor],
            parameters: Sequence[Parameter]) -> None:
    """Updates the parameters by one step.

    Args:
      gradients: For each parameter one of its shape.
      parameters: Variables of floats.

    Raises:
      ValueError: There are no parameters, or as many gradients as parameters
        there are not; a gradient is None, or of another shape; no network is
        responsible for a parameter, or cannot optimize it; or this is the scope
        of a distribution strategy, but not of one of its replicas. No parameter
        has changed then.
    """
    gradients, parameters = list(gradients), list(parameters)
    if len(gradients) != len(parameters) or not parameters:
      raise ValueError(
          f"There are {len(gradients)} gradients for {len(parameters)} "
          "parameters, but each parameter needs one, and one there must be.")
    gradients = [as_gradient(g, p) for g, p in zip(gradients, parameters)]
    replica = tf.distribute.get_replica_context()
    if replica is None:
      raise ValueError("apply is called in the scope of a distribution "
                       "strategy, but must be in what its run() calls, or "
                       "outside.")
    if tf.distribute.has_strategy():
      gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    names = [parameter_name(p) for p in parameters]
    variables = [p.value if isinstance(p, tf.keras.Variable) else p
                 for p in parameters]
    # The states are made, and all is assigned, outside of the replicas.
    replica.merge_call(self._apply, args=(names, gradients, variables))

  def initial_state(self, name: str, shape: Sequence[int]) -> networks.State:
    """Returns the state of a parameter before its first step.

    Args:
      name: Of the parameter.
      shape: Of the parameter.

    Raises:
      ValueError: No network is responsible for it, or cannot optimize it.
    """
    return self._network(name).initial_state({name: tf.zeros(shape)})

  def update(self, name: str, gradient: tf.Tensor,
             state: networks.State) -> tuple[tf.Tensor, networks.State]:
    """Returns what is to be added to a parameter, and its next state.

    Args:
      name: Of the parameter.
      gradient: Of any type of floats; the update is of float32.
      state: What `initial_state`, or the step before, returned.
    """
    updates, state = self._network(name)(
        {name: tf.cast(gradient, tf.float32)}, state)
    return updates[name], state

  def _network(self, name):
    """The networks that are responsible for a parameter, as one."""
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

  def _apply(self, strategy, names, gradients, variables):
    # All of them first: one may be refused.
    states = [self._state(strategy, name, variable.ref())
              for name, variable in zip(names, variables)]
    for name, gradient, variable, (state, template) in zip(
        names, gradients, variables, states):

      def assign(variable, gradient, *state, name=name, template=template):
        update, new_state = self.update(
            name, gradient, tf.nest.pack_sequence_as(template, state))
        variable.assign_add(tf.cast(update, variable.dtype))
        for old, new in zip(state, tf.nest.flatten(new_state), strict=True):
          old.assign(new)

      strategy.extended.update(
          variable, assign, args=(gradient, *state), group=False)

  def _make_state(self, strategy, name, reference):
    """The variables of a parameter's state, and a nest to pack them in."""
    variable = reference.deref()
    with tf.init_scope(), strategy.extended.colocate_vars_with(variable):
      state = self.initial_state(name, variable.shape)
      self.states.append([
          tf.Variable(t, trainable=False, name=f"{name}/state")
          for t in tf.nest.flatten(state)])
    return self.states[-1], tf.nest.map_structure(lambda _: None, state)


def load_networks(path: str, net_config: experiments.NetConfig | None = None
                  ) -> dict[str, networks.Network]:
  """Returns the networks that are saved in a folder; see `LearnedOptimizer`."""
  keys = sorted(file.stem for file in pathlib.Path(path).glob("*.l2l"))
  if not keys:
    raise FileNotFoundError(
        f"No trained optimizer in {str(path)!r}: it has no .l2l file. Give the "
        "--save_path of train.py, or a folder that MetaOptimizer.save wrote.")
  config = {key: {**options, "net_path": os.path.join(path, f"{key}.l2l")}
            for key, options in net_config.items()} if net_config else (
                experiments.with_weights({key: {} for key in keys}, path))
  for key, options in config.items():
    if "net" not in options:
      raise ValueError(
          f"{options['net_path']} does not say what its network is: give "
          f"net_config={{{key!r}: {{'net': ..., 'net_options': ...}}}}.")
  return meta_optimizer.MetaOptimizer(**config).networks


def parameter_name(parameter: Parameter) -> str:
  """Returns the name by which a network is assigned to a parameter."""
  if isinstance(parameter, tf.keras.Variable):
    return parameter.path
  return parameter.name.split(":")[0]


def as_gradient(gradient: tf.Tensor | None, parameter: Parameter) -> tf.Tensor:
  """Returns the gradient of a parameter, checked, as a tensor.

  Raises:
    ValueError: It is none, or the parameter is not what it must be.
  """
  if not isinstance(parameter, Parameter):
    raise ValueError(f"A parameter is {parameter!r}, but must be a variable.")
  name = parameter_name(parameter)
  dtype, shape = tf.as_dtype(parameter.dtype), tf.TensorShape(parameter.shape)
  if not dtype.is_floating:
    raise ValueError(f"The parameter {name!r} is of {dtype.name}, but must be "
                     "of floats: leave it out.")
  if not shape.is_fully_defined():
    raise ValueError(f"The parameter {name!r} has shape {shape}, but it must "
                     "be known.")
  if gradient is None:
    raise ValueError(
        f"The gradient of {name!r} is None: the loss does not depend on this "
        "parameter. Leave both out.")
  gradient = tf.convert_to_tensor(gradient)  # Of an embedding, or a list.
  if not gradient.dtype.is_floating:
    raise ValueError(f"The gradient of {name!r} is of {gradient.dtype.name}, "
                     "but must be of floats.")
  if not shape.is_compatible_with(gradient.shape):
    raise ValueError(f"The gradient of {name!r} has shape {gradient.shape}, "
                     f"but the parameter has {shape}.")
  return gradient
