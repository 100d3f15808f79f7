"""A learned optimizer with a matrix as its memory, as BFGS has."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from l2lgd import checks
from networks import base, deep_lstm, lstm_with_gac

_MAX_COORDINATES = 2**12  # The memory has 64 MiB then, in each step.


class State(NamedTuple):
  """The state of `NTMBFGS`, for R read heads."""
  controller: base.State  # The state of an `LSTMWithGAC`.
  read: tf.Tensor  # What the read heads returned, [R, N].
  memory: tf.Tensor  # M, [N, N].


class NTMBFGS(lstm_with_gac.LSTMWithGAC):
  """An LSTM+GAC with an external memory, NTM-BFGS.

  The memory M is a matrix with a row and a column for each coordinate, like the
  inverse Hessian that BFGS estimates; there may be up to 4,096 coordinates. The
  network, which is the controller, reads and writes M with heads. These are
  linear functions of the last LSTM layer, so each coordinate computes its own
  element of their vectors:

  * A read head makes a vector r. Its result M r, one number for each
    coordinate, is fed back into the controller in the next step.
  * A write head makes two vectors, a and b. After the reading, a b^T is added
    to M.

  (Andrychowicz et al. 2016, appendix B, which says that one read head and three
  write heads are enough to simulate BFGS.)

  Where the appendix leaves it open: M is the identity before the first step, as
  in BFGS, and the results are 0. The update is a linear function of the last
  LSTM layer and of the results of this step, as that of BFGS is the result of
  reading with the gradient.

  Example:

    network = networks.NTMBFGS(layers=(20, 20), num_averaged=5)
    state = network.initial_state({"x": tf.ones([10])})
  """

  def __init__(self, layers: Sequence[int], read_heads: int = 1,
               write_heads: int = 3, name: str | None = None, **kwargs: Any):
    """Checks the arguments. `initial_state` creates the variables.

    Args:
      layers: See `LSTMWithGAC`.
      read_heads: Number of read heads, R.
      write_heads: Number of write heads, W.
      name: Name of the module.
      **kwargs: See `LSTMWithGAC`. With what is read, `w_gates` of the first
        layer is [F + R + H, 4 H], and `w` of `linear` [H + R, D]. There is
        another layer to initialize, `heads`, with `w` [H, R + 2 W] and
        `b` [R + 2 W], in the order r, a, b.

    Raises:
      ValueError: See `LSTMWithGAC`.
    """
    self._read_heads = checks.positive_integer("read_heads", read_heads)
    self._write_heads = checks.positive_integer("write_heads", write_heads)
    super().__init__(layers, name=name, **kwargs)
    self._num_extra = self._read_heads
    self._heads: Any = None  # A snt.Linear once the variables exist.

  @property
  def variable_names(self) -> dict[str, tuple[str, str]]:
    return super().variable_names | {"heads": ("w", "b")}

  @property
  def options(self) -> dict[str, Any]:
    return super().options | {
        "read_heads": self._read_heads, "write_heads": self._write_heads}

  def initial_state(self, params: base.Params) -> State:
    """Returns the state before the first step.

    Raises:
      ValueError: There are more than 4,096 coordinates.
    """
    controller = super().initial_state(params)
    rows = self.to_rows(params)
    num_coordinates = rows.shape[1]
    if (num_coordinates or 0) > _MAX_COORDINATES:
      raise ValueError(
          f"The parameters have {num_coordinates} coordinates, but NTMBFGS "
          "keeps a matrix with a row for each, so that they must be at most "
          f"{_MAX_COORDINATES}: use LSTMWithGAC.")
    return State(
        controller, tf.repeat(tf.zeros_like(rows), self._read_heads, 0),
        tf.eye(tf.shape(rows)[1], dtype=rows.dtype))

  def prepare(self, gradients: base.Params, state: State,
              params: base.Params | None = None
              ) -> tuple[deep_lstm.Inputs, State]:
    inputs, controller = super().prepare(gradients, state.controller, params)
    return inputs, state._replace(controller=controller)

  def update_rows(self, inputs: deep_lstm.Inputs,
                  state: State) -> tuple[tf.Tensor, State]:
    hidden, controller = self._run_lstms(
        tf.concat([inputs.features, state.read], 0), state.controller)
    r, a, b = tf.split(
        deep_lstm.linear(self._heads, hidden),
        [self._read_heads, self._write_heads, self._write_heads])  # [R or W, N]
    read = tf.matmul(r, state.memory, transpose_b=True)
    return self._to_updates(tf.concat([hidden, read], 0), inputs), State(
        controller, read, state.memory + tf.matmul(a, b, transpose_a=True))

  def diagnose(self, gradients: base.Params,
               state: State) -> dict[str, tf.Tensor]:
    rows, layers, memory = self._remember(gradients, state.controller)
    features = tf.concat([self._features(rows, memory), state.read], 0)
    return self._diagnose(rows, features, layers)

  def _build(self, num_features: int, dtype: tf.DType) -> None:
    super()._build(num_features, dtype)
    if self._heads is None:
      self._heads = self._make_linear(
          "heads", self._layers[-1],
          self._read_heads + 2 * self._write_heads, dtype)
