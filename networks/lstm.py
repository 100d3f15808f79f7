"""The LSTM layer of the learned optimizers."""

import numpy as np
import sonnet as snt
import tensorflow as tf


class LSTM(snt.Module):
  """An LSTM layer with the gates and the variables of Sonnet 1.

  The forget bias of 1 is added at run time; `b_gates` does not contain it. N is
  the last axis, so that each gate is one block of memory.
  """

  def __init__(self, w_gates: tf.Tensor, b_gates: tf.Tensor, name: str):
    """Creates the variables.

    Args:
      w_gates: Initial weights of the inputs and the hidden state, [F + H, 4 H].
      b_gates: Initial biases, [4 H].
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
    """Makes one step of N sequences.

    Args:
      inputs: The features, [F, N].
      state: The previous state, of [H, N] each.

    Returns:
      The outputs [H, N] and the next state.
    """
    i, g, f, o = self.gates(inputs, state)
    cell = tf.sigmoid(f) * state.cell + tf.sigmoid(i) * tf.tanh(g)
    hidden = tf.sigmoid(o) * tf.tanh(cell)
    return hidden, snt.LSTMState(hidden, cell)

  def gates(self, inputs: tf.Tensor, state: snt.LSTMState) -> list[tf.Tensor]:
    """Returns i, g, f and o before their nonlinearities, [H, N] each.

    g is the candidate for the cell.
    """
    # The biases are the weights of an input that is 1, so that one product
    # computes everything.
    weights = tf.concat(
        [self.w_gates, (self.b_gates + self._forget_bias)[tf.newaxis]], 0)
    inputs = tf.concat(
        [inputs, state.hidden, tf.ones_like(inputs[:1])], 0)  # [F + H + 1, N]
    gates = tf.matmul(weights, inputs, transpose_a=True)  # [4 H, N]
    return tf.split(gates, 4)
