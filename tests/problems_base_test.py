"""Tests of what the contract promises, on every problem."""

import functools

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import problems
from tests import small_problems

SEED = (3, 4)
OTHER_SEED = (3, 5)

PROBLEMS = {
    **small_problems.PROBLEMS,
    # With problems that are not alike, and weights.
    "ensemble": lambda: problems.Ensemble(
        [problems.Quadratic(3, 4), problems.Simple()], [0.5, 2.]),
}
DETERMINISTIC = ("simple", "simple_multi")
# Batch normalization subtracts these biases again.
CANCELLED = {"cifar10": ("conv_net_2d/conv_2d_0/b", "conv_net_2d/conv_2d_1/b",
                         "mlp/linear_0/b")}
# A compiled convolution may be fused with what follows, and rounds differently.
RTOL = {"cifar10": 1e-5, "neural_art": 1e-5}


def sample_and_loss(problem, seed):
  params, constants = problem.sample(seed)
  return params, constants, problem.loss(params, constants, seed)


def assert_same(actual, expected, rtol=0.):
  tf.nest.map_structure(
      lambda a, e: np.testing.assert_allclose(a, e, rtol=rtol),
      actual, expected)


class ProblemTest(parameterized.TestCase):

  def test_every_public_problem_is_here(self):
    tested = {type(make()) for make in PROBLEMS.values()}
    public = {getattr(problems, name) for name in problems.__all__}
    self.assertEqual(tested, {p for p in public if isinstance(p, type)
                              and issubclass(p, problems.Problem)
                              and p is not problems.Problem})

  @parameterized.named_parameters(*zip(PROBLEMS, PROBLEMS))
  def test_same_seed_gives_same_function(self, name):
    problem = PROBLEMS[name]()
    assert_same(sample_and_loss(problem, tf.constant(SEED)),
                sample_and_loss(problem, tf.constant(SEED)))

  @parameterized.named_parameters(
      *((p, p) for p in PROBLEMS if p not in DETERMINISTIC))
  def test_other_seed_gives_other_function(self, name):
    problem = PROBLEMS[name]()
    *_, loss = sample_and_loss(problem, tf.constant(SEED))
    *_, other_loss = sample_and_loss(problem, tf.constant(OTHER_SEED))
    self.assertTrue(np.all(loss.numpy() != other_loss.numpy()))

  @parameterized.named_parameters(*zip(PROBLEMS, PROBLEMS))
  def test_function_agrees_with_eager(self, name):
    problem = PROBLEMS[name]()
    compiled = tf.function(
        lambda seed: sample_and_loss(problem, seed), autograph=False)
    assert_same(compiled(tf.constant(SEED)),
                sample_and_loss(problem, tf.constant(SEED)),
                rtol=RTOL.get(name, 1e-6))

  @parameterized.named_parameters(*zip(PROBLEMS, PROBLEMS))
  def test_while_loop_agrees_with_eager(self, name):
    problem = PROBLEMS[name]()
    seeds = tf.constant([SEED, OTHER_SEED])

    @functools.partial(tf.function, autograph=False)
    def losses():
      return tf.while_loop(
          lambda i, _: i < 2,
          lambda i, values: (
              i + 1, values.write(i, sample_and_loss(problem, seeds[i])[-1])),
          (0, tf.TensorArray(tf.float32, size=2)))[1].stack()

    assert_same(
        losses(), tf.stack([sample_and_loss(problem, s)[-1] for s in seeds]),
        rtol=RTOL.get(name, 1e-6))

  @parameterized.named_parameters(*zip(PROBLEMS, PROBLEMS))
  def test_every_parameter_has_a_gradient(self, name):
    problem = PROBLEMS[name]()
    params, constants = problem.sample(tf.constant(SEED))
    with tf.GradientTape() as tape:
      tape.watch(params)
      loss = problem.loss(params, constants, tf.constant(SEED))
    gradients = tape.gradient(loss, params)
    largest = max(np.abs(g).max() for g in gradients.values())
    for key, gradient in gradients.items():
      with self.subTest(key):
        self.assertEqual(gradient.shape, params[key].shape)
        self.assertTrue(np.all(np.isfinite(gradient)))
        if key not in CANCELLED.get(name, ()):
          self.assertGreater(np.abs(gradient).max(), 1e-4 * largest)


if __name__ == "__main__":
  absltest.main()
