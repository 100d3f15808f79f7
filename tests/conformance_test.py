"""Tests of every network on every problem."""

import functools
import tempfile

from absl.testing import absltest, parameterized
import keras
import numpy as np
import sonnet as snt
import tensorflow as tf

from meta import evaluation, meta_optimizer, unroll
import networks
import problems
from tests import assertions, fake_data, toys

T = 3
DATA = [np.random.default_rng(0).normal(size=[9, size]) for size in (3, 2)]
LOG_AND_SIGN = {"preprocess_name": "LogAndSign", "preprocess_options": {"k": 5}}
NETWORKS = {
    "coordinatewise": toys.coordinatewise,
    "log_and_sign": lambda: toys.coordinatewise(**LOG_AND_SIGN),
    "standard": lambda: networks.StandardDeepLSTM(3, (4,), scale=0.1),
    "kernel": lambda: networks.KernelDeepLSTM((3, 2), (4,), scale=0.1),
    "sgd": lambda: networks.Sgd(0.01),
    "rprop": lambda: networks.Rprop(0.01),  # The others are built as Adam is.
    "adam": lambda: networks.Adam(0.01),
    "partition": lambda: networks.Partition({"one": toys.coordinatewise()}),
}


@functools.cache
def mnist():
  with tempfile.TemporaryDirectory() as folder:
    fake_data.write_mnist(folder)
    return problems.Mnist(layers=(3,), batch_size=4, data_dir=folder)


@functools.cache
def cifar10():
  with tempfile.TemporaryDirectory() as folder:
    fake_data.write_cifar10(folder)
    return problems.Cifar10((3, 2), (3,), batch_size=4, data_dir=folder)


@functools.cache
def neural_art():
  with tempfile.TemporaryDirectory() as folder:
    fake_data.write_neural_art(folder, "train16", image_size=16)
    return problems.NeuralArt(f"{folder}/style/{fake_data.STYLES[0]}", image_size=16,
                              data_dir=folder)


@functools.cache
def keras_problem():
  return problems.KerasProblem(lambda: keras.Sequential([
      keras.Input([3]), keras.layers.Dense(4, "tanh"),
      keras.layers.BatchNormalization(), keras.layers.Dropout(0.1),
      keras.layers.Dense(2)]), "mse", DATA, batch_size=4)


@functools.cache
def sonnet_problem():
  return problems.SonnetProblem(
      lambda: snt.nets.MLP([4, 2], activation=tf.tanh, dropout_rate=0.1),
      keras.losses.mean_squared_error, DATA, batch_size=4)


PROBLEMS = {
    "simple": problems.Simple,
    "simple_multi": lambda: problems.SimpleMultiOptimizer(3),
    "quadratic": lambda: problems.Quadratic(2, 3),
    "separate": lambda: problems.Quadratic(2, 3, separate=True),
    "ensemble": lambda: problems.Ensemble(
        [problems.Quadratic(2, 3), problems.Quadratic(1, 3)]),
    "mnist": mnist,
    "cifar10": cifar10,
    "neural_art": neural_art,
    "keras": keras_problem,
    "sonnet": sonnet_problem,
    "regression": toys.Regression,
    "filters": toys.Filters,
}
ONLY = {"standard": ("quadratic", "separate", "ensemble"),
        "kernel": ("filters",)}  # The others take parameters of any shape.
# Two networks are enough.
SLOW = dict.fromkeys(("cifar10", "neural_art", "keras", "sonnet"),
                     ("log_and_sign", "adam"))
PAIRS = [(net, problem) for net in NETWORKS for problem in PROBLEMS
         if problem in ONLY.get(net, PROBLEMS)
         and net in SLOW.get(problem, NETWORKS)]
REFUSED = [(net, problem) for net in NETWORKS for problem in PROBLEMS
           if problem not in ONLY.get(net, PROBLEMS)]


class ConformanceTest(parameterized.TestCase):

  @parameterized.parameters(*PAIRS)
  def test_network_runs_on_problem(self, net, problem):
    network, problem = NETWORKS[net](), PROBLEMS[problem]()
    run = unroll.start(network, problem, 1)
    losses, end = unroll.unroll(network, problem, run, T)
    with self.subTest("shapes_and_types_are_kept"):
      tf.nest.map_structure(
          lambda a, b: self.assertEqual((a.shape, a.dtype), (b.shape, b.dtype)),
          run, end)
      self.assertEqual(list(run.params), list(end.params))
    with self.subTest("losses_are_finite"):
      self.assertEqual(
          losses.shape, [T + 1, *unroll.loss(problem, run).shape])
      self.assertTrue(np.all(np.isfinite(losses)))
    with self.subTest("every_parameter_moves"):
      for name in run.params:
        self.assertFalse(
            np.array_equal(run.params[name], end.params[name]), name)
    with self.subTest("constants_and_seed_stay"):
      assertions.assert_equal(end.constants, run.constants)
      assertions.assert_equal(end.seed, run.seed)
    with self.subTest("two_unrolls_are_one"):
      first, run = unroll.unroll(network, problem, run, 1)
      second, run = unroll.unroll(network, problem, run, T - 1)
      np.testing.assert_array_equal(first[-1], second[0])
      np.testing.assert_array_equal(
          np.concatenate([first[:-1], second]), losses)
      assertions.assert_equal(run, end)

  @parameterized.parameters(
      *(pair for pair in PAIRS if pair[0] == "log_and_sign"),
      ("standard", "ensemble"), ("kernel", "filters"),
      ("sgd", "simple_multi"), ("adam", "quadratic"), ("partition", "mnist"))
  def test_graph_side_by_side_is_eager(self, net, problem):
    network, problem = NETWORKS[net](), PROBLEMS[problem]()
    alone = [unroll.unroll(network, problem,
                           unroll.start(network, problem, seed), T)[0]
             for seed in (1, 2)]
    np.testing.assert_allclose(
        evaluation.Evaluator(network, problem, T, jit_compile=False)([1, 2]),
        np.concatenate([losses.numpy().reshape([T + 1, -1]).T
                        for losses in alone]), rtol=1e-4, atol=1e-6)

  @parameterized.parameters(*REFUSED)
  def test_network_refuses_problem_of_other_shapes(self, net, problem):
    with self.assertRaisesRegex(ValueError, "but a parameter has shape"):
      evaluation.Evaluator(NETWORKS[net](), PROBLEMS[problem](), T)

  @parameterized.parameters(
      ("log_and_sign", "regression"), ("adam", "mnist"),
      ("standard", "separate"), ("kernel", "filters"))
  def test_xla_is_eager(self, net, problem):
    network, problem = NETWORKS[net](), PROBLEMS[problem]()
    run = unroll.start(network, problem, 1)

    def function(run):
      return unroll.unroll(network, problem, run, T)

    assertions.assert_close(
        tf.function(function, jit_compile=True)(run), function(run),
        rtol=1e-4, atol=1e-5)

  @parameterized.parameters(
      ("log_and_sign", "separate", False, True),
      ("log_and_sign", "regression", False, False),
      ("coordinatewise", "separate", True, True))
  def test_compiled_meta_gradient_is_eager(
      self, net, problem, second_derivatives, jit_compile):
    network, problem = NETWORKS[net](), PROBLEMS[problem]()
    run = unroll.start(network, problem, 1)

    def gradients(run):
      with tf.GradientTape() as tape:
        losses, _ = unroll.unroll(network, problem, run, T, second_derivatives)
      return tape.gradient(losses, network.trainable_variables)

    compiled = tf.function(gradients, jit_compile=jit_compile)(run)
    for a, e in zip(compiled, gradients(run), strict=True):
      np.testing.assert_allclose(a, e, rtol=1e-3, atol=1e-4 * np.abs(e).max())

  @parameterized.parameters(
      *(p for p in PAIRS if p[0] not in ("sgd", "adam")))
  def test_fast_meta_gradient_is_the_tapes(self, net, problem):
    network, problem = NETWORKS[net](), PROBLEMS[problem]()
    run = unroll.start(network, problem, 1)
    with tf.GradientTape() as tape:
      losses, end = unroll.unroll(network, problem, run, T)
      meta_loss = unroll.meta_loss(losses)
    gradients = tape.gradient(meta_loss, [*network.variables])
    fast = unroll.meta_gradient(network, problem, run, T)
    assertions.assert_close(fast[:2], (losses, end))
    self.assert_gradients(fast[2], gradients)

  @parameterized.parameters(
      ("log_and_sign", "regression", False), ("kernel", "filters", False),
      ("standard", "separate", False), ("partition", "simple_multi", True))
  def test_meta_gradient_side_by_side_is_the_mean(self, net, problem,
                                                  jit_compile):
    network, problem = NETWORKS[net](), PROBLEMS[problem]()
    step = meta_optimizer.MetaStep(network, problem, T, 1., jit_compile=jit_compile)
    runs = tf.constant([[1, 2], [3, 4]])
    losses, _, gradients = step._differentiate(step.reset(runs), T)
    alone = [unroll.meta_gradient(
        network, problem, unroll.start(network, problem, seed), T)
             for seed in tf.unstack(runs)]
    assertions.assert_close(losses, tf.stack([a[0] for a in alone], 1))
    self.assert_gradients(
        gradients, [(a + b) / 2 for a, b in zip(*(a[2] for a in alone))])

  def assert_gradients(self, actual, expected):
    for a, e in zip(actual, expected, strict=True):
      np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5 * np.abs(e).max())

  @parameterized.parameters(*(pair for pair in PAIRS if pair[0] == "adam"))
  def test_adam_makes_progress(self, net, problem):
    losses = evaluation.Evaluator(
        NETWORKS[net](), PROBLEMS[problem](), 100, jit_compile=False)([0])
    self.assertLess(np.mean(losses[:, -10:]), np.mean(losses[:, :10]))


if __name__ == "__main__":
  absltest.main()
