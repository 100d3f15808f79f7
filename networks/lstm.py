"""Learned optimizers: small LSTMs that run on many coordinates at once."""

from collections.abc import Sequence
import math
from typing import Any

import numpy as np
import sonnet as snt
import tensorflow as tf

from l2lgd import checks
from networks import base, initializers, preprocess

_SATURATED = math.log(99.)  # The sigmoid is below 0.01 or above 0.99.


class LSTM(snt.Module):
  """An LSTM layer with the gates, and the variables, of Sonnet 1.

  The forget bias of 1 is added at run time, not kept in `b_gates`. Coordinates
  are the last axis, so that each gate is one block of memory.
  """

  def __init__(self, w_gates: tf.Tensor, b_gates: tf.Tensor, name: str):
    """Args:
      w_gates: First weights of inputs and hidden state, [F + H, 4 H].
      b_gates: First biases, [4 H].
      name: Name of the layer.
    """
    super().__init__(name)
    self.hidden_size = b_gates.shape[0] // 4
    self.w_gates = tf.Variable(w_gates, name="w_gates")
    self.b_gates = tf.Variable(b_gates, name="b_gates")
    self._forget_bias = np.repeat(
        np.array([0, 0, 1, 0], b_gates.dtype.as_numpy_dtype), self.hidden_size)

  def __call__(self, inputs: tf.Tensor,
               state: snt.LSTMState) -> tuple[tf.Tensor, snt.LSTMState]:
    """Makes one step of N independent sequences, inputs [F, N]."""
    i, g, f, o = self.gates(inputs, state)
    cell = tf.sigmoid(f) * state.cell + tf.sigmoid(i) * tf.tanh(g)
    hidden = tf.sigmoid(o) * tf.tanh(cell)
    return hidden, snt.LSTMState(hidden, cell)

  def gates(self, inputs: tf.Tensor, state: snt.LSTMState) -> list[tf.Tensor]:
    """Returns what goes into the nonlinearities, i, g, f and o, [H, N] each."""
    # The biases are the weights of an input that is 1: one product does all.
    weights = tf.concat(
        [self.w_gates, (self.b_gates + self._forget_bias)[tf.newaxis]], 0)
    inputs = tf.concat(
        [inputs, state.hidden, tf.ones_like(inputs[:1])], 0)  # [F + H + 1, N]
    gates = tf.matmul(weights, inputs, transpose_a=True)  # [4 H, N]
    return tf.split(gates, 4)  # g is the candidate.


class StandardDeepLSTM(base.Network):
  """LSTM layers and a linear one, run on the rows of its inputs.

  Every parameter is a matrix [rows, F], and every row has a state of its own;
  the updates are [rows, output_size]. The subclasses turn parameters of other
  shapes into rows.
  """

  def __init__(self, output_size: int, layers: Sequence[int],
               preprocess_name: str = "identity",
               preprocess_options: dict[str, float] | None = None,
               scale: float = 1.0, initializer: Any = None, seed: int = 0,
               name: str | None = None):
    """Args:
      output_size: Numbers in each row of the updates.
      layers: Hidden units of each LSTM layer, H.
      preprocess_name: "identity", "Clamp" or "LogAndSign".
      preprocess_options: Arguments of that class in `networks.preprocess`.
      scale: Factor of the updates.
      initializer: First values of the variables, in one of the forms that
        `initializers.Initializers` takes. The layers are `lstm_1`, `lstm_2`,
        ..., of the fields `w_gates` [F + H, 4 H] and `b_gates` [4 H], and
        `linear`, of the fields `w` [H, output_size] and `b` [output_size].
      seed: Of the variables that are drawn at random.
      name: Name of the module.

    Raises:
      ValueError: An argument is not as described.
    """
    super().__init__(name)
    self._output_size = checks.positive_integer("output_size", output_size)
    self._layers = tuple(checks.positive_integers("layers", layers))
    self._preprocess_name = preprocess_name
    self._preprocess_options = dict(preprocess_options or {})
    self._preprocess = preprocess.by_name(preprocess_name, preprocess_options)
    self._scale = checks.finite("scale", scale)
    fields = {f"lstm_{i + 1}": ("w_gates", "b_gates")
              for i in range(len(self._layers))}
    self._initializers = initializers.Initializers(
        initializer, fields | {"linear": ("w", "b")}, seed)
    self.lstms = None  # They are made when the number of features is known.
    self._linear = None

  @property
  def options(self) -> dict[str, Any]:
    return {"output_size": self._output_size, "layers": list(self._layers),
            "preprocess_name": self._preprocess_name,
            "preprocess_options": self._preprocess_options,
            "scale": self._scale}

  def initial_state(self, params: base.Params) -> base.State:
    rows = self._concat(params)
    self._build(self._features(rows).shape[1], rows.dtype)
    num_rows = rows.shape[0]
    if num_rows is None:  # In a program for any number of them.
      num_rows = tf.shape(rows)[0]
    return tuple(
        snt.LSTMState(*[tf.zeros([h, num_rows], rows.dtype)] * 2)
        for h in self._layers)

  def __call__(self, gradients: base.Params,
               state: base.State) -> tuple[base.Params, base.State]:
    outputs = tf.transpose(self._features(self._concat(gradients)))  # [F, N]
    next_state = []
    for lstm, lstm_state in zip(self.lstms, state, strict=True):
      outputs, lstm_state = lstm(outputs, lstm_state)
      next_state.append(lstm_state)
    outputs = tf.matmul(self._linear.w, outputs, transpose_a=True)
    outputs = (tf.transpose(outputs) + self._linear.b) * self._scale
    return self._split(outputs, gradients), tuple(next_state)

  def diagnose(self, gradients: base.Params,
               state: base.State) -> dict[str, tf.Tensor]:
    """Returns the shares of cut off gradients and of saturated gates."""
    rows, shares = self._concat(gradients), {}
    cut_off = self._preprocess.cut_off(rows)
    if cut_off is not None:
      shares["cut_off_gradients"] = _share(cut_off)
    outputs = tf.transpose(self._features(rows))
    for lstm, lstm_state in zip(self.lstms, state, strict=True):
      i, _, f, o = lstm.gates(outputs, lstm_state)
      shares[f"saturated_gates/{lstm.name}"] = _share(
          tf.abs(tf.stack([i, f, o])) > _SATURATED)
      outputs, _ = lstm(outputs, lstm_state)
    return shares

  def _build(self, num_features: int, dtype: tf.DType):
    """Makes the variables, the first time."""
    if self._linear is not None:
      return
    sizes = (num_features, *self._layers)
    self.lstms = []
    for i, (f, h) in enumerate(zip(sizes, self._layers)):
      name = f"lstm_{i + 1}"
      self.lstms.append(LSTM(
          self._initializers(name, "w_gates", [f + h, 4 * h], dtype),
          self._initializers(name, "b_gates", [4 * h], dtype), name))
    self._linear = snt.Linear(
        self._output_size,
        w_init=lambda *a: self._initializers("linear", "w", *a),
        b_init=lambda *a: self._initializers("linear", "b", *a), name="linear")
    self._linear(tf.zeros([0, sizes[-1]], dtype))

  def _features(self, rows: tf.Tensor) -> tf.Tensor:
    """Preprocesses each number of rows [N, K]; features [N, F]."""
    features = self._preprocess(tf.expand_dims(rows, -1))  # [N, K, F / K]
    return tf.reshape(features, [-1, math.prod(features.shape[1:])])

  def _concat(self, tensors: base.Params) -> tf.Tensor:
    """The rows of all tensors; sorted by name, as `tf.nest` sorts."""
    return tf.concat([self._to_rows(t) for t in tf.nest.flatten(tensors)], 0)

  def _split(self, rows: tf.Tensor, like: base.Params) -> base.Params:
    flat = tf.nest.flatten(like)
    parts = [rows] if len(flat) == 1 else tf.split(
        rows, [self._num_rows(t) for t in flat])
    return tf.nest.pack_sequence_as(
        like, [self._from_rows(r, t) for r, t in zip(parts, flat)])

  def _num_rows(self, tensor: tf.Tensor) -> int:
    return tensor.shape[0]

  def _to_rows(self, tensor: tf.Tensor) -> tf.Tensor:
    if tensor.shape.rank != 2:
      raise ValueError(f"StandardDeepLSTM optimizes matrices, but a parameter "
                       f"has shape {tensor.shape}.")
    return tensor

  def _from_rows(self, rows: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    del like
    return rows


class CoordinateWiseDeepLSTM(StandardDeepLSTM):
  """The paper's optimizer: every coordinate is a row of one number."""

  def __init__(self, layers: Sequence[int], name: str | None = None, **kwargs):
    """Args are those of `StandardDeepLSTM`, but for `output_size`."""
    super().__init__(1, layers, name=name, **kwargs)

  @property
  def options(self) -> dict[str, Any]:
    options = super().options
    del options["output_size"]
    return options

  def _num_rows(self, tensor: tf.Tensor) -> int:
    return tensor.shape.num_elements()

  def _to_rows(self, tensor: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tensor, [-1, 1])

  def _from_rows(self, rows: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return tf.reshape(rows, tf.shape(like))


class KernelDeepLSTM(StandardDeepLSTM):
  """For convolutions: every filter of a pair of channels is a row.

  The parameters are [kh, kw, C_in, C_out], each with C_in * C_out rows.
  """

  def __init__(self, kernel_shape: Sequence[int], layers: Sequence[int],
               name: str | None = None, **kwargs):
    """Args are those of `StandardDeepLSTM`, but for `output_size`.

    Args:
      kernel_shape: Height and width of the filters, (kh, kw).
      layers: Hidden units of each LSTM layer.
      name: Name of the module.
      **kwargs: See `StandardDeepLSTM`.
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

  def _num_rows(self, tensor: tf.Tensor) -> int:
    return math.prod(tensor.shape[2:])

  def _to_rows(self, tensor: tf.Tensor) -> tf.Tensor:
    if tensor.shape.rank != 4 or tensor.shape[:2] != self._kernel_shape:
      raise ValueError(
          f"KernelDeepLSTM was made for kernel_shape {self._kernel_shape}, but "
          f"a parameter has shape {tensor.shape}.")
    return tf.reshape(tf.transpose(tensor, [2, 3, 0, 1]),
                      [-1, math.prod(self._kernel_shape)])

  def _from_rows(self, rows: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.transpose(rows), tf.shape(like))


def _share(flags):
  """The share of those that are true, shape []."""
  return tf.reduce_mean(tf.cast(flags, tf.float32))
