"""Tests of the search for a learning rate."""

import functools
import json
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import evaluation, replicas, tuning, unroll
import networks
import problems


class Parabola(problems.Problem):
  """c x^2 / 2 from x = 1, of which one step of the rate 1 / c is the end."""

  def __init__(self, c):
    self._c = c

  def sample(self, seed):
    return {"x": tf.ones([])}, ()

  def loss(self, params, constants, seed):
    return self._c * params["x"]**2 / 2


class Cliff(Parabola):
  """It is finite at the start only, and after steps of less than 0.04."""

  def loss(self, params, constants, seed):
    x = params["x"]
    return x + tf.where(x > 0.96, 0., np.inf)


class Abyss(Parabola):
  """It is finite at the start only."""

  def loss(self, params, constants, seed):
    x = params["x"]
    return self._c * x + tf.where(x == 1., 0., np.nan)


class Plateau(Parabola):
  """A slope of c, but for a valley that a step of a rate of 100 to 400 reaches.
  """

  def loss(self, params, constants, seed):
    way = (1. - params["x"]) / self._c
    valley = tf.where((way > 99.) & (way < 401.), -1., 0.)
    return 1. + self._c * (params["x"] - 1.) + tf.stop_gradient(valley)


def tune(problem, num_steps=1, num_seeds=2):
  evaluator = evaluation.Evaluator(
      networks.Sgd(), problem, num_steps, jit_compile=False)
  evaluator.max_side_by_side = num_seeds  # So that it is traced once.
  return tuning.tune(evaluator, range(num_seeds))


@functools.cache
def tuned(c):
  """The search on a parabola, which is made once for all tests."""
  return tune(Parabola(c))


class TuningTest(parameterized.TestCase):

  @parameterized.parameters(1., 1.8, 50., 3e-3, 1e5)
  def test_best_rate_of_a_parabola_is_found(self, c):
    found = tuned(c)
    # The grid has twelve a decade: the best is off by half a step at most.
    self.assertLessEqual(abs(np.log10(found.best * c)), 1 / 24 + 1e-3)

  def test_losses_are_those_of_every_rate(self):
    found = tuned(1.8)
    np.testing.assert_allclose(
        found.losses, 0.9 * (1 - 1.8 * np.array(found.learning_rates))**2,
        rtol=1e-4, atol=1e-6)

  @parameterized.parameters(3e-3, 1., 1.8, 50., 1e5)
  def test_best_is_a_twelfth_of_a_decade_from_its_neighbors(self, c):
    found = tuned(c)
    logs = np.log10(found.learning_rates)
    self.assertGreater(np.min(np.diff(logs)), 0.)
    self.assertLessEqual(np.max(np.diff(logs)), 1 + 1e-3)
    best = np.argmin(found.losses)
    np.testing.assert_allclose(
        np.diff(logs[best - 1:best + 2]), 1 / 12, atol=3e-3)

  @parameterized.parameters(1., 3e-3, 1e5)
  def test_best_is_not_at_an_edge(self, c):
    found = tuned(c)
    self.assertLess(found.learning_rates[0], found.best)
    self.assertGreater(found.learning_rates[-1], found.best)

  def test_valley_beyond_a_plateau_is_found(self):
    self.assertBetween(tune(Plateau(1e-4)).best, 99., 401.)

  def test_rates_that_diverge_are_infinite_and_not_the_best(self):
    found = tune(Cliff(1.))
    for rate, loss in zip(*found, strict=True):
      with self.subTest(rate=rate):
        self.assertEqual(np.isinf(loss), rate > 0.04)
    self.assertLess(found.best, 0.04)

  def test_search_ends_where_every_rate_diverges(self):
    found = tune(Abyss(1e9))
    self.assertTrue(np.isinf(found.losses).all())

  def test_losses_are_means_over_the_runs(self):
    problem = problems.Quadratic(batch_size=2, num_dims=3)
    evaluator = evaluation.Evaluator(
        networks.Sgd(), problem, 5, jit_compile=False)
    found = tuning.tune(evaluator, [1, 2, 3])
    index = len(found.losses) // 2
    network = networks.Sgd(found.learning_rates[index])
    alone = [unroll.unroll(network, problem, unroll.start(
        network, problem, seed), 5)[0][-1] for seed in (1, 2, 3)]
    np.testing.assert_allclose(found.losses[index], np.mean(alone), rtol=1e-5)

  def test_minibatch_noise_at_the_end_of_long_runs_is_averaged(self):
    def evaluator(seeds, progress, learning_rates):
      # The rate of 0.1 is best, but that of 1 happens to be at the last step.
      losses = np.abs(np.log10(learning_rates) + 1)[:, None] * np.ones(1001)
      losses[np.equal(learning_rates, 1.), -1] = -2.
      return evaluation.Evaluation(losses, {})
    self.assertEqual(tuning.tune(evaluator, [0]).best, .1)

  def test_same_seeds_find_the_same(self):
    self.assertEqual(tune(Parabola(1.8)), tuned(1.8))


class FingerprintTest(parameterized.TestCase):

  def test_is_that_of_the_problem(self):
    one = tuning.fingerprint(Parabola(2.))
    # x - 0.1 * 2 x.
    np.testing.assert_allclose(
        one, [[0.8**(2 * t) for t in range(4)]] * 2, rtol=1e-6)
    self.assertEqual(tuning.fingerprint(Parabola(2.)), one)
    self.assertNotEqual(tuning.fingerprint(Parabola(2.1)), one)

  def test_losses_that_are_not_finite_are_none(self):
    self.assertEqual(
        tuning.fingerprint(Abyss(1.)), [[1., None, None, None]] * 2)


class CacheTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = self.enter_context(tempfile.TemporaryDirectory())
    self.file = os.path.join(folder, "tuning.json")

  @parameterized.parameters(True, False)
  def test_search_is_found_under_its_settings(self, has_file):
    cache = tuning.Cache(self.file if has_file else None)
    self.assertIsNone(cache.find({"a": 1}))
    searches = [tuning.Tuning([0.1, 1.], [2., np.inf]),
                tuning.Tuning([0.1], [3.])]
    for a, search in enumerate(searches):
      cache.add({"a": a}, search)
    for a, search in enumerate(searches):
      self.assertEqual(cache.find({"a": a}), search)
      if has_file:
        self.assertEqual(tuning.Cache(self.file).find({"a": a}), search)
    self.assertEqual(os.path.exists(self.file), has_file)

  def test_searches_of_other_programs_are_kept(self):
    caches = [tuning.Cache(self.file) for _ in range(2)]
    search = tuning.Tuning([0.1], [3.])
    for a, cache in enumerate(caches):
      cache.add({"a": a}, search)
    for a in range(2):
      self.assertEqual(tuning.Cache(self.file).find({"a": a}), search)

  def test_file_is_standard_json(self):
    tuning.Cache(self.file).add(
        {"a": 1}, tuning.Tuning([0.1, 1.], [2., np.inf]))
    with open(self.file, encoding="utf-8") as file:
      self.assertEqual(json.load(file), [{
          "settings": {"a": 1}, "learning_rates": [0.1, 1.],
          "losses": [2., None]}])

  def test_search_that_another_process_lacks_is_not_found(self):
    cache = tuning.Cache(None)
    cache.add({"a": 1}, tuning.Tuning([0.1], [2.]))
    self.assertIsNotNone(cache.find({"a": 1}))
    with mock.patch.object(replicas, "of_workers", return_value=[1, 0]):
      self.assertIsNone(cache.find({"a": 1}))

  @parameterized.parameters("{", "{}", "[1]", '[{"settings": {}}]')
  def test_damaged_file_is_named_and_left_alone(self, text):
    pathlib.Path(self.file).write_text(text)
    with self.assertRaisesRegex(
        ValueError, "tuning.json holds no searches of learning rates: move"):
      tuning.Cache(self.file)
    self.assertEqual(pathlib.Path(self.file).read_text(), text)


if __name__ == "__main__":
  absltest.main()
