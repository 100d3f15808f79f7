"""A learned optimizer for the kernels of convolutions."""

from collections.abc import Sequence
import math
from typing import Any

import tensorflow as tf

from l2lgd import checks
from networks import deep_lstm


class KernelDeepLSTM(deep_lstm.StandardDeepLSTM):
  """A learned optimizer for the kernels of convolutions.

  The parameters are [kh, kw, C_in, C_out]. Each filter, which connects one pair
  of channels, is a row: its kh * kw coordinates are updated together. Use it in
  a `Partition`, with another network for all other parameters.

  Example:

    network = networks.KernelDeepLSTM(kernel_shape=(5, 5), layers=(5,))
    state = network.initial_state({"w": tf.ones([5, 5, 16, 32])})
  """

  def __init__(self, kernel_shape: Sequence[int], layers: Sequence[int],
               name: str | None = None, **kwargs: Any):
    """Checks the arguments. `initial_state` creates the variables.

    Args:
      kernel_shape: Height and width of the kernels, (kh, kw).
      layers: Number of hidden units of each LSTM layer.
      name: Name of the module.
      **kwargs: See `StandardDeepLSTM`; all but `output_size`.

    Raises:
      ValueError: `kernel_shape` is not as described; or see `StandardDeepLSTM`.
    """
    self._kernel_shape = tuple(
        checks.positive_integers("kernel_shape", kernel_shape))
    if len(self._kernel_shape) != 2:
      raise ValueError(f"kernel_shape is {kernel_shape!r}, but must be a "
                       "height and a width.")
    super().__init__(
        math.prod(self._kernel_shape), layers, name=name, **kwargs)

  @property
  def options(self) -> dict[str, Any]:
    options = super().options
    del options["output_size"]
    return {"kernel_shape": list(self._kernel_shape)} | options

  @property
  def parameter_shape(self) -> list[int | None]:
    return [*self._kernel_shape, None, None]

  def _rows_of(self, tensor: tf.Tensor) -> int:
    return tensor.shape[2:].num_elements()

  def _to_rows(self, tensor: tf.Tensor) -> tf.Tensor:
    if tensor.shape.rank != 4 or tensor.shape[:2] != self._kernel_shape:
      raise ValueError(
          f"KernelDeepLSTM was made for kernel_shape {self._kernel_shape}, but "
          f"a parameter has shape {tensor.shape}.")
    return tf.reshape(tensor, [math.prod(self._kernel_shape), -1])

  def _from_rows(self, rows: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return tf.reshape(rows, tf.shape(like))
