"""How the networks of the paper's panels were trained, as data."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Training(NamedTuple):
  """How a network was trained."""
  minutes: float  # On one core, about.
  stages: Sequence[Mapping[str, Any]]  # Flags of `l2l-train`. Each stage starts
  # from the networks of the one before.


def _of_one_function(net: str, first_period: int) -> list[dict[str, Any]]:
  """Returns the stages of a training of networks with shared memory."""
  common = {"problem": f"paper-quadratic-{net}", "num_tasks": 128,
            "num_epochs": 600, "learning_rate": 0.003, "decay_epochs": 600,
            "max_gradient_norm": 1, "evaluation_epochs": 512}
  return [{**common, "evaluation_period": first_period},
          {**common, "evaluation_period": 50, "seed": 1}]


# Flags of a second training, for runs that are longer than those of the first.
_OF_LONG_RUNS = {
    "recipe": "robust", "second_derivatives": "true", "learning_rate": 0.002,
    "unroll_length": 50, "objective": "log"}
_MNIST_MOMENTA: Sequence[Mapping[str, Any]] = [{
    "problem": "paper-mnist", "net_options":
    '{"preprocess_name": "NormalizedMomenta", "preprocess_options": '
    '{"absolute": true, "time_scales": [10, 100, 1000]}, "scale": 0.1, '
    '"initializer": {"linear": "zeros"}}', "recipe": "robust",
    "num_epochs": 4000, "evaluation_period": 1000, "evaluation_epochs": 10,
    "seed": 1}, {
    **_OF_LONG_RUNS, "problem": "paper-mnist", "num_steps": 1000,
    "min_num_steps": 50, "num_epochs": 60, "evaluation_period": 60,
    "evaluation_epochs": 10}, {
    **_OF_LONG_RUNS, "problem": "paper-mnist", "learning_rate": 0.001,
    "num_steps": 1000, "min_num_steps": 50, "num_epochs": 160,
    "evaluation_period": 160, "evaluation_epochs": 10, "seed": 1}, {
    **_OF_LONG_RUNS, "problem": "paper-mnist", "learning_rate": 0.001,
    "unroll_length": 200, "num_steps": 1000, "min_num_steps": 200,
    "num_epochs": 200, "evaluation_period": 100, "evaluation_epochs": 10,
    "keep_last": "true", "seed": 2}]
# Flags of a second training of general optimizers.
_OF_WIDE_TASKS = {
    "problem": ",".join([*(f"small-{i}" for i in range(11)), "small-25",
                         "small-46", "small-79", "small-80", "wide-tasks"]),
    "recipe": "general", "second_derivatives": "true", "learning_rate": 0.001,
    "unroll_length": 50, "evaluation_epochs": 3, "keep_last": "true"}
_WEIGHTS = ",".join("1" * 15 + "22224")  # Weights of the problems.
_OF_HARD_TASKS = {
    **_OF_WIDE_TASKS, "problem": f"{_OF_WIDE_TASKS['problem']},hard-tasks",
    "problem_weights": f"{_WEIGHTS},3,3,3,3,3,3", "evaluation_epochs": 1}
# Flags of the last trainings of general optimizers.
_OF_LONG_UNROLLS = {
    **_OF_HARD_TASKS, "problem":
    "hard-0,hard-2,hard-3,hard-5,wide-0,small-1,small-4",
    "problem_weights": "2,2,2,2,2,1,1", "unroll_length": 400,
    "num_steps": 2000, "seed": 8}
_GENERAL_SMALL: Sequence[Mapping[str, Any]] = [{
    "problem": "small-tasks,small-25,small-46,small-79,small-80",
    "recipe": "general", "net_options": '{"layers": [8]}', "num_epochs": 4000,
    "evaluation_period": 4000, "evaluation_epochs": 1, "seed": 1}, {
    **_OF_WIDE_TASKS, "num_epochs": 600, "seed": 2}, {
    **_OF_WIDE_TASKS, "problem_weights": _WEIGHTS, "num_epochs": 1600,
    "seed": 3}, {
    **_OF_WIDE_TASKS, "problem_weights": _WEIGHTS, "num_epochs": 700,
    "seed": 4}, {
    **_OF_WIDE_TASKS, "problem_weights": _WEIGHTS, "unroll_length": 200,
    "num_steps": 2000, "num_epochs": 150, "evaluation_epochs": 1, "seed": 5}, {
    **_OF_HARD_TASKS, "learning_rate": 0.002, "num_epochs": 350, "seed": 6}, {
    **_OF_HARD_TASKS, "unroll_length": 200, "num_epochs": 150, "seed": 7}, {
    **_OF_LONG_UNROLLS, "num_epochs": 90, "evaluation_period": 90}, {
    **_OF_LONG_UNROLLS, "problem": ",".join([
        *(f"hard-{i}" for i in (0, 2, 3, 5)), "wide-0", "wide-1",
        *(f"small-{i}" for i in (1, 4, 143, 187, 385))]),
    "problem_weights": "2,2,2,2,2,1,1,1,2,2,1", "unroll_length": 1000,
    "num_steps": 4000, "num_epochs": 110, "evaluation_period": 22, "seed": 9}]
_CIFAR10_MOMENTA = {
    "net_options":
    '{"layers": [8], "preprocess_name": "NormalizedMomenta", '
    '"preprocess_options": {"time_scales": [10, 30]}, "scale": 0.02, '
    '"postprocess_options": {"nonlinearity": "tanh", "nominal_step": 0.01, '
    '"log_range": 4}, "initializer": {"linear": "zeros"}}',
    "recipe": "robust", "num_epochs": 200, "evaluation_period": 200,
    "evaluation_epochs": 4}

TRAINING = {
    "paper-quadratic": Training(2, [{
        "problem": "paper-quadratic", "num_epochs": 600,
        "decay_epochs": 600, "max_gradient_norm": 1, "evaluation_period": 100,
        "evaluation_epochs": 4}]),
    "paper-quadratic-pes": Training(9, [{
        "problem": "paper-quadratic", "num_tasks": 4, "num_epochs": 300,
        "decay_epochs": 300, "estimator": "pes", "objective": "log",
        "evaluation_period": 50, "evaluation_epochs": 10, "seed": 1}]),
    "paper-quadratic-gac": Training(30, _of_one_function("gac", 100)),
    "paper-quadratic-ntm": Training(22, _of_one_function("ntm", 50)),
    "paper-mnist-gac": Training(20, [{
        "problem": "paper-mnist-gac", "num_epochs": 500, "decay_epochs": 500,
        "max_gradient_norm": 1, "evaluation_period": 100,
        "evaluation_epochs": 10}]),
    "paper-mnist": Training(45, [{
        "problem": "paper-mnist", "num_epochs": 1000,
        "evaluation_period": 100}]),
    "paper-mnist-momenta": Training(110, _MNIST_MOMENTA),
    "paper-mnist-long": Training(247, [*_GENERAL_SMALL[:-1], {
        **_OF_LONG_RUNS, "problem": "paper-mnist,paper-mnist-relu",
        "problem_weights": "1,2", "learning_rate": 0.001,
        "unroll_length": 1000, "num_steps": 10000, "min_num_steps": 1000,
        "num_epochs": 60, "evaluation_epochs": 1, "evaluation_period": 60,
        "keep_last": "true", "seed": 3}]),
    "general": Training(190, [{
        "problem": "small-tasks", "recipe": "general", "num_epochs": 6000,
        "evaluation_period": 3000, "seed": 1}, {
        "problem": "small-tasks", "recipe": "general", "learning_rate": 0.002,
        "unroll_length": 100, "num_epochs": 2500, "evaluation_period": 1250,
        "seed": 2}, {
        **_OF_HARD_TASKS, "learning_rate": 0.0015, "unroll_length": 200,
        "num_epochs": 110, "seed": 6}, {
        **_OF_HARD_TASKS, "unroll_length": 200, "num_epochs": 250,
        "seed": 7}, {
        **_OF_LONG_UNROLLS, "learning_rate": 0.0015, "num_epochs": 85,
        "evaluation_period": 85}]),
    "general-small": Training(278, _GENERAL_SMALL),
    "paper-cifar10": Training(28, [{
        "problem": "paper-cifar10", "num_epochs": 250,
        "evaluation_period": 25, "evaluation_epochs": 4}]),
    "paper-cifar5-sub": Training(17, [{
        "problem": "paper-cifar5-sub", "num_epochs": 150,
        "evaluation_period": 25, "evaluation_epochs": 4}]),
    **{f"{problem}-momenta": Training(minutes, [
        {**_CIFAR10_MOMENTA, "problem": problem},
        {**_OF_LONG_RUNS, "problem": problem, "num_steps": 1000,
         "min_num_steps": 100, "num_epochs": 40, "evaluation_period": 40,
         "evaluation_epochs": 1}])
       for problem, minutes in (("paper-cifar10", 58),
                                ("paper-cifar5-sub", 51))},
    "paper-neural-art": Training(56, [{
        "problem": "paper-neural-art", "num_epochs": 160,
        "evaluation_period": 20, "evaluation_epochs": 4}]),
    "paper-neural-art-momenta": Training(18, [{
        "problem": "paper-neural-art", "net_options":
        '{"preprocess_name": "NormalizedMomenta", "preprocess_options": '
        '{"time_scales": [10, 100]}, "scale": 0.1, "postprocess_options": '
        '{"nonlinearity": "tanh", "nominal_step": 0.05, "log_range": 4}, '
        '"initializer": {"linear": "zeros"}}', "recipe": "robust",
        "num_epochs": 160, "evaluation_period": 40, "evaluation_epochs": 4}]),
}
"""The trained networks."""
