"""Training and evaluation of networks on problems."""

from meta.keras_optimizer import KerasLearnedOptimizer
from meta.learned_optimizer import LearnedOptimizer
from meta.meta_optimizer import MetaOptimizer, MetaStep, Unroller
from meta.unroll import Run

__all__ = [
           "KerasLearnedOptimizer",
           "LearnedOptimizer",
           "MetaOptimizer",
           "MetaStep",
           "Run",
           "Unroller",
]
