"""Tests of networks that are made by name, and of their files."""

import os
import pathlib
import pickle
import tempfile
import zipfile

from absl.testing import absltest, parameterized
import numpy as np
import sonnet as snt
import tensorflow as tf

import networks
from networks import baselines, weights
from tests import assertions, toys

LEGACY = pathlib.Path(__file__).parent / "data" / "legacy"
COORDINATEWISE = "CoordinateWiseDeepLSTM"
NETWORKS = {
    "StandardDeepLSTM": ({"output_size": 3, "layers": (4,), "scale": 0.5},
                         (5, 3)),
    COORDINATEWISE: ({"layers": (4, 3), "preprocess_name": "LogAndSign",
                      "preprocess_options": {"k": 5}, "seed": 8}, (2, 3)),
    "LSTMWithGAC": ({"layers": (4, 3), "num_averaged": 2}, (2, 3)),
    "NTMBFGS": ({"layers": (4,), "num_averaged": 2, "read_heads": 2,
                 "preprocess_name": "RNNprop", "dense": 3}, (2, 3)),
    "KernelDeepLSTM": ({"kernel_shape": (3, 2), "layers": ()}, (3, 2, 1, 4)),
    "Sgd": ({"learning_rate": 0.25}, (2,)),
    "Momentum": ({"learning_rate": 0.25, "momentum": 0.5}, (2,)),
    "Nesterov": ({"learning_rate": 0.25, "momentum": 0.5}, (2,)),
    "Rprop": ({"learning_rate": 0.25, "eta_minus": 0.25}, (2,)),
    "Adagrad": ({"learning_rate": 0.25, "epsilon": 0.5}, (2,)),
    "RMSProp": ({"learning_rate": 0.25, "decay": 0.5}, (2,)),
    "Adam": ({"learning_rate": 0.25, "beta1": 0.5}, (2,)),
}
GRADIENT = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)


class FactoryTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())
    self.file = os.path.join(self.folder, "net.l2l")

  def save(self, **options):
    network = networks.CoordinateWiseDeepLSTM(
        **{"layers": (4, 3), "scale": 0.5, **options})
    network.initial_state({"x": tf.ones([2])})
    networks.save(network, self.file)
    return network

  def save_legacy(self, layers):
    rng = np.random.default_rng(0)
    sizes = [1, *layers]
    tree = {f"lstm_{i + 1}": {"w_gates": rng.normal(size=(f + h, 4 * h)),
                              "b_gates": rng.normal(size=4 * h)}
            for i, (f, h) in enumerate(zip(sizes, layers))}
    tree["linear"] = {"w": rng.normal(size=(sizes[-1], 1)), "b": np.zeros(1)}
    with open(self.file, "wb") as file:
      pickle.dump(tree, file)

  @parameterized.parameters(*NETWORKS)
  def test_makes_the_class_with_its_options(self, net):
    options, _ = NETWORKS[net]
    network = networks.factory(net, options)
    self.assertIs(type(network), getattr(networks, net))
    for name in set(options) - {"seed"}:
      value = options[name]
      self.assertEqual(network.options[name],
                       list(value) if isinstance(value, tuple) else value)

  def test_baselines_are_made_by_name(self):
    for name, cls in baselines.BY_NAME.items():
      self.assertIs(type(networks.factory(name)), cls)

  def test_options_may_be_pairs(self):
    network = networks.factory("Sgd", [("learning_rate", 0.5)])
    self.assertEqual(network.options, {"learning_rate": 0.5})

  @parameterized.parameters(*NETWORKS)
  def test_a_saved_network_gives_the_same_updates(self, net):
    options, shape = NETWORKS[net]
    gradients = {"x": np.random.default_rng(0).normal(
        size=(3, *shape)).astype(np.float32)}
    network = networks.factory(net, options)
    expected = toys.steps(network, gradients)
    networks.save(network, self.file)
    for again in (networks.factory(net, net_path=self.file),
                  networks.factory(net, options, self.file)):
      assertions.assert_equal(toys.steps(again, gradients), expected)

  def test_a_network_with_a_dense_layer_is_saved(self):
    network = self.save(dense=3)
    again = networks.factory(COORDINATEWISE, net_path=self.file)
    assertions.assert_equal(toys.steps(again, {"x": GRADIENT}),
                            toys.steps(network, {"x": GRADIENT}))

  def test_weights_of_bfloat16_are_saved_exactly(self):
    params = {"x": tf.constant(GRADIENT, tf.bfloat16)}
    network = toys.coordinatewise()
    network.initial_state(params)
    networks.save(network, self.file)
    again = networks.factory(COORDINATEWISE, net_path=self.file)
    again.initial_state(params)
    for variable, expected in zip(again.variables, network.variables):
      self.assertEqual(variable.dtype, tf.bfloat16)
      np.testing.assert_array_equal(variable, expected)

  def test_a_network_inside_another_is_saved_the_same(self):
    inner = toys.coordinatewise()
    outer = networks.Partition({"inner": inner})
    expected = toys.steps(outer, {"x": GRADIENT})[0]
    networks.save(inner, self.file)
    again = networks.factory(COORDINATEWISE, net_path=self.file)
    assertions.assert_equal(toys.steps(again, {"x": GRADIENT})[0], expected)

  def test_numpy_options_can_be_saved(self):
    self.save(layers=np.array([4, 3]), scale=np.float32(0.5))
    self.assertEqual(
        networks.factory(COORDINATEWISE, net_path=self.file).options["layers"],
        [4, 3])

  def test_numpy_options_of_inputs_and_bounds_can_be_saved(self):
    options = {"preprocess_name": "LogAndSign",
               "preprocess_options": {"k": np.int64(5)},
               "postprocess_options": {"min_size": np.float32(0.5)}}
    self.save(**options)
    networks.factory(COORDINATEWISE, options, self.file)

  def test_options_of_a_file_may_be_tuples_and_arrays(self):
    options = {"preprocess_name": "NormalizedMomenta",
               "preprocess_options": {"decays": (0.5, 0.9)}}
    self.save(**options)
    networks.factory(
        COORDINATEWISE, {"layers": np.array([4, 3]), **options}, self.file)

  def test_option_that_the_file_leaves_out_is_compared(self):
    self.save()
    with self.assertRaisesRegex(ValueError, "postprocess_options=None, but"):
      networks.factory(COORDINATEWISE, {"postprocess_options": {
          "weight_decay": 0.01}}, self.file)

  def test_a_network_without_weights_yet_is_not_saved(self):
    with self.assertRaisesRegex(ValueError, "has no variables yet: train it"):
      networks.save(networks.CoordinateWiseDeepLSTM((4,)), self.file)

  def test_file_without_weights_is_refused(self):
    weights.write(self.file, weights.Saved(
        {}, COORDINATEWISE, {"layers": [4]}, {}))
    with self.assertRaisesRegex(
        ValueError, r"the weights {}, but its network.* needs {'lstm_1': "):
      networks.factory(COORDINATEWISE, {}, self.file)

  def test_file_notes_what_it_was_trained_on(self):
    networks.save(networks.Sgd(), self.file, {"problem": "mnist"})
    self.assertEqual(
        weights.read(self.file).trained_on, {"problem": "mnist"})
    self.save()
    self.assertEqual(weights.read(self.file).trained_on, {})

  @parameterized.parameters("cw_logsign", "open_l2o_dm_aug")
  def test_legacy_file_is_loaded(self, name):
    filename = LEGACY / name / "cw.l2l"
    network = networks.factory(COORDINATEWISE, {
        "layers": (20, 20), "preprocess_name": "LogAndSign",
        "preprocess_options": {"k": 5}, "scale": 0.01}, filename)
    network.initial_state({"x": tf.ones([3])})
    saved = weights.read(filename).weights
    self.assertEqual(
        {name: array.tobytes()
         for name, array in toys.weights(network).items()},
        {f"{module}/{name}": array.tobytes()
         for module, arrays in saved.items() for name, array in arrays.items()})

  def test_variables_of_the_same_name_are_not_saved(self):
    network = networks.CoordinateWiseDeepLSTM((2,))
    network.initial_state({"x": tf.ones([3])})
    network.second = snt.Linear(1, name="linear")
    network.second(tf.ones([1, 1]))
    with self.assertRaisesRegex(ValueError, "Two variables of CoordinateWise.*"
                                " are called linear/"):
      networks.save(network, self.file)
    self.assertFalse(os.path.exists(self.file))

  @parameterized.parameters("Sgd2", "cw", "LSTM", "Partition", None)
  def test_unknown_network_lists_the_known_ones(self, net):
    with self.assertRaisesRegex(
        ValueError, f"^net is {net!r}, but must be one of .*'Adam', 'Coord"):
      networks.factory(net)

  @parameterized.parameters(
      ("Sgd", {"momentum": 0.9}, r"\['momentum'\].* Sgd are "
       r"\['learning_rate'\]"),
      (COORDINATEWISE, {"layers": (), "output_size": 1}, r"\['output_size'\]"),
      (COORDINATEWISE, {"layers": (), "kwargs": {}}, r"\['kwargs'\]"),
      ("StandardDeepLSTM", {"units": 3}, r"\['units'\].*'dense', "
       r"'initializer', 'layers', 'output_size', 'postprocess_options', "
       r"'preprocess_name', 'preprocess_options', 'scale', 'seed'\]"))
  def test_unknown_option_lists_the_known_ones(self, net, options, message):
    with self.assertRaisesRegex(ValueError, f"^net_options has {message}"):
      networks.factory(net, options)

  @parameterized.parameters(None, "abc", 3)
  def test_options_of_another_form_are_named(self, options):
    with self.assertRaisesRegex(
        ValueError, f"^net_options is {options!r}, but must be a dictionary"):
      networks.factory("Adam", options)

  @parameterized.parameters(
      (COORDINATEWISE, {}, "layers"), ("KernelDeepLSTM", {"layers": ()},
                                       "kernel_shape"))
  def test_missing_option_is_named(self, net, options, missing):
    with self.assertRaisesRegex(ValueError, missing):
      networks.factory(net, options)

  def test_legacy_file_needs_the_options(self):
    with self.assertRaisesRegex(ValueError, "layers"):
      networks.factory(
          COORDINATEWISE, net_path=LEGACY / "cw_logsign" / "cw.l2l")

  def test_missing_file_is_named(self):
    with self.assertRaisesRegex(FileNotFoundError, self.file):
      networks.factory("Sgd", net_path=self.file)

  @parameterized.parameters(
      ({"layers": (4,)}, r"layers=\[4, 3\], but net_options has layers=\[4\]"),
      ({"scale": 1.}, "scale=0.5, but net_options has scale=1.0"),
      ({"preprocess_name": "LogAndSign", "preprocess_options": {"k": 5}},
       "preprocess_name='identity', but net_options has "
       "preprocess_name='LogAndSign'"))
  def test_options_that_contradict_the_file_are_named(self, options, message):
    self.save()
    with self.assertRaisesRegex(ValueError, f"{self.file}.*{message}"):
      networks.factory(COORDINATEWISE, options, self.file)

  @parameterized.parameters("KernelDeepLSTM", "Adam")
  def test_another_class_than_the_files_is_refused(self, net):
    self.save()
    with self.assertRaisesRegex(
        ValueError, f"^net is '{net}', but must be 'CoordinateWiseDeepLSTM', "
        f"the class of the network in {self.file}"):
      networks.factory(net, net_path=self.file)

  @parameterized.parameters(
      ([(4, 3)], [(4,)]), ([(4,)], [(5,)]), ([(4,)], [()]), ([(4, 4)], [(4,)]),
      ([(4,)], [(4, 4)]), ([()], [(1,)]))
  def test_legacy_file_of_other_layers_is_refused(self, saved, asked):
    self.save_legacy(*saved)
    with self.assertRaisesRegex(ValueError, "lstm_|linear"):
      network = networks.factory(
          COORDINATEWISE, {"layers": asked[0]}, self.file)
      network.initial_state({"x": tf.ones([2])})

  def test_file_that_lacks_a_variable_is_refused(self):
    self.save()
    rest = f"{self.file}.rest"
    with zipfile.ZipFile(self.file) as file, zipfile.ZipFile(
        rest, "w") as without:
      for name in file.namelist():
        if name != "lstm_1/w_gates.npy":
          without.writestr(name, file.read(name))
    with self.assertRaisesRegex(
        ValueError, rf"{rest} holds the weights .*'lstm_1': \['b_gates'\]"):
      networks.factory(COORDINATEWISE, net_path=rest)

  def test_hand_designed_optimizer_has_no_weights_in_a_file(self):
    self.save_legacy((4,))
    with self.assertRaisesRegex(ValueError, "holds the weights .* needs {}"):
      networks.factory("Adam", net_path=self.file)

  def test_legacy_file_of_another_preprocessing_is_refused(self):
    self.save_legacy((4,))
    network = networks.factory(
        COORDINATEWISE, {"layers": (4,), "preprocess_name": "LogAndSign",
                         "preprocess_options": {"k": 5}}, self.file)
    with self.assertRaisesRegex(ValueError, r"\(5, 16\).*\(6, 16\)"):
      network.initial_state({"x": tf.ones([2])})


if __name__ == "__main__":
  absltest.main()
