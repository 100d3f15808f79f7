"""Tests of the states that a learned optimizer keeps, and of its copies."""

import copy
import gc
import os
import pickle

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
import networks
from tests import assertions
from tests.toy_training import (
  FolderTest,
  loop,
  make_model,
)


class StatesTest(FolderTest):

  @parameterized.parameters(0, 2)
  def test_checkpoint_goes_on_with_identical_losses(self, steps_before):
    model = make_model()
    optimizer = meta.LearnedOptimizer.load(self.path)
    loop(optimizer, model, 2)
    path = tf.train.Checkpoint(model=model, optimizer=optimizer).save(
        os.path.join(self.path, "checkpoint"))
    expected = loop(optimizer, model)
    other_model, other = make_model(), meta.LearnedOptimizer.load(self.path)
    loop(other, other_model, steps_before)
    status = tf.train.Checkpoint(model=other_model, optimizer=other).restore(
        path)
    self.assertEqual(loop(other, other_model), expected)
    status.assert_consumed()

  def test_state_is_made_for_each_parameter_when_it_is_first_seen(self):
    optimizer = meta.LearnedOptimizer.load(self.path)
    self.assertEmpty(optimizer.states)
    first, second = tf.Variable(tf.zeros([2, 3])), tf.Variable(1.)
    for parameters in ([first], [second, first]):
      optimizer.apply([tf.ones(p.shape) for p in parameters], parameters)
    self.assertEqual([v.shape for v in optimizer.states[0]],
                     [[4, 6], [4, 6], [3, 6], [3, 6]])
    self.assertEqual([v.shape for v in optimizer.states[1]],
                     [[4, 1], [4, 1], [3, 1], [3, 1]])

  @parameterized.named_parameters(
      ("copied", copy.deepcopy),
      ("pickled", lambda o: pickle.loads(pickle.dumps(o))))
  def test_goes_on_with_identical_losses_if(self, duplicate):
    optimizer, model = meta.LearnedOptimizer.load(self.path), make_model()
    loop(optimizer, model, 2)
    weights = model.get_weights()
    twin = duplicate(optimizer)
    expected = loop(optimizer, model)
    states = [[v.numpy() for v in state] for state in optimizer.states]
    other_model = make_model()
    other_model.set_weights(weights)
    self.assertEqual(loop(twin, other_model), expected)
    for own, others in zip(optimizer.states, states, strict=True):
      assertions.assert_equal([v.numpy() for v in own], others)

  def test_copy_that_is_reset_is_a_fresh_start(self):
    optimizer = meta.LearnedOptimizer.load(self.path)
    expected = loop(optimizer, make_model())
    twin = copy.deepcopy(optimizer)
    twin.reset()
    self.assertEqual(loop(twin, make_model()), expected)

  def test_copy_refuses_parameters_in_another_order(self):
    optimizer = meta.LearnedOptimizer.load(self.path)
    one, two = tf.Variable([1.]), tf.Variable([1., 2.], name="two")
    optimizer.apply([tf.ones([1]), tf.ones([2])], [one, two])
    with self.assertRaisesRegex(
        ValueError, r"'two' of shape \(2,\) comes at place 0, where"):
      copy.deepcopy(optimizer).apply([tf.ones([2])], [two])
    twin, three = copy.deepcopy(optimizer), tf.Variable(tf.ones([3]))
    with self.assertRaisesRegex(ValueError, "comes at place 1, where"):
      twin.apply([tf.ones([1]), tf.ones([3])], [one, three])
    twin.apply([tf.ones([1]), tf.ones([2])], [one, two])
    self.assertIs(twin.states[0][0]._tensor, twin.states[1][0]._tensor)

  def test_copy_has_no_states_of_deleted_parameters(self):
    optimizer = meta.LearnedOptimizer.load(self.path)
    deleted, kept = tf.Variable([1., 2.]), tf.Variable([3., 4.])
    optimizer.apply([tf.ones([2]), tf.fill([2], -5.)], [deleted, kept])
    del deleted
    gc.collect()
    duplicate, other = copy.deepcopy(optimizer), tf.Variable(kept)
    for each, variable in ((optimizer, kept), (duplicate, other)):
      each.apply([tf.fill([2], -5.)], [variable])
    np.testing.assert_array_equal(other, kept)

  @parameterized.parameters(copy.deepcopy, pickle.dumps)
  def test_network_of_a_user_is_not_copied(self, function):
    class Halves(networks.Sgd):
      pass

    with self.assertRaisesRegex(ValueError, "is a Halves, a class that is not"):
      function(meta.LearnedOptimizer({"x": Halves()}))

  def test_checkpoint_of_another_order_is_refused(self):
    variables = [tf.Variable(tf.ones([n])) for n in (1, 2)]
    gradients = [*map(tf.ones_like, variables)]
    optimizer, other = (
        meta.LearnedOptimizer.load(self.path) for _ in range(2))
    optimizer.apply(gradients, variables)
    path = tf.train.Checkpoint(optimizer=optimizer).write(
        os.path.join(self.path, "checkpoint"))
    checkpoint = tf.train.Checkpoint(optimizer=other)
    checkpoint.read(path)
    for order in (-1, -1, 1):  # It is not half accepted later.
      with self.assertRaisesRegex(
          RuntimeError, "has shape .*, but got a value of shape .* the order"):
        other.apply(gradients[::order], variables[::order])

  def test_checkpoint_has_no_states_of_deleted_parameters(self):
    optimizer = meta.LearnedOptimizer.load(self.path)
    first, second = tf.Variable([1., 2.]), tf.Variable([1., 2.])
    optimizer.apply([tf.ones([2]), -tf.ones([2])], [first, second])
    del first
    gc.collect()
    path = tf.train.Checkpoint(optimizer=optimizer).write(
        os.path.join(self.path, "checkpoint"))
    other, twin = meta.LearnedOptimizer.load(self.path), tf.Variable(second)
    tf.train.Checkpoint(optimizer=other).read(path)
    for each, variable in ((optimizer, second), (other, twin)):
      each.apply([-tf.ones([2])], [variable])
    np.testing.assert_array_equal(second, twin)

  def test_states_are_no_integers_of_32_bits(self):
    # A GPU has no variables of them, so XLA could not compile a step there.
    optimizer = meta.LearnedOptimizer.load("general-small")
    parameters = [tf.Variable([1., 2.]), tf.Variable([3.])]
    for _ in range(2):
      optimizer.apply([tf.ones_like(p) for p in parameters], parameters)
    self.assertNotIn(tf.int32, {v.dtype for v in optimizer._shared})
    steps = [v for v in optimizer.states[1] if v.dtype == tf.int32]
    self.assertEqual([int(v.numpy()) for v in steps], [2])

  def test_states_of_deleted_parameters_are_dropped(self):
    optimizer = meta.LearnedOptimizer.load(self.path)
    kept = tf.Variable([1., 2.])
    for size in (3, 4, 5):
      optimizer.apply([tf.ones([size]), tf.ones([2])],
                      [tf.Variable(tf.ones([size])), kept])
      gc.collect()
    self.assertCountEqual(
        [state[0].shape[1] for state in optimizer.states], [2, 5])
    other = meta.LearnedOptimizer.load(self.path)
    twin = tf.Variable([1., 2.])
    for _ in range(3):
      other.apply([tf.ones([2])], [twin])
    np.testing.assert_array_equal(kept, twin)


if __name__ == "__main__":
  absltest.main()
