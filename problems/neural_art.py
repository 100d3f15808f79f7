"""Painting a photograph in the style of a picture (Gatys et al. 2015)."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from l2lgd import checks, philox
from problems import base, datasets, vgg

_CONTENT_LAYER = "conv4_2"
_STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
_UNIT = 64.  # Grey levels, about the deviation of the pixels of photographs.
_MIN_SIZE = 16  # Pixels a side, of which the four halvings of VGG-19 leave one.


class Content(NamedTuple):
  """The photograph of a run."""
  image: tf.Tensor  # The pixels, uint8, shape [size, size, 3].
  features: tf.Tensor  # VGG-19's conv4_2, shape [1, size / 8, size / 8, C].


class NeuralArt(base.Problem):
  """Painting a photograph in the style of a picture, with VGG-19.

  f(image) = alpha content + beta style + gamma smoothness (Andrychowicz et al.
  2016, section 3.4). Each function has a photograph whose content the image is
  to show; all share a picture whose style it is to have.

  Content is the error of VGG-19's activations conv4_2 against those of the
  photograph, and style is the error of Gram matrices at five layers against
  those of the picture, as in Gatys et al. 2015. Each error is a fraction of the
  sum of squares of its target. So it is about 1 for an image of the mean
  colour, whose activations nearly vanish, whatever the size of the image and
  the scale of the network; this settles the weights of the layers, which Gatys
  et al. leave open. Smoothness is the mean squared difference of vertical
  neighbours plus that of horizontal ones.

  The parameter "image", shape [1, size, size, 3], is in units of 64 grey levels
  from ImageNet's mean colour: photographs have mean 0 and deviation 1, roughly.

  Example:

    problem = problems.NeuralArt("starry_night.png", "photographs",
                                 data_dir="data", download=True)
    params, photograph = problem.sample(seed=tf.constant([0, 0]))
    picture = problem.picture(params)  # Noise, before any step.
  """

  def __init__(self, style: str, contents: str | None = None,
               image_size: int = 64, content_weight: float = 10.,
               style_weight: float = 20., smoothness_weight: float = 2.,
               stddev: float = 0.1, split: str = "train",
               data_dir: str | None = None, download: bool = False):
    """Reads the images and the network.

    Args:
      style: Image file of the picture whose style to imitate.
      contents: Folder of the photographs, all of which are used. By default
        they are those of the split in `data_dir`, which must then be given.
      image_size: Pixels a side, to which images are cropped and resized; at
        least 16.
      content_weight: Weight of the content, alpha; at least 0.
      style_weight: Weight of the style, beta; at least 0.
      smoothness_weight: Weight of the smoothness, gamma; at least 0.
      stddev: Standard deviation of the image to start from, whose mean is 0; at
        least 0.
      split: The part of the photographs: "train", "validation" or "test".
      data_dir: The directory of the photographs and the network; see
        `datasets.content_images.read` and `datasets.vgg19.read`.
      download: Whether to download the network if it is not there.

    Raises:
      ValueError: An argument is out of its range, or a file is broken.
      OSError: The files are not there, or could not be downloaded.
    """
    self._size = checks.positive_integer("image_size", image_size)
    if self._size < _MIN_SIZE:
      raise ValueError(
          f"image_size is {image_size}, but must be at least {_MIN_SIZE}.")
    self._content_weight = checks.finite(
        "content_weight", content_weight, minimum=0.)
    self._style_weight = checks.finite("style_weight", style_weight, minimum=0.)
    self._smoothness_weight = checks.finite(
        "smoothness_weight", smoothness_weight, minimum=0.)
    self._stddev = checks.finite("stddev", stddev, minimum=0.)
    self._read_files(style, contents, split, data_dir, download)

  @property
  def style(self) -> np.ndarray:
    """The picture whose style is imitated, uint8, shape [size, size, 3]."""
    return self._style

  def picture(self, params: base.Params) -> np.ndarray:
    """Returns the image as pixels, to look at or to save.

    Args:
      params: The parameters of a run.

    Returns:
      Red, green and blue, uint8, shape [size, size, 3].
    """
    pixels = self._pixels(params["image"])[0]  # [size, size, 3]
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, Content]:
    index_seed, start_seed = philox.split(seed)
    index = philox.integers([], index_seed, self._contents.shape[0])
    image = self._contents[index]  # [size, size, 3]
    features = vgg.features(
        self._weights, _batch_of_one(image), last=_CONTENT_LAYER)
    start = self._stddev * philox.normal(
        [1, self._size, self._size, 3], start_seed)
    return {"image": start}, Content(image, features[_CONTENT_LAYER])

  def loss(self, params: base.Params, constants: Content,
           seed: tf.Tensor) -> tf.Tensor:
    image = params["image"]  # [1, size, size, 3]
    features = vgg.features(self._weights, self._pixels(image))
    content = _relative_error(features[_CONTENT_LAYER], constants.features)
    style = tf.add_n(
        [_relative_error(_gram(features[name]), self._grams[name])
         for name in _STYLE_LAYERS]) / len(_STYLE_LAYERS)
    smoothness = (
        tf.reduce_mean(tf.square(image[:, 1:] - image[:, :-1]))
        + tf.reduce_mean(tf.square(image[:, :, 1:] - image[:, :, :-1])))
    return (self._content_weight * content + self._style_weight * style
            + self._smoothness_weight * smoothness)  # []

  def _read_files(self, style: str, contents: str | None, split: str,
                  data_dir: str | None, download: bool) -> None:
    # Constants are created eagerly: a `tf.function` captures them and never
    # copies them.
    self._contents = tf.constant(
        datasets.content_images.read(data_dir, split, self._size)
        if contents is None else
        datasets.images.read_folder(contents, self._size))  # [n, size, size, 3]
    self._style = datasets.images.read(style, self._size)  # [size, size, 3]
    weights = datasets.vgg19.read(vgg.LAYERS, data_dir, download)
    self._weights = {name: tf.constant(w) for name, w in weights.items()}
    features = vgg.features(self._weights, _batch_of_one(self._style))
    self._grams = {name: _gram(features[name]) for name in _STYLE_LAYERS}

  def _pixels(self, image: tf.Tensor) -> tf.Tensor:
    """Returns an image in grey levels, which may be outside 0 to 255."""
    return self._weights["mean_rgb"] + _UNIT * image  # [1, size, size, 3]


def _batch_of_one(image: tf.Tensor) -> tf.Tensor:
  return tf.cast(image, tf.float32)[tf.newaxis]  # [1, size, size, 3]


def _gram(features: tf.Tensor) -> tf.Tensor:
  """The matrix G of Gatys et al. 2015, eq. 3, as a mean over positions."""
  f = tf.reshape(features, [-1, features.shape[-1]])  # [positions, C]
  return tf.matmul(f, f, transpose_a=True) / f.shape[0]  # [C, C]


def _relative_error(actual: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
  """Returns the squared error as a fraction of the target's squares."""
  return (tf.reduce_sum(tf.math.squared_difference(actual, target))
          / tf.reduce_sum(tf.square(target)))  # []
