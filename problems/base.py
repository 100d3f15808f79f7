"""The contract of a problem: functions to be minimised."""

import abc
from typing import Any

import tensorflow as tf

from l2lgd.types import Params

Constants = Any  # A nest of tensors.


class Problem(abc.ABC):
  """A distribution over differentiable functions of named parameters.

  Both methods are pure: the same arguments always give the same tensors. They
  may be called eagerly, inside a `tf.function` and inside a `tf.while_loop`.
  """

  @abc.abstractmethod
  def sample(self, seed: tf.Tensor) -> tuple[Params, Constants]:
    """Draws a function and a point to start from.

    Args:
      seed: An int32 tensor of shape [2], as for `tf.random.stateless_normal`.

    Returns:
      The parameters to start from, and the constants (the coefficients of a
      polynomial, say) that tell this function from the others.
    """

  @abc.abstractmethod
  def loss(self, params: Params, constants: Constants,
           seed: tf.Tensor) -> tf.Tensor:
    """Evaluates the function drawn.

    Args:
      params: Where to evaluate it; named and shaped as `sample` returned them.
      constants: What `sample` returned.
      seed: Seed of this evaluation's noise (a minibatch, say), shape [2].

    Returns:
      The value of the function, a float tensor of shape []. A problem may
      also return S values, shape [S], of functions that share no parameters:
      the leading axis of every parameter must then be S, one entry a function.
    """
