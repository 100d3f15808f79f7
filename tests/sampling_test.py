"""Tests of the samples of rows, and of meta-gradients from them."""

import itertools
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from meta import meta_gradient, sampling, seeds, unroll
import networks
import problems
from tests import assertions

SEED = seeds.as_seed(5)

MOMENTA = {"preprocess_name": "NormalizedMomenta", "preprocess_options": {},
           "postprocess_options": {"nonlinearity": "tanh", "min_size": 0.1}}


def float64_weights(name, scale=0.3, **kwargs):
  """A network whose rows have different derivatives."""
  kwargs = {"preprocess_name": "LogAndSign", "preprocess_options": {"k": 1},
            **kwargs}
  return getattr(networks, name)(
      layers=(2, 3), scale=scale,
      initializer=tf.keras.initializers.RandomNormal(stddev=0.5, seed=1),
      **kwargs)


class Shapes(problems.Problem):
  """A quartic of parameters of several shapes."""

  def __init__(self, **shapes):
    self._shapes = shapes

  def sample(self, seed):
    return {name: tf.random.stateless_normal(
        shape, tf.random.fold_in(seed, i, alg="philox"), dtype=tf.float64,
        alg="philox") for i, (name, shape) in enumerate(self._shapes.items())
            }, ()

  def loss(self, params, constants, seed):
    return tf.add_n(self.losses(params))

  def losses(self, params):
    return [tf.reduce_sum(x**4 - x**2 + x) for x in params.values()]


class Separate(Shapes):
  """A function of each parameter, with a loss of its own."""

  def loss(self, params, constants, seed):
    return tf.stack(self.losses(params))


class AllocateTest(parameterized.TestCase):

  @parameterized.parameters(
      ([15680, 20, 200, 10], 2000, [1770, 20, 200, 10]),
      ([100, 100], 10, [5, 5]),
      ([6, 3, 100, 300], 49, [6, 3, 10, 30]),
  )
  def test_small_parameters_are_whole_and_others_in_proportion(
      self, counts, num_sampled, expected):
    self.assertEqual(sampling.allocate(counts, num_sampled), expected)

  def test_each_parameter_has_a_row(self):
    sizes = sampling.allocate([10**6] + [5] * 20, 10)
    self.assertGreaterEqual(min(sizes), 1)


class DrawTest(parameterized.TestCase):

  @parameterized.parameters(None, 12, 13)
  def test_all_rows_need_no_sample(self, num_sampled):
    self.assertEqual(sampling.draw([5, 7], num_sampled, SEED), ())

  def test_rows_come_from_equal_intervals_of_each_parameter(self):
    for seed in range(20):
      sample = sampling.draw([2, 20, 10], 8, seeds.as_seed(seed))
      # 2 as a whole; 6 for 30: 4 and 2.
      np.testing.assert_array_equal(sample.weights, [1, 1, 5, 5, 5, 5, 5, 5])
      indices = sample.indices.numpy()
      np.testing.assert_array_equal(indices[:2], [0, 1])
      np.testing.assert_array_equal((indices[2:] - 2) // 5, range(6))

  def test_each_row_is_drawn_with_the_inverse_of_its_weight(self):
    seeds_ = tf.random.split(SEED, 3000, alg="philox")
    samples = tf.vectorized_map(
        lambda seed: sampling.draw([7, 3], 4, seed), seeds_)
    # 3 of 7 rows, in intervals of 2, 2 and 3, and the first of 3 as a whole.
    counts = np.bincount(samples.indices.numpy().ravel(), minlength=10)
    weights = np.zeros(10)
    weights[samples.indices.numpy()] = samples.weights
    np.testing.assert_allclose(counts / 3000 * weights, 1., atol=0.06)

  def test_seed_determines_the_sample(self):
    first, same, other = (
        sampling.draw([100], 10, seeds.as_seed(s)).indices.numpy()
        for s in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    self.assertTrue(np.any(first != other))

  def test_networks_share_the_rows_in_proportion(self):
    sample = sampling.draw({"a": [100], "b": (), "c": [300, 2]}, 42, SEED)
    self.assertEqual(sample["b"], ())
    self.assertEqual([len(sample[k].indices) for k in "ac"], [10, 32])
    self.assertEqual(sample["c"].indices.numpy()[-2:].tolist(), [300, 301])


class TakeTest(absltest.TestCase):

  def test_takes_the_last_axis_and_leaves_scalars(self):
    rows = {"a": (tf.reshape(tf.range(8), [2, 4]), tf.constant(3)),
            "b": tf.range(3)}
    sample = {"a": sampling.Sample(tf.constant([1, 3]), tf.constant([2., 2.])),
              "b": ()}
    taken = sampling.take(rows, sample)
    np.testing.assert_array_equal(taken["a"][0], [[1, 3], [5, 7]])
    self.assertEqual(taken["a"][1], 3)
    np.testing.assert_array_equal(taken["b"], [0, 1, 2])


class MetaGradientTest(parameterized.TestCase):

  def gradient(self, network, problem, seed=SEED, num_sampled=None):
    run = unroll.start(network, problem, seed)
    return meta_gradient.meta_gradient(network, problem, run, 3, num_sampled)

  @parameterized.named_parameters(
      ("coordinates", lambda: float64_weights("CoordinateWiseDeepLSTM"),
       Shapes(x=[5], y=[1])),
      ("functions", lambda: float64_weights("CoordinateWiseDeepLSTM"),
       Separate(x=[5], y=[1])),
      ("memory", lambda: float64_weights("CoordinateWiseDeepLSTM", **MOMENTA),
       Shapes(x=[5], y=[1])),
      ("rows", lambda: float64_weights("StandardDeepLSTM", output_size=2),
       Shapes(x=[5, 2], y=[1, 2])),
      ("kernels",
       lambda: float64_weights("KernelDeepLSTM", kernel_shape=(1, 2)),
       Shapes(x=[1, 2, 1, 5], y=[1, 2, 1, 1])))
  def test_mean_over_all_samples_is_the_gradient(self, network, problem):
    network = network()
    expected = self.gradient(network, problem)
    # Two intervals for x, of 2 and 3 rows, and y as a whole.
    samples = [sampling.Sample(tf.constant([i, j, 5]), tf.constant([2., 3, 1]))
               for i, j in itertools.product((0, 1), (2, 3, 4))]
    gradients = []
    for sample in samples:
      with mock.patch.object(sampling, "draw", return_value=sample):
        losses, run, gradient = self.gradient(network, problem)
      assertions.assert_close((losses, run), expected[:2])
      gradients.append(gradient)
    for mean, exact, first in zip(
        (np.mean(g, 0) for g in zip(*gradients)), expected[2], gradients[0],
        strict=True):
      np.testing.assert_allclose(mean, exact, rtol=1e-10, atol=1e-12)
      self.assertGreater(np.abs(first - exact).max(), 1e-3)

  def test_all_rows_are_the_gradient_bit_for_bit(self):
    network = float64_weights("CoordinateWiseDeepLSTM")
    problem = Shapes(x=[5], y=[2, 2])
    expected = self.gradient(network, problem)[2]
    for a, b in zip(self.gradient(network, problem, num_sampled=9)[2],
                    expected, strict=True):
      np.testing.assert_array_equal(a, b)

  def test_several_networks_and_functions_have_one_sample(self):
    network = networks.Partition(
        {"kernel": float64_weights("KernelDeepLSTM", kernel_shape=(1, 2)),
         "rest": float64_weights("CoordinateWiseDeepLSTM"),
         "sgd": networks.Sgd(0.01)},
        [("kernel", ["k"]), ("rest", ["x", "b"]), ("sgd", ["s"])])
    problem = Shapes(k=[1, 2, 4, 8], x=[50, 2], b=[3], s=[4])
    expected = self.gradient(network, problem)[2]
    seeds_ = tf.random.split(SEED, 400, alg="philox")
    run = unroll.start(network, problem, SEED)

    def of_sample(seed):
      return meta_gradient.meta_gradient(
          network, problem, run._replace(seed=seed), 3, num_sampled=30)[2]

    gradients = tf.function(lambda: tf.map_fn(
        of_sample, seeds_, fn_output_signature=[tf.float64] * len(expected)),
                            autograph=False)()
    for of_samples, exact in zip(gradients, expected, strict=True):
      error = np.std(of_samples, axis=0) / 20  # The standard error.
      np.testing.assert_array_less(
          np.abs(np.mean(of_samples, 0) - exact), 5 * error + 1e-12)

  @parameterized.parameters(False, True)
  def test_tasks_have_samples_of_their_own(self, jit_compile):
    network = networks.CoordinateWiseDeepLSTM((2,))
    problem = Shapes(x=[40], y=[2])
    network.initial_state(problem.sample(SEED)[0])  # Makes the variables.
    function = tf.function(
        lambda seed: self.gradient(network, problem, seed, 7)[2],
        autograph=False, jit_compile=jit_compile)
    runs = tf.random.split(SEED, 2, alg="philox")
    together, *alone = map(function, (runs, *tf.unstack(runs)))
    for a, b, c in zip(together, *alone, strict=True):
      np.testing.assert_allclose(a, (b + c) / 2, rtol=1e-6, atol=1e-12)


class MetaStepTest(parameterized.TestCase):

  def test_unrolls_have_samples_of_their_own(self):
    step = meta.MetaOptimizer().meta_minimize(
        problems.Quadratic(), 1, 1e-9, jit_compile=False, num_sampled=100)
    drawn = []
    draw = sampling.draw

    def spy(*args):
      drawn.append(draw(*args))
      return drawn[-1]

    tf.config.run_functions_eagerly(True)
    self.addCleanup(tf.config.run_functions_eagerly, False)
    with mock.patch.object(sampling, "draw", spy):
      run = step.reset(0)
      for _ in range(2):
        _, run = step.step(run)
      step.step(step.reset(0))
    first, second, again = (sample["coordinatewise"].indices.numpy()
                            for sample in drawn)
    self.assertTrue(np.any(first != second))
    np.testing.assert_array_equal(first, again)

  @parameterized.parameters(0, -1, 2.5, "all")
  def test_bad_num_sampled_is_named(self, num_sampled):
    with self.assertRaisesRegex(ValueError, f"num_sampled is {num_sampled!r}"):
      meta.MetaOptimizer().meta_minimize(
          problems.Simple(), 1, num_sampled=num_sampled)

  def test_second_derivatives_need_all_coordinates(self):
    with self.assertRaisesRegex(ValueError, "num_sampled is 3, but must be No"):
      meta.MetaOptimizer().meta_minimize(
          problems.Simple(), 1, second_derivatives=True, num_sampled=3)


if __name__ == "__main__":
  absltest.main()
