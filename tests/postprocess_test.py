"""Tests of postprocessing, and of the networks that it makes safe."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import networks
from networks import postprocess
from tests import assertions

RNG = np.random.default_rng(0)
SAFE = {"nonlinearity": "tanh", "nominal_step": 0.1, "min_size": 0.5,
        "weight_decay": 0.01, "log_range": 2.}


def make(layers=(4,), scale=0.2, preprocess_name="NormalizedMomenta",
         postprocess_options=None, **options):
  """A network whose weights are all random, and large."""
  return networks.CoordinateWiseDeepLSTM(
      layers, preprocess_name=preprocess_name, scale=scale,
      initializer=tf.keras.initializers.RandomNormal(stddev=1., seed=1),
      postprocess_options=postprocess_options, **options)


def run(network, params, gradients):
  """The updates of each step, while the parameters stay."""
  params = {name: tf.constant(x, tf.float32) for name, x in params.items()}
  state = network.initial_state(params)
  updates = []
  for step in gradients:
    update, state = network.step(
        {name: tf.constant(g, tf.float32) for name, g in step.items()}, state,
        params)
    updates.append({name: u.numpy() for name, u in update.items()})
  return updates


class PostprocessingTest(parameterized.TestCase):

  def test_default_is_the_scale(self):
    outputs = RNG.normal(size=[2, 5])
    processing = postprocess.Postprocessing(0.3)
    np.testing.assert_allclose(
        processing(tf.constant(outputs), processing.prepare(None, [])),
        0.3 * outputs)
    self.assertEqual(processing.options, {})

  def test_is_the_formula(self):
    outputs, magnitudes, direction = RNG.normal(size=[3, 2, 5])
    direction[0, 1], direction[1, 2] = 0., 5.
    params = [10 * RNG.normal(size=[2, 3]), 0.01 * RNG.normal(size=[2, 2])]
    processing = postprocess.Postprocessing(0.3, **SAFE)
    factors = processing.prepare(
        tf.constant(direction), [tf.constant(p) for p in params])
    size = np.sqrt(np.mean(params[0]**2))
    self.assertGreater(size, 0.5)
    size = np.array([size] * 3 + [0.5] * 2)
    expected = (size * np.exp(2 * np.tanh(magnitudes)) * (
        0.3 * np.tanh(outputs) * (direction != 0)
        - 0.1 * np.clip(direction, -3, 3))
                - 0.01 * np.concatenate(params, axis=1))
    np.testing.assert_allclose(processing(
        tf.constant(np.concatenate([outputs, magnitudes])), factors), expected)
    self.assertEqual(processing.options, SAFE)

  def test_size_has_an_upper_bound(self):
    params = [[[3., 4.]], [[0.1, 0.1]]]
    size, *_ = postprocess.Postprocessing(min_size=0.2, max_size=2.).prepare(
        None, [tf.constant(p) for p in params])
    np.testing.assert_allclose(size, [[2., 2., 0.2, 0.2]])

  def test_parameter_of_zeros_has_a_finite_derivative(self):
    @tf.function(jit_compile=True)  # XLA divides by the root of zero.
    def derivative(params):
      with tf.GradientTape() as tape:
        tape.watch(params)
        size = postprocess.Postprocessing(min_size=0.2).prepare(
            None, [params]).size
      return tape.gradient(size, params)
    np.testing.assert_array_equal(
        derivative(tf.zeros([1, 3])), np.zeros([1, 3]))

  @parameterized.parameters(
      ({"max_size": 1.}, "max_size is 1.0, but must be None, as min_size is"),
      ({"min_size": 2., "max_size": 1.},
       "max_size is 1.0, but must be at least min_size, which is 2.0"),
      ({"nonlinearity": "relu"}, "nonlinearity is 'relu', but must be one of"),
      ({"nominal_step": -1}, "nominal_step is -1, but must be"),
      ({"min_size": 0}, "min_size is 0, but must be a positive number"),
      ({"log_range": -1}, "log_range is -1, but must be a finite number of at"),
      ({"weight_decay": 1}, r"weight_decay is 1, but must be in \[0, 1\)"),
      ({"bound": 1}, "postprocess_options are {'bound': 1}, but must be"))
  def test_bad_options_are_named(self, options, message):
    with self.assertRaisesRegex(ValueError, message):
      make(postprocess_options=options)

  def test_nominal_step_needs_a_momentum(self):
    with self.assertRaisesRegex(
        ValueError, "nominal_step is 0.1, but preprocess_name is 'identi"):
      make(preprocess_name="identity", postprocess_options=SAFE)


class NetworkTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.params = {"x": RNG.normal(size=[3, 4]), "y": 1e-3 * RNG.normal(size=9)}
    self.gradients = [{name: RNG.normal(size=x.shape)
                       for name, x in self.params.items()} for _ in range(4)]

  @parameterized.parameters(1e-6, 1e6)
  def test_updates_do_not_depend_on_the_scale_of_the_loss(self, factor):
    network = make(postprocess_options=SAFE)
    scaled = [{name: factor * g for name, g in step.items()}
              for step in self.gradients]
    assertions.assert_close(run(network, self.params, scaled),
                            run(network, self.params, self.gradients), 1e-3)

  @parameterized.parameters(1., 1e30)
  def test_updates_are_bounded(self, factor):
    network = make(postprocess_options=SAFE | {"weight_decay": 0.})
    gradients = [{name: factor * RNG.standard_cauchy(size=x.shape)
                  for name, x in self.params.items()} for _ in range(20)]
    for step in run(network, self.params, gradients):
      for name, update in step.items():
        size = max(np.sqrt(np.mean(self.params[name]**2)), 0.5)
        self.assertLessEqual(
            np.sqrt(np.mean(update**2)),
            np.exp(2) * (0.2 + 3 * 0.1) * size * (1 + 1e-6))

  @parameterized.parameters("RNNprop", "NormalizedMomenta")
  def test_coordinate_without_gradients_stays(self, preprocess_name):
    network = make(preprocess_name=preprocess_name,
                   postprocess_options={"nominal_step": 0.1})
    for step in self.gradients:
      step["x"][1] = 0.
    for step in run(network, self.params, self.gradients):
      np.testing.assert_array_equal(step["x"][1], 0.)
      self.assertTrue(np.all(step["x"][0] != 0.))

  def test_untrained_network_comes_down_to_the_nominal_step(self):
    network = make(postprocess_options={"nominal_step": 0.1})
    run(network, self.params, self.gradients[:1])
    for variable in network.trainable_variables:
      variable.assign(tf.zeros_like(variable))
    first = run(network, self.params, self.gradients[:1])[0]
    for name, update in first.items():  # m / sqrt(v) is the sign of g.
      np.testing.assert_allclose(
          update, -0.1 * np.sign(self.gradients[0][name]), rtol=1e-5)

  def test_parameters_are_asked_for(self):
    network = make(postprocess_options=SAFE)
    self.assertTrue(network.needs_params)
    gradients = {"x": tf.ones([2])}
    with self.assertRaisesRegex(ValueError, r"call step\(gradients, state, p"):
      network(gradients, network.initial_state(gradients))

  def test_options_make_the_network_again(self):
    network = make(dense=6, postprocess_options=SAFE)
    again = networks.CoordinateWiseDeepLSTM(**network.options)
    self.assertEqual(again.options, network.options)
    for net in (network, again):  # Makes the variables.
      run(net, self.params, [])
    for a, b in zip(again.variables, network.variables, strict=True):
      a.assign(b)
    assertions.assert_equal(run(again, self.params, self.gradients),
                            run(network, self.params, self.gradients))


if __name__ == "__main__":
  absltest.main()
