"""Problems: distributions over functions to be minimized.

`Problem` is the contract. `KerasProblem` and `SonnetProblem` make problems of
models. The others are those of the paper, small ones for tests, families of
tasks on which general optimizers are trained, and wrappers of other problems.
"""

from problems.base import Constants, Params, Problem
from problems.cifar10 import Cifar10
from problems.ensemble import Ensemble
from problems.keras_problem import KerasProblem
from problems.mnist import Mnist
from problems.neural_art import NeuralArt
from problems.quadratic import Quadratic
from problems.random_scaling import RandomScaling
from problems.simple import Simple, SimpleMultiOptimizer
from problems.small_tasks import hard_task, small_task, wide_task
from problems.sonnet_problem import SonnetProblem
from problems.validation import check, ignores_seed

__all__ = [
    "Cifar10", "Constants", "Ensemble", "KerasProblem", "Mnist", "NeuralArt",
    "Params", "Problem", "Quadratic", "RandomScaling", "Simple",
    "SimpleMultiOptimizer", "SonnetProblem", "check", "hard_task",
    "ignores_seed", "small_task", "wide_task"]
