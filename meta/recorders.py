"""The contract of recorders, which follow meta-training: what they receive."""

from typing import NamedTuple

import numpy as np

from meta import diagnostics


class Epoch(NamedTuple):
  """The results of an epoch, one run of every task."""
  number: int  # Number of epochs made so far, this one included.
  final_loss: float  # Mean of the losses after the last updates of runs.
  meta_loss: float  # Sum of the meta-losses of the unrolls.
  gradient_norms: list[float]  # Norm of the meta-gradient of each unroll.
  seconds: float  # Time that the epoch took.
  num_steps: int  # Number of updates in its runs.
  problem: str | None = None  # The problem, if networks are trained on several.
  is_imitation: bool = False  # Whether its runs are a teacher's; then its
  # meta-losses are those of `imitation.ImitationStep`.

  @property
  def num_dropped(self) -> int:
    """Number of meta-gradients that were not finite, and were not used."""
    return int(np.sum(~np.isfinite(self.gradient_norms)))


class Validation(NamedTuple):
  """The results of a validation."""
  epoch: int  # Number of epochs made so far.
  losses: np.ndarray  # Losses of the runs, shape [runs * S, T + 1].
  trace: diagnostics.Trace  # What the networks do in the first of the runs.
  improved: bool  # Whether the networks are the best so far, as those of the
  # first validation always are; see `best.Best`.
  seconds: float  # Time that a run took, on average.
  problem: str | None = None  # The problem, if networks are trained on several.


class Recorder:
  """Receives the results of `meta.train`; by default, it ignores them.

  Example:

    class Plotter(meta.Recorder):
      def validation(self, validation):
        plt.semilogy(validation.losses.mean(axis=0))

    meta.train(problem, num_epochs=1000, recorders=[Plotter()])
  """

  def begin(self, num_epochs: int) -> None:
    """Receives the number of epochs before a resumption; 0 at first."""

  def epoch(self, epoch: Epoch) -> None:
    """Receives an epoch."""

  def validation(self, validation: Validation) -> None:
    """Receives a validation, which follows its epoch.

    Of several problems, each has its own validation, one after the other.
    """

  def end(self, num_epochs: int) -> None:
    """Receives the number of epochs made, after everything has been saved."""
