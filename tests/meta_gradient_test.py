"""Tests of the meta-gradient against central differences."""

import functools

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import meta_gradient, objectives, second_order, unroll
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


def mean_of_sums(losses):
  """The mean over functions of the sum over steps."""
  return sum(tf.reduce_mean(of_step) for of_step in tf.unstack(losses))


def sum_of_logs(losses):
  """The sum over steps of the logarithm of the mean over functions."""
  logs = [tf.math.log(tf.reduce_mean(of_step) + 1e-8)
          for of_step in tf.unstack(losses)]
  return sum(log - logs[0] for log in logs)


class MetaLossTest(parameterized.TestCase):

  @parameterized.parameters([[3]], [[3, 2]], [[3, 2, 4]])
  def test_is_the_sum_over_steps_and_the_mean_over_the_rest(self, shape):
    losses = np.random.default_rng(0).normal(size=shape)
    total = 0.
    for index in np.ndindex(*shape):
      total += losses[index] / np.prod(shape[1:])
    np.testing.assert_allclose(
        objectives.meta_loss(tf.constant(losses)), total, rtol=1e-12)

  @parameterized.parameters(
      ([3], False), ([3, 2], False), ([3, 2], True), ([3, 2, 4], True))
  def test_log_is_relative_to_the_first_loss(self, shape, batched):
    losses = np.random.default_rng(0).uniform(0.1, 9., size=shape)
    # An axis for each of runs and functions.
    runs = losses.reshape([3, 2, -1] if batched else [3, 1, -1])
    total = 0.
    for k in range(runs.shape[1]):
      for t in range(3):
        total += np.log((runs[t, k].mean() + 1e-8)
                        / (runs[0, k].mean() + 1e-8)) / runs.shape[1]
    np.testing.assert_allclose(objectives.meta_loss(
        tf.constant(losses), "log", batched), total, rtol=1e-12)

  def test_log_of_the_lowest_loss_is_finite(self):
    np.testing.assert_allclose(
        objectives.meta_loss(tf.constant([1., 0.], tf.float64), "log"),
        np.log(1e-8), rtol=1e-6)


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
      value = mean_of_sums(self.losses(second_derivatives))
    return tape.gradient(value, self.variables)

  def assert_gradients(self, actual, expected):
    for variable, a, e in zip(self.variables, actual, expected, strict=True):
      np.testing.assert_allclose(
          a, e, rtol=1e-5, atol=1e-7 * max(np.abs(e).max(), 1),
          err_msg=variable.name)

  @parameterized.parameters(
      *((problem, "LogAndSign") for problem in PROBLEMS),
      ("quadratic", "identity"))
  def test_second_order_is_the_derivative_of_the_mean_of_sums(
      self, problem, preprocessing):
    self.start(problem, preprocessing)
    function = tf.function(
        lambda: mean_of_sums(self.losses(False)), autograph=False)
    self.assert_gradients(
        self.gradient(second_derivatives=True),
        central_differences(function, self.variables))

  def value_with_fixed_gradients(self, objective):
    """A function of the variables: the meta-loss, from the same inputs."""
    inputs, run = [], self.run_
    for _ in range(T):
      with tf.GradientTape() as tape:
        tape.watch(run.params)
        loss = unroll.loss(self.problem, run)
      inputs.append(tape.gradient(loss, run.params))
      _, run = unroll.step(self.network, self.problem, run)

    @functools.partial(tf.function, autograph=False)
    def function():
      run = self.run_
      losses = [unroll.loss(self.problem, run)]
      for gradients in inputs:
        updates, state = self.network(gradients, run.state)
        run = run._replace(
            params={k: run.params[k] + updates[k] for k in run.params},
            state=state, step=run.step + 1)
        losses.append(unroll.loss(self.problem, run))
      return objective(tf.stack(losses))

    return function

  @parameterized.parameters(
      ("quadratic", "LogAndSign"), ("separate", "LogAndSign"),
      ("regression", "LogAndSign"), ("quadratic", "identity"))
  def test_first_order_holds_the_inner_gradients_fixed(
      self, problem, preprocessing):
    self.start(problem, preprocessing)
    expected = central_differences(
        self.value_with_fixed_gradients(mean_of_sums), self.variables)
    self.assert_gradients(self.gradient(second_derivatives=False), expected)
    self.assert_gradients(
        meta_gradient.meta_gradient(
            self.network, self.problem, self.run_, T)[2], expected)

  @parameterized.parameters("separate", "regression")
  def test_first_order_of_logs_holds_the_inner_gradients_fixed(self, problem):
    self.start(problem, "LogAndSign")
    self.assert_gradients(
        meta_gradient.meta_gradient(
            self.network, self.problem, self.run_, T, objective="log")[2],
        central_differences(
            self.value_with_fixed_gradients(sum_of_logs), self.variables))

  @parameterized.parameters("separate", "regression")
  def test_second_order_of_logs_is_the_derivative_of_their_sum(self, problem):
    self.start(problem, "LogAndSign")
    function = tf.function(
        lambda: sum_of_logs(self.losses(False)), autograph=False)
    self.assert_gradients(
        second_order.meta_gradient(
            self.network, self.problem, self.run_, T, "log")[2],
        central_differences(function, self.variables))

  @parameterized.parameters(
      (meta_gradient.meta_gradient, "separate"),
      (second_order.meta_gradient, "quadratic"))
  def test_gradient_of_logs_side_by_side_is_the_mean(self, function, problem):
    self.start(problem, "LogAndSign")
    self.assert_side_by_side_is_the_mean(
        lambda run: function(
            self.network, self.problem, run, 2, objective="log")[2])

  def assert_side_by_side_is_the_mean(self, function):
    def of_seed(seed):
      return function(unroll.start(self.network, self.problem, seed))

    seeds = tf.constant([[1, 2], [3, 4]])
    alone = [of_seed(seed) for seed in seeds]
    self.assert_gradients(
        tf.function(of_seed, autograph=False)(seeds),
        [(a + b) / 2 for a, b in zip(*alone, strict=True)])

  def test_gradient_of_logs_of_negative_losses_is_not_a_number(self):
    self.start("quadratic", "identity")
    problem = problems.Ensemble([self.problem], weights=[-1.])
    run = unroll.start(self.network, problem, 3)
    gradients = meta_gradient.meta_gradient(
        self.network, problem, run, T, objective="log")[2]
    self.assertFalse(np.isfinite(tf.linalg.global_norm(gradients)))

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
        value = mean_of_sums(
            unroll.unroll(self.network, self.problem, run, T)[0])
      gradients.append(tape.gradient(value, self.variables))
    constant = tf.nest.map_structure(tf.constant, run)
    with tf.GradientTape() as tape:
      value = mean_of_sums(
          unroll.unroll(self.network, self.problem, constant, T)[0])
    assertions.assert_close(gradients[1], tape.gradient(value, self.variables))
    self.assertFalse(np.allclose(gradients[0][0], gradients[1][0]))

  @parameterized.parameters("quadratic", "separate", "regression")
  def test_second_order_function_is_the_tape_through_the_unroll(self, problem):
    self.start(problem, "LogAndSign")
    losses, run, gradients = second_order.meta_gradient(
        self.network, self.problem, self.run_, T)
    self.assert_gradients(gradients, self.gradient(second_derivatives=True))
    expected = unroll.unroll(self.network, self.problem, self.run_, T)
    assertions.assert_close((losses, run), expected)

  def test_second_order_gradient_side_by_side_is_the_mean(self):
    self.start("quadratic", "LogAndSign")
    self.assert_side_by_side_is_the_mean(
        lambda run: second_order.meta_gradient(
            self.network, self.problem, run, 2)[2])


if __name__ == "__main__":
  absltest.main()
