"""Training and evaluation of networks on problems."""

from meta.optimizer import MetaLoss, MetaOptimizer, MetaStep
from meta.unroll import Run

__all__ = ["MetaLoss", "MetaOptimizer", "MetaStep", "Run"]
