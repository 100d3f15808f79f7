"""Tests of the settings of meta-training."""

from absl.testing import absltest, parameterized

import meta


class SettingsTest(parameterized.TestCase):

  def test_defaults_are_in_their_range(self):
    meta.Settings().check()

  @parameterized.product(
      name=("num_steps", "unroll_length", "num_tasks", "evaluation_period",
            "evaluation_epochs", "decay_epochs", "min_num_steps", "patience",
            "perturbation_pairs", "sampled_coordinates"),
      value=(0, -1, 2.5))
  def test_number_that_is_not_a_positive_integer_is_named(self, name, value):
    with self.assertRaisesRegex(
        ValueError, f"^{name} is {value}, but must be a positive integer"):
      meta.Settings(**{name: value}).check()

  @parameterized.product(
      name=("learning_rate", "max_gradient_norm", "teacher_learning_rate",
            "perturbation_stddev"),
      value=(0, -0.5, float("nan"), float("inf"), "1"))
  def test_number_that_is_not_positive_is_named(self, name, value):
    with self.assertRaisesRegex(
        ValueError, f"^{name} is {value!r}, but must be a positive number"):
      meta.Settings(**{name: value}).check()

  @parameterized.product(
      name=("second_derivatives", "stagger", "keep_last", "restart_from_best"),
      value=("false", None, 1))
  def test_what_is_no_boolean_is_named(self, name, value):
    with self.assertRaisesRegex(
        ValueError, f"^{name} is {value!r}, but must be True or False"):
      meta.Settings(**{name: value}).check()

  @parameterized.parameters("num_steps", "num_tasks", "learning_rate",
                            "perturbation_stddev", "imitation")
  def test_none_is_allowed_only_where_it_is_the_default(self, name):
    with self.assertRaisesRegex(ValueError, f"^{name} is None, but must"):
      meta.Settings(**{name: None}).check()

  @parameterized.parameters(
      ("objective", r"\['log', 'sum'\]"), ("teacher", r"\['Adagrad', 'Adam', "),
      ("estimator", r"\['backprop', 'es', 'pes'\]"))
  def test_unknown_name_is_named(self, name, allowed):
    with self.assertRaisesRegex(
        ValueError, f"^{name} is 'mean', but must be one of {allowed}"):
      meta.Settings(**{name: "mean"}).check()

  @parameterized.parameters(
      ({"num_steps": 50, "min_num_steps": 20}, "num_steps is 50, but must be "),
      ({"min_num_steps": 30}, "min_num_steps is 30, but must be a multiple of"),
      ({"min_num_steps": 120}, "min_num_steps is 120, but must be at most num"),
      ({"min_num_steps": 20, "stagger": True},
       "min_num_steps is 20, but must be None for tasks to be staggered"),
      ({"num_steps": 50, "stagger": True}, "num_steps is 50, but must be a m"),
      ({"jit_compile": "auto"}, "jit_compile is 'auto', but must be True, Fal"),
      ({"sampled_coordinates": 2, "estimator": "PES"},
       "estimator is 'PES', bu"),
      ({"sampled_coordinates": 2, "second_derivatives": True},
       r"sampled_coordinates is 2, but must be all \(in Python, None\) with s"),
      ({"sampled_coordinates": 2, "estimator": "pes"},
       "sampled_coordinates is 2, but must be all"),
      ({"imitation": 1.5}, r"imitation is 1.5, but must be in \[0, 1\]"),
      ({"imitation": 0.5, "stagger": True},
       "imitation is 0.5, but must be 0 for tasks to be staggered"),
      ({"problem_weights": [1., 0.]}, r"problem_weights\[1\] is 0.0, but must"),
      ({"problem_weights": 2}, "problem_weights is 2, but must be a tuple of"))
  def test_settings_that_do_not_fit_are_refused(self, settings, message):
    with self.assertRaisesRegex(ValueError, f"^{message}"):
      meta.Settings(**settings).check()

  @parameterized.parameters(
      ({"stagger": True}, 2, "stagger is True, but must be False with several"),
      ({"problem_weights": [1., 2.]}, 3,
       r"problem_weights is \[1.0, 2.0\], .* numbers as there are problems, 3"))
  def test_settings_of_other_problems_are_refused(
      self, settings, num_problems, message):
    with self.assertRaisesRegex(ValueError, f"^{message}"):
      meta.Settings(**settings).check_problems(num_problems)


if __name__ == "__main__":
  absltest.main()
