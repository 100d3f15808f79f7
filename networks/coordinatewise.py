"""The learned optimizer of the paper, which updates each coordinate alone."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from networks import deep_lstm


class CoordinateWiseDeepLSTM(deep_lstm.StandardDeepLSTM):
  """The learned optimizer of the paper, which updates each coordinate alone.

  All coordinates share the weights, and each has its own state
  (Andrychowicz et al. 2016, section 2.1). So the network takes parameters of
  all shapes and can optimize other models than those it was trained on.

  Example:

    network = networks.CoordinateWiseDeepLSTM(
        layers=(20, 20), preprocess_name="LogAndSign",
        preprocess_options={"k": 5}, scale=0.01)
    state = network.initial_state({"w": tf.ones([10, 3]), "b": tf.ones([3])})
  """

  def __init__(self, layers: Sequence[int], name: str | None = None,
               **kwargs: Any):
    """Checks the arguments. `initial_state` creates the variables.

    Args:
      layers: Number of hidden units of each LSTM layer.
      name: Name of the module.
      **kwargs: See `StandardDeepLSTM`; all but `output_size`.

    Raises:
      ValueError: See `StandardDeepLSTM`.
    """
    super().__init__(1, layers, name=name, **kwargs)

  @property
  def options(self) -> dict[str, Any]:
    options = super().options
    del options["output_size"]
    return options

  @property
  def parameter_shape(self) -> list[int | None]:
    return [None]

  def _rows_of(self, tensor: tf.Tensor) -> int:
    return tensor.shape.num_elements()

  def _to_rows(self, tensor: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tensor, [1, -1])

  def _from_rows(self, rows: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return tf.reshape(rows, tf.shape(like))
