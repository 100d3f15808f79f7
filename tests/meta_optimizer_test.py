"""Tests of the learned optimizer and its training."""

import functools
import os
import tempfile

from absl.testing import absltest, parameterized
import numpy as np

import meta
from meta import unroll
import networks
import problems
from tests import assertions, toys

SMALL = {"net": "CoordinateWiseDeepLSTM",
         "net_options": {"layers": (4,), "scale": 0.1}}
SGD = {"net": "Sgd", "net_options": {"learning_rate": 0.1}}
ZERO = {"net": "CoordinateWiseDeepLSTM",
        "net_options": {"layers": (), "initializer": "zeros"}}


class MetaOptimizerTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())

  def test_default_is_the_original_network(self):
    optimizer = meta.MetaOptimizer()
    (key, network), = optimizer.networks.items()
    self.assertEqual(key, "coordinatewise")
    self.assertIsInstance(network, networks.CoordinateWiseDeepLSTM)
    self.assertEqual(network.options, {
        "layers": [20, 20], "preprocess_name": "LogAndSign",
        "preprocess_options": {"k": 5}, "scale": 0.01})
    optimizer.meta_minimize(problems.Simple(), 2)
    self.assertEqual(
        toys.weights(network)["lstm_1/w_gates"].shape, (22, 80))

  def test_a_saved_network_gives_the_same_losses(self):
    problem = problems.Quadratic(2, 3)
    optimizer = meta.MetaOptimizer(net=SMALL)
    step = optimizer.meta_minimize(problem, 3, jit_compile=False)
    run = step.reset(0)
    for _ in range(3):
      _, run = step.step(run)
    folder = os.path.join(self.folder, "new", "folder")
    optimizer.save(folder, {"problem": "toy"})
    self.assertEqual(os.listdir(folder), ["net.l2l"])
    again = networks.factory(
        SMALL["net"], net_path=os.path.join(folder, "net.l2l"))
    trained, loaded, fresh = (
        unroll.unroll(network, problem, unroll.start(network, problem, 0), 5)[0]
        for network in (
            optimizer.networks["net"], again, networks.factory(**SMALL)))
    np.testing.assert_array_equal(loaded, trained)
    self.assertFalse(np.array_equal(fresh, trained))

  def test_every_network_is_saved_under_its_id(self):
    optimizer = meta.MetaOptimizer(a=SMALL, b=SGD)
    optimizer.meta_minimize(
        problems.SimpleMultiOptimizer(), 2,
        net_assignments=[("a", ["x_0"]), ("b", ["x_1"])])
    optimizer.save(self.folder)
    self.assertCountEqual(os.listdir(self.folder), ["a.l2l", "b.l2l"])
    self.assertEqual(networks.factory(
        "Sgd", net_path=os.path.join(self.folder, "b.l2l")).options,
        SGD["net_options"])

  def test_each_network_optimizes_its_parameters(self):
    optimizer = meta.MetaOptimizer(zero=ZERO, sgd=SGD)
    step = optimizer.meta_minimize(problems.SimpleMultiOptimizer(3), 2, 0.01, [
        ("zero", ["x_0"]), ("sgd", ["x_1"])], jit_compile=False)
    losses, run = step.step(step.reset(0))
    np.testing.assert_allclose(
        [run.params[f"x_{i}"] for i in range(3)], [1., 0.8**2, 1.], rtol=1e-6)
    np.testing.assert_allclose(
        losses, [3., 2 + 0.8**2, 2 + 0.8**4], rtol=1e-6)
    # Trained on x_0 alone: as on x^2, where the weights were 0 too.
    alone = meta.MetaOptimizer(zero=ZERO)
    single = alone.meta_minimize(
        problems.Simple(), 2, 0.01, jit_compile=False)
    single.step(single.reset(0))
    assertions.assert_equal(toys.weights(optimizer.networks["zero"]),
                      toys.weights(alone.networks["zero"]))

  def test_two_networks_on_one_parameter_add_up(self):
    optimizer = meta.MetaOptimizer(one=SGD, two=SGD)
    loss = optimizer.meta_loss(
        problems.Simple(), 2, [("one", ["x"]), ("two", ["x"])],
        jit_compile=False)
    _, run = loss.unroll(loss.reset(0))
    np.testing.assert_allclose(run.params["x"], 0.6**2, rtol=1e-6)

  def test_weights_are_shared_between_problems(self):
    optimizer = meta.MetaOptimizer(net=SMALL)
    first = optimizer.meta_minimize(problems.Simple(), 2, jit_compile=False)
    second = optimizer.meta_loss(toys.Regression(), 2, jit_compile=False)
    before, _ = second.unroll(second.reset(0))
    first.step(first.reset(0))
    after, _ = second.unroll(second.reset(0))
    self.assertEqual(before[0], after[0])
    self.assertNotEqual(before[-1], after[-1])

  @parameterized.parameters(
      ([[("net", ["y"])]], r"\['y'\] to network 'net', but the parameters are "
       r"\['x'\]"),
      ([[("cw", ["x"])]], r"network 'cw', but the networks are \['net'\]"),
      ([[("net", ["x"]), ("net", ["x"])]], "network 'net' twice"))
  def test_bad_assignments_are_named(self, assignments, message):
    optimizer = meta.MetaOptimizer(net=SMALL)
    imitate = functools.partial(
        optimizer.meta_minimize, teacher=networks.Adam(0.1))
    for method in (optimizer.meta_loss, optimizer.meta_minimize, imitate):
      with self.assertRaisesRegex(ValueError, message):
        method(problems.Simple(), 2, net_assignments=assignments[0])

  def test_network_without_parameters_is_refused(self):
    optimizer = meta.MetaOptimizer(a=SMALL, b=SMALL)
    for method in (optimizer.meta_loss, optimizer.meta_minimize):
      with self.assertRaisesRegex(
          ValueError, r"gives no parameters to \['b'\], but every network"):
        method(problems.Simple(), 2, net_assignments=[("a", ["x"])])

  def test_two_networks_need_assignments(self):
    optimizer = meta.MetaOptimizer(a=SMALL, b=SGD)
    with self.assertRaisesRegex(
        ValueError, r"net_assignments is None, .* \['a', 'b'\]"):
      optimizer.meta_minimize(problems.Simple(), 2)

  def test_bad_configuration_is_refused(self):
    with self.assertRaisesRegex(ValueError, "^net is 'SGD'"):
      meta.MetaOptimizer(a={"net": "SGD"})


if __name__ == "__main__":
  absltest.main()
