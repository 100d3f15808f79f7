"""Tests of evaluation."""

import math
import threading
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from l2lgd import devices
from meta import evaluation, seeds, unroll
import networks
import problems
from tests import toys

SEEDS = (0, -1, 2**32, 2**32 + 1)


def evaluator(network, problem, num_steps):
  """An evaluator without XLA, whose compilation would take most of the time."""
  return evaluation.Evaluator(network, problem, num_steps, jit_compile=False)


class EvaluatorTest(parameterized.TestCase):

  def test_runs_are_those_of_the_seeds(self):
    problem, network = toys.Regression(), toys.coordinatewise(layers=(4,))
    losses, params = evaluator(network, problem, 4)(SEEDS)
    self.assertEqual(losses.shape, (4, 5))
    for i, seed in enumerate(SEEDS):
      run = unroll.start(network, problem, seed)
      expected, end = unroll.unroll(network, problem, run, 4)
      with self.subTest("losses_are_rows", seed=seed):
        np.testing.assert_allclose(losses[i], expected, rtol=1e-5)
      with self.subTest("parameters_are_after_the_last_update", seed=seed):
        for name, value in end.params.items():
          np.testing.assert_allclose(
              params[name][i], value, rtol=1e-4, atol=1e-6)

  def test_each_of_many_functions_is_a_row(self):
    problem = problems.Quadratic(3, 2, separate=True)
    network = networks.Sgd(0.01)
    losses = evaluator(network, problem, 4)(SEEDS[:2]).losses
    self.assertEqual(losses.shape, (6, 5))
    for i, seed in enumerate(SEEDS[:2]):
      run = unroll.start(network, problem, seed)
      np.testing.assert_allclose(
          losses[3 * i:3 * i + 3].T,
          unroll.unroll(network, problem, run, 4)[0], rtol=1e-5)

  def test_same_seeds_give_the_same_numbers(self):
    def make_evaluator():
      return evaluation.Evaluator(
          toys.coordinatewise(layers=()), problems.Quadratic(2, 3), 4,
          jit_compile=True)

    evaluate = make_evaluator()
    first = evaluate(SEEDS).losses
    np.testing.assert_array_equal(evaluate(SEEDS).losses, first)
    np.testing.assert_array_equal(evaluate(SEEDS[::-1]).losses, first[::-1])
    np.testing.assert_array_equal(make_evaluator()(SEEDS).losses, first)

  def test_all_integers_are_different_seeds_and_may_be_tensors(self):
    evaluate = evaluator(networks.Sgd(), problems.Quadratic(2, 3), 1)
    integers = (*SEEDS, 1, -2**63, 2**63 - 1)
    losses = evaluate(integers).losses
    self.assertLen(set(losses[:, 0]), 7)
    np.testing.assert_array_equal(
        evaluate([seeds.as_seed(seed) for seed in integers]).losses, losses)

  def test_networks_meet_the_same_functions_and_minibatches(self):
    class Noise(problems.Simple):
      def loss(self, params, constants, seed):
        noise = tf.cast(seed[0] % 1000 * 10 + seed[1] % 10, tf.float32)
        return noise + 0. * super().loss(params, constants, seed)

    losses = [evaluator(
        network, Noise(), 3)(SEEDS).losses for network in (
            networks.Sgd(), toys.coordinatewise(layers=()))]
    np.testing.assert_array_equal(losses[0], losses[1])
    self.assertLen(set(losses[0].flat), 4 * 4)  # Seeds times evaluations.

  def test_every_run_starts_fresh(self):
    losses = evaluator(networks.Adam(0.1), problems.Simple(), 5)(
        [0, 0, 1]).losses
    np.testing.assert_array_equal(losses[0], losses[1])
    np.testing.assert_array_equal(losses[0], losses[2])

  def test_last_loss_is_after_the_last_update(self):
    losses = evaluator(
        networks.Sgd(0.1), problems.Simple(), 3)([0]).losses
    np.testing.assert_allclose(
        losses, [[0.8**(2 * t) for t in range(4)]], rtol=1e-6)

  def test_changed_weights_are_used(self):
    network = toys.coordinatewise(layers=())
    evaluate = evaluator(network, problems.Simple(), 1)
    for variable, value in zip(network.trainable_variables, (0., 0.)):
      variable.assign(value * variable)
    for variable in network.trainable_variables:
      if variable.shape == [1, 1]:
        variable.assign([[-1.]])
    # x - 0.1 * 2 x, with the scale 0.1.
    np.testing.assert_allclose(evaluate([0]).losses, [[1., 0.64]], rtol=1e-6)

  def test_progress_wraps_the_seeds(self):
    wrapped = []
    evaluate = evaluator(networks.Sgd(), problems.Simple(), 1)
    evaluate(SEEDS, lambda s: wrapped.append(tuple(s)) or s)
    self.assertEqual(wrapped, [(0,)])  # All of them side by side.

  def test_runs_in_chunks_are_the_same(self):
    evaluate = evaluator(
        networks.Sgd(0.01), problems.Quadratic(3, 2, separate=True), 4)
    expected = evaluate(SEEDS[:3]).losses
    for max_side_by_side in (1, 2, 3, 9):  # Of 2, the last chunk is not full.
      with self.subTest(max_side_by_side=max_side_by_side):
        evaluate.max_side_by_side = max_side_by_side
        np.testing.assert_allclose(
            evaluate(SEEDS[:3]).losses, expected, rtol=1e-5)

  def test_chunks_are_made_on_all_cores(self):
    evaluate = evaluator(networks.Sgd(), problems.Quadratic(2, 3), 2)
    evaluate.max_side_by_side = 1
    make_runs = evaluate._run
    meeting = threading.Barrier(2)

    def meet(seeds, *args):
      if seeds != [0]:  # Of the first chunk, which is made alone.
        meeting.wait(timeout=60.)
      return make_runs(seeds, *args)

    expected = evaluate([0, 1, 2]).losses
    with (mock.patch.object(evaluate, "_run", meet),
          mock.patch.object(devices, "has_gpu", return_value=False),
          mock.patch.object(devices, "num_cores", return_value=2)):
      np.testing.assert_array_equal(evaluate([0, 1, 2]).losses, expected)

  def test_all_chunks_are_made_in_the_scope_of_the_strategy(self):
    in_scope = []
    with tf.distribute.OneDeviceStrategy("cpu:0").scope():
      evaluate = evaluator(networks.Sgd(), problems.Quadratic(2, 3), 2)
      evaluate.max_side_by_side = 1
      make_runs = evaluate._run

      def watch(*args):
        in_scope.append(tf.distribute.has_strategy())
        return make_runs(*args)

      with mock.patch.object(evaluate, "_run", watch):
        evaluate([0, 1, 2])
    self.assertEqual(in_scope, [True] * 3)

  def test_jit_compile_of_the_commands_is_refused(self):
    with self.assertRaisesRegex(ValueError, "^jit_compile is 'auto', but mus"):
      evaluation.Evaluator(
          networks.Sgd(), problems.Simple(), 2, jit_compile="auto")

  def test_error_of_a_chunk_is_raised(self):
    evaluate = evaluator(networks.Sgd(), problems.Quadratic(2, 3), 2)
    evaluate.max_side_by_side = 1
    with self.assertRaisesRegex(ValueError, "^seed is 'two', but must be an"):
      evaluate([0, 1, "two", 3])

  def test_chunks_that_wait_are_not_made_after_an_error(self):
    evaluate = evaluator(networks.Sgd(), problems.Quadratic(2, 3), 2)
    evaluate.max_side_by_side = 1
    made, make_runs = [], evaluate._run

    def make(seeds, *args):
      made.append(seeds)
      return make_runs(seeds, *args)

    def interrupted(chunks):
      yield from chunks[:1]
      raise KeyboardInterrupt

    with mock.patch.object(evaluate, "_run", make):
      with self.assertRaises(KeyboardInterrupt):
        evaluate(range(9), interrupted)
    self.assertEqual(made, [[0]])
    self.assertFalse(evaluate.is_compiled)

  def test_seeds_side_by_side_are_no_seed_of_a_run(self):
    evaluate = evaluator(networks.Sgd(), problems.Simple(), 1)
    with self.assertRaisesRegex(
        ValueError, r"^A seed of a run has shape \(3, 2\)"):
      evaluate([tf.zeros([3, 2], tf.int32)])

  def test_fewer_runs_are_made_by_what_is_compiled_for_more(self):
    evaluate = evaluator(networks.Sgd(), problems.Quadratic(2, 3), 2)
    evaluate.max_side_by_side = len(SEEDS)
    self.assertFalse(evaluate.is_compiled)
    losses = evaluate(SEEDS).losses
    self.assertTrue(evaluate.is_compiled)
    with mock.patch.object(
        problems.Quadratic, "loss", side_effect=AssertionError):
      np.testing.assert_array_equal(evaluate(SEEDS[1:3]).losses, losses[1:3])
      # Five are 4 and 1, in place of 3 and 2.
      np.testing.assert_array_equal(
          evaluate([*SEEDS, SEEDS[1]]).losses, [*losses, losses[1]])

  @parameterized.parameters(0, -3, 2.5, "3", None)
  def test_bad_num_steps_is_named(self, num_steps):
    with self.assertRaisesRegex(
        ValueError, f"^num_steps is {num_steps!r}, but must be a positive"):
      evaluator(networks.Sgd(), problems.Simple(), num_steps)

  def test_each_run_has_its_learning_rate(self):
    problem, rates = toys.Regression(), np.array([0.1, 0.01])
    evaluate = evaluator(networks.Sgd(), problem, 2)
    losses = evaluate([3, 3], learning_rates=rates).losses
    for row, rate in zip(losses, rates):
      network = networks.Sgd(rate)
      expected, _ = unroll.unroll(
          network, problem, unroll.start(network, problem, 3), 2)
      np.testing.assert_allclose(row, expected, rtol=1e-5)
    with self.assertRaisesRegex(
        ValueError, "learning_rates has 1 rates, but must have one for each"):
      evaluate([3, 4], learning_rates=[0.1])

  @parameterized.parameters(-0.1, 0., float("nan"), "0.1")
  def test_learning_rate_that_is_not_positive_is_refused(self, rate):
    with self.assertRaisesRegex(
        ValueError, r"^learning_rates\[0\] is .*, but must be a positive num"):
      evaluator(networks.Sgd(0.1), problems.Simple(), 1)(
          [0], learning_rates=[rate])

  def test_no_seeds_are_refused(self):
    with self.assertRaisesRegex(
        ValueError, "^seeds is empty, but must hold at least one seed"):
      evaluator(networks.Sgd(0.1), problems.Simple(), 1)([])

  def test_parameters_of_other_shapes_are_refused_at_once(self):
    with self.assertRaisesRegex(ValueError, "kernel_shape"):
      evaluation.Evaluator(
          networks.KernelDeepLSTM((3, 3), (2,)), problems.Simple(), 2)


class LossesAtTest(parameterized.TestCase):

  @parameterized.parameters(
      (199, 199, [199]), (200, 200, [199, 200]), (1000, 0, [0]),
      (1000, 3, range(4)), (1000, 500, range(491, 501)))
  def test_hundredth_of_the_steps_is_averaged(self, num_steps, step, expected):
    losses = np.float32([1., 3.])[:, np.newaxis] * np.arange(num_steps + 1)
    np.testing.assert_allclose(
        evaluation.losses_at(losses, step),
        np.array([1, 3]) * np.mean(expected))

  def test_divergence_within_it_counts(self):
    losses = np.ones([3, 501])
    losses[1, 496] = np.nan
    losses[2, 490] = np.inf
    np.testing.assert_array_equal(
        np.isfinite(evaluation.losses_at(losses, 500)), [True, False, True])


class SummarizeTest(parameterized.TestCase):

  @parameterized.parameters(1, 2, 5, 8)
  def test_statistics_of_finite_losses(self, num_runs):
    losses = np.random.default_rng(0).exponential(
        size=num_runs).astype(np.float32)
    summary = evaluation.summarize(losses)
    ranks = np.sort(losses)

    def quantile(q):  # Linear between the ranks.
      position = q * (num_runs - 1)
      low = math.floor(position)
      high = min(low + 1, num_runs - 1)
      return ranks[low] + (position - low) * (ranks[high] - ranks[low])

    mean = sum(losses) / num_runs
    np.testing.assert_allclose(
        (summary.mean, summary.lower_quartile, summary.median,
         summary.upper_quartile),
        (mean, quantile(.25), quantile(.5), quantile(.75)), rtol=1e-6)
    np.testing.assert_allclose(
        summary.standard_error,
        math.sqrt(sum((loss - mean) ** 2 for loss in losses)
                  / (num_runs - 1) / num_runs) if num_runs > 1 else math.nan,
        rtol=1e-6)
    self.assertEqual((summary.num_runs, summary.num_diverged), (num_runs, 0))

  def test_diverged_runs_are_counted_and_left_out(self):
    finite = np.float32([4., 1., 2., 3.])
    losses = np.float32([np.nan, *finite, np.inf, -np.inf])
    summary = evaluation.summarize(losses)
    self.assertEqual(
        summary,
        evaluation.summarize(finite)._replace(num_runs=7, num_diverged=3))

  def test_all_diverged_is_infinite(self):
    summary = evaluation.summarize(np.float32([np.nan, np.inf]))
    self.assertEqual(summary, (*[math.inf] * 5, 2, 2))
    self.assertEqual(summary.log_mean, math.inf)

  def test_large_losses_do_not_overflow(self):
    summary = evaluation.summarize(np.float32([3e38, 3e38]))
    np.testing.assert_allclose(summary.mean, 3e38, rtol=1e-6)

  @parameterized.parameters((100., 2.), (1., 0.), (0.01, -2.), (0., -math.inf))
  def test_log_mean_is_decimal(self, mean, expected):
    np.testing.assert_allclose(
        evaluation.summarize(np.array([mean])).log_mean, expected, atol=1e-12)


if __name__ == "__main__":
  absltest.main()
