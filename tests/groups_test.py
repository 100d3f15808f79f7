"""Tests that parameters are optimized together as they are one by one."""

import itertools
import os
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from meta import groups, unroll
import networks
from tests.toy_training import FolderTest, loop, make_model

SHAPES = ([2, 3], [], [4, 1], [0], [5, 2])
STEPS = 5
MOMENTA = {"preprocess_name": "NormalizedMomenta", "postprocess_options": {
    "nominal_step": 0.1, "min_size": 0.01, "weight_decay": 0.01}}


def lstm(**options):
  return networks.CoordinateWiseDeepLSTM(
      **{"layers": (4, 3), "scale": 0.1, **options})


def make(kind):
  """An optimizer that depends on the kind alone."""
  if kind == "two networks":
    return meta.LearnedOptimizer(
        {"b": lstm(), "a": lstm(layers=(3,), **MOMENTA)},
        [("b", ["v0", "v1", "v3", "v4"]), ("a", ["v1", "v2", "v4"])])
  return meta.LearnedOptimizer({"cw": {
      "memoryless": lstm(preprocess_name="LogAndSign",
                         preprocess_options={"k": 5}),
      "momenta": lstm(**MOMENTA),
      "directions": lstm(preprocess_name="RNNprop"),
      "by hand": networks.Adam(0.1)}[kind]})


def variables():
  rng = np.random.default_rng(0)
  return [tf.Variable(rng.normal(size=s), dtype=tf.float32, name=f"v{i}")
          for i, s in enumerate(SHAPES)]


def gradients(step, sparse=False):
  """Gradients, of which some are missing in some steps."""
  rng = np.random.default_rng(step)
  dense = [tf.constant(rng.normal(size=s), tf.float32) for s in SHAPES]
  if step == 2:
    dense[1] = dense[3] = None
  if step == 3:
    dense[:1] = [None]
  if sparse and step > 0:
    dense[4] = tf.IndexedSlices(
        dense[4][:3], tf.constant([4, 0, 4]), tf.constant(SHAPES[4]))
  return dense


class GroupsTest(FolderTest):

  @parameterized.parameters(
      ("memoryless", True), ("momenta", False), ("momenta", True),
      ("directions", True), ("by hand", True), ("two networks", False),
      ("two networks", True), ("two networks", True, True))
  def test_one_call_does_what_one_for_each_parameter_does(
      self, kind, sparse, compiled=False):
    has_xla = compiled or (sparse and kind == "momenta")
    if has_xla:
      self.compile_up_to(100)
    together, one_by_one = variables(), variables()
    optimizer, others = make(kind), [make(kind) for _ in SHAPES]
    apply = tf.function(optimizer.apply, jit_compile=True,
                        autograph=False) if compiled else optimizer.apply
    # In the third step some are sparse, and some are missing. XLA compiles a
    # program for each such set, so that it is given fewer.
    for t in (4, 4) if compiled else range(3 if has_xla else STEPS):
      apply(gradients(t, sparse), together)
      for other, gradient, variable in zip(
          others, gradients(t, sparse), one_by_one, strict=True):
        if gradient is not None:
          with mock.patch.object(groups, "_MAX_COMPILED", 0):
            other.apply([gradient], [variable])
    for own, expected in zip(together, one_by_one, strict=True):
      np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-6)
    for own, other in zip(optimizer.states, others, strict=True):
      for state, expected in zip(own, other.states[0], strict=True):
        self.assertEqual(state.shape, expected.shape)
        np.testing.assert_allclose(
            state.numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)

  def test_network_is_called_once_for_all_parameters(self):
    optimizer, calls = make("memoryless"), []
    network = optimizer.networks["cw"]
    step = network.update_rows
    network.update_rows = lambda inputs, state: (
        calls.append(inputs.features.shape[1]), step(inputs, state))[1]
    optimizer.apply(gradients(0), variables())
    self.assertEqual(calls, [21, 0])  # Of [0], alone.

  def test_sparse_gradients_are_dense_for_a_network_of_whole_rows(self):
    gradient = tf.IndexedSlices(
        tf.constant([[1., 2., -3.]]), tf.constant([3]), tf.constant([5, 3]))
    values = []
    for g in (gradient, tf.convert_to_tensor(gradient)):
      parameter = tf.Variable(tf.ones([5, 3]))
      meta.LearnedOptimizer({"rows": networks.StandardDeepLSTM(
          3, (4,), scale=0.1)}).apply([g], [parameter])
      values.append(parameter.numpy())
    np.testing.assert_array_equal(*values)
    self.assertTrue(np.all(values[0][3] != 1.))

  def test_rows_that_are_given_twice_count_once_in_means(self):
    values = []
    for rows, of_rows in (([1, 4, 1], [[1., 2.], [30., 0.], [2., -5.]]),
                          ([4, 1], [[30., 0.], [3., -3.]])):
      table = tf.Variable(tf.ones([5, 2]))
      optimizer = meta.LearnedOptimizer.load("general-small")
      for _ in range(3):
        optimizer.apply([tf.IndexedSlices(
            tf.constant(of_rows), tf.constant(rows), tf.constant([5, 2]))],
                        [table])
      values.append(table.numpy())
    np.testing.assert_allclose(*values, rtol=1e-6)
    np.testing.assert_array_equal(values[0][::2][:2], 1.)

  def test_rows_of_another_length_are_refused_before_anything_moves(self):
    first, table = tf.Variable([1., 2.]), tf.Variable(tf.ones([5, 2]))
    with self.assertRaisesRegex(
        ValueError, r"has shape \(5, 3\), but the parameter has \(5, 2\)"):
      make("momenta").apply(
          [tf.ones([2]), tf.IndexedSlices(tf.ones([1, 3]), tf.constant([0]))],
          [first, table])
    np.testing.assert_array_equal(first, [1., 2.])

  def test_only_a_few_sets_of_parameters_are_compiled(self):
    step = groups.Step({"cw": lstm()}, [[]] * 5)
    with mock.patch.object(
        unroll, "compiled", side_effect=unroll.compiled) as compiled:
      of_places = step.compiled(lambda places: len(places))
      for _ in range(2):
        for places in itertools.combinations(range(5), 2):  # 10 sets.
          self.assertEqual(of_places(places)(), 2)
    self.assertEqual(compiled.call_count, 8)

  def test_states_that_are_skipped_stay(self):
    optimizer, parameters = make("momenta"), variables()
    optimizer.apply(gradients(0), parameters)
    before = [s.numpy() for s in optimizer.states[0]]
    optimizer.apply(gradients(3), parameters)
    for state, value in zip(optimizer.states[0], before, strict=True):
      np.testing.assert_array_equal(state.numpy(), value)

  def test_checkpoint_does_not_depend_on_the_groups(self):
    optimizer, parameters = make("momenta"), variables()
    optimizer.apply(gradients(0), parameters)
    path = tf.train.Checkpoint(parameters=parameters, optimizer=optimizer).save(
        os.path.join(self.path, "checkpoint"))
    optimizer.apply(gradients(1), parameters)
    other, twins = make("momenta"), variables()
    for one in zip(gradients(4), twins, strict=True):
      other.apply(*[[x] for x in one])
    tf.train.Checkpoint(parameters=twins, optimizer=other).restore(
        path).assert_consumed()
    other.apply(gradients(1), twins)
    for twin, parameter in zip(twins, parameters, strict=True):
      np.testing.assert_allclose(twin, parameter, rtol=1e-5, atol=1e-6)

  def test_training_step_is_exported_with_its_states(self):
    optimizer, model = meta.LearnedOptimizer.load(self.path), make_model()
    loop(optimizer, model, 2)
    module = tf.Module()
    module.optimizer, module.model = optimizer, model

    @tf.function(input_signature=[])
    def step():
      parameters = model.trainable_variables
      optimizer.apply([tf.ones(p.shape) for p in parameters], parameters)
      return tf.identity(parameters[0])

    module.step = step
    tf.saved_model.save(module, self.path)
    loaded = tf.saved_model.load(self.path)
    for _ in range(2):
      np.testing.assert_allclose(loaded.step(), module.step(), rtol=1e-6)

  def test_groups_of_the_same_shapes_share_a_step(self):
    optimizer = make("momenta")
    parameters = [tf.Variable(tf.fill([size], 1. + i))
                  for i, size in enumerate((3, 3, 4))]
    with mock.patch.object(groups, "MAX_COORDINATES", 4):
      optimizer.create_states(list("abc"), parameters)
    one, two, three = optimizer._groups()
    self.assertIs(one.step, two.step)
    self.assertIsNot(one.step, three.step)
    optimizer.apply([tf.ones([3]), -tf.ones([3]), tf.ones([4])], parameters)
    for parameter, sign in zip(parameters, (-1, 1, -1), strict=True):
      self.assertTrue(np.all(sign * (parameter - tf.round(parameter)) > 0.))

  def test_groups_are_of_one_kind_and_not_too_large(self):
    self.assertEqual(
        groups.divide(["a", "b", "a", None, None, "a", "a"],
                      [5, 1, 95, 1, 1, 1, 200], 100),
        [[0, 2], [1], [3], [4], [5], [6]])


if __name__ == "__main__":
  absltest.main()
