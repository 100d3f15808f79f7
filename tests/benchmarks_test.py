"""Tests of the benchmarks, on small sizes."""

from unittest import mock

from absl.testing import absltest, parameterized
import keras
import numpy as np
import tensorflow as tf

from benchmarks import timing
import meta
from meta import compilation, evaluation
import networks
import problems
from tests import eager, programs

apply, engine, keras_programs, unseen = (
    programs.load(f"benchmarks.{name}")
    for name in ("apply", "engine", "keras_programs", "unseen"))


class ApplyTest(programs.TestCase, parameterized.TestCase):

  @parameterized.parameters("eager", "function", "compiled")
  def test_optimizers_are_measured(self, mode):
    with programs.given_flags("benchmarks.apply", "--repeats=1"):
      *times, num_bytes = apply.measure(2, 5, mode)
    self.assertLen(times, 6)
    for value in times:
      self.assertGreater(value, 0.)
    self.assertEqual(num_bytes, 2 * (20 + 20) * 4)  # Two numbers a unit.

  def test_steps_in_keras_are_measured(self):
    with programs.given_flags("benchmarks.apply", "--repeats=1"):
      values = apply.measure_keras("function", 1, 3)
    self.assertLen(values, 3)
    self.assertGreater(min(values), 0.)

  def test_floor_is_of_both_layers(self):
    network, = apply.make_learned().networks.values()
    floor = apply.make_floor(network, 3)()
    self.assertEqual([[x.shape for x in layer] for layer in floor],
                     [[(80, 3), (60, 3), (40, 3)]] * 2)


class EngineTest(programs.TestCase):

  def setUp(self):
    super().setUp()
    self.enter_context(programs.given_flags(
        "benchmarks.engine", "--repeats=1", "--num_steps=2",
        "--unroll_length=1", "--jit_compile=false"))

  def test_engine_measures_an_experiment(self):
    engine.FLAGS.compare = 1
    with (mock.patch.object(engine, "floor", return_value=[1., 2., 3.]),
          mock.patch.object(evaluation, "_max_coordinates", return_value=4)):
      results = engine.measure("simple")
    self.assertEqual((results["coordinates"], results["num_steps"]), (1, 2))
    # Two steps and two ends of unrolls; two steps of a run.
    self.assertEqual(results["train_floor"], 2 * (2. + 3.) + (2 + 2) * 1.)
    self.assertEqual(results["evaluate_floor"], 2 * (2. + 1.) / 4)
    self.assertIn("sampled", results)
    for name, value in results.items():
      self.assertGreaterEqual(value, 0., name)

  def test_functions_are_called_in_turn(self):
    calls = []
    timings = timing.in_turn(
        [lambda: calls.append("a"), lambda: calls.append("b")], 3)
    self.assertEqual("".join(calls), "ababab")
    self.assertLen(timings, 2)

  def test_growth_is_per_coordinate_and_step(self):
    with mock.patch.object(
        timing, "in_turn", return_value=[timing.Timing(6., 1.)]):
      results = engine.measure_growth(20, 3)
    self.assertEqual((results["coordinates"], results["unroll_length"]),
                     (20, 3))
    self.assertEqual(results["seconds"], 0.1)

  @parameterized.parameters((0, 1), ([[1, 2], [3, 4]], 2))
  def test_floor_is_of_optimizee_network_and_derivatives(self, seed, n):
    meta_step = meta.MetaOptimizer(net={
        "net": "CoordinateWiseDeepLSTM", "net_options": {"layers": (3, 2)}}
        ).meta_minimize(problems.Simple(), 1, jit_compile=False)
    with mock.patch.object(engine, "alone", return_value=1.) as alone:
      seconds = engine.floor(meta_step, meta_step.reset(
          tf.constant(seed) if n > 1 else seed))
    # Of each layer: one product and three nonlinearities; two products.
    self.assertEqual([*seconds], [1., 2 * (1. + 3.), 2 * 2.])
    shapes = [call.args[1].shape.as_list() for call in alone.call_args_list
              if tf.is_tensor(call.args[1])]
    self.assertIn([4, 12], shapes)  # Weights of the first layer.
    self.assertIn([9, n], shapes)  # Sigmoids of n coordinates.

  def test_alone_is_the_time_of_one_call(self):
    num = engine._NUM_CALLS + 1
    with mock.patch.object(timing, "in_turn", side_effect=[
        [timing.Timing(seconds * num, 1.)] for seconds in (2., 3.)]):
      self.assertAlmostEqual(engine.alone(tf.sin, tf.ones([2])), 2.)


class UnseenTest(programs.TestCase, parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.enter_context(programs.given_flags(
        "benchmarks.unseen", "--runs=2", "--num_steps=3",
        "--jit_compile=false"))

  def test_adam_is_tuned_on_the_same_runs(self):
    eager.run_eagerly(self)
    self.enter_context(mock.patch.object(
        compilation, "can_vectorize", return_value=False))
    learned, default, tuned = unseen.measure(
        {"own": networks.Adam(0.001)}, unseen.Factorization())
    self.assertEqual([learned.optimizer, default.optimizer, tuned.optimizer],
                     ["own", "Adam, 0.001", "Adam, 0.1"])
    self.assertAlmostEqual(learned.final.mean, default.final.mean, places=5)
    self.assertLess(tuned.final.rank, default.final.rank)
    self.assertAlmostEqual(learned.highest, 1., delta=0.5)
    self.assertEqual(learned.final.num_runs, 2)

  def test_schedule_multiplies_the_updates(self):
    network = unseen.Scheduled(
        networks.Sgd(), lambda step: tf.gather([1., 0.5], step))
    losses = evaluation.Evaluator(network, problems.Simple(), 2)(
        [0], learning_rates=[0.1]).losses[0]  # Of x^2.
    np.testing.assert_allclose(
        losses / losses[0], [1., 0.8**2, 0.8**2 * 0.9**2], rtol=1e-6)

  def test_cosine_is_a_warmup_and_a_decay_to_0(self):
    of_keras = tf.keras.optimizers.schedules.CosineDecay(
        0.1, 100, warmup_target=1., warmup_steps=100)
    for step, expected in ((0, 0.1), (50, 0.55), (100, 1.), (150, 0.5),
                           (180, of_keras(180)), (200, 0.)):
      self.assertAlmostEqual(
          float(unseen.cosine(200, step)), float(expected), places=6)
    self.assertEqual(float(unseen.cosine(100, 50)), np.float32(0.55))

  def test_unknown_problem_is_named(self):
    with self.assertRaisesRegex(ValueError, "only has .'cubic'., but must be"):
      unseen.chosen(["cubic"], unseen.PROBLEMS)

  @parameterized.parameters("regression", "rare-class", "gru", "transformer")
  def test_synthetic_problem_can_be_computed(self, name):
    problems.check(unseen.PROBLEMS[name]())


class KerasProgramsTest(programs.TestCase):

  def setUp(self):
    super().setUp()
    self.enter_context(programs.given_flags(
        "benchmarks.unseen", "--runs=3", "--num_steps=2"))  # It has its flags.

  def test_means_are_of_runs_that_did_not_diverge(self):
    outcomes = iter([keras_programs.Outcome(1., 2.),
                     keras_programs.Outcome(np.nan, np.nan),
                     keras_programs.Outcome(3., 6.)])
    self.assertEqual(
        keras_programs.measure(lambda _: next(outcomes), keras.optimizers.Adam),
        (2., 4., 1))

  def test_all_runs_diverged(self):
    _, final, num_diverged = keras_programs.measure(
        lambda _: keras_programs.Outcome(np.inf, np.inf), keras.optimizers.Adam)
    self.assertTrue(np.isnan(final))
    self.assertEqual(num_diverged, 3)

  def test_distance_of_shifted_images_is_the_mean_shift(self):
    images = np.random.default_rng(0).normal(size=[50, 2, 2])
    self.assertEqual(keras_programs.distance(images, images), 0.)
    # The first coordinate of a random direction in 4 dimensions is 4 / (3 pi)
    # in the mean.
    shift = np.array([[1., 0.], [0., 0.]])
    self.assertAlmostEqual(
        keras_programs.distance(images, images + shift), 4 / (3 * np.pi),
        delta=0.05)

  def test_optimizer_that_does_nothing_keeps_the_loss(self):
    highest, final = keras_programs.PROGRAMS["text"](
        lambda _: keras.optimizers.SGD(0.))
    self.assertAlmostEqual(highest, 1., delta=0.1)
    self.assertAlmostEqual(final, np.log(2), delta=0.1)


if __name__ == "__main__":
  absltest.main()
