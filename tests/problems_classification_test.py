"""Tests of training a classifier on images."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from problems import classification, layers

SEED = (1, 2)
IMAGES = np.array([[0, 51], [102, 153], [204, 255]], np.uint8)
LABELS = np.array([0, 3, 1], np.uint8)


def make(batch_size=1):
  """A linear classifier of images of two pixels, with four classes."""
  return classification.Classification(
      IMAGES, LABELS, [layers.linear("linear", 2, 4)], batch_size)


def cross_entropies(params, images, labels):
  """The cross-entropy of each image, in float64."""
  logits = (images @ np.float64(params["linear/w"])
            + np.float64(params["linear/b"]))
  log_sums = np.log(np.sum(np.exp(logits), axis=1))
  return log_sums - logits[np.arange(len(labels)), labels]


def some_params():
  rng = np.random.default_rng(0)
  return {"linear/w": tf.constant(rng.normal(size=[2, 4]), tf.float32),
          "linear/b": tf.constant(rng.normal(size=[4]), tf.float32)}


class ClassificationTest(parameterized.TestCase):

  @parameterized.parameters(1, 2, 3)
  def test_loss_on_is_mean_cross_entropy(self, b):
    params = some_params()
    np.testing.assert_allclose(
        make().loss_on(params, IMAGES[:b], LABELS[:b]),
        np.mean(cross_entropies(params, IMAGES[:b] / 255., LABELS[:b])),
        rtol=1e-5)

  @parameterized.parameters(np.float16, np.float32, np.float64)
  def test_float_images_are_taken_as_they_are(self, dtype):
    params, images = some_params(), (IMAGES / 255.).astype(dtype)
    np.testing.assert_allclose(
        make().loss_on(params, images, LABELS),
        np.mean(cross_entropies(params, images, LABELS)), rtol=1e-5)

  @parameterized.parameters(np.uint8, np.int32, np.int64)
  def test_labels_may_be_any_integers(self, dtype):
    params = some_params()
    np.testing.assert_array_equal(
        make().loss_on(params, IMAGES, LABELS.astype(dtype)),
        make().loss_on(params, IMAGES, LABELS))

  @parameterized.parameters(np.int32, np.bool_)
  def test_images_of_another_type_are_refused(self, dtype):
    with self.assertRaisesRegex(ValueError, "^images are .* must be uint8"):
      make().loss_on(some_params(), IMAGES.astype(dtype), LABELS)

  def test_logits_are_the_outputs_of_the_layers(self):
    params = some_params()
    np.testing.assert_allclose(
        make().logits(params, tf.constant(IMAGES / 255., tf.float32)),
        IMAGES / 255. @ params["linear/w"] + params["linear/b"], rtol=1e-5)

  def test_minibatches_draw_every_image_evenly(self):
    params, problem = some_params(), make(batch_size=1)
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
    loss = make(batch_size=5).loss(params, (), tf.constant(SEED))
    self.assertTrue(np.any(np.isclose(counts @ values / 5, loss, rtol=1e-5)))

  def test_parameters_are_those_of_the_layers(self):
    params, constants = make().sample(tf.constant(SEED))
    self.assertEqual({name: p.shape.as_list() for name, p in params.items()},
                     {"linear/w": [2, 4], "linear/b": [4]})
    self.assertEqual(constants, ())

  @parameterized.parameters(0, -1, 1.5, "2", None)
  def test_bad_batch_size_is_named(self, batch_size):
    with self.assertRaisesRegex(
        ValueError,
        f"^batch_size is {batch_size!r}, but must be a positive integer"):
      make(batch_size)


if __name__ == "__main__":
  absltest.main()
