"""Several networks that share the parameters out among themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

import sonnet as snt
import tensorflow as tf

from networks import base

Assignments = Sequence[tuple[str, Sequence[str]]]  # Network, parameter names.


@snt.allow_empty_variables
class Partition(base.Network):
  """One network made of several, each responsible for some parameters.

  A parameter that no network is assigned to stays where it is; where two are,
  their updates add up.
  """

  def __init__(self, networks: Mapping[str, base.Network],
               assignments: Assignments | None = None,
               name: str | None = None):
    """Args:
      networks: The networks by id.
      assignments: Pairs of an id and the parameters of that network. None
        gives all parameters to the one network there is.
      name: Name of the module.

    Raises:
      ValueError: An id is unknown or repeated, or assignments are needed.
    """
    super().__init__(name)
    self.networks = dict(networks)
    if assignments is None:
      if len(networks) != 1:
        raise ValueError(
            f"net_assignments is None, but the networks are {sorted(networks)}:"
            " say which parameters each of them optimizes.")
      self._names = None
      return
    self._names = {}
    for pair in assignments:
      if not _is_sequence(pair) or len(pair) != 2 or not _is_sequence(pair[1]):
        raise ValueError(f"net_assignments has {pair!r}, but must be pairs of "
                         "a network and a list of the names of parameters.")
      key, names = pair
      if key not in networks:
        raise ValueError(f"net_assignments names the network {key!r}, but the "
                         f"networks are {sorted(networks)}.")
      if not names:
        raise ValueError(f"net_assignments gives no parameters to the network "
                         f"{key!r}: leave it out.")
      if key in self._names:
        raise ValueError(f"net_assignments names the network {key!r} twice: "
                         "give all its parameters in one pair.")
      self._names[key] = tuple(names)

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
    updates, next_state = {}, {}
    for key, part in self._parts(gradients).items():
      part_updates, next_state[key] = self.networks[key](part, state[key])
      for name, update in part_updates.items():
        updates[name] = updates[name] + update if name in updates else update
    for name in gradients.keys() - updates.keys():
      updates[name] = tf.zeros_like(gradients[name])
    return updates, next_state

  def diagnose(self, gradients: base.Params,
               state: base.State) -> dict[str, tf.Tensor]:
    return {f"{key}/{name}": share
            for key, part in self._parts(gradients).items()
            for name, share in self.networks[key].diagnose(
                part, state[key]).items()}

  def _parts(self, tensors: base.Params) -> dict[str, base.Params]:
    if self._names is None:
      return dict.fromkeys(self.networks, tensors)
    return {key: {name: tensors[name] for name in names}
            for key, names in self._names.items()}


def _is_sequence(value: Any) -> bool:
  return isinstance(value, Sequence) and not isinstance(value, str)
