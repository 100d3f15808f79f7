"""Tests of networks with a matrix as their memory."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import networks
from tests import assertions, toys
from tests.lstm_with_gac_test import (
  LAYERS,
  SHAPES,
  draw,
  lstm_with_gac,
  zero_state,
)

OPTIONS = {"layers": LAYERS, "read_heads": 2, "write_heads": 1,
           "num_averaged": 2, "scale": 0.3}


def make(**options):
  """A network whose weights are all random."""
  return networks.NTMBFGS(
      initializer=tf.keras.initializers.RandomNormal(stddev=0.5, seed=1),
      **{**OPTIONS, **options})


def transcription(weights, inputs, read_heads, write_heads):
  """Updates [T, N], read results and memory, for gradients [T, N]."""
  n = inputs.shape[1]
  state, memory, results = zero_state(n), np.eye(n), [np.zeros(n)] * read_heads
  updates = []
  for gradients in inputs:
    h = lstm_with_gac(weights, np.stack([gradients, *results], 1), state, 2)
    vectors = [*(h @ weights["heads/w"] + weights["heads/b"]).T]
    results = [memory @ r for r in vectors[:read_heads]]
    outputs = np.hstack([h, np.transpose(results)])
    updates.append(
        0.3 * (outputs @ weights["linear/w"] + weights["linear/b"])[:, 0])
    for a, b in zip(vectors[read_heads:read_heads + write_heads],
                    vectors[read_heads + write_heads:], strict=True):
      memory = memory + np.outer(a, b)
  return np.array(updates), np.array(results), memory


class NTMBFGSTest(parameterized.TestCase):

  @parameterized.parameters((1, 1), (1, 3), (2, 1))
  def test_steps_are_the_transcription(self, read_heads, write_heads):
    network = make(read_heads=read_heads, write_heads=write_heads)
    gradients = draw(SHAPES)
    updates, state = toys.steps(network, gradients)
    rows = [np.hstack([x["a"], x["b"].reshape(4, 6)])
            for x in (gradients, updates)]
    assertions.assert_close(
        (rows[1], state.read, state.memory), transcription(
            toys.weights(network), rows[0], read_heads, write_heads),
        rtol=1e-4, atol=1e-5)

  def test_permuted_gradients_give_permuted_updates(self):
    network = make()
    gradients = draw({"x": (5,)})["x"]
    updates, _ = toys.steps(network, {"x": gradients})
    order = [3, 0, 4, 1, 2]
    permuted, _ = toys.steps(network, {"x": gradients[:, order]})
    np.testing.assert_allclose(
        permuted["x"], updates["x"][:, order], rtol=1e-4, atol=1e-6)

  def test_variables_are_those_of_the_weight_file(self):
    network = make(preprocess_name="LogAndSign", preprocess_options={"k": 5})
    network.initial_state({"x": tf.ones([3])})
    self.assertEqual(
        {name: array.shape for name, array in toys.weights(network).items()},
        {"lstm_1/w_gates": (8, 16), "lstm_1/b_gates": (16,),
         "lstm_2/w_gates": (7, 12), "lstm_2/b_gates": (12,),
         "linear/w": (5, 1), "linear/b": (1,),
         "heads/w": (3, 4), "heads/b": (4,)})

  def test_saturated_gates_are_counted(self):
    network = make()
    gradients = {name: tf.constant(g[0])
                 for name, g in draw(SHAPES).items()}
    state = network.initial_state(gradients)
    self.assertEqual(network.diagnose(gradients, state), {
        "saturated_gates/lstm_1": 0., "saturated_gates/lstm_2": 0.})
    state = state._replace(read=state.read + 100.)
    self.assertGreater(
        network.diagnose(gradients, state)["saturated_gates/lstm_1"], 0.5)

  def test_too_many_coordinates_are_refused(self):
    with self.assertRaisesRegex(
        ValueError, "have 4097 coordinates, .* at most 4096: use LSTMWithGAC"):
      make().initial_state({"x": tf.zeros([17, 241])})

  @parameterized.parameters("read_heads", "write_heads", "num_averaged")
  def test_bad_argument_is_named(self, name):
    with self.assertRaisesRegex(ValueError, f"^{name} is 0"):
      make(**{name: 0})


if __name__ == "__main__":
  absltest.main()
