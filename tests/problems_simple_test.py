"""Tests of the squares of scalars."""

from absl.testing import absltest, parameterized
import tensorflow as tf

from problems import simple

SEED = (1, 2)


class SimpleTest(parameterized.TestCase):

  def test_start_is_one(self):
    params, constants = simple.Simple().sample(tf.constant(SEED))
    self.assertEqual(tf.nest.map_structure(float, params), {"x": 1.})
    self.assertEqual(constants, ())

  @parameterized.parameters((1., 1.), (-3., 9.), (0.5, 0.25))
  def test_loss_is_square(self, x, expected):
    loss = simple.Simple().loss({"x": tf.constant(x)}, (), seed=None)
    self.assertEqual(float(loss), expected)


class SimpleMultiOptimizerTest(parameterized.TestCase):

  @parameterized.parameters(1, 2, 3)
  def test_every_start_is_one(self, num_dims):
    params, constants = simple.SimpleMultiOptimizer(num_dims).sample(
        tf.constant(SEED))
    self.assertEqual(tf.nest.map_structure(float, params),
                     {f"x_{i}": 1. for i in range(num_dims)})
    self.assertEqual(constants, ())

  def test_default_is_two_dimensions(self):
    params, _ = simple.SimpleMultiOptimizer().sample(tf.constant(SEED))
    self.assertLen(params, 2)

  def test_loss_is_sum_of_squares(self):
    params = {"x_0": tf.constant(1.), "x_1": tf.constant(-2.),
              "x_2": tf.constant(3.)}
    loss = simple.SimpleMultiOptimizer(3).loss(params, (), seed=None)
    self.assertEqual(float(loss), 1. + 4. + 9.)

  @parameterized.parameters(0, -1, 1.5, "2", None)
  def test_bad_num_dims_is_named(self, num_dims):
    with self.assertRaisesRegex(
        ValueError,
        f"^num_dims is {num_dims!r}, but must be a positive integer"):
      simple.SimpleMultiOptimizer(num_dims)


if __name__ == "__main__":
  absltest.main()
