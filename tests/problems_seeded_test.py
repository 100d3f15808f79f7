"""Tests of pure functions that are made from functions with a state."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from problems import seeded
from tests import assertions

SEED = tf.constant((1, 2))
OTHER_SEED = tf.constant((1, 3))


def graph_of(function):
  return tf.function(function, autograph=False).get_concrete_function().graph


class SeededTest(parameterized.TestCase):

  @parameterized.parameters(
      (lambda: tf.random.normal([400]), 0., 1.),
      (lambda: tf.random.uniform([400]), 0.5, 12**-0.5),
      (lambda: tf.random.truncated_normal([400]), 0., 0.88))
  def test_draws_come_from_the_seed(self, function, mean, deviation):
    draw = seeded.seeded(function)
    values = draw(SEED).numpy()
    np.testing.assert_array_equal(values, draw(SEED))
    self.assertTrue(np.all(values != draw(OTHER_SEED)))
    self.assertAlmostEqual(values.mean(), mean, delta=0.15)
    self.assertAlmostEqual(values.std(), deviation, delta=0.1)

  def test_two_draws_of_one_function_differ(self):
    one, two = seeded.seeded(
        lambda: [tf.random.normal([9], seed=1) for _ in range(2)])(SEED)
    self.assertTrue(np.all(one != two))

  @parameterized.parameters(True, False)
  def test_stateless_draws_come_from_the_seed_if_asked(self, with_keys):
    draw = seeded.seeded(
        lambda: tf.random.stateless_normal([9], (5, 6)), with_keys=with_keys)
    self.assertEqual(
        np.all(draw(SEED).numpy() != draw(OTHER_SEED)), with_keys)

  def test_arguments_are_taken_flattened(self):
    spec = tf.TensorSpec([2], tf.float32)
    function = seeded.seeded(
        lambda x, pair: x + pair["a"] * pair["b"],
        [spec, {"a": spec, "b": spec}])
    np.testing.assert_array_equal(
        function(SEED, *tf.constant([[1., 2.], [3., 4.], [5., 6.]])),
        [1. + 3. * 5., 2. + 4. * 6.])

  def test_side_effects_are_left_out(self):
    count = tf.Variable(0.)
    def function():
      count.assign_add(1.)
      return tf.random.normal([3])
    seeded.seeded(function)(SEED)
    self.assertEqual(float(count), 0.)


class CreatedTest(absltest.TestCase):

  def test_variables_are_recorded_in_their_order(self):
    tf.Variable(1.)  # Before the scope.
    with seeded.created_variables() as created:
      variables = [tf.Variable(2.), tf.Variable(lambda: 3.)]
    self.assertEqual(
        [id(c.variable) for c in created], [id(v) for v in variables])
    self.assertEqual([float(c.first) for c in created], [2., 3.])

  def test_assigned_is_the_value_that_came_later(self):
    with seeded.created_variables() as created:
      same, other = tf.Variable([1., 2.]), tf.Variable([3., 4.])
    same.assign([1., 2.])
    other.assign([3., 5.])
    self.assertIsNone(created[0].assigned())
    assertions.assert_equal(created[1].assigned(), tf.constant([3., 5.]))


class OperationsTest(absltest.TestCase):

  def test_types_are_those_of_the_graph_and_its_functions(self):
    def function():
      sine = tf.function(tf.sin)(1.)  # A function that is called.
      return tf.while_loop(lambda x: x < 9., lambda x: x + tf.exp(x), [sine])
    types = seeded.operation_types(graph_of(function))
    self.assertContainsSubset({"Sin", "Exp", "Less"}, types)
    self.assertNotIn("Cos", types)

  def test_impure_operations_are_named_once(self):
    variable = tf.Variable(0.)
    def function():
      variable.assign_add(tf.random.normal([]) + tf.random.normal([]))
      return tf.random.stateless_normal([], (1, 2))
    self.assertEqual(seeded.impure_operations(graph_of(function)),
                     ["AssignAddVariableOp", "RandomStandardNormal"])

  def test_stateless_operations_are_pure(self):
    self.assertEmpty(seeded.impure_operations(graph_of(
        lambda: tf.random.stateless_uniform([], (1, 2), alg="philox"))))


if __name__ == "__main__":
  absltest.main()
