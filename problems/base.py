"""The contract of a problem: functions to be minimized."""

import abc
from typing import Any

import tensorflow as tf

from l2lgd.types import Params

Constants = Any
"""A nest of tensors that distinguishes one function from the others."""


class Problem(abc.ABC):
  """A distribution over differentiable functions of named parameters.

  Learned optimizers are trained, and all optimizers are compared, on functions
  that are drawn from a problem. Training a model is such a function as well:
  its parameters are the weights, and each evaluation takes another minibatch.

  A custom problem implements `sample` and `loss`. Both are pure: they take all
  randomness from their seed, so the same arguments always give the same
  tensors. They run eagerly and inside `tf.function`, `tf.while_loop` and
  `tf.vectorized_map`, so they must consist of TensorFlow operations.

  Example:

    class Parabola(problems.Problem):
      # |x - c|^2, where c is drawn, from x = 0, with noise in the gradients.

      def sample(self, seed):
        center = tf.random.stateless_normal([10], seed, alg="philox")
        return {"x": tf.zeros([10])}, center

      def loss(self, params, constants, seed):
        noise = tf.random.stateless_normal([10], seed, alg="philox")
        error = params["x"] - constants  # [10]
        return tf.reduce_sum(error**2 + 0.1 * noise * error)
  """

  @abc.abstractmethod
  def sample(self, seed: tf.Tensor) -> tuple[Params, Constants]:
    """Draws a function and its starting point.

    Args:
      seed: An int32 tensor of shape [2], as for `tf.random.stateless_normal`.

    Returns:
      The parameters to start from, and the constants that distinguish this
      function from the others (the coefficients of a polynomial, say). All
      functions of a problem have parameters of the same names, shapes and
      types.
    """

  @abc.abstractmethod
  def loss(self, params: Params, constants: Constants,
           seed: tf.Tensor) -> tf.Tensor:
    """Evaluates the function that was drawn.

    Args:
      params: The point at which to evaluate it, with names and shapes as
        `sample` returned them.
      constants: The constants that `sample` returned.
      seed: Seed of this evaluation's noise (its minibatch, say), int32, shape
        [2]. Each step of a run has another one.

    Returns:
      The value of the function, a float tensor of shape []. A problem may
      also return S values, shape [S], of functions that share no parameters:
      the leading axis of every parameter must then be S, one entry a function.
    """
