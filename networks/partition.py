"""Several networks that divide the parameters among themselves."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sonnet as snt
import tensorflow as tf

from networks import base

Assignments = Sequence[tuple[str, Sequence[str]]]
"""Pairs of a network's id and the names of the parameters that it optimizes."""


@snt.allow_empty_variables
class Partition(base.Network):
  """Several networks as one, each responsible for some of the parameters.

  Use it if parameters of different kinds need different optimizers: the kernels
  of convolutions and the biases, for example. A parameter that is assigned to
  no network stays where it is. If a parameter is assigned to several networks,
  their updates are added.

  Example:

    network = networks.Partition(
        {"conv": networks.KernelDeepLSTM((3, 3), layers=(20, 20)),
         "adam": networks.Adam(0.001)},
        [("conv", ["conv_1/w", "conv_2/w"]),
         ("adam", ["conv_1/b", "conv_2/b"])])

  Attributes:
    networks: The networks by id.
  """

  def __init__(self, networks: Mapping[str, base.Network],
               assignments: Assignments | None = None,
               name: str | None = None):
    """Checks that the assignments fit the networks.

    Args:
      networks: The networks by id.
      assignments: Pairs of an id and the names of the parameters that this
        network optimizes. None gives all parameters to the only network.
      name: Name of the module.

    Raises:
      ValueError: Something is no network, an id is unknown or repeated, a
        network has no parameters, or assignments are needed.
    """
    super().__init__(name)
    if not isinstance(networks, Mapping) or not all(
        isinstance(network, base.Network) for network in networks.values()):
      raise ValueError(
          f"The networks are {networks!r}, but must be a dictionary of "
          "networks by id, such as {'cw': networks.Adam()}. "
          "(meta.LearnedOptimizer.load reads trained ones.)")
    self.networks = dict(networks)
    self._names: dict[str, tuple[str, ...]] | None = None
    if assignments is not None:
      self._names = _checked(assignments, networks)
      if not self._names:
        raise ValueError(
            "net_assignments is empty, but must give parameters to a network; "
            "None gives all of them to the only one.")
    elif len(networks) != 1:
      raise ValueError(
          f"net_assignments is None, but the networks are {sorted(networks)}: "
          "say which parameters each of them optimizes.")

  def initial_state(self, params: base.Params) -> base.State:
    for key, names in (self._names or {}).items():
      unknown = sorted(set(names) - set(params))
      if unknown:
        raise ValueError(
            f"net_assignments gives {unknown} to network {key!r}, but the "
            f"parameters are {sorted(params)}.")
    return {key: self.networks[key].initial_state(part)
            for key, part in self._parts(params).items()}

  def __call__(self, gradients: base.Params,
               state: base.State) -> tuple[base.Params, base.State]:
    return self.step(gradients, state, None)

  def num_rows(self, params: base.Params) -> dict[str, Any]:
    return {key: self.networks[key].num_rows(part)
            for key, part in self._parts(params).items()}

  def to_rows(self, tensors: base.Params) -> dict[str, Any]:
    return {key: self.networks[key].to_rows(part)
            for key, part in self._parts(tensors).items()}

  def from_rows(self, rows: dict[str, Any], like: base.Params) -> base.Params:
    updates: base.Params = {}
    for key, part in self._parts(like).items():
      for name, update in self.networks[key].from_rows(rows[key], part).items():
        updates[name] = updates[name] + update if name in updates else update
    for name in like.keys() - updates.keys():
      updates[name] = tf.zeros_like(like[name])
    return updates

  def prepare(self, gradients: base.Params, state: base.State,
              params: base.Params | None = None
              ) -> tuple[dict[str, Any], base.State]:
    of_networks = self._parts(params) if params else {}
    return _split({key: self.networks[key].prepare(
        part, state[key], of_networks.get(key))
                   for key, part in self._parts(gradients).items()})

  @property
  def joins_parameters(self) -> bool:
    return any(n.joins_parameters for n in self.networks.values())

  @property
  def needs_params(self) -> bool:
    return any(n.needs_params for n in self.networks.values())

  def update_rows(self, inputs: dict[str, Any],
                  state: base.State) -> tuple[dict[str, Any], base.State]:
    return _split({key: self.networks[key].update_rows(of_network, state[key])
                   for key, of_network in inputs.items()})

  def diagnose(self, gradients: base.Params,
               state: base.State) -> dict[str, tf.Tensor]:
    """Returns the measurements of all networks, as `id/name`."""
    return {f"{key}/{name}": fraction
            for key, part in self._parts(gradients).items()
            for name, fraction in self.networks[key].diagnose(
                part, state[key]).items()}

  def _parts(self, tensors: base.Params) -> dict[str, base.Params]:
    """Returns the tensors of each network."""
    if self._names is None:
      return dict.fromkeys(self.networks, tensors)
    return {key: {name: tensors[name] for name in names}
            for key, names in self._names.items()}


def _checked(
    assignments: Assignments,
    networks: Mapping[str, base.Network]) -> dict[str, tuple[str, ...]]:
  """Returns the names of each network's parameters.

  Raises:
    ValueError: See `Partition`.
  """
  checked: dict[str, tuple[str, ...]] = {}
  if not isinstance(assignments, Collection):  # It is read more than once.
    raise ValueError(
        f"net_assignments is {assignments!r}, but must be pairs of a network "
        "and a list of the names of parameters. A learning rate is given as "
        "learning_rate=...")
  for pair in assignments:
    if not _is_sequence(pair) or len(pair) != 2 or not _is_sequence(pair[1]):
      raise ValueError(f"net_assignments has {pair!r}, but must be pairs of a "
                       "network and a list of the names of parameters.")
    key, names = pair
    if not isinstance(key, str) or key not in networks:
      raise ValueError(f"net_assignments names the network {key!r}, but the "
                       f"networks are {sorted(networks)}.")
    if not names:
      raise ValueError(f"net_assignments gives no parameters to the network "
                       f"{key!r}: leave it out.")
    if key in checked:
      raise ValueError(f"net_assignments names the network {key!r} twice: "
                       "give all its parameters in one pair.")
    checked[key] = tuple(names)
  return checked


def _split(pairs: dict[str, tuple[Any, Any]]
           ) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns the first and the second values of pairs, by their key."""
  return ({key: first for key, (first, _) in pairs.items()},
          {key: second for key, (_, second) in pairs.items()})


def _is_sequence(value: Any) -> bool:
  return isinstance(value, Sequence) and not isinstance(value, str)
