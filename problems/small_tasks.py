"""Small, wide and hard tasks, on which general optimizers are trained."""

from collections.abc import Callable, Sequence
import functools
import itertools
import numbers
from typing import Any

import numpy as np
import tensorflow as tf

from l2lgd import checks, philox
from problems import (
    base,
    classification,
    datasets,
    layers,
    quadratic,
    random_scaling,
)
from problems.datasets import sources

_NUM_CLASSES = 10
_ACTIVATIONS: list[layers.Activation] = [
    tf.sigmoid, tf.tanh, tf.nn.relu, tf.nn.gelu]
# Standard deviations of the initial weights: those of DeepMind's program, and
# those of LeCun et al. 1998 and of He et al. 2015.
_INITS = [layers.ORIGINAL, layers.Init(1., scaled=True),
          layers.Init(np.sqrt(2.), scaled=True)]


def small_task(index: int, data_dir: str | None = None, split: str = "train",
               download: bool = False) -> base.Problem:
  """Returns a member of a family of small tasks.

  An optimizer that is trained on many of them works for others, and for much
  larger ones (after Metz et al. 2022, "Practical tradeoffs between memory,
  compute, and performance in learned optimizers"). The index determines what
  the task is: a multilayer perceptron, convolutional, recurrent or attention
  network, an autoencoder, a logistic regression or a quadratic function; its
  size, activation, initialization and batch size; and whether its coordinates
  are scaled at random. Half of the networks read digits of MNIST, made smaller,
  and the others synthetic images, which are drawn anew for each run.

  Example:

    tasks = {f"task_{i}": problems.small_task(i, "data") for i in range(20)}
    meta.train(tasks, num_epochs=1000)

  Args:
    index: Which member, from 0 on. Eleven in a row have members of all kinds.
    data_dir: The directory of MNIST's files; see `datasets.mnist.read`. None
      replaces the digits by synthetic images, unless they may be downloaded.
    split: The part of MNIST: "train", "validation" or "test".
    download: Whether to download MNIST to the directory if it is not there.

  Raises:
    ValueError: `index` is negative, or see `datasets.mnist.read`.
    OSError: See `datasets.mnist.read`.
  """
  if not isinstance(index, numbers.Integral) or index < 0:
    raise ValueError(
        f"index is {index!r}, but must be an integer of at least 0.")
  checks.one_of("split", split, sources.SPLITS)
  rng = np.random.default_rng(index)
  kind = _KINDS[index % len(_KINDS)]
  if kind is None:
    problem: base.Problem = quadratic.Quadratic(
        batch_size=8, num_dims=_size(rng, 4, 40), stddev=1.,
        distribution="normal")
  else:
    side = 14 if index // len(_KINDS) % 2 else 8
    images: _SyntheticImages | _Digits = _SyntheticImages(
        side, noise=rng.uniform(0.3, 1.2))
    if has_digits(data_dir, download) and index % 2:
      images = _digits(data_dir, split, download, side)
    problem = _SmallNetwork(
        images, kind(rng, side, _INITS[rng.choice(3, p=[.2, .4, .4])]),
        batch_size=_size(rng, 16, 128), reconstructs=kind is _autoencoder)
  if rng.uniform() < 0.5:
    problem = random_scaling.RandomScaling(problem, rng.uniform(0.2, 1.))
  return problem


def wide_task(index: int, data_dir: str | None = None, split: str = "train",
              download: bool = False) -> base.Problem:
  """Returns one of five tasks with wide layers.

  They are a perceptron, an autoencoder, an attention network, a recurrent and a
  convolutional one, of 7,738 to 43,018 parameters, on digits of 14 x 14 pixels.
  An optimizer that is trained on small tasks alone may learn steps that are too
  large for wide layers.

  Args:
    index: Which of them, from 0 to 4.
    data_dir: See `small_task`.
    split: See `small_task`.
    download: See `small_task`.

  Raises:
    ValueError: There is no such task, or see `datasets.mnist.read`.
    OSError: See `datasets.mnist.read`.
  """
  network = _member(_WIDE, index)
  checks.one_of("split", split, sources.SPLITS)
  images = (_digits(data_dir, split, download, _SIDE)
            if has_digits(data_dir, download)
            else _SyntheticImages(_SIDE, noise=0.7))
  return _SmallNetwork(images, network, batch_size=64,
                       reconstructs=network is _WIDE_AUTOENCODER)


def hard_task(index: int) -> base.Problem:
  """Returns one of six tasks that are far from solved after 1,000 steps.

  They are three convolutional networks, a perceptron, an attention network and
  a recurrent one, of 2,722 to 17,418 parameters. They classify synthetic images
  of 14 x 14 pixels, each class of which has 30 patterns. An optimizer that is
  trained on easy tasks alone may learn to make small steps wherever gradients
  are noisy, though the loss could still fall.

  Args:
    index: Which of them, from 0 to 5.

  Raises:
    ValueError: There is no such task.
  """
  return _SmallNetwork(
      _SyntheticImages(_SIDE, noise=0.7, num_patterns=30),
      _member(_HARD, index), batch_size=64, reconstructs=False)


def has_digits(data_dir: str | None, download: bool) -> bool:
  """Returns whether small and wide tasks have digits of MNIST."""
  return data_dir is not None or download


class _SyntheticImages:
  """Images of ten classes: one of the patterns of the class, and noise."""

  def __init__(self, side: int, noise: float, num_patterns: int = 1):
    self._side = side
    self._noise = noise
    self._num_patterns = num_patterns * _NUM_CLASSES

  def sample(self, seed: tf.Tensor) -> tf.Tensor:
    """Draws the patterns of a run, smooth over three pixels."""
    patterns = philox.normal(
        [self._num_patterns, self._side, self._side, 1], seed)
    return 2 * tf.nn.avg_pool2d(patterns, 3, 1, "SAME")

  def minibatch(self, patterns: tf.Tensor, size: int,
                seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws images and labels."""
    index_seed, noise_seed = philox.split(seed)
    indices = philox.integers([size], index_seed, self._num_patterns)
    noise = self._noise * philox.normal(
        [size, self._side, self._side, 1], noise_seed)
    return tf.gather(patterns, indices) + noise, indices % _NUM_CLASSES


class _Digits:
  """Digits of MNIST, made smaller."""

  def __init__(self, images: np.ndarray, labels: np.ndarray, side: int):
    self._images = tf.cast(tf.round(tf.image.resize(
        images[..., np.newaxis], [side, side], "area")), tf.uint8)
    self._labels = tf.constant(labels, tf.int32)

  def sample(self, seed: tf.Tensor) -> tuple[()]:
    """Draws nothing: all runs have the same images."""
    del seed
    return ()

  def minibatch(self, constants: tuple[()], size: int,
                seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws images and labels."""
    del constants
    indices = philox.integers([size], seed, len(self._labels))
    return (classification.unit_interval(tf.gather(self._images, indices)),
            tf.gather(self._labels, indices))


@functools.cache  # Several tasks have the same digits.
def _digits(data_dir: str | None, split: str, download: bool,
            side: int) -> _Digits:
  return _Digits(*datasets.mnist.read(data_dir, split, download), side)


class _SmallNetwork(base.Problem):
  """Training a small network to classify or to reconstruct images."""

  def __init__(self, images: _SyntheticImages | _Digits,
               network: Sequence[layers.Layer], batch_size: int,
               reconstructs: bool):
    self._images = images
    self._network = network
    self._batch_size = batch_size
    self._reconstructs = reconstructs

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    params_seed, images_seed = philox.split(seed)
    return (layers.initial_params(self._network, params_seed),
            self._images.sample(images_seed))

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    images, labels = self._images.minibatch(constants, self._batch_size, seed)
    outputs = layers.apply(self._network, params, images)
    if self._reconstructs:
      return tf.reduce_mean((outputs - tf.reshape(images, outputs.shape))**2)
    return classification.cross_entropy(labels, outputs)


def _member(networks: list[list[layers.Layer]], index: int
            ) -> list[layers.Layer]:
  if not isinstance(index, numbers.Integral) or (
      index not in range(len(networks))):
    raise ValueError(f"index is {index!r}, but must be an integer from 0 to "
                     f"{len(networks) - 1}.")
  return networks[index]


def _size(rng: np.random.Generator, smallest: int, largest: int) -> int:
  """Draws an integer whose logarithm is uniform."""
  return round(smallest * (largest / smallest)**rng.uniform())


def _activation(rng: np.random.Generator) -> layers.Activation:
  return _ACTIVATIONS[rng.integers(len(_ACTIVATIONS))]


# Each returns the layers of a network whose inputs are [B, side, side, 1].


def _perceptron(rng: np.random.Generator, side: int,
                init: layers.Init) -> list[layers.Layer]:
  hidden = [_size(rng, 8, 64) for _ in range(rng.integers(1, 4))]
  return layers.mlp(
      [side * side, *hidden, _NUM_CLASSES], _activation(rng), init=init)


def _logistic(rng: np.random.Generator, side: int,
              init: layers.Init) -> list[layers.Layer]:
  del rng
  return [layers.flatten(), layers.linear(
      "linear", side * side, _NUM_CLASSES, init)]


def _convolutional(rng: np.random.Generator, side: int,
                   init: layers.Init) -> list[layers.Layer]:
  channels = [_size(rng, 4, 16) for _ in range(rng.integers(1, 3))]
  activation, normalized = _activation(rng), rng.uniform() < 0.5
  return _convolutions(channels, side, activation, normalized, init)


def _convolutions(channels: Sequence[int], side: int,
                  activation: layers.Activation, normalized: bool,
                  init: layers.Init) -> list[layers.Layer]:
  network = []
  for i, (c_in, c_out) in enumerate(itertools.pairwise([1, *channels])):
    network.append(layers.conv_2d(f"conv_{i}", 3, c_in, c_out, init))
    if normalized:
      network.append(layers.batch_norm(f"batch_norm_{i}", 1, 1, 1, c_out))
    network += [layers.function(activation), layers.function(
        lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID"))]
    side //= 2
  return [*network, layers.flatten(), layers.linear(
      "linear", side * side * channels[-1], _NUM_CLASSES, init)]


def _recurrent(rng: np.random.Generator, side: int,
               init: layers.Init) -> list[layers.Layer]:
  return _recurrent_of(_size(rng, 8, 48), side, init)


def _recurrent_of(units: int, side: int,
                  init: layers.Init) -> list[layers.Layer]:
  return [_rows(), layers.recurrent("recurrent", side, units, init),
          layers.linear("linear", units, _NUM_CLASSES, init)]


def _attention(rng: np.random.Generator, side: int,
               init: layers.Init) -> list[layers.Layer]:
  return _attention_of(_size(rng, 8, 32), side, _activation(rng), init)


def _attention_of(size: int, side: int, activation: layers.Activation,
                  init: layers.Init) -> list[layers.Layer]:
  return [_rows(), layers.linear("embed", side, size, init),
          layers.self_attention("attention", size, init),
          layers.function(activation), layers.flatten(),
          layers.linear("linear", side * size, _NUM_CLASSES, init)]


def _autoencoder(rng: np.random.Generator, side: int,
                 init: layers.Init) -> list[layers.Layer]:
  width, code = _size(rng, 16, 64), _size(rng, 4, 12)
  return layers.mlp(
      [side * side, width, code, width, side * side], _activation(rng),
      init=init)


def _rows() -> layers.Layer:
  """Returns a layer that makes sequences of the rows of images."""
  return layers.function(lambda x: tf.squeeze(x, -1))


# In turn; None is a quadratic function.
_KINDS: list[Callable[..., Any] | None] = [
    _perceptron, _perceptron, _convolutional, _convolutional, _recurrent,
    _perceptron, None, _attention, _perceptron, _autoencoder, _logistic]

_SIDE = 14
_WIDE_AUTOENCODER = layers.mlp(
    [_SIDE**2, 96, 16, 96, _SIDE**2], tf.tanh, init=_INITS[1])
_WIDE: list[list[layers.Layer]] = [
    layers.mlp(
        [_SIDE**2, 128, 128, _NUM_CLASSES], tf.nn.gelu, init=_INITS[2]),
    _WIDE_AUTOENCODER,
    _attention_of(64, _SIDE, tf.nn.relu, _INITS[1]),
    _recurrent_of(96, _SIDE, _INITS[1]),
    _convolutions([16, 32], _SIDE, tf.nn.relu, normalized=True,
                  init=_INITS[0])]
_HARD: list[list[layers.Layer]] = [
    _convolutions([8, 16], _SIDE, tf.nn.relu, normalized=True,
                  init=_INITS[0]),
    _convolutions([16, 16], _SIDE, tf.nn.gelu, normalized=False,
                  init=_INITS[2]),
    _convolutions([8, 16, 16], _SIDE, tf.nn.relu, normalized=True,
                  init=_INITS[1]),
    layers.mlp([_SIDE**2, 64, 64, _NUM_CLASSES], tf.nn.relu, init=_INITS[2]),
    _attention_of(32, _SIDE, tf.nn.gelu, _INITS[1]),
    _recurrent_of(48, _SIDE, _INITS[1])]
