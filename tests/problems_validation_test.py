"""Tests of the check that a problem can be computed."""

import dataclasses

from absl.testing import absltest, parameterized
import keras
import numpy as np
import sonnet as snt
import tensorflow as tf

import problems
from tests import small_problems, toys

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=[50, 3])
LABELS = np.arange(50) % 4
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
OUT_OF_RANGE = r"Received a label value of 4 .* valid range of \[0, 4\)\.$"


class Given(problems.Problem):
  """A problem that returns what is given."""

  def __init__(self, params, loss=lambda params: tf.reduce_sum(params["x"]),
               drawn=None):
    self._drawn = (params, ()) if drawn is None else drawn
    self._loss = loss

  def sample(self, seed):
    return self._drawn

  def loss(self, params, constants, seed):
    return self._loss(params)


def changed(array, index, value):
  array = array.copy()
  array[index] = value
  return array


def keras_problem(inputs=INPUTS, targets=LABELS, batch_size=4, **options):
  return problems.KerasProblem(
      lambda: keras.Sequential([keras.Input([3]), keras.layers.Dense(4)]),
      CROSS_ENTROPY, (inputs, targets), batch_size, **options)


def sonnet_problem(inputs=INPUTS, targets=LABELS, batch_size=4):
  return problems.SonnetProblem(
      lambda: snt.Linear(4), tf.nn.sparse_softmax_cross_entropy_with_logits,
      (inputs, targets), batch_size)


class OfNumPy(Given):

  def sample(self, seed):
    np.random.default_rng(int(seed[0]))
    return super().sample(seed)


X = {"x": tf.ones([2])}


class CheckTest(parameterized.TestCase):

  @parameterized.named_parameters(*(
      (name, make) for name, make in small_problems.PROBLEMS.items()))
  def test_every_problem_passes(self, make):
    problems.check(make())

  def test_problem_that_is_finite_for_some_seeds_passes(self):
    problems.check(toys.Moody())

  @parameterized.parameters(
      ([tf.ones([2])], "parameters in a list, but must return a dictionary"),
      ({}, "no parameters, but must return at least one"),
      ({"x": tf.ones([0, 3])}, "which hold no number, but must return at l"),
      ({3: tf.ones([])}, "a parameter of name 3, but names must be strings"),
      ({"x": tf.ones([2], tf.int32)},
       "the parameter 'x' as int32, but parameters must be float tensors"),
      ({"x": tf.ones([2], tf.complex64)}, "as complex64, but"),
      ({"x": [1., 2.]}, "as list, but"),
      ({"x": np.ones([2], np.float32)}, "as NumPy's ndarray, but"))
  def test_parameters_of_another_form_are_refused(self, params, message):
    with self.assertRaisesRegex(ValueError, f"^Given.sample returns.*{message}"
                               ):
      problems.check(Given(params))

  def test_sample_of_another_form_is_refused(self):
    with self.assertRaisesRegex(
        ValueError, "^Given.sample returns dict, but must return a tuple of"):
      problems.check(Given(None, drawn=X))

  @parameterized.parameters(
      (None, "NoneType"), ([{"a": object()}], "object"),
      (tf.sparse.from_dense([1., 0.]), "SparseTensor"))
  def test_constants_that_are_no_tensors_are_refused(self, constants, kind):
    with self.assertRaisesRegex(
        ValueError, f"^Given.sample returns {kind} among the constants, but "
        r"they must be tensors, or \(\) if there are none"):
      problems.check(Given(None, drawn=(X, constants)))

  def test_parameters_of_changing_sizes_are_refused(self):
    sizes = iter([2, 3])
    class Growing(Given):
      def sample(self, seed):
        return {"x": tf.zeros([next(sizes)])}, ()
    with self.assertRaisesRegex(
        ValueError, "^Growing.sample returns other values when it is called"):
      problems.check(Growing(X))

  def test_sample_that_needs_the_value_of_its_seed_is_refused(self):
    with self.assertRaisesRegex(
        ValueError, r"^OfNumPy.sample raises TypeError at .*_test.py:\d+: int"):
      problems.check(OfNumPy(X))

  @parameterized.parameters(
      (lambda p: None, "^Given.loss returns NoneType, but must return a float"),
      (lambda p: tf.constant(1), r"returns int32 \[\], but must return floats"),
      (lambda p: tf.ones([2, 2]) * p["x"], r"returns float32 \[2, 2\], but"),
      (lambda p: tf.ones([3]) * p["x"][0],
       r"shape \[3\], so each parameter must have 3 entries, .*'x' has .*\[2\]"
      ),
      (lambda p: tf.constant(1.), "has no gradient with respect to any"),
      (lambda p: tf.reduce_sum(tf.gather(p["x"], [5])),
       r"^Given.loss cannot be computed at .*problems_validation_test.py:\d+: "
       r"indices\[0\] = 5 is not in \[0, 2\)$"),
      (lambda p: p["y"], r"raises KeyError at .*validation_test.py:\d+: 'y'$"),
      (lambda p: np.sum(p["x"].numpy()),
       "returns NumPy's float32, but must return a float tensor: use"),
      (lambda p: p["x"][0] if p["x"][0] > 0 else p["x"][1],
       r"uses a tensor as a Python value at .*_test.py:\d+, in an if, a while"),
      (lambda p: tf.math.log(p["x"][0] - 1.),
       "^The loss of Given is -inf for each of 16 seeds, but must be finite"),
      (lambda p: p["x"] * np.nan, "loss of Given has nan or inf for"),
      (lambda p: tf.sqrt(p["x"][0] - 1.),
       "^The gradient of Given with respect to 'x' has nan or inf for each"))
  def test_loss_that_cannot_be_is_refused(self, loss, message):
    with self.assertRaisesRegex(ValueError, message):
      problems.check(Given(X, loss))

  @parameterized.parameters(
      (len, "uses a tensor as a Python value|raises TypeError"),
      (lambda constant: int(constant[0]), "raises TypeError"),
      (lambda constant: constant.numpy().sum(), "raises AttributeError"))
  def test_loss_that_needs_the_value_of_a_constant_is_refused(
      self, size, message):
    class OfConstants(Given):

      def loss(self, params, constants, seed):
        return size(constants) * tf.reduce_sum(params["x"])

    with self.assertRaisesRegex(
        ValueError, rf"^OfConstants.loss ({message}) at .*_test.py:\d+"):
      problems.check(OfConstants(None, drawn=(X, tf.constant([2, 1]))))

  def test_losses_of_several_functions_pass(self):
    problems.check(Given(X, lambda p: p["x"]**2))

  def test_a_parameter_without_a_gradient_passes(self):
    problems.check(Given({**X, "unused": tf.ones([])}))


class ModelTest(parameterized.TestCase):

  @parameterized.parameters(keras_problem, sonnet_problem)
  def test_labels_out_of_range_are_refused(self, make):
    name = {keras_problem: "Keras", sonnet_problem: "Sonnet"}[make]
    with self.assertRaisesRegex(
        ValueError, f"^{name}Problem.loss cannot be computed: {OUT_OF_RANGE}"):
      make(targets=np.full(50, 4))

  @parameterized.parameters(keras_problem, sonnet_problem)
  def test_one_label_out_of_range_is_refused(self, make):
    # A minibatch of four seldom has it.
    with self.assertRaisesRegex(
        ValueError,
        f"^The loss of example 40 cannot be computed: {OUT_OF_RANGE}"):
      make(targets=changed(LABELS, 40, 4))

  @parameterized.product(
      make=(keras_problem, sonnet_problem), value=(np.nan, np.inf))
  def test_one_number_that_is_not_finite_is_refused(self, make, value):
    with self.assertRaisesRegex(
        ValueError, "^The loss is (nan|inf) on a minibatch with example 40, "):
      make(inputs=changed(INPUTS, (40, 1), value))

  def test_one_example_is_enough(self):
    keras_problem(INPUTS[:1], LABELS[:1])

  def test_nan_that_the_model_replaces_is_allowed(self):
    problems.SonnetProblem(
        lambda: snt.Sequential([
            lambda x: tf.where(tf.math.is_nan(x), 0., x), snt.Linear(4)]),
        tf.nn.sparse_softmax_cross_entropy_with_logits,
        (changed(INPUTS, (40, 1), np.nan), LABELS), 4)

  def test_integers_of_inputs_are_checked(self):
    tokens = changed(LABELS, 40, 9)
    with self.assertRaisesRegex(
        ValueError, r"^The loss of example 40 .*: indices\[0\] = 9 is not in "
        r"\[0, 4\)$"):
      problems.KerasProblem(lambda: keras.Sequential([
          keras.Input([], dtype="int32"), keras.layers.Embedding(4, 4)]),
          CROSS_ENTROPY, (tokens, LABELS), 4)


class CheckedTest(parameterized.TestCase):

  def test_problem_that_is_a_dataclass_passes(self):
    @dataclasses.dataclass
    class Own(problems.Simple):
      size: int = 3

    problems.check(Own())


class SeedsTest(parameterized.TestCase):

  @parameterized.parameters(
      lambda: np.random.normal(size=[3]).astype(np.float32),
      lambda: tf.random.normal([3]))
  def test_random_numbers_that_are_not_of_the_seed_are_refused(self, draw):
    class Point(problems.Simple):
      def sample(self, seed):
        return {"x": tf.convert_to_tensor(draw())}, ()

    class Noise(problems.Simple):
      def loss(self, params, constants, seed):
        return tf.reduce_sum(params["x"] * draw())

    for problem, name in ((Point(), "Point.sample"), (Noise(), "Noise.loss")):
      with self.assertRaisesRegex(
          ValueError, f"^{name} returns other values when it is called again "
          "with the same seed, but all random numbers must be drawn from"):
        problems.check(problem)

  @parameterized.named_parameters(
      ("point", toys.Regression, False),
      ("minibatch", toys.Logistic, False),
      ("function", lambda: problems.Quadratic(1, 2, stddev=0.), False),
      ("nothing", problems.Simple, True),
      ("given", lambda: Given({"x": tf.ones([2])}), True),
      ("rows", lambda: Given(
          X, lambda p: tf.reduce_sum(tf.gather(p["x"], [0, 1, 1]))), True))
  def test_problem_that_draws_its(self, make_problem, expected):
    self.assertEqual(problems.ignores_seed(make_problem()), expected)

  def test_problem_that_draws_its_noise_uses_its_seed(self):
    class Noise(problems.Simple):
      def loss(self, params, constants, seed):
        return params["x"] + tf.random.stateless_normal([], seed, alg="philox")

    self.assertFalse(problems.ignores_seed(Noise()))


if __name__ == "__main__":
  absltest.main()
