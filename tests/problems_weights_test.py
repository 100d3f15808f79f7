"""Tests of sample weights in the data of users' models."""

from absl.testing import absltest, parameterized
import keras
import numpy as np
import sonnet as snt
import tensorflow as tf

import problems
from tests import assertions

SEED = tf.constant([1, 2])
RNG = np.random.default_rng(0)
N = 6
INPUTS = np.float32(RNG.normal(size=[N, 3]))
TARGETS = np.float32(RNG.normal(size=[N, 2]))
WEIGHTS = np.array([0., 1., 2.5, 0.5, 3., -1.])


def square(targets, outputs):
  return tf.reduce_mean((targets - outputs)**2, axis=1)


LOSSES = ("mse", keras.losses.MeanSquaredError(), square)


def make(loss_fn=square, weights=WEIGHTS, batch_size=1, data=None):
  return problems.KerasProblem(
      lambda: keras.Sequential([keras.Input([3]), keras.layers.Dense(2)]),
      loss_fn, data or (INPUTS, TARGETS, weights), batch_size)


def make_sonnet(loss_fn):
  return problems.SonnetProblem(
      lambda: snt.Linear(2), loss_fn, (INPUTS, TARGETS, WEIGHTS), 5)


def weights_drawn(problem):
  return problem.minibatch(tf.unstack(
      tf.random.split(SEED, 2, alg="philox"))[0])


class WeightsTest(parameterized.TestCase):

  @parameterized.parameters(*LOSSES)
  def test_loss_is_what_keras_computes(self, loss_fn):
    problem = make(loss_fn, batch_size=5)
    params, constants = problem.sample(SEED)
    inputs, targets, weights = weights_drawn(problem)
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    model.set_weights(list(params.values()))
    model.compile(loss=loss_fn)
    expected = model.evaluate(
        inputs.numpy(), targets.numpy(), batch_size=5,
        sample_weight=weights.numpy(), verbose=0)
    self.assertGreater(np.ptp(weights), 0.)
    np.testing.assert_allclose(
        problem.loss(params, constants, SEED), expected, rtol=1e-5)

  @parameterized.parameters(*LOSSES[1:])
  def test_mean_is_over_the_number_of_examples(self, loss_fn):
    problem = make_sonnet(loss_fn)
    params, constants = problem.sample(SEED)
    inputs, targets, weights = weights_drawn(problem)
    errors = inputs @ params["linear/w"] + params["linear/b"] - targets
    np.testing.assert_allclose(
        problem.loss(params, constants, SEED),
        np.sum(np.mean(errors**2, 1) * weights) / 5, rtol=1e-5)

  def test_weights_of_one_are_no_weights(self):
    weighted = make(weights=np.ones(N))
    plain = make(data=(INPUTS, TARGETS))
    params, _ = weighted.sample(SEED)
    np.testing.assert_array_equal(
        weighted.loss(params, (), SEED), plain.loss(
            dict(zip(plain.sample(SEED)[0], params.values())), (), SEED))

  @parameterized.parameters(
      (np.array([0, 1, 2, 3, 4, 5]),), (WEIGHTS[:, None],),
      (np.float16(WEIGHTS),))
  def test_weights_may_have_another_form(self, weights):
    assertions.assert_equal(
        make(weights=weights)._data[2],
        tf.constant(np.ravel(weights), tf.float32))

  def test_data_set_may_have_weights(self):
    arrays = make()
    data_set = make(data=tf.data.Dataset.from_tensor_slices(
        (INPUTS, TARGETS, WEIGHTS)))
    assertions.assert_equal(data_set._data, arrays._data)

  @parameterized.parameters(
      ({"weights": WEIGHTS[:2]}, "must have the same number of examples"),
      ({"weights": TARGETS},
       r"sample weights of float32 \[6, 2\], but .* one number for each"),
      ({"weights": {"a": WEIGHTS}}, "sample weights of .*, but there must be"),
      ({"weights": np.full(N, np.nan)}, "weights that are nan or inf, but"),
      ({"loss_fn": lambda t, y: tf.reduce_mean(square(t, y))},
       r"returns the shape \[\], but must return \[1\], as the data have "
       "sample weights"),
      ({"data": (INPUTS, TARGETS, WEIGHTS, WEIGHTS)},
       "must be a tuple of inputs and targets, and perhaps sample weights"))
  def test_what_cannot_work_is_named(self, arguments, message):
    with self.assertRaisesRegex(ValueError, message):
      make(**arguments)


if __name__ == "__main__":
  absltest.main()
