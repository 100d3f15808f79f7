"""Tests of preprocessing."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from networks import preprocess

GRADIENTS = np.array(
    [[-300., -1., -1e-3], [-1e-9, 0., 1e-9], [1e-4, 0.5, 7.]])


def log_and_sign(g, k):
  """The formula of the paper's appendix A, one number at a time."""
  if abs(g) >= np.exp(-k):
    return np.log(abs(g)) / k, np.sign(g)
  return -1., np.exp(k) * g


def features(preprocessing, gradients, dtype=np.float64):
  """The features of gradients without a memory, on the last axis."""
  return np.stack(preprocessing.features(
      tf.constant(gradients, dtype), ()), axis=-1)


class PreprocessTest(parameterized.TestCase):

  def test_identity_changes_nothing(self):
    np.testing.assert_array_equal(
        features(preprocess.Identity(), GRADIENTS)[..., 0], GRADIENTS)

  @parameterized.parameters(
      (-1., 2., -1., 2.), (None, 0.25, -np.inf, 0.25), (0., None, 0., np.inf),
      (None, None, -np.inf, np.inf), (3., 3., 3., 3.))
  def test_clamp_bounds(self, min_value, max_value, low, high):
    np.testing.assert_array_equal(
        features(preprocess.Clamp(min_value, max_value), GRADIENTS)[..., 0],
        np.minimum(np.maximum(GRADIENTS, low), high))

  @parameterized.product(k=(0.5, 1, 5, 10.), dtype=(np.float32, np.float64))
  def test_log_and_sign_is_the_papers_formula(self, k, dtype):
    actual = features(preprocess.LogAndSign(k), GRADIENTS, dtype)
    self.assertEqual(actual.dtype, dtype)
    expected = [[log_and_sign(g, k) for g in row] for row in GRADIENTS]
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-4)

  @parameterized.product(k=(1, 5), dtype=(tf.float16, tf.bfloat16))
  def test_log_and_sign_works_in_16_bits(self, k, dtype):
    # Far above the rounding error that is added to the gradients; powers of 2
    # are exact.
    gradients = np.array([-8., -1., 2., 64.])
    actual = features(preprocess.LogAndSign(k), gradients, dtype)
    self.assertEqual(actual.dtype, dtype)
    np.testing.assert_allclose(
        tf.cast(actual, tf.float32),
        [log_and_sign(g, k) for g in gradients], rtol=0.01, atol=0.01)

  @parameterized.parameters(tf.float16, tf.bfloat16, tf.float32, tf.float64)
  def test_log_and_sign_with_a_large_k_is_finite(self, dtype):
    actual = features(preprocess.LogAndSign(100), [0., 1.], dtype)
    np.testing.assert_array_equal(
        tf.cast(actual, tf.float64)[:, 1], [0., 1.])

  @parameterized.parameters(tf.bfloat16, tf.float32, tf.float64)
  def test_log_and_sign_of_extremes_is_finite(self, dtype):
    tiny = np.finfo(np.float64 if dtype == tf.float64 else np.float32).tiny
    actual = tf.cast(features(
        preprocess.LogAndSign(3),
        [0., tiny, -tiny, float(dtype.max), float(dtype.min)], dtype),
                     tf.float64)
    self.assertTrue(np.all(np.isfinite(actual)))
    np.testing.assert_array_equal(actual[0], [-1., 0.])

  def test_identity_clips_nothing(self):
    self.assertIsNone(preprocess.Identity().clipped(tf.constant(GRADIENTS)))

  @parameterized.parameters(
      (-1., 0.5, (GRADIENTS < -1.) | (GRADIENTS > 0.5)),
      (0., None, GRADIENTS < 0.), (None, 1e-9, GRADIENTS > 1e-9),
      (None, None, np.zeros([3, 3], bool)))
  def test_clamp_clips_what_it_changes(self, low, high, expected):
    clamp, gradients = preprocess.Clamp(low, high), tf.constant(GRADIENTS)
    np.testing.assert_array_equal(clamp.clipped(gradients), expected)
    np.testing.assert_array_equal(
        features(clamp, GRADIENTS)[..., 0] != gradients, expected)

  @parameterized.parameters(1, 5, 10)
  def test_log_and_sign_clips_the_logarithm_of_small_gradients(self, k):
    clipped = preprocess.LogAndSign(k).clipped(tf.constant(GRADIENTS))
    np.testing.assert_array_equal(
        clipped, [[log_and_sign(g, k)[0] == -1. for g in row]
                  for row in GRADIENTS])

  @parameterized.parameters(0., 1e-12, -3.)
  def test_log_and_sign_has_finite_derivatives(self, value):
    x = tf.constant([[value]])
    with tf.GradientTape() as tape:
      tape.watch(x)
      actual = preprocess.LogAndSign(5).features(x, ())
    self.assertTrue(np.isfinite(tape.gradient(actual, x).numpy().item()))

  @parameterized.parameters(
      ("identity", None, preprocess.Identity),
      ("identity", {}, preprocess.Identity),
      ("Clamp", {"min_value": -1}, preprocess.Clamp),
      ("LogAndSign", {"k": 5}, preprocess.LogAndSign))
  def test_by_name(self, name, options, cls):
    self.assertIsInstance(preprocess.by_name(name, options), cls)

  def test_options_reach_the_preprocessing(self):
    clamp = preprocess.by_name("Clamp", {"min_value": 0., "max_value": 1.})
    np.testing.assert_array_equal(
        features(clamp, [-2., .5, 2.])[:, 0], [0, .5, 1])

  def test_unknown_name_lists_the_known_ones(self):
    with self.assertRaisesRegex(
        ValueError, r"^preprocess_name is 'log', .*\['Clamp', 'LogAndSign', "
        r"'NormalizedMomenta', 'RNNprop', 'identity'\]"):
      preprocess.by_name("log")

  @parameterized.parameters(
      ("LogAndSign", None), ("LogAndSign", {}), ("LogAndSign", {"p": 5}),
      ("identity", {"k": 5}), ("Clamp", {"minimum": 1}))
  def test_options_not_taken_are_named(self, name, options):
    with self.assertRaisesRegex(
        ValueError, f"^preprocess_options are .*which {name} does not take"):
      preprocess.by_name(name, options)

  @parameterized.parameters(0, -1., float("nan"), "5", None)
  def test_log_and_sign_needs_a_positive_k(self, k):
    with self.assertRaisesRegex(ValueError, f"^k is {k!r}, but must be a pos"):
      preprocess.LogAndSign(k)

  def test_clamp_refuses_an_empty_interval(self):
    with self.assertRaisesRegex(
        ValueError, "^min_value is 1.0 and max_value is 0.0"):
      preprocess.Clamp(1., 0.)

  @parameterized.parameters(float("nan"), float("inf"), "1", [[1.]])
  def test_bounds_that_are_no_numbers_are_refused(self, bound):
    for name in ("min_value", "max_value"):
      with self.assertRaisesRegex(ValueError, f"^{name} is .*, but must be a"):
        preprocess.Clamp(**{name: bound})


class MomentumTest(parameterized.TestCase):
  """Tests of preprocessing with a memory, against transcriptions."""

  def steps(self, preprocessing, gradients):
    """The features of each step, [T, F, D, N], and the last memory."""
    memory = preprocessing.initial_memory(tf.constant(gradients[0]))
    features = []
    for g in tf.unstack(tf.constant(gradients)):
      memory = preprocessing.remember(g, memory, [1, 2])
      features.append(np.stack(preprocessing.features(g, memory)))
    return np.stack(features), memory

  def gradients(self, scale=1.):
    return scale * np.random.default_rng(0).normal(size=[7, 2, 3])

  def mean(self, values, decay):
    """The weighted mean of all values so far, the last one first."""
    weights = decay**np.arange(len(values))
    return np.tensordot(weights / weights.sum(), values[::-1], 1)

  @parameterized.parameters(1e-8, 0.5)
  def test_rnnprop_is_the_directions_of_adam_and_rmsprop(self, epsilon):
    g = self.gradients()
    features, _ = self.steps(preprocess.RNNprop(0.8, epsilon), g)
    for t in range(len(g)):
      m, v = self.mean(g[:t + 1], 0.8), self.mean(g[:t + 1]**2, 0.8)
      root = np.sqrt(v) + epsilon
      np.testing.assert_allclose(features[t], [m / root, g[t] / root],
                                 rtol=1e-6)

  def test_ratio_of_mean_squares_is_bounded(self):
    g = np.ones([3, 2, 3])
    g[0] = 1e8
    features, _ = self.steps(
        preprocess.NormalizedMomenta((0.5,), (0., 0.99), (10.,)), g)
    # Without the bound, log(1 / (1e16 / 3)) / 5 = -7.
    np.testing.assert_array_equal(features[-1, 2], -2. * np.ones([2, 3]))

  @parameterized.parameters(False, True)
  def test_normalized_momenta_are_their_formulas(self, absolute):
    g = self.gradients()
    preprocessing = preprocess.NormalizedMomenta(
        (0.5, 0.9), (0.6, 0.99), (4., 30., 100.), absolute)
    features, memory = self.steps(preprocessing, g)
    for t in range(len(g)):
      fast, slow = (self.mean(g[:t + 1]**2, decay) for decay in (0.6, 0.99))
      ones = np.ones_like(g[t])
      expected = [g[t] / slow**.5, self.mean(g[:t + 1], 0.5) / slow**.5,
                  self.mean(g[:t + 1], 0.9) / slow**.5,
                  np.clip(np.log(fast / slow) / 5, -2, 2)]
      expected += [ones * (np.tanh((t + 1) / s) - 1) for s in (4, 30, 100)]
      peak = np.array([[max(np.mean(self.mean(g[:s + 1]**2, 0.6)[:, part])
                            for s in range(t + 1))
                        for part in ([0], [1, 2], [1, 2])]])
      peak = 1. if absolute else peak
      expected += [np.log(fast / peak) / 20, np.log(slow / peak) / 20]
      np.testing.assert_allclose(features[t], expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        preprocessing.direction(memory),
        self.mean(g, 0.9) / self.mean(g**2, 0.99)**.5, rtol=1e-6)

  @parameterized.parameters(1e-6, 1e6)
  def test_features_do_not_depend_on_the_scale_unless_absolute(self, scale):
    for absolute in (False, True):
      preprocessing = preprocess.NormalizedMomenta(absolute=absolute)
      one, _ = self.steps(preprocessing, np.float32(self.gradients()))
      other, _ = self.steps(preprocessing, np.float32(self.gradients(scale)))
      self.assertEqual(np.allclose(one, other, 1e-4, 1e-4), not absolute)

  @parameterized.parameters(
      preprocess.RNNprop(), preprocess.NormalizedMomenta(absolute=True))
  def test_gradients_of_zero_have_finite_features_and_no_direction(
      self, preprocessing):
    features, memory = self.steps(preprocessing, np.zeros([3, 1, 3]))
    self.assertTrue(np.all(np.isfinite(features)))
    np.testing.assert_array_equal(preprocessing.direction(memory), 0.)

  @parameterized.parameters(tf.float16, tf.bfloat16)
  def test_running_means_of_16_bits_are_refused(self, dtype):
    with self.assertRaisesRegex(
        ValueError, f"are of type {dtype.name}, but must be of type float32"):
      preprocess.RNNprop().initial_memory(tf.ones([1, 3], dtype))

  def test_memoryless_preprocessing_has_none(self):
    preprocessing = preprocess.LogAndSign(5)
    self.assertEqual(preprocessing.initial_memory(tf.ones([1, 3])), ())
    self.assertIsNone(preprocessing.direction(()))

  @parameterized.parameters(
      ("RNNprop", {"decay": 1.}, r"decay is 1.0, but must be in \[0, 1\)"),
      ("RNNprop", {"epsilon": 0}, "epsilon is 0, but must be a positive"),
      ("NormalizedMomenta", {"decays": []}, r"decays is \[\], but must not be"),
      ("NormalizedMomenta", {"decays": 0.9}, "decays is 0.9, but must be a tu"),
      ("NormalizedMomenta", {"square_decays": [2]}, r"decays\[0\] is 2, but"),
      ("NormalizedMomenta", {"absolute": 1}, "absolute is 1, but must be True"),
      ("NormalizedMomenta", {"time_scales": 10}, "time_scales is 10, but must"),
      ("NormalizedMomenta", {"time_scales": [0]}, r"scales\[0\] is 0, but m"))
  def test_bad_options_are_named(self, name, options, message):
    with self.assertRaisesRegex(ValueError, message):
      preprocess.by_name(name, options)


if __name__ == "__main__":
  absltest.main()
