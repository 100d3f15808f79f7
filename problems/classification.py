"""Training a classifier of images that is made of layers."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from problems import base, layers, supervised


class Classification(supervised.Supervised):
  """The cross-entropy of a classifier on random minibatches of images.

  Example:

    network = layers.mlp([784, 20, 10], tf.sigmoid)
    problem = classification.Classification(
        images, labels, network, batch_size=128)
    problem.loss_on(params, images[:100], labels[:100])
  """

  def __init__(self, images: np.ndarray, labels: np.ndarray,
               network: Sequence[layers.Layer], batch_size: int):
    """Creates the problem from a data set.

    Args:
      images: All images, uint8, shape [n, ...].
      labels: Their classes, integers, shape [n].
      network: The layers of the classifier, from images with values of 0 to 1
        to one output for each class.
      batch_size: Number of images in a minibatch, B.

    Raises:
      ValueError: `batch_size` is not a positive integer.
    """
    super().__init__((images, labels), batch_size)
    self._network = network

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    return layers.initial_params(self._network, seed), ()

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    return self.loss_on(params, *self.minibatch(seed))

  def loss_on(self, params: base.Params, images: tf.Tensor,
              labels: tf.Tensor) -> tf.Tensor:
    """Returns the mean cross-entropy of a given batch, shape [].

    Args:
      params: The classifier's parameters.
      images: Images, uint8 or floats from 0 to 1, shape [B, ...].
      labels: Their classes, integers, shape [B].

    Raises:
      ValueError: The images are of another type.
    """
    images = unit_interval(tf.convert_to_tensor(images))  # [B, ...]
    return cross_entropy(
        tf.cast(labels, tf.int32), self.logits(params, images))

  def logits(self, params: base.Params, images: tf.Tensor) -> tf.Tensor:
    """Returns the unnormalized log probabilities of the classes, [B, C].

    Args:
      params: The classifier's parameters.
      images: Images, floats from 0 to 1, shape [B, ...].
    """
    return layers.apply(self._network, params, images)


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
  """Returns the mean cross-entropy, shape [], of B labels and [B, C] logits."""
  return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
      labels=labels, logits=logits))


def unit_interval(images: tf.Tensor) -> tf.Tensor:
  """Returns the images as float32; bytes are divided by 255."""
  if images.dtype == tf.uint8:
    return tf.cast(images, tf.float32) / 255.
  if images.dtype.is_floating:
    return tf.cast(images, tf.float32)
  raise ValueError(
      f"images are {images.dtype.name}, but must be uint8, or floats from 0 to "
      "1.")
