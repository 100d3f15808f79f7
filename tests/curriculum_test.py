"""Tests of the curriculum, runs that become longer from stage to stage."""

import os
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from meta import best, recorders, schedules, training
from networks import weights as weights_lib
from tests import assertions, eager, toy_trainers
from tests.toy_trainers import make, restore, weights, without_time

CURRICULUM = (2, 4, 6)


def follow(*finals, curriculum=CURRICULUM):
  """What follows each of these final losses: stage, whether all is over."""
  compared = best.Best(meta.Settings(curriculum=curriculum), [])
  steps = []
  for final in finals:
    compared.compare([np.float32([[1., final]])])
    steps.append((compared.stage, compared.has_stalled))
  return steps


class StageTest(parameterized.TestCase):
  """Tests of when a stage is over, by hand."""

  def test_begins_after_three_validations_if_the_last_is_no_better(self):
    self.assertEqual(
        follow(9., 5., 6., 5.), [(0, False)] * 3 + [(1, False)])
    # The fourth and the fifth are better.
    self.assertEqual(
        follow(9., 5., 6., 4., 3., 3.), [(0, False)] * 5 + [(1, False)])

  def test_begins_with_a_validation_of_its_own(self):
    # Of longer runs, whose losses may be larger than the best of the last.
    self.assertEqual(
        follow(9., 5., 6., 5., 20., 19., 21., 18., 20.),
        [(0, False)] * 3 + [(1, False)] * 5 + [(2, False)])

  def test_training_stops_where_a_stage_never_improves(self):
    self.assertEqual(follow(5., 6., 7., 5.), [(0, False)] * 3 + [(0, True)])

  def test_training_stops_at_the_end_of_the_last_stage(self):
    one = (9., 5., 6., 5.)
    self.assertEqual(follow(*one, *one, *one)[-2:], [(2, False), (2, True)])

  def test_loss_that_is_not_a_number_is_no_better(self):
    self.assertEqual(
        follow(9., 5., np.nan, np.nan), [(0, False)] * 3 + [(1, False)])

  def test_next_stage_begins_with_the_best_values(self):
    variable = tf.Variable(0.)
    compared = best.Best(meta.Settings(curriculum=CURRICULUM), [variable])
    for number, final in enumerate((9., 8., 5., 6.)):
      variable.assign(number)
      compared.compare([np.float32([[1., final]])])
    self.assertEqual((compared.stage, variable), (1, 2.))

  def test_lengths_are_those_of_the_stage_and_of_the_next(self):
    settings = meta.Settings(curriculum=CURRICULUM)
    self.assertEqual(
        [schedules.num_steps(settings, 7, stage) for stage in range(3)],
        [2, 4, 6])
    self.assertEqual(
        [schedules.validation_steps(settings, stage) for stage in range(3)],
        [4, 6, 6])


class SettingsTest(parameterized.TestCase):

  @parameterized.parameters(
      ((4, 2), r"curriculum is \[4, 2\], but must be increasing numbers"),
      ((2, 2), r"curriculum is \[2, 2\], but must be increasing numbers"),
      ((), r"curriculum is \[\], but must be increasing numbers"),
      ((2, 0), r"curriculum\[1\] is 0, but must be a positive integer"),
      (2, "curriculum is 2, but must be a tuple of positive integers"))
  def test_bad_curriculum_is_named(self, curriculum, message):
    with self.assertRaisesRegex(ValueError, f"^{message}"):
      meta.Settings(curriculum=curriculum).check()

  @parameterized.parameters(
      ({"stagger": True}, "stagger is True, but must be False with a curricu"),
      ({"min_num_steps": 20}, "min_num_steps is 20, but must be None with a"),
      ({"patience": 3}, "patience is 3, but must be None with a curriculum"))
  def test_settings_that_the_curriculum_replaces_are_refused(
      self, settings, message):
    with self.assertRaisesRegex(ValueError, f"^{message}"):
      meta.Settings(curriculum=CURRICULUM, **settings).check()


class Lengths(recorders.Recorder):
  """Lists the lengths of epochs and, as negative numbers, of validations."""

  def __init__(self):
    self.of_all = []

  def epoch(self, epoch):
    self.of_all.append(epoch.num_steps)

  def validation(self, validation):
    self.of_all.append(1 - validation.losses.shape[1])


class TrainingTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    eager.run_eagerly(self)
    scores = iter((9., 8., 7., 7.5, 20., 19., 18., 18.5, 30., 31., 32., 33.))
    self.enter_context(mock.patch.object(
        best, "_score", lambda losses, is_logarithmic: next(scores)))

  def train(self, folder=None, num_epochs=99, **options):
    return training.train(
        toy_trainers.PROBLEM, meta.MetaOptimizer(cw={
            "net": "CoordinateWiseDeepLSTM",
            "net_options": {"layers": (), "scale": 0.1}}),
        num_epochs, meta.Settings(
            unroll_length=2, evaluation_period=1, evaluation_epochs=1,
            jit_compile=False, curriculum=CURRICULUM),
        save_path=folder, log_period=1, resume=True, **options)

  def test_stages_follow_one_another_until_one_never_improves(self):
    lengths = Lengths()
    self.train(recorders=[lengths])
    self.assertEqual(lengths.of_all, [
        -4, 2, -4, 2, -4, 2, -4,
        -6, 4, -6, 4, -6, 4, -6,
        -6, 6, -6, 6, -6, 6, -6])

  def test_resumed_training_goes_on_bit_for_bit(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    scores = (9., 8., 7., 7.5, 20., 19., 18.5, 18., 18.5, 30., 29.)
    networks, lengths = [], Lengths()
    for ends in ((8,), (2, 4, 8)):
      with mock.patch.object(best, "_score", mock.Mock(side_effect=scores)):
        for end in ends:
          path = os.path.join(folder, str(len(ends)))
          trained = self.train(path, end, recorders=[lengths])
      networks.append([v.numpy() for v in trained.networks["cw"].variables])
    assertions.assert_equal(*networks)
    half = len(lengths.of_all) // 2
    self.assertEqual(lengths.of_all[:half], lengths.of_all[half:])
    saved = [weights_lib.read(os.path.join(folder, name, "cw.l2l"))
             for name in ("1", "3")]
    assertions.assert_equal(saved[0].weights, saved[1].weights)
    self.assertEqual(saved[1].trained_on["curriculum"], [*CURRICULUM])
    self.assertEqual(saved[1].trained_on["num_epochs"], 8)


class TrainerTest(absltest.TestCase):

  def test_restored_stage_goes_on_bit_for_bit(self):
    eager.run_eagerly(self)
    scores = (9., 8., 7., 7.5)
    one, two = (make(curriculum=CURRICULUM) for _ in range(2))
    with mock.patch.object(best, "_score", mock.Mock(side_effect=scores)):
      for _ in scores:
        one.run_epoch()
        one.validate()
    self.assertEqual(one.stage, 1)
    restore(two, one)
    self.assertEqual(without_time(one.run_epoch()),
                     without_time(two.run_epoch()))
    self.assertEqual(one.validate()[0].losses.shape, (1, 7))
    assertions.assert_equal(weights(one), weights(two))


if __name__ == "__main__":
  absltest.main()
