"""Tests of the unroll and of the derivatives through it."""

from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import meta_optimizer, unroll
import networks
import problems
from tests import assertions, toys

T = 4
PROBLEMS = {
    "quadratic": lambda: problems.Quadratic(
        2, 3, stddev=1., dtype=tf.float64),
    "separate": lambda: problems.Quadratic(
        2, 3, stddev=1., dtype=tf.float64, separate=True),
    "regression": lambda: toys.Regression(tf.float64),
    "ensemble": lambda: problems.Ensemble(
        [problems.Quadratic(1, 2, dtype=tf.float64),
         toys.Regression(tf.float64)], weights=[0.5, 2.]),
}
PREPROCESSING = {
    "identity": {},
    "LogAndSign": {"preprocess_name": "LogAndSign",
                   "preprocess_options": {"k": 1}},
}


def meta_loss(losses):
  """Their sum over steps, and mean over functions."""
  return tf.reduce_sum(losses) / losses[0].shape.num_elements()


def central_differences(function, variables, epsilon=1e-5):
  """The derivatives of a function of variables, numerically."""
  results = []
  for variable in variables:
    value = variable.numpy()
    result = np.zeros_like(value)
    for index in np.ndindex(value.shape):
      ends = []
      for sign in (1, -1):
        moved = value.copy()
        moved[index] += sign * epsilon
        variable.assign(moved)
        ends.append(float(function()))
      result[index] = (ends[0] - ends[1]) / (2 * epsilon)
    variable.assign(value)
    results.append(result)
  return results


class MetaGradientTest(parameterized.TestCase):

  def start(self, problem, preprocessing):
    self.problem = PROBLEMS[problem]()
    # Biases of 0 would hide an error in them.
    self.network = networks.CoordinateWiseDeepLSTM(
        (2, 3), scale=0.3, **PREPROCESSING[preprocessing],
        initializer=tf.keras.initializers.RandomNormal(stddev=0.5, seed=1))
    self.run_ = unroll.start(self.network, self.problem, 3)
    self.variables = self.network.trainable_variables

  def losses(self, second_derivatives):
    return unroll.unroll(self.network, self.problem, self.run_, T,
                         second_derivatives)[0]

  def gradient(self, second_derivatives):
    with tf.GradientTape() as tape:
      value = meta_loss(self.losses(second_derivatives))
    return tape.gradient(value, self.variables)

  def assert_gradients(self, actual, expected):
    for variable, a, e in zip(self.variables, actual, expected, strict=True):
      np.testing.assert_allclose(
          a, e, rtol=1e-5, atol=1e-7 * max(np.abs(e).max(), 1),
          err_msg=variable.name)

  @parameterized.product(
      problem=tuple(PROBLEMS), preprocessing=tuple(PREPROCESSING))
  def test_second_order_is_the_derivative_of_the_meta_loss(
      self, problem, preprocessing):
    self.start(problem, preprocessing)
    function = tf.function(lambda: meta_loss(self.losses(False)))
    self.assert_gradients(
        self.gradient(second_derivatives=True),
        central_differences(function, self.variables))

  @parameterized.product(
      problem=("quadratic", "separate", "regression"),
      preprocessing=tuple(PREPROCESSING))
  def test_first_order_holds_the_inner_gradients_fixed(
      self, problem, preprocessing):
    self.start(problem, preprocessing)
    inputs, run = [], self.run_
    for _ in range(T):
      with tf.GradientTape() as tape:
        tape.watch(run.params)
        loss = unroll.loss(self.problem, run)
      inputs.append(tape.gradient(loss, run.params))
      _, run = unroll.step(self.network, self.problem, run)

    @tf.function
    def function():
      run = self.run_
      total = meta_loss(unroll.loss(self.problem, run)[tf.newaxis])
      for gradients in inputs:
        updates, state = self.network(gradients, run.state)
        run = run._replace(
            params={k: run.params[k] + updates[k] for k in run.params},
            state=state, step=run.step + 1)
        total += meta_loss(unroll.loss(self.problem, run)[tf.newaxis])
      return total

    expected = central_differences(function, self.variables)
    self.assert_gradients(self.gradient(second_derivatives=False), expected)
    self.assert_gradients(
        unroll.meta_gradient(
            self.network, self.problem, self.run_, T)[2], expected)

  @parameterized.product(
      problem=tuple(PROBLEMS), second_derivatives=(False, True))
  def test_every_meta_parameter_has_a_gradient(
      self, problem, second_derivatives):
    self.start(problem, "LogAndSign")
    for variable, gradient in zip(
        self.variables, self.gradient(second_derivatives), strict=True):
      self.assertTrue(np.all(gradient.numpy() != 0.), variable.name)

  @parameterized.parameters(False, True)
  def test_losses_do_not_depend_on_second_derivatives(self, second_derivatives):
    self.start("regression", "identity")
    np.testing.assert_allclose(
        self.losses(second_derivatives), self.losses(not second_derivatives),
        rtol=1e-12)

  def test_start_has_a_gradient_through_the_losses(self):
    self.start("separate", "identity")
    network = networks.Sgd(0.1)
    x = self.run_.params["x"]
    start = self.run_._replace(
        params={"x": x}, state=network.initial_state({"x": x}))
    with tf.GradientTape() as tape:
      tape.watch(x)
      losses, _ = unroll.unroll(network, self.problem, start, T)
      value = tf.reduce_sum(losses * [[1., 10.]])  # Weights of the functions.
    # With the inner gradients fixed, every loss is f(x + a constant).
    expected, run = 0., start
    for t in range(T + 1):
      w, y = run.constants
      residual = np.einsum("bij,bj->bi", w, run.params["x"]) - y
      expected += 2 * np.einsum("bij,bi->bj", w, residual) * [[1.], [10.]]
      if t < T:
        _, run = unroll.step(network, self.problem, run)
    np.testing.assert_allclose(tape.gradient(value, x), expected, rtol=1e-10)

  def test_gradient_stops_between_unrolls(self):
    self.start("quadratic", "identity")
    gradients = []
    for cut in (False, True):
      with tf.GradientTape() as tape:
        _, run = unroll.unroll(self.network, self.problem, self.run_, T)
        if cut:
          run = tf.nest.map_structure(tf.stop_gradient, run)
        value = meta_loss(
            unroll.unroll(self.network, self.problem, run, T)[0])
      gradients.append(tape.gradient(value, self.variables))
    constant = tf.nest.map_structure(tf.constant, run)
    with tf.GradientTape() as tape:
      value = meta_loss(
          unroll.unroll(self.network, self.problem, constant, T)[0])
    assertions.assert_close(gradients[1], tape.gradient(value, self.variables))
    self.assertFalse(np.allclose(gradients[0][0], gradients[1][0]))


class Convolution(problems.Problem):
  """A convolution, within a function."""

  def sample(self, seed):
    return {"w": tf.random.stateless_normal([2, 2, 1, 1], seed)}, ()

  def loss(self, params, constants, seed):
    convolve = tf.function(lambda w: tf.nn.conv2d(
        tf.ones([1, 3, 3, 1]), w, 1, "SAME"), autograph=False)
    return tf.reduce_sum(convolve(params["w"])**2)


class UnrollTest(parameterized.TestCase):

  @parameterized.parameters(1, 2, 7)
  def test_sgd_is_gradient_descent(self, num_steps):
    problem = problems.Quadratic(3, 4)
    network = networks.Sgd(0.01)
    run = unroll.start(network, problem, 0)
    losses, end = unroll.unroll(network, problem, run, num_steps)
    w, y = (c.numpy() for c in run.constants)
    x, expected = run.params["x"].numpy(), []
    for t in range(num_steps + 1):
      residual = np.einsum("bij,bj->bi", w, x) - y
      expected.append(np.mean(np.sum(residual**2, axis=1)))
      if t < num_steps:
        x = x - 0.01 * 2 / 3 * np.einsum("bij,bi->bj", w, residual)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(end.params["x"], x, rtol=1e-5, atol=1e-7)
    self.assertEqual(end.step, num_steps)

  @parameterized.parameters((False, [6]), (True, [6, 3]))
  def test_losses_have_one_row_more_than_steps(self, separate, shape):
    problem = problems.Quadratic(3, 4, separate=separate)
    network = toys.coordinatewise()
    run = unroll.start(network, problem, 0)
    self.assertEqual(run.step, 0)
    losses, end = unroll.unroll(network, problem, run, 5)
    self.assertEqual(losses.shape, shape)
    self.assertEqual(end.step, 5)

  def test_separate_losses_are_those_of_each_function_alone(self):
    problem = problems.Quadratic(3, 4, separate=True)
    network = toys.coordinatewise()
    run = unroll.start(network, problem, 0)
    losses, _ = unroll.unroll(network, problem, run, 5)
    for i in range(3):
      w, y = (c[i:i + 1] for c in run.constants)
      alone = toys.Given(w, y, run.params["x"][i:i + 1])
      expected, _ = unroll.unroll(
          network, alone, unroll.start(network, alone, 0), 5)
      np.testing.assert_allclose(losses[:, i], expected, rtol=1e-5)

  def test_losses_are_those_of_the_minibatch_of_the_step(self):
    problem, network = toys.Regression(), networks.Sgd(0.1)
    run = unroll.start(network, problem, 0)
    losses, _ = unroll.unroll(network, problem, run, 3)
    for t in range(4):
      seed = tf.random.fold_in(run.seed, t, alg="philox")
      np.testing.assert_allclose(
          losses[t], problem.loss(run.params, run.constants, seed), rtol=1e-6)
      _, run = unroll.step(network, problem, run)

  def test_minibatches_of_steps_are_different(self):
    problem = toys.Regression()
    run = unroll.start(networks.Sgd(), problem, 0)
    losses = {float(unroll.loss(problem, run._replace(step=tf.constant(t))))
              for t in range(10)}
    self.assertLen(losses, 10)

  @parameterized.parameters(0, 1, -1, 2**31, 2**32, 2**32 + 1, -2**63)
  def test_seed_is_the_function_and_the_noise(self, seed):
    problem, network = toys.Regression(), networks.Sgd()
    run = unroll.start(network, problem, seed)
    assertions.assert_equal(unroll.start(network, problem, seed), run)
    self.assertNotEqual(
        float(unroll.start(network, problem, 1234).params["c"]),
        float(run.params["c"]))

  def test_seeds_draw_different_functions_and_noise(self):
    problem, network = toys.Regression(), networks.Sgd()
    runs = [unroll.start(network, problem, seed)
            for seed in (0, 1, -1, 2**31, 2**32, 2**32 + 1, -2**63)]
    self.assertLen({float(run.params["c"]) for run in runs}, len(runs))
    self.assertLen({tuple(run.seed.numpy()) for run in runs}, len(runs))

  def test_functions_do_not_depend_on_the_network(self):
    problem = toys.Regression()
    one = unroll.start(networks.Sgd(), problem, 5)
    two = unroll.start(toys.coordinatewise(), problem, 5)
    assertions.assert_equal(one._replace(state=()), two._replace(state=()))

  def test_gradients_of_looked_up_rows_are_those_of_all(self):
    class Rows(problems.Problem):
      def sample(self, seed):
        return {"x": tf.constant([[1., 2.], [3., 4.], [5., 6.]])}, ()
      def loss(self, params, constants, seed):
        return tf.reduce_sum(tf.gather(params["x"], [0, 2, 2])**2)
    network = toys.coordinatewise()
    _, gradients = unroll.loss_and_gradients(
        Rows(), unroll.start(network, Rows(), 0))
    np.testing.assert_array_equal(
        gradients["x"], [[2., 4.], [0., 0.], [20., 24.]])
    step = meta_optimizer.MetaStep(network, Rows(), 2, 0.01)
    losses, _ = step.step(step.reset(0))
    self.assertTrue(np.isfinite(losses).all())

  def test_parameters_without_a_gradient_stay_put(self):
    class Partial(problems.Simple):
      def sample(self, seed):
        return {"x": tf.ones([]), "unused": tf.ones([2])}, ()

    network = networks.Sgd(0.1)
    run = unroll.start(network, Partial(), 0)
    for second_derivatives in (False, True):
      _, end = unroll.unroll(network, Partial(), run, 2, second_derivatives)
      np.testing.assert_array_equal(end.params["unused"], [1., 1.])
      np.testing.assert_allclose(end.params["x"], 0.8**2, rtol=1e-6)

  def test_convolutions_are_seen_within_functions(self):
    network, problem = networks.Sgd(), Convolution()
    run = unroll.start(network, problem, 0)
    with mock.patch.object(tf.config, "list_physical_devices", lambda _: []):
      whole, _ = unroll.what_to_compile(network, problem, run)
    self.assertFalse(whole)


if __name__ == "__main__":
  absltest.main()
