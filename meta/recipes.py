"""Recipes of meta-training, as data: settings that go together."""

from typing import Any

from l2lgd import checks

NUM_EPOCHS = "num_epochs"  # Stands for the number of epochs of the training.

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
        "min_num_steps": 20,
        "evaluation_epochs": 2},
}


def get(name: str, num_epochs: int) -> dict[str, Any]:
  """Returns the settings of a recipe, fields of `meta.Settings`.

  Example:

    settings = meta.Settings(**recipes.get("robust", num_epochs=600))
    meta.train(problem, num_epochs=600, settings=settings)

  Args:
    name: A key of `RECIPES`.
    num_epochs: Number of epochs of the training.

  Raises:
    ValueError: There is no recipe of that name.
  """
  checks.one_of("recipe", name, RECIPES)
  return {key: num_epochs if value == NUM_EPOCHS else value
          for key, value in RECIPES[name].items()}
