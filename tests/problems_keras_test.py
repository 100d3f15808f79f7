"""Tests of the problem of training a Keras model."""

from absl.testing import absltest, parameterized
import keras
import numpy as np
import tensorflow as tf

from meta import evaluation
import networks
import problems
from tests import assertions, eager
from tests.toy_keras import (
  INPUTS,
  SAME,
  SEED,
  TARGETS,
  B,
  called,
  layers,
  loss,
  make,
  sample,
)

RNG = np.random.default_rng(0)
OTHERS = RNG.normal(size=[7, 3]), RNG.normal(size=[7, 2])


class Plain(keras.Model):
  """A model that does not take `training`, of two inputs."""

  def __init__(self):
    super().__init__()
    self.dense = keras.layers.Dense(2)

  def call(self, inputs):
    return self.dense(inputs["a"]) + inputs["b"]


class KerasProblemTest(parameterized.TestCase):

  def test_parameters_have_the_paths_and_shapes_of_the_weights(self):
    params = sample(make(layers(keras.layers.BatchNormalization)))
    self.assertEqual(
        {name.split("/", 1)[1]: p.shape.as_list() for name, p in params.items()
         if "batch" not in name},
        {"one/kernel": [3, 4], "one/bias": [4],
         "two/kernel": [4, 2], "two/bias": [2]})
    self.assertLen(params, 6)

  def test_loss_and_gradients_are_those_of_numpy(self):
    problem = make()
    params = sample(problem)
    with tf.GradientTape() as tape:
      tape.watch(params)
      value = loss(problem, params)
    w, b, v, c = (p.numpy().astype(np.float64) for p in params.values())
    hidden = np.tanh(INPUTS[:1] @ w + b)
    error = hidden @ v + c - TARGETS[:1]  # [1, 2]
    np.testing.assert_allclose(value, np.mean(error**2), rtol=1e-5)
    d_hidden = error @ v.T * (1 - hidden**2)
    for actual, expected in zip(
        tape.gradient(value, list(params.values())),
        (INPUTS[:1].T @ d_hidden, d_hidden[0], hidden.T @ error, error[0])):
      np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)

  def test_minibatches_come_from_all_examples(self):
    problem = make(data=OTHERS, batch_size=1)
    params = sample(problem)
    w, b, v, c = params.values()
    errors = np.tanh(OTHERS[0] @ w + b) @ v + c - OTHERS[1]
    function = tf.function(lambda seed: problem.loss(params, (), seed))
    losses = np.array([function(tf.constant([0, i])) for i in range(60)])
    drawn = np.isclose(losses[:, None], np.mean(errors**2, 1), rtol=1e-4)
    np.testing.assert_array_equal(drawn.sum(1), 1)
    self.assertTrue(np.all(drawn.any(0)))

  @parameterized.parameters(
      ("mse",), (keras.losses.MeanSquaredError(),),
      (keras.losses.mean_squared_error,),
      (lambda t, y: tf.reduce_mean((t - y)**2, axis=1),),
      (lambda t, y: tf.reduce_mean((t - y)**2),))
  def test_losses_may_be_given_in_any_form(self, loss_fn):
    problem = make(loss_fn=loss_fn)
    params = sample(problem)
    w, b, v, c = params.values()
    np.testing.assert_allclose(
        loss(problem, params),
        np.mean((np.tanh(INPUTS @ w + b) @ v + c - TARGETS)**2), rtol=1e-5)

  @parameterized.parameters(False, True)
  def test_named_loss_is_that_of_compile(self, weighted):
    """Targets lack the axis of a single unit; a sequence has several losses."""
    weights = [RNG.uniform(size=7).astype(np.float32)] * weighted
    x = RNG.normal(size=[7, 4, 3]).astype(np.float32)
    for name, shape, y in (
        ("binary_crossentropy", [12], RNG.integers(2, size=[7])),
        ("mse", [4, 3], RNG.normal(size=[7, 4, 2]).astype(np.float32)),
        ("MeanSquaredError", [4, 3], RNG.normal(size=[7, 4, 2]).astype("f"))):
      if weighted and y.ndim > 1:
        continue  # Keras takes a weight for each loss then.
      inputs, units = x.reshape([7, *shape]), y.shape[-1] if y.ndim > 1 else 1

      def model_fn(shape=shape, units=units):
        return keras.Sequential([keras.Input(shape), keras.layers.Dense(
            units, "sigmoid", kernel_initializer="ones")])

      problem = problems.KerasProblem(model_fn, name, (inputs, y, *weights), B)
      batch = problem._gather(np.arange(7))
      actual = problem._loss_on(batch, *problem.sample(SEED), SEED)
      model = model_fn()
      model.compile("sgd", name)
      expected = model.evaluate(
          inputs, y, sample_weight=weights[0] if weighted else None, verbose=0)
      np.testing.assert_allclose(actual, expected, rtol=1e-5)

  def test_unknown_name_of_a_loss_is_refused(self):
    with self.assertRaisesRegex(ValueError, "loss_fn is 'nothing', but must"):
      make(loss_fn="nothing")

  def test_data_set_is_its_arrays(self):
    problem = make(data=tf.data.Dataset.from_tensor_slices(OTHERS))
    params = sample(problem)
    arrays = make(data=OTHERS)
    np.testing.assert_array_equal(
        loss(problem, params),
        loss(arrays, dict(zip(sample(arrays), params.values()))))

  def test_inputs_may_be_a_nest(self):
    inputs = {"a": INPUTS, "b": TARGETS}
    problem = make(called(Plain, inputs), data=(inputs, TARGETS))
    params = sample(problem)
    w, b = params.values()
    np.testing.assert_allclose(
        loss(problem, params), np.mean((INPUTS[:1] @ w + b)**2), rtol=1e-4)

  def test_weights_come_from_the_initializers_and_the_seed(self):
    problem = make(lambda: keras.Sequential([
        keras.Input([30]),
        keras.layers.Dense(
            50, kernel_initializer=keras.initializers.RandomNormal(stddev=0.3),
            bias_initializer="ones"),
        keras.layers.Dense(
            40, kernel_initializer=keras.initializers.Orthogonal(seed=1)),
        keras.layers.Dense(2)]), data=(np.ones([1, 30]), np.ones([1, 2])))
    first, same, other = (
        list(sample(problem, s).values()) for s in (SEED, SEED, (1, 3)))
    assertions.assert_equal(first, same)
    for params in (first, other):
      self.assertAlmostEqual(np.std(params[0]), 0.3, delta=0.03)
      np.testing.assert_array_equal(params[1], 1.)
      np.testing.assert_allclose(
          tf.transpose(params[2]) @ params[2], np.eye(40), atol=1e-5)
    for i in (0, 2, 4):
      self.assertLess(abs(np.corrcoef(
          np.ravel(first[i]), np.ravel(other[i]))[0, 1]), 0.35)
    self.assertFalse(np.allclose(first[4][:40], other[4][:40]))

  def test_same_layers_start_from_different_weights(self):
    first, second = [
        p for name, p in sample(make(lambda: keras.Sequential([
            keras.Input([3]), *(
                keras.layers.Dense(
                    3, kernel_initializer=keras.initializers.HeNormal(seed=0))
                for _ in range(2)), keras.layers.Dense(2)]))).items()
        if "kernel" in name][:2]
    self.assertTrue(np.all(first != second))

  def test_loaded_weights_are_where_all_runs_start(self):
    def model_fn():
      model = layers()()
      model.layers[0].kernel.assign(tf.ones([3, 4]))
      return model
    problem = make(model_fn)
    draws = [list(sample(problem, s).values()) for s in (SEED, (1, 3))]
    for draw in draws:
      np.testing.assert_array_equal(draw[0], 1.)
    self.assertTrue(np.all(draws[0][2] != draws[1][2]))

  def test_weights_that_were_fitted_are_where_all_runs_start(self):
    def model_fn():
      model = layers()()
      model.compile("sgd", "mse")
      model.fit(*SAME, verbose=0)
      models.append(model)
      return model
    models = []
    params = sample(make(model_fn))
    assertions.assert_equal(list(params.values()), models[0].get_weights())

  def test_drawing_leaves_pythons_random_numbers_alone(self):
    problem = make()
    keras.utils.set_random_seed(0)
    expected = keras.random.normal([2]), np.random.rand()
    keras.utils.set_random_seed(0)
    loss(problem, sample(problem))
    assertions.assert_equal(
        (keras.random.normal([2]), np.random.rand()), expected)

  def test_dropout_is_drawn_from_the_seed(self):
    problem = make(layers(lambda: keras.layers.Dropout(0.5)))
    params = sample(problem)
    one, same, *others = (float(loss(problem, params, s))
                          for s in (SEED, SEED, (1, 3), (2, 2), (5, 5)))
    self.assertEqual(one, same)
    self.assertLen({one, *others}, 4)

  def test_dropout_drops_the_share_it_says(self):
    problem = make(lambda: keras.Sequential([
        keras.Input([3]), keras.layers.Dense(1, kernel_initializer="ones"),
        keras.layers.Dropout(0.25)]), lambda t, y: y[:, 0], batch_size=2000)
    # The outputs are 1.5 * 4 / 3 or 0, drawn independently.
    self.assertAlmostEqual(
        float(loss(problem, sample(problem))), 1.5, delta=0.1)

  def test_batch_normalization_takes_the_minibatch(self):
    def model_fn():
      return keras.Sequential([
          keras.Input([3]), keras.layers.BatchNormalization(epsilon=1e-6)])
    problem = make(
        model_fn, lambda t, y: tf.reduce_sum(y**2, 1), OTHERS, 50)
    before = [v.numpy() for v in problem._model.variables]
    params = sample(problem)
    # Normalized numbers have the mean square 1.
    np.testing.assert_allclose(loss(problem, params), 3., rtol=1e-3)
    assertions.assert_equal(
        [v.numpy() for v in problem._model.variables], before)
    np.testing.assert_array_equal(
        loss(problem, params), loss(problem, params))

  def test_losses_of_the_model_are_added(self):
    problem = make(lambda: keras.Sequential([
        keras.Input([3]), keras.layers.Dense(2, kernel_regularizer="l1"),
        keras.layers.ActivityRegularization(l2=0.1)]))
    params = sample(problem)
    w, b = params.values()
    outputs = INPUTS[:1] @ w + b
    np.testing.assert_allclose(
        loss(problem, params),
        np.mean((outputs - TARGETS[:1])**2) + 0.01 * np.sum(np.abs(w))
        + 0.1 * np.sum(outputs**2), rtol=1e-5)

  def test_loss_of_lower_precision_has_the_penalty_added(self):
    previous = keras.config.dtype_policy()
    self.addCleanup(keras.config.set_dtype_policy, previous)
    keras.config.set_dtype_policy("mixed_float16")
    problem = make(
        lambda: keras.Sequential([keras.Input([3]), keras.layers.Dense(
            2, kernel_regularizer="l1")]),
        lambda t, y: tf.reduce_mean((tf.cast(t, y.dtype) - y)**2))
    params = sample(problem)
    w, b = params.values()
    np.testing.assert_allclose(
        loss(problem, params),
        np.mean((INPUTS[:1] @ w + b - TARGETS[:1])**2)
        + 0.01 * np.sum(np.abs(w)), rtol=1e-2)

  def test_layers_within_a_model_without_training_train(self):
    class Inner(Plain):
      def call(self, inputs):
        return self.dropout(self.dense(inputs))
    def model_fn():
      model = Inner()
      model.dropout = keras.layers.Dropout(0.5)
      model(INPUTS)
      return model
    problem = make(model_fn)
    params = sample(problem)
    self.assertNotEqual(float(loss(problem, params)),
                        float(loss(problem, params, (1, 3))))

  def test_recurrent_layers_run_one_after_another(self):
    eager.run_eagerly(self)
    problem = problems.KerasProblem(lambda: keras.Sequential([
        keras.Input([3, 2]), keras.layers.Dense(2), keras.layers.SimpleRNN(2)]),
        "mse", (RNG.normal(size=[7, 3, 2]), RNG.normal(size=[7, 2])), B)
    evaluator = evaluation.Evaluator(
        networks.Sgd(), problem, 2, jit_compile=False)
    both, one, two = (evaluator(s).losses for s in ([1, 2], [1], [2]))
    np.testing.assert_array_equal(both, np.concatenate([one, two]))

  def test_xla_computes_the_same_loss(self):
    assertions.assert_xla_computes_the_same_loss(make(data=OTHERS))


class NamesTest(absltest.TestCase):

  def test_weights_of_the_same_name_are_told_apart(self):
    class Layer(keras.layers.Layer):
      def build(self, shape):
        for name in ("w", "w", "w_1"):
          self.add_weight(shape=(1,), initializer="ones", name=name)

      def call(self, x):
        return x * tf.add_n([tf.convert_to_tensor(w) for w in self.weights])

    problem = problems.KerasProblem(
        lambda: keras.Sequential([keras.Input([1]), Layer(name="layer")]),
        "mse", (INPUTS[:, :1], INPUTS[:, :1]), batch_size=2)
    params, _ = problem.sample(tf.constant([1, 2]))
    self.assertEqual(
        [name.split("/", 1)[1] for name in params],
        ["layer/w", "layer/w_2", "layer/w_1"])


if __name__ == "__main__":
  absltest.main()
