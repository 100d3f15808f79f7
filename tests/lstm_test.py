"""Tests of the LSTM layer."""

from absl.testing import absltest, parameterized
import numpy as np
import sonnet as snt
import tensorflow as tf

from networks import lstm
from tests import assertions

T = 3


class LstmTest(parameterized.TestCase):

  @parameterized.parameters(1, 4)
  def test_layer_is_sonnets_with_its_gates_and_forget_bias(self, num_rows):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(2 + 3, 12)).astype(np.float32)
    b = rng.normal(size=12).astype(np.float32)
    ours = lstm.LSTM(tf.constant(w), tf.constant(b), name="lstm_1")
    theirs = snt.LSTM(3, forget_bias=0.)
    theirs(tf.zeros([1, 2]), theirs.initial_state(1))  # Makes its variables.
    # Sonnet 2 has the order i, f, g, o, and adds its forget bias to `b`.
    order = np.r_[0:3, 6:9, 3:6, 9:12]
    theirs.input_to_hidden.assign(w[:2, order])
    theirs.hidden_to_hidden.assign(w[2:, order])
    theirs.b.assign((b + np.repeat([0, 0, 1, 0], 3))[order])
    expected = theirs.initial_state(num_rows)
    actual = tf.nest.map_structure(tf.transpose, expected)
    for _ in range(T):
      x = tf.constant(rng.normal(size=(num_rows, 2)), tf.float32)
      _, expected = theirs(x, expected)
      hidden, actual = ours(tf.transpose(x), actual)
      assertions.assert_close(hidden, actual.hidden)
      assertions.assert_close(
          tf.nest.map_structure(tf.transpose, actual), expected, atol=1e-6)

  def test_gates_are_what_the_nonlinearities_are_given(self):
    rng = np.random.default_rng(0)
    w, b, x, h, c = (rng.normal(size=size).astype(np.float32) for size in (
        (2 + 3, 12), 12, (2, 4), (3, 4), (3, 4)))
    layer = lstm.LSTM(tf.constant(w), tf.constant(b), name="lstm_1")
    i, g, f, o = layer.gates(tf.constant(x), snt.LSTMState(h, c))
    expected = w.T @ np.concatenate([x, h]) + b[:, np.newaxis]
    np.testing.assert_allclose(
        tf.concat([i, g, f - 1., o], 0), expected, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
  absltest.main()
