"""Tests of initial values."""

from absl.testing import absltest, parameterized
import numpy as np
import sonnet as snt
import tensorflow as tf

from networks import initializers

FIELDS = {"lstm_1": ("w_gates", "b_gates"), "linear": ("w", "b")}
SHAPES = {("lstm_1", "w_gates"): [3, 8], ("lstm_1", "b_gates"): [8],
          ("linear", "w"): [2, 1], ("linear", "b"): [1]}


def drawn(initializer, seed=0, dtype=tf.float32):
  """Returns the initial values of all variables."""
  made = initializers.Initializers(initializer, FIELDS, seed)
  return {key: np.asarray(made(*key, shape, dtype))
          for key, shape in SHAPES.items()}


def assert_same(actual, expected):
  for key, value in expected.items():
    np.testing.assert_array_equal(actual[key], value, err_msg=str(key))


class InitializersTest(parameterized.TestCase):

  @parameterized.parameters(
      "zeros", tf.zeros_initializer(), tf.keras.initializers.Zeros(),
      snt.initializers.Zeros())
  def test_one_initializer_is_that_of_every_variable(self, initializer):
    assert_same(drawn(initializer),
                {key: np.zeros(shape) for key, shape in SHAPES.items()})

  def test_by_field(self):
    default = drawn(None)
    values = drawn({"w": "ones", "b_gates": 3. * np.ones(8)})
    assert_same(values, {
        ("linear", "w"): [[1.], [1.]], ("lstm_1", "b_gates"): [3.] * 8,
        ("lstm_1", "w_gates"): default["lstm_1", "w_gates"],
        ("linear", "b"): default["linear", "b"]})

  def test_by_layer(self):
    default = drawn(None)
    values = drawn({"linear": "ones", "lstm_1": {"b_gates": np.arange(8.)}})
    assert_same(values, {
        ("linear", "w"): [[1.], [1.]], ("linear", "b"): [1.],
        ("lstm_1", "b_gates"): np.arange(8.),
        ("lstm_1", "w_gates"): default["lstm_1", "w_gates"]})

  def test_a_layer_goes_before_a_field(self):
    values = drawn({"linear": {"w": [[5.], [6.]]}, "w": "zeros", "b": "ones"})
    assert_same(values, {("linear", "w"): [[5.], [6.]]})

  def test_functions_get_shape_and_dtype(self):
    seen = []
    def initializer(shape, dtype):
      seen.append((tuple(shape), dtype))
      return tf.zeros(shape, dtype)
    drawn(initializer, dtype=tf.float64)
    self.assertCountEqual(
        seen, [(tuple(shape), tf.float64) for shape in SHAPES.values()])

  @parameterized.parameters(tf.float32, tf.float64)
  def test_values_have_the_dtype_asked_for(self, dtype):
    arrays = {"lstm_1": {"w_gates": np.ones([3, 8], np.float32)},
              "linear": {"w": np.ones([2, 1], np.float64)}}
    for value in drawn(arrays, dtype=dtype).values():
      self.assertEqual(value.dtype, dtype)

  def test_default_matrix_is_a_normal_truncated_at_two_deviations(self):
    made = initializers.Initializers(None, FIELDS)
    matrix = np.asarray(made("lstm_1", "w_gates", [100, 400], tf.float32))
    self.assertBetween(np.abs(matrix).max(), 0.199, 0.2)
    # Of the standard normal on [-2, 2], the variance is
    # 1 - 2 * 2 pdf(2) / (2 cdf(2) - 1).
    pdf = np.exp(-2.) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(
        np.std(matrix), 0.1 * np.sqrt(1 - 4 * pdf / 0.9544997), rtol=0.01)
    self.assertBetween(np.mean(matrix), -0.002, 0.002)

  def test_default_vector_is_zero(self):
    assert_same(drawn(None), {("lstm_1", "b_gates"): np.zeros(8)})

  @parameterized.product(
      initializer=(None, "random_normal", "random_uniform"), seed=(0, 5, -1))
  def test_same_seed_gives_same_values(self, initializer, seed):
    assert_same(drawn(initializer, seed), drawn(initializer, seed))

  @parameterized.parameters(None, "random_normal", "random_uniform")
  def test_other_seed_gives_other_values(self, initializer):
    self.assertFalse(np.any(
        drawn(initializer, 5)["lstm_1", "w_gates"] ==
        drawn(initializer, 6)["lstm_1", "w_gates"]))

  @parameterized.parameters("random_normal", "random_uniform")
  def test_no_variable_is_that_of_another_seed(self, initializer):
    made = [np.asarray(initializers.Initializers(
        initializer, {"a": ("w",), "b": ("w",)}, seed)(
            layer, "w", [50, 50], tf.float32))
            for seed in (0, 1) for layer in ("a", "b")]
    for i, value in enumerate(made):
      self.assertBetween(np.std(value), 0.025, 0.055)
      for other in made[:i]:
        self.assertFalse(np.any(value == other))

  @parameterized.parameters(None, "random_normal", "random_uniform")
  def test_variables_are_drawn_independently(self, initializer):
    made = initializers.Initializers(
        initializer, {"lstm_1": ("w_gates",), "lstm_2": ("w_gates",)})
    one, two = (np.asarray(made(layer, "w_gates", [50, 50], tf.float32))
                for layer in ("lstm_1", "lstm_2"))
    self.assertBetween(np.corrcoef(one.flat, two.flat)[0, 1], -0.1, 0.1)

  @parameterized.parameters(
      ({"v": "zeros"},
       r"initializer has the keys \['v'\], but its keys must be among "
       r"\['b', 'b_gates', 'linear', 'lstm_1', 'w', 'w_gates'\]"),
      ({"lstm_2": {}}, r"initializer has the keys \['lstm_2'\]"),
      ({"linear": {"w_gates": "zeros"}},
       r"initializer of layer 'linear' has the keys \['w_gates'\], .*"
       r"\['b', 'w'\]"))
  def test_unknown_key_is_named(self, initializer, message):
    with self.assertRaisesRegex(ValueError, message):
      initializers.Initializers(initializer, FIELDS)

  @parameterized.parameters(1.5, "a", None, True)
  def test_seed_that_is_no_integer_is_refused(self, seed):
    with self.assertRaisesRegex(ValueError, "^seed is .*, but must be an int"):
      initializers.Initializers("zeros", FIELDS, seed)

  @parameterized.parameters(["zero"], [{"w": "zero"}], [{"linear": "zero"}],
                            [{"linear": {"b": "zero"}}])
  def test_unknown_name_is_named(self, initializer):
    with self.assertRaisesRegex(
        ValueError, r"^initializer is 'zero', .*'ones', .*'zeros'\]"):
      initializers.Initializers(initializer, FIELDS)

  @parameterized.parameters([{"a": 1}], [["a"]])
  def test_what_is_no_number_is_refused(self, value):
    made = initializers.Initializers({"linear": {"w": value}}, FIELDS)
    with self.assertRaisesRegex(
        ValueError, "^initializer has .*, but must have names, numbers or arr"):
      made("linear", "w", [1, 1], tf.float32)

  @parameterized.parameters([snt.initializers.Zeros],
                            [{"linear": {"b": snt.initializers.Zeros}}])
  def test_class_in_place_of_an_instance_is_refused(self, initializer):
    with self.assertRaisesRegex(
        ValueError, r"^initializer is the class Zeros, .*: Zeros\(\.\.\.\)"):
      initializers.Initializers(initializer, FIELDS)

  @parameterized.parameters(3., [[3.]], [np.float64(3.)], [np.array([3.])],
                            [np.array(3)])
  def test_one_number_is_every_number_of_a_vector(self, number):
    values = drawn({"b_gates": number, "b": number})
    assert_same(values, {("lstm_1", "b_gates"): np.full(8, 3., np.float32),
                         ("linear", "b"): [3.]})

  @parameterized.parameters([(2,)], [(9,)], [(1, 8)], [(1, 1)])
  def test_vector_of_another_shape_is_refused(self, shape):
    made = initializers.Initializers({"b_gates": np.ones(shape)}, FIELDS)
    with self.assertRaisesRegex(
        ValueError, "weights given for lstm_1/b_gates have shape"):
      made("lstm_1", "b_gates", [8], tf.float32)

  @parameterized.parameters([(8, 3)], [(24,)], [(3, 7)], [()], [(1,)], [(1, 1)],
                            [(8,)])
  def test_wrong_shape_names_both(self, shape):
    made = initializers.Initializers({"w_gates": np.ones(shape)}, FIELDS)
    with self.assertRaises(ValueError) as caught:
      made("lstm_1", "w_gates", [3, 8], tf.float32)
    self.assertStartsWith(str(caught.exception), (
        f"The weights given for lstm_1/w_gates have shape {shape}, but "
        "this network needs (3, 8)."))


if __name__ == "__main__":
  absltest.main()
