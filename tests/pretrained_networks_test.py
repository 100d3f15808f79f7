"""Tests of the trained networks that come with the library."""

import contextlib
import functools
import itertools
import os
import pathlib
import tempfile

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from meta import pretrained_networks
import networks
from networks import net_config

TRAINED = pathlib.Path(__file__).parents[1] / "trained"
NAMES = sorted(path.name for path in TRAINED.iterdir())
GENERAL = ("general", "general-small")
JOINING = ("paper-mnist-gac", "paper-quadratic-gac", "paper-quadratic-ntm")


class PretrainedTest(parameterized.TestCase):

  def test_every_trained_network_has_a_card(self):
    cards = meta.pretrained()
    self.assertEqual(list(cards), NAMES)
    for name, card in cards.items():
      self.assertIn(name, card.splitlines()[0])

  @parameterized.parameters(*JOINING)
  def test_network_that_joins_parameters_is_for_the_path_only(self, name):
    folder = pretrained_networks.find(name)
    network, = net_config.make(net_config.from_folder(folder)).values()
    self.assertTrue(network.joins_parameters)
    with self.assertRaisesRegex(ValueError, "depend on the others"):
      meta.LearnedOptimizer.load(name)
    with self.assertRaisesRegex(ValueError, "depend on the others"):
      meta.LearnedOptimizer({"all": networks.Partition({"it": network})})

  @parameterized.parameters(*(n for n in NAMES if n not in JOINING))
  def test_loads_by_name_from_any_folder(self, name):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    self.enter_context(contextlib.chdir(folder))
    optimizer = meta.LearnedOptimizer.load(name)
    self.assertCountEqual(
        optimizer.networks, {f.stem for f in (TRAINED / name).glob("*.l2l")})
    keras = meta.KerasLearnedOptimizer(name)
    self.assertCountEqual(
        keras.get_config()["net_config"], optimizer.networks)

  def test_folder_of_that_name_wins(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    self.enter_context(contextlib.chdir(folder))
    own = meta.MetaOptimizer(own={"net": "Sgd"})
    own.networks["own"].initial_state({"x": tf.zeros([1])})
    own.save("paper-mnist")
    self.assertEqual(
        list(meta.LearnedOptimizer.load("paper-mnist").networks), ["own"])

  def test_folder_without_networks_and_file_of_that_name_do_not_count(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    self.enter_context(contextlib.chdir(folder))
    os.mkdir("general")
    pathlib.Path("paper-mnist").touch()
    self.assertEqual(
        pathlib.Path(pretrained_networks.find("general")), TRAINED / "general")
    self.assertEqual(
        pathlib.Path(pretrained_networks.find("paper-mnist")),
        TRAINED / "paper-mnist")

  @parameterized.parameters("paper", "no/such/folder", "")
  def test_unknown_name_lists_the_known_ones(self, name):
    with self.assertRaisesRegex(
        FileNotFoundError, f"^No trained optimizer {name!r}: there is no such "
        rf"folder, and the optimizers .* are \[{NAMES[0]!r}, {NAMES[1]!r}"):
      pretrained_networks.find(name)

  @parameterized.parameters("{folder}/cw.l2l", "cw.l2l")
  def test_file_is_refused_with_its_folder(self, path):
    folder = TRAINED / "paper-mnist"
    self.enter_context(contextlib.chdir(folder))
    path = path.format(folder=folder)
    with self.assertRaisesRegex(
        ValueError, f"^{path!r} is a file, but the folder of a trained "
        f"optimizer is needed: give {os.path.dirname(path) or '.'!r}"):
      pretrained_networks.find(path)

  def test_number_is_refused_where_a_path_is_needed(self):
    for load in (meta.KerasLearnedOptimizer, meta.LearnedOptimizer.load):
      with self.assertRaisesRegex(
          ValueError, r"^path is 0\.5, but must be the folder of a trained "
          r"optimizer, or one of \['general', .* A learning rate is "
          r"given as learning_rate="):
        load(0.5)

  def test_path_may_be_an_object(self):
    self.assertEqual(
        pretrained_networks.find(TRAINED / NAMES[0]),
        os.path.join(TRAINED, NAMES[0]))


@functools.cache
def made(name, size):
  """An optimizer and a parameter, for which it is compiled once."""
  return meta.LearnedOptimizer.load(name), tf.Variable(tf.zeros([size]))


def start(name, values):
  """The same, before the first step from these values."""
  optimizer, x = made(name, len(values))
  optimizer.reset()
  x.assign(values)
  return optimizer, x


class GeneralTest(parameterized.TestCase):
  """The general optimizers do on any problem what makes them safe."""

  def steps(self, name, gradients):
    """The updates of a few steps of a parameter, [steps, N]."""
    optimizer, x = start(name, np.zeros(gradients.shape[1]))
    path = []
    for gradient in gradients:
      optimizer.apply([tf.constant(gradient, tf.float32)], [x])
      path.append(x.numpy())
    return np.diff(path, axis=0, prepend=np.zeros_like(path[:1]))

  def gradients(self):
    return np.random.default_rng(0).standard_cauchy(size=[30, 50])

  @parameterized.parameters(*itertools.product(GENERAL, (1e-6, 1e6)))
  def test_steps_do_not_depend_on_the_scale_of_the_loss(self, name, factor):
    np.testing.assert_allclose(
        self.steps(name, factor * self.gradients()),
        self.steps(name, self.gradients()), rtol=1e-3, atol=1e-6)

  @parameterized.parameters(*GENERAL)
  def test_steps_are_bounded(self, name):
    updates = self.steps(name, 1e20 * self.gradients())
    before = np.cumsum(updates, axis=0) - updates
    size = np.clip(np.sqrt(np.mean(before**2, axis=1)), 0.03, 1.)
    np.testing.assert_array_less(
        np.max(np.abs(updates), axis=1),
        np.exp(4) * (0.06 + 3 * 0.03) * size * (1 + 1e-5))

  @parameterized.parameters(*GENERAL)
  def test_parameter_without_gradients_stays(self, name):
    gradients = self.gradients()
    gradients[:, 7] = 0.
    updates = self.steps(name, gradients)
    np.testing.assert_array_equal(updates[:, 7], 0.)
    self.assertTrue(np.all(updates[:, 8] != 0.))

  @parameterized.parameters(*GENERAL)
  def test_parabola_is_minimized_at_every_scale(self, name):
    for scale in (1e-4, 1., 1e4):
      optimizer, x = start(name, [1., 2.])
      for _ in range(200):
        optimizer.apply([scale * x], [x])
      self.assertLess(np.max(np.abs(x)), 0.05)


if __name__ == "__main__":
  absltest.main()
