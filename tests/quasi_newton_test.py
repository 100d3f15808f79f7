"""Tests of the evaluation of quasi-Newton methods."""

from absl.testing import absltest, parameterized
import numpy as np
from scipy import optimize
import tensorflow as tf

from l2lgd import philox
from meta import quasi_newton, unroll
import networks
import problems
from tests import toys


class QuasiNewtonTest(parameterized.TestCase):

  @parameterized.parameters(*quasi_newton.METHODS)
  def test_a_quadratic_is_solved_and_the_run_stays_there(self, method):
    problem = problems.Quadratic(1, 3, stddev=1., distribution="normal",
                                 separate=True, dtype=tf.float64)
    losses, params = quasi_newton.QuasiNewton(method, problem, 40)([3, 4])
    self.assertEqual(losses.shape, (2, 41))
    for i, seed in enumerate((3, 4)):
      run = unroll.start(networks.Sgd(), problem, seed)
      w, y = (t[0].numpy() for t in run.constants)
      np.testing.assert_allclose(
          losses[i, 0], unroll.loss(problem, run)[0], rtol=1e-6)
      np.testing.assert_allclose(
          params["x"][i, 0], np.linalg.solve(w, y), rtol=1e-4)
      self.assertLess(losses[i, -1], 1e-9)
      self.assertTrue(np.all(np.diff(losses[i]) <= 1e-9))

  @parameterized.parameters(("BFGS", "BFGS"), ("L-BFGS", "L-BFGS-B"))
  def test_steps_are_those_of_scipy(self, method, name):
    problem = problems.Quadratic(1, 4, stddev=1., distribution="normal",
                                 dtype=tf.float64)
    losses = quasi_newton.QuasiNewton(method, problem, 5)([0]).losses[0]
    run = unroll.start(networks.Sgd(), problem, 0)
    w, y, x = (t[0].numpy() for t in (*run.constants, run.params["x"]))
    points = [x]
    optimize.minimize(
        lambda x: (np.sum((w @ x - y)**2), 2 * w.T @ (w @ x - y)), x, jac=True,
        method=name, options={"gtol": 0., "maxiter": 5},
        callback=lambda x: points.append(x.copy()))
    np.testing.assert_allclose(
        losses, [np.sum((w @ x - y)**2) for x in points], rtol=1e-5)

  @parameterized.parameters(*quasi_newton.METHODS)
  def test_minibatches_are_those_of_the_steps(self, method):
    problem = toys.Regression()
    losses, params = quasi_newton.QuasiNewton(method, problem, 6)([5])
    run = unroll.start(networks.Sgd(), problem, 5)

    def loss(run, params, step):
      return unroll.loss(problem, run._replace(params=params, step=step))

    with self.subTest("losses_are_on_the_minibatch_of_the_step"):
      end = {name: tf.constant(p[0]) for name, p in params.items()}
      self.assertEqual(list(end), list(run.params))
      np.testing.assert_allclose(
          [losses[0, 0], losses[0, 6]],
          [loss(run, run.params, 0), loss(run, end, 6)], rtol=1e-5)
    with self.subTest("mean_of_the_minibatches_of_all_steps_becomes_less"):
      before, after = (np.mean([loss(run, p, t) for t in range(6)])
                       for p in (run.params, end))
      self.assertLess(after, 0.5 * before)

  def test_minibatches_with_the_same_loss_at_the_start_are_all_used(self):
    problem = toys.Logistic()
    _, params = quasi_newton.QuasiNewton("BFGS", problem, 40)([0])
    # With the first minibatch alone, a quarter of the labels are wrong.
    scores = problem.inputs @ params["w"][0]
    self.assertGreater(
        np.mean(np.sign(scores) == np.sign(problem.inputs[:, 0])), 0.95)

  def test_minibatches_of_which_the_first_are_the_same_are_all_used(self):

    class Means(problems.Simple):

      def loss(self, params, constants, seed):
        target = philox.integers([], seed, 2)
        return (params["x"] - tf.cast(target, tf.float32))**2

    problem = Means()

    def targets(seed):
      run = unroll.start(networks.Sgd(), problem, seed)
      at_zero = run._replace(params={"x": tf.zeros([])})
      return [float(unroll.loss(problem, at_zero._replace(step=tf.constant(t))))
              for t in range(5)]

    seed = next(s for s in range(20) if len({*targets(s)[:2]}) == 1
                and len({*targets(s)}) == 2)
    _, params = quasi_newton.QuasiNewton("BFGS", problem, 5)([seed])
    self.assertAlmostEqual(params["x"][0], np.mean(targets(seed)), places=5)

  def test_same_seeds_give_the_same_numbers(self):
    evaluate = quasi_newton.QuasiNewton("BFGS", toys.Regression(), 3)
    self.assertFalse(evaluate.is_compiled)
    first = evaluate([1, 2]).losses
    self.assertTrue(evaluate.is_compiled)
    np.testing.assert_array_equal(evaluate([2, 1]).losses, first[::-1])

  def test_bad_argument_is_named(self):
    for name, arguments in (
        ("method", ("Newton", toys.Regression(), 3)),
        ("problem", ("BFGS", 5, 3)),
        ("num_steps", ("BFGS", toys.Regression(), 0))):
      with self.assertRaisesRegex(ValueError, f"^{name} is "):
        quasi_newton.QuasiNewton(*arguments)

  def test_several_functions_in_a_run_are_refused(self):
    with self.assertRaisesRegex(ValueError, "^The problem has 2 functions in"):
      quasi_newton.QuasiNewton(
          "BFGS", problems.Quadratic(2, 3, separate=True), 3)

  def test_parameters_of_two_types_are_refused(self):
    with self.assertRaisesRegex(
        ValueError, r"are of the types \['float32', 'float64'\], but must"):
      quasi_newton.QuasiNewton("BFGS", toys.TwoTypes(), 3)

  def test_too_many_coordinates_are_refused_for_bfgs(self):
    with self.assertRaisesRegex(ValueError, "have 4097 coordinates, .*L-BFGS"):
      quasi_newton.QuasiNewton("BFGS", problems.Quadratic(17, 241), 3)

  def test_no_seeds_are_refused(self):
    evaluate = quasi_newton.QuasiNewton("BFGS", toys.Regression(), 3)
    with self.assertRaisesRegex(ValueError, "^seeds is empty"):
      evaluate([])

  def test_seed_of_several_runs_is_refused(self):
    evaluate = quasi_newton.QuasiNewton("BFGS", problems.Simple(), 3)
    with self.assertRaisesRegex(ValueError, r"^A seed of a run has shape \(2,"):
      evaluate([tf.constant([[1, 2], [3, 4]])])


if __name__ == "__main__":
  absltest.main()
