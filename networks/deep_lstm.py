"""Learned optimizers: small LSTMs that run on many coordinates at once.

N coordinates, or rows of D coordinates, are N sequences with the same weights.
F is the number of features of a row, H of hidden units in a layer.
"""

from collections.abc import Sequence
import math
from typing import Any, NamedTuple

import sonnet as snt
import tensorflow as tf

from l2lgd import checks
from networks import base, initializers, lstm, postprocess, preprocess

_SATURATED = math.log(99.)  # Beyond it, the sigmoid is within 0.01 of 0 or 1.


class Inputs(NamedTuple):
  """What the weights of a learned network are applied to."""
  features: tf.Tensor  # [F, N]
  factors: postprocess.Factors


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
               preprocess_options: dict[str, Any] | None = None,
               scale: float = 1.0, initializer: Any = None, seed: int = 0,
               name: str | None = None, dense: int | None = None,
               postprocess_options: dict[str, Any] | None = None):
    """Checks the arguments. `initial_state` creates the variables.

    Args:
      output_size: Number of coordinates in each row, the width of the matrices.
      layers: Number of hidden units of each LSTM layer, H.
      preprocess_name: "identity", "Clamp", "LogAndSign", "RNNprop" or
        "NormalizedMomenta".
      preprocess_options: Arguments of this class in `networks.preprocess`.
      scale: Factor of the outputs, which by default are the updates; see
        `networks.postprocess.Postprocessing`.
      initializer: Initial values of the variables, in one of the forms that
        `initializers.Initializers` takes. The layers are `lstm_1`, `lstm_2`
        and so on, with the fields `w_gates` [F + H, 4 H] and `b_gates` [4 H],
        `linear`, with `w` [H, D] and `b` [D], where D is `output_size`, or
        twice that for a `log_range`, and `dense`, if there is one, with `w`
        [F, dense] and `b` [dense].
      seed: Seed of the random initial values.
      name: Name of the module.
      dense: Number of units of a dense layer before the LSTM layers, with the
        nonlinearity ELU, as in RNNprop (Lv et al. 2017); None for no layer.
      postprocess_options: Arguments of `networks.postprocess.Postprocessing`,
        except for the scale.

    Raises:
      ValueError: An argument is not as described.
    """
    super().__init__(name)
    self._output_size = checks.positive_integer("output_size", output_size)
    self._layers = tuple(checks.positive_integers("layers", layers))
    self._preprocess_name = preprocess_name
    self._preprocess = preprocess.by_name(preprocess_name, preprocess_options)
    self._preprocess_options = checks.json_value(
        "preprocess_options", preprocess_options or {})
    self._scale = checks.finite("scale", scale)
    self._postprocess = postprocess.from_options(
        scale, postprocess_options, preprocess_name, self._preprocess)
    self._dense_size = (
        None if dense is None else checks.positive_integer("dense", dense))
    self._initializers = initializers.Initializers(
        initializer, self.variable_names, seed)
    self.lstms: list[lstm.LSTM] = []
    # Inputs that a subclass adds to the first layer and to the last one.
    self._num_extra = 0
    self._linear: Any = None  # A snt.Linear once the variables exist.
    self._dense: Any = None  # The same, if there is a dense layer.

  @property
  def variable_names(self) -> dict[str, tuple[str, str]]:
    """The names of the variables of each layer."""
    names = {f"lstm_{i + 1}": ("w_gates", "b_gates")
             for i in range(len(self._layers))} | {"linear": ("w", "b")}
    return names | ({} if self._dense_size is None else {"dense": ("w", "b")})

  @property
  def options(self) -> dict[str, Any]:
    later = {"dense": self._dense_size,  # Older files do not have these.
             "postprocess_options": self._postprocess.options}
    return {"output_size": self._output_size, "layers": list(self._layers),
            "preprocess_name": self._preprocess_name,
            "preprocess_options": dict(self._preprocess_options),
            "scale": self._scale,
            **{name: value for name, value in later.items() if value}}

  @property
  def parameter_shape(self) -> list[int | None]:
    return [None, self._output_size]

  def initial_state(self, params: base.Params) -> base.State:
    """Returns the states of the layers, then the preprocessing's memory."""
    types = {t.dtype for t in tf.nest.flatten(params)}
    if len(types) > 1 or not all(dtype.is_floating for dtype in types):
      raise ValueError(
          f"The parameters are of the types {sorted(t.name for t in types)}, "
          "but all that a network optimizes must be of one floating-point "
          "type.")
    rows = self.to_rows(params)
    none = rows[:, :0]  # Their number is enough to count the features.
    self._build(self._features(
        none, self._preprocess.initial_memory(none)).shape[0], rows.dtype)
    num_rows = rows.shape[1]
    if num_rows is None:  # This is traced for any number of rows.
      num_rows = tf.shape(rows)[1]
    zeros = [tf.zeros([h, num_rows], rows.dtype) for h in self._layers]
    return (*(snt.LSTMState(hidden=z, cell=z) for z in zeros),
            *self._preprocess.initial_memory(rows))

  def __call__(self, gradients: base.Params,
               state: base.State) -> tuple[base.Params, base.State]:
    return self.step(gradients, state, None)

  def prepare(self, gradients: base.Params, state: base.State,
              params: base.Params | None = None
              ) -> tuple[Inputs, base.State]:
    rows, layers, memory = self._remember(gradients, state)
    factors = self._postprocess.prepare(
        self._preprocess.direction(memory), self._params_in_rows(params))
    return Inputs(self._features(rows, memory), factors), (*layers, *memory)

  @property
  def needs_params(self) -> bool:
    return self._postprocess.needs_params

  def _params_in_rows(self, params: base.Params | None) -> list[tf.Tensor]:
    """Returns the rows [D, N] of each parameter, if they are needed."""
    if not self.needs_params:
      return []
    if params is None:
      raise ValueError(
          "The updates depend on the parameters, because of min_size or "
          "weight_decay: call step(gradients, state, params).")
    return [self._to_rows(t) for t in tf.nest.flatten(params)]

  def update_rows(self, inputs: Inputs,
                  state: base.State) -> tuple[tf.Tensor, base.State]:
    """Returns the updates [D, N] and the next state."""
    hidden, state = self._run_lstms(inputs.features, state)
    return self._to_updates(hidden, inputs), state

  def _run_lstms(self, features: tf.Tensor,
                 state: base.State) -> tuple[tf.Tensor, base.State]:
    """Returns what the last LSTM layer returns [H, N], and the next state."""
    outputs = self._embed(features)
    layers, memory = self._split_state(state)
    next_layers = []
    for layer, layer_state in zip(self.lstms, layers, strict=True):
      outputs, layer_state = layer(outputs, layer_state)
      next_layers.append(layer_state)
    return outputs, (*next_layers, *memory)

  def _to_updates(self, hidden: tf.Tensor, inputs: Inputs) -> tf.Tensor:
    """Returns the updates [D, N]."""
    return self._postprocess(linear(self._linear, hidden), inputs.factors)

  def _embed(self, features: tf.Tensor) -> tf.Tensor:
    """Returns the inputs of the first LSTM layer."""
    if self._dense is None:
      return features
    return tf.nn.elu(linear(self._dense, features))

  def diagnose(self, gradients: base.Params,
               state: base.State) -> dict[str, tf.Tensor]:
    """Returns the fractions of clipped gradients and of saturated gates."""
    rows, layers, memory = self._remember(gradients, state)
    return self._diagnose(rows, self._features(rows, memory), layers)

  def _diagnose(self, rows: tf.Tensor, features: tf.Tensor,
                layers: Any) -> dict[str, tf.Tensor]:
    """Returns what `diagnose` does, for features [F, N] of rows [D, N]."""
    fractions = {}
    clipped = self._preprocess.clipped(rows)
    if clipped is not None:
      fractions["clipped_gradients"] = _fraction(clipped)
    outputs = self._embed(features)
    for layer, layer_state in zip(self.lstms, layers, strict=True):
      i, _, f, o = layer.gates(outputs, layer_state)
      fractions[f"saturated_gates/{layer.name}"] = _fraction(
          tf.abs(tf.stack([i, f, o])) > _SATURATED)
      outputs, _ = layer(outputs, layer_state)
    return fractions

  def _build(self, num_features: int, dtype: tf.DType) -> None:
    """Creates the variables if they do not exist.

    Raises:
      ValueError: They exist, and are of another type.
    """
    if self._linear is not None:
      if self._linear.w.dtype != dtype:
        raise ValueError(
            f"The parameters are of type {dtype.name}, but must be of type "
            f"{self._linear.w.dtype.name}, as the weights of the network, "
            "which takes the type of the first parameters that it is given. "
            "(A LearnedOptimizer computes in float32, and so does a network "
            "that has been copied or pickled.)")
      return
    num_features += self._num_extra
    if self._dense_size is not None:
      self._dense = self._make_linear("dense", num_features, self._dense_size,
                                      dtype)
    sizes = (self._dense_size or num_features, *self._layers)
    for i, (f, h) in enumerate(zip(sizes, self._layers)):
      name = f"lstm_{i + 1}"
      self.lstms.append(self._make_lstm(
          self._initializers(name, "w_gates", [f + h, 4 * h], dtype),
          self._initializers(name, "b_gates", [4 * h], dtype), name))
    self._linear = self._make_linear(
        "linear", sizes[-1] + self._num_extra,
        self._output_size * self._postprocess.num_outputs, dtype)

  def _make_lstm(self, *args: Any) -> lstm.LSTM:
    """Returns an LSTM layer; the arguments are those of `lstm.LSTM`."""
    return lstm.LSTM(*args)

  def _make_linear(self, name: str, num_inputs: int, num_outputs: int,
                   dtype: tf.DType) -> snt.Linear:
    linear = snt.Linear(
        num_outputs, w_init=lambda *a: self._initializers(name, "w", *a),
        b_init=lambda *a: self._initializers(name, "b", *a), name=name)
    linear(tf.zeros([0, num_inputs], dtype))
    return linear

  def _split_state(self, state: base.State) -> tuple[Any, preprocess.Memory]:
    """Returns the states of the layers, and the preprocessing's memory."""
    return state[:len(self._layers)], state[len(self._layers):]

  def _remember(self, gradients: base.Params, state: base.State
                ) -> tuple[tf.Tensor, Any, preprocess.Memory]:
    """Returns the rows, the states of the layers, and the next memory."""
    rows = self.to_rows(gradients)
    layers, memory = self._split_state(state)
    return rows, layers, self._preprocess.remember(
        rows, memory, self._sizes(gradients))

  def _features(self, rows: tf.Tensor,
                memory: preprocess.Memory) -> tf.Tensor:
    """Returns the features [F, N] of rows [D, N]."""
    # The values of a coordinate are beside one another.
    features = tf.stack(self._preprocess.features(rows, memory), 1)
    num_features = math.prod(features.shape[:2])
    return tf.reshape(features, [num_features, -1])

  def num_rows(self, params: base.Params) -> Any:
    return self._sizes(params)

  def _sizes(self, params: base.Params) -> list[int]:
    """Returns the numbers of rows of each parameter."""
    return [self._rows_of(t) for t in tf.nest.flatten(params)]

  def to_rows(self, tensors: base.Params) -> tf.Tensor:
    """Returns the rows [D, N] of all tensors, sorted by name."""
    return tf.concat([self._to_rows(t) for t in tf.nest.flatten(tensors)], 1)

  def from_rows(self, rows: tf.Tensor, like: base.Params) -> base.Params:
    flat = tf.nest.flatten(like)
    parts = [rows] if len(flat) == 1 else tf.split(
        rows, self._sizes(like), axis=1)
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


def linear(layer: snt.Linear, inputs: tf.Tensor) -> tf.Tensor:
  """Returns what a linear layer returns for N columns, [outputs, N]."""
  return (tf.matmul(layer.w, inputs, transpose_a=True)
          + layer.b[:, tf.newaxis])


def _fraction(flags: tf.Tensor) -> tf.Tensor:
  """Returns the fraction of flags that are true, shape []."""
  return tf.reduce_mean(tf.cast(flags, tf.float32))
