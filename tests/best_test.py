"""Tests of the comparison of validations."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from meta import best


def make(variables=(), **settings):
  return best.Best(meta.Settings(**settings), variables)


def losses(*ends):
  """Losses [runs, T + 1] of runs with these initial and final losses."""
  return np.float32([[first, 77., last] for first, last in ends])


class BestTest(parameterized.TestCase):

  def test_several_problems_must_begin_above_0(self):
    with self.assertRaisesRegex(
        ValueError, r"initial losses of the problems are \[1\.0, -2\.0\], but"):
      make().compare([losses((1., .5)), losses((-2., -4.))])

  def test_logarithms_need_losses_above_0(self):
    for initial in (0., -2.):
      with self.assertRaisesRegex(
          ValueError, "must be above 0: their logarithms are the objective"):
        make(objective="log").compare([losses((initial, .5))])

  @parameterized.parameters(
      ([3., np.nan, 2., np.inf, 2.5, 1.],
       [True, False, True, False, False, True]),
      # The first one is the best, however bad.
      ([np.nan, np.nan, 2.], [True, False, True]),
      ([np.inf, np.inf, 2.], [True, False, True]))
  def test_best_has_the_least_mean_final_loss(self, means, improved):
    compared = make()
    self.assertEqual([compared.compare([losses((0., 0.), (9., 2 * mean))])
                      for mean in means], improved)

  def test_functions_that_begin_as_not_finite_do_not_count(self):
    compared, sick = make(), (np.nan, np.nan)
    self.assertEqual(
        [compared.compare([losses(*runs)]) for runs in (
            [sick, (1., .5)], [sick, (1., .6)], [sick, (1., np.nan)],
            [sick, sick], [sick, (1., .4)])],
        [True, False, False, False, True])

  def test_best_of_several_problems_has_the_least_mean_logarithm(self):
    compared = make()
    for first, second, improved in (
        # By 10^0 and 10^-1; the scale of the losses does not matter.
        (losses((1., 1.)), losses((3e4, 4e3), (1e4, 0.)), True),
        # By 10 and 10^-1.5 of a mean of two runs.
        (losses((1., 10.)), losses((1., 10**-1.5), (1., 10**-1.5)), False),
        # By 10 and 10^-2.1.
        (losses((1., 10.)), losses((1., 10**-2.1), (1., 10**-2.1)), True),
        (losses((1., np.nan)), losses((1., 0.)), False),
        (losses((1., -1.)), losses((1., -1.)), False),
        (losses((1., 1.)), losses((1., -1e-8)), True),  # As 1e-6.
        (losses((1., 1.)), losses((1., 0.)), False),
        (losses((1., 0.9)), losses((1., 0.)), True)):
      self.assertEqual(compared.compare([first, second]), improved)

  def test_stalls_after_a_number_of_validations_without_improvement(self):
    compared, stalled = make(patience=2), []
    for final in (5., 6., 4., 4., 4.5, 3.):
      compared.compare([losses((1., final))])
      stalled.append(compared.has_stalled)
    self.assertEqual(stalled, [False, False, False, False, True, False])

  def test_never_stalls_without_patience(self):
    compared = make()
    for _ in range(9):
      compared.compare([losses((1., 1.))])
    self.assertFalse(compared.has_stalled)

  def test_variables_go_back_to_the_best(self):
    variable = tf.Variable([1., 2.])
    compared = make([variable], restart_from_best=True)
    values = iter([[7., 7.], [3., 4.], [8., 8.]])
    for final in (5., 4., 6.):
      variable.assign(next(values))
      compared.compare([losses((1., final))])
    compared.restore()
    np.testing.assert_array_equal(variable, [3., 4.])

  def test_variables_stay_unless_asked(self):
    variable = tf.Variable([1., 2.])
    compared = make([variable])
    compared.compare([losses((1., 1.))])
    variable.assign([3., 4.])
    compared.restore()
    np.testing.assert_array_equal(variable, [3., 4.])

  @parameterized.parameters(
      ({}, {"best"}), ({"patience": 3}, {"best", "num_stale"}),
      ({"restart_from_best": True}, {"best", "best_variables"}))
  def test_state_is_what_the_settings_need(self, settings, names):
    self.assertEqual(
        set(make([tf.Variable(1.)], **settings).state()), names)


if __name__ == "__main__":
  absltest.main()
