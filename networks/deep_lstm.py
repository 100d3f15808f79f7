"""Learned optimizers: small LSTMs that run on many coordinates at once.

N coordinates, or rows of D coordinates, are N sequences with the same weights.
F is the number of features of a row, H of hidden units in a layer.
"""

from collections.abc import Sequence
import math
from typing import Any

import sonnet as snt
import tensorflow as tf

from l2lgd import checks
from networks import base, initializers, lstm, preprocess

_SATURATED = math.log(99.)  # Beyond it, the sigmoid is within 0.01 of 0 or 1.


class StandardDeepLSTM(base.Network):
  """LSTM layers and a linear layer, applied to each row of the gradients.

  The parameters are matrices [N, output_size]. Each row has its own state, so
  the coordinates of a row influence each other's updates, and rows do not. The
  subclasses divide parameters of other shapes into rows.

  Example:

    network = networks.StandardDeepLSTM(output_size=3, layers=(20, 20))
    state = network.initial_state({"x": tf.ones([128, 3])})

  Attributes:
    lstms: The LSTM layers, which are created when the number of features is
      known.
  """

  def __init__(self, output_size: int, layers: Sequence[int],
               preprocess_name: str = "identity",
               preprocess_options: dict[str, float] | None = None,
               scale: float = 1.0, initializer: Any = None, seed: int = 0,
               name: str | None = None):
    """Checks the arguments. `initial_state` creates the variables.

    Args:
      output_size: Number of updates in each row.
      layers: Number of hidden units of each LSTM layer, H.
      preprocess_name: "identity", "Clamp" or "LogAndSign".
      preprocess_options: Arguments of this class in `networks.preprocess`.
      scale: Factor of the updates.
      initializer: Initial values of the variables, in one of the forms that
        `initializers.Initializers` takes. The layers are `lstm_1`, `lstm_2`
        and so on, with the fields `w_gates` [F + H, 4 H] and `b_gates` [4 H],
        and `linear`, with `w` [H, output_size] and `b` [output_size].
      seed: Seed of the random initial values.
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
    self.lstms: list[lstm.LSTM] = []
    self._linear: Any = None  # A snt.Linear once the variables exist.

  @property
  def options(self) -> dict[str, Any]:
    return {"output_size": self._output_size, "layers": list(self._layers),
            "preprocess_name": self._preprocess_name,
            "preprocess_options": dict(self._preprocess_options),
            "scale": self._scale}

  @property
  def parameter_shape(self) -> list[int | None]:
    return [None, self._output_size]

  def initial_state(self, params: base.Params) -> base.State:
    """Returns the states of the layers, then the preprocessing's memory."""
    rows = self.to_rows(params)
    memory = self._preprocess.initial_memory(rows)
    self._build(self._features(rows, memory).shape[0], rows.dtype)
    num_rows = rows.shape[1]
    if num_rows is None:  # This is traced for any number of rows.
      num_rows = tf.shape(rows)[1]
    return (*(snt.LSTMState(*[tf.zeros([h, num_rows], rows.dtype)] * 2)
              for h in self._layers), *memory)

  def __call__(self, gradients: base.Params,
               state: base.State) -> tuple[base.Params, base.State]:
    outputs, state = self.update_rows(*self.prepare(gradients, state))
    return self.from_rows(outputs, gradients), state

  def prepare(self, gradients: base.Params, state: base.State,
              params: base.Params | None = None
              ) -> tuple[tf.Tensor, base.State]:
    """Returns the features [F, N] and the state with the next memory."""
    del params
    rows = self.to_rows(gradients)
    layers, memory = self._split_state(state)
    memory = self._preprocess.remember(rows, memory)
    return self._features(rows, memory), (*layers, *memory)

  def update_rows(self, inputs: tf.Tensor,
                  state: base.State) -> tuple[tf.Tensor, base.State]:
    """Returns the updates [D, N] and the next state."""
    outputs = inputs
    layers, memory = self._split_state(state)
    next_layers = []
    for layer, layer_state in zip(self.lstms, layers, strict=True):
      outputs, layer_state = layer(outputs, layer_state)
      next_layers.append(layer_state)
    outputs = tf.matmul(self._linear.w, outputs, transpose_a=True)
    outputs += self._linear.b[:, tf.newaxis]
    return outputs * self._scale, (*next_layers, *memory)

  def diagnose(self, gradients: base.Params,
               state: base.State) -> dict[str, tf.Tensor]:
    """Returns the fractions of clipped gradients and of saturated gates."""
    rows = self.to_rows(gradients)
    fractions = {}
    clipped = self._preprocess.clipped(rows)
    if clipped is not None:
      fractions["clipped_gradients"] = _fraction(clipped)
    outputs, state = self.prepare(gradients, state)
    layers, _ = self._split_state(state)
    for layer, layer_state in zip(self.lstms, layers, strict=True):
      i, _, f, o = layer.gates(outputs, layer_state)
      fractions[f"saturated_gates/{layer.name}"] = _fraction(
          tf.abs(tf.stack([i, f, o])) > _SATURATED)
      outputs, _ = layer(outputs, layer_state)
    return fractions

  def _build(self, num_features: int, dtype: tf.DType) -> None:
    """Creates the variables if they do not exist."""
    if self._linear is not None:
      return
    sizes = (num_features, *self._layers)
    for i, (f, h) in enumerate(zip(sizes, self._layers)):
      name = f"lstm_{i + 1}"
      self.lstms.append(lstm.LSTM(
          self._initializers(name, "w_gates", [f + h, 4 * h], dtype),
          self._initializers(name, "b_gates", [4 * h], dtype), name))
    self._linear = snt.Linear(
        self._output_size,
        w_init=lambda *a: self._initializers("linear", "w", *a),
        b_init=lambda *a: self._initializers("linear", "b", *a), name="linear")
    self._linear(tf.zeros([0, sizes[-1]], dtype))

  def _split_state(self, state: base.State) -> tuple[Any, preprocess.Memory]:
    """Returns the states of the layers, and the preprocessing's memory."""
    return state[:len(self._layers)], state[len(self._layers):]

  def _features(self, rows: tf.Tensor,
                memory: preprocess.Memory) -> tf.Tensor:
    """Returns the features [F, N] of rows [D, N]."""
    # Those of a coordinate are beside one another.
    features = tf.stack(self._preprocess.features(rows, memory), 1)
    num_features = math.prod(features.shape[:2])
    return tf.reshape(features, [num_features, -1])

  def num_rows(self, params: base.Params) -> list[int]:
    return [self._rows_of(t) for t in tf.nest.flatten(params)]

  def to_rows(self, tensors: base.Params) -> tf.Tensor:
    """Returns the rows [D, N] of all tensors, sorted by name."""
    return tf.concat([self._to_rows(t) for t in tf.nest.flatten(tensors)], 1)

  def from_rows(self, rows: tf.Tensor, like: base.Params) -> base.Params:
    flat = tf.nest.flatten(like)
    parts = [rows] if len(flat) == 1 else tf.split(
        rows, self.num_rows(like), axis=1)
    return tf.nest.pack_sequence_as(
        like, [self._from_rows(r, t) for r, t in zip(parts, flat)])

  def _rows_of(self, tensor: tf.Tensor) -> int:
    """Returns the number of rows of a tensor."""
    return tensor.shape[0]

  def _to_rows(self, tensor: tf.Tensor) -> tf.Tensor:
    """Returns the rows of a tensor, [D, N]."""
    if tensor.shape.rank != 2:
      raise ValueError(f"StandardDeepLSTM optimizes matrices, but a parameter "
                       f"has shape {tensor.shape}.")
    return tf.transpose(tensor)

  def _from_rows(self, rows: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Returns rows [D, N] in the shape of a tensor."""
    del like
    return tf.transpose(rows)


def _fraction(flags: tf.Tensor) -> tf.Tensor:
  """Returns the fraction of flags that are true, shape []."""
  return tf.reduce_mean(tf.cast(flags, tf.float32))
