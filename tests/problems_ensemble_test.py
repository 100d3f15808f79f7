"""Tests of sums of problems."""

import tempfile

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from problems import ensemble, quadratic, simple
from tests import fake_data

SEED = (1, 2)


class EnsembleTest(parameterized.TestCase):

  @parameterized.parameters((None, 1. + 9.), ((2., 0.5), 2. + 4.5),
                            ((0, -1), -9.))
  def test_loss_is_weighted_sum(self, weights, expected):
    problem = ensemble.Ensemble([simple.Simple(), simple.Simple()], weights)
    params = {"problem_0/x": tf.constant(1.), "problem_1/x": tf.constant(3.)}
    loss = problem.loss(params, ((), ()), tf.constant(SEED))
    self.assertEqual(float(loss), expected)

  def test_parameters_are_named_after_their_problem(self):
    problem = ensemble.Ensemble(
        [simple.SimpleMultiOptimizer(), quadratic.Quadratic(3, 4)])
    params, constants = problem.sample(tf.constant(SEED))
    self.assertEqual(list(params),
                     ["problem_0/x_0", "problem_0/x_1", "problem_1/x"])
    self.assertLen(constants, 2)

  def test_eleventh_problem_is_not_taken_for_the_second(self):
    problem = ensemble.Ensemble([simple.Simple()] * 11)
    params = {f"problem_{i}/x": tf.constant(float(i)) for i in range(11)}
    loss = problem.loss(params, ((),) * 11, tf.constant(SEED))
    self.assertEqual(float(loss), sum(i**2 for i in range(11)))

  def test_ensembles_nest(self):
    problem = ensemble.Ensemble(
        [ensemble.Ensemble([simple.Simple()] * 2, [1., 2.]), simple.Simple()])
    params, constants = problem.sample(tf.constant(SEED))
    self.assertIn("problem_0/problem_1/x", params)
    loss = problem.loss(params, constants, tf.constant(SEED))
    self.assertEqual(float(loss), 4.)

  def test_equal_problems_draw_different_functions(self):
    problem = ensemble.Ensemble([quadratic.Quadratic(3, 4)] * 2)
    params, ((w_0, _), (w_1, _)) = problem.sample(tf.constant(SEED))
    self.assertTrue(np.all(params["problem_0/x"] != params["problem_1/x"]))
    self.assertTrue(np.all(w_0 != w_1))

  def test_separate_losses_add_up_one_by_one(self):
    parts = [quadratic.Quadratic(3, d, separate=True) for d in (2, 4)]
    problem = ensemble.Ensemble(parts, [1., 10.])
    params, constants = problem.sample(tf.constant(SEED))
    expected = sum(
        weight * np.sum((np.einsum("bij,bj->bi", w, params[name]) - y)**2, 1)
        for weight, name, (w, y) in zip(
            (1., 10.), ("problem_0/x", "problem_1/x"), constants))
    np.testing.assert_allclose(
        problem.loss(params, constants, tf.constant(SEED)), expected,
        rtol=1e-5)

  def test_losses_of_different_shapes_are_refused(self):
    problem = ensemble.Ensemble(
        [simple.Simple(), quadratic.Quadratic(3, 4, separate=True)])
    params, constants = problem.sample(tf.constant(SEED))
    with self.assertRaises((ValueError, tf.errors.InvalidArgumentError)):
      problem.loss(params, constants, tf.constant(SEED))

  def test_dictionaries_of_deepmind_are_problems(self):
    named = ensemble.Ensemble([
        {"name": "simple", "options": {}}, {"name": "simple"},
        {"name": "simple_multi_optimizer", "options": {"num_dims": 3}},
        {"name": "quadratic", "options": {"batch_size": 3, "num_dims": 4}},
        {"name": "ensemble", "options": {
            "problems": [{"name": "simple", "options": {}}], "weights": [5.]}},
        simple.Simple()], [1., 2., 3., 4., 5., 6.])
    made = ensemble.Ensemble([
        simple.Simple(), simple.Simple(), simple.SimpleMultiOptimizer(3),
        quadratic.Quadratic(3, 4), ensemble.Ensemble([simple.Simple()], [5.]),
        simple.Simple()], [1., 2., 3., 4., 5., 6.])
    (params, constants), expected = (
        p.sample(tf.constant(SEED)) for p in (named, made))
    tf.nest.map_structure(
        np.testing.assert_array_equal, (params, constants), expected)
    self.assertEqual(*(
        float(p.loss(params, constants, tf.constant(SEED)))
        for p in (named, made)))

  @parameterized.parameters(
      ("mnist", {"layers": (3,), "activation": "relu", "batch_size": 4,
                 "mode": "test", "data_dir": "FOLDER"}, 3),
      ("cifar10", {"path": "FOLDER", "conv_channels": (3, 2),
                   "linear_layers": (5,), "batch_norm": True, "batch_size": 4,
                   "num_threads": 4, "min_queue_examples": 9, "mode": "test"},
       5))
  def test_data_sets_have_deepminds_options(self, name, options, units):
    with tempfile.TemporaryDirectory() as folder:
      fake_data.write_mnist(folder)
      fake_data.write_cifar10(folder)
      problem = ensemble.Ensemble([{"name": name, "options": {
          key: folder if value == "FOLDER" else value
          for key, value in options.items()}}])
    params, constants = problem.sample(tf.constant(SEED))
    self.assertEqual(list(params.values())[-1].shape, [10])
    self.assertIn([units], [p.shape for p in params.values()])
    self.assertEqual(
        problem.loss(params, constants, tf.constant(SEED)).shape, [])

  @parameterized.parameters(
      ({"name": "rosenbrock", "options": {}},
       r"^name is 'rosenbrock', but must be one of \['cifar10', 'ensemble', "
       r"'mnist', 'quadratic', 'simple', 'simple_multi_optimizer'\]"),
      ({"options": {}}, r"^problems has {'options': {}}, but a dictionary must "
       "have the key 'name', and may have 'options'"),
      ({"name": "simple", "weight": 2.}, "must have the key 'name', and may"),
      ({"name": "simple", "options": {"num_dims": 2}},
       r"^options of 'simple' has the keys \['num_dims'\], but"),
      ({"name": "quadratic", "options": {"dims": 2}},
       r"has the keys \['dims'\], .*among \['batch_size', .*'num_dims', "),
      ({"name": "quadratic", "options": {"num_dims": 0}}, "^num_dims is 0"),
      ({"name": "quadratic", "options": 5},
       "^options of 'quadratic' is 5, but must be a dictionary")
      )
  def test_dictionary_that_cannot_be_is_refused(self, problem, message):
    with self.assertRaisesRegex(ValueError, message):
      ensemble.Ensemble([problem])

  def test_no_problems_are_refused(self):
    with self.assertRaisesRegex(ValueError, "^problems is empty"):
      ensemble.Ensemble([])

  def test_single_problem_is_refused(self):
    with self.assertRaisesRegex(ValueError, "^problems is .*, but must be a l"):
      ensemble.Ensemble(simple.Simple())

  def test_other_objects_are_refused(self):
    with self.assertRaisesRegex(ValueError, r"^problems has \['simple'\]"):
      ensemble.Ensemble([simple.Simple(), "simple"])

  @parameterized.parameters(([],), ([1.],), ([1., 2., 3.],))
  def test_other_number_of_weights_is_refused(self, weights):
    with self.assertRaisesRegex(ValueError, "must be 2 numbers"):
      ensemble.Ensemble([simple.Simple()] * 2, weights)

  def test_single_weight_is_refused(self):
    with self.assertRaisesRegex(ValueError, "^weights is 2.0, but must be a l"):
      ensemble.Ensemble([simple.Simple()], 2.)

  @parameterized.parameters(float("nan"), float("inf"), "1", None)
  def test_weight_that_is_no_number_is_refused(self, weight):
    with self.assertRaisesRegex(
        ValueError, rf"^weights\[1\] is {weight!r}, but must be a finite"):
      ensemble.Ensemble([simple.Simple()] * 2, [1., weight])


if __name__ == "__main__":
  absltest.main()
