"""Tests of networks with global averaging cells."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from meta import meta_gradient, unroll
import networks
from tests import assertions, toys

LAYERS = (4, 3)
SHAPES = {"b": (2, 3), "a": (1,)}


def make(**options):
  """A network whose weights are all random."""
  return networks.LSTMWithGAC(
      initializer=tf.keras.initializers.RandomNormal(stddev=0.5, seed=1),
      **{"layers": LAYERS, "num_averaged": 2, "scale": 0.3, **options})


def draw(shapes, num_steps=4):
  """Gradients [num_steps, ...] by name."""
  rng = np.random.default_rng(0)
  return {name: rng.normal(size=(num_steps, *shape)).astype(np.float32)
          for name, shape in shapes.items()}


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def lstm_with_gac(weights, x, state, num_averaged):
  """One step of all layers, for inputs [N, F]; `state` is changed."""
  for k, (hidden, cell) in enumerate(state):
    gates = (np.hstack([x, hidden]) @ weights[f"lstm_{k + 1}/w_gates"]
             + weights[f"lstm_{k + 1}/b_gates"])
    i, g, f, o = np.split(gates, 4, axis=1)
    cell = sigmoid(f + 1) * cell + sigmoid(i) * np.tanh(g)
    hidden = sigmoid(o) * np.tanh(cell)
    for j in range(num_averaged):
      hidden[:, j] = hidden[:, j].mean()
    x, state[k] = hidden, (hidden, cell)
  return x


def zero_state(num_rows):
  """The state of all layers before the first step."""
  return [(np.zeros([num_rows, h]), np.zeros([num_rows, h])) for h in LAYERS]


def transcription(weights, inputs, num_averaged):
  """The updates [T, N] of N coordinates, whose gradients are [T, N]."""
  state, updates = zero_state(inputs.shape[1]), []
  for gradients in inputs:
    hidden = lstm_with_gac(
        weights, gradients[:, np.newaxis], state, num_averaged)
    updates.append(hidden @ weights["linear/w"] + weights["linear/b"])
  return 0.3 * np.array(updates)[:, :, 0]


class LSTMWithGACTest(parameterized.TestCase):

  @parameterized.parameters(1, 2, 3)
  def test_updates_are_the_transcription(self, num_averaged):
    network = make(num_averaged=num_averaged)
    gradients = draw(SHAPES)
    updates, _ = toys.steps(network, gradients)
    rows = [np.hstack([x["a"], x["b"].reshape(4, 6)])
            for x in (gradients, updates)]
    np.testing.assert_allclose(
        rows[1], transcription(toys.weights(network), rows[0], num_averaged),
        rtol=1e-4, atol=1e-6)

  def test_average_tells_the_coordinates_of_each_other(self):
    network = make()
    gradients = draw(SHAPES)
    alone, _ = toys.steps(network, {"a": gradients["a"]})
    both, _ = toys.steps(network, gradients)
    self.assertGreater(np.abs(both["a"] - alone["a"]).max(), 1e-4)

  def test_one_coordinate_alone_is_a_coordinatewise_network(self):
    network = make()
    gradients = draw({"a": (1,)})
    updates, state = toys.steps(network, gradients)
    weights = {}
    for name, array in toys.weights(network).items():
      layer, field = name.split("/")
      weights.setdefault(layer, {})[field] = array
    expected = toys.steps(networks.CoordinateWiseDeepLSTM(
        LAYERS, scale=0.3, initializer=weights), gradients)
    assertions.assert_close((updates, state), expected)

  def test_a_sample_of_the_coordinates_is_all_of_them(self):
    network, problem = make(), toys.Regression()
    run = unroll.start(network, problem, 1)
    _, _, exact = meta_gradient.meta_gradient(network, problem, run, 3)
    _, _, sampled = meta_gradient.meta_gradient(
        network, problem, run, 3, num_sampled=4)
    assertions.assert_equal(sampled, exact)

  def test_a_sample_of_the_coordinates_of_other_networks_is_drawn(self):
    network = networks.Partition(
        {"gac": make(), "cw": toys.coordinatewise()},
        [("gac", ["a", "v"]), ("cw", ["w", "c"])])
    problem = toys.Regression()
    run = unroll.start(network, problem, 1)
    _, _, exact = meta_gradient.meta_gradient(network, problem, run, 3)
    _, _, sampled = meta_gradient.meta_gradient(
        network, problem, run, 3, num_sampled=4)
    is_equal = {v.ref(): np.array_equal(a, b) for v, a, b in zip(
        network.trainable_variables, exact, sampled, strict=True)}
    self.assertEqual([is_equal[v.ref()] for key in ("gac", "cw") for v in
                      network.networks[key].trainable_variables],
                     [True] * 6 + [False] * 6)

  def test_a_learned_optimizer_refuses_it(self):
    with self.assertRaisesRegex(
        ValueError, "^The network 'cw' is a LSTMWithGAC, .*call the network"):
      meta.LearnedOptimizer({"cw": make()})

  @parameterized.parameters(
      ({"num_averaged": 0}, "^num_averaged is 0"),
      ({"num_averaged": 1.5}, "^num_averaged is 1.5"),
      ({"num_averaged": 4}, r"^layers is \[4, 3\], .*num_averaged units, 4"),
      ({"layers": ()}, r"^layers is \[\], but must be one or more layers"))
  def test_bad_argument_is_named(self, options, message):
    with self.assertRaisesRegex(ValueError, message):
      make(**options)


if __name__ == "__main__":
  absltest.main()
