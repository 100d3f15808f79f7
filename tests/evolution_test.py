"""Tests of meta-gradients by evolution strategies."""

import functools

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from meta import evolution, seeds
import networks
import problems
from tests import assertions, toys
from tests.toy_trainers import make, restore, weights, without_time

T = 3
STDDEV = 0.2
POINT = np.array([0.4, -0.3])


class Parabola(networks.Network):
  """Updates -a^2 g + b, with the weights a and b."""

  def __init__(self):
    super().__init__()
    self.weights = tf.Variable(POINT)

  def initial_state(self, params):
    return ()

  def __call__(self, gradients, state):
    a, b = tf.unstack(self.weights)
    return {name: b - a**2 * g for name, g in gradients.items()}, state


class Balance(networks.Network):
  """Moves x_t to A x_t + theta (1, .., 1, -1, .., -1)."""

  def __init__(self):
    super().__init__()
    self.theta = tf.Variable(0.5, dtype=tf.float64)

  def initial_state(self, params):
    return ()

  def prepare(self, gradients, state, params=None):
    return params, state

  def __call__(self, params, state):
    x = params["x"]
    return {"x": tf.linalg.matvec(A, x) + self.theta * SIGNS - x}, state

  @property
  def needs_params(self):
    return True


# Two influences are positive and soon, three are negative and later.
A = 0.5 * (np.eye(5) + np.eye(5, k=1))
SIGNS = np.array([1., 1., -1., -1., -1.])


class FirstCoordinate(problems.Problem):
  """(x_1 - 1)^2 / 2, from ones."""

  def sample(self, seed):
    return {"x": tf.ones([5], tf.float64)}, ()

  def loss(self, params, constants, seed):
    return (params["x"][0] - 1.)**2 / 2


def balance_gradients(num_steps, len_unroll, truncated):
  """Gradient of the meta-losses of all unrolls, by forward differentiation."""
  x, slopes, total = np.ones(5), np.zeros(5), 0.
  for t in range(num_steps):
    if t % len_unroll == 0:
      slopes = np.zeros(5) if truncated else slopes
      total += (x[0] - 1) * slopes[0]  # The last loss is the next first.
    x, slopes = A @ x + 0.5 * SIGNS, A @ slopes + SIGNS
    total += (x[0] - 1) * slopes[0]
  return total


def minimize(network, problem, len_unroll=T, **options):
  """A step of a network that does not change."""
  optimizer = meta.MetaOptimizer()
  optimizer.networks = {"net": network}
  return optimizer.meta_minimize(
      problem, len_unroll, 1e-30, **{"jit_compile": False, **options})


@functools.cache
def estimator(step):
  """The estimate of a step, which is traced once."""
  return tf.function(step._meta_gradient, autograph=False)


def total_gradient(step, seed, num_unrolls):
  """The sum of the estimates of a run."""
  run, total = step.reset(seed), 0.
  estimate = estimator(step)
  for _ in range(num_unrolls):
    _, run, (gradient,) = estimate(run, step.len_unroll)
    total += gradient.numpy()
  return total


class EstimateTest(parameterized.TestCase):

  def test_es_estimates_the_gradient_of_the_smoothed_meta_loss(self):
    num_pairs = 20000

    def meta_loss(a, b):  # Of x^2, from 1.
      return 1. + (1. + b - a**2 * 2.)**2

    points, probabilities = np.polynomial.hermite_e.hermegauss(20)
    probabilities = np.outer(probabilities, probabilities)
    probabilities /= probabilities.sum()
    z = np.stack(np.meshgrid(points, points, indexing="ij"))
    shifts = STDDEV * z
    differences = (meta_loss(*(POINT[:, None, None] + shifts))
                   - meta_loss(*(POINT[:, None, None] - shifts)))
    of_pairs = z * differences / (2 * STDDEV)
    expected = np.sum(probabilities * of_pairs, (1, 2))
    errors = np.sqrt((np.sum(probabilities * of_pairs**2, (1, 2))
                      - expected**2) / num_pairs)
    step = minimize(
        Parabola(), toys.Given(
            np.ones([1, 1, 1]), np.zeros([1, 1]), np.ones(1)), 1,
        estimator="es", perturbation_stddev=STDDEV,
        perturbation_pairs=num_pairs)
    actual = total_gradient(step, 1, 1)
    np.testing.assert_array_less(np.abs(actual - expected), 4 * errors)
    # The gradient without smoothing is another one.
    a, b = POINT
    plain = 2 * (1 + b - 2 * a**2) * np.array([-4 * a, 1.])
    self.assertGreater(np.max(np.abs(plain - expected) / errors), 8)

  @parameterized.parameters(
      (True, "sum", False, 1, True), (True, "log", True, 2, False),
      (False, "log", True, 1, False), (False, "sum", False, 2, False))
  def test_estimate_is_the_mean_over_pairs(
      self, persistent, objective, separate, num_tasks, jit_compile):
    problem = problems.Quadratic(
        2, 3, stddev=1., dtype=tf.float64, separate=separate)
    step = minimize(
        toys.coordinatewise(layers=(2,)), problem, objective=objective,
        estimator="pes" if persistent else "es", perturbation_stddev=STDDEV,
        perturbation_pairs=2, jit_compile=jit_compile)
    keys = [seeds.as_seed(i) for i in range(num_tasks)]
    sums = [self.sums(step, key) for key in keys]
    expected = [self.reference(step, key, own, persistent, objective)
                for key, own in zip(keys, sums, strict=True)]
    run = step.reset(seeds.stack(keys))
    estimate = tf.function(step._meta_gradient, autograph=False)
    for i in range(2):
      run_before = run
      losses, run, gradients = estimate(run, T)
      if persistent:
        for actual, *values in zip(run.particles.sums, *(s[i] for s in sums)):
          np.testing.assert_allclose(
              tf.reshape(actual, np.shape(values)), values)
      for actual, *values in zip(gradients, *(e[i] for e in expected)):
        np.testing.assert_allclose(
            actual, np.mean(values, 0), rtol=1e-3, atol=1e-4)
      # The losses and the run are those of the weights.
      plain = step.unroll(run_before)
      assertions.assert_close(
          (losses, run._replace(particles=())),
          (plain[0], plain[1]._replace(particles=())))

  def sums(self, step, seed):
    """The sums of the perturbations after each of two unrolls."""
    seed = step.reset(seed).seed
    one, two = ([e.numpy() for e in step._draw(seed, tf.constant(t))]
                for t in (0, T))
    return [one, [a + b for a, b in zip(one, two, strict=True)]]

  def reference(self, step, seed, sums, persistent, objective):
    """The estimates of two unrolls, one particle after another."""
    variables = step.network.trainable_variables
    weights = [v.numpy() for v in variables]
    gradients = []
    base = step.reset(seed)
    runs = {(p, sign): base for p in range(2) for sign in (1, -1)}
    before = [np.zeros_like(s) for s in sums[0]]
    for xi in sums:
      epsilon = [new - old for new, old in zip(xi, before)]
      before, values = xi, {}
      for p, sign in runs:
        for v, w, e in zip(variables, weights, epsilon, strict=True):
          v.assign(w + sign * e[p])
        losses, runs[p, sign] = step.unroll(
            runs[p, sign] if persistent else base)
        losses = np.reshape(losses, [T + 1, -1]).mean(1)
        values[p, sign] = np.sum(
            np.log(losses) if objective == "log" else losses)
      for v, w in zip(variables, weights, strict=True):
        v.assign(w)
      base = step.unroll(base)[1]
      gradients.append([sum(
          (x if persistent else e)[p] * (values[p, 1] - values[p, -1])
          for p in range(2)) / (2 * 2 * STDDEV**2)
                        for x, e in zip(xi, epsilon, strict=True)])
    return gradients

  def test_pes_is_unbiased_where_truncation_has_the_wrong_sign(self):
    num_unrolls, length = 20, 2
    whole, truncated = (balance_gradients(num_unrolls * length, length, b)
                        for b in (False, True))
    problem = FirstCoordinate()
    backprop = minimize(
        Balance(), problem, length, second_derivatives=True)
    np.testing.assert_allclose(
        total_gradient(backprop, 0, num_unrolls), truncated, rtol=1e-6)
    es, pes = (minimize(Balance(), problem, length, estimator=estimator,
                        perturbation_pairs=300) for estimator in ("es", "pes"))
    estimates = np.array([[total_gradient(step, seed, num_unrolls)
                           for seed in range(10)] for step in (es, pes)])
    errors = estimates.std(1, ddof=1) / np.sqrt(10)
    np.testing.assert_array_less(
        np.abs(estimates.mean(1) - [truncated, whole]), 3 * errors)
    self.assertLess(truncated, -50)
    self.assertGreater(whole, 100)
    np.testing.assert_array_less(errors, 10)


class StepTest(parameterized.TestCase):

  @parameterized.parameters(*evolution.ESTIMATORS[1:])
  def test_seeds_give_the_same_numbers(self, estimator):
    step = minimize(
        Parabola(), problems.Quadratic(1, 2, stddev=1., dtype=tf.float64),
        estimator=estimator)
    one, two, other = (total_gradient(step, seed, 2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    self.assertTrue(np.all(one != other))

  def test_perturbations_differ_from_unroll_to_unroll(self):
    step = minimize(
        toys.coordinatewise(), problems.Quadratic(1, 2), estimator="pes",
        perturbation_stddev=STDDEV, perturbation_pairs=500)
    first = step.train(step.reset(0))[1]
    both = step.train(first)[1]
    one, two = (
        np.concatenate([np.ravel(x) for x in sums]) for sums in (
            first.particles.sums,
            map(tf.subtract, both.particles.sums, first.particles.sums)))
    np.testing.assert_allclose([one.std(), two.std()], STDDEV, rtol=0.05)
    self.assertLess(abs(np.corrcoef(one, two)[0, 1]), 0.05)

  @parameterized.parameters(([0, 1], 1), ([[0, 1], [0, 2], [0, 3]], 3))
  def test_a_pair_that_diverges_starts_again_from_the_run(
      self, seed, num_tasks):
    step = minimize(
        toys.coordinatewise(layers=()), problems.Quadratic(1, 2),
        estimator="pes", perturbation_pairs=2)
    run = step.train(step.reset(tf.constant(seed)))[1]
    # The first of the subtracted, as of the third on the axis of particles.
    mask = np.zeros([*run.particles.params["x"].shape], bool)
    mask[..., 2, 0, 0] = True
    broken = run._replace(particles=run.particles._replace(
        params={"x": tf.where(mask, np.inf, run.particles.params["x"])}))
    info, after = step.train(broken)
    self.assertTrue(np.isfinite(info.gradient_norm))
    self.assertGreater(info.gradient_norm, 0.)
    for params, own in zip(
        tf.reshape(after.particles.params["x"], [num_tasks, 4, 2]),
        tf.reshape(after.params["x"], [num_tasks, 2]), strict=True):
      for i, is_own in enumerate((True, False, True, False)):
        self.assertEqual(np.array_equal(params[i], own), is_own)
    for sums in after.particles.sums:
      sums = tf.reshape(sums, [num_tasks, 2, -1])
      np.testing.assert_array_equal(sums[:, 0], 0.)
      self.assertTrue(np.all(sums[:, 1] != 0.))

  def test_meta_gradient_is_not_finite_if_all_pairs_diverge(self):
    step = minimize(
        toys.coordinatewise(layers=()), problems.Quadratic(1, 2),
        estimator="pes", perturbation_pairs=2)
    run = step.reset(0)
    broken = run._replace(particles=run.particles._replace(
        params={"x": run.particles.params["x"] * np.inf}))
    self.assertFalse(np.isfinite(step.train(broken)[0].gradient_norm))

  def test_networks_without_variables_are_left_alone(self):
    step = minimize(networks.Sgd(0.1), problems.Simple(), estimator="pes")
    info, _ = step.train(step.reset(0))
    self.assertEqual(info.gradient_norm, 0.)

  @parameterized.parameters(
      ({"estimator": "spsa"}, "estimator is 'spsa', but must be one of"),
      ({"perturbation_stddev": 0}, "perturbation_stddev is 0, but must be a p"),
      ({"perturbation_pairs": 0.5}, "perturbation_pairs is 0.5, but must be a"),
      ({"second_derivatives": True},
       "second_derivatives is True, but must be False with estimators other"),
      ({"num_sampled": 3}, "num_sampled is 3, but must be None with estimato"))
  def test_bad_values_are_named(self, options, message):
    with self.assertRaisesRegex(ValueError, f"^{message}"):
      minimize(Parabola(), problems.Simple(), **{"estimator": "es", **options})


class TrainerTest(parameterized.TestCase):

  def test_restored_training_goes_on_bit_for_bit(self):
    one, two = (make(estimator="pes", num_tasks=2, stagger=True,
                     perturbation_pairs=2) for _ in range(2))
    one.run_epoch()
    with self.subTest("tasks_that_start_again_have_new_particles"):
      # One task has made two unrolls, one has made one.
      particles = tf.nest.map_structure(
          tf.convert_to_tensor, one._runs).particles
      sums = particles.sums[0].numpy()
      fresh = one.meta_step.reset(seeds.stack([seeds.derive(
          one.settings.seed, "training", n) for n in (0, 3)]))
      run = one.meta_step.train(fresh)[1]
      np.testing.assert_array_equal(sums[1], run.particles.sums[0][1])
    one.run_epoch()
    restore(two, one)
    one, two = ([without_time(t.run_epoch()) for _ in range(2)] + weights(t)
                for t in (one, two))
    assertions.assert_equal(one, two)


if __name__ == "__main__":
  absltest.main()
