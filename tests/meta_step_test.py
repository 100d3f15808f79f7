"""Tests of the unroller and of the step of meta-training."""

from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from meta import evaluation, meta_gradient, objectives, second_order, unroll
import problems
from tests import assertions, eager, toys

SMALL = {"net": "CoordinateWiseDeepLSTM",
         "net_options": {"layers": (4,), "scale": 0.1}}
LINEAR = {**SMALL, "net_options": {"layers": (), "scale": 0.1}}
SGD = {"net": "Sgd", "net_options": {"learning_rate": 0.1}}


def poisoned(run):
  """A run whose losses are not numbers."""
  return run._replace(
      params={name: value * np.nan for name, value in run.params.items()})


class Through(problems.Problem):
  """The sum of an image that has gone through a function, squared."""

  def __init__(self, function):
    self.function = function

  def sample(self, seed):
    return {"x": tf.ones([1, 2, 2, 1])}, ()

  def loss(self, params, constants, seed):
    return tf.reduce_sum(self.function(params["x"])**2)


class UnrollerTest(parameterized.TestCase):

  @parameterized.parameters(
      (tf.nn.softsign, "SoftsignGrad"),
      (lambda x: tf.image.resize(x, [4, 4]), "ResizeBilinearGrad"))
  def test_second_derivatives_must_exist(self, function, operation):
    optimizer = meta.MetaOptimizer(net=SMALL)
    optimizer.meta_loss(Through(function), 2)
    with self.assertRaisesRegex(
        ValueError, "^second_derivatives is True, but must be False for this "
        f"problem, .*{operation}"):
      optimizer.meta_minimize(Through(function), 2, second_derivatives=True)

  def test_network_and_problem_must_be_such(self):
    optimizer = meta.LearnedOptimizer.load("paper-quadratic")
    with self.assertRaisesRegex(
        ValueError, "network is a LearnedOptimizer, but must be a Network"):
      evaluation.Evaluator(optimizer, toys.Regression(), 3)
    with self.assertRaisesRegex(
        ValueError, "problem is <class .*, but must be a Problem"):
      meta.MetaOptimizer(net=SMALL).meta_loss(problems.Quadratic, 3)

  def test_is_the_unroll(self):
    problem = toys.Regression()
    optimizer = meta.MetaOptimizer(net=SMALL)
    loss = optimizer.meta_loss(problem, 3)
    run = loss.reset(5)
    losses, end = loss.unroll(run)
    expected, expected_end = unroll.unroll(
        loss.network, problem, unroll.start(loss.network, problem, 5), 3)
    assertions.assert_close(losses, expected)
    assertions.assert_close(end, expected_end)

  def test_same_seed_gives_the_same_run(self):
    loss = meta.MetaOptimizer(net=SMALL).meta_loss(
        toys.Regression(), 3, jit_compile=False)
    for seed in (0, -1, 2**32, 2**62):
      with self.subTest(seed=seed):
        assertions.assert_equal(loss.reset(seed), loss.reset(seed))
        assertions.assert_equal(
            loss.unroll(loss.reset(seed)), loss.unroll(loss.reset(seed)))

  def test_seed_may_be_a_tensor(self):
    loss = meta.MetaOptimizer(net=SMALL).meta_loss(toys.Regression(), 3)
    assertions.assert_equal(
        loss.reset(tf.constant([7, 0])), loss.reset(7))  # The halves of 7.

  def test_three_steps_and_four_are_seven(self):
    eager.run_eagerly(self)
    loss = meta.MetaOptimizer(net=SMALL).meta_loss(
        toys.Regression(), 3, jit_compile=False)
    first, run = loss.unroll(loss.reset(0))
    second, run = loss.unroll(run, num_steps=4)
    losses, expected = loss.unroll(loss.reset(0), num_steps=7)
    self.assertEqual([len(losses), len(first), len(second)], [8, 4, 5])
    np.testing.assert_allclose(
        np.concatenate([first, second[1:]]), losses, rtol=1e-5)
    np.testing.assert_allclose(first[-1], second[0], rtol=1e-6)
    assertions.assert_close(run, expected)

  def test_functions_are_compiled_once_for_all_runs(self):
    traces = []

    class Traced(problems.Simple):
      def loss(self, params, constants, seed):
        traces.append(1)
        return super().loss(params, constants, seed)

    step = meta.MetaOptimizer(net=SMALL).meta_minimize(
        Traced(), 3, jit_compile=False)
    _, run = step.step(step.reset(0))
    before = len(traces)
    step.step(run)
    step.step(step.reset(1))
    self.assertLen(traces, before)

  @parameterized.parameters(0, -1, 2.5, "3", None)
  def test_bad_len_unroll_is_named(self, len_unroll):
    optimizer = meta.MetaOptimizer(net=SMALL)
    for method in (optimizer.meta_loss, optimizer.meta_minimize):
      with self.assertRaisesRegex(
          ValueError, f"^len_unroll is {len_unroll!r}, but must be a positive "
          "integer"):
        method(problems.Simple(), len_unroll)


  @parameterized.parameters(0, -1, 2.5)
  def test_bad_num_steps_is_named(self, num_steps):
    step = meta.MetaOptimizer(net=SMALL).meta_minimize(problems.Simple(), 2)
    for method in (step.unroll, step.train):
      with self.assertRaisesRegex(
          ValueError, f"^num_steps is {num_steps}, but must be a positive"):
        method(step.reset(0), num_steps)


class MetaStepTest(parameterized.TestCase):

  @parameterized.parameters(False, True)
  def test_step_is_adam_on_the_meta_gradient(self, second_derivatives):
    eager.run_eagerly(self)
    problem = problems.Quadratic(2, 3, dtype=tf.float64, separate=True)
    network = toys.coordinatewise(layers=(4,))
    step = meta.MetaStep(network, problem, 3, 0.02, second_derivatives)
    reference = toys.coordinatewise(layers=(4,))
    run = unroll.start(reference, problem, 0)
    m = v = [np.zeros(w.shape) for w in reference.trainable_variables]
    ours = step.reset(0)
    for t in range(1, 4):
      variables = reference.trainable_variables
      with tf.GradientTape() as tape:
        losses, run = unroll.unroll(
            reference, problem, run, 3, second_derivatives)
        meta_loss = tf.reduce_sum(tf.reduce_mean(losses, axis=1))
      gradients = [g.numpy() for g in tape.gradient(meta_loss, variables)]
      # Kingma & Ba 2015, end of section 2, as in TensorFlow.
      m = [0.9 * a + 0.1 * g for a, g in zip(m, gradients, strict=True)]
      v = [0.999 * a + 0.001 * g**2 for a, g in zip(v, gradients, strict=True)]
      alpha = 0.02 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
      for variable, a, b in zip(variables, m, v, strict=True):
        variable.assign_sub(alpha * a / (np.sqrt(b) + 1e-8))
      info, ours = step.train(ours)
      assertions.assert_close(info.losses, losses)
      np.testing.assert_allclose(info.meta_loss, meta_loss, rtol=1e-5)
      np.testing.assert_allclose(
          info.gradient_norm,
          np.sqrt(sum(np.sum(np.square(g)) for g in gradients)),
          rtol=1e-4)
      assertions.assert_close(toys.weights(network), toys.weights(reference),
                        rtol=1e-4, atol=1e-5)

  def test_meta_gradient_is_clipped_by_its_norm(self):
    eager.run_eagerly(self)
    problem = toys.Regression()
    infos, applied = [], []
    for max_norm in (None, 1e-3, 1e3):
      step = meta.MetaOptimizer(net=SMALL).meta_minimize(
          problem, 3, jit_compile=False, max_gradient_norm=max_norm)
      with mock.patch.object(
          step.optimizer, "apply", wraps=step.optimizer.apply) as apply:
        infos.append(step.train(step.reset(0))[0])
      applied.append(apply.call_args.args[0])
    norm = infos[0].gradient_norm
    self.assertBetween(norm, 2e-3, 5e2)
    for info in infos:  # That before clipping.
      np.testing.assert_allclose(info.gradient_norm, norm, rtol=1e-6)
    assertions.assert_close(applied[1], [1e-3 / norm * g for g in applied[0]])
    assertions.assert_close(applied[2], applied[0])

  @parameterized.parameters(False, True)
  def test_objective_may_be_the_sum_of_logs(self, second_derivatives):
    eager.run_eagerly(self)
    step = meta.MetaOptimizer(net=SMALL).meta_minimize(
        toys.Regression(), 3, second_derivatives=second_derivatives,
        jit_compile=False, objective="log")
    run = step.reset(0)
    function = (second_order.meta_gradient if second_derivatives
                else meta_gradient.meta_gradient)
    losses, _, gradients = function(
        step.network, toys.Regression(), run, 3, objective="log")
    info, _ = step.train(run)
    np.testing.assert_allclose(
        info.meta_loss, np.sum(np.log(losses / losses[0])), rtol=1e-4)
    np.testing.assert_allclose(
        info.gradient_norm, tf.linalg.global_norm(gradients), rtol=1e-5)

  def test_run_advances_with_the_weights_from_before(self):
    optimizer = meta.MetaOptimizer(net=SMALL)
    step = optimizer.meta_minimize(toys.Regression(), 3, jit_compile=False)
    loss = optimizer.meta_loss(toys.Regression(), 3, jit_compile=False)
    run = step.reset(0)
    expected = loss.unroll(run)
    weights = toys.weights(optimizer.networks["net"])
    assertions.assert_close(step.step(run), expected)
    for name, value in toys.weights(optimizer.networks["net"]).items():
      self.assertFalse(np.array_equal(value, weights[name]), name)

  def test_float64_problems_train(self):
    eager.run_eagerly(self)
    optimizer = meta.MetaOptimizer(net=SMALL)
    step = optimizer.meta_minimize(
        toys.Regression(tf.float64), 3, jit_compile=False)
    weights = step.network.trainable_variables[0].numpy()
    info, _ = step.train(step.reset(0))
    self.assertEqual(info.losses.dtype, tf.float64)
    self.assertTrue(np.all(np.isfinite(step.network.trainable_variables[0])))
    self.assertFalse(
        np.any(step.network.trainable_variables[0].numpy() == weights))

  @parameterized.parameters(False, True)
  def test_networks_of_two_types_train(self, second_derivatives):
    eager.run_eagerly(self)
    step = meta.MetaOptimizer(one=SMALL, two=SMALL).meta_minimize(
        toys.TwoTypes(), 3, net_assignments=[("one", ["a"]), ("two", ["b"])],
        second_derivatives=second_derivatives, jit_compile=False,
        max_gradient_norm=1e-3)
    before = [v.numpy() for v in step.network.trainable_variables]
    info, _ = step.train(step.reset(0))
    self.assertGreater(info.gradient_norm, 1e-3)
    for variable, value in zip(step.network.trainable_variables, before):
      self.assertGreater(np.abs(variable - value).max(), 0)

  @parameterized.parameters(False, True)
  def test_a_step_that_is_not_finite_changes_nothing(self, second_derivatives):
    step = meta.MetaOptimizer(net=SMALL).meta_minimize(
        toys.Regression(), 3, second_derivatives=second_derivatives,
        jit_compile=False)
    _, run = step.train(step.reset(0))  # Fills the slots.
    before = [v.numpy() for v in step.network.variables]
    slots = [np.array(v) for v in step.optimizer.variables]
    info, bad = step.train(poisoned(run))
    self.assertFalse(np.isfinite(info.gradient_norm))
    self.assertFalse(np.isfinite(info.meta_loss))
    assertions.assert_equal([v.numpy() for v in step.network.variables], before)
    assertions.assert_equal(
        [np.array(v) for v in step.optimizer.variables], slots)
    info, _ = step.train(bad)
    self.assertFalse(np.isfinite(info.gradient_norm))
    info, _ = step.train(run)
    self.assertTrue(np.isfinite(info.gradient_norm))
    for variable, value in zip(step.network.variables, before, strict=True):
      self.assertTrue(np.all(np.isfinite(variable)))
      self.assertFalse(np.array_equal(variable, value))

  @parameterized.parameters(
      (SMALL, toys.Regression, (1, 2)),
      (LINEAR, lambda: problems.Quadratic(2, 3), ((1, 2), (3, 4))))
  def test_second_derivatives_are_compiled_unless_it_is_refused(
      self, net, make_problem, seed):
    problem, infos = make_problem(), []
    for jit_compile in (None, False):
      step = meta.MetaOptimizer(net=net).meta_minimize(
          problem, 3, second_derivatives=True, jit_compile=jit_compile)
      run = step.reset(tf.constant(seed))
      infos.append(step.train(run)[0])
      graph = step._train.get_concrete_function(run, 3).graph.as_graph_def()
      self.assertEqual(
          any(f.attr["_XlaMustCompile"].b for f in graph.library.function),
          jit_compile is None)
    assertions.assert_close(*infos, rtol=1e-4)

  @parameterized.product(curvature=(2., 1e9), objective=("sum", "log"))
  def test_second_derivatives_that_explode_are_left_out(
      self, curvature, objective):
    eager.run_eagerly(self)
    problem = toys.Wavy(curvature)
    step = meta.MetaOptimizer(net=SMALL).meta_minimize(
        problem, 4, second_derivatives=True, objective=objective,
        jit_compile=False)
    run = step.reset(0)
    one = meta_gradient.meta_gradient(
        step.network, problem, run, 4, objective=objective)[2]
    with tf.GradientTape() as tape:
      losses, _ = unroll.unroll(
          step.network, problem, run, 4, second_derivatives=True)
      value = objectives.meta_loss(losses, objective)
    two = tape.gradient(value, step.network.trainable_variables)
    has_exploded = curvature > 2.
    self.assertEqual(
        tf.linalg.global_norm(two) > 1e3 * tf.linalg.global_norm(one),
        has_exploded)
    gradients = second_order.meta_gradient(
        step.network, problem, run, 4, objective)[2]
    assertions.assert_close(
        gradients, one if has_exploded else [*two], rtol=1e-3, atol=1e-6)
    info, _ = step.train(run)
    np.testing.assert_allclose(
        info.gradient_norm, tf.linalg.global_norm(gradients), rtol=1e-5)

  def test_networks_without_weights_have_nothing_to_train(self):
    step = meta.MetaOptimizer(net=SGD).meta_minimize(
        problems.Simple(), 2, jit_compile=False)
    info, run = step.train(step.reset(0))
    np.testing.assert_allclose(
        info.losses, [1., 0.8**2, 0.8**4], rtol=1e-6)
    self.assertEqual(info.gradient_norm, 0.)
    self.assertEqual(run.step, 2)

  @parameterized.parameters(0, -0.1, float("nan"), "0.1", None)
  def test_bad_learning_rate_is_named(self, learning_rate):
    with self.assertRaisesRegex(
        ValueError, f"^learning_rate is {learning_rate!r}, but must be a "
        "positive number"):
      meta.MetaOptimizer(net=SMALL).meta_minimize(
          problems.Simple(), 2, learning_rate=learning_rate)

  @parameterized.parameters(0, -1., float("inf"))
  def test_bad_max_gradient_norm_is_named(self, value):
    with self.assertRaisesRegex(
        ValueError, f"^max_gradient_norm is {value}, but must be a positive n"):
      meta.MetaOptimizer(net=SMALL).meta_minimize(
          problems.Simple(), 2, max_gradient_norm=value)

  @parameterized.parameters(tf.float16, tf.bfloat16)
  def test_weights_of_two_bytes_are_refused(self, dtype):
    with self.assertRaisesRegex(
        ValueError, "^The parameters of the problem, .* are of type "
        f"{dtype.name}, but must be of type float32 or float64"):
      meta.MetaOptimizer(net=SMALL).meta_minimize(
          problems.Quadratic(1, 2, dtype=dtype), 2)

  def test_adam_that_is_of_no_step_is_refused(self):
    with self.assertRaisesRegex(
        ValueError, "^adam is 0.001, but must be the `optimizer` of another"):
      meta.MetaOptimizer(net=SMALL).meta_minimize(
          problems.Simple(), 2, adam=0.001)

  def test_unknown_objective_is_named(self):
    with self.assertRaisesRegex(
        ValueError, "^objective is 'mean', but must be one of .'log', 'sum'"):
      meta.MetaOptimizer(net=SMALL).meta_minimize(
          problems.Simple(), 2, objective="mean")


if __name__ == "__main__":
  absltest.main()
