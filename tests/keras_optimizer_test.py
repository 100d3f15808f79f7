"""Tests of the optimizer for Keras."""

import json
import os
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import keras
import numpy as np
import tensorflow as tf

import meta
import problems
from tests import assertions
from tests.toy_training import (
  NET,
  FolderTest,
  fit,
  loop,
  make_model,
  save_networks,
)


class KerasLearnedOptimizerTest(FolderTest):

  def test_other_backends_of_keras_are_refused(self):
    with mock.patch.object(keras.backend, "backend", return_value="jax"):
      for make in (lambda: meta.KerasLearnedOptimizer(self.path),
                   lambda: meta.MetaOptimizer().meta_minimize(
                       problems.Quadratic(), 2)):
        with self.assertRaisesRegex(
            ValueError, "^Keras's backend is 'jax', but must be 'tensorflow'"):
          make()

  @parameterized.parameters(5., "no", None)
  def test_guard_that_is_no_boolean_is_refused(self, guard):
    with self.assertRaisesRegex(
        ValueError, "^guard is .*, but must be True or False"):
      meta.KerasLearnedOptimizer(self.path, guard=guard)

  def compiled(self, model=None, run_eagerly=False, **options):
    model = model or make_model()
    model.compile(meta.KerasLearnedOptimizer(self.path, **options), "mse",
                  run_eagerly=run_eagerly, jit_compile=False)
    return model

  def test_losses_are_those_of_a_loop_bit_for_bit(self):
    self.compile_up_to(100)
    self.assertEqual(
        fit(self.compiled()),
        loop(meta.LearnedOptimizer.load(self.path), make_model(),
             autograph=False))

  def test_saved_model_goes_on_with_identical_losses_without_the_folder(self):
    model = self.compiled(run_eagerly=True)
    file = os.path.join(self.path, "model.keras")
    fit(model)
    model.save(file)
    expected = fit(model)
    os.remove(os.path.join(self.path, "cw.l2l"))
    self.assertEqual(fit(tf.keras.models.load_model(file)), expected)

  def test_model_is_saved_as_hdf5(self):
    model = self.compiled(run_eagerly=True)
    file = os.path.join(self.path, "model.h5")
    fit(model)
    model.save(file)
    loaded = tf.keras.models.load_model(file, compile=False)
    assertions.assert_equal(loaded.get_weights(), model.get_weights())

  def test_checkpoint_goes_on_with_identical_losses(self):
    model = self.compiled(run_eagerly=True)
    fit(model)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    path = checkpoint.save(os.path.join(self.path, "checkpoint"))
    expected = fit(model)
    model = self.compiled(run_eagerly=True)
    fit(model, 1)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).restore(path)
    self.assertEqual(fit(model), expected)

  def test_states_are_variables_of_the_optimizer(self):
    model = self.compiled(run_eagerly=True)
    fit(model, 1)
    own = model.get_state_tree("numpy_array")["optimizer_variables"]
    name, = (key for key in own if key.endswith("a_bias_state_2"))
    self.assertEqual(own[name].shape, (3, 4))
    variable, = (v for v in model.optimizer.variables if v.path.endswith(name))
    np.testing.assert_array_equal(np.array(variable), own[name])
    self.assertLen(model.optimizer.variables, 2 + 4 * 4)

  def test_configuration_makes_the_same_optimizer(self):
    config = meta.KerasLearnedOptimizer(
        self.path, learning_rate=0.5, clipnorm=1.).get_config()
    model = make_model()
    model.compile(meta.KerasLearnedOptimizer.from_config(config), "mse",
                  run_eagerly=True)
    self.assertEqual(fit(model), fit(self.compiled(
        run_eagerly=True, learning_rate=0.5, clipnorm=1.)))

  def test_learning_rate_scales_the_updates(self):
    updates = []
    for rate in (1., 0.5):
      variable = tf.keras.Variable([0., 0.])
      meta.KerasLearnedOptimizer(self.path, learning_rate=rate).apply(
          [tf.constant([1., -1e-3])], [variable])
      updates.append(np.array(variable.value))
    np.testing.assert_allclose(updates[1], 0.5 * updates[0], rtol=1e-6)
    self.assertTrue(updates[0].all())

  @parameterized.parameters(("mixed_float16", 1e-3), ("mixed_bfloat16", 1e-2))
  def test_mixed_precision_has_the_losses_of_float32(self, policy, rtol):
    losses = []
    for dtype in ("float32", policy):
      tf.keras.utils.set_random_seed(0)
      layer = tf.keras.layers.Dense(2, dtype=dtype)
      losses.append(fit(self.compiled(tf.keras.Sequential(
          [tf.keras.Input([3]), layer]))))
    np.testing.assert_allclose(*losses, rtol=rtol)
    self.assertGreater(losses[0][0] / losses[0][-1], 1.05)

  def test_networks_are_assigned_by_the_end_of_a_path(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    save_networks(folder, [("one", ["a/kernel", "a/bias"]),
                           ("two", ["b/kernel"])], one=NET, two=NET)
    model = make_model()
    model.compile(meta.KerasLearnedOptimizer(folder), "mse")
    for _ in range(2):
      with self.assertRaisesRegex(ValueError, "the parameter '.*b/bias'"):
        fit(model)

  def test_configuration_is_json(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    save_networks(folder, one=NET, two=NET)
    optimizer = meta.KerasLearnedOptimizer(
        folder, [("one", ["a/kernel"]), ("two", ["b/kernel"])])
    config = json.loads(json.dumps(optimizer.get_config()))
    self.assertEqual(meta.KerasLearnedOptimizer.from_config(config).get_config(),
                     optimizer.get_config())

  def test_learning_rate_may_be_any_number(self):
    for rate in (1, np.float32(1.)):
      optimizer = meta.KerasLearnedOptimizer(self.path, learning_rate=rate)
      self.assertEqual(float(optimizer.learning_rate), 1.)

  def test_guarded_steps_are_those_of_a_guarded_loop(self):
    model = self.compiled(guard=True)
    guard = meta.Guard(meta.LearnedOptimizer.load(self.path))
    other = make_model()
    for factor in (1., 2., 100., 1.):
      gradients = [tf.fill(v.shape, factor) for v in model.trainable_variables]
      model.optimizer.apply(gradients, model.trainable_variables)
      guard.apply(gradients, other.trainable_variables)
      for mine, theirs in zip(model.trainable_variables,
                              other.trainable_variables, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
      self.assertEqual(model.optimizer.num_rejected, guard.num_rejected)
    self.assertEqual(model.optimizer.num_rejected, 1)

  def test_saved_guard_goes_on(self):
    model = self.compiled(guard=True)
    fit(model)
    file = os.path.join(self.path, "model.keras")
    model.save(file)
    loaded = tf.keras.models.load_model(file)
    self.assertEqual(fit(loaded), fit(model))
    huge = [tf.fill(v.shape, 1e6) for v in loaded.trainable_variables]
    loaded.optimizer.apply(huge, loaded.trainable_variables)
    self.assertEqual(loaded.optimizer.num_rejected,
                     model.optimizer.num_rejected + 1)

  def test_statistics_of_the_guard_are_variables_with_paths(self):
    model = self.compiled(run_eagerly=True, guard=True)
    fit(model)
    tree = model.get_state_tree("numpy_array")["optimizer_variables"]
    own = tree[model.optimizer.name]
    self.assertLen([key for key in own if key.startswith("guard_")], 3)

  def test_learning_rate_is_a_factor_of_safe_steps(self):
    optimizer = meta.KerasLearnedOptimizer(
        self.path, guard=True, learning_rate=0.)
    variable = tf.keras.Variable([1., 2.])
    for factor in (1., 100.):
      optimizer.apply([factor * tf.ones([2])], [variable])
    self.assertEqual(optimizer.num_rejected, 1)
    np.testing.assert_array_equal(variable.value, [1., 2.])

  def test_variables_may_be_those_of_tensorflow(self):
    values = []
    for make in (tf.Variable, tf.keras.Variable):
      variable = make([0., 0.])
      meta.KerasLearnedOptimizer(self.path).apply(
          [tf.constant([1., -1e-3])], [variable])
      values.append(tf.convert_to_tensor(variable).numpy())
    np.testing.assert_array_equal(*values)
    self.assertNotEqual(values[0][0], 0.)

  def test_configuration_has_the_weights_of_files(self):
    file = os.path.join(self.path, "cw.l2l")
    config = meta.KerasLearnedOptimizer(net_config={
        "cw": {"net": NET["net"], "net_path": file}}).get_config()
    os.remove(file)
    copied = meta.KerasLearnedOptimizer.from_config(config).get_config()
    self.assertEqual(copied["net_config"], config["net_config"])

  def test_rejected_steps_are_counted_by_a_guard_alone(self):
    with self.assertRaisesRegex(AttributeError, "give guard=True"):
      _ = self.compiled().optimizer.num_rejected

  def test_path_is_needed(self):
    with self.assertRaisesRegex(ValueError, "path is None, but must be"):
      meta.KerasLearnedOptimizer()

  def test_learning_rate_must_be_finite(self):
    with self.assertRaisesRegex(
        ValueError, "^learning_rate is nan, but must be a finite number"):
      meta.KerasLearnedOptimizer(self.path, learning_rate=np.nan)

  def test_scope_of_a_strategy_is_no_replica(self):
    with tf.distribute.OneDeviceStrategy("cpu:0").scope():
      optimizer = meta.KerasLearnedOptimizer(self.path)
      with self.assertRaisesRegex(
          ValueError, "^apply was called in the scope of a distribution"):
        optimizer.apply([tf.ones([1])], [tf.keras.Variable([0.])])

  def test_learning_rate_may_be_a_schedule(self):
    def walk(learning_rate):
      """Where the same four gradients lead to, step by step."""
      variable, path = tf.keras.Variable([0., 0.]), []
      optimizer = meta.KerasLearnedOptimizer(
          self.path, learning_rate=learning_rate)
      for _ in range(4):
        optimizer.apply([tf.constant([1., -1e-3])], [variable])
        path.append(np.array(variable.value))
      return np.array(path)

    updates = np.diff(walk(1.), axis=0, prepend=np.zeros([1, 2]))
    rates = np.array([[0.5], [0.75], [1.], [1.]])
    np.testing.assert_allclose(
        walk(tf.keras.optimizers.schedules.PolynomialDecay(0.5, 2, 1.)),
        np.cumsum(rates * updates, axis=0), rtol=1e-5)

  @parameterized.parameters(
      ("clipnorm", 1., [0.6, -0.8]), ("global_clipnorm", 2.5, [1.5, -2.]),
      ("clipvalue", 1., [1., -1.]))
  def test_network_is_given_clipped_gradients(self, name, limit, clipped):
    updates = []
    for options, gradient in (
        ({name: limit}, [3., -4.]), ({}, clipped), ({}, [3., -4.])):
      variable = tf.keras.Variable([0., 0.])
      meta.KerasLearnedOptimizer(self.path, **options).apply(
          [tf.constant(gradient)], [variable])
      updates.append(np.array(variable.value))
    np.testing.assert_allclose(updates[0], updates[1], rtol=1e-5)
    self.assertFalse(np.allclose(updates[0], updates[2], rtol=1e-3))

  def test_weight_decay_is_multiplied_by_the_learning_rate(self):
    ends = []
    for decay in (None, 0.1):
      variable = tf.keras.Variable([2., -4.])
      meta.KerasLearnedOptimizer(
          self.path, learning_rate=0.5, weight_decay=decay).apply(
              [tf.constant([1., -1e-3])], [variable])
      ends.append(np.array(variable.value))
    np.testing.assert_allclose(ends[1] - ends[0], [-0.1, 0.2], rtol=1e-4)


if __name__ == "__main__":
  absltest.main()
