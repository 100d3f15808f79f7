"""Tests of variables that are not trained, in problems of users' models."""

import functools

from absl.testing import absltest, parameterized
import keras
import numpy as np
import sonnet as snt
import tensorflow as tf

import problems
from tests import assertions

SEED = (1, 2)
INPUTS = np.tile(np.float32([[0.5, -1., 2.]]), [7, 1])
TARGETS = np.tile(np.float32([[1., -2.]]), [7, 1])


def dense():
  return keras.Sequential([
      keras.Input([3]), keras.layers.Dense(4, "tanh"), keras.layers.Dense(2)])


def frozen():
  model = dense()
  model.layers[0].trainable = False
  return model


def lora():
  model = dense()
  model.layers[0].enable_lora(2)
  return model


def spectral():
  return keras.Sequential([
      keras.Input([3]),
      keras.layers.SpectralNormalization(keras.layers.Dense(4, "tanh")),
      keras.layers.Dense(2)])


class Frozen(snt.Module):
  """A module with a random matrix that is not trained."""

  def __init__(self):
    super().__init__()
    self.linear = snt.Linear(2)
    self.matrix = tf.Variable(tf.random.normal([3, 2]), trainable=False)

  def __call__(self, inputs):
    return self.linear(inputs) + inputs @ self.matrix


class Loaded(Frozen):
  """A module whose matrix is assigned."""

  def __init__(self):
    super().__init__()
    self.matrix.assign(tf.ones([3, 2]))


class Assigning(Frozen):
  """A module that changes its matrix before it uses it."""

  def __call__(self, inputs):
    self.matrix.assign(tf.maximum(self.matrix, 0.))
    self.matrix.assign_add(tf.ones([3, 2]))
    self.matrix.assign_sub(tf.fill([3, 2], 3.))
    return super().__call__(inputs)


class Averaging(snt.Module):
  """A module that adds what its last call computed."""

  def __init__(self):
    super().__init__()
    self.linear = snt.Linear(2)
    self.last = tf.Variable(tf.zeros([2]), trainable=False)

  def __call__(self, inputs):
    last = tf.identity(self.last)
    outputs = self.linear(inputs)
    self.last.assign(outputs[0])
    return outputs + last


def mean_square(targets, outputs):
  return tf.reduce_mean((targets - outputs)**2, axis=1)


def keras_problem(model_fn):
  return problems.KerasProblem(model_fn, "mse", (INPUTS, TARGETS), 5)


def sonnet_problem(module_fn):
  return problems.SonnetProblem(module_fn, mean_square, (INPUTS, TARGETS), 5)


def run(problem, seed=SEED):
  """Returns the parameters, the constants and the loss of a seed."""
  params, constants = problem.sample(tf.constant(seed))
  return params, constants, problem.loss(
      params, constants, tf.constant(SEED)).numpy()


def error(outputs):
  return np.mean((outputs - TARGETS[:1])**2)


@functools.cache
def made(make, model_fn):
  """Returns the problem of a model, which is made once for all tests."""
  return make(model_fn)


MODELS = [(keras_problem, frozen), (keras_problem, lora),
          (keras_problem, spectral), (sonnet_problem, Frozen),
          (sonnet_problem, Assigning)]


class UntrainedTest(parameterized.TestCase):

  @parameterized.parameters(*MODELS, (sonnet_problem, Averaging))
  def test_loss_depends_on_the_seed_alone(self, make, model_fn):
    losses = []
    for global_seed in (1, 2):  # As in two processes.
      keras.utils.set_random_seed(global_seed)
      losses.append(run(make(model_fn))[-1])
    self.assertEqual(*losses)

  @parameterized.parameters(*MODELS)
  def test_random_values_are_the_constants_of_a_run(self, make, model_fn):
    problem = made(make, model_fn)
    one, same, other = (run(problem, s)[1] for s in (SEED, SEED, (1, 3)))
    assertions.assert_equal(one, same)
    self.assertLen(one, 1)
    self.assertTrue(np.all(one[0] != other[0]))

  @parameterized.parameters(*MODELS)
  def test_side_by_side_is_alone(self, make, model_fn):
    assertions.assert_side_by_side_is_alone(made(make, model_fn))

  def test_frozen_layer_computes_with_the_constants(self):
    params, (kernel,), loss = run(made(keras_problem, frozen))
    v, c = params.values()
    np.testing.assert_allclose(
        loss, error(np.tanh(INPUTS[:1] @ kernel) @ v + c), rtol=1e-5)

  def test_frozen_variable_computes_with_the_constants(self):
    params, (matrix,), loss = run(made(sonnet_problem, Frozen))
    b, w = (params[f"frozen/linear/{name}"] for name in "bw")
    np.testing.assert_allclose(
        loss, error(INPUTS[:1] @ (w + matrix) + b), rtol=1e-5)

  def test_what_a_call_assigns_is_read_in_this_call(self):
    problem = made(sonnet_problem, Assigning)
    params, (matrix,), loss = run(problem)
    b, w = (params[f"assigning/linear/{name}"] for name in "bw")
    expected = INPUTS[:1] @ (w + np.maximum(matrix, 0.) - 2.) + b
    np.testing.assert_allclose(loss, error(expected), rtol=1e-5)
    self.assertEqual(run(problem)[-1], loss)

  def test_what_the_first_call_assigned_is_forgotten(self):
    params, constants, loss = run(sonnet_problem(Averaging))
    b, w = (params[f"averaging/linear/{name}"] for name in "bw")
    np.testing.assert_allclose(loss, error(INPUTS[:1] @ w + b), rtol=1e-5)
    self.assertEmpty(constants)

  def test_assigned_values_are_those_of_all_runs(self):
    def model_fn():
      model = frozen()
      model.layers[0].kernel.assign(tf.ones([3, 4]))
      return model

    fitted, loaded = keras_problem(model_fn), sonnet_problem(Loaded)
    for seed in (SEED, (1, 3)):
      params, constants, loss = run(fitted, seed)
      v, c = params.values()
      self.assertEmpty(constants)
      np.testing.assert_allclose(
          loss, error(np.tanh(INPUTS[:1] @ np.ones([3, 4])) @ v + c), rtol=1e-5)
      params, constants, loss = run(loaded, seed)
      b, w = (params[f"loaded/linear/{name}"] for name in "bw")
      self.assertEmpty(constants)
      np.testing.assert_allclose(loss, error(INPUTS[:1] @ (w + 1.) + b),
                                 rtol=1e-5)

  @parameterized.parameters(
      (keras_problem, lambda: keras.Sequential([
          keras.Input([3]), keras.layers.BatchNormalization(),
          keras.layers.Dropout(0.1), keras.layers.Dense(2)])),
      (sonnet_problem, lambda: snt.nets.MLP([4, 2], dropout_rate=0.1)))
  def test_values_that_are_not_random_are_no_constants(self, make, model_fn):
    self.assertEmpty(run(make(model_fn))[1])


if __name__ == "__main__":
  absltest.main()
