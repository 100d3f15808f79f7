"""Tests of the trainer on several problems."""

from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np

from meta import evaluation, schedules, seeds, trainer
import problems
from tests import eager
from tests.toy_trainers import PROBLEM, SEED, make, weights


class SeveralProblemsTest(parameterized.TestCase):

  def make(self, **options):
    """A trainer on problems of different parameters."""
    return make([problems.Simple(), PROBLEM], **options)

  def test_each_epoch_is_of_the_problem_that_was_drawn(self):
    eager.run_eagerly(self)
    trained, drawn = self.make(num_steps=2), []
    for number in range(6):
      index = schedules.problem(trained.settings, number, 2)
      step = make([problems.Simple(), PROBLEM][index], num_steps=2).meta_step
      for variable, value in zip(
          step.network.variables, weights(trained), strict=True):
        variable.assign(value)
      info, _ = step.train(
          step.reset(seeds.derive(SEED, "training", number)))
      epoch = trained.run_epoch()
      self.assertEqual(epoch.problem, ["Simple", "Quadratic"][index])
      np.testing.assert_allclose(epoch.meta_loss, info.meta_loss, rtol=1e-6)
      np.testing.assert_allclose(
          epoch.gradient_norms, [info.gradient_norm], rtol=1e-5)
      drawn.append(index)
    self.assertLen(set(drawn), 2)

  def test_problems_share_the_networks_and_adam(self):
    eager.run_eagerly(self)
    trained = self.make(num_steps=2)
    alone = make(problems.Simple(), num_steps=2)
    self.assertLen(trained.meta_step.optimizer.variables,
                   len(alone.meta_step.optimizer.variables))
    names = []
    while len(set(names)) < 2:
      names.append(trained.run_epoch().problem)
    self.assertEqual(trained.meta_step.optimizer.iterations, len(names))
    np.testing.assert_array_equal(
        trained.checkpoint().training.epoch, len(names))

  def test_validation_is_of_each_problem(self):
    eager.run_eagerly(self)
    trained = self.make()
    validations = trained.validate()
    self.assertEqual([v.problem for v in validations], ["Simple", "Quadratic"])
    self.assertEqual([v.improved for v in validations], [True, True])
    for validation, problem in zip(
        validations, (problems.Simple(), PROBLEM), strict=True):
      expected = evaluation.Evaluator(
          trained.meta_step.network, problem, 4, jit_compile=False)(
              [seeds.derive(SEED, "validation", 0)])
      np.testing.assert_allclose(validation.losses, expected.losses, rtol=1e-5)
      np.testing.assert_allclose(
          validation.trace.loss, validation.losses[0, :-1], rtol=1e-5)
    self.assertEqual([v.improved for v in trained.validate()], [False, False])

  def test_traces_nothing_after_the_first_epoch_of_each(self):
    first, second = problems.Quadratic(2, 2), problems.Simple()
    with mock.patch.object(
        first, "loss", side_effect=first.loss) as loss, mock.patch.object(
            second, "loss", side_effect=second.loss) as other_loss:
      trained, names = make([first, second], num_steps=2), []
      trained.validate()
      while len(set(names)) < 2:
        names.append(trained.run_epoch().problem)
      for mocked in (loss, other_loss):
        self.assertTrue(mocked.called)
        mocked.reset_mock()
      while len(names) < 12:
        names.append(trained.run_epoch().problem)
      trained.validate()
      loss.assert_not_called()
      other_loss.assert_not_called()

  def test_problems_have_the_names_of_their_classes_or_others(self):
    one, two, three = problems.Simple(), problems.Simple(), PROBLEM
    for given, names in (
        (one, ["Simple"]), ([one], ["Simple"]),
        ([one, three, two], ["Simple_0", "Quadratic", "Simple_2"]),
        ({"a": one, "b": three}, ["a", "b"])):
      self.assertEqual(list(trainer.named(given)), names)

  @parameterized.parameters(
      ([], "problem is empty, but must hold at least one problem"),
      ({}, "problem is empty, but must hold at least one problem"),
      (["mnist"], r"problem has \['mnist'\], but must hold Problems only"),
      ("mnist", "problem is 'mnist', but must be a Problem, or several in a l"),
      (problems.Simple, "problem is <class .*Simple'>, but must be a Problem"))
  def test_something_else_is_refused(self, given, message):
    with self.assertRaisesRegex(ValueError, f"^{message}"):
      make(given)

  @parameterized.parameters(
      ({"stagger": True, "num_tasks": 2}, "stagger is True, but must be False"),
      ({"problem_weights": [1.]}, r"problem_weights is \[1.0\], but must be "))
  def test_settings_that_do_not_fit_are_refused(self, options, message):
    with self.assertRaisesRegex(ValueError, f"^{message}"):
      self.make(**options)


if __name__ == "__main__":
  absltest.main()
