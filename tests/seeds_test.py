"""Tests of seeds."""

import itertools

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import seeds

INTEGERS = (0, 1, -1, 2, 2**31, -2**31, 2**32, 2**32 + 1, 2**33, 2**63 - 1,
            -2**63)
PURPOSES = ("training", "validation", "test", "length", "problem",
            "imitation")


class SeedsTest(parameterized.TestCase):

  @parameterized.parameters(*INTEGERS)
  def test_integer_is_its_two_halves(self, integer):
    seed = seeds.as_seed(integer)
    self.assertEqual((seed.dtype, seed.shape), (tf.int32, [2]))
    low, high = (int(half) for half in seed)
    self.assertEqual(low % 2**32 + high * 2**32, integer)

  def test_all_integers_are_different_seeds(self):
    draws = [float(tf.random.stateless_uniform(
        [], seeds.as_seed(i), dtype=tf.float64, alg="philox"))
             for i in INTEGERS]
    self.assertLen(set(draws), len(INTEGERS))

  def test_tensor_is_a_seed_as_it_is(self):
    seed = tf.constant([3, -4])
    self.assertIs(seeds.as_seed(seed), seed)

  def test_numpy_integer_is_an_integer(self):
    np.testing.assert_array_equal(
        seeds.as_seed(np.int64(-7)), seeds.as_seed(-7))

  @parameterized.parameters(
      2**63, -2**63 - 1, 1.5, "1", None, [(1, 2)], [tf.constant(3)],
      [tf.constant([1, 2, 3])], [tf.constant([1., 2.])],
      [tf.constant([1, 2], tf.int64)])
  def test_anything_else_is_refused(self, seed):
    with self.assertRaisesRegex(
        ValueError, "^seed is .*, but must be an integer of 64 bits or an "
        r"int32 tensor of shape \[2\]"):
      seeds.as_seed(seed)

  def test_derived_seeds_are_different(self):
    derived = {
        tuple(np.asarray(seeds.derive(seed, purpose, index)))
        for seed, purpose, index in itertools.product(
            INTEGERS, PURPOSES, range(4))}
    self.assertLen(derived, len(INTEGERS) * len(PURPOSES) * 4)

  @parameterized.parameters(*PURPOSES)
  def test_derived_seeds_are_reproducible_seeds(self, purpose):
    seed = seeds.derive(-5, purpose, 10**6)
    self.assertEqual((seed.dtype, seed.shape), (tf.int32, [2]))
    np.testing.assert_array_equal(seed, seeds.derive(-5, purpose, 10**6))


if __name__ == "__main__":
  absltest.main()
