"""Tests of states that replicas share out."""

import os
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np
import tensorflow as tf

import meta
from meta import groups, shards
from tests import devices

NET = {"net": "CoordinateWiseDeepLSTM", "net_options": {
    "layers": (3,), "preprocess_name": "LogAndSign",
    "preprocess_options": {"k": 5}, "scale": 0.1}}
GENERAL = {"net": "CoordinateWiseDeepLSTM", "net_options": {
    "layers": (3,), "preprocess_name": "NormalizedMomenta", "scale": 0.1,
    "postprocess_options": {"nominal_step": 0.1, "min_size": 0.01,
                            "log_range": 2}}}
SHAPES = ([], [2, 3], [4])  # Of two halves, the cut is within the second.

setUpModule = devices.start


def make(shard, net=NET):
  """An optimizer, and variables."""
  optimizer = meta.LearnedOptimizer(
      meta.MetaOptimizer(net=net).networks, learning_rate=0.5, shard=shard)
  return optimizer, [tf.Variable(tf.fill(shape, 0.5 + i), name=f"v{i}")
                     for i, shape in enumerate(SHAPES)]


def make_step(optimizer, variables, skipped=None):
  """A function that makes a step, whose gradients are in one replica."""
  strategy = tf.distribute.get_strategy()

  def step():
    is_own = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
    gradients = [tf.where(is_own, tf.sin(v + 1.), tf.zeros_like(v))
                 for v in variables]
    if skipped is not None:
      gradients[skipped] = None
    optimizer.apply(gradients, variables)

  return tf.function(lambda: strategy.run(step), autograph=False)


def results(optimizer, variables):
  return ([v.numpy() for v in variables],
          [s.numpy() for state in optimizer.states for s in state])


def sizes_of(optimizer):
  """The sizes of the variables of a replica."""
  return {v.shape[-1] for v in optimizer._shared if v.shape.rank}


def sizes(shard):
  """Those of the states before the first step."""
  optimizer, variables = make(shard)
  optimizer.create_states(["a", "b", "c"], variables)
  return sizes_of(optimizer)


def steps(shard, net=NET):
  """The parameters, the states, and the sizes of the variables of a replica."""
  optimizer, variables = make(shard, net)
  step, skipping = (make_step(optimizer, variables, s) for s in (None, 1))
  for each in (step, step, skipping, step):
    each()
  result = results(optimizer, variables)
  optimizer.reset()
  return *result, sizes_of(optimizer), results(optimizer, variables)[1]


def saved(path, num_before, num_after, shard, net):
  """The parameters and states after a checkpoint was written or read."""
  optimizer, variables = make(shard, net)
  checkpoint = tf.train.Checkpoint(optimizer=optimizer, variables=variables)
  step = make_step(optimizer, variables)
  if num_before:
    for _ in range(num_before):
      step()
    checkpoint.write(path)
  else:
    checkpoint.read(path)
  for _ in range(num_after):
    step()
  return results(optimizer, variables)


def uncompiled(function, *args):
  """What a function returns without XLA."""
  with mock.patch.object(groups, "_MAX_COMPILED", 0):
    return function(*args)


def groups_of_limits(shard):
  """The groups of parameters of 3, 3, 4 and 2 coordinates, of at most 4."""
  optimizer, _ = make(shard)
  variables = [tf.Variable(tf.zeros([size])) for size in (3, 3, 4, 2)]
  with (mock.patch.object(groups, "MAX_COORDINATES", 4),
        mock.patch.object(shards, "_MIN_COORDINATES", 3)):
    optimizer.create_states(list("abcd"), variables)
  return [(type(group).__name__, group._sizes
           if isinstance(group, shards.ShardedGroup) else None)
          for group in optimizer._groups()]


def keras(shard):
  """The weights of a model after some steps."""
  optimizer = meta.KerasLearnedOptimizer(net_config={"net": NET}, shard=shard)
  model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(
      2, kernel_initializer="ones")])
  model.compile(optimizer, "mse")
  inputs = np.linspace(-1, 1, 24, dtype=np.float32).reshape([8, 3])
  model.fit(inputs, inputs[:, :2]**2, batch_size=8, epochs=2, shuffle=False,
            verbose=0)
  return model.get_weights()


def empty_and_others():
  """The parameters after two steps; one has no coordinates, one is float64."""
  optimizer, _ = make(True)
  variables = [tf.Variable(tf.zeros([0])), tf.Variable(tf.ones([3])),
               tf.Variable(tf.ones([3], tf.float64))]
  step = make_step(optimizer, variables)
  for _ in range(2):
    step()
  return [v.numpy() for v in variables]


class ShardsTest(absltest.TestCase):

  def assert_close(self, actual, expected):
    for a, b in zip(actual, expected, strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

  def test_parameters_may_be_empty_or_of_other_types(self):
    empty, single, double = devices.run(2, empty_and_others)
    self.assertEmpty(empty)
    np.testing.assert_allclose(single, double, rtol=1e-6)
    self.assertNotAlmostEqual(single[0], 1.)

  def test_shards_make_the_updates_of_all(self):
    expected = steps(None)
    params, states, sizes, initial = devices.run(2, steps, True)
    self.assert_close(params, expected[0])
    self.assert_close(states, expected[1])
    self.assertEqual(sizes, {6})  # Of 11 coordinates.
    self.assert_close(initial, expected[3])

  def test_means_over_parameters_are_those_of_all_coordinates(self):
    expected = uncompiled(steps, None, GENERAL)
    params, states, sizes, initial = devices.run(
        2, uncompiled, steps, True, GENERAL)
    self.assert_close(params, expected[0])
    self.assert_close(states, expected[1])
    # The states of the LSTM, the moments, and the numbers of steps.
    self.assertEqual(sizes, {6, 11, len(SHAPES)})
    self.assert_close(initial, expected[3])

  def test_networks_of_coordinates_have_shards(self):
    for net, options, expected in (
        ("CoordinateWiseDeepLSTM", {}, True), ("LSTMWithGAC", {}, False),
        ("KernelDeepLSTM", {"kernel_shape": [3, 3]}, False)):
      nets = meta.MetaOptimizer(net={"net": net, "net_options": {
          "layers": (6,), **options}}).networks
      self.assertEqual(shards.can_make(nets), expected)

  def test_few_coordinates_are_not_shared_out(self):
    self.assertEqual(devices.run(2, sizes, None), {11})

  def test_replicas_have_room_for_a_larger_group(self):
    self.assertEqual(
        devices.run(2, groups_of_limits, None),
        [("ShardedGroup", [3, 3]), ("ShardedGroup", [4, 2])])
    self.assertEqual(
        devices.run(2, groups_of_limits, False), [("Group", None)] * 4)

  def test_checkpoint_is_read_by_another_number_of_replicas(self):
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, "checkpoint")
      expected = devices.run(3, uncompiled, saved, path, 2, 1, True, GENERAL)
      for num in (0, 2):
        read = devices.run(num, uncompiled, saved, path, 0, 1, True, GENERAL)
        for a, b in zip(read, expected, strict=True):
          self.assert_close(a, b)

  def test_keras_shares_out_states(self):
    self.assert_close(devices.run(2, keras, True), keras(None))


if __name__ == "__main__":
  absltest.main()
