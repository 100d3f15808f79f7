"""Tests of the measures of a run."""

import functools

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import diagnostics, unroll
import networks
import problems
from tests import assertions, toys

T = 3
LOG_AND_SIGN = {"preprocess_name": "LogAndSign", "preprocess_options": {"k": 2}}
CLAMP = {"preprocess_name": "Clamp",
         "preprocess_options": {"min_value": -1., "max_value": .5}}


def walk(network, problem, seed, num_steps=T):
  """Gradients, updates and states of a run, step by step."""
  run = unroll.start(network, problem, seed)
  for _ in range(num_steps):
    _, gradients = unroll.loss_and_gradients(problem, run)
    updates, _ = network(gradients, run.state)
    yield gradients, updates, run.state
    _, run = unroll.step(network, problem, run)


def flatten(tensors):
  """All numbers in the order of the names."""
  return np.concatenate([np.ravel(tensors[name]) for name in sorted(tensors)])


def rms(x):
  return np.sqrt(np.mean(np.square(x, dtype=np.float64)))


class TraceTest(parameterized.TestCase):

  @parameterized.parameters(
      (toys.coordinatewise, toys.Regression),
      (toys.coordinatewise, lambda: problems.Quadratic(3, 2, separate=True)),
      (functools.partial(networks.Adam, 0.1), toys.Regression))
  def test_measures_are_those_of_the_steps(self, make_network, make_problem):
    network, problem = make_network(), make_problem()
    trace = diagnostics.trace(network, problem, 5, T)
    losses, _ = unroll.unroll(
        network, problem, unroll.start(network, problem, 5), T)
    np.testing.assert_allclose(
        trace.loss, np.reshape(losses[:T], [T, -1]).mean(1), rtol=1e-6)
    for t, (gradients, updates, _) in enumerate(walk(network, problem, 5)):
      g, u = flatten(gradients), flatten(updates)
      np.testing.assert_allclose(
          [trace.gradient_size[t], trace.update_size[t], trace.cosine[t]],
          [rms(g), rms(u),
           np.dot(u, -g) / np.linalg.norm(u) / np.linalg.norm(g)], rtol=1e-4)

  def test_gradient_descent_goes_down_the_gradient(self):
    trace = diagnostics.trace(networks.Sgd(0.25), toys.Regression(), 5, T)
    np.testing.assert_allclose(trace.cosine, np.ones(T), rtol=1e-6)
    np.testing.assert_allclose(
        trace.update_size, 0.25 * trace.gradient_size, rtol=1e-6)

  def test_updates_of_zero_have_no_direction(self):
    network = toys.coordinatewise(initializer="zeros")
    trace = diagnostics.trace(network, toys.Regression(), 5, T)
    np.testing.assert_array_equal(trace.update_size, np.zeros(T))
    np.testing.assert_array_equal(trace.cosine, np.zeros(T))

  def test_graph_is_eager(self):
    network, problem = toys.coordinatewise(**LOG_AND_SIGN), toys.Regression()
    trace = functools.partial(diagnostics.trace, network, problem, 5, T)
    assertions.assert_close(trace(), tf.function(trace, autograph=False)())

  @parameterized.parameters(
      (LOG_AND_SIGN, lambda g: abs(g) < np.exp(-2)),
      (CLAMP, lambda g: (g < -1) | (g > .5)))
  def test_share_of_clipped_gradients(self, options, is_clipped):
    network, problem = toys.coordinatewise(**options), toys.Regression()
    trace = diagnostics.trace(network, problem, 5, T)
    expected = [np.mean(is_clipped(flatten(gradients)))
                for gradients, *_ in walk(network, problem, 5)]
    self.assertTrue(any(0 < share < 1 for share in expected))
    np.testing.assert_allclose(
        trace.shares["clipped_gradients"], expected, rtol=1e-6)

  def test_share_of_saturated_gates(self):
    # Of two units, the gates i, g, f and o; 1 is added to f. The sigmoids of
    # 4.5 and 4.7 are 0.989 and 0.991.
    biases = [4.5, 4.7, 9., 9., 0., -5.7, -4.7, -4.5]
    network = networks.CoordinateWiseDeepLSTM(
        (2, 1), initializer={"b_gates": "zeros", "w_gates": "zeros", "lstm_1": {
            "w_gates": np.zeros([3, 8]), "b_gates": np.float32(biases)}})
    trace = diagnostics.trace(network, toys.Regression(), 5, T)
    np.testing.assert_allclose(
        trace.shares["saturated_gates/lstm_1"], np.full(T, 3 / 6), rtol=1e-6)
    np.testing.assert_array_equal(
        trace.shares["saturated_gates/lstm_2"], np.zeros(T))

  def test_saturation_comes_with_large_gradients(self):
    weights = np.zeros([2, 4])
    weights[0, 3] = 1.  # From the gradient to o.
    network = networks.CoordinateWiseDeepLSTM((1,), initializer={"lstm_1": {
        "w_gates": weights, "b_gates": np.zeros(4)}})
    gradients = {"x": tf.constant([-5., -4., 0., 4.7, 4.])}
    share, = network.diagnose(
        gradients, network.initial_state(gradients)).values()
    np.testing.assert_allclose(share, 2 / 15, rtol=1e-6)

  @parameterized.parameters(
      networks.Adam, lambda: toys.coordinatewise(layers=()))
  def test_networks_without_gates_have_no_shares(self, make_network):
    trace = diagnostics.trace(make_network(), toys.Regression(), 5, T)
    self.assertEmpty(trace.shares)
    self.assertCountEqual(
        trace.by_name(), ["loss", "gradient_size", "update_size", "cosine"])

  def test_each_part_has_its_own_shares(self):
    one, two = (toys.coordinatewise(layers=(2,), **LOG_AND_SIGN, seed=seed)
                for seed in (0, 1))
    network = networks.Partition(
        {"one": one, "two": two, "adam": networks.Adam()},
        [("one", ["w"]), ("two", ["v", "a"]), ("adam", ["c"])])
    (gradients, _, state), = walk(network, toys.Regression(), 5, 1)
    shares = network.diagnose(gradients, state)
    self.assertCountEqual(shares, [
        "one/clipped_gradients", "one/saturated_gates/lstm_1",
        "two/clipped_gradients", "two/saturated_gates/lstm_1"])
    np.testing.assert_allclose(
        shares["one/clipped_gradients"],
        np.mean(np.abs(gradients["w"]) < np.exp(-2)), rtol=1e-6)


class ResponseTest(parameterized.TestCase):

  def test_of_gradient_descent_is_a_line(self):
    gradients = {"x": tf.constant([[1., 2.], [3., 4.]]), "a": tf.constant(5.)}
    network = networks.Sgd(0.25)
    values = tf.constant([-2., 0., 8.])
    for name, index in (("x", 3), ("a", 0)):
      np.testing.assert_allclose(
          diagnostics.response(network, gradients,
                              network.initial_state(gradients), name, index,
                              values), [0.5, 0., -2.])

  @parameterized.parameters(
      (functools.partial(networks.KernelDeepLSTM, (3, 2), (4,)), toys.Filters,
       "c", (2, 1, 0, 2)),
      (toys.coordinatewise, toys.Regression, "w", (1, 2)),
      (lambda: networks.Partition(
          {"one": toys.coordinatewise(), "adam": networks.Adam()},
          [("adam", ["w"]), ("one", ["w", "v"])]), toys.Regression, "w", (0, 1))
  )
  def test_is_the_update_of_the_changed_gradients(
      self, make_network, make_problem, name, place):
    network, values = make_network(), np.float32([-.5, 0., 2.])
    *_, (gradients, _, state) = walk(network, make_problem(), 5)
    expected = []
    for value in values:
      changed = gradients[name].numpy()
      changed[place] = value
      updates, _ = network({**gradients, name: tf.constant(changed)}, state)
      expected.append(updates[name].numpy()[place])
    index = np.ravel_multi_index(place, gradients[name].shape)
    np.testing.assert_allclose(
        diagnostics.response(network, gradients, state, name, int(index),
                            tf.constant(values)), expected, rtol=1e-5)
    self.assertLen(set(expected), 3)


class ResponsesTest(parameterized.TestCase):

  def test_are_those_of_a_run_of_the_first(self):
    problem = toys.Regression()
    optimizers = {"L2L": toys.coordinatewise(), "Sgd": networks.Sgd(0.25),
                  "Adam": networks.Adam(0.1)}
    found = list(diagnostics.responses(
        optimizers, problem, 5, steps=(0, 2), num_coordinates=2, num_values=6))
    self.assertEqual([r.step for r in found], [0, 0, 2, 2])
    self.assertEqual([(r.name, r.coordinate) for r in found[:2]],
                     [(r.name, r.coordinate) for r in found[2:]])
    self.assertNotEqual(found[0].name, found[1].name)
    history = [gradients for gradients, *_ in
               walk(optimizers["L2L"], problem, 5)]
    for r in found:
      seen = {name: np.stack([g[name] for g in history[:r.step + 1]])
              for name in history[0]}
      own = np.ravel(seen[r.name][-1])[r.coordinate]
      self.assertEqual(r.gradient, own)
      self.assertIn(own, r.values)
      self.assertLen(r.values, 6)
      self.assertEqual(-r.values[0], r.values[-1])
      self.assertGreaterEqual(r.values[-1], abs(own))
      at_own = list(r.values).index(own)
      for name, network in optimizers.items():
        updates, _ = toys.steps(network, seen)
        last = updates[r.name][-1]
        np.testing.assert_allclose(
            r.updates[name][at_own], np.ravel(last)[r.coordinate] / rms(last),
            rtol=1e-4)
      np.testing.assert_allclose(
          r.updates["Sgd"], -r.values / rms(seen[r.name][-1]), rtol=1e-5)

  def test_coordinates_without_gradient_are_left_out(self):
    class Border(problems.Problem):

      def sample(self, seed):
        return {"x": tf.ones([50])}, ()

      def loss(self, params, constants, seed):
        return params["x"][17]**2

    found = list(diagnostics.responses(
        {"Sgd": networks.Sgd()}, Border(), 5, steps=(0, 1), num_coordinates=3))
    self.assertEqual([r.coordinate for r in found], [17, 17])

  def test_updates_of_zero_stay_zero(self):
    found, = diagnostics.responses(
        {"L2L": toys.coordinatewise(initializer="zeros")}, problems.Simple(), 5,
        steps=(1,), num_coordinates=3, num_values=4)
    np.testing.assert_array_equal(found.updates["L2L"], np.zeros(4))


if __name__ == "__main__":
  absltest.main()
