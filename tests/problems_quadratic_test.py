"""Tests of quadratic functions."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from problems import quadratic

SEED = (1, 2)


def residual(w, x, y):
  return np.einsum("bij,bj->bi", w, x) - y


class QuadraticTest(parameterized.TestCase):

  @parameterized.product(batch_size=(1, 3), num_dims=(1, 4))
  def test_loss_is_mean_squared_residual(self, batch_size, num_dims):
    problem = quadratic.Quadratic(batch_size, num_dims)
    params, (w, y) = problem.sample(tf.constant(SEED))
    loss = problem.loss(params, (w, y), seed=None)
    self.assertEqual(loss.shape, [])
    np.testing.assert_allclose(
        loss, np.mean(np.sum(residual(w, params["x"], y)**2, axis=1)),
        rtol=1e-5)

  @parameterized.product(batch_size=(1, 3), num_dims=(1, 4))
  def test_separate_loss_is_every_squared_residual(self, batch_size, num_dims):
    problem = quadratic.Quadratic(batch_size, num_dims, separate=True)
    params, (w, y) = problem.sample(tf.constant(SEED))
    np.testing.assert_allclose(
        problem.loss(params, (w, y), seed=None),
        np.sum(residual(w, params["x"], y)**2, axis=1), rtol=1e-5)

  @parameterized.parameters((False, 3), (True, 1))
  def test_only_the_mean_divides_gradients(self, separate, divisor):
    problem = quadratic.Quadratic(3, 4, separate=separate)
    params, (w, y) = problem.sample(tf.constant(SEED))
    with tf.GradientTape() as tape:
      tape.watch(params)
      loss = problem.loss(params, (w, y), seed=None)
    expected = 2 * np.einsum("bij,bi->bj", w, residual(w, params["x"], y))
    np.testing.assert_allclose(
        tape.gradient(loss, params)["x"], expected / divisor, rtol=1e-5)

  def test_separate_draws_the_same_functions(self):
    together = quadratic.Quadratic(3, 4).sample(tf.constant(SEED))
    separate = quadratic.Quadratic(3, 4, separate=True).sample(
        tf.constant(SEED))
    tf.nest.map_structure(np.testing.assert_array_equal, together, separate)

  def test_defaults_are_the_original_settings(self):
    params, (w, y) = quadratic.Quadratic().sample(tf.constant(SEED))
    self.assertEqual(params["x"].shape, [128, 10])
    self.assertEqual(w.shape, [128, 10, 10])
    self.assertEqual(y.shape, [128, 10])
    self.assertBetween(np.std(params["x"]), 0.009, 0.011)
    self.assertBetween(np.mean(params["x"]), -0.001, 0.001)

  def test_uniform_coefficients_fill_the_unit_interval(self):
    _, coefficients = quadratic.Quadratic().sample(tf.constant(SEED))
    for values in map(np.asarray, coefficients):
      self.assertBetween(values.min(), 0., 0.01)
      self.assertBetween(values.max(), 0.99, np.nextafter(1., 0.))
      self.assertBetween(values.mean(), 0.47, 0.53)

  def test_normal_coefficients_have_mean_0_and_deviation_1(self):
    problem = quadratic.Quadratic(distribution="normal")
    for values in problem.sample(tf.constant(SEED))[1]:
      self.assertBetween(np.mean(values), -0.1, 0.1)
      self.assertBetween(np.std(values), 0.95, 1.05)
      self.assertLess(np.min(values), -2.)

  def test_draws_are_independent_of_each_other(self):
    problem = quadratic.Quadratic(128, 10, 1., distribution="normal")
    params, (w, y) = problem.sample(tf.constant(SEED))
    draws = [np.ravel(params["x"]), np.ravel(w)[:1280], np.ravel(y)]
    np.testing.assert_allclose(np.corrcoef(draws), np.eye(3), atol=0.12)

  def test_start_does_not_depend_on_distribution(self):
    uniform, _ = quadratic.Quadratic(3, 4).sample(tf.constant(SEED))
    normal, _ = quadratic.Quadratic(3, 4, distribution="normal").sample(
        tf.constant(SEED))
    np.testing.assert_array_equal(uniform["x"], normal["x"])

  def test_stddev_scales_the_start(self):
    small, _ = quadratic.Quadratic(3, 4, 0.5).sample(tf.constant(SEED))
    large, _ = quadratic.Quadratic(3, 4, 2.).sample(tf.constant(SEED))
    zero, _ = quadratic.Quadratic(3, 4, 0.).sample(tf.constant(SEED))
    np.testing.assert_allclose(4. * small["x"], large["x"], rtol=1e-6)
    np.testing.assert_array_equal(zero["x"], np.zeros([3, 4]))

  @parameterized.parameters(tf.float16, tf.float32, tf.float64)
  def test_dtype_is_that_of_every_tensor(self, dtype):
    problem = quadratic.Quadratic(3, 4, dtype=dtype)
    params, constants = problem.sample(tf.constant(SEED))
    loss = problem.loss(params, constants, seed=None)
    for tensor in (params["x"], *constants, loss):
      self.assertEqual(tensor.dtype, dtype)

  @parameterized.parameters(
      ("batch_size", 0), ("batch_size", 2.5), ("batch_size", True),
      ("num_dims", -1), ("num_dims", "3"), ("num_dims", None),
      ("stddev", -0.1), ("stddev", float("nan")), ("stddev", float("inf")),
      ("stddev", "small"), ("dtype", tf.int32), ("dtype", "real"),
      ("distribution", "cauchy"), ("distribution", None))
  def test_bad_argument_is_named(self, name, value):
    shown = "int32" if value == tf.int32 else repr(value)
    with self.assertRaisesRegex(ValueError, f"^{name} is {shown}, but must"):
      quadratic.Quadratic(**{name: value})

  def test_distributions_allowed_are_listed(self):
    with self.assertRaisesRegex(ValueError, r"one of \['normal', 'uniform'\]"):
      quadratic.Quadratic(distribution="cauchy")


if __name__ == "__main__":
  absltest.main()
