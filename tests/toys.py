"""Small problems, and helpers, that the tests share."""

import pathlib

import numpy as np
import tensorflow as tf

import networks
import problems

SEED = (3, 4)
DATA = pathlib.Path(__file__).parent / "data"


class Given(problems.Problem):
  """The mean of quadratics, all of them given."""

  def __init__(self, w, y, x0):
    self._constants = tf.constant(w), tf.constant(y)
    self._x0 = tf.constant(x0)

  def sample(self, seed):
    return {"x": self._x0}, self._constants

  def loss(self, params, constants, seed):
    w, y = constants
    residual = tf.linalg.matvec(w, params["x"]) - y  # [B, D]
    return tf.reduce_mean(tf.reduce_sum(residual**2, axis=1))


def made_of_tensors():
  """A problem that has tensors when it is made."""
  return Given(tf.ones([1, 2, 2]), tf.zeros([1, 2]), tf.ones([1, 2]))


class Wrong(problems.Simple):
  """A problem that returns its parameters alone."""

  def sample(self, seed):
    return {"x": tf.ones([]), "y": tf.ones([])}


class Regression(problems.Problem):
  """A small multilayer perceptron on random minibatches.

  Its parameters are not in alphabetical order, and have three ranks.
  """

  def __init__(self, dtype=tf.float32):
    self._dtype = tf.as_dtype(dtype)

  def sample(self, seed):
    seeds = tf.unstack(tf.random.split(seed, 4, alg="philox"))
    shapes = {"w": [2, 3], "a": [3], "v": [3, 1, 1], "c": []}
    params = {
        name: 0.5 * tf.random.stateless_normal(
            shape, own, dtype=self._dtype, alg="philox")
        for (name, shape), own in zip(shapes.items(), seeds, strict=True)}
    return params, {"slope": tf.ones([2, 1], self._dtype)}

  def loss(self, params, constants, seed):
    # Integers, as XLA draws other floats than TensorFlow from a seed.
    inputs = 0.5 * tf.cast(tf.random.stateless_uniform(
        [5, 2], seed, -4, 5, tf.int32, alg="philox"), self._dtype)
    targets = inputs @ constants["slope"]
    hidden = tf.tanh(inputs @ params["w"] + params["a"])
    outputs = hidden @ params["v"][:, :, 0] + params["c"]
    return tf.reduce_mean((outputs - targets)**2)


class TwoTypes(problems.Problem):
  """A function of parameters of float32 and of float64."""

  def sample(self, seed):
    return {"a": tf.ones([3]), "b": tf.ones([2], tf.float64)}, ()

  def loss(self, params, constants, seed):
    return tf.reduce_sum(params["a"]**2) + tf.cast(
        tf.reduce_sum(params["b"]**2), tf.float32)


class Logistic(problems.Problem):
  """A logistic regression from weights of 0, where all minibatches are alike.

  Attributes:
    inputs: Of all examples, [64, 3]; the label is the sign of the first one.
  """

  def __init__(self):
    self.inputs = np.random.default_rng(0).normal(size=[64, 3])

  def sample(self, seed):
    return {"w": tf.zeros([3], tf.float64)}, ()

  def loss(self, params, constants, seed):
    inputs = tf.gather(self.inputs, tf.random.stateless_uniform(
        [8], seed, 0, 64, tf.int32, alg="philox"))
    return tf.reduce_mean(tf.nn.softplus(
        -tf.sign(inputs[:, 0]) * tf.linalg.matvec(inputs, params["w"])))


class Filters(problems.Problem):
  """A square error of two banks of filters, 3 x 2 each."""

  def sample(self, seed):
    one, two = tf.unstack(tf.random.split(seed, 2, alg="philox"))
    return {"d": tf.random.stateless_normal([3, 2, 2, 1], one, alg="philox"),
            "c": tf.random.stateless_normal([3, 2, 1, 3], two, alg="philox")
           }, ()

  def loss(self, params, constants, seed):
    return tf.reduce_mean(
        (params["d"] * tf.reduce_sum(params["c"], 3, keepdims=True) - 1.)**2)


class Moody(problems.Problem):
  """x^2 from x = 1 for a half of all seeds, and not a number for the others."""

  def sample(self, seed):
    coin = tf.random.stateless_uniform([], seed, 0, 2, tf.int32, alg="philox")
    factor = tf.where(coin == 0, 1., np.nan)
    return {"x": tf.ones([2])}, factor

  def loss(self, params, constants, seed):
    return tf.reduce_sum(params["x"]**2) * constants


class Wavy(problems.Problem):
  """A square with waves, whose second derivatives are up to 1 + `curvature`."""

  def __init__(self, curvature):
    self._curvature = curvature

  def sample(self, seed):
    return {"x": tf.constant([1., -2.])}, ()

  def loss(self, params, constants, seed):
    x = params["x"]
    waves = tf.sin(self._curvature * x) / self._curvature
    return tf.reduce_sum(0.5 * tf.square(x) + waves)


def weights(network):
  """The weights of a network, by `module/variable`."""
  return {"/".join(v.name.split(":")[0].split("/")[-2:]): v.numpy()
          for v in network.variables}


def coordinatewise(**options):
  """A small network whose updates are not small."""
  return networks.CoordinateWiseDeepLSTM(
      **{"layers": (4, 3), "scale": 0.1, **options})


def steps(network, gradients, state=None, stack=np.stack):
  """The updates [steps, ...] by name, and the final state.

  The parameters stay at the first gradients.
  """
  first = {name: tf.convert_to_tensor(g[0]) for name, g in gradients.items()}
  updates, state = [], state or network.initial_state(first)
  for t in range(len(next(iter(gradients.values())))):
    step, state = network.step({name: tf.convert_to_tensor(g[t])
                                for name, g in gradients.items()}, state, first)
    updates.append(step)
  return {name: stack([u[name] for u in updates]) for name in first}, state
