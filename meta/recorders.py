"""The contract of recorders, which follow meta-training."""

from meta import trainer


class Recorder:
  """Receives the results of `meta.train`; by default, it ignores them.

  Example:

    class Plotter(meta.Recorder):
      def validation(self, validation):
        plt.semilogy(validation.losses.mean(axis=0))

    meta.train(problem, num_epochs=1000, recorders=[Plotter()])
  """

  def begin(self, num_epochs: int) -> None:
    """Receives the number of epochs that earlier runs have made."""

  def epoch(self, epoch: trainer.Epoch) -> None:
    """Receives an epoch."""

  def validation(self, validation: trainer.Validation) -> None:
    """Receives a validation, which follows its epoch.

    Of several problems, each has its own validation, one after the other.
    """

  def end(self, num_epochs: int) -> None:
    """Receives the number of epochs made, after everything has been saved."""
