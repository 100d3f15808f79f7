"""Tests of the choice of what XLA compiles."""

from unittest import mock

from absl.testing import absltest, parameterized
import tensorflow as tf

from meta import compilation, unroll
import networks
import problems
from tests import toys


class Convolution(problems.Problem):
  """A convolution, within a function."""

  def sample(self, seed):
    return {"w": tf.random.stateless_normal([2, 2, 1, 1], seed)}, ()

  def loss(self, params, constants, seed):
    convolve = tf.function(lambda w: tf.nn.conv2d(
        tf.ones([1, 3, 3, 1]), w, 1, "SAME"), autograph=False)
    return tf.reduce_sum(convolve(params["w"])**2)


class Opaque(problems.Simple):
  """An operation that XLA does not know."""

  def loss(self, params, constants, seed):
    return tf.ensure_shape(
        tf.numpy_function(lambda x: x * x, [params["x"]], tf.float32), [])


class ChooseTest(parameterized.TestCase):

  def choose(self, problem, num_gpus):
    network = toys.coordinatewise()
    run = unroll.start(network, problem, 0)
    with mock.patch.object(
        tf.config, "list_physical_devices", lambda _: [None] * num_gpus):
      return compilation.choose(network, problem, run)

  @parameterized.parameters(0, 1)
  def test_known_operations_are_compiled_as_a_whole(self, num_gpus):
    self.assertEqual(self.choose(toys.Regression(), num_gpus), (True, False))

  def test_convolutions_within_functions_are_left_to_the_kernels_of_a_cpu(self):
    self.assertEqual(self.choose(Convolution(), 0), (False, True))

  def test_convolutions_are_compiled_on_a_gpu(self):
    self.assertEqual(self.choose(Convolution(), 1), (True, False))

  @parameterized.parameters(0, 1)
  def test_unknown_operations_leave_the_network_to_xla(self, num_gpus):
    self.assertEqual(self.choose(Opaque(), num_gpus), (False, True))


class CanVectorizeTest(parameterized.TestCase):

  def test_most_problems_can(self):
    problem = toys.Regression()
    run = unroll.start(networks.Sgd(), problem, 0)
    self.assertTrue(compilation.can_vectorize(problem, run))


if __name__ == "__main__":
  absltest.main()
