"""A network whose weights are a part of its state."""

from collections.abc import Iterator, Sequence
import contextlib
from typing import Any, NamedTuple

import sonnet as snt
import tensorflow as tf

from networks import base


class State(NamedTuple):
  """The state of a network, and its weights."""
  own: base.State  # The network's state.
  weights: tuple[tf.Tensor, ...]  # In place of its trainable variables.


@snt.allow_empty_variables
class WeightsInState(base.Network):
  """A network that computes with the weights in its state.

  So runs side by side can have different weights. At first, they are the values
  of the network's variables, which this network shares.
  """

  def __init__(self, network: base.Network):
    """Wraps a network. Its computation must not be a `tf.function`."""
    super().__init__()
    self._network = network

  def initial_state(self, params: base.Params) -> State:
    """Returns the state of the network, and the values of its variables.

    Raises:
      ValueError: A variable is no attribute of a module.
    """
    own = self._network.initial_state(params)
    variables = self._network.trainable_variables
    found = {value.ref() for *_, value in self._attributes()}
    for variable in variables:
      if variable.ref() not in found:
        raise ValueError(
            f"The variable {variable.name} of the network is in a list, say, "
            "but must be an attribute of a snt.Module to be perturbed.")
    return State(own, tuple(map(tf.convert_to_tensor, variables)))

  def __call__(self, gradients: base.Params,
               state: State) -> tuple[base.Params, State]:
    return self.step(gradients, state, None)

  def step(self, gradients: base.Params, state: State,
           params: base.Params | None) -> tuple[base.Params, State]:
    with self._with(state.weights):
      updates, own = self._network.step(gradients, state.own, params)
    return updates, state._replace(own=own)

  @property
  def needs_params(self) -> bool:
    return self._network.needs_params

  def _attributes(self) -> list[tuple[dict[str, Any], str, tf.Variable]]:
    """Returns where variables are: attributes of a module, a name, the value.
    """
    return [(vars(module), name, value)
            for module in (self._network, *self._network.submodules)
            for name, value in vars(module).items()
            if isinstance(value, tf.Variable)]

  @contextlib.contextmanager
  def _with(self, weights: Sequence[tf.Tensor]) -> Iterator[None]:
    """Puts tensors in place of the variables for a while."""
    values = {variable.ref(): weight for variable, weight in zip(
        self._network.trainable_variables, weights, strict=True)}
    attributes = self._attributes()
    try:
      for of_module, name, variable in attributes:
        of_module[name] = values.get(variable.ref(), variable)
      yield
    finally:
      for of_module, name, variable in attributes:
        of_module[name] = variable
