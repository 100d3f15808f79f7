"""Tests of the guard of optimizers."""

import os

from absl.testing import absltest, parameterized
import numpy as np
import sonnet as snt
import tensorflow as tf

import meta
from tests import assertions, toy_training

NAN, INF = np.nan, np.inf


class GuardTest(toy_training.FolderTest):

  def setUp(self):
    super().setUp()
    self.optimizer = meta.LearnedOptimizer.load(self.path)
    self.guard = meta.Guard(self.optimizer, factor=3., step_size=0.1)
    self.variables = [tf.Variable([[3., -4.]]), tf.Variable([0., 0., 0.])]
    self.gradients = [tf.constant([[1., 2.]]), tf.constant([0., 2., 4.])]

  def apply(self, factor=1., guard=None):
    guard = guard or self.guard
    guard.apply([factor * g for g in self.gradients], self.variables)

  def values(self):
    return [v.numpy() for v in self.variables]

  def states(self):
    return [[v.numpy() for v in state] for state in self.optimizer.states]

  def test_usual_steps_are_those_of_the_optimizer(self):
    start = self.values()
    factors = (1., 2.9, 0.01, 1.5)
    for factor in factors:
      self.apply(factor)
    expected, values = self.states(), self.values()
    for variable, value in zip(self.variables, start, strict=True):
      variable.assign(value)
    self.optimizer = meta.LearnedOptimizer.load(self.path)
    for factor in factors:
      self.apply(factor, self.optimizer)
    assertions.assert_equal(self.values(), values)
    assertions.assert_equal(self.states(), expected)
    self.assertEqual(self.guard.num_rejected, 0)

  def test_single_gradient_is_refused(self):
    with self.assertRaisesRegex(ValueError, "^Got a single EagerTensor, but"):
      self.guard.apply(tf.ones([1, 2]), self.variables[0])

  @parameterized.parameters(0., 0.5)
  def test_learning_rate_is_a_factor_of_the_safe_step(self, rate):
    self.apply()
    self.variables[0].assign([[3., -4.]])
    self.optimizer.learning_rate = rate
    self.apply(100.)
    np.testing.assert_allclose(
        self.variables[0], [[3., -4.]] - rate * 0.1 * np.sqrt(25 / 2)
        * np.array([[1., 2.]]) / np.sqrt(5 / 2), rtol=1e-6)
    self.assertEqual(self.guard.num_rejected, 1)

  def test_safe_step_of_another_optimizer_does_not_depend_on_its_rate(self):
    guard = meta.Guard(snt.optimizers.SGD(0.5), step_size=0.1)
    variable = tf.Variable([3., -4.])
    guard.apply([tf.constant([1., 2.])], [variable])
    np.testing.assert_allclose(variable, [2.5, -5.])
    guard.apply([tf.constant([100., 200.])], [variable])
    size = np.sqrt((2.5**2 + 5.**2) / 2)
    np.testing.assert_allclose(
        variable, [2.5, -5.] - 0.1 * size * np.array([1., 2.]) / np.sqrt(2.5),
        rtol=1e-6)
    self.assertEqual(guard.num_rejected, 1)

  def test_iterators_are_steps_like_those_of_lists(self):
    start = self.values()
    self.apply()
    values = self.values()
    self.guard.reset()
    for variable, value in zip(self.variables, start, strict=True):
      variable.assign(value)
    self.guard.apply(iter(self.gradients), iter(self.variables))
    assertions.assert_equal(self.values(), values)

  def test_reset_forgets_the_norms_and_the_states(self):
    self.apply()
    first = self.states()
    self.apply(100.)
    self.assertEqual(self.guard.num_rejected, 1)
    self.guard.reset()
    self.assertEqual([v.numpy() for v in self.guard.statistics], [0, 0., 0.])
    self.apply(100.)  # The first step is usual, whatever its norm.
    self.assertEqual(self.guard.num_rejected, 0)
    self.guard.reset()
    self.apply()
    assertions.assert_equal(self.states(), first)

  def test_sparse_gradients_need_no_dense_shape(self):
    table = tf.Variable(tf.ones([3, 2]))
    rows = tf.IndexedSlices(tf.constant([[1., 2.]]), tf.constant([1]))
    tf.function(lambda: self.guard.apply([rows], [table]))()
    self.assertTrue(np.all(table[1] != 1.))
    np.testing.assert_array_equal(table[0], 1.)

  def test_safe_step_is_relative_to_the_size_of_the_parameter(self):
    self.apply()
    states = self.states()
    self.variables[0].assign([[3., -4.]])
    self.variables[1].assign([0., 0., 0.])
    self.apply(100.)
    np.testing.assert_allclose(
        self.variables[0],
        [[3., -4.]] - 0.1 * np.sqrt(25 / 2) * np.array([[1., 2.]])
        / np.sqrt(5 / 2), rtol=1e-6)
    np.testing.assert_allclose(
        self.variables[1],
        -0.1 * 0.01 * np.array([0., 2., 4.]) / np.sqrt(20 / 3), rtol=1e-6)
    assertions.assert_equal(self.states(), states)
    self.assertEqual(self.guard.num_rejected, 1)

  def test_bad_input_is_refused_on_rejected_steps_too(self):
    self.apply()
    before = self.values()
    with self.assertRaisesRegex(ValueError, "Got 1 gradients for 2 param"):
      self.guard.apply([100. * self.gradients[0]], self.variables)
    assertions.assert_equal(self.values(), before)

  def test_gradients_of_zero_are_no_measure(self):
    for factor in (0., 0., 1., 2.):
      self.apply(factor)
    self.assertEqual(self.guard.num_rejected, 0)

  def test_norms_are_compared_with_the_mean_of_those_accepted(self):
    factors = np.random.default_rng(0).lognormal(sigma=1.2, size=40)
    accepted, expected, actual = [], [], []
    for factor in factors:
      weights = 0.99**np.arange(len(accepted))[::-1]
      mean = np.average(accepted, weights=weights) if accepted else INF
      if factor <= 3. * mean:
        accepted.append(factor)
      expected.append(len(accepted))
      self.apply(float(factor))
      actual.append(len(expected) - int(self.guard.num_rejected))
    self.assertEqual(actual, expected)
    self.assertBetween(len(accepted), 25, 39)

  @parameterized.parameters(NAN, INF)
  def test_gradient_that_is_not_finite_changes_nothing(self, factor):
    for rejected in (1, 2):  # Before the optimizer's first step, and after.
      before = self.values()
      self.apply(factor)
      assertions.assert_equal(self.values(), before)
      self.assertEqual(self.guard.num_rejected, rejected)
      self.apply()
      self.assertTrue(np.isfinite(np.concatenate(
          [v.ravel() for v in self.values()])).all())

  @parameterized.parameters(False, True)
  def test_steps_are_the_same_in_a_function(self, jit_compile):
    factors = (1., 9., NAN, 2.)
    start = self.values()
    for factor in factors:
      self.apply(factor)
    expected = self.values()
    for variable, value in zip(self.variables, start, strict=True):
      variable.assign(value)
    guard = meta.Guard(meta.LearnedOptimizer.load(self.path), 3., 0.1)
    step = tf.function(
        lambda factor: self.apply(factor, guard), jit_compile=jit_compile)
    for factor in factors:
      step(tf.constant(factor))
    assertions.assert_close(self.values(), expected)
    self.assertEqual(guard.num_rejected, 2)

  def test_sparse_gradients_and_those_that_are_none_are_as_in_the_optimizer(
      self):
    table, other = tf.Variable(tf.ones([3, 1])), tf.Variable(1.)
    for value in (1., 100.):
      rows = tf.IndexedSlices(tf.constant([[value]]), tf.constant([1]),
                              tf.constant([3, 1]))
      self.guard.apply([rows, None], [table, other])
    self.assertEqual(self.guard.num_rejected, 1)
    np.testing.assert_array_equal(table[::2], [[1.], [1.]])
    self.assertEqual(other, 1.)

  def test_restored_guard_goes_on(self):
    self.apply()
    path = tf.train.Checkpoint(guard=self.guard).write(
        os.path.join(self.path, "checkpoint"))
    restored = meta.Guard(meta.LearnedOptimizer.load(self.path), 3., 0.1)
    status = tf.train.Checkpoint(guard=restored).read(path)
    self.apply(4., restored)
    self.assertEqual(restored.num_rejected, 1)
    self.apply(2., restored)
    status.assert_consumed()

  def test_distribution_strategy_is_refused(self):
    with tf.distribute.OneDeviceStrategy("cpu:0").scope():
      with self.assertRaisesRegex(ValueError, "under a distribution strategy"):
        self.apply()

  def test_name_of_an_optimizer_is_refused(self):
    with self.assertRaisesRegex(
        ValueError, "^optimizer is 'general', .* meta.LearnedOptimizer.load"):
      meta.Guard("general")

  @parameterized.parameters(
      ({"factor": 0.5}, "factor is 0.5, but must be a finite number of at le"),
      ({"step_size": 0.}, "step_size is 0.0, but must be a positive number"))
  def test_bad_options_are_named(self, options, message):
    with self.assertRaisesRegex(ValueError, f"^{message}"):
      meta.Guard(self.optimizer, **options)


if __name__ == "__main__":
  absltest.main()
