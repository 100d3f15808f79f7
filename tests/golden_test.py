"""Tests against numbers that DeepMind's program computed."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import meta_optimizer, meta_step, unroll
import networks
from networks import baselines, preprocess
import problems
from tests import assertions, toys

COORDINATEWISE = "CoordinateWiseDeepLSTM"
LOG_AND_SIGN = {"preprocess_name": "LogAndSign", "preprocess_options": {"k": 5}}
NETWORKS = {
    "cw_logsign": (COORDINATEWISE, {
        "layers": (20, 20), "scale": .01, **LOG_AND_SIGN}),
    "cw_identity": (COORDINATEWISE, {"layers": (20, 20)}),
    "kernel": ("KernelDeepLSTM", {
        "kernel_shape": (5, 5), "layers": (5,), "scale": .1, **LOG_AND_SIGN}),
    "standard": ("StandardDeepLSTM", {
        "output_size": 2, "layers": (4, 3), "scale": .5,
        "preprocess_name": "LogAndSign", "preprocess_options": {"k": 10}}),
    "adam": ("Adam", {"learning_rate": .01}),
    "sgd": ("Sgd", {"learning_rate": .05}),
}
META_OPTIONS = {"layers": (20, 20), "scale": .1}


def golden(key):
  return assertions.golden("golden_networks_and_meta.npz", key)


def tree(arrays, prefix):
  """{module: {variable: array}} of what is named prefix/module/variable."""
  modules = {}
  for name, array in arrays.items():
    if name.startswith(prefix):
      module, variable = name.split("/")[-2:]
      modules.setdefault(module, {})[variable] = array
  return modules


def by_order(state):
  """The arrays of a state in the order of the original."""
  if isinstance(state, baselines.SgdState):
    return []
  if isinstance(state, baselines.AdamState):
    return [state.t, tf.reshape(state.m["x"], [-1, 1]),
            tf.reshape(state.v["x"], [-1, 1])]
  return [tf.transpose(array) for layer in state
          for array in (layer.hidden, layer.cell)]


class GoldenNetworksTest(parameterized.TestCase):

  def assert_golden(self, network, key):
    expected = golden(key)
    updates, state = toys.steps(network, {"x": expected["gradients"]})
    np.testing.assert_allclose(
        updates["x"], expected["updates"], rtol=1e-5,
        atol=1e-6 * np.abs(expected["updates"]).max())
    arrays = by_order(state)
    for i, array in enumerate(arrays):
      np.testing.assert_allclose(
          array, expected[f"final_state/{i}"], rtol=1e-5, atol=1e-6)
    self.assertNotIn(f"final_state/{len(arrays)}", expected)

  @parameterized.parameters(*NETWORKS)
  def test_updates_and_final_state(self, key):
    net, options = NETWORKS[key]
    weights = tree(golden(key), "weights/")
    if weights:
      options = options | {"initializer": weights}
    self.assert_golden(networks.factory(net, options), key)

  @parameterized.parameters(
      ("cw_logsign", "cw"), ("cw_identity", "cw"), ("kernel", "conv"))
  def test_old_weight_file(self, key, name):
    net, options = NETWORKS[key]
    self.assert_golden(networks.factory(
        net, options, toys.DATA / "legacy" / key / f"{name}.l2l"), key)

  @parameterized.parameters("cw_logsign", "cw_identity")
  def test_several_parameters_are_the_one_that_holds_them(self, key):
    net, options = NETWORKS[key]
    expected = golden(key)
    network = networks.factory(
        net, options | {"initializer": tree(expected, "weights/")})
    updates, _ = toys.steps(network, {
        "b": expected["gradients"][:, :2], "a": expected["gradients"][:, 2:]})
    for name, part in (("b", np.s_[:, :2]), ("a", np.s_[:, 2:])):
      np.testing.assert_allclose(
          updates[name], expected["updates"][part], rtol=1e-5,
          atol=1e-6 * np.abs(expected["updates"]).max())

  @parameterized.parameters(1, 5, 10)
  def test_log_and_sign(self, k):
    expected = golden("logsign")
    log, sign = preprocess.LogAndSign(k).features(
        tf.constant(expected["inputs"]), ())
    np.testing.assert_allclose(
        tf.concat([log, sign], -1), expected[f"k{k}"], rtol=1e-5, atol=1e-7)


class GoldenMetaTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.meta = golden("meta")
    self.problem = toys.Given(*[self.meta[key] for key in ("w", "y", "x0")])
    self.network = networks.factory(COORDINATEWISE, META_OPTIONS | {
        "initializer": tree(self.meta, "weights/")})

  def assert_weights(self, actual, expected):
    self.assertCountEqual(actual, [
        f"{module}/{name}" for module in expected for name in expected[module]])
    for key, array in actual.items():
      module, name = key.split("/")
      scale = np.abs(expected[module][name]).max()
      np.testing.assert_allclose(
          array, expected[module][name], rtol=0, atol=1e-4 * scale, err_msg=key)

  @parameterized.parameters(("first", False), ("second", True))
  def test_unroll_and_meta_gradient(self, key, second_derivatives):
    run = unroll.start(self.network, self.problem, 0)
    with tf.GradientTape() as tape:
      losses, run = unroll.unroll(
          self.network, self.problem, run, 5, second_derivatives)
      meta_loss = tf.reduce_sum(losses)
    gradients = tape.gradient(meta_loss, self.network.trainable_variables)
    names = [v.name.split(":")[0] for v in self.network.trainable_variables]
    expected = golden(f"meta/{key}")
    np.testing.assert_allclose(meta_loss, expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(losses[-1], expected["fx"], rtol=1e-5)
    np.testing.assert_allclose(
        run.params["x"], expected["x"], rtol=1e-5, atol=1e-6)
    self.assert_weights(
        {"/".join(name.split("/")[-2:]): gradient.numpy()
         for name, gradient in zip(names, gradients, strict=True)},
        tree(expected, "grad/"))

  @parameterized.parameters(("first", False), ("second", True))
  def test_meta_training(self, key, second_derivatives):
    step = meta_step.MetaStep(
        self.network, self.problem, 5, 0.001, second_derivatives,
        jit_compile=not second_derivatives)
    meta_losses, fx = [], []
    for _ in range(3):
      run = step.reset(0)
      for _ in range(4):
        info, run = step.train(run)
        meta_losses.append(info.meta_loss)
        fx.append(info.losses[-1])
    expected = golden(f"meta/{key}")
    np.testing.assert_allclose(
        meta_losses, expected["train_losses"], rtol=1e-4)
    np.testing.assert_allclose(fx, expected["train_fx"], rtol=1e-4)
    self.assert_weights(
        toys.weights(self.network), tree(expected, "trained/"))


class GoldenSimpleTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.optimizer = meta_optimizer.MetaOptimizer(net={
        "net": COORDINATEWISE,
        "net_options": {"layers": (), "initializer": "zeros"}})

  def test_one_epoch(self):
    step = self.optimizer.meta_minimize(problems.Simple(), 5, 0.01)
    run = step.reset(0)
    for _ in range(2):
      losses, run = step.step(run)
    np.testing.assert_allclose(losses[-1], 0.7325327, rtol=1e-5)
    np.testing.assert_allclose(run.params["x"], 0.8559, atol=5e-5)

  def test_500_epochs_bring_the_loss_under_1e_5(self):
    step = self.optimizer.meta_minimize(problems.Simple(), 20, 0.01)
    for _ in range(500):
      run = step.reset(0)
      for _ in range(5):
        losses, run = step.step(run)
      if losses[-1] < 1e-5:
        return
    self.fail(f"The final loss is {losses[-1]}.")


if __name__ == "__main__":
  absltest.main()
