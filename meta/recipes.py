"""Recipes of meta-training, as data: settings that go together."""

from typing import Any

from l2lgd import checks

# What stands for an argument of `get`.
NUM_EPOCHS = "num_epochs"
UNROLL_LENGTH = "unroll_length"

RECIPES: dict[str, dict[str, Any]] = {
    # Large steps at first and small ones at last, none of them in the direction
    # of a single steep run, from epochs that take little time.
    "robust": {
        "learning_rate": 0.01,
        "decay_epochs": NUM_EPOCHS,
        "max_gradient_norm": 1.,
        "sampled_coordinates": 2000},
    # For several problems: losses of all sizes count alike, and short runs as
    # much as long ones.
    "general": {
        "learning_rate": 0.003,
        "decay_epochs": NUM_EPOCHS,
        "max_gradient_norm": 1.,
        "sampled_coordinates": 2000,
        "objective": "log",
        "num_steps": 1000,
        "min_num_steps": UNROLL_LENGTH,
        "evaluation_epochs": 2},
}


def get(name: str, num_epochs: int, unroll_length: int = 20
        ) -> dict[str, Any]:
  """Returns the settings of a recipe, fields of `meta.Settings`.

  Example:

    settings = meta.Settings(**recipes.get("robust", num_epochs=600))
    meta.train(problem, num_epochs=600, settings=settings)

  Args:
    name: A key of `RECIPES`.
    num_epochs: Number of epochs of the training.
    unroll_length: Updates in an unroll, T, those of the shortest runs. The
      longest have a multiple of it. Give `meta.Settings` the same.

  Raises:
    ValueError: There is no recipe of that name, or a number is not a positive
      integer.
  """
  checks.one_of("recipe", name, RECIPES)
  num_epochs = checks.positive_integer("num_epochs", num_epochs)
  unroll_length = checks.positive_integer("unroll_length", unroll_length)
  arguments = {NUM_EPOCHS: num_epochs, UNROLL_LENGTH: unroll_length}
  settings = {key: arguments.get(value, value)
              for key, value in RECIPES[name].items()}
  if "num_steps" in settings:  # Whole unrolls, as lengths are drawn.
    num_unrolls = max(1, settings["num_steps"] // unroll_length)
    settings["num_steps"] = num_unrolls * unroll_length
  return settings
