"""Layers of neural networks, whose parameters are arguments.

A network is a list of layers. Each layer states its parameters and its formula
in one place, so an architecture is written only once.
"""

from collections.abc import Callable, Iterable, Sequence
import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from l2lgd import philox
from l2lgd.types import Params

Draw = Callable[[tf.Tensor], tf.Tensor]
"""Draws the initial value of a parameter from a seed of shape [2]."""

Activation = Callable[[tf.Tensor], tf.Tensor]

_EPSILON = 1e-3  # Added to the variance in batch normalization.


class Init(NamedTuple):
  """The distribution of the initial weights and biases, N(0, stddev^2)."""
  stddev: float
  # Whether weights have stddev / sqrt(fan-in) instead, and biases are 0.
  scaled: bool = False

  def weights(self, *shape: int) -> Draw:
    """Returns what draws weights, whose last axis is that of the outputs."""
    if self.scaled:
      return _normal(shape, self.stddev / np.sqrt(np.prod(shape[:-1])))
    return _normal(shape, self.stddev)

  def biases(self, size: int) -> Draw:
    """Returns what draws biases, shape [size]."""
    return _normal([size], 0. if self.scaled else self.stddev)


ORIGINAL = Init(0.01)  # That of DeepMind's program.


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
  seeds = philox.split(seed, len(initializers))
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


def function(f: Activation) -> Layer:
  """Returns a layer without parameters."""
  return Layer({}, lambda params, x: f(x))


def flatten() -> Layer:
  """Returns a layer that makes vectors of images, [B, ...] to [B, F]."""
  return function(lambda x: tf.reshape(x, [-1, np.prod(x.shape[1:])]))


def linear(name: str, fan_in: int, fan_out: int,
           init: Init = ORIGINAL) -> Layer:
  """Returns a dense layer, x w + b, [..., fan_in] to [..., fan_out]."""
  w, b = f"{name}/w", f"{name}/b"
  return Layer({w: init.weights(fan_in, fan_out), b: init.biases(fan_out)},
               lambda params, x: x @ params[w] + params[b])


def conv_2d(name: str, size: int, c_in: int, c_out: int,
            init: Init = ORIGINAL) -> Layer:
  """Returns a convolution that keeps the height and the width of images.

  Args:
    name: Name of the layer.
    size: Height and width of the filters.
    c_in: Number of channels of the inputs, [B, height, width, c_in].
    c_out: Number of filters.
    init: The distribution of the initial parameters.
  """
  w, b = f"{name}/w", f"{name}/b"
  return Layer(
      {w: init.weights(size, size, c_in, c_out), b: init.biases(c_out)},
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


def recurrent(name: str, fan_in: int, units: int,
              init: Init = ORIGINAL) -> Layer:
  """Returns a recurrent layer, from [B, T, fan_in] to its last state, [B, H].

  The state is h = tanh(x w + h u + b), from 0 (Elman 1990).

  Args:
    name: Name of the layer.
    fan_in: Number of inputs at each of the T positions.
    units: Number of units, H.
    init: The distribution of the initial parameters.
  """
  w, u, b = f"{name}/w", f"{name}/u", f"{name}/b"

  def unroll(params: Params, x: tf.Tensor) -> tf.Tensor:
    inputs = tf.unstack(x @ params[w] + params[b], axis=1)
    h = tf.tanh(inputs[0])
    for x_t in inputs[1:]:
      h = tf.tanh(x_t + h @ params[u])
    return h

  return Layer({w: init.weights(fan_in, units), u: init.weights(units, units),
                b: init.biases(units)}, unroll)


def self_attention(name: str, size: int, init: Init = ORIGINAL) -> Layer:
  """Returns attention of one head plus its inputs, [B, T, F] to [B, T, F].

  It is softmax(q k' / sqrt(F)) v o, where q, k and v are linear functions of
  the inputs, normalized over F (Vaswani et al. 2017, section 3.2.1).

  Args:
    name: Name of the layer.
    size: Number of features, F.
    init: The distribution of the initial parameters.
  """
  names = [f"{name}/{letter}" for letter in "qkvo"]

  def attend(params: Params, x: tf.Tensor) -> tf.Tensor:
    query, key, value, out = (params[n] for n in names)
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    z = (x - mean) * tf.math.rsqrt(variance + _EPSILON)
    logits = tf.matmul(z @ query, z @ key, transpose_b=True) / np.sqrt(size)
    return x + tf.nn.softmax(logits) @ (z @ value) @ out

  return Layer({n: init.weights(size, size) for n in names}, attend)


def mlp(sizes: Sequence[int], activation: Activation,
        normalized: bool = False, init: Init = ORIGINAL) -> list[Layer]:
  """Returns the layers of a multilayer perceptron, "mlp".

  The first of them flattens the inputs.

  Args:
    sizes: Number of inputs, of the units of each hidden layer, and of outputs.
    activation: What follows each hidden layer.
    normalized: Whether batch normalization precedes the activation.
    init: The distribution of the initial parameters.
  """
  network = [flatten()]
  for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
    network.append(linear(f"mlp/linear_{i}", fan_in, fan_out, init))
    if i == len(sizes) - 2:
      break  # The outputs are linear.
    if normalized:
      # Sonnet 1 gives the first one no number.
      name = f"mlp/batch_norm_{i}" if i else "mlp/batch_norm"
      network.append(batch_norm(name, 1, fan_out))
    network.append(function(activation))
  return network


def _normal(shape: Sequence[int], stddev: float) -> Draw:
  return lambda seed: stddev * philox.normal(shape, seed)


def _normalize(x: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
  """Returns x with each channel normalized over all other axes."""
  beta = tf.reshape(beta, [-1])  # [C]
  shape = tf.shape(x)
  images = tf.reshape(x, [shape[0], -1, 1, x.shape[-1]])  # [B, H * W, 1, C]
  normal, _, _ = tf.compat.v1.nn.fused_batch_norm(
      images, tf.ones_like(beta), beta, epsilon=_EPSILON)
  return tf.reshape(normal, shape)
