"""Tests of the replicas of a distribution strategy."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from meta import evaluation, replicas, unroll
import networks
import problems
from tests import devices

SETTINGS = {"num_tasks": 4, "num_steps": 4, "unroll_length": 2,
            "learning_rate": 0.01, "evaluation_epochs": 2,
            "evaluation_period": 2, "jit_compile": False}
PROBLEM = problems.Quadratic(3, 2, stddev=1.)
RATES = [0.1, 0.2, 0.1, 0.2, 0.1]

setUpModule = devices.start


class Losses(meta.Recorder):
  """All losses and norms."""

  def __init__(self):
    self.values = []

  def epoch(self, epoch):
    self.values += [epoch.final_loss, epoch.meta_loss, *epoch.gradient_norms]

  def validation(self, validation):
    self.values += validation.losses.ravel().tolist()


def make_optimizer():
  return meta.MetaOptimizer(net={"net": "CoordinateWiseDeepLSTM",
                                 "net_options": {"layers": (2,), "scale": 0.1}})


def train(settings):
  """All losses of a training."""
  losses = Losses()
  meta.train(PROBLEM, make_optimizer(), 3,
             meta.Settings(**SETTINGS | settings), recorders=[losses])
  return losses.values


def evaluate():
  """Losses and parameters of five runs at two rates."""
  evaluator = evaluation.Evaluator(
      networks.Adam(), PROBLEM, 3, jit_compile=False)
  result = evaluator(range(5), learning_rates=RATES)
  return result.losses, result.params["x"]


def mistake():
  """The message of an error."""
  try:
    meta.Trainer(PROBLEM, make_optimizer(), meta.Settings(num_tasks=3))
  except ValueError as error:
    return str(error)


class ReplicasTest(parameterized.TestCase):

  def test_without_a_strategy_values_stay_as_they_are(self):
    values = {"x": tf.ones([3, 2])}
    self.assertIs(replicas.split(3, values), values)
    self.assertIs(replicas.gather(3, values)["x"], values["x"])
    self.assertEqual(replicas.share(3, list), [0, 1, 2])
    self.assertEqual(replicas.count(), 1)
    self.assertTrue(replicas.is_first_worker())

  @parameterized.parameters(
      (2, {"num_tasks": 2, "evaluation_epochs": 1}),
      (2, {"stagger": True, "max_gradient_norm": 0.1}))
  def test_losses_do_not_depend_on_the_number_of_devices(self, num, settings):
    np.testing.assert_allclose(
        devices.run(num, train, settings), train(settings), rtol=1e-5)

  def test_tasks_that_cannot_be_shared_out_are_told(self):
    self.assertEqual(devices.run(2, mistake), "num_tasks is 3, but must be a "
                     "multiple of the number of replicas, 2.")

  def test_networks_of_another_scope_are_told(self):
    optimizer = make_optimizer()
    optimizer.networks["net"].initial_state({"x": tf.zeros([1])})
    with tf.distribute.OneDeviceStrategy("cpu:0").scope():
      with self.assertRaisesRegex(
          ValueError, "outside of the scope .* make the networks in it"):
        optimizer.meta_loss(PROBLEM, 1)

  def test_networks_of_a_scope_are_not_used_outside_of_it(self):
    optimizer = make_optimizer()
    with tf.distribute.MirroredStrategy(["cpu:0"]).scope():
      optimizer.networks["net"].initial_state({"x": tf.zeros([1])})
    with self.assertRaisesRegex(
        ValueError, "in the scope of a distribution strategy: use the net"):
      optimizer.meta_loss(PROBLEM, 1)

  def test_evaluation_is_shared_out(self):
    losses, params = devices.run(2, evaluate)
    for i, rate in enumerate(RATES):
      network = networks.Adam(rate)
      expected, end = unroll.unroll(
          network, PROBLEM, unroll.start(network, PROBLEM, i), 3)
      np.testing.assert_allclose(losses[i], expected, rtol=1e-5)
      np.testing.assert_allclose(
          params[i], end.params["x"], rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
  absltest.main()
