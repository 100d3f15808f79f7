"""Tests of the imitation of a teacher."""

import itertools
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from meta import imitation, sampling, schedules, seeds, unroll
import networks
import problems
from tests import assertions, eager, toys
from tests.toy_trainers import PROBLEM, make, restore, weights, without_time

T = 3
SEED = seeds.as_seed(5)


def learned(**options):
  return networks.CoordinateWiseDeepLSTM(**{
      "layers": (2, 3), "scale": 0.3,
      "initializer": tf.keras.initializers.RandomNormal(stddev=0.5, seed=1),
      **options})


MEMORY = {"preprocess_name": "RNNprop",
          "postprocess_options": {"nominal_step": 0.1, "min_size": 0.5}}
CASES = {
    "coordinates": (learned, problems.Quadratic(
        2, 3, stddev=1., dtype=tf.float64)),
    "functions": (learned, problems.Quadratic(
        2, 3, stddev=1., dtype=tf.float64, separate=True)),
    "memory": (lambda: learned(**MEMORY), toys.Regression(tf.float64)),
}


def as_student(network, teacher):
  return networks.Partition({"net": imitation.Student(network, teacher)})


def imitate(network, teacher, problem, run, num_steps=T):
  """The loss of imitation, the losses of the run, and its last parameters."""
  own_state, state = run.state, teacher.initial_state(run.params)
  total, losses = 0., []
  for _ in range(num_steps):
    loss, gradients = unroll.loss_and_gradients(problem, run)
    losses.append(loss)
    own, own_state = network.step(gradients, own_state, run.params)
    updates, state = teacher(gradients, state)
    errors = tf.concat(
        [tf.reshape(own[k] - updates[k], [-1]) for k in updates], 0)
    total += tf.reduce_mean(
        (errors / teacher.options["learning_rate"])**2) / 2
    run = unroll.advance(run, updates, ())
  return total, [*losses, unroll.loss(problem, run)], run.params


class GradientTest(parameterized.TestCase):

  @parameterized.product(
      case=tuple(CASES), teacher=(networks.Adam(0.1), networks.Momentum(0.3)))
  def test_is_the_derivative_of_the_squared_errors(self, case, teacher):
    make, problem = CASES[case]
    network = make()
    run = unroll.start(network, problem, SEED)
    with tf.GradientTape() as tape:
      total, losses, params = imitate(network, teacher, problem, run)
    student = as_student(network, teacher)
    actual = imitation.imitation_gradient(
        student, problem, unroll.start(student, problem, SEED), T)
    assertions.assert_close(
        actual[2], tape.gradient(total, [*network.trainable_variables]))
    # The run is the teacher's.
    assertions.assert_close(actual[0], tf.stack(losses))
    assertions.assert_close(actual[1].params, params)

  def test_mean_over_all_samples_is_the_gradient(self):
    network = as_student(learned(), networks.Adam(0.1))
    problem = problems.Quadratic(1, 5, stddev=1., dtype=tf.float64)
    run = unroll.start(network, problem, SEED)
    expected = imitation.imitation_gradient(network, problem, run, T)
    gradients = []
    for indices in itertools.product((0, 1), (2, 3, 4)):
      sample = {"net": sampling.Sample(
          tf.constant(indices), tf.constant([2., 3.]))}
      with mock.patch.object(sampling, "draw", return_value=sample):
        *others, gradient = imitation.imitation_gradient(
            network, problem, run, T, num_sampled=2)
      assertions.assert_close(others, list(expected[:2]))
      gradients.append(gradient)
    for of_samples, exact in zip(
        zip(*gradients), expected[2], strict=True):
      np.testing.assert_allclose(
          np.mean(of_samples, 0), exact, rtol=1e-6, atol=1e-9)
      self.assertGreater(np.abs(of_samples[0] - exact).max(), 1e-6)

  def test_gradient_side_by_side_is_the_mean(self):
    network = as_student(learned(layers=()), networks.Adam(0.1))
    problem = problems.Quadratic(2, 3, stddev=1.)
    unroll.start(network, problem, SEED)  # Makes the variables.
    def function(seed):
      return imitation.imitation_gradient(
          network, problem, unroll.start(network, problem, seed), T, 2)[2]

    runs = tf.random.split(SEED, 2, alg="philox")
    together = tf.function(function, autograph=False)(runs)
    alone = map(function, tf.unstack(runs))
    for a, b, c in zip(together, *alone, strict=True):
      np.testing.assert_allclose(a, (b + c) / 2, rtol=1e-5, atol=1e-7)


class StepTest(parameterized.TestCase):

  def step(self, problem, num_unrolls=2, nets=None, assignments=None,
           **options):
    """A step, its results, and the run after it."""
    eager.run_eagerly(self)
    optimizer = meta.MetaOptimizer(**nets or {"net": {
        "net": "CoordinateWiseDeepLSTM",
        "net_options": {"layers": (3,), "scale": 0.1}}})
    step = optimizer.meta_minimize(
        problem, T, 1e-30, assignments, jit_compile=False,
        teacher=networks.Adam(0.1), **options)
    run = step.reset(3)
    infos = []
    for _ in range(num_unrolls):
      info, run = step.train(run)
      infos.append(info)
    return optimizer, infos, run

  def test_meta_loss_is_that_of_the_unroll(self):
    problem = problems.Quadratic(2, 3, stddev=1.)
    optimizer, infos, _ = self.step(problem)
    network = optimizer.networks["net"]
    values = [imitate(
        network, networks.Adam(0.1), problem,
        unroll.start(network, problem, 3), num_steps)[0]
              for num_steps in (T, 2 * T)]
    np.testing.assert_allclose(
        [info.meta_loss for info in infos],
        [values[0], values[1] - values[0]], rtol=1e-5)

  def test_network_that_stays_has_half_a_squared_unit_a_step(self):
    # The first updates of Adam are as large as its learning rate.
    _, infos, _ = self.step(
        problems.Quadratic(5, 7, stddev=1.), 1, {"net": {
            "net": "CoordinateWiseDeepLSTM",
            "net_options": {"layers": (), "initializer": "zeros"}}})
    self.assertBetween(float(infos[0].meta_loss), 0.3 * T, 0.5 * T)

  def test_losses_of_several_networks_are_added(self):
    problem = toys.Filters()
    net = {"net": "KernelDeepLSTM", "net_options": {
        "kernel_shape": (3, 2), "layers": (2,), "scale": 0.1}}
    other = {**net, "net_options": {**net["net_options"], "seed": 1}}
    _, infos, run = self.step(
        problem, 1, {"c": net, "d": other}, [("c", ["c"]), ("d", ["d"])])
    sums = [np.mean(run.state[key].losses) for key in "cd"]
    np.testing.assert_allclose(infos[0].meta_loss, sum(sums), rtol=1e-5)
    self.assertGreater(abs(sums[0] - sums[1]), 1e-4)

  def test_second_derivatives_are_those_of_the_losses_alone(self):
    problem = problems.Quadratic(2, 3, stddev=1.)
    first, second = (self.step(problem, second_derivatives=b)[1]
                     for b in (False, True))
    assertions.assert_equal(first, second)

  def test_imitation_lets_the_network_make_the_updates_of_the_teacher(self):
    problem = problems.Quadratic(4, 3, stddev=1.)
    optimizer = meta.MetaOptimizer(net={
        "net": "CoordinateWiseDeepLSTM", "net_options": {
            "layers": (5,), "scale": 0.1, "preprocess_name": "LogAndSign",
            "preprocess_options": {"k": 5}}})
    step = optimizer.meta_minimize(
        problem, 10, 0.01, jit_compile=False, teacher=networks.Adam(0.01))
    losses = [float(step.train(step.reset(i))[0].meta_loss)
              for i in range(150)]
    self.assertLess(np.mean(losses[-10:]), 0.1 * np.mean(losses[:10]))

  def test_parameters_of_two_networks_have_no_teacher(self):
    with self.assertRaisesRegex(
        ValueError, "with a teacher each parameter must have one network"):
      meta.MetaOptimizer(
          one={"net": "Sgd"}, two={"net": "Sgd"}).meta_minimize(
              problems.Simple(), 2, teacher=networks.Adam(0.1),
              net_assignments=[("one", ["x"]), ("two", ["x"])])

  def test_networks_of_two_types_have_a_teacher(self):
    eager.run_eagerly(self)
    config = {"net": "CoordinateWiseDeepLSTM", "net_options": {"layers": (2,)}}
    step = meta.MetaOptimizer(one=config, two=config).meta_minimize(
        toys.TwoTypes(), 2, jit_compile=False, teacher=networks.Adam(0.1),
        net_assignments=[("one", ["a"]), ("two", ["b"])])
    info, _ = step.train(step.reset(0))
    self.assertGreater(info.meta_loss, 0.)

  def test_teacher_is_hand_designed(self):
    with self.assertRaisesRegex(
        ValueError, "teacher is a CoordinateWiseDeepLSTM, but must be a hand"):
      meta.MetaOptimizer().meta_minimize(
          problems.Simple(), 2, teacher=learned())


class TrainerTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    eager.run_eagerly(self)

  def test_epochs_that_are_drawn_are_those_of_the_teacher(self):
    settings = {"imitation": 0.3, "teacher": "Sgd",
                "teacher_learning_rate": 0.03, "sampled_coordinates": 1,
                "max_gradient_norm": 0.1, "num_steps": 2}
    trained = make(**settings)
    optimizer = make().optimizer
    common = {"jit_compile": False, "num_sampled": 1, "max_gradient_norm": 0.1}
    own = optimizer.meta_minimize(PROBLEM, 2, 0.01, **common)
    led = optimizer.meta_minimize(
        PROBLEM, 2, 0.01, adam=own.optimizer, teacher=networks.Sgd(0.03),
        **common)
    drawn = []
    for number in range(4):
      epoch = trained.run_epoch()
      drawn.append(epoch.is_imitation)
      self.assertEqual(
          epoch.is_imitation, schedules.imitates(trained.settings, number))
      step = led if epoch.is_imitation else own
      info, _ = step.train(step.reset(seeds.derive(
          trained.settings.seed, "training", number)))
      self.assertEqual(epoch.meta_loss, float(info.meta_loss))
    self.assertLen(set(drawn), 2)
    assertions.assert_equal(
        weights(trained), [v.numpy() for v in own.network.variables])

  def test_restored_training_goes_on_bit_for_bit(self):
    one, two = (make(imitation=0.3) for _ in range(2))
    before = [one.run_epoch().is_imitation for _ in range(3)]
    restore(two, one)
    one, two = ([without_time(t.run_epoch()) for _ in range(3)] + weights(t)
                for t in (one, two))
    assertions.assert_equal(one, two)
    self.assertLen({*before, *(epoch.is_imitation for epoch in one[:3])}, 2)


if __name__ == "__main__":
  absltest.main()
