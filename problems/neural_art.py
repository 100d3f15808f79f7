"""Painting a photograph in the style of a picture (Gatys et al. 2015)."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from l2lgd import checks
from problems import base, datasets, vgg

_CONTENT_LAYER = "conv4_2"
_STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
_UNIT = 64.  # Grey levels, about the deviation of the pixels of photographs.
_SMALLEST = 16  # Pixels a side, of which four halvings leave one.


class Content(NamedTuple):
  """The photograph of a run."""
  image: tf.Tensor  # Its pixels, uint8, shape [size, size, 3].
  features: tf.Tensor  # Of its content, shape [1, size / 8, size / 8, C].


class NeuralArt(base.Problem):
  """f(image) = alpha content + beta style + gamma smoothness.

  This is the form of Andrychowicz et al. 2016, section 3.4. Content is the
  error of VGG-19's activations conv4_2 against those of a photograph, and style
  that of Gram matrices at five layers against those of a picture, as in Gatys
  et al. 2015. Each error is a share of the squares of what is aimed at, so that
  it is 1 for an image of one grey, whatever the size of images and the scale of
  the network; this settles the layers' weights, which Gatys et al. leave open.
  Smoothness is the mean squared difference of neighbouring pixels.

  The parameter "image", shape [1, size, size, 3], is in units of 64 grey levels
  from ImageNet's mean colour: photographs have mean 0 and deviation 1, roughly.
  """

  def __init__(self, style: str, contents: str | None = None,
               image_size: int = 64, content_weight: float = 10.,
               style_weight: float = 20., smoothness_weight: float = 2.,
               stddev: float = 0.1, split: str = "train",
               data_dir: str | None = None, download: bool = False):
    """Initializes the problem, reading the images and the network.

    Args:
      style: Image file of the picture whose style is aimed at.
      contents: Folder of the photographs, all of which are used; by default
        those of the split in the data directory.
      image_size: Pixels a side, to which images from such files are cropped
        and resized.
      content_weight: Alpha.
      style_weight: Beta.
      smoothness_weight: Gamma.
      stddev: Standard deviation of the image to start from; its mean is 0.
      split: The part of the photographs: "train", "validation" or "test".
      data_dir: Where they and the network are; see `datasets.content_images`
        and `datasets.vgg19`.
      download: Whether to download the network if it is not there.

    Raises:
      ValueError: An argument is out of its range, or a file is broken.
      OSError: The files are not there, or could not be downloaded.
    """
    self._size = checks.positive_integer("image_size", image_size)
    if self._size < _SMALLEST:
      raise ValueError(
          f"image_size is {image_size}, but must be at least {_SMALLEST}.")
    self._content_weight = checks.finite(
        "content_weight", content_weight, minimum=0.)
    self._style_weight = checks.finite("style_weight", style_weight, minimum=0.)
    self._smoothness_weight = checks.finite(
        "smoothness_weight", smoothness_weight, minimum=0.)
    self._stddev = checks.finite("stddev", stddev, minimum=0.)
    # Made eagerly: a `tf.function` captures them, and they are never copied.
    self._contents = tf.constant(
        datasets.content_images(data_dir, split, self._size)
        if contents is None else
        datasets.image_folder(contents, self._size))  # [n, size, size, 3]
    self._style = datasets.image(style, self._size)  # [size, size, 3]
    weights = datasets.vgg19(vgg.LAYERS, data_dir, download)
    self._weights = {name: tf.constant(w) for name, w in weights.items()}
    features = vgg.features(self._weights, _batch_of_one(self._style))
    self._grams = {name: _gram(features[name]) for name in _STYLE_LAYERS}

  @property
  def style(self) -> np.ndarray:
    """The picture whose style is aimed at, uint8, shape [size, size, 3]."""
    return self._style

  def picture(self, params: base.Params) -> np.ndarray:
    """Returns the image that the parameters are, to be looked at.

    Args:
      params: Those of a run.

    Returns:
      Red, green and blue, uint8, shape [size, size, 3].
    """
    pixels = self._pixels(params["image"])[0]  # [size, size, 3]
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, Content]:
    index_seed, start_seed = tf.unstack(tf.random.split(seed, 2, alg="philox"))
    index = tf.random.stateless_uniform(
        [], index_seed, minval=0, maxval=self._contents.shape[0],
        dtype=tf.int32, alg="philox")
    image = self._contents[index]  # [size, size, 3]
    features = vgg.features(
        self._weights, _batch_of_one(image), last=_CONTENT_LAYER)
    start = self._stddev * tf.random.stateless_normal(
        [1, self._size, self._size, 3], start_seed, alg="philox")
    return {"image": start}, Content(image, features[_CONTENT_LAYER])

  def loss(self, params: base.Params, constants: Content,
           seed: tf.Tensor) -> tf.Tensor:
    image = params["image"]  # [1, size, size, 3]
    features = vgg.features(self._weights, self._pixels(image))
    content = _error_share(features[_CONTENT_LAYER], constants.features)
    style = tf.add_n(
        [_error_share(_gram(features[name]), self._grams[name])
         for name in _STYLE_LAYERS]) / len(_STYLE_LAYERS)
    smoothness = (
        tf.reduce_mean(tf.square(image[:, 1:] - image[:, :-1]))
        + tf.reduce_mean(tf.square(image[:, :, 1:] - image[:, :, :-1])))
    return (self._content_weight * content + self._style_weight * style
            + self._smoothness_weight * smoothness)  # []

  def _pixels(self, image: tf.Tensor) -> tf.Tensor:
    """Returns an image in grey levels, which may be out of 0 to 255."""
    return self._weights["mean_rgb"] + _UNIT * image  # [1, size, size, 3]


def _batch_of_one(image):
  return tf.cast(image, tf.float32)[tf.newaxis]  # [1, size, size, 3]


def _gram(features):
  """The matrix G of Gatys et al. 2015, eq. 3, as a mean over positions."""
  f = tf.reshape(features, [-1, features.shape[-1]])  # [positions, C]
  return tf.matmul(f, f, transpose_a=True) / f.shape[0]  # [C, C]


def _error_share(actual, target):
  """The squared error, as a share of the squares of the target."""
  return (tf.reduce_sum(tf.math.squared_difference(actual, target))
          / tf.reduce_sum(tf.square(target)))  # []
