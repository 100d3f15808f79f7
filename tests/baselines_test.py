"""Tests of the hand-designed optimizers."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from networks import baselines
from tests import assertions, toys

T = 20
OPTIONS = {  # Not the defaults.
    baselines.Sgd: {"learning_rate": 0.05},
    baselines.Momentum: {"learning_rate": 0.03, "momentum": 0.8},
    baselines.Nesterov: {"learning_rate": 0.03, "momentum": 0.8},
    baselines.Rprop: {"learning_rate": 0.2, "eta_plus": 1.5, "eta_minus": 0.25,
                      "min_step": 0.05, "max_step": 0.5},
    baselines.Adagrad: {"learning_rate": 0.4, "epsilon": 0.1},
    baselines.RMSProp: {"learning_rate": 0.02, "decay": 0.9, "epsilon": 0.1},
    baselines.Adam: {"learning_rate": 0.1, "beta1": 0.5, "beta2": 0.9,
                     "epsilon": 1e-3}}
BASELINES = tuple(OPTIONS)
ADAMS = (
    {}, OPTIONS[baselines.Adam],
    {"learning_rate": 1, "beta1": 0, "beta2": 0, "epsilon": 1e-8})
KERAS = (
    (baselines.Sgd(0.05), tf.keras.optimizers.SGD(0.05)),
    (baselines.Momentum(0.05, 0.8), tf.keras.optimizers.SGD(0.05, 0.8)),
    (baselines.Nesterov(0.05, 0.8), tf.keras.optimizers.SGD(0.05, 0.8, True)),
    # Theirs have epsilon under the root.
    (baselines.Adagrad(0.1),
     tf.keras.optimizers.Adagrad(0.1, 0., epsilon=1e-14)),
    (baselines.RMSProp(0.01, 0.9),
     tf.keras.optimizers.RMSprop(0.01, 0.9, epsilon=1e-14)),
    (baselines.Adam(0.01, 0.8, 0.95, 1e-8),
     tf.keras.optimizers.Adam(0.01, 0.8, 0.95, 1e-8)))


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


def rprop(gradients, learning_rate=0.1, eta_plus=1.2, eta_minus=0.5,
          min_step=1e-6, max_step=50.):
  """Figure 1 of Igel & Huesken 2000 (iRprop-), number by number."""
  updates = np.zeros(gradients.shape)
  for i in np.ndindex(gradients.shape[1:]):
    delta, last = learning_rate, 0.
    for t in range(len(gradients)):
      g = gradients[(t, *i)]
      if last * g > 0:
        delta = min(delta * eta_plus, max_step)
      elif last * g < 0:
        delta, g = max(delta * eta_minus, min_step), 0.
      updates[(t, *i)] = -np.sign(g) * delta
      last = g
  return updates


def adagrad(gradients, learning_rate=1e-3, epsilon=1e-10):
  """Figure 1 of Duchi et al. 2011: norms of all gradients so far."""
  norms = [np.linalg.norm(gradients[:t + 1], axis=0) for t in range(T)]
  return -learning_rate * gradients / (np.array(norms) + epsilon)


def rmsprop(gradients, learning_rate=1e-2, decay=0.9, epsilon=1e-8):
  """The mean square as a sum of all squares, the older the less."""
  updates = []
  for t in range(T):
    ages = np.arange(t, -1, -1).reshape([-1] + [1] * (gradients.ndim - 1))
    mean = np.sum((1 - decay) * decay**ages * gradients[:t + 1]**2, axis=0)
    updates.append(-learning_rate * gradients[t] / (np.sqrt(mean) + epsilon))
  return np.array(updates)


TRANSCRIPTIONS = {baselines.Rprop: rprop, baselines.Adagrad: adagrad,
                  baselines.RMSProp: rmsprop}


class BaselinesTest(parameterized.TestCase):

  def test_names_are_those_of_the_classes(self):
    self.assertEqual(baselines.BY_NAME, {
        "Sgd": baselines.Sgd, "Momentum": baselines.Momentum,
        "Nesterov": baselines.Nesterov, "Rprop": baselines.Rprop,
        "Adagrad": baselines.Adagrad, "RMSProp": baselines.RMSProp,
        "Adam": baselines.Adam})
    self.assertCountEqual(baselines.BY_NAME.values(), OPTIONS)

  @parameterized.parameters([{}], [{"learning_rate": 0.05}])
  def test_sgd_is_the_gradient_scaled(self, options):
    gradients, = draw((4, 3))
    updates, state = toys.steps(baselines.Sgd(**options), {"x": gradients})
    np.testing.assert_allclose(
        updates["x"], -options.get("learning_rate", 0.001) * gradients,
        rtol=1e-6)
    assertions.assert_equal(state, baselines.Sgd(**options).initial_state({}))

  @parameterized.parameters(*([options] for options in ADAMS))
  def test_adam_is_the_papers_algorithm(self, options):
    gradients, = draw((4, 3))
    updates, state = toys.steps(baselines.Adam(**options), {"x": gradients})
    expected, m, v = transcription(gradients, **options)
    np.testing.assert_allclose(updates["x"], expected, rtol=2e-4, atol=1e-7)
    np.testing.assert_allclose(state.m["x"], m, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.v["x"], v, rtol=1e-4, atol=1e-6)
    self.assertEqual(state.t, T)

  @parameterized.product(cls=tuple(TRANSCRIPTIONS), defaults=(True, False))
  def test_updates_are_those_of_the_papers_algorithm(self, cls, defaults):
    gradients, = draw((4, 3))
    gradients[3:5, 0] = 0.
    gradients[:, 1] = np.abs(gradients[:, 1])  # Rprop meets its bounds.
    options = {} if defaults else OPTIONS[cls]
    updates, _ = toys.steps(cls(**options), {"x": gradients})
    np.testing.assert_allclose(
        updates["x"], TRANSCRIPTIONS[cls](
            gradients.astype(np.float64), **options), rtol=1e-5)

  @parameterized.parameters(*KERAS)
  def test_updates_are_those_of_keras(self, network, optimizer):
    gradients, = draw((4, 3))
    updates, _ = toys.steps(network, {"x": gradients})
    variable = tf.Variable(tf.zeros([4, 3]))
    for t in range(T):
      optimizer.apply_gradients([(tf.constant(gradients[t]), variable)])
      np.testing.assert_allclose(
          np.sum(updates["x"][:t + 1], axis=0), variable, rtol=1e-4, atol=1e-6)

  def test_nesterov_looks_ahead(self):
    network, mu, epsilon = baselines.Nesterov(0.03, 0.8), 0.8, 0.03
    held = theta = np.array([1., -2.])
    state, v = network.initial_state({"x": tf.constant(held)}), 0.
    for _ in range(T):
      np.testing.assert_allclose(held, theta + mu * v, atol=1e-6)
      v = mu * v - epsilon * (theta + mu * v)**3
      theta = theta + v
      updates, state = network({"x": tf.constant(held**3)}, state)
      held = held + updates["x"].numpy()

  @parameterized.parameters(
      (baselines.Sgd, 0.1), (baselines.Momentum, 0.05),
      (baselines.Nesterov, 0.05), (baselines.Rprop, 0.1),
      (baselines.Adagrad, 1.), (baselines.RMSProp, 0.01), (baselines.Adam, 0.1))
  def test_parabola_is_solved(self, cls, learning_rate):
    network, centre = cls(learning_rate), tf.constant([0.5, -0.5])
    x = tf.constant([-0.5, 0.5])
    state = network.initial_state({"x": x})
    for _ in range(150):
      updates, state = network(
          {"x": tf.constant([2., 0.5]) * (x - centre)}, state)
      x += updates["x"]
    np.testing.assert_allclose(x, centre, atol=0.02)

  @parameterized.product(
      cls=BASELINES, dtype=(tf.float16, tf.bfloat16, tf.float32, tf.float64))
  def test_computes_in_the_dtype_of_the_parameters(self, cls, dtype):
    gradients, = draw((4,))
    gradients[:, 0] = 0.
    expected, _ = toys.steps(cls(0.1), {"x": gradients})
    updates, state = toys.steps(
        cls(0.1), {"x": gradients.astype(dtype.as_numpy_dtype)})
    for x in (updates["x"], *tf.nest.flatten(state)[1:]):
      self.assertIn(tf.as_dtype(x.dtype), (dtype, tf.int32))
    updates = updates["x"].astype(np.float32)
    self.assertTrue(np.all(np.isfinite(updates)))
    np.testing.assert_allclose(updates[0], expected["x"][0], rtol=0.02)

  @parameterized.parameters(*BASELINES)
  def test_does_not_move_without_a_gradient(self, cls):
    updates, _ = toys.steps(cls(), {"x": np.zeros([T, 3], np.float32)})
    np.testing.assert_array_equal(updates["x"], np.zeros([T, 3]))

  def test_rprop_sees_signs_of_tiny_gradients(self):
    gradients = np.array([[1e-30], [1e-30], [-1e-30], [-1e-30]], np.float32)
    updates, _ = toys.steps(baselines.Rprop(1.), {"x": gradients})
    np.testing.assert_allclose(updates["x"][:, 0], [-1., -1.2, 0., 0.6])

  @parameterized.product(
      cls=BASELINES, size=(0., 1e-30, 1e-18, 1.),
      dtype=(tf.float32, tf.float16))
  def test_derivatives_are_finite(self, cls, size, dtype):
    network = cls()
    g = tf.constant([0., size, -size], dtype)
    with tf.GradientTape() as tape:
      tape.watch(g)
      state, total = network.initial_state({"x": g}), 0.
      for _ in range(3):
        updates, state = network({"x": g}, state)
        total += tf.reduce_sum(updates["x"])
    self.assertTrue(np.all(np.isfinite(tape.gradient(total, g))))

  # Rprop jumps where a sign changes.
  @parameterized.parameters(
      *(cls for cls in BASELINES if cls is not baselines.Rprop))
  def test_derivatives_are_finite_differences(self, cls):
    network = cls(**OPTIONS[cls])
    gradients = draw((3,))[0].astype(np.float64)
    _, state = toys.steps(network, {"x": gradients})
    memory = [x for x in tf.nest.flatten(state) if x.dtype == tf.float64]

    def two_steps(g, *memory):
      changed = tf.nest.pack_sequence_as(
          state, [*tf.nest.flatten(state)[:-len(memory) or None], *memory])
      first, changed = network({"x": g}, changed)
      second, _ = network({"x": g}, changed)
      return first["x"] + second["x"]

    derived, differences = tf.test.compute_gradient(
        two_steps, [tf.constant(gradients[0]), *memory], delta=1e-5)
    for d, e in zip(derived, differences, strict=True):
      np.testing.assert_allclose(d, e, rtol=1e-6, atol=1e-8)

  @parameterized.parameters(*BASELINES)
  def test_order_of_the_parameters_does_not_matter(self, cls):
    z, a, m = draw((4, 3), (), (2,))
    one, _ = toys.steps(cls(), {"z": z, "a": a, "m": m})
    two, _ = toys.steps(cls(), {"m": m, "z": z, "a": a})
    for name, gradients in {"z": z, "a": a, "m": m}.items():
      alone, _ = toys.steps(cls(), {name: gradients})
      np.testing.assert_array_equal(one[name], two[name])
      np.testing.assert_array_equal(one[name], alone[name])

  @parameterized.parameters(*BASELINES)
  def test_permuted_gradients_give_permuted_updates(self, cls):
    gradients, = draw((5, 3))
    order = [3, 0, 4, 2, 1]
    updates, _ = toys.steps(cls(), {"x": gradients})
    permuted, _ = toys.steps(cls(), {"x": gradients[:, order]})
    np.testing.assert_allclose(
        permuted["x"], updates["x"][:, order], rtol=1e-6)

  @parameterized.parameters(*BASELINES)
  def test_has_no_variables(self, cls):
    network = cls()
    toys.steps(network, {"x": draw((2,))[0]})
    self.assertEmpty(network.variables)

  @parameterized.parameters(*OPTIONS.items())
  def test_options_are_the_arguments(self, cls, options):
    self.assertEqual(cls(**options).options, options)

  @parameterized.parameters(
      *((cls, "learning_rate", value) for cls in BASELINES
        for value in (0, -1, float("nan"), "0.1", None)),
      *((cls, name, value) for cls, name in (
          (baselines.Momentum, "momentum"), (baselines.Nesterov, "momentum"),
          (baselines.Rprop, "eta_minus"), (baselines.RMSProp, "decay"),
          (baselines.Adam, "beta1"), (baselines.Adam, "beta2"))
        for value in (1, -0.1, float("nan"), "0")),
      *((cls, "epsilon", value) for cls in (
          baselines.Adagrad, baselines.RMSProp, baselines.Adam)
        for value in (0, None)),
      (baselines.Rprop, "eta_plus", 0.9), (baselines.Rprop, "min_step", 0),
      (baselines.Rprop, "max_step", 1e-7))
  def test_bad_argument_is_named(self, cls, name, value):
    with self.assertRaisesRegex(ValueError, f"^{name} is {value!r}, but must"):
      cls(**{name: value})


if __name__ == "__main__":
  absltest.main()
