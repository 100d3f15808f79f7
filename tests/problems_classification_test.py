"""Tests of what problems of classification share."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from problems import classification

SEED = (1, 2)
IMAGES = np.array([[0, 51], [102, 153], [204, 255]], np.uint8)
LABELS = np.array([0, 3, 1], np.uint8)


class Linear(classification.Classification):
  """A linear classifier of images of two pixels, with four classes."""

  def __init__(self, batch_size=1):
    super().__init__(IMAGES, LABELS, {"w": [2, 4], "b": [4]}, batch_size)

  def logits(self, params, images):
    return images @ params["w"] + params["b"]


def cross_entropies(params, images, labels):
  """The cross-entropy of each image, in float64."""
  logits = images @ np.float64(params["w"]) + np.float64(params["b"])
  log_sums = np.log(np.sum(np.exp(logits), axis=1))
  return log_sums - logits[np.arange(len(labels)), labels]


def some_params():
  rng = np.random.default_rng(0)
  return {"w": tf.constant(rng.normal(size=[2, 4]), tf.float32),
          "b": tf.constant(rng.normal(size=[4]), tf.float32)}


class ClassificationTest(parameterized.TestCase):

  @parameterized.parameters(1, 2, 3)
  def test_loss_on_is_mean_cross_entropy(self, b):
    params = some_params()
    np.testing.assert_allclose(
        Linear().loss_on(params, IMAGES[:b], LABELS[:b]),
        np.mean(cross_entropies(params, IMAGES[:b] / 255., LABELS[:b])),
        rtol=1e-5)

  @parameterized.parameters(np.float16, np.float32, np.float64)
  def test_float_images_are_taken_as_they_are(self, dtype):
    params, images = some_params(), (IMAGES / 255.).astype(dtype)
    np.testing.assert_allclose(
        Linear().loss_on(params, images, LABELS),
        np.mean(cross_entropies(params, images, LABELS)), rtol=1e-5)

  @parameterized.parameters(np.uint8, np.int32, np.int64)
  def test_labels_may_be_any_integers(self, dtype):
    params = some_params()
    np.testing.assert_array_equal(
        Linear().loss_on(params, IMAGES, LABELS.astype(dtype)),
        Linear().loss_on(params, IMAGES, LABELS))

  @parameterized.parameters(np.int32, np.bool_)
  def test_images_of_another_type_are_refused(self, dtype):
    with self.assertRaisesRegex(ValueError, "^images are .* must be uint8"):
      Linear().loss_on(some_params(), IMAGES.astype(dtype), LABELS)

  def test_minibatches_draw_every_image_evenly(self):
    params, problem = some_params(), Linear(batch_size=1)
    loss = tf.function(lambda seed: problem.loss(params, (), seed))
    losses = np.array([loss(tf.constant([7, i])) for i in range(300)])
    values = cross_entropies(params, IMAGES / 255., LABELS)
    drawn = np.isclose(losses[:, None], values, rtol=1e-5)  # [300, n]
    np.testing.assert_array_equal(drawn.sum(axis=1), 1)
    np.testing.assert_allclose(drawn.mean(axis=0), 1 / 3, atol=0.1)

  def test_minibatch_may_repeat_images(self):
    params = some_params()
    values = cross_entropies(params, IMAGES / 255., LABELS)
    counts = np.stack(
        np.meshgrid(*[np.arange(6)] * 3), axis=-1).reshape(-1, 3)
    counts = counts[counts.sum(axis=1) == 5]  # All minibatches of 5.
    loss = Linear(batch_size=5).loss(params, (), tf.constant(SEED))
    self.assertTrue(np.any(np.isclose(counts @ values / 5, loss, rtol=1e-5)))

  def test_weights_and_biases_start_with_deviation_one_hundredth(self):
    seeds = [tf.constant([5, i]) for i in range(200)]
    draws = [Linear().sample(seed)[0] for seed in seeds]
    for name, shape in (("w", (2, 4)), ("b", (4,))):
      values = np.stack([draw[name] for draw in draws])
      self.assertEqual(values.shape[1:], shape)
      self.assertBetween(np.mean(values), -0.001, 0.001)
      self.assertBetween(np.std(values), 0.009, 0.011)

  def test_parameters_are_independent_of_each_other(self):
    params, constants = Linear().sample(tf.constant(SEED))
    self.assertTrue(np.all(params["w"][0] != params["b"]))
    self.assertEqual(constants, ())

  @parameterized.parameters(0, -1, 1.5, "2", None)
  def test_bad_batch_size_is_named(self, batch_size):
    with self.assertRaisesRegex(
        ValueError,
        f"^batch_size is {batch_size!r}, but must be a positive integer"):
      Linear(batch_size)


if __name__ == "__main__":
  absltest.main()
