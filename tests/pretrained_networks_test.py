"""Tests of the trained networks that come with the library."""

import contextlib
import os
import pathlib
import tempfile

from absl.testing import absltest, parameterized
import tensorflow as tf

import meta
from meta import pretrained_networks

TRAINED = pathlib.Path(__file__).parents[1] / "trained"
NAMES = sorted(path.name for path in TRAINED.iterdir())


class PretrainedTest(parameterized.TestCase):

  def test_every_trained_network_has_a_card(self):
    cards = meta.pretrained()
    self.assertEqual(list(cards), NAMES)
    for name, card in cards.items():
      self.assertIn(name, card.splitlines()[0])

  @parameterized.parameters(*NAMES)
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
          r"optimizer, or one of \['paper-cifar10', .* A learning rate is "
          r"given as learning_rate="):
        load(0.5)

  def test_path_may_be_an_object(self):
    self.assertEqual(
        pretrained_networks.find(TRAINED / NAMES[0]),
        os.path.join(TRAINED, NAMES[0]))


if __name__ == "__main__":
  absltest.main()
