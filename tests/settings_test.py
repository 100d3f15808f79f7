"""Tests of the settings of meta-training."""

from absl.testing import absltest, parameterized

import meta


class SettingsTest(parameterized.TestCase):

  def test_defaults_are_in_their_range(self):
    meta.Settings().check()

  @parameterized.product(
      name=("num_steps", "unroll_length", "num_tasks", "evaluation_period",
            "evaluation_epochs", "decay_epochs"),
      value=(0, -1, 2.5))
  def test_number_that_is_not_a_positive_integer_is_named(self, name, value):
    with self.assertRaisesRegex(
        ValueError, f"^{name} is {value}, but must be a positive integer"):
      meta.Settings(**{name: value}).check()

  @parameterized.product(
      name=("learning_rate", "max_gradient_norm"), value=(0, -0.5))
  def test_number_that_is_not_positive_is_named(self, name, value):
    with self.assertRaisesRegex(
        ValueError, f"^{name} is {value}, but must be a positive number"):
      meta.Settings(**{name: value}).check()

  def test_unknown_objective_is_named(self):
    with self.assertRaisesRegex(
        ValueError, "^objective is 'mean', but must be one of .'log', 'sum'"):
      meta.Settings(objective="mean").check()


if __name__ == "__main__":
  absltest.main()
