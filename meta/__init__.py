"""Meta-training of optimizers, their evaluation and their use.

`MetaOptimizer` and `train` train networks to optimize problems,
`evaluation.Evaluator` compares them with other optimizers, and
`LearnedOptimizer` and `KerasLearnedOptimizer` use them in other programs.
"""

from meta import experiments
from meta.guard import Guard
from meta.keras_optimizer import KerasLearnedOptimizer
from meta.learned_optimizer import LearnedOptimizer
from meta.meta_optimizer import MetaOptimizer
from meta.meta_step import MetaStep, StepInfo, Unroller
from meta.pretrained_networks import pretrained
from meta.recorders import Epoch, Recorder, Validation
from meta.saved_model import export
from meta.settings import Settings
from meta.trainer import Trainer
from meta.training import train
from meta.unroll import Run

__all__ = [
    "Epoch", "Guard", "KerasLearnedOptimizer", "LearnedOptimizer",
    "MetaOptimizer", "MetaStep", "Recorder", "Run", "Settings", "StepInfo",
    "Trainer", "Unroller", "Validation", "experiments", "export", "pretrained",
    "train"]
