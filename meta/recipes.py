"""Recipes of meta-training: settings that go together."""

from typing import Any

from l2lgd import checks


def _robust(num_epochs: int, unroll_length: int) -> dict[str, Any]:
  """Large steps at first and small ones at last, clipped, in short epochs."""
  del unroll_length
  return {"learning_rate": 0.01, "decay_epochs": num_epochs,
          "max_gradient_norm": 1., "sampled_coordinates": 2000}


def _general(num_epochs: int, unroll_length: int) -> dict[str, Any]:
  """Losses of all sizes count alike, and short runs as much as long ones."""
  return _robust(num_epochs, unroll_length) | {
      "learning_rate": 0.003, "objective": "log", "evaluation_epochs": 2,
      # Lengths that are drawn must be of whole unrolls.
      "min_num_steps": unroll_length,
      "num_steps": unroll_length * max(1, 1000 // unroll_length)}


RECIPES = {"robust": _robust, "general": _general}


def get(name: str, num_epochs: int, unroll_length: int = 20
        ) -> dict[str, Any]:
  """Returns the settings of a recipe, fields of `meta.Settings`.

  Example:

    from meta import recipes

    settings = meta.Settings(**recipes.get("robust", num_epochs=600))
    meta.train(problem, num_epochs=600, settings=settings)

  Args:
    name: "robust", a learning rate that decays from 0.01 to 0, clipped
      meta-gradients, and a sample of 2,000 coordinates; or "general", for
      training on many problems: the same from 0.003, with the objective "log"
      and runs of different lengths.
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
  return RECIPES[name](num_epochs, unroll_length)
