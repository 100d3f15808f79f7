"""Tests of the contract's defaults, and of the examples in the docstrings."""

import inspect
import os
import pathlib
import re
import textwrap
from typing import NamedTuple

from absl.testing import absltest, parameterized
import numpy as np
import sonnet as snt
import tensorflow as tf

import networks
from networks import elementwise

ROOT = pathlib.Path(__file__).parents[1]
NAMES = {"networks": networks, "elementwise": elementwise, "snt": snt,
         "tf": tf, "NamedTuple": NamedTuple}


def examples(documented):
  """Returns the programs in a docstring."""
  return [textwrap.dedent(block) for block in re.findall(
      r"Example:\n\n((?: +.*\n|\n)+)", f"{inspect.getdoc(documented)}\n")]


def run(program):
  """Runs a program, and returns its names."""
  names = dict(NAMES)
  exec(program, names)
  return names


class BaseTest(parameterized.TestCase):

  @parameterized.parameters(
      networks.Sgd, networks.RMSProp, networks.Adam, networks.Partition,
      networks.StandardDeepLSTM, networks.CoordinateWiseDeepLSTM,
      networks.KernelDeepLSTM, networks.factory)
  def test_example_makes_a_network(self, documented):
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(ROOT)  # A path in an example starts there.
    program, = examples(documented)
    self.assertIsInstance(run(program)["network"], networks.Network)

  def test_loop_of_the_example_minimizes(self):
    loop, _ = examples(networks.Network)
    np.testing.assert_allclose(run(loop)["params"]["x"], [0., 0.], atol=0.1)

  def test_custom_network_of_the_example_normalizes_gradients(self):
    _, program = examples(networks.Network)
    network = run(program)["NormalizedGradient"]()
    gradients = {"x": tf.constant([3., 0.]), "y": tf.constant(-4.)}
    updates, state = network(gradients, network.initial_state(gradients))
    np.testing.assert_allclose(updates["x"], [-0.006, 0.], rtol=1e-6)
    np.testing.assert_allclose(updates["y"], 0.008, rtol=1e-6)
    self.assertEqual(state, ())
    self.assertEqual(network.options, {})
    self.assertEqual(network.parameter_shape, [None])
    self.assertEqual(network.diagnose(gradients, state), {})
    with self.assertRaisesRegex(
        ValueError, "is a NormalizedGradient, which has no learning rate"):
      network.with_learning_rate(state, 0.1)

  def test_custom_rule_of_the_example_is_the_sign_of_the_mean(self):
    program, = examples(elementwise.Elementwise)
    network = run(program)["SignOfMean"](0.5)
    gradients = [{"x": tf.constant(g)} for g in ([1., -2.], [-0.5, 1.])]
    state = network.initial_state(gradients[0])
    for g in gradients:  # The second ones do not outweigh the first ones.
      updates, state = network(g, state)
      np.testing.assert_allclose(updates["x"], [-0.5, 0.5])
    np.testing.assert_allclose(
        state.mean["x"], [0.09 - 0.05, -0.18 + 0.1], rtol=1e-5)


if __name__ == "__main__":
  absltest.main()
