"""Tests of the learned optimizers."""

import math

from absl.testing import absltest, parameterized
import numpy as np
import sonnet as snt
import tensorflow as tf

import networks
from networks import preprocess
from tests import assertions, toys

T = 3
CLAMP = {"preprocess_name": "Clamp", "preprocess_options": {"max_value": .5}}
LOG_AND_SIGN = {"preprocess_name": "LogAndSign", "preprocess_options": {"k": 2}}


def make(cls, **options):
  """A network for parameters of shape(), whose weights are all random."""
  options = {"layers": (4, 3), "scale": 0.3, **options}
  if cls is networks.StandardDeepLSTM:
    options = {"output_size": 3, **options}
  if cls is networks.KernelDeepLSTM:
    options = {"kernel_shape": (3, 2), **options}
  return cls(initializer=tf.keras.initializers.RandomNormal(stddev=0.5, seed=1),
             **options)


def shape(cls, size):
  """Shape of a parameter that the network can optimize."""
  return {networks.StandardDeepLSTM: (size, 3),
          networks.CoordinateWiseDeepLSTM: (size, 2),
          networks.KernelDeepLSTM: (3, 2, 2, size)}[cls]


def draw(*shapes, seed=0):
  """Gradients [T, ...] of each shape."""
  rng = np.random.default_rng(seed)
  return [rng.normal(size=(T, *s)).astype(np.float32) for s in shapes]


CLASSES = (networks.StandardDeepLSTM, networks.CoordinateWiseDeepLSTM,
           networks.KernelDeepLSTM)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def transcription(weights, layers, scale, inputs):
  """The equations of a deep LSTM, for one row [T, F] in NumPy."""
  state = [(np.zeros(n), np.zeros(n)) for n in layers]
  outputs = []
  for x in inputs:
    for k, n in enumerate(layers):
      h, c = state[k]
      gates = (np.concatenate([x, h]) @ weights[f"lstm_{k + 1}/w_gates"] +
               weights[f"lstm_{k + 1}/b_gates"])
      i, g, f, o = (gates[j * n:(j + 1) * n] for j in range(4))
      c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
      x = sigmoid(o) * np.tanh(c)
      state[k] = x, c
    outputs.append(scale * (x @ weights["linear/w"] + weights["linear/b"]))
  return np.array(outputs), state


class DeepLstmTest(parameterized.TestCase):

  def test_dense_layer_has_the_nonlinearity_elu(self):
    network = make(networks.CoordinateWiseDeepLSTM, dense=5, **LOG_AND_SIGN)
    gradients, = draw((1,))
    updates, _ = toys.steps(network, {"x": gradients})
    weights = toys.weights(network)
    features = np.concatenate(preprocess.LogAndSign(2).features(
        tf.constant(gradients), ()), axis=1)  # [T, 2]
    z = features @ weights["dense/w"] + weights["dense/b"]
    self.assertTrue(np.any(z < 0) and np.any(z > 0))
    expected, _ = transcription(
        weights, (4, 3), 0.3, np.where(z > 0, z, np.expm1(z)))
    np.testing.assert_allclose(updates["x"], expected, rtol=1e-4, atol=1e-6)

  @parameterized.product(
      cls=CLASSES, layers=((), (5,), (4, 3), (2, 3, 4)),
      options=({}, CLAMP, LOG_AND_SIGN))
  def test_every_row_is_the_transcription(self, cls, layers, options):
    network = make(cls, layers=layers, **options)
    gradients, = draw(shape(cls, 4))
    updates, state = toys.steps(network, {"x": gradients})
    rows = {networks.StandardDeepLSTM: lambda x: x,
            networks.CoordinateWiseDeepLSTM: lambda x: x.reshape(T, -1, 1),
            networks.KernelDeepLSTM: lambda x: np.moveaxis(
                x.reshape(T, 6, 8), 1, 2)}[cls]
    inputs, outputs = rows(gradients), rows(updates["x"])
    process = preprocess.by_name(
        options.get("preprocess_name", "identity"),
        options.get("preprocess_options"))
    for n in range(inputs.shape[1]):
      features = [np.ravel(np.stack(process.features(row, ()), -1))
                  for row in tf.constant(inputs[:, n])]
      expected, final = transcription(
          toys.weights(network), layers, 0.3, features)
      np.testing.assert_allclose(
          outputs[:, n], expected, rtol=1e-4, atol=1e-6)
      for (hidden, cell), layer in zip(final, state, strict=True):
        np.testing.assert_allclose(layer.hidden[:, n], hidden, rtol=1e-4,
                                   atol=1e-6)
        np.testing.assert_allclose(layer.cell[:, n], cell, rtol=1e-4, atol=1e-6)

  @parameterized.parameters(*CLASSES)
  def test_initial_state_is_zero(self, cls):
    network = make(cls)
    num_rows = 5 if cls is networks.StandardDeepLSTM else 10
    state = network.initial_state({"x": tf.ones(shape(cls, 5))})
    self.assertLen(state, 2)
    for layer, units in zip(state, (4, 3)):
      zeros = np.zeros([units, num_rows])
      assertions.assert_equal(layer, snt.LSTMState(zeros, zeros))

  @parameterized.parameters(*CLASSES)
  def test_order_of_the_parameters_does_not_matter(self, cls):
    z, a, m = draw(shape(cls, 4), shape(cls, 1), shape(cls, 2))
    network = make(cls)
    one, _ = toys.steps(network, {"z": z, "a": a, "m": m})
    two, _ = toys.steps(network, {"m": m, "a": a, "z": z})
    for name in "zam":
      np.testing.assert_array_equal(one[name], two[name])

  @parameterized.parameters(*CLASSES)
  def test_parameters_do_not_influence_each_other(self, cls):
    z, a = draw(shape(cls, 4), shape(cls, 1))
    network = make(cls)
    both, _ = toys.steps(network, {"z": z, "a": a})
    for name, gradients in (("z", z), ("a", a)):
      alone, _ = toys.steps(network, {name: gradients})
      np.testing.assert_allclose(both[name], alone[name], rtol=1e-5, atol=1e-7)

  @parameterized.parameters(
      (networks.StandardDeepLSTM, (5, 3), 0),
      (networks.KernelDeepLSTM, (3, 2, 4, 2), 2),
      (networks.KernelDeepLSTM, (3, 2, 2, 4), 3),
      (networks.CoordinateWiseDeepLSTM, (5, 3), 0),
      (networks.CoordinateWiseDeepLSTM, (5, 3), 1))
  def test_permuted_gradients_give_permuted_updates(self, cls, size, axis):
    gradients, = draw(size)
    order = np.random.default_rng(1).permutation(size[axis])
    network = make(cls)
    updates, _ = toys.steps(network, {"x": gradients})
    permuted, _ = toys.steps(
        network, {"x": np.take(gradients, order, axis + 1)})
    np.testing.assert_allclose(
        permuted["x"], np.take(updates["x"], order, axis + 1), rtol=1e-5,
        atol=1e-7)

  @parameterized.parameters(
      (networks.StandardDeepLSTM, (5, 3), 0),
      (networks.KernelDeepLSTM, (3, 2, 4, 2), 2),
      (networks.CoordinateWiseDeepLSTM, (5, 3), 0),
      (networks.CoordinateWiseDeepLSTM, (5, 3), 1))
  def test_a_tensor_in_two_parts_gets_the_same_updates(self, cls, size, axis):
    gradients, = draw(size)
    first, second = np.split(gradients, [2], axis + 1)
    network = make(cls)
    whole, _ = toys.steps(network, {"x": gradients})
    parts, _ = toys.steps(network, {"b": first, "a": second})
    np.testing.assert_allclose(
        np.concatenate([parts["b"], parts["a"]], axis + 1), whole["x"],
        rtol=1e-5, atol=1e-7)

  @parameterized.parameters([()], [(1,)], [(1, 1)], [(2, 1, 3)], [(0,)])
  def test_coordinatewise_takes_any_shape(self, size):
    network = make(networks.CoordinateWiseDeepLSTM)
    gradients, column = draw(size, (2,))
    updates, state = toys.steps(network, {"x": gradients, "y": column})
    self.assertEqual(updates["x"].shape, (T, *size))
    self.assertEqual(state[0].hidden.shape, [4, math.prod(size) + 2])
    flat, _ = toys.steps(network, {"x": gradients.reshape(T, -1), "y": column})
    np.testing.assert_array_equal(updates["x"].reshape(T, -1), flat["x"])

  def test_rows_of_output_have_output_size(self):
    network = make(networks.StandardDeepLSTM, output_size=2)
    updates, _ = toys.steps(network, {"x": draw((5, 3))[0]})
    self.assertEqual(updates["x"].shape, (T, 5, 2))

  @parameterized.parameters(tf.float32, tf.float64)
  def test_variables_have_the_dtype_of_the_parameters(self, dtype):
    network = networks.CoordinateWiseDeepLSTM((4, 3), **LOG_AND_SIGN)
    params = {"x": tf.ones([2, 3], dtype)}
    updates, state = network(params, network.initial_state(params))
    for tensor in (*network.variables, updates["x"], *tf.nest.flatten(state)):
      self.assertEqual(tensor.dtype, dtype)

  def test_parameters_of_another_type_are_refused(self):
    network = networks.CoordinateWiseDeepLSTM((4, 3), **LOG_AND_SIGN)
    network.initial_state({"x": tf.ones([2])})
    with self.assertRaisesRegex(
        ValueError, "are of type float64, but must be of type float32, as the"):
      network.initial_state({"x": tf.ones([2], tf.float64)})

  def test_parameters_of_several_types_are_refused(self):
    network = networks.CoordinateWiseDeepLSTM((4, 3), **LOG_AND_SIGN)
    with self.assertRaisesRegex(
        ValueError, r"of the types \['float32', 'float64'\], but all that a"):
      network.initial_state(
          {"x": tf.ones([2]), "y": tf.ones([2], tf.float64)})

  def test_variables_are_those_of_the_weight_file(self):
    network = networks.CoordinateWiseDeepLSTM((20, 10), **LOG_AND_SIGN)
    network.initial_state({"x": tf.ones([3])})
    self.assertEqual(
        {name: array.shape for name, array in toys.weights(network).items()},
        {"lstm_1/w_gates": (22, 80), "lstm_1/b_gates": (80,),
         "lstm_2/w_gates": (30, 40), "lstm_2/b_gates": (40,),
         "linear/w": (10, 1), "linear/b": (1,)})
    self.assertLen(network.trainable_variables, 6)

  def test_variables_are_made_once(self):
    network = networks.CoordinateWiseDeepLSTM((4,))
    network.initial_state({"x": tf.ones([3])})
    first = toys.weights(network)
    network.initial_state({"y": tf.ones([2, 2])})
    assertions.assert_equal(toys.weights(network), first)

  @parameterized.parameters((0, 0, True), (7, 7, True), (0, 1, False))
  def test_seed_determines_the_initial_weights(self, one, two, same):
    first, second = (networks.CoordinateWiseDeepLSTM((4,), seed=seed)
                     for seed in (one, two))
    for network in (first, second):
      network.initial_state({"x": tf.ones([3])})
    self.assertEqual(same, np.array_equal(
        toys.weights(first)["lstm_1/w_gates"],
        toys.weights(second)["lstm_1/w_gates"]))

  @parameterized.parameters(*CLASSES)
  def test_options_make_the_same_network_again(self, cls):
    network = make(cls, **LOG_AND_SIGN)
    gradients = {"x": draw(shape(cls, 4))[0]}
    updates, _ = toys.steps(network, gradients)
    weights = {}
    for name, array in toys.weights(network).items():
      module, field = name.split("/")
      weights.setdefault(module, {})[field] = array
    again, _ = toys.steps(
        cls(initializer=weights, **network.options), gradients)
    np.testing.assert_array_equal(again["x"], updates["x"])

  @parameterized.parameters(
      ("layers", (0,)), ("layers", (4, -1)), ("layers", (2.5,)),
      ("layers", ("4",)), ("layers", 20), ("output_size", 0),
      ("output_size", 1.5), ("output_size", None), ("scale", "big"),
      ("scale", None))
  def test_bad_argument_is_named(self, name, value):
    with self.assertRaisesRegex(ValueError, rf"^{name}(\[\d\])? is "):
      networks.StandardDeepLSTM(
          **{"output_size": 1, "layers": (4,), name: value})

  @parameterized.parameters(
      [5], [(5,)], [(5, 5, 1)], [(5, 0)], [(-5, -5)], [(2.5, 2)])
  def test_bad_kernel_shape_is_named(self, kernel_shape):
    with self.assertRaisesRegex(ValueError, r"^kernel_shape(\[\d\])? is "):
      networks.KernelDeepLSTM(kernel_shape, (4,))

  @parameterized.parameters(
      ({}, networks.StandardDeepLSTM, [None, 3]),
      ({"output_size": 2}, networks.StandardDeepLSTM, [None, 2]),
      ({}, networks.CoordinateWiseDeepLSTM, [None]),
      ({}, networks.KernelDeepLSTM, [3, 2, None, None]))
  def test_parameter_shape(self, options, cls, expected):
    self.assertEqual(make(cls, **options).parameter_shape, expected)

  @parameterized.parameters(*CLASSES)
  def test_parameter_shape_is_taken_with_any_lengths(self, cls):
    network = make(cls)

    @tf.function(autograph=False, input_signature=[
        tf.TensorSpec(network.parameter_shape, tf.float32)])
    def first_updates(gradients):
      gradients = {"x": gradients}
      return network(gradients, network.initial_state(gradients))[0]["x"]

    for size in (1, 4):
      gradients, = draw(shape(cls, size))
      if cls is networks.CoordinateWiseDeepLSTM:
        gradients = gradients.reshape(T, -1)
      expected, _ = toys.steps(network, {"x": gradients[:1]})
      np.testing.assert_allclose(
          first_updates(gradients[0]), expected["x"][0], rtol=1e-5, atol=1e-7)

  @parameterized.parameters(*CLASSES)
  def test_unknown_preprocessing_is_named(self, cls):
    with self.assertRaisesRegex(ValueError, "^preprocess_name is 'log'"):
      make(cls, preprocess_name="log")

  def test_bad_preprocess_options_are_named(self):
    for options, message in (
        ({"preprocess_name": "LogAndSign"}, "preprocess_options are "),
        ({"preprocess_name": "NormalizedMomenta",
          "preprocess_options": {"time_scales": {10, 100}}},
         "time_scales is {.*}, but must be a tuple of positive numbers")):
      with self.assertRaisesRegex(ValueError, f"^{message}"):
        make(networks.CoordinateWiseDeepLSTM, **options)

  def test_bad_initializer_is_refused_by_the_constructor(self):
    with self.assertRaisesRegex(ValueError, "'lstm_2'.*'lstm_1'"):
      networks.CoordinateWiseDeepLSTM((4,), initializer={"lstm_2": "zeros"})

  @parameterized.parameters(
      ({"layers": (5,)}, r"lstm_1/w_gates .*\(5, 16\).*\(6, 20\)"),
      (LOG_AND_SIGN, r"lstm_1/w_gates .*\(5, 16\).*\(6, 16\)"))
  def test_weights_of_another_architecture_are_refused(self, options, message):
    network = networks.CoordinateWiseDeepLSTM(**{
        "layers": (4,), "initializer": {"w_gates": np.ones([5, 16])},
        **options})
    with self.assertRaisesRegex(ValueError, message):
      network.initial_state({"x": tf.ones([3])})

  @parameterized.parameters([()], [(3,)], [(3, 2, 1)])
  def test_standard_refuses_what_is_no_matrix(self, size):
    with self.assertRaisesRegex(
        ValueError, "optimizes matrices, but a parameter has shape"):
      make(networks.StandardDeepLSTM).initial_state({"x": tf.ones(size)})

  def test_integers_are_refused(self):
    with self.assertRaisesRegex(
        ValueError, r"types \['int32'\], but .* one floating-point type"):
      make(networks.CoordinateWiseDeepLSTM).initial_state(
          {"x": tf.constant([2, -3])})

  @parameterized.parameters([(3, 2)], [(2, 3, 1, 1)], [(3, 3, 1, 1)])
  def test_kernel_refuses_other_filters(self, size):
    with self.assertRaisesRegex(
        ValueError, r"kernel_shape \(3, 2\), but a parameter has shape"):
      make(networks.KernelDeepLSTM).initial_state({"x": tf.ones(size)})


if __name__ == "__main__":
  absltest.main()
