"""Training and evaluation of networks on problems."""

from meta.keras_optimizer import KerasLearnedOptimizer
from meta.learned_optimizer import LearnedOptimizer
from meta.optimizer import MetaLoss, MetaOptimizer, MetaStep
from meta.unroll import Run

__all__ = ["KerasLearnedOptimizer", "LearnedOptimizer", "MetaLoss",
           "MetaOptimizer", "MetaStep", "Run"]
