"""Tests of painting photographs in the style of a picture."""

import itertools
import os
import tempfile

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from problems import neural_art
from tests import assertions, fake_data

SEED = (1, 2)
SIZE = 16
WEIGHTS = ("content_weight", "style_weight", "smoothness_weight")
BLOCKS = (2, 2, 4, 4, 1)  # Convolutions of each.


def convolve(image, kernel, bias):
  """ReLU of a 3 x 3 convolution; shapes [h, w, cin] and [3, 3, cin, cout]."""
  height, width, _ = image.shape
  padded = np.pad(image, [(1, 1), (1, 1), (0, 0)])
  total = np.zeros([height, width, kernel.shape[-1]]) + bias
  for i, j in itertools.product(range(3), range(3)):
    total += padded[i:i + height, j:j + width] @ kernel[i, j]
  return np.maximum(total, 0.)


def activations(pixels):
  """Those of the small VGG-19, by layer, without TensorFlow."""
  arrays = fake_data.small_vgg()
  h, layers = pixels - arrays["mean_rgb"].astype(np.float64), {}
  for block, number in enumerate(BLOCKS, 1):
    if block > 1:
      h = (h[::2, ::2] + h[1::2, ::2] + h[::2, 1::2] + h[1::2, 1::2]) / 4
    for i in range(1, number + 1):
      name = f"conv{block}_{i}"
      h = layers[name] = convolve(
          h, arrays[f"{name}_w"], arrays[f"{name}_b"])
  return layers


def gram(f):
  return np.einsum("hwi,hwj->ij", f, f) / (f.shape[0] * f.shape[1])


def share(actual, target):
  return np.sum((actual - target)**2) / np.sum(target**2)


def terms(image, content, style):
  """Content, style and smoothness, without TensorFlow."""
  image = np.asarray(image, np.float64)[0]
  content, style = np.asarray(content), np.asarray(style)
  actual = activations(fake_data.small_vgg()["mean_rgb"] + 64. * image)
  aim = activations(style)
  return np.array([
      share(actual["conv4_2"], activations(content)["conv4_2"]),
      np.mean([share(gram(actual[name]), gram(aim[name]))
               for name in (f"conv{block}_1" for block in (1, 2, 3, 4, 5))]),
      np.mean(np.diff(image, axis=0)**2) + np.mean(np.diff(image, axis=1)**2)])


class NeuralArtTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = self.enter_context(tempfile.TemporaryDirectory())
    fake_data.write_neural_art(
        self.dir, "train16", "valid16", "test16", image_size=SIZE)
    self.style = f"{self.dir}/style/{fake_data.STYLES[0]}"

  def make(self, **options):
    return neural_art.NeuralArt(**{
        "style": self.style, "image_size": SIZE, "data_dir": self.dir,
        **options})

  # --- The function.

  @parameterized.parameters(
      (3., 0., 0.), (0., 3., 0.), (0., 0., 3.), (2., 3., 4.))
  def test_loss_is_the_weighted_sum_of_three_terms(self, *weights):
    problem = self.make(**dict(zip(WEIGHTS, weights, strict=True)))
    params, constants = problem.sample(tf.constant(SEED))
    loss = problem.loss(params, constants, seed=None)
    self.assertEqual(loss.shape, [])
    np.testing.assert_allclose(
        loss, weights @ terms(params["image"], constants.image, problem.style),
        rtol=1e-4)

  def test_gradient_is_the_slope(self):
    weights = (2., 3., 4.)
    problem = self.make(**dict(zip(WEIGHTS, weights, strict=True)))
    params, constants = problem.sample(tf.constant(SEED))
    with tf.GradientTape() as tape:
      tape.watch(params)
      loss = problem.loss(params, constants, seed=None)
    gradient = tape.gradient(loss, params)["image"]
    self.assertTrue(np.all(np.isfinite(gradient)))
    image = params["image"].numpy().astype(np.float64)
    direction = np.random.default_rng(0).normal(size=image.shape)
    before, after = (
        weights @ terms(image + step * direction, constants.image,
                        problem.style) for step in (-1e-6, 1e-6))
    np.testing.assert_allclose(
        np.sum(gradient * direction), (after - before) / 2e-6, rtol=1e-3)

  def test_photograph_has_no_error_of_content(self):
    problem = self.make(style_weight=0., smoothness_weight=0.)
    _, constants = problem.sample(tf.constant(SEED))
    image = (constants.image.numpy() - fake_data.small_vgg()["mean_rgb"]) / 64.
    loss = problem.loss({"image": image[np.newaxis]}, constants, seed=None)
    np.testing.assert_allclose(loss, 0., atol=1e-8)

  # --- What is drawn.

  def test_same_seed_gives_the_same_run(self):
    problem = self.make()
    for function in (problem.sample, tf.function(problem.sample)):
      assertions.assert_close(
          function(tf.constant(SEED)), problem.sample(tf.constant(SEED)))

  def test_seeds_draw_all_photographs_and_other_starts(self):
    problem = self.make()
    drawn, starts = set(), set()
    for seed in range(20):
      params, constants = problem.sample(tf.constant([seed, 0]))
      drawn.add(constants.image.numpy().tobytes())
      starts.add(params["image"].numpy().tobytes())
    self.assertLen(drawn, 3)
    self.assertLen(starts, 20)

  @parameterized.parameters(
      ("train", "train16"), ("validation", "valid16"), ("test", "test16"))
  def test_photographs_come_from_the_split(self, split, name):
    _, constants = self.make(split=split).sample(tf.constant(SEED))
    with np.load(f"{self.dir}/content_images.npz") as arrays:
      self.assertIn(constants.image.numpy().tolist(), arrays[name].tolist())

  def test_photographs_may_be_a_folder(self):
    os.mkdir(f"{self.dir}/mine")
    fake_data.write_image(f"{self.dir}/mine/a.png", np.full([40, 20, 3], 77))
    _, constants = self.make(contents=f"{self.dir}/mine").sample(
        tf.constant(SEED))
    np.testing.assert_array_equal(constants.image, np.full([SIZE, SIZE, 3], 77))

  def test_start_has_mean_0_and_the_deviation_given(self):
    params, _ = self.make(stddev=0.5).sample(tf.constant(SEED))
    self.assertEqual(list(params), ["image"])
    self.assertEqual(params["image"].shape, [1, SIZE, SIZE, 3])
    self.assertBetween(np.std(params["image"]), 0.45, 0.55)
    self.assertBetween(np.mean(params["image"]), -0.05, 0.05)

  # --- Pictures.

  def test_picture_has_64_grey_levels_a_unit(self):
    image = np.zeros([1, SIZE, SIZE, 3], np.float32)
    image[0, 0, 0] = (1., -1., 0.3)
    image[0, 2, 1] = (9., -9., 0.)
    picture = self.make().picture({"image": tf.constant(image)})
    self.assertEqual((picture.shape, picture.dtype), ((SIZE, SIZE, 3), "uint8"))
    np.testing.assert_array_equal(picture[0, 0], [184, 46, 119])
    np.testing.assert_array_equal(picture[2, 1], [255, 0, 100])
    np.testing.assert_array_equal(picture[5, 5], [120, 110, 100])

  def test_style_is_the_picture_cropped_and_resized(self):
    pixels = np.full([20, 60, 3], 255)
    pixels[:, 20:40] = (10, 20, 30)
    fake_data.write_image(self.style, pixels)
    style = self.make().style
    self.assertEqual(style.dtype, np.uint8)
    np.testing.assert_array_equal(
        style, np.broadcast_to(np.uint8([10, 20, 30]), [SIZE, SIZE, 3]))

  # --- Errors.

  @parameterized.parameters(
      ("image_size", 0, "a positive integer"),
      ("image_size", 16., "a positive integer"),
      ("image_size", 15, "at least 16"),
      ("content_weight", -1., "at least 0"),
      ("style_weight", float("nan"), "a finite number"),
      ("smoothness_weight", "2", "a finite number"),
      ("stddev", -0.1, "at least 0"), ("split", "dev", "one of"))
  def test_bad_argument_is_named(self, name, value, message):
    with self.assertRaisesRegex(
        ValueError, f"^{name} is {value!r}, but must .*{message}"):
      self.make(**{name: value})

  def test_missing_files_are_reported(self):
    for options, message in (
        ({"style": f"{self.dir}/no.png"}, "No image .*no.png"),
        ({"contents": f"{self.dir}/no"}, "No folder .*no"),
        ({"data_dir": f"{self.dir}/no"}, "No content images under"),
        ({"data_dir": f"{self.dir}/no", "contents": f"{self.dir}/style"},
         "No VGG-19 under")):
      with self.subTest(message), self.assertRaisesRegex(
          FileNotFoundError, message):
        self.make(**options)

  def test_images_that_are_not_in_the_file_are_reported(self):
    with self.assertRaisesRegex(ValueError, r"lacks the arrays \['train'\]"):
      self.make(image_size=32)


if __name__ == "__main__":
  absltest.main()
