"""Tests of what all rules for single coordinates share."""

from typing import NamedTuple

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import networks
from networks import baselines, elementwise
from tests import assertions, toys

T = 4
BASELINES = tuple(baselines.BY_NAME.values())
GRADIENTS = np.random.default_rng(0).normal(size=(T, 3, 2)).astype(np.float32)


class MeanState(NamedTuple):
  learning_rate: tf.Tensor
  mean: networks.Params
  largest: networks.Params


class Mean(elementwise.Elementwise):
  """A custom rule, whose hyperparameters are in another order than its formula.

  The update is a running mean of the gradients over their largest size so far.
  """
  _state_class = MeanState

  def __init__(self, learning_rate=0.5, decay=0.75, offset=2., name=None):
    super().__init__(name, learning_rate, decay=decay, offset=offset)

  @staticmethod
  def _update(g, rate, mean, largest, *, offset, decay):
    mean = decay * mean + (1. - decay) * g
    largest = tf.maximum(largest, tf.abs(g))
    return -rate * mean / (largest + offset), mean, largest


class ElementwiseTest(parameterized.TestCase):

  def test_custom_rule_computes_its_formula(self):
    parts = {"z": GRADIENTS[..., 0], "a": GRADIENTS[..., 1]}
    updates, state = toys.steps(Mean(), parts)
    for name, g in parts.items():
      mean = sum(0.25 * 0.75**(T - 1 - t) * g[t] for t in range(T))
      largest = np.max(np.abs(g), axis=0)
      np.testing.assert_allclose(state.mean[name], mean, rtol=1e-5)
      np.testing.assert_array_equal(state.largest[name], largest)
      np.testing.assert_allclose(
          updates[name][-1], -0.5 * mean / (largest + 2.), rtol=1e-5)

  def test_options_of_a_custom_rule_make_it_again(self):
    self.assertEqual(Mean(0.1, offset=3.).options,
                     {"learning_rate": 0.1, "decay": 0.75, "offset": 3.})
    np.testing.assert_array_equal(
        toys.steps(Mean(**Mean(0.1).options), {"x": GRADIENTS})[0]["x"],
        toys.steps(Mean(0.1), {"x": GRADIENTS})[0]["x"])

  def test_custom_rule_needs_a_positive_learning_rate(self):
    with self.assertRaisesRegex(ValueError, "^learning_rate is 0, but must be"):
      Mean(0)

  @parameterized.parameters(*BASELINES, Mean)
  def test_parameters_are_vectors_of_any_length(self, cls):
    self.assertEqual(cls().parameter_shape, [None])

  @parameterized.product(cls=(*BASELINES, Mean), rate=(0.1, 2, [2.]))
  def test_learning_rate_of_the_state_is_that_of_the_rule(self, cls, rate):
    network = cls()
    state = network.initial_state({"x": GRADIENTS[0]})
    self.assertEqual(state.learning_rate.shape, [])
    state = network.with_learning_rate(state, rate)
    self.assertEqual(state.learning_rate.shape, [])
    self.assertEqual(state.learning_rate.dtype, tf.float32)
    updates, state = toys.steps(network, {"x": GRADIENTS}, state)
    expected, end = toys.steps(cls(np.ravel(rate)[0]), {"x": GRADIENTS})
    np.testing.assert_array_equal(updates["x"], expected["x"])
    assertions.assert_equal(state, end)

  @parameterized.parameters(*BASELINES, Mean)
  def test_runs_side_by_side_have_their_own_learning_rates(self, cls):
    rates, network = [0.1, 0.5, 2.], cls()
    by_run = {"x": tf.constant(GRADIENTS.swapaxes(0, 1))}  # [K, T, 2]
    state = tf.vectorized_map(
        lambda g: network.initial_state({"x": g["x"][0]}), by_run)
    state = network.with_learning_rate(state, rates)

    @tf.function(autograph=False)
    def run(*args):
      return tf.vectorized_map(lambda args: toys.steps(
          network, {"x": tf.unstack(args[0]["x"])}, args[1], tf.stack)[0], args)

    together = run(by_run, state)["x"]
    for k, rate in enumerate(rates):
      alone, _ = toys.steps(cls(rate), {"x": GRADIENTS[:, k]})
      np.testing.assert_allclose(together[k], alone["x"], rtol=1e-5)

  @parameterized.parameters(
      toys.coordinatewise,
      lambda: networks.Partition({"adam": baselines.Adam()}))
  def test_other_networks_have_no_learning_rate(self, make):
    network = make()
    state = network.initial_state({"x": tf.ones([2])})
    with self.assertRaisesRegex(
        ValueError, f"is a {type(network).__name__}, which has no learning "
        "rate, but must be a hand-designed optimizer"):
      network.with_learning_rate(state, 0.1)


if __name__ == "__main__":
  absltest.main()
