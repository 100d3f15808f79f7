"""Tests of what changes from epoch to epoch."""

from absl.testing import absltest, parameterized
import numpy as np

import meta
from meta import schedules


class LearningRateTest(parameterized.TestCase):

  def rates(self, *epochs, **settings):
    return [schedules.learning_rate(
        meta.Settings(learning_rate=0.5, **settings), epoch)
            for epoch in epochs]

  def test_is_constant_unless_it_decays(self):
    self.assertEqual(self.rates(0, 1, 10**6), [0.5] * 3)

  def test_decays_to_zero_as_half_a_cosine(self):
    # (1 + cos x) / 2 at 0, 60, 90, 120 and 180 degrees.
    np.testing.assert_allclose(
        self.rates(0, 20, 30, 40, 60, decay_epochs=60),
        [0.5, 0.375, 0.25, 0.125, 0.], atol=1e-15)

  def test_stays_zero_after_the_decay(self):
    self.assertEqual(self.rates(60, 61, 90, 10**6, decay_epochs=60), [0.] * 4)


class NumStepsTest(parameterized.TestCase):

  def test_is_constant_unless_it_is_drawn(self):
    self.assertEqual([schedules.num_steps(meta.Settings(num_steps=25), epoch)
                      for epoch in (0, 1, 7)], [25] * 3)

  def test_logarithm_is_uniform(self):
    settings = meta.Settings(
        num_steps=1000, min_num_steps=10, unroll_length=1, seed=5)
    lengths = [schedules.num_steps(settings, epoch) for epoch in range(200)]
    self.assertBetween(min(lengths), 10, 11)
    self.assertBetween(max(lengths), 900, 1000)
    # Each quarter has 50 of them on average, with a standard deviation of 6.
    counts, _ = np.histogram(np.log10(lengths), np.linspace(1, 3, 5))
    self.assertBetween(min(counts), 30, 70)
    self.assertBetween(max(counts), 30, 70)

  def test_all_lengths_are_whole_unrolls(self):
    settings = meta.Settings(
        num_steps=100, min_num_steps=20, unroll_length=20)
    self.assertEqual({schedules.num_steps(settings, epoch)
                      for epoch in range(100)}, {20, 40, 60, 80, 100})

  def test_seed_and_epoch_say_all(self):
    def lengths(seed, epochs):
      settings = meta.Settings(
          num_steps=10**6, min_num_steps=1, unroll_length=1, seed=seed)
      return [schedules.num_steps(settings, epoch) for epoch in epochs]

    self.assertEqual(lengths(3, range(8)), lengths(3, range(7, -1, -1))[::-1])
    self.assertLen({*lengths(3, range(8)), *lengths(-4, range(8))}, 16)


class ImitatesTest(parameterized.TestCase):

  @parameterized.parameters((0., 0, 0), (0.3, 38, 82), (1., 200, 200))
  def test_epochs_are_drawn_with_the_probability(self, imitation, low, high):
    settings = meta.Settings(imitation=imitation, seed=8)
    # The standard deviation of the count is 6.5.
    count = sum(schedules.imitates(settings, epoch) for epoch in range(200))
    self.assertBetween(count, low, high)


class ProblemTest(parameterized.TestCase):

  def draw(self, count, num_problems, **settings):
    settings = meta.Settings(seed=6, **settings)
    return [schedules.problem(settings, epoch, num_problems)
            for epoch in range(count)]

  def test_only_problem_is_taken(self):
    self.assertEqual(self.draw(3, 1), [0] * 3)

  @parameterized.parameters(
      (None, [50, 50, 50]), ([1, 4, 1], [25, 100, 25]),
      (np.array([1., 4., 1.]), [25, 100, 25]))
  def test_problems_are_drawn_by_their_weights(self, weights, expected):
    counts = np.bincount(self.draw(150, 3, problem_weights=weights))
    # Standard deviations are of 5 to 6.
    np.testing.assert_allclose(counts, expected, atol=18)

  def test_problems_do_not_follow_the_lengths_of_runs(self):
    settings = meta.Settings(num_steps=2, min_num_steps=1, unroll_length=1)
    pairs = {(schedules.num_steps(settings, epoch),
              schedules.problem(settings, epoch, 2)) for epoch in range(40)}
    self.assertLen(pairs, 4)


if __name__ == "__main__":
  absltest.main()
