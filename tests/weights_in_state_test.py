"""Tests of networks whose weights are in their state."""

from absl.testing import absltest, parameterized
import tensorflow as tf

import networks
from networks import weights_in_state
from tests import assertions, toys

PARAMS = {"x": tf.constant([[1.], [-2.], [0.5]]), "y": tf.constant([[3.]])}
OPTIONS = {"layers": (3, 2), "scale": 0.1}
NETWORKS = {
    "coordinates": lambda: networks.CoordinateWiseDeepLSTM(**OPTIONS, dense=2),
    "rows": lambda: networks.StandardDeepLSTM(1, **OPTIONS),
    "decay": lambda: networks.CoordinateWiseDeepLSTM(
        **OPTIONS, preprocess_name="RNNprop",
        postprocess_options={"nominal_step": 0.1, "min_size": 0.5}),
    "several": lambda: networks.Partition(
        {"one": toys.coordinatewise(), "two": toys.coordinatewise(seed=1)},
        [("one", ["x"]), ("two", ["y"])]),
    "hand-designed": lambda: networks.Adam(0.1),
}


class Listed(networks.Network):
  """A network with a variable in a list."""

  def initial_state(self, params):
    self.rates = [tf.Variable(0.1, name="rate")]
    return ()

  def __call__(self, gradients, state):
    return {name: -self.rates[0] * g for name, g in gradients.items()}, state


class WeightsInStateTest(parameterized.TestCase):

  @parameterized.parameters(*NETWORKS)
  def test_steps_are_those_with_the_weights_as_variables(self, name):
    network = NETWORKS[name]()
    wrapped = weights_in_state.WeightsInState(network)
    first = wrapped.initial_state(PARAMS)
    assertions.assert_equal(first.weights, network.trainable_variables)
    self.assertEqual(wrapped.needs_params, network.needs_params)
    weights = tuple(w + 0.3 for w in first.weights)
    before = [v.numpy() for v in network.trainable_variables]
    updates, state = wrapped.step(
        PARAMS, first._replace(weights=weights), PARAMS)
    assertions.assert_equal(
        [v.numpy() for v in network.trainable_variables], before)
    for variable, weight in zip(
        network.trainable_variables, weights, strict=True):
      variable.assign(weight)
    expected, own = network.step(PARAMS, first.own, PARAMS)
    assertions.assert_close((updates, state.own), (expected, own))
    assertions.assert_equal(state.weights, weights)

  def test_variables_are_back_after_an_error(self):
    network = toys.coordinatewise()
    wrapped = weights_in_state.WeightsInState(network)
    state = wrapped.initial_state(PARAMS)
    variables = network.trainable_variables
    with self.assertRaises(tf.errors.InvalidArgumentError):
      wrapped({"x": tf.zeros([7])}, state)
    self.assertIs(network.trainable_variables[0], variables[0])

  def test_variable_in_a_list_is_named(self):
    wrapped = weights_in_state.WeightsInState(Listed())
    with self.assertRaisesRegex(
        ValueError, "variable .*rate:0 of the network is in a list, say, but "):
      wrapped.initial_state(PARAMS)


if __name__ == "__main__":
  absltest.main()
