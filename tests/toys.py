"""Small problems, and helpers, that the tests share."""

import os
import pathlib

import numpy as np
from PIL import Image
import tensorflow as tf

from meta import unroll
import networks
import problems
from problems import vgg

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


def write_cifar10(folder, per_batch=4, label=None):
  """Writes records of noise in the form of CIFAR-10; returns them by file."""
  rng = np.random.default_rng(0)
  records = {}
  for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
    batch = rng.integers(0, 256, [per_batch, 3073], np.uint8)
    batch[:, 0] = rng.integers(0, 10, per_batch) if label is None else label
    batch.tofile(f"{folder}/{name}")
    records[name] = batch
  return records


def write_mnist(folder):
  """Writes a data set of noise in the form of MNIST."""
  rng = np.random.default_rng(0)
  np.savez(
      f"{folder}/mnist.npz",
      x_train=rng.integers(0, 256, [24, 28, 28], np.uint8),
      y_train=rng.integers(0, 10, [24], np.uint8),
      x_test=rng.integers(0, 256, [3, 28, 28], np.uint8),
      y_test=rng.integers(0, 10, [3], np.uint8))


STYLES = "van_gogh_starry_night.png", "kandinsky_transverse_line.png"


def write_neural_art(folder, *names, image_size):
  """Writes arrays of photographs, pictures and a small VGG-19, all of noise."""
  rng = np.random.default_rng(0)
  np.savez(f"{folder}/content_images.npz", **{
      name: rng.integers(0, 256, [3, image_size, image_size, 3], np.uint8)
      for name in names})
  os.makedirs(f"{folder}/style", exist_ok=True)
  for name in STYLES:
    write_image(f"{folder}/style/{name}", rng.integers(0, 256, [20, 28, 3]))
  np.savez(f"{folder}/vgg19_conv.npz", **small_vgg())


def write_image(path, pixels):
  """Writes a picture, from numbers of 0 to 255."""
  Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def small_vgg():
  """Weights of a VGG-19 of noise, with 2 or 3 channels a layer."""
  rng = np.random.default_rng(1)
  arrays = {"mean_rgb": np.float32([120., 110., 100.])}
  channels = 3
  for i, name in enumerate(vgg.LAYERS):
    outputs = 2 + i % 2
    arrays[f"{name}_w"] = rng.normal(
        0., (9 * channels / 2)**-0.5, [3, 3, channels, outputs]).astype("f4")
    arrays[f"{name}_b"] = rng.uniform(10., 20., [outputs]).astype("f4")
    channels = outputs
  return arrays


def weights(network):
  """The weights of a network, by `module/variable`."""
  return {"/".join(v.name.split(":")[0].split("/")[-2:]): v.numpy()
          for v in network.variables}


def coordinatewise(**options):
  """A small network whose updates are not small."""
  return networks.CoordinateWiseDeepLSTM(
      **{"layers": (4, 3), "scale": 0.1, **options})


def steps(network, gradients, state=None, stack=np.stack):
  """The updates [steps, ...] by name, and the final state."""
  first = {name: tf.convert_to_tensor(g[0]) for name, g in gradients.items()}
  updates, state = [], state or network.initial_state(first)
  for t in range(len(next(iter(gradients.values())))):
    step, state = network({name: tf.convert_to_tensor(g[t])
                           for name, g in gradients.items()}, state)
    updates.append(step)
  return {name: stack([u[name] for u in updates]) for name in first}, state


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
  run = tf.function(lambda s: unroll.start(networks.Sgd(), problem, s))(seeds)
  losses = unroll.evaluate(problem, run)
  for k, seed in enumerate(tf.unstack(seeds)):
    alone = unroll.start(networks.Sgd(), problem, seed)
    assert_equal({n: p[k] for n, p in run.params.items()}, alone.params)
    assert_close(losses[k], unroll.evaluate(problem, alone), atol=0.)


def assert_xla_computes_the_same_loss(problem):
  """Asserts that XLA finds the loss that TensorFlow's kernels find."""
  params, constants = problem.sample(tf.constant(SEED))
  seed = tf.constant((1, 2))
  assert_close(
      tf.function(problem.loss, jit_compile=True)(params, constants, seed),
      problem.loss(params, constants, seed), atol=0.)
