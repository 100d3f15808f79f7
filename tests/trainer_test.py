"""Tests of the trainer: epochs, tasks, validations, checkpoints."""

from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import compilation, recorders, schedules, seeds, trainer, unroll
import networks
import problems
from tests import assertions, eager, toys
from tests.toy_trainers import (
    PROBLEM,
    SEED,
    make,
    restore,
    weights,
    without_time,
)


class TrainerTest(parameterized.TestCase):

  @parameterized.parameters((4, 2, [2, 2]), (5, 2, [2, 2, 1]), (1, 3, [1]))
  def test_leftover_steps_are_a_shorter_last_unroll(
      self, num_steps, len_unroll, lengths):
    eager.run_eagerly(self)
    trained = make(num_steps=num_steps, unroll_length=len_unroll)
    epoch = trained.run_epoch()
    self.assertLen(epoch.gradient_norms, len(lengths))
    step = make(num_steps=num_steps, unroll_length=len_unroll).meta_step
    run, losses = step.reset(seeds.derive(SEED, "training", 0)), []
    for length in lengths:
      info, run = step.train(run, length)
      self.assertLen(info.losses, length + 1)
      losses.append(info)
    self.assertEqual(run.step, num_steps)
    self.assertEqual(epoch.final_loss, float(losses[-1].losses[-1]))
    np.testing.assert_allclose(
        epoch.meta_loss, np.sum([info.meta_loss for info in losses]), rtol=1e-6)
    assertions.assert_equal(
        weights(trained), [v.numpy() for v in step.network.variables])

  def test_traces_nothing_after_the_first_epoch(self):
    problem = problems.Quadratic(2, 2)
    # It runs in Python only where it is traced.
    with mock.patch.object(problem, "loss", side_effect=problem.loss) as loss:
      trained = make(problem, min_num_steps=2, num_steps=8)
      trained.run_epoch()
      trained.validate()
      self.assertTrue(loss.called)
      loss.reset_mock()
      for _ in range(3):  # With another number of steps, too.
        trained.run_epoch()
        trained.validate()
      loss.assert_not_called()

  def test_tasks_are_runs_of_their_own(self):
    trained = make(num_steps=2, num_tasks=3)
    alone = []
    for index in range(6):
      run = trained.meta_step.reset(seeds.derive(SEED, "training", index))
      losses, _ = unroll.unroll(trained.meta_step.network, PROBLEM, run, 2)
      alone.append(losses.numpy())
    epoch = trained.run_epoch()
    np.testing.assert_allclose(
        epoch.meta_loss, np.sum(np.mean(alone[:3], axis=0)), rtol=1e-5)
    np.testing.assert_allclose(
        epoch.final_loss, np.mean(alone[:3], axis=0)[-1], rtol=1e-5)
    # The first losses of the second epoch do not depend on the weights.
    step = trained.meta_step
    with mock.patch.object(step, "train", side_effect=step.train) as train:
      trained.run_epoch()
    run, = train.call_args.args[:1]
    np.testing.assert_allclose(
        unroll.loss(PROBLEM, run), [a[0] for a in alone[3:]], rtol=1e-5)

  def test_staggered_tasks_are_runs_that_begin_at_different_unrolls(self):
    # Of 3 unrolls each; task k is k unrolls ahead.
    trained = make(num_steps=6, num_tasks=3, stagger=True)
    step = trained.meta_step
    with mock.patch.object(step, "train", side_effect=step.train) as train:
      epochs = [trained.run_epoch() for _ in range(3)]
    alone = {}
    for number, call in enumerate(train.call_args_list):
      run = call.args[0]
      for k in range(3):
        index, unrolls = divmod(number + k, 3)
        if number == 0:
          unrolls = 0
        if unrolls == 0:
          alone[k] = trained.meta_step.reset(
              seeds.derive(SEED, "training", 3 * index + k))
        if number + k < 3:  # The first run is a shorter one.
          unrolls = number
        with self.subTest(unroll=number, task=k):
          self.assertEqual(run.step[k], 2 * unrolls)
          assertions.assert_equal(
              [t[k] for t in tf.nest.flatten(run.constants)],
              tf.nest.flatten(alone[k].constants))
    self.assertEqual(trained.num_epochs, 3)
    self.assertTrue(all(np.isfinite(e.final_loss) for e in epochs))

  def test_staggered_tasks_have_the_losses_of_runs_alone(self):
    problem = problems.Quadratic(2, 2, stddev=1.)
    with mock.patch.object(problem, "loss", side_effect=problem.loss) as loss:
      trained = make(problem, num_steps=4, num_tasks=2, stagger=True)
      step = trained.meta_step
      step.optimizer.learning_rate = 0.  # The network stays the same.
      epochs = [trained.run_epoch()]
      self.assertTrue(loss.called)
      loss.reset_mock()
      epochs += [trained.run_epoch() for _ in range(2)]
      loss.assert_not_called()  # Nothing is traced after the first epoch.
    alone = [
        unroll.unroll(step.network, PROBLEM, step.reset(
            seeds.derive(SEED, "training", i)), 4)[0] for i in range(6)]
    # Task 1 is an unroll ahead: its first run ends after two of four updates.
    np.testing.assert_allclose(
        [e.final_loss for e in epochs],
        [(alone[0][4] + alone[1][2]) / 2, (alone[2][4] + alone[3][4]) / 2,
         (alone[4][4] + alone[5][4]) / 2], rtol=1e-5)

  @parameterized.parameters(1.5, "1", None, 2**63)
  def test_bad_seed_is_named(self, seed):
    with self.assertRaisesRegex(ValueError, "^seed is .*, but must be an int"):
      make(seed=seed)

  def test_losses_of_many_functions_are_averaged(self):
    eager.run_eagerly(self)
    trained = make(problems.Quadratic(3, 2, separate=True), num_steps=2)
    run = trained.meta_step.reset(seeds.derive(SEED, "training", 0))
    losses, _ = unroll.unroll(
        trained.meta_step.network, trained.meta_step.problem, run, 2)
    epoch = trained.run_epoch()
    np.testing.assert_allclose(epoch.final_loss, np.mean(losses[-1]), rtol=1e-5)
    np.testing.assert_allclose(
        epoch.meta_loss, np.sum(np.mean(losses, axis=1)), rtol=1e-5)

  def test_epochs_draw_different_functions(self):
    eager.run_eagerly(self)
    trained = make(num_steps=1)
    self.assertLen({trained.run_epoch().final_loss for _ in range(4)}, 4)
    self.assertEqual(trained.num_epochs, 4)

  @parameterized.parameters((SEED, True), (SEED + 1, False))
  def test_seed_says_all(self, seed, same):
    eager.run_eagerly(self)
    one, two = make(), make(seed=seed)
    epochs = [[without_time(t.run_epoch()) for _ in range(2)]
              for t in (one, two)]
    self.assertEqual(epochs[0] == epochs[1], same)
    validations = [t.validate()[0].losses for t in (one, two)]
    self.assertEqual(np.array_equal(*validations), same)

  def test_training_improves_validation(self):
    trained = make(problems.Simple(), num_steps=4)
    before, = trained.validate()
    for _ in range(50):
      trained.run_epoch()
    after, = trained.validate()
    self.assertTrue(after.improved)
    self.assertLess(np.mean(after.losses[:, -1]),
                    0.5 * np.mean(before.losses[:, -1]))

  def test_validation_is_of_the_same_runs_each_time(self):
    trained = make(evaluation_epochs=3)
    (first,), (second,) = trained.validate(), trained.validate()
    self.assertTrue(first.improved)
    self.assertFalse(second.improved)
    np.testing.assert_array_equal(first.losses, second.losses)
    self.assertEqual(first.losses.shape, (3, 5))
    network = trained.meta_step.network
    for i, losses in enumerate(first.losses):
      run = unroll.start(
          network, PROBLEM, seeds.derive(SEED, "validation", i))
      np.testing.assert_allclose(
          losses, unroll.unroll(network, PROBLEM, run, 4)[0], rtol=1e-5)

  def test_trace_is_that_of_the_first_validation_run(self):
    eager.run_eagerly(self)
    trained = make()
    validation, = trained.validate()
    np.testing.assert_allclose(
        validation.trace.loss, validation.losses[0, :-1], rtol=1e-6)

  def test_validation_does_not_train(self):
    eager.run_eagerly(self)
    one, two = make(), make()
    one.validate()
    self.assertEqual(without_time(one.run_epoch()),
                     without_time(two.run_epoch()))

  def test_diverged_epochs_are_dropped_and_counted(self):
    eager.run_eagerly(self)
    trained = make(toys.Moody(), num_steps=5, unroll_length=2)
    num_sick = 0
    for i in range(12):
      seed = seeds.derive(SEED, "training", i)
      run = unroll.start(networks.Sgd(), toys.Moody(), seed)
      sick = np.isnan(run.constants)
      before = weights(trained)
      epoch = trained.run_epoch()
      self.assertEqual(epoch.num_dropped, 3 if sick else 0)
      self.assertEqual(np.isfinite(epoch.final_loss), not sick)
      same = [np.array_equal(a, b)
              for a, b in zip(before, weights(trained), strict=True)]
      self.assertEqual(all(same), bool(sick))
      num_sick += bool(sick)
    self.assertBetween(num_sick, 1, 11)
    self.assertTrue(all(np.all(np.isfinite(w)) for w in weights(trained)))

  def test_learning_rate_is_that_of_the_schedule(self):
    eager.run_eagerly(self)
    trained, rates = make(num_steps=2, decay_epochs=4), []
    for _ in range(5):
      before = weights(trained)
      trained.run_epoch()
      rates.append(float(trained.meta_step.optimizer.learning_rate))
    np.testing.assert_allclose(rates, 0.01 * np.array(
        [1., (2 + np.sqrt(2)) / 4, 0.5, (2 - np.sqrt(2)) / 4, 0.]), rtol=1e-5)
    assertions.assert_equal(weights(trained), before)  # At a rate of 0.

  def test_runs_have_the_length_that_was_drawn(self):
    eager.run_eagerly(self)
    trained = make(num_steps=6, min_num_steps=2)
    self.assertLen({schedules.num_steps(trained.settings, e)
                    for e in range(8)}, 3)
    for number in range(8):
      num_steps = schedules.num_steps(trained.settings, number)
      run = trained.meta_step.reset(seeds.derive(SEED, "training", number))
      first = unroll.loss(PROBLEM, run)
      with mock.patch.object(
          trained.meta_step, "train", wraps=trained.meta_step.train) as train:
        epoch = trained.run_epoch()
      steps = [int(call.args[0].step) for call in train.call_args_list]
      self.assertEqual(steps, list(range(0, num_steps, 2)))
      self.assertEqual(
          unroll.loss(PROBLEM, train.call_args_list[0].args[0]), first)
      self.assertLen(epoch.gradient_norms, num_steps // 2)
    self.assertEqual(trained.validate()[0].losses.shape, (1, 7))

  def test_networks_go_back_to_the_best_after_an_epoch_that_diverged(self):
    eager.run_eagerly(self)
    trained = make(num_steps=2, restart_from_best=True)
    state = [*trained.meta_step.network.variables,
             *trained.meta_step.optimizer.variables]
    trained.run_epoch()
    trained.validate()
    best = [np.array(v) for v in state]
    trained.run_epoch()
    self.assertFalse(np.array_equal(weights(trained)[0], best[0]))
    with mock.patch.object(PROBLEM, "loss", side_effect=lambda *args: (
        problems.Quadratic.loss(PROBLEM, *args) * np.nan)):
      self.assertEqual(trained.run_epoch().num_dropped, 1)
    assertions.assert_equal([np.array(v) for v in state], best)

  def test_staggered_runs_start_anew_after_an_epoch_that_diverged(self):
    trained = make(num_tasks=2, stagger=True, restart_from_best=True)
    network = trained.meta_step.network.trainable_variables[0]
    good = network.numpy()
    network.assign(good * np.nan)
    epoch = trained.run_epoch()
    self.assertEqual(epoch.num_dropped, len(epoch.gradient_norms))
    np.testing.assert_array_equal(network, good)
    self.assertEqual(trained.run_epoch().num_dropped, 0)

  @parameterized.parameters(
      {"max_gradient_norm": 1e-3, "objective": "log"},
      {"second_derivatives": True},
      {"estimator": "es", "perturbation_stddev": 0.2, "perturbation_pairs": 3})
  def test_settings_of_the_meta_gradient_reach_the_step(self, **options):
    if "estimator" not in options:
      eager.run_eagerly(self)
    trained = make(num_steps=2, **options)
    epoch = trained.run_epoch()
    step = make(num_steps=2).optimizer.meta_minimize(
        PROBLEM, 2, 0.01, jit_compile=False, **options)
    info, _ = step.train(step.reset(seeds.derive(SEED, "training", 0)))
    self.assertEqual(epoch.gradient_norms, [float(info.gradient_norm)])
    self.assertEqual(epoch.meta_loss, float(info.meta_loss))
    self.assertNotEqual(
        epoch.gradient_norms, make(num_steps=2).run_epoch().gradient_norms)
    assertions.assert_equal(
        weights(trained), [v.numpy() for v in step.network.variables])

  def test_time_of_a_validation_is_that_of_a_run(self):
    eager.run_eagerly(self)
    trained = make(evaluation_epochs=3)
    with (mock.patch.object(compilation, "can_vectorize", return_value=False),
          mock.patch.object(
              trainer.time, "perf_counter", side_effect=[0., 6.])):
      validation, = trained.validate()
    self.assertEqual(validation.seconds, 2.)

  def test_num_dropped_counts_what_is_not_finite(self):
    epoch = recorders.Epoch(
        number=1, final_loss=1., meta_loss=2., seconds=1., num_steps=5,
        gradient_norms=[1., np.inf, 0., np.nan, -np.inf])
    self.assertEqual(epoch.num_dropped, 3)

  @parameterized.parameters(
      {"decay_epochs": 4, "min_num_steps": 2, "patience": 1,
       "restart_from_best": True},
      {"num_tasks": 2, "sampled_coordinates": 2, "stagger": True})
  def test_restored_training_goes_on_bit_for_bit(self, **options):
    if "num_tasks" not in options:
      eager.run_eagerly(self)
    expected, restored = (make(**options) for _ in range(2))
    for _ in range(2):
      expected.run_epoch()
    self.assertTrue(expected.validate()[0].improved)
    restore(restored, expected)
    self.assertEqual(restored.num_epochs, 2)
    epochs, own = ([without_time(t.run_epoch()) for _ in range(3)]
                   for t in (expected, restored))
    self.assertEqual(own, epochs)
    assertions.assert_equal(weights(restored), weights(expected))
    assertions.assert_equal(
        *[[v._replace(seconds=0.) for v in t.validate()]
          for t in (restored, expected)])
    assertions.assert_equal(
        *[[np.array(v) for v in t.meta_step.optimizer.variables]
          for t in (restored, expected)])


if __name__ == "__main__":
  absltest.main()
