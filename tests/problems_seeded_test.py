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


class UntrainedTest(absltest.TestCase):

  def test_assignments_are_read_later_in_the_same_graph(self):
    @tf.function
    def function(start):
      variable = seeded.Untrained(start, "v")
      before = variable + 0.
      variable.assign([5., 6.])
      variable.assign_add([1., 1.])
      variable.assign_sub([0., 3.])
      return before, variable[0], tf.gather(variable, 1), variable.read_value()
    assertions.assert_equal(
        function(tf.constant([1., 2.])),
        tuple(map(tf.constant, ([1., 2.], 6., 4., [6., 4.]))))

  def test_it_has_what_a_variable_has(self):
    variable = seeded.Untrained(tf.constant([1., 2.]), "v")
    self.assertIsInstance(variable, tf.Variable)
    self.assertEqual((variable.name, variable.dtype, variable.shape,
                      variable.trainable), ("v", tf.float32, [2], False))
    self.assertIn("'v'", repr(variable))

  def test_another_shape_is_refused(self):
    with tf.Graph().as_default(), self.assertRaisesRegex(ValueError, "shape"):
      seeded.Untrained(tf.constant([1., 2.]), "v").assign([1.])


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

  def test_random_is_what_depends_on_a_draw(self):
    found = []
    def function(x):
      drawn, kept = tf.random.normal([]), tf.constant(1.) + x
      found.extend(map(seeded.is_random, (
          drawn, kept, tf.sin(drawn) * kept, tf.zeros_like(drawn),
          tf.random.stateless_normal([], (1, 2)), tf.random.gamma([], 1.))))
    tf.compat.v1.wrap_function(function, [tf.TensorSpec([])])
    self.assertEqual(found, [True, False, True, False, True, True])

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
