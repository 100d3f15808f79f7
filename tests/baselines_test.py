"""Tests of the optimizers designed by hand."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from networks import baselines
from tests import toys

T = 20
ADAMS = (
    {},
    {"learning_rate": 0.1, "beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3},
    {"learning_rate": 1, "beta1": 0, "beta2": 0, "epsilon": 1e-8})


def draw(*shapes, seed=0):
  rng = np.random.default_rng(seed)
  return [rng.normal(size=(T, *s)).astype(np.float32) for s in shapes]


def transcription(gradients, learning_rate=1e-3, beta1=0.9, beta2=0.999,
                  epsilon=1e-8):
  """Algorithm 1 of Kingma & Ba 2015, in NumPy and float64."""
  m = v = np.zeros(gradients.shape[1:])
  updates = []
  for t, g in enumerate(gradients.astype(np.float64), 1):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    updates.append(-learning_rate * (m / (1 - beta1**t)) /
                   (np.sqrt(v / (1 - beta2**t)) + epsilon))
  return np.array(updates), m, v


class BaselinesTest(parameterized.TestCase):

  def assert_is_keras(self, network, optimizer):
    gradients, = draw((4, 3))
    updates, _ = toys.steps(network, {"x": gradients})
    variable = tf.Variable(tf.zeros([4, 3]))
    for t in range(T):
      optimizer.apply_gradients([(tf.constant(gradients[t]), variable)])
      np.testing.assert_allclose(
          np.sum(updates["x"][:t + 1], axis=0), variable, rtol=1e-4, atol=1e-6)

  @parameterized.parameters([{}], [{"learning_rate": 0.05}])
  def test_sgd_is_the_gradient_scaled(self, options):
    gradients, = draw((4, 3))
    updates, state = toys.steps(baselines.Sgd(**options), {"x": gradients})
    np.testing.assert_allclose(
        updates["x"], -options.get("learning_rate", 0.001) * gradients,
        rtol=1e-6)
    self.assertEqual(state, ())

  @parameterized.parameters(*([options] for options in ADAMS))
  def test_adam_is_the_papers_algorithm(self, options):
    gradients, = draw((4, 3))
    updates, state = toys.steps(baselines.Adam(**options), {"x": gradients})
    expected, m, v = transcription(gradients, **options)
    np.testing.assert_allclose(updates["x"], expected, rtol=2e-4, atol=1e-7)
    np.testing.assert_allclose(state.m["x"], m, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.v["x"], v, rtol=1e-4, atol=1e-6)
    self.assertEqual(state.t, T)

  def test_adam_is_that_of_keras(self):
    self.assert_is_keras(
        baselines.Adam(0.01, 0.8, 0.95, 1e-8),
        tf.keras.optimizers.Adam(0.01, 0.8, 0.95, 1e-8))

  def test_sgd_is_that_of_keras(self):
    self.assert_is_keras(baselines.Sgd(0.05), tf.keras.optimizers.SGD(0.05))

  @parameterized.parameters(np.float32, np.float64)
  def test_adam_computes_in_the_dtype_of_the_parameters(self, dtype):
    gradients = draw((2,))[0].astype(dtype)
    updates, state = toys.steps(baselines.Adam(), {"x": gradients})
    self.assertEqual(updates["x"].dtype, dtype)
    self.assertEqual(state.v["x"].dtype, dtype)

  def test_adam_does_not_move_without_a_gradient(self):
    updates, _ = toys.steps(
        baselines.Adam(), {"x": np.zeros([T, 3], np.float32)})
    np.testing.assert_array_equal(updates["x"], np.zeros([T, 3]))

  @parameterized.parameters(0., 1e-30, 1e-18, 1.)
  def test_derivatives_through_adam_are_finite(self, size):
    network = baselines.Adam()
    g = tf.constant([0., size, -size])
    with tf.GradientTape() as tape:
      tape.watch(g)
      state, total = network.initial_state({"x": g}), 0.
      for _ in range(3):
        updates, state = network({"x": g}, state)
        total += tf.reduce_sum(updates["x"])
    self.assertTrue(np.all(np.isfinite(tape.gradient(total, g))))

  @parameterized.parameters(baselines.Sgd, baselines.Adam)
  def test_order_of_the_parameters_does_not_matter(self, cls):
    z, a, m = draw((4, 3), (), (2,))
    one, _ = toys.steps(cls(), {"z": z, "a": a, "m": m})
    two, _ = toys.steps(cls(), {"m": m, "z": z, "a": a})
    for name, gradients in {"z": z, "a": a, "m": m}.items():
      alone, _ = toys.steps(cls(), {name: gradients})
      np.testing.assert_array_equal(one[name], two[name])
      np.testing.assert_array_equal(one[name], alone[name])

  @parameterized.parameters(baselines.Sgd, baselines.Adam)
  def test_permuted_gradients_give_permuted_updates(self, cls):
    gradients, = draw((5, 3))
    order = [3, 0, 4, 2, 1]
    updates, _ = toys.steps(cls(), {"x": gradients})
    permuted, _ = toys.steps(cls(), {"x": gradients[:, order]})
    np.testing.assert_allclose(
        permuted["x"], updates["x"][:, order], rtol=1e-6)

  @parameterized.parameters(baselines.Sgd, baselines.Adam)
  def test_has_no_variables(self, cls):
    network = cls()
    toys.steps(network, {"x": draw((2,))[0]})
    self.assertEmpty(network.variables)

  @parameterized.parameters(
      (baselines.Sgd, {"learning_rate": 0.3}), (baselines.Adam, ADAMS[1]))
  def test_options_are_the_arguments(self, cls, options):
    self.assertEqual(cls(**options).options, options)

  @parameterized.parameters(
      (baselines.Sgd, "learning_rate", 0), (baselines.Sgd, "learning_rate", -1),
      (baselines.Sgd, "learning_rate", float("nan")),
      (baselines.Sgd, "learning_rate", "0.1"),
      (baselines.Adam, "learning_rate", 0), (baselines.Adam, "epsilon", 0),
      (baselines.Adam, "epsilon", None),
      (baselines.Adam, "beta1", 1), (baselines.Adam, "beta2", -0.1),
      (baselines.Adam, "beta2", float("nan")), (baselines.Adam, "beta1", "0"))
  def test_bad_argument_is_named(self, cls, name, value):
    with self.assertRaisesRegex(ValueError, f"^{name} is {value!r}, but must"):
      cls(**{name: value})


if __name__ == "__main__":
  absltest.main()
