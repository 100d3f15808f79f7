"""Tests of the configurations of networks."""

import json
import os
import pathlib
import pickle
import tempfile

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import networks
from networks import net_config
from tests import assertions, toys

LEGACY = toys.DATA / "legacy"
COORDINATEWISE = {"net": "CoordinateWiseDeepLSTM",
                  "net_options": {"layers": (4, 3), "scale": 0.1}}
ADAM = {"net": "Adam", "net_options": {"learning_rate": 0.25}}
GRADIENTS = {"x": np.random.default_rng(0).normal(size=(3, 2)).astype("f4")}


class NetConfigTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())

  def save(self, **config):
    """Saves untrained networks, and returns them."""
    nets = net_config.make(config)
    for key, network in nets.items():
      network.initial_state({"x": tf.zeros([1])})
      networks.save(network, os.path.join(self.folder, f"{key}.l2l"))
    return nets

  def assert_same(self, actual, expected):
    """Asserts that networks of the same ids compute the same updates."""
    self.assertCountEqual(actual, expected)
    for key, network in actual.items():
      self.assertIs(type(network), type(expected[key]))
      self.assertEqual(network.options, expected[key].options)
      assertions.assert_equal(toys.steps(network, GRADIENTS)[0],
                              toys.steps(expected[key], GRADIENTS)[0])

  def test_network_is_chosen_by_its_id_alone(self):
    saved = self.save(cw=COORDINATEWISE, other=ADAM)
    made = net_config.make(net_config.from_folder(self.folder, {"cw": {}}))
    self.assert_same(made, {"cw": saved["cw"]})

  def test_make_builds_every_network(self):
    nets = net_config.make({"one": COORDINATEWISE, "two": ADAM,
                            "three": {"net": "Sgd"}})
    self.assertEqual({key: type(network) for key, network in nets.items()}, {
        "one": networks.CoordinateWiseDeepLSTM, "two": networks.Adam,
        "three": networks.Sgd})
    self.assertEqual(nets["one"].options["layers"], [4, 3])
    self.assertEqual(nets["two"].options["learning_rate"], 0.25)

  def test_original_is_the_network_of_deepminds_files(self):
    network, = net_config.make(net_config.with_weights(
        {"cw": net_config.ORIGINAL}, LEGACY / "cw_logsign")).values()
    expected = assertions.golden(
        "golden_networks_and_meta.npz", "cw_logsign")
    updates, _ = toys.steps(network, {"x": expected["gradients"]})
    np.testing.assert_allclose(
        updates["x"], expected["updates"], rtol=1e-5, atol=1e-8)

  def test_with_seed_changes_the_seed_of_learned_networks_only(self):
    config = {"cw": COORDINATEWISE, "adam": ADAM, "sgd": {"net": "Sgd"},
              "kernel": {"net": "KernelDeepLSTM", "net_options": (
                  ("kernel_shape", (3, 2)), ("layers", ()))}}
    before = repr(config)
    seeded = net_config.with_seed(config, 5)
    self.assertEqual(repr(config), before)
    self.assertEqual(seeded, config | {
        "cw": COORDINATEWISE | {
            "net_options": {"layers": (4, 3), "scale": 0.1, "seed": 5}},
        "kernel": {"net": "KernelDeepLSTM", "net_options": {
            "kernel_shape": (3, 2), "layers": (), "seed": 5}}})
    net_config.make(seeded)

  def test_with_seed_changes_the_initial_weights(self):
    drawn = []
    for seed in (0, 1, 1):
      network, = net_config.make(
          net_config.with_seed({"cw": COORDINATEWISE}, seed)).values()
      network.initial_state({"x": tf.ones([1])})
      drawn.append(toys.weights(network)["lstm_1/w_gates"])
    self.assertFalse(np.array_equal(drawn[0], drawn[1]))
    np.testing.assert_array_equal(drawn[1], drawn[2])

  def test_a_seed_that_is_configured_stays(self):
    config = {"cw": {"net": "CoordinateWiseDeepLSTM",
                     "net_options": {"layers": (), "seed": 3}}}
    self.assertEqual(net_config.with_seed(config, 5), config)

  @parameterized.parameters(str, pathlib.Path)
  def test_with_weights_is_what_was_saved(self, kind):
    config = {"cw": COORDINATEWISE, "adam": ADAM}
    saved = self.save(**net_config.with_seed(config, 7))
    self.assert_same(net_config.make(
        net_config.with_weights(config, kind(self.folder))), saved)

  @parameterized.parameters("conv", "cw")
  def test_the_only_network_of_a_folder_stands_for_all_learned_ones(self, key):
    saved = self.save(cw=COORDINATEWISE)
    made = net_config.make(net_config.with_weights(
        {key: net_config.ORIGINAL, "adam": ADAM,
         "fc": net_config.ORIGINAL}, self.folder))
    self.assertEqual(made.pop("adam").options["learning_rate"], 0.25)
    self.assertCountEqual(made, [key, "fc"])
    for network in made.values():
      self.assert_same({"cw": network}, saved)

  def test_network_that_stands_for_none_is_refused(self):
    self.save(cw=COORDINATEWISE)
    with self.assertRaisesRegex(
        ValueError, r"\['cw'\], but the problem needs \['adam'\]: give netw"):
      net_config.with_weights({"adam": ADAM}, self.folder)

  def test_two_networks_do_not_stand_for_others(self):
    self.save(cw=COORDINATEWISE, adam=ADAM)
    with self.assertRaisesRegex(
        ValueError, r"\['adam', 'cw'\], but the problem needs \['conv'\]"):
      net_config.with_weights({"conv": ADAM}, self.folder)

  def test_a_file_that_says_what_it_is_goes_before_the_configuration(self):
    saved = self.save(cw=COORDINATEWISE)
    for config in (net_config.ORIGINAL, ADAM):
      self.assert_same(net_config.make(net_config.with_weights(
          {"cw": config}, self.folder)), saved)

  @parameterized.parameters("cw_logsign", "open_l2o_dm_aug")
  def test_a_legacy_file_needs_the_configuration(self, name):
    network, = net_config.make(net_config.with_weights(
        {"cw": net_config.ORIGINAL}, LEGACY / name)).values()
    network.initial_state({"x": tf.ones([2])})
    self.assertEqual(network.options["scale"], 0.01)
    self.assertEqual(
        toys.weights(network)["lstm_1/w_gates"].shape, (22, 80))

  def test_legacy_files_of_adam_are_empty(self):
    with open(os.path.join(self.folder, "adam.l2l"), "wb") as file:
      pickle.dump({}, file)
    network, = net_config.make(
        net_config.with_weights({"adam": ADAM}, self.folder)).values()
    self.assertEqual(network.options["learning_rate"], 0.25)

  def test_missing_file_is_named(self):
    self.save(adam=ADAM)
    config = {"adam": ADAM, "cw": COORDINATEWISE}
    with self.assertRaisesRegex(
        ValueError, r"has the networks \['adam'\], but the problem needs "
        r"\['adam', 'cw'\]: give networks that were trained on it"):
      net_config.with_weights(config, self.folder)
    with self.assertRaisesRegex(FileNotFoundError, "No weight file .*cw.l2l"):
      net_config.make(net_config.from_folder(self.folder, config))

  @parameterized.parameters(
      ("Adam", "The configuration of network 'net' is 'Adam', but must be a d"),
      ({"nett": "Adam"}, "is {'nett': 'Adam'}, but must be a dictionary with"),
      ({}, "is {}, but must be a dictionary with net, and perhaps"))
  def test_configuration_of_another_form_is_refused(self, config, message):
    with self.assertRaisesRegex(ValueError, message):
      net_config.make({"net": config})

  @parameterized.parameters("", "conv/w", "../cw")
  def test_id_that_is_no_name_of_a_file_is_refused(self, key):
    with self.assertRaisesRegex(
        ValueError, f"id of a network is '{key}', but must be the name of a f"):
      net_config.make({key: ADAM})

  def test_damaged_file_is_named(self):
    pathlib.Path(self.folder, "cw.l2l").write_bytes(b"PK\x03\x04")
    with self.assertRaisesRegex(ValueError, "Cannot read .*cw.l2l"):
      net_config.with_weights({"cw": COORDINATEWISE}, self.folder)
    with self.assertRaisesRegex(ValueError, "Cannot read .*cw.l2l"):
      net_config.from_folder(self.folder)

  @parameterized.parameters(str, pathlib.Path)
  def test_from_folder_finds_every_network(self, kind):
    saved = self.save(cw=COORDINATEWISE, adam=ADAM)
    self.assert_same(net_config.make(
        net_config.from_folder(kind(self.folder))), saved)

  def test_from_folder_takes_the_networks_asked_for(self):
    saved = self.save(cw=COORDINATEWISE, adam=ADAM)
    config = net_config.from_folder(self.folder, {"cw": COORDINATEWISE})
    self.assert_same(net_config.make(config), {"cw": saved["cw"]})

  def test_from_folder_without_a_network_is_refused(self):
    for folder in (self.folder, "nowhere"):
      with self.assertRaisesRegex(
          FileNotFoundError, f"^No trained optimizer in '{folder}'"):
        net_config.from_folder(folder)

  def test_from_folder_needs_the_configuration_of_a_legacy_file(self):
    with self.assertRaisesRegex(
        ValueError, "cw.l2l does not say what its network is: give "
        "net_config={'cw': "):
      net_config.from_folder(LEGACY / "cw_logsign")
    network, = net_config.make(net_config.from_folder(
        LEGACY / "cw_logsign", {"cw": net_config.ORIGINAL})).values()
    self.assertEqual(network.options["layers"], [20, 20])

  @parameterized.parameters(
      ({"net": "Nope"}, "net is 'Nope', but must be one of"),
      (ADAM, "net is 'Adam', but must be 'CoordinateWiseDeepLSTM'"),
      (COORDINATEWISE | {"net_options": {"layers": (9,)}},
       r"was trained with layers=\[4, 3\], but net_options has layers=\[9\]"))
  def test_weights_for_other_options_are_refused(self, config, message):
    self.save(cw=COORDINATEWISE)
    with self.assertRaisesRegex(ValueError, message):
      net_config.make(net_config.from_folder(self.folder, {"cw": config}))

  def test_with_arrays_makes_the_same_networks_without_the_folder(self):
    config = {"cw": COORDINATEWISE, "adam": ADAM}
    saved = self.save(**net_config.with_seed(config, 7))
    arrays = json.dumps(net_config.with_arrays(saved))
    for key in config:
      os.remove(os.path.join(self.folder, f"{key}.l2l"))
    self.assert_same(net_config.make(json.loads(arrays)), saved)


class WithOptionsTest(parameterized.TestCase):

  def test_given_options_replace_those_of_every_learned_network(self):
    config = {"a": {"net": "CoordinateWiseDeepLSTM", "net_options": {
        "layers": (20, 20), "scale": 0.1}},
              "b": {"net": "KernelDeepLSTM", "net_options": {
                  "layers": (), "kernel_shape": [3, 3]}},
              "adam": {"net": "Adam", "net_options": {"learning_rate": .1}}}
    self.assertEqual(
        net_config.with_options(config, {"layers": [5], "scale": 2.}),
        {"a": {"net": "CoordinateWiseDeepLSTM", "net_options": {
            "layers": [5], "scale": 2.}},
         "b": {"net": "KernelDeepLSTM", "net_options": {
             "layers": [5], "kernel_shape": [3, 3], "scale": 2.}},
         "adam": config["adam"]})
    self.assertEqual(config["a"]["net_options"]["scale"], 0.1)

  def test_another_preprocessing_has_its_own_options(self):
    config = {"cw": net_config.ORIGINAL}
    for given, expected in (
        ({"preprocess_options": {"k": 7}}, ("LogAndSign", {"k": 7})),
        ({"preprocess_name": "identity"}, ("identity", None)),
        ({"preprocess_name": "Clamp", "preprocess_options": {"max_value": 1}},
         ("Clamp", {"max_value": 1}))):
      options = net_config.with_options(config, given)["cw"]["net_options"]
      self.assertEqual(
          (options["preprocess_name"], options.get("preprocess_options")),
          expected)

  def test_another_preprocessing_has_no_steps_of_the_old_momentum(self):
    config = {"cw": {"net": "CoordinateWiseDeepLSTM", "net_options": {
        "layers": (2,), "preprocess_name": "RNNprop",
        "postprocess_options": {"nominal_step": 0.1}}}}
    config = net_config.with_options(config, {
        "preprocess_name": "LogAndSign", "preprocess_options": {"k": 5}})
    self.assertNotIn("postprocess_options", config["cw"]["net_options"])
    net_config.make(config)  # It is refused with a nominal step.

  def test_networks_that_are_all_hand_designed_are_refused(self):
    with self.assertRaisesRegex(
        ValueError, r"^net_options is \{'scale': 1\}, but none of the networks "
        r"\['adam'\] has layers"):
      net_config.with_options({"adam": {"net": "Adam"}}, {"scale": 1})


if __name__ == "__main__":
  absltest.main()
