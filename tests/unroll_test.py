"""Tests of the unroll."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import compilation, meta_step, unroll
import networks
import problems
from tests import assertions, toys


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

  @parameterized.parameters((1e-4, 0.8), (1e-6, 1.))
  def test_no_derivative_flows_through_rounding_errors(self, ratio, expected):
    # An update of x2, whose gradient is 2 ratio x2, multiplies it by 0.8.
    problem = toys.Given(np.float32([np.diag([1., ratio**0.5])]), [[0., 0.]],
                         [[1., 1.]])
    network = networks.Sgd(0.1 / ratio)
    run = unroll.start(network, problem, 0)
    with tf.GradientTape() as tape:
      tape.watch(run.params)
      end = unroll.step(network, problem, run, second_derivatives=True)[1]
      last = end.params["x"][0, 1]
    self.assertAlmostEqual(float(last), 0.8, places=5)
    self.assertAlmostEqual(
        float(tape.gradient(last, run.params["x"])[0, 1]), expected, places=5)

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

  def test_tensors_that_a_problem_has_made_are_those_of_each_run(self):
    problem = toys.made_of_tensors()
    run = unroll.start(
        networks.Sgd(), problem, tf.constant([[1, 2], [3, 4]]))
    np.testing.assert_array_equal(run.params["x"], np.ones([2, 1, 2]))
    np.testing.assert_array_equal(unroll.loss(problem, run), [8., 8.])
    self.assertTrue(compilation.can_vectorize(
        problem, unroll.start(networks.Sgd(), problem, 1)))

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
    network = toys.coordinatewise(layers=())
    _, gradients = unroll.loss_and_gradients(
        Rows(), unroll.start(network, Rows(), 0))
    np.testing.assert_array_equal(
        gradients["x"], [[2., 4.], [0., 0.], [20., 24.]])
    run = unroll.start(network, Rows(), 0)
    np.testing.assert_array_equal(
        unroll.hessian_product(Rows(), run, {"x": tf.ones([3, 2])})["x"],
        [[2., 2.], [0., 0.], [4., 4.]])
    for second_derivatives in (False, True):
      self.assertTrue(
          compilation.choose(network, Rows(), run, second_derivatives).unroll)
      step = meta_step.MetaStep(network, Rows(), 2, 0.01, second_derivatives)
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


if __name__ == "__main__":
  absltest.main()
