"""Tests of the recipes of meta-training."""

from absl.testing import absltest, parameterized

import meta
from meta import recipes


class RecipesTest(parameterized.TestCase):

  @parameterized.parameters(*((name,) for name in recipes.RECIPES))
  def test_recipe_is_of_settings_in_their_range(self, name):
    meta.Settings(**recipes.get(name, 600)).check()

  def test_learning_rate_decays_over_all_epochs(self):
    self.assertEqual(recipes.get("robust", 600), {
        "learning_rate": 0.01, "decay_epochs": 600, "max_gradient_norm": 1.,
        "sampled_coordinates": 2000})

  def test_shortest_runs_have_one_unroll(self):
    self.assertEqual(
        recipes.get("general", 600, unroll_length=50)["min_num_steps"], 50)

  @parameterized.parameters((32, 992), (30, 990), (1000, 1000), (1500, 1500))
  def test_longest_runs_have_whole_unrolls(self, unroll_length, num_steps):
    settings = meta.Settings(
        unroll_length=unroll_length, **recipes.get("general", 9, unroll_length))
    settings.check()
    self.assertEqual(settings.num_steps, num_steps)

  @parameterized.parameters(
      ("num_epochs", (0, 20)), ("unroll_length", (9, 2.5)))
  def test_bad_number_is_named(self, name, numbers):
    with self.assertRaisesRegex(ValueError, f"^{name} is .* positive integer"):
      recipes.get("general", *numbers)

  def test_unknown_recipe_is_named(self):
    with self.assertRaisesRegex(
        ValueError,
        r"^recipe is 'cake', but must be one of \['general', 'robust'\]"):
      recipes.get("cake", 600)


if __name__ == "__main__":
  absltest.main()
