"""Small Keras models, and the problems of training them."""

import keras
import numpy as np
import tensorflow as tf

import problems

SEED = (1, 2)
B = 5
# All examples are the same, so that every minibatch is known.
INPUTS = np.tile(np.float32([[0.5, -1., 2.]]), [7, 1])
TARGETS = np.tile(np.float32([[1., -2.]]), [7, 1])
SAME = INPUTS, TARGETS


def layers(*between):
  """Returns a function that makes a model: two dense layers, others between."""
  def model_fn():
    return keras.Sequential([
        keras.Input([3]), keras.layers.Dense(4, "tanh", name="one"),
        *(make() for make in between), keras.layers.Dense(2, name="two")])
  return model_fn


def make(model_fn=None, loss_fn="mse", data=SAME, batch_size=B):
  return problems.KerasProblem(
      model_fn or layers(), loss_fn, data, batch_size)


def sample(problem, seed=SEED):
  return problem.sample(tf.constant(seed))[0]


def loss(problem, params, seed=SEED):
  return problem.loss(params, (), tf.constant(seed))


def called(cls, *args):
  """Returns a function that makes a model, and calls it on inputs."""
  def model_fn():
    model = cls()
    model(*args)
    return model
  return model_fn
