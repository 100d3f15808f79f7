"""Tests of the export to plain TensorFlow."""

import json
import os
import pathlib
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from l2lgd import files
import meta
from tests import toys
from tests.toy_training import NET, FolderTest, loop, make_model, save_networks


class ExportTest(FolderTest):

  def test_export_is_used_without_this_library(self):
    exported = os.path.join(self.path, "exported")
    self.assertEqual(meta.export(self.path, exported), {"cw": exported})
    losses = self.python("""
        import json
        folder = sys.argv[1] + "/exported"
        description = json.load(open(folder + "/optimizer.json"))
        assert description["net_options"]["layers"] == [4, 3]
        loaded = tf.saved_model.load(folder)  # It holds the weights.
        start, update = (
            loaded.signatures[name] for name in ("initial_state", "update"))
        model = make_model()
        variables = [v.value for v in model.trainable_variables]
        flat = [tf.reshape(v, [-1]) for v in variables]
        states = [start(parameters=f) for f in flat]
        for _ in range(5):
          with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y)**2)
          print(float(loss))
          gradients = tape.gradient(loss, variables)
          for i, (v, g) in enumerate(zip(variables, gradients)):
            result = update(gradients=tf.reshape(g, [-1]), **states[i])
            v.assign_add(tf.reshape(result.pop("updates"), v.shape))
            states[i] = result
        assert not {"meta", "networks", "sonnet"} & set(sys.modules)
        """, self.path)
    np.testing.assert_allclose(
        losses, loop(meta.LearnedOptimizer.load(self.path), make_model()),
        rtol=1e-6)

  def export(self, key, shape, config):
    """Saves an untrained network and exports it; returns network and folder."""
    optimizer = meta.MetaOptimizer(**{key: config})
    optimizer.networks[key].initial_state({"x": tf.zeros(shape)})
    os.remove(os.path.join(self.path, "cw.l2l"))
    optimizer.save(self.path)
    output = os.path.join(self.path, "exported")
    self.assertEqual(meta.export(self.path, output), {key: output})
    return output, optimizer.networks[key]

  def assert_updates(self, folder, network, gradients):
    """Checks two updates against those of the network."""
    loaded = tf.saved_model.load(folder)
    gradients = tf.constant(gradients)
    state = network.initial_state({"x": gradients})
    exported = loaded.signatures["initial_state"](parameters=gradients)
    for _ in range(2):
      updates, state = network({"x": gradients}, state)
      exported = loaded.signatures["update"](gradients=gradients, **exported)
      np.testing.assert_allclose(
          exported.pop("updates"), updates["x"], rtol=1e-5, atol=1e-7)

  def test_network_for_kernels_takes_any_number_of_channels(self):
    folder, network = self.export("conv", [3, 2, 1, 1], {
        "net": "KernelDeepLSTM",
        "net_options": {"kernel_shape": (3, 2), "layers": (4,)}})
    self.assert_updates(folder, network, np.random.default_rng(0).normal(
        size=[3, 2, 2, 5]).astype(np.float32))

  @parameterized.parameters("LSTMWithGAC", "NTMBFGS")
  def test_network_that_joins_parameters_takes_a_vector(self, net):
    folder, network = self.export("cw", [3], {
        "net": net, "net_options": {"layers": (4,), "num_averaged": 2}})
    rng = np.random.default_rng(0)
    for size in (1, 5):
      self.assert_updates(
          folder, network, rng.normal(size=size).astype(np.float32))

  def test_standard_network_takes_any_number_of_rows(self):
    folder, network = self.export("rows", [1, 3], {
        "net": "StandardDeepLSTM",
        "net_options": {"output_size": 3, "layers": (4,)}})
    self.assert_updates(folder, network, np.random.default_rng(0).normal(
        size=[7, 3]).astype(np.float32))

  def test_each_of_several_networks_has_a_folder(self):
    save_networks(
        self.path, a=NET, b=NET)
    os.remove(os.path.join(self.path, "cw.l2l"))
    output = os.path.join(self.path, "exported")
    folders = meta.export(self.path, output)
    self.assertEqual(
        folders, {key: os.path.join(output, key) for key in "ab"})
    for folder in folders.values():
      self.assertIn("update", tf.saved_model.load(folder).signatures)

  def test_file_that_does_not_say_what_it_has_is_told(self):
    folder = toys.DATA / "legacy" / "cw_identity"
    output = os.path.join(self.path, "out")
    with self.assertRaisesRegex(ValueError, "give net_config="):
      meta.export(folder, output)
    meta.export(folder, output, {"cw": {
        "net": "CoordinateWiseDeepLSTM", "net_options": {"layers": (20, 20)}}})
    self.assertNotEmpty(os.listdir(output))

  def test_folder_that_seems_empty_is_used(self):
    output = os.path.join(self.path, "exported")
    os.makedirs(os.path.join(output, ".interrupted"))
    meta.export(self.path, output)
    self.assertIn("saved_model.pb", os.listdir(output))

  def test_all_networks_are_exported_or_none(self):
    save_networks(self.path, a=NET, b=NET)
    os.remove(os.path.join(self.path, "cw.l2l"))
    output = os.path.join(self.path, "exported")
    write_json = files.write_json

    def fail_in_b(filename, value):
      if pathlib.Path(filename).parent.name == "b":
        raise OSError("No space left")
      write_json(filename, value)

    with mock.patch.object(files, "write_json", fail_in_b):
      with self.assertRaisesRegex(OSError, "No space left"):
        meta.export(self.path, output)
    self.assertEmpty(os.listdir(output))

  def test_folder_or_file_that_exists_is_left_alone(self):
    output = os.path.join(self.path, "exported")
    os.mkdir(output)
    file = os.path.join(output, "file")
    with open(file, "w", encoding="utf-8") as f:
      f.write("Unique.")
    for path in (output, file):
      with self.assertRaisesRegex(
          ValueError, f"^output is {path}, which exists: give another folder"):
        meta.export(self.path, path)
    self.assertEqual(os.listdir(output), ["file"])

  def test_optimizer_of_the_library_is_exported_by_name(self):
    output = os.path.join(self.path, "exported")
    self.assertEqual(meta.export("paper-mnist", output), {"cw": output})

  def test_steps_relative_to_the_parameters_are_given_them(self):
    output = os.path.join(self.path, "exported")
    meta.export("general-small", output)
    signatures = json.loads(pathlib.Path(
        output, "optimizer.json").read_text())["signatures"]
    self.assertEqual(signatures["update"]["parameters"], [None])
    loaded = tf.saved_model.load(output).signatures
    optimizer = meta.LearnedOptimizer.load("general-small")
    x = tf.constant([0.3, -0.5, 0.1])
    expected = tf.Variable(x)
    state = loaded["initial_state"](parameters=x)
    for gradient in ([5., -20., 1e-3], [-1., 0.25, 3.]):
      gradient = tf.constant(gradient)
      state = loaded["update"](gradients=gradient, parameters=x, **state)
      x += state.pop("updates")
      optimizer.apply([gradient], [expected])
      np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
  absltest.main()
