"""The contract of a network: gradients in, updates out."""

import abc
from typing import Any

import sonnet as snt
import tensorflow as tf

from l2lgd.types import Params

State = Any  # A nest of tensors.


class Network(snt.Module, abc.ABC):
  """A rule, learned or designed by hand, that turns gradients into updates.

  Both methods are pure but for variables, which `initial_state` creates the
  first time that it is called.
  """

  @abc.abstractmethod
  def initial_state(self, params: Params) -> State:
    """Returns the state before the first step.

    Args:
      params: The parameters to be optimized, or the part of them that this
        network is responsible for.

    Raises:
      ValueError: The network cannot optimize parameters of these shapes.
    """

  @abc.abstractmethod
  def __call__(self, gradients: Params, state: State) -> tuple[Params, State]:
    """Makes one step.

    Args:
      gradients: Gradients, named and shaped as the parameters.
      state: What `initial_state`, or the step before, returned.

    Returns:
      The updates, which are to be added to the parameters, and the new state.
    """

  def diagnose(self, gradients: Params, state: State) -> dict[str, tf.Tensor]:
    """Returns by name what shows in a step whether the network can learn.

    Args:
      gradients: See `__call__`.
      state: See `__call__`.

    Returns:
      Shares, float32, shape []; none, unless a network has some.
    """
    del gradients, state
    return {}

  @property
  def options(self) -> dict[str, Any]:
    """The constructor's arguments that say what the network computes.

    They are JSON values. Together with the weights, which they do not contain,
    they make the same network again.
    """
    return {}
