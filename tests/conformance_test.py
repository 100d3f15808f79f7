"""Tests of networks on problems: every pair, but for slow problems."""

import functools

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import evaluation, meta_gradient, objectives, unroll
import networks
from tests import assertions, small_problems, toys

T = 3
LOG_AND_SIGN = {"preprocess_name": "LogAndSign", "preprocess_options": {"k": 5}}
MOMENTA = {"preprocess_name": "NormalizedMomenta",
           "postprocess_options": {
               "nonlinearity": "tanh", "nominal_step": 0.01, "min_size": 0.1,
               "weight_decay": 0.01}}
NETWORKS = {
    "coordinatewise": toys.coordinatewise,
    "log_and_sign": lambda: toys.coordinatewise(layers=(4,), **LOG_AND_SIGN),
    "standard": lambda: networks.StandardDeepLSTM(3, (4,), scale=0.1),
    "gac": lambda: networks.LSTMWithGAC((4, 3), 2, scale=0.1),
    "ntm": lambda: networks.NTMBFGS(
        (4,), 2, 1, num_averaged=1, scale=0.1, **LOG_AND_SIGN),
    "kernel": lambda: networks.KernelDeepLSTM(
        (3, 2), (4,), scale=0.1, preprocess_name="RNNprop", dense=3),
    "sgd": lambda: networks.Sgd(0.01),
    "rprop": lambda: networks.Rprop(0.01),  # The others are like Adam.
    # Of biases that batch normalization cancels, the gradients are rounding
    # errors: with such an epsilon, they make no updates.
    "adam": lambda: networks.Adam(0.01, epsilon=1e-3),
    "partition": lambda: networks.Partition(
        {"one": toys.coordinatewise(layers=(4,), **MOMENTA)}),
}
PROBLEMS = {**small_problems.PROBLEMS, "regression": toys.Regression,
            "filters": toys.Filters}
ONLY = {"standard": ("quadratic", "separate", "ensemble", "random_scaling"),
        "kernel": ("filters",)}  # The others take parameters of any shape.
# For these problems, three networks are enough.
SLOW = dict.fromkeys(("cifar10", "neural_art", "keras", "sonnet"),
                     ("log_and_sign", "partition", "adam"))
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
    losses, end = unroll.unroll(network, problem, run, 2)
    with self.subTest("shapes_and_types_are_kept"):
      tf.nest.map_structure(
          lambda a, b: self.assertEqual((a.shape, a.dtype), (b.shape, b.dtype)),
          run, end)
      self.assertEqual(list(run.params), list(end.params))
    with self.subTest("losses_are_finite"):
      self.assertEqual(
          losses.shape, [3, *unroll.loss(problem, run).shape])
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
      second, run = unroll.unroll(network, problem, run, 1)
      np.testing.assert_array_equal(first[-1], second[0])
      np.testing.assert_array_equal(
          np.concatenate([first[:-1], second]), losses)
      assertions.assert_equal(run, end)

  @parameterized.parameters(*PROBLEMS)
  def test_runs_of_adam_side_by_side_in_a_graph(self, problem):
    network, problem = NETWORKS["adam"](), PROBLEMS[problem]()
    start, step = (tf.function(
        functools.partial(function, network, problem), autograph=False)
                   for function in (unroll.start, unroll.step))
    seeds, losses = [[1, 2], [3, 4]], []
    together = start(tf.constant(seeds))
    with self.subTest("are_each_of_them_eagerly"):
      runs = [unroll.start(network, problem, tf.constant(s)) for s in seeds]
      for _ in range(2):
        loss, together = step(together)
        losses.append(np.mean(loss))
        steps = [unroll.step(network, problem, run) for run in runs]
        runs = [run for _, run in steps]
        assertions.assert_close(
            (loss, together), tf.nest.map_structure(
                lambda *parts: np.stack(parts), *steps), rtol=1e-4, atol=1e-5)
    with self.subTest("make_progress"):
      for _ in range(18):
        loss, together = step(together)
        losses.append(np.mean(loss))
      self.assertLess(np.mean(losses[-5:]), np.mean(losses[:5]))

  @parameterized.parameters(*NETWORKS)
  def test_steps_side_by_side_in_a_graph_are_each_of_them(self, net):
    network, rng = NETWORKS[net](), np.random.default_rng(0)
    shapes = {"standard": [(2, 3), (1, 3)], "kernel": [
        (3, 2, 2, 1), (3, 2, 1, 1)]}.get(net, [(2, 3), ()])
    gradients = {name: rng.normal(size=(2, T, *shape)).astype(np.float32)
                 for name, shape in zip("ba", shapes)}
    alone = [toys.steps(network, {name: g[k] for name, g in gradients.items()})
             for k in range(2)]

    def steps(gradients):
      return toys.steps(
          network, tf.nest.map_structure(tf.unstack, gradients), stack=tf.stack)

    assertions.assert_close(
        tf.function(lambda g: tf.vectorized_map(steps, g), autograph=False)(
            gradients),
        tf.nest.map_structure(lambda *parts: np.stack(parts), *alone))

  @parameterized.parameters(*REFUSED)
  def test_network_refuses_problem_of_other_shapes(self, net, problem):
    with self.assertRaisesRegex(ValueError, "but a parameter has shape"):
      evaluation.Evaluator(NETWORKS[net](), PROBLEMS[problem](), T)

  @parameterized.parameters(
      ("log_and_sign", "regression"), ("adam", "mnist"), ("ntm", "quadratic"),
      ("standard", "separate"), ("kernel", "filters"))
  def test_xla_is_eager(self, net, problem):
    network, problem = NETWORKS[net](), PROBLEMS[problem]()
    run = unroll.start(network, problem, 1)

    def function(run):
      return unroll.unroll(network, problem, run, T)

    assertions.assert_close(
        tf.function(function, autograph=False, jit_compile=True)(run),
        function(run), rtol=1e-4, atol=1e-5)

  @parameterized.parameters(
      ("log_and_sign", "separate", False, True),
      ("log_and_sign", "regression", False, False),
      ("log_and_sign", "separate", True, True))
  def test_compiled_meta_gradient_is_eager(
      self, net, problem, second_derivatives, jit_compile):
    network, problem = NETWORKS[net](), PROBLEMS[problem]()
    run = unroll.start(network, problem, 1)

    def gradients(run):
      with tf.GradientTape() as tape:
        losses, _ = unroll.unroll(network, problem, run, T, second_derivatives)
      return tape.gradient(losses, network.trainable_variables)

    compiled = tf.function(
        gradients, autograph=False, jit_compile=jit_compile)(run)
    for a, e in zip(compiled, gradients(run), strict=True):
      np.testing.assert_allclose(a, e, rtol=1e-3, atol=1e-4 * np.abs(e).max())

  @parameterized.parameters(
      *(pair for pair in PAIRS if pair[0] in ("log_and_sign", "standard")),
      ("coordinatewise", "regression"), ("kernel", "filters"),
      ("gac", "regression"), ("ntm", "regression"),
      ("partition", "ensemble"), ("partition", "separate"))
  def test_fast_meta_gradient_is_the_tapes(self, net, problem):
    network, problem = NETWORKS[net](), PROBLEMS[problem]()
    run = unroll.start(network, problem, 1)
    with tf.GradientTape() as tape:
      losses, end = unroll.unroll(network, problem, run, T)
      meta_loss = objectives.meta_loss(losses)
    gradients = tape.gradient(meta_loss, [*network.variables])
    fast = meta_gradient.meta_gradient(network, problem, run, T)
    assertions.assert_close(fast[:2], (losses, end))
    self.assert_gradients(fast[2], gradients)

  @parameterized.parameters(
      ("log_and_sign", "regression", False), ("kernel", "filters", False),
      ("gac", "regression", False), ("ntm", "quadratic", True),
      ("standard", "separate", False), ("partition", "simple_multi", True))
  def test_meta_gradient_side_by_side_is_the_mean(
      self, net, problem, jit_compile):
    network, problem = NETWORKS[net](), PROBLEMS[problem]()
    runs = [unroll.start(network, problem, seed) for seed in (1, 2)]
    alone = [meta_gradient.meta_gradient(network, problem, run, T)
             for run in runs]
    differentiate = tf.function(functools.partial(
        meta_gradient.meta_gradient, network, problem, num_steps=T),
                                autograph=False, jit_compile=jit_compile)
    losses, _, gradients = differentiate(
        tf.nest.map_structure(lambda *t: tf.stack(t), *runs))
    assertions.assert_close(losses, tf.stack([a[0] for a in alone], 1))
    self.assert_gradients(
        gradients, [(a + b) / 2 for a, b in zip(*(a[2] for a in alone))])

  def assert_gradients(self, actual, expected):
    for a, e in zip(actual, expected, strict=True):
      np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5 * np.abs(e).max())


if __name__ == "__main__":
  absltest.main()
