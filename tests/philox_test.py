"""Tests that random numbers are those of `tf.random`."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from l2lgd import philox

SEEDS = ([0, 0], [3, -5], [2**31 - 1, -2**31])


def ours(seed):
  return [
      philox.normal([3, 2], seed),
      philox.normal([5], seed, tf.float64),
      philox.truncated_normal([7], seed),
      philox.uniform([], seed),
      philox.uniform([4], seed, tf.float64),
      philox.integers([9], seed, 1000),
      philox.fold_in(seed, -1),
      philox.fold_in(seed, tf.constant(17)),
      *philox.split(seed),
      *philox.split(seed, 3)]


def tensorflows(seed):
  random, alg = tf.random, {"alg": "philox"}
  return [
      random.stateless_normal([3, 2], seed, **alg),
      random.stateless_normal([5], seed, dtype=tf.float64, **alg),
      random.stateless_truncated_normal([7], seed, **alg),
      random.stateless_uniform([], seed, **alg),
      random.stateless_uniform([4], seed, dtype=tf.float64, **alg),
      random.stateless_uniform([9], seed, 0, 1000, tf.int32, **alg),
      random.fold_in(seed, -1, **alg),
      random.fold_in(seed, tf.constant(17), **alg),
      *tf.unstack(random.split(seed, **alg)),
      *tf.unstack(random.split(seed, 3, **alg))]


class PhiloxTest(parameterized.TestCase):

  @parameterized.parameters(None, False, True)
  def test_numbers_are_those_of_tensorflow(self, jit_compile):
    functions = [f if jit_compile is None else tf.function(
        f, jit_compile=jit_compile, autograph=False)
                 for f in (ours, tensorflows)]
    for seed in SEEDS:
      for own, expected in zip(*(f(tf.constant(seed)) for f in functions),
                               strict=True):
        self.assertEqual(own.dtype, expected.dtype)
        np.testing.assert_array_equal(own, expected)

  def test_seed_may_be_a_tuple(self):
    for own, expected in zip(ours((3, -5)), ours(tf.constant([3, -5])),
                             strict=True):
      np.testing.assert_array_equal(own, expected)

  def test_runs_side_by_side_have_the_numbers_of_each(self):
    together = tf.vectorized_map(ours, tf.constant(SEEDS), warn=False)
    for i, seed in enumerate(SEEDS):
      for own, expected in zip(together, ours(tf.constant(seed)), strict=True):
        np.testing.assert_array_equal(own[i], expected)


if __name__ == "__main__":
  absltest.main()
