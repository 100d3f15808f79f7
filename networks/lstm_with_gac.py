"""A learned optimizer whose coordinates share averages."""

from collections.abc import Sequence
from typing import Any

import sonnet as snt
import tensorflow as tf

from l2lgd import checks
from networks import base, coordinatewise, lstm


class LSTMWithGAC(coordinatewise.CoordinateWiseDeepLSTM):
  """A coordinatewise network with global averaging cells, LSTM+GAC.

  Some of the cells in each LSTM layer are global averaging cells (GACs). They
  work as the others do, but their outgoing activations are averaged in each
  step over all coordinates (Andrychowicz et al. 2016, appendix B). So the
  network can know the norm of the gradient, for example.

  Where the appendix leaves it open: the GACs are the first cells of a layer,
  and the average goes wherever the activation would, to the next layer and, in
  the next step, to the gates of the layer itself. The coordinates are all those
  of all parameters that the network optimizes in a run. If these are functions
  that have nothing to do with one another, such as the 128 of a `Quadratic`,
  the network still averages over all of them: make them runs side by side.

  Example:

    network = networks.LSTMWithGAC(layers=(20, 20), num_averaged=5)
    state = network.initial_state({"w": tf.ones([10, 3]), "b": tf.ones([3])})
  """

  def __init__(self, layers: Sequence[int], num_averaged: int = 5,
               name: str | None = None, **kwargs: Any):
    """Checks the arguments. `initial_state` creates the variables.

    Args:
      layers: Number of hidden units of each LSTM layer, the GACs included.
      num_averaged: Number of GACs in each layer.
      name: Name of the module.
      **kwargs: See `StandardDeepLSTM`; all but `output_size`.

    Raises:
      ValueError: There are no layers, or a layer has fewer units than GACs; or
        see `StandardDeepLSTM`.
    """
    super().__init__(layers, name=name, **kwargs)
    self._num_averaged = checks.positive_integer("num_averaged", num_averaged)
    if min(self._layers, default=0) < self._num_averaged:
      raise ValueError(
          f"layers is {list(self._layers)}, but must be one or more layers of "
          f"at least num_averaged units, {self._num_averaged}.")

  @property
  def options(self) -> dict[str, Any]:
    return super().options | {"num_averaged": self._num_averaged}

  @property
  def joins_parameters(self) -> bool:
    return True

  def num_rows(self, params: base.Params) -> tuple[()]:
    return ()  # No coordinate is independent of the others.

  def _make_lstm(self, *args: Any) -> lstm.LSTM:
    return _AveragingLSTM(self._num_averaged, *args)


class _AveragingLSTM(lstm.LSTM):
  """An LSTM layer, some of whose outputs are averages over all sequences."""

  def __init__(self, num_averaged: int, *args: Any):
    """Creates the variables.

    Args:
      num_averaged: Number of the outputs, the first ones, that are averaged.
      *args: See `lstm.LSTM`.
    """
    super().__init__(*args)
    self._num_averaged = num_averaged

  def __call__(self, inputs: tf.Tensor,
               state: snt.LSTMState) -> tuple[tf.Tensor, snt.LSTMState]:
    hidden, state = super().__call__(inputs, state)
    averaged = hidden[:self._num_averaged]
    means = tf.reduce_mean(averaged, 1, keepdims=True) * tf.ones_like(averaged)
    hidden = tf.concat([means, hidden[self._num_averaged:]], 0)
    return hidden, snt.LSTMState(hidden, state.cell)
