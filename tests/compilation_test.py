"""Tests of the choice of what XLA compiles."""

import itertools
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from meta import compilation, evaluation, seeds, unroll
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


class Branch(problems.Simple):
  """A branch that depends on the point; several runs cannot share it."""

  def loss(self, params, constants, seed):
    x = params["x"]
    return tf.cond(x > 0.5, lambda: x**2, lambda: 3. * x**2)


class Mask(problems.Problem):
  """As many coordinates in the loss as the noise tells, eight at most."""

  def sample(self, seed):
    return {"x": tf.ones([8])}, ()

  def loss(self, params, constants, seed):
    is_kept = tf.random.stateless_uniform([8], seed, alg="philox") < 0.5
    return tf.reduce_sum(tf.boolean_mask(params["x"], is_kept)**2)


class MaskedSample(problems.Problem):
  """As many constants as the seed tells."""

  def sample(self, seed):
    is_kept = tf.random.stateless_uniform([8], seed, alg="philox") < 0.5
    return {"x": tf.ones([])}, tf.boolean_mask(tf.ones([8]), is_kept)

  def loss(self, params, constants, seed):
    return params["x"]**2 * (1. + tf.reduce_sum(constants))


class Loop(problems.Simple):
  """A loop whose length depends on the point; XLA knows it for one run."""

  def loss(self, params, constants, seed):
    x = params["x"]
    return tf.while_loop(
        lambda i, y: tf.cast(i, tf.float32) < 3. * x,
        lambda i, y: (i + 1, 0.9 * y), (0, x**2), maximum_iterations=3)[1]


class FromDataset(problems.Simple):
  """The factor is an element of a data set, which one run reads at a time."""

  def sample(self, seed):
    params, _ = super().sample(seed)
    factors = tf.data.Dataset.from_tensor_slices([1., 2., 3.])
    factor = factors.skip(tf.cast(seed[1] % 3, tf.int64)).take(1)
    return params, factor.get_single_element()

  def loss(self, params, constants, seed):
    return constants * params["x"]**2


class ChooseTest(parameterized.TestCase):

  def choose(self, problem, num_gpus, seed=0):
    network = toys.coordinatewise(layers=(2,))
    run = unroll.start(network, problem, seed)
    with mock.patch.object(
        tf.config, "get_visible_devices", lambda _: [None] * num_gpus):
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


  def test_runs_side_by_side_are_another_question_than_one(self):
    self.assertEqual(self.choose(Loop(), 0), (True, False))
    self.assertEqual(
        self.choose(Loop(), 0, tf.constant([[1, 2], [3, 4]])), (False, True))


class SideBySideTest(parameterized.TestCase):

  @parameterized.parameters(
      (toys.Regression, True), (Loop, True), (Branch, False), (Mask, False),
      (FromDataset, False))
  def test_problem_can_be_vectorized(self, make_problem, expected):
    problem = make_problem()
    run = unroll.start(networks.Sgd(), problem, 0)
    self.assertEqual(compilation.can_vectorize(problem, run), expected)

  def test_runs_whose_tensors_differ_in_size_are_made_one_after_another(self):
    for problem, jit_compile in itertools.product(
        (Mask(), MaskedSample()), (False, None)):
      losses = evaluation.Evaluator(
          networks.Sgd(0.1), problem, 2, jit_compile)(range(4)).losses
      self.assertTrue(np.isfinite(losses).all())
      self.assertGreater(len({*losses[:, 0].tolist()}), 1)

  @parameterized.parameters((Loop, 2), (Branch, 1))
  def test_runs_are_made_whatever_xla_knows(self, make_problem, num_tasks):
    problem = make_problem()
    meta_step = meta.MetaOptimizer(net={
        "net": "CoordinateWiseDeepLSTM", "net_options": {"layers": ()}}
        ).meta_minimize(problem, 2)
    losses = evaluation.Evaluator(
        meta_step.network, problem, 2)(range(3)).losses
    expected, _ = unroll.unroll(
        meta_step.network, problem, unroll.start(
            meta_step.network, problem, 0), 2)
    np.testing.assert_allclose(losses, [expected] * 3, rtol=1e-5)
    runs = meta_step.reset(seeds.stack(list(range(num_tasks))))
    info, _ = meta_step.train(runs)
    np.testing.assert_allclose(
        tf.reshape(info.losses, [3, -1])[:, 0], expected, rtol=1e-5)

  def test_several_tasks_of_a_branch_are_refused(self):
    meta_step = meta.MetaOptimizer(net={
        "net": "CoordinateWiseDeepLSTM", "net_options": {"layers": ()}}
        ).meta_minimize(Branch(), 2)
    with self.assertRaisesRegex(
        ValueError, "^TensorFlow cannot vectorize this problem over several ru"
        "ns. Train on one run at a time.*unroll=True"):
      meta_step.train(meta_step.reset(tf.constant([[1, 2], [3, 4]])))


if __name__ == "__main__":
  absltest.main()
