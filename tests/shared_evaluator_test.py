"""Tests of the evaluation of several optimizers with one compilation."""

from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import evaluation, shared_evaluator, tuning, unroll
import networks
from networks import baselines
import problems
from tests import toys

CANDIDATES = (*(cls() for cls in baselines.BY_NAME.values()),
              networks.RMSProp(decay=0.5))
STEPS = 3
SEEDS = range(2)


def alone(network, problem, seed):
  """The losses, and the end, of a run without compilation."""
  return unroll.unroll(
      network, problem, unroll.start(network, problem, seed), STEPS)


class SharedEvaluatorTest(parameterized.TestCase):

  def shared(self, problem=None, candidates=CANDIDATES):
    return shared_evaluator.SharedEvaluator(
        candidates, problem or toys.Regression(), STEPS, jit_compile=False)

  def test_all_optimizers_compute_what_they_compute_alone(self):
    shared = self.shared()
    shared.of(networks.Sgd())(SEEDS)
    # The problem is traced for the first optimizer and rate only.
    with mock.patch.object(
        toys.Regression, "loss", side_effect=AssertionError), mock.patch.object(
            toys.Regression, "sample", side_effect=AssertionError):
      results = [shared.of(network)(SEEDS) for network in CANDIDATES]
      shared.of(networks.Adam(0.5))(SEEDS, learning_rates=[0.1, 0.2])
      shared.of(networks.Adam(0.5))([7])  # Another number of runs.
    for network, result in zip(CANDIDATES, results, strict=True):
      with self.subTest(network=type(network).__name__):
        for i, seed in enumerate(SEEDS):
          losses, end = alone(network, toys.Regression(), seed)
          np.testing.assert_allclose(result.losses[i], losses, rtol=1e-5)
          for name, p in end.params.items():
            np.testing.assert_allclose(
                result.params[name][i], p, rtol=1e-4, atol=1e-6)

  def test_xla_compiles_all_of_them(self):
    pair = networks.Rprop(), networks.Adam()
    problem = problems.Quadratic(2, 3)
    shared = shared_evaluator.SharedEvaluator(pair, problem, STEPS)
    for network in pair:
      np.testing.assert_allclose(
          shared.of(network)([0]).losses[0],
          alone(network, problem, 0)[0], rtol=1e-5)

  def test_learning_rates_are_those_of_the_network_or_given(self):
    shared = self.shared(problems.Quadratic(1, 2), [networks.Adam()])
    one, two = (shared.of(networks.Adam(rate))(SEEDS).losses
                for rate in (0.1, 0.2))
    self.assertFalse(np.any(one[:, 1:] == two[:, 1:]))
    given = shared.of(networks.Adam())(
        SEEDS, learning_rates=[0.1, 0.2]).losses
    np.testing.assert_array_equal(given, [one[0], two[1]])

  def test_rates_are_searched_for(self):
    shared = self.shared(problems.Quadratic(2, 3), [networks.Sgd()])
    with mock.patch.object(tuning, "_LIMIT", 12):
      found = tuning.tune(shared.of(networks.Sgd()), SEEDS)
      expected = tuning.tune(evaluation.Evaluator(
          networks.Sgd(), problems.Quadratic(2, 3), STEPS, jit_compile=False),
                             SEEDS)
    self.assertEqual(found.best, expected.best)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-4)

  def test_state_is_no_larger_than_that_of_the_largest(self):
    params = {"x": tf.ones([7]), "a": tf.ones([2, 3])}
    state = shared_evaluator.Switch(CANDIDATES).initial_state(params)
    # The learning rate, and Adam's t, m and v.
    self.assertCountEqual(
        [tuple(t.shape) for t in state], [(), (), (7,), (7,), (2, 3), (2, 3)])

  def test_run_begins_with_the_state_of_the_selected_network(self):
    switch = shared_evaluator.Switch([networks.Sgd(0.5), networks.Rprop(0.1)])
    for index, (rate, delta) in enumerate(((0.5, 0.), (0.1, 1.))):
      switch.select(index)
      state = switch.initial_state({"x": tf.ones([2])})
      np.testing.assert_allclose(state[0], rate)
      np.testing.assert_array_equal(state[1], [delta, delta])

  def test_runs_are_compiled_once_they_have_been_made(self):
    pair = networks.Sgd(), networks.Adam()
    sgd, adam = map(self.shared(problems.Simple(), pair).of, pair)
    self.assertFalse(adam.is_compiled)
    sgd([0])
    self.assertTrue(adam.is_compiled)

  def test_other_network_is_refused(self):
    for network in (networks.RMSProp(decay=0.25), toys.coordinatewise()):
      with self.assertRaisesRegex(
          ValueError, rf"^network is \('{type(network).__name__}', .* must be "
          "one of the candidates"):
        self.shared().of(network)

  def test_rates_may_be_an_array_and_not_empty(self):
    sgd = networks.Sgd()
    evaluate = self.shared(problems.Simple(), [sgd]).of(sgd)
    rates = [0.1, 0.2]
    np.testing.assert_array_equal(
        evaluate([0, 0], learning_rates=np.asarray(rates)).losses,
        evaluate([0, 0], learning_rates=rates).losses)
    with self.assertRaisesRegex(ValueError, "^learning_rates has 0 rates"):
      evaluate([0], learning_rates=[])

  def test_float64_parameters(self):
    pair = networks.Adam(), networks.Rprop()
    shared = self.shared(toys.Regression(tf.float64), pair)
    for network in pair:
      np.testing.assert_allclose(
          shared.of(network)([0]).losses[0],
          alone(network, toys.Regression(tf.float64), 0)[0], rtol=1e-6)


if __name__ == "__main__":
  absltest.main()
