"""Tests of layers, against NumPy."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from problems import layers

SEED = (1, 2)
B = 3


def normal(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


class LayersTest(parameterized.TestCase):

  def test_linear_is_a_product_and_a_sum(self):
    layer = layers.linear("l", 4, 2)
    x, w, b = normal(B, 4), normal(4, 2), normal(2)
    np.testing.assert_allclose(
        layer.apply({"l/w": w, "l/b": b}, x), x @ w + b, rtol=1e-5)

  def test_convolution_is_a_sum_over_a_window(self):
    layer = layers.conv_2d("c", 3, 2, 4)
    x, w, b = normal(B, 5, 6, 2), normal(3, 3, 2, 4), normal(4)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    expected = sum(padded[:, i:i + 5, j:j + 6] @ w[i, j]
                   for i in range(3) for j in range(3)) + b
    np.testing.assert_allclose(
        layer.apply({"c/w": w, "c/b": b}, x), expected, rtol=1e-4, atol=1e-5)

  @parameterized.parameters(((B, 4),), ((B, 5, 6, 4),))
  def test_batch_norm_gives_channels_mean_beta_and_deviation_1(self, shape):
    layer = layers.batch_norm("n", *[1] * (len(shape) - 1), 4)
    x, beta = 5. + 10. * normal(*shape), normal(4)
    axes = tuple(range(len(shape) - 1))
    expected = (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-3) + beta
    np.testing.assert_allclose(
        layer.apply({"n/beta": beta.reshape([1] * len(axes) + [4])}, x),
        expected, rtol=1e-4, atol=1e-4)

  def test_batch_norm_takes_batches_of_any_size(self):
    layer = layers.batch_norm("n", 1, 1, 1, 4)
    params, x = {"n/beta": normal(1, 1, 1, 4)}, normal(B, 5, 6, 4)
    apply = tf.function(
        lambda x: layer.apply(params, x), autograph=False,
        input_signature=[tf.TensorSpec([None, 5, 6, 4])])
    np.testing.assert_allclose(apply(x), layer.apply(params, x), rtol=1e-6)

  def test_recurrent_layer_ends_with_its_last_state(self):
    layer = layers.recurrent("r", 4, 5)
    x, w, u, b = normal(B, 6, 4), normal(4, 5), normal(5, 5), normal(5)
    h = np.zeros([B, 5])
    for t in range(6):
      h = np.tanh(x[:, t] @ w + h @ u + b)
    np.testing.assert_allclose(
        layer.apply({"r/w": w, "r/u": u, "r/b": b}, x), h, rtol=1e-4)

  def test_self_attention_adds_weighted_means_of_values(self):
    layer = layers.self_attention("a", 4)
    x = normal(B, 6, 4)
    q, k, v, o = np.split(normal(16, 4), 4)
    actual = layer.apply({"a/q": q, "a/k": k, "a/v": v, "a/o": o}, x)
    for inputs, outputs in zip(x, actual, strict=True):  # [T, F]
      z = inputs - inputs.mean(1, keepdims=True)
      z /= np.sqrt(inputs.var(1, keepdims=True) + 1e-3)
      for i in range(6):
        weights = np.exp([(z[i] @ q) @ (z[j] @ k) / 2 for j in range(6)])
        mean = sum(weights[j] * (z[j] @ v) for j in range(6)) / weights.sum()
        np.testing.assert_allclose(
            outputs[i], inputs[i] + mean @ o, rtol=1e-3, atol=1e-4)

  def test_scaled_weights_start_with_a_deviation_by_fan_in(self):
    init = layers.Init(2., scaled=True)
    network = [layers.linear("l", 50, 1000, init),
               layers.conv_2d("c", 5, 10, 1000, init),
               layers.recurrent("r", 50, 200, init)]
    params = layers.initial_params(network, tf.constant(SEED))
    for name, fan_in in {"l/w": 50, "c/w": 250, "r/w": 50, "r/u": 200}.items():
      self.assertBetween(np.std(params[name]) * fan_in**0.5, 1.9, 2.1)
    for name in ("l/b", "c/b", "r/b"):
      np.testing.assert_array_equal(params[name], 0.)

  def test_flatten_keeps_the_order(self):
    x = normal(B, 2, 3, 4)
    np.testing.assert_array_equal(
        layers.flatten().apply({}, x), x.reshape([B, 24]))

  def test_function_has_no_parameters(self):
    layer = layers.function(tf.abs)
    self.assertEmpty(layer.initializers)
    np.testing.assert_array_equal(layer.apply({}, normal(B)), abs(normal(B)))

  def test_mlp_flattens_and_has_activations_between_its_linear_layers(self):
    network = layers.mlp([4, 3, 5, 2], tf.tanh)
    params = {name: normal(*p.shape) for name, p in layers.initial_params(
        network, tf.constant(SEED)).items()}
    images = normal(B, 2, 2)
    actual = layers.apply(network, params, images)
    h = images.reshape([B, 4])
    for i in range(3):
      h = (np.tanh(h) if i else h) @ params[
          f"mlp/linear_{i}/w"] + params[f"mlp/linear_{i}/b"]
    np.testing.assert_allclose(actual, h, rtol=1e-4)

  def test_normalized_mlp_has_an_offset_for_each_hidden_layer(self):
    params = layers.initial_params(
        layers.mlp([4, 3, 5, 2], tf.tanh, normalized=True), tf.constant(SEED))
    self.assertEqual(
        {name: p.shape.as_list() for name, p in params.items()},
        {"mlp/linear_0/w": [4, 3], "mlp/linear_0/b": [3],
         "mlp/batch_norm/beta": [1, 3],
         "mlp/linear_1/w": [3, 5], "mlp/linear_1/b": [5],
         "mlp/batch_norm_1/beta": [1, 5],
         "mlp/linear_2/w": [5, 2], "mlp/linear_2/b": [2]})

  def test_weights_and_biases_start_with_deviation_one_hundredth(self):
    network = [layers.linear("l", 50, 1000), layers.conv_2d("c", 5, 10, 1000)]
    params = layers.initial_params(network, tf.constant(SEED))
    self.assertEqual([p.shape.as_list() for p in params.values()],
                     [[50, 1000], [1000], [5, 5, 10, 1000], [1000]])
    for values in params.values():
      self.assertBetween(np.mean(values), -0.001, 0.001)
      self.assertBetween(np.std(values), 0.009, 0.011)

  def test_offsets_start_at_zero(self):
    params = layers.initial_params(
        [layers.batch_norm("n", 1, 4)], tf.constant(SEED))
    np.testing.assert_array_equal(params["n/beta"], np.zeros([1, 4]))

  def test_parameters_are_independent_of_each_other(self):
    params = layers.initial_params(
        [layers.linear("one", 4, 4), layers.linear("two", 4, 4)],
        tf.constant(SEED))
    rows = [*params["one/w"], params["one/b"], *params["two/w"],
            params["two/b"]]
    self.assertLen(np.unique(rows), 2 * (16 + 4))


if __name__ == "__main__":
  absltest.main()
