"""Tests that files written by version 0 load, and continue as they did."""

import os
import pathlib
import pickle
import shutil
import tempfile

from absl.testing import absltest
import keras
import numpy as np
import tensorflow as tf

import meta
from networks import weights
from tests import programs, toy_training, toys

FILES = toys.DATA / "version_0"
MOMENTA = FILES / "momenta"
TRAINED = pathlib.Path(__file__).parents[1] / "trained"
# Kernels of another TensorFlow may round differently.
RTOL = 1e-5


def read_checkpoint(prefix):
  """The tensors of a checkpoint by name, without the object graph."""
  reader = tf.train.load_checkpoint(prefix)
  suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
  return {name.removesuffix(suffix): reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()
          if name.endswith(suffix) and not name.startswith("save_counter")}


class CompatibilityTest(absltest.TestCase):

  def test_run_is_resumed_and_ends_with_the_same_state(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    run = os.path.join(folder, "run")
    shutil.copytree(FILES / "run", run)
    result = programs.run(
        "train", "--problem=tests.toys:Regression", "--num_steps=4",
        "--unroll_length=2", "--num_tasks=2", "--stagger",
        "--evaluation_period=2", "--evaluation_epochs=2", "--log_period=1",
        "--jit_compile=false", "--num_epochs=6", f"--save_path={run}",
        "--resume")
    self.assertEqual((result.code, result.stderr), (0, ""))
    resumed = read_checkpoint(
        tf.train.latest_checkpoint(os.path.join(run, "checkpoints")))
    with np.load(FILES / "run_after_6_epochs.npz") as expected:
      self.assertCountEqual(
          resumed, [name.replace("|", "/") for name in expected])
      for name in expected:
        np.testing.assert_allclose(
            resumed[name.replace("|", "/")], expected[name], RTOL, 1e-7, name)

  def test_networks_of_a_run_are_those_of_its_checkpoint(self):
    trained_on = weights.read(str(FILES / "run" / "cw.l2l")).trained_on
    checkpoint = read_checkpoint(str(
        FILES / "run" / "checkpoints" / f"ckpt-{trained_on['num_epochs']}"))
    network = meta.LearnedOptimizer.load(str(FILES / "run")).networks["cw"]
    network.initial_state({"x": tf.zeros([1])})
    for i, variable in enumerate(network.trainable_variables):
      np.testing.assert_array_equal(variable, checkpoint[
          f"training/_optimizer/_trainable_variables/{i}"])

  def test_keras_model_trains_on(self):
    model = keras.models.load_model(FILES / "model.keras")
    self.assertIsInstance(model.optimizer, meta.KerasLearnedOptimizer)
    with np.load(FILES / "model_after_2_more_steps.npz") as expected:
      model.fit(expected["x"], expected["y"], batch_size=16, epochs=2,
                verbose=0, shuffle=False)
      for i, values in enumerate(model.get_weights()):
        np.testing.assert_allclose(values, expected[f"w{i}"], RTOL)

  def test_checkpoint_of_a_training_loop_goes_on(self):
    optimizer = meta.LearnedOptimizer.load(
        str(TRAINED / "paper-cifar10"),
        net_assignments=[("fc", ["w", "b"])])
    variables = [tf.Variable(tf.zeros([2, 2]), name="w"),
                 tf.Variable(tf.zeros([2]), name="b")]
    gradients = [tf.constant([[.3, -.1], [1., 1e-4]]), tf.constant([-.2, 0.05])]
    checkpoint = tf.train.Checkpoint(variables=variables, optimizer=optimizer)
    status = checkpoint.read(str(FILES / "loop" / "checkpoint"))
    for _ in range(2):
      optimizer.apply(gradients, variables)
    status.assert_consumed()
    with np.load(FILES / "loop" / "after_2_more_steps.npz") as expected:
      np.testing.assert_allclose(variables[0], expected["w"], RTOL)
      np.testing.assert_allclose(variables[1], expected["b"], RTOL)

  def test_pickled_optimizer_with_a_memory_goes_on(self):
    optimizer = pickle.loads((MOMENTA / "optimizer.pickle").read_bytes())
    gradients = [tf.constant([[.3, -.1], [1., 1e-4]]), tf.constant([-.2])]
    with np.load(MOMENTA / "after_2_more_steps.npz") as expected:
      variables = [tf.Variable(expected[name]) for name in ("w", "b")]
      for _ in range(2):
        optimizer.apply(gradients, variables)
      for name, variable in zip(("w_after", "b_after"), variables):
        np.testing.assert_allclose(variable, expected[name], RTOL)

  def test_checkpoint_of_a_keras_model_with_a_memory_goes_on(self):
    model = toy_training.make_model()
    model.compile(meta.KerasLearnedOptimizer(str(MOMENTA)), "mse",
                  jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).read(
        str(MOMENTA / "checkpoint")).assert_consumed()
    toy_training.fit(model, 2)
    with np.load(MOMENTA / "after_2_more_steps.npz") as expected:
      for i, values in enumerate(model.get_weights()):
        np.testing.assert_allclose(values, expected[f"keras_{i}"], RTOL)

  def test_exported_model_computes_the_updates_of_its_network(self):
    exported = tf.saved_model.load(str(FILES / "exported")).signatures
    network = meta.LearnedOptimizer.load(
        str(TRAINED / "paper-mnist")).networks["cw"]
    gradients = tf.constant([0.5, -1e-3, 0.])
    state = exported["initial_state"](parameters=tf.zeros([3]))
    own_state = network.initial_state({"x": tf.zeros([3])})
    for _ in range(2):
      state = exported["update"](gradients=gradients, **state)
      updates, own_state = network({"x": gradients}, own_state)
      np.testing.assert_allclose(state.pop("updates"), updates["x"], RTOL)


if __name__ == "__main__":
  absltest.main()
