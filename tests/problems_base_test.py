"""Tests of what the contract promises, on every problem."""

import tempfile

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import problems

SEED = (3, 4)
OTHER_SEED = (3, 5)

PROBLEMS = (
    ("simple", problems.Simple, {}),
    ("simple_multi", problems.SimpleMultiOptimizer, {"num_dims": 3}),
    ("quadratic", problems.Quadratic, {"batch_size": 3, "num_dims": 4}),
    ("quadratic_separate", problems.Quadratic,
     {"batch_size": 3, "num_dims": 4, "separate": True}),
    ("ensemble", problems.Ensemble,
     {"problems": [problems.Quadratic(3, 4), problems.Simple()],
      "weights": [0.5, 2.]}),
    ("mnist", problems.Mnist, {"layers": (3,), "batch_size": 4}),
)
DETERMINISTIC = ("simple", "simple_multi")


def sample_and_loss(problem, seed):
  params, constants = problem.sample(seed)
  return params, constants, problem.loss(params, constants, seed)


def assert_same(actual, expected, rtol=0.):
  tf.nest.map_structure(
      lambda a, e: np.testing.assert_allclose(a, e, rtol=rtol),
      actual, expected)


class ProblemTest(parameterized.TestCase):

  def make(self, constructor, options):
    if constructor is problems.Mnist:
      rng = np.random.default_rng(0)
      data_dir = self.enter_context(tempfile.TemporaryDirectory())
      images = rng.integers(0, 256, [24, 28, 28], np.uint8)
      labels = rng.integers(0, 10, [24], np.uint8)
      np.savez(f"{data_dir}/mnist.npz", x_train=images, y_train=labels)
      options = {"data_dir": data_dir, **options}
    return constructor(**options)

  @parameterized.named_parameters(*PROBLEMS)
  def test_same_seed_gives_same_function(self, constructor, options):
    problem = self.make(constructor, options)
    assert_same(sample_and_loss(problem, tf.constant(SEED)),
                sample_and_loss(problem, tf.constant(SEED)))

  @parameterized.named_parameters(
      *(p for p in PROBLEMS if p[0] not in DETERMINISTIC))
  def test_other_seed_gives_other_function(self, constructor, options):
    problem = self.make(constructor, options)
    *_, loss = sample_and_loss(problem, tf.constant(SEED))
    *_, other_loss = sample_and_loss(problem, tf.constant(OTHER_SEED))
    self.assertTrue(np.all(loss.numpy() != other_loss.numpy()))

  @parameterized.named_parameters(*PROBLEMS)
  def test_function_agrees_with_eager(self, constructor, options):
    problem = self.make(constructor, options)
    compiled = tf.function(lambda seed: sample_and_loss(problem, seed))
    assert_same(compiled(tf.constant(SEED)),
                sample_and_loss(problem, tf.constant(SEED)), rtol=1e-6)

  @parameterized.named_parameters(*PROBLEMS)
  def test_while_loop_agrees_with_eager(self, constructor, options):
    problem = self.make(constructor, options)
    seeds = tf.constant([SEED, OTHER_SEED])

    @tf.function
    def losses():
      return tf.while_loop(
          lambda i, _: i < 2,
          lambda i, values: (
              i + 1, values.write(i, sample_and_loss(problem, seeds[i])[-1])),
          (0, tf.TensorArray(tf.float32, size=2)))[1].stack()

    assert_same(
        losses(), tf.stack([sample_and_loss(problem, s)[-1] for s in seeds]),
        rtol=1e-6)

  @parameterized.named_parameters(*PROBLEMS)
  def test_every_parameter_has_a_gradient(self, constructor, options):
    problem = self.make(constructor, options)
    params, constants = problem.sample(tf.constant(SEED))
    with tf.GradientTape() as tape:
      tape.watch(params)
      loss = problem.loss(params, constants, tf.constant(SEED))
    for name, gradient in tape.gradient(loss, params).items():
      self.assertEqual(gradient.shape, params[name].shape, name)
      self.assertTrue(np.all(np.isfinite(gradient)), name)


if __name__ == "__main__":
  absltest.main()
