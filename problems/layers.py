"""Layers of neural networks, whose parameters are arguments.

A network is a list of layers. Each layer states its parameters and its formula
in one place, so an architecture is written only once.
"""

from collections.abc import Callable, Iterable, Sequence
import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from l2lgd.types import Params

Draw = Callable[[tf.Tensor], tf.Tensor]
"""Draws the initial value of a parameter from a seed of shape [2]."""

# DeepMind's program draws all weights and biases with this standard deviation.
_STDDEV = 0.01
_EPSILON = 1e-3  # Added to the variance in batch normalization.


class Layer(NamedTuple):
  """A layer: its parameters, and the function that it computes."""
  initializers: dict[str, Draw]  # One for each parameter, by its name.
  # From the parameters of the whole network and the inputs to the outputs.
  apply: Callable[[Params, tf.Tensor], tf.Tensor]


def initial_params(network: Iterable[Layer], seed: tf.Tensor) -> Params:
  """Draws the parameters of all layers.

  Args:
    network: The layers.
    seed: Seed, int32, shape [2].
  """
  initializers = {name: draw for layer in network
                  for name, draw in layer.initializers.items()}
  seeds = tf.unstack(tf.random.split(seed, len(initializers), alg="philox"))
  return {name: draw(own_seed)
          for (name, draw), own_seed in zip(initializers.items(), seeds)}


def apply(network: Iterable[Layer], params: Params,
          inputs: tf.Tensor) -> tf.Tensor:
  """Returns the outputs of the last layer.

  Args:
    network: The layers, each of which takes the outputs of the one before.
    params: The parameters of all layers.
    inputs: The inputs of the first layer.
  """
  h = inputs
  for layer in network:
    h = layer.apply(params, h)
  return h


def function(f: Callable[[tf.Tensor], tf.Tensor]) -> Layer:
  """Returns a layer without parameters."""
  return Layer({}, lambda params, x: f(x))


def flatten() -> Layer:
  """Returns a layer that makes vectors of images, [B, ...] to [B, F]."""
  return function(lambda x: tf.reshape(x, [-1, np.prod(x.shape[1:])]))


def linear(name: str, fan_in: int, fan_out: int) -> Layer:
  """Returns a dense layer, x w + b, [B, fan_in] to [B, fan_out]."""
  w, b = f"{name}/w", f"{name}/b"
  return Layer({w: _normal(fan_in, fan_out), b: _normal(fan_out)},
               lambda params, x: x @ params[w] + params[b])


def conv_2d(name: str, size: int, c_in: int, c_out: int) -> Layer:
  """Returns a convolution that keeps the height and the width of images.

  Args:
    name: Name of the layer.
    size: Height and width of the filters.
    c_in: Number of channels of the inputs, [B, height, width, c_in].
    c_out: Number of filters.
  """
  w, b = f"{name}/w", f"{name}/b"
  return Layer(
      {w: _normal(size, size, c_in, c_out), b: _normal(c_out)},
      lambda params, x: tf.nn.conv2d(x, params[w], 1, "SAME") + params[b])


def batch_norm(name: str, *shape: int) -> Layer:
  """Returns batch normalization (Ioffe & Szegedy 2015, algorithm 1).

  It has an offset and no scale, and uses the mean and the variance of the
  minibatch.

  Args:
    name: Name of the layer.
    *shape: Shape of the offset, [..., C], ones but for the last axis.
  """
  beta = f"{name}/beta"
  return Layer({beta: lambda seed: tf.zeros(shape)},
               lambda params, x: _normalize(x, params[beta]))


def mlp(sizes: Sequence[int], activation: Callable[[tf.Tensor], tf.Tensor],
        normalized: bool = False) -> list[Layer]:
  """Returns the layers of a multilayer perceptron, "mlp".

  Args:
    sizes: Number of inputs, of the units of each hidden layer, and of outputs.
    activation: What follows each hidden layer.
    normalized: Whether batch normalization precedes the activation.
  """
  network = []
  for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
    network.append(linear(f"mlp/linear_{i}", fan_in, fan_out))
    if i == len(sizes) - 2:
      break  # The outputs are linear.
    if normalized:
      # Sonnet 1 gives the first one no number.
      name = f"mlp/batch_norm_{i}" if i else "mlp/batch_norm"
      network.append(batch_norm(name, 1, fan_out))
    network.append(function(activation))
  return network


def _normal(*shape: int) -> Draw:
  return lambda seed: _STDDEV * tf.random.stateless_normal(
      shape, seed, alg="philox")


def _normalize(x: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
  """Returns x with each channel normalized over all other axes."""
  beta = tf.reshape(beta, [-1])  # [C]
  images = tf.reshape(x, [x.shape[0], -1, 1, x.shape[-1]])  # [B, H * W, 1, C]
  normal, _, _ = tf.compat.v1.nn.fused_batch_norm(
      images, tf.ones_like(beta), beta, epsilon=_EPSILON)
  return tf.reshape(normal, x.shape)
