"""Tests of random scales of coordinates."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import problems
from tests import toys

SEED = (5, 6)
NOISE = tf.constant([7, 8])
R = 2.


class RandomScalingTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.inner = toys.Regression(tf.float64)
    self.problem = problems.RandomScaling(self.inner, R)
    self.params, (self.constants, self.scales) = self.problem.sample(
        tf.constant(SEED))

  def test_loss_is_that_of_the_scaled_parameters(self):
    moved = {name: x.numpy() + 0.3 for name, x in self.params.items()}
    scaled = {name: tf.constant(x * self.scales[name].numpy())
              for name, x in moved.items()}
    np.testing.assert_allclose(
        self.problem.loss(moved, (self.constants, self.scales), NOISE),
        self.inner.loss(scaled, self.constants, NOISE), rtol=1e-12)

  def test_start_is_that_of_the_problem(self):
    function_seed, _ = tf.random.split(SEED, 2, alg="philox")
    start, constants = self.inner.sample(function_seed)
    self.assertEqual(list(self.params), list(start))
    for name, x in self.params.items():
      self.assertEqual((x.shape, x.dtype), (start[name].shape, tf.float64))
      np.testing.assert_allclose(x * self.scales[name], start[name], rtol=1e-12)
    np.testing.assert_allclose(
        self.problem.loss(self.params, (self.constants, self.scales), NOISE),
        self.inner.loss(start, constants, NOISE), rtol=1e-12)

  def test_gradients_are_multiplied_by_the_scales(self):
    scaled = {name: x * self.scales[name] for name, x in self.params.items()}
    gradients = []
    for problem, params, constants in (
        (self.problem, self.params, (self.constants, self.scales)),
        (self.inner, scaled, self.constants)):
      with tf.GradientTape() as tape:
        tape.watch(params)
        loss = problem.loss(params, constants, NOISE)
      gradients.append(tape.gradient(loss, params))
    for name, scale in self.scales.items():
      np.testing.assert_allclose(
          gradients[0][name], scale * gradients[1][name], rtol=1e-10)

  def test_logarithms_of_the_scales_are_uniform(self):
    problem = problems.RandomScaling(problems.Quadratic(40, 50), R)
    _, (_, scales) = problem.sample(tf.constant(SEED))
    logs = np.log(scales["x"])
    self.assertBetween(np.min(logs), -R, -0.99 * R)
    self.assertBetween(np.max(logs), 0.99 * R, R)
    np.testing.assert_allclose(np.mean(logs), 0., atol=0.1)
    np.testing.assert_allclose(np.std(logs), R / np.sqrt(3), rtol=0.05)

  def test_scales_are_different_in_each_run_and_parameter(self):
    _, (_, others) = self.problem.sample(tf.constant([5, 7]))
    values = np.concatenate([np.ravel(t) for t in (
        *self.scales.values(), *others.values())])
    self.assertLen(set(values), len(values))

  @parameterized.parameters(0, -1., float("inf"))
  def test_bad_range_is_named(self, r):
    with self.assertRaisesRegex(
        ValueError, f"^r is {r}, but must be a positive number"):
      problems.RandomScaling(self.inner, r)


if __name__ == "__main__":
  absltest.main()
