"""Assertions that the tests share."""

import numpy as np
import tensorflow as tf

from meta import unroll
import networks
from tests.toys import DATA, SEED


def golden(filename, key):
  """What DeepMind's program computed, by name."""
  with np.load(DATA / filename) as arrays:
    return {name.removeprefix(f"{key}/"): arrays[name]
            for name in arrays.files if name.startswith(f"{key}/")}


def assert_golden(problem, expected):
  """Checks the loss and the gradients of a problem of classification."""
  params = {name.removeprefix("params/"): tf.constant(value)
            for name, value in expected.items() if name.startswith("params/")}
  with tf.GradientTape() as tape:
    tape.watch(params)
    loss = problem.loss_on(params, expected["images"], expected["labels"])
  np.testing.assert_allclose(loss, expected["loss"], rtol=1e-5)
  for name, gradient in tape.gradient(loss, params).items():
    array = expected[f"gradients/{name}"]
    scale = np.abs(array).max()
    # Of biases that batch normalization cancels, only rounding is left.
    np.testing.assert_allclose(
        gradient, array, rtol=1e-4, atol=1e-4 * scale if scale > 1e-5 else 1e-5,
        err_msg=name)


def assert_equal(actual, expected):
  """Asserts that two nests of tensors are the same, bit for bit."""
  tf.nest.map_structure(np.testing.assert_array_equal, actual, expected)


def assert_close(actual, expected, rtol=1e-5, atol=1e-7):
  """Asserts that two nests of tensors are almost the same."""
  tf.nest.map_structure(
      lambda a, e: np.testing.assert_allclose(a, e, rtol, atol),
      actual, expected)


def assert_side_by_side_is_alone(problem):
  """Asserts that functions in one batch are those of their seeds."""
  seeds = tf.constant([[1, 2], [3, 4], [5, 6]])
  run = tf.function(lambda s: unroll.start(networks.Sgd(), problem, s),
                    autograph=False)(seeds)
  losses = unroll.loss(problem, run)
  for k, seed in enumerate(tf.unstack(seeds)):
    alone = unroll.start(networks.Sgd(), problem, seed)
    assert_equal({n: p[k] for n, p in run.params.items()}, alone.params)
    assert_close(losses[k], unroll.loss(problem, alone), atol=0.)


def assert_xla_computes_the_same_loss(problem):
  """Asserts that XLA finds the loss that TensorFlow's kernels find."""
  params, constants = problem.sample(tf.constant(SEED))
  seed = tf.constant((1, 2))
  assert_close(
      tf.function(problem.loss, autograph=False, jit_compile=True)(
          params, constants, seed),
      problem.loss(params, constants, seed), atol=0.)
