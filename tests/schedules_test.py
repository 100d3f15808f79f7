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


if __name__ == "__main__":
  absltest.main()
