"""A small problem of each kind, on data of noise."""

import functools
import tempfile

import keras
import numpy as np
import sonnet as snt
import tensorflow as tf

import problems
from tests import fake_data

_DATA = [np.random.default_rng(0).normal(size=[9, size]) for size in (3, 2)]


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
    return problems.NeuralArt(
        f"{folder}/style/{fake_data.STYLES[0]}", image_size=16, data_dir=folder)


@functools.cache
def keras_problem():
  return problems.KerasProblem(lambda: keras.Sequential([
      keras.Input([3]), keras.layers.Dense(4, "tanh"),
      keras.layers.BatchNormalization(), keras.layers.Dropout(0.1),
      keras.layers.Dense(2)]), "mse", _DATA, batch_size=4)


@functools.cache
def sonnet_problem():
  return problems.SonnetProblem(
      lambda: snt.nets.MLP([4, 2], activation=tf.tanh, dropout_rate=0.1),
      keras.losses.mean_squared_error, _DATA, batch_size=4)


PROBLEMS = {
    "simple": problems.Simple,
    "simple_multi": lambda: problems.SimpleMultiOptimizer(3),
    "quadratic": lambda: problems.Quadratic(2, 3),
    "separate": lambda: problems.Quadratic(2, 3, separate=True),
    "ensemble": lambda: problems.Ensemble(
        [problems.Quadratic(2, 3), problems.Quadratic(1, 3)]),
    "random_scaling": lambda: problems.RandomScaling(
        problems.Quadratic(2, 3), 0.5),
    "mnist": mnist,
    "cifar10": cifar10,
    "neural_art": neural_art,
    "keras": keras_problem,
    "sonnet": sonnet_problem,
}
