"""What problems of classification by minibatches share."""

import abc
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from l2lgd import checks
from problems import base, supervised

_STDDEV = 0.01  # Of weights and biases alike, at the start.


class Classification(base.Problem):
  """Training a classifier: the cross-entropy of random minibatches.

  All functions drawn are the same but for the point to start from.
  """

  def __init__(self, images: np.ndarray, labels: np.ndarray,
               shapes: Mapping[str, Sequence[int]], batch_size: int):
    """Initializes the problem.

    Args:
      images: The data set, uint8, shape [n, ...].
      labels: Its classes, integers, shape [n].
      shapes: Shape of every parameter, by name.
      batch_size: Number of images in a minibatch, B.

    Raises:
      ValueError: `batch_size` is not a positive integer.
    """
    self._batch_size = checks.positive_integer("batch_size", batch_size)
    self._shapes = dict(shapes)
    # Made eagerly: a `tf.function` captures them, and they are never copied.
    self._images = tf.constant(images)  # [n, ...]
    self._labels = tf.constant(labels)  # [n]

  @abc.abstractmethod
  def logits(self, params: base.Params, images: tf.Tensor) -> tf.Tensor:
    """Returns the classifier's unnormalised log probabilities.

    Args:
      params: Its parameters.
      images: Float tensor of shape [B, ...], with values from 0 to 1.

    Returns:
      A float tensor of shape [B, C].
    """

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    seeds = tf.unstack(
        tf.random.split(seed, len(self._shapes), alg="philox"))
    params = {
        name: _STDDEV * tf.random.stateless_normal(shape, own, alg="philox")
        for (name, shape), own in zip(self._shapes.items(), seeds)}
    return params, ()

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    return self.loss_on(params, *supervised.minibatch(
        (self._images, self._labels), self._batch_size, seed))

  def loss_on(self, params: base.Params, images: tf.Tensor,
              labels: tf.Tensor) -> tf.Tensor:
    """Returns the mean cross-entropy of a given batch, shape [].

    Args:
      params: The classifier's parameters.
      images: Shape [B, ...]: uint8, or floats from 0 to 1.
      labels: Integers, shape [B].

    Raises:
      ValueError: The images are of another type.
    """
    images = _unit_interval(tf.convert_to_tensor(images))  # [B, ...]
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.cast(labels, tf.int32), logits=self.logits(params, images)))


def _unit_interval(images: tf.Tensor) -> tf.Tensor:
  """Returns the images as float32, with 255 as 1 where they are bytes."""
  if images.dtype == tf.uint8:
    return tf.cast(images, tf.float32) / 255.
  if images.dtype.is_floating:
    return tf.cast(images, tf.float32)
  raise ValueError(
      f"images are {images.dtype.name}, but must be uint8, or floats from 0 to "
      "1.")
