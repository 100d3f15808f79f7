"""Tests of the settings of the experiments."""

import os
import pathlib
import pickle
import sys
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import evaluation, experiments, meta_optimizer
import networks
from tests import fake_data, toys

LEGACY = pathlib.Path(__file__).parent / "data" / "legacy"
SIZES = {  # Numbers of coordinates and of functions, as published.
    "simple": (1, 1), "simple-multi": (2, 1), "quadratic": (1280, 1),
    "mnist": (15910, 1), "cifar": (22682, 1), "cifar-multi": (22682, 1),
    "paper-quadratic": (1280, 128), "paper-mnist": (15910, 1),
    "paper-cifar10": (22682, 1), "paper-cifar5": (22682 - 5 * 33, 1),
    "paper-cifar5-sub": (22682 - 5 * 33, 1),
    "paper-cifar2": (22682 - 8 * 33, 1),
    "paper-cifar2-sub": (22682 - 2 * 33, 1),
    "paper-neural-art": (64 * 64 * 3, 1),
    "paper-neural-art-128": (128 * 128 * 3, 1)}


class ExperimentsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())

  def make(self, name):
    """The problem and the optimizer of an experiment."""
    experiment = experiments.get(name)
    options = {}
    if experiment.has_data:
      fake_data.write_mnist(self.folder)
      fake_data.write_cifar10(self.folder, per_batch=20)
      size = 128 if name.endswith("-128") else 64
      fake_data.write_neural_art(
          self.folder, "test128" if size == 128 else "test", image_size=size)
      options = {"data_dir": self.folder, "split": "test", "download": False}
    return (experiment.make_problem(**options),
            meta_optimizer.MetaOptimizer(**experiment.net_config))

  def test_sizes_here_are_of_all_experiments(self):
    self.assertCountEqual(experiments.EXPERIMENTS, SIZES)

  @parameterized.parameters(*SIZES.items())
  def test_experiment_trains(self, name, sizes):
    problem, meta = self.make(name)
    experiment = experiments.get(name)
    step = meta.meta_minimize(
        problem, 2, experiment.learning_rate, experiment.net_assignments,
        jit_compile=False)  # Which takes less time here than to compile.
    info, run = step.train(step.reset(0))
    self.assertEqual(
        sum(int(tf.size(p)) for p in run.params.values()), sizes[0])
    self.assertEqual(info.losses.shape.num_elements(), 3 * sizes[1])
    self.assertTrue(np.isfinite(info.gradient_norm))

  @parameterized.parameters("mnist", "paper-mnist", "quadratic",
                            "paper-quadratic", "paper-neural-art",
                            "paper-neural-art-128")
  def test_networks_have_two_layers_of_20(self, name):
    (_, config), = experiments.get(name).net_config.items()
    self.assertEqual(config["net"], "CoordinateWiseDeepLSTM")
    self.assertEqual(config["net_options"]["layers"], (20, 20))

  @parameterized.parameters(
      ("quadratic", "identity", {}, 1.),
      ("paper-quadratic", "identity", {}, 1.),
      ("mnist", "LogAndSign", {"k": 5}, 0.01),
      ("paper-mnist", "LogAndSign", {"k": 10}, 0.1),
      ("paper-neural-art", "LogAndSign", {"k": 10}, 1.))
  def test_networks_are_as_published(self, name, preprocess, options, scale):
    network, = meta_optimizer.MetaOptimizer(
        **experiments.get(name).net_config).networks.values()
    self.assertEqual(network.options, {
        "layers": [20, 20], "preprocess_name": preprocess,
        "preprocess_options": options, "scale": scale})

  def test_simple_multi_is_adam_on_the_second_parameter(self):
    problem, meta = self.make("simple-multi")
    losses = evaluation.Evaluator(networks.Partition(
        meta.networks, experiments.get("simple-multi").net_assignments),
        problem, 1)([0])
    # The network of zeros leaves x_0 at 1; Adam's first update is its rate.
    np.testing.assert_allclose(losses, [[2., 1 + 0.9**2]], rtol=1e-5)

  def test_neural_art_is_tested_on_another_style(self):
    one, other = (self.make(name)[0]
                  for name in ("paper-neural-art", "paper-neural-art-128"))
    self.assertEqual(other.style.shape, (128, 128, 3))
    self.assertGreater(
        np.mean(np.abs(one.style - np.float32(other.style[::2, ::2]))), 20.)

  @parameterized.parameters("paper-neural-art", "paper-neural-art-128")
  def test_neural_art_needs_a_directory(self, name):
    with self.assertRaisesRegex(ValueError, "--data_dir"):
      experiments.get(name).make_problem(
          data_dir=None, split="train", download=True)

  def test_unknown_experiment_lists_the_known_ones(self):
    with self.assertRaisesRegex(
        ValueError, r"^problem is 'cubic', but must be one of \['simple', "
        "'simple-multi', 'quadratic', 'mnist'"):
      experiments.get("cubic")

  def test_own_problem_is_given_the_split_where_it_takes_one(self):
    pathlib.Path(self.folder, "own_splits.py").write_text(
        "import problems\n"
        "def with_split(split='no'):\n"
        "  return problems.Quadratic(1, {'train': 2, 'test': 3}[split])\n"
        "def without():\n"
        "  return problems.Quadratic(1, 4)\n")
    self.enter_context(mock.patch.object(sys, "path", [*sys.path, self.folder]))
    for function, has_data, sizes in (("with_split", True, (2, 3)),
                                      ("without", False, (4, 4))):
      experiment = experiments.get(f"own_splits:{function}")
      self.assertEqual(experiment.has_data, has_data)
      for split, size in zip(("train", "test"), sizes):
        options = {"split": split, "data_dir": None, "download": False}
        problem = experiment.make_problem(**options if has_data else {})
        params, _ = problem.sample(tf.constant([1, 2]))
        self.assertEqual(params["x"].shape, [1, size])

  def test_own_problem_gets_the_network_of_paper_mnist(self):
    own = experiments.get("tests.toys:Regression")
    self.assertEqual(own.net_config, experiments.get("paper-mnist").net_config)
    self.assertEqual(own.learning_rate, 0.003)

  @parameterized.parameters(
      ("own_none:make", "no module 'own_none' in this folder or on PYTHONPATH"),
      (":make", "no module ''"), ("tests.toys:", "has no function ''"),
      ("tests.none.toys:make", "no module 'tests.none'"),
      ("tests.toys:SEED", "tests.toys has no function 'SEED'"),
      ("tests.toys:small_vgg", "returns dict, but must return a problems.Prob"))
  def test_own_problem_that_is_none_is_told(self, name, message):
    with self.assertRaisesRegex(ValueError, f"^problem is {name!r}, .*{message}"
                               ):
      experiments.get(name).make_problem()

  def test_error_of_an_own_problem_is_told_with_its_place(self):
    folder = pathlib.Path(self.folder)
    (folder / "own_bad.py").write_text("import os\n\nprint(unknown)\n")
    (folder / "own_worse.py").write_text(
        "import numpy as np\n\ndef make():\n  np.ones('x')\n")
    self.enter_context(mock.patch.object(sys, "path", [*sys.path, self.folder]))
    with self.assertRaisesRegex(
        ValueError, "raises NameError at .*own_bad.py:3: .*'unknown'"):
      experiments.get("own_bad:make")
    with self.assertRaisesRegex(
        ValueError, "raises TypeError at .*own_worse.py:4: "):
      experiments.get("own_worse:make").make_problem()
    (folder / "own_package").mkdir()
    (folder / "own_package" / "__init__.py").write_text("\nimport own_none\n")
    (folder / "own_package" / "module.py").write_text("")
    with self.assertRaisesRegex(
        ValueError, "raises ModuleNotFoundError at .*__init__.py:2: .*own_no"):
      experiments.get("own_package.module:make")
    (folder / "own_typo.py").write_text("\n\ndef make(:\n")
    with self.assertRaisesRegex(
        ValueError, "raises SyntaxError at .*own_typo.py:3: "):
      experiments.get("own_typo:make")
    (folder / "own_wrong.py").write_text(
        "import problems\n\ndef make():\n  return problems.Quadratic(0, 1)\n")
    with self.assertRaisesRegex(
        ValueError, "raises ValueError at .*own_wrong.py:4: "):
      experiments.get("own_wrong:make").make_problem()

  @parameterized.parameters(*SIZES)
  def test_with_seed_changes_the_seed_of_learned_networks_only(self, name):
    config = experiments.get(name).net_config
    before = repr(config)
    seeded = experiments.with_seed(config, 5)
    self.assertEqual(repr(config), before)
    for key, network in config.items():
      expected = dict(network["net_options"])
      if network["net"] != "Adam":
        expected["seed"] = 5
      self.assertEqual(seeded[key], network | {"net_options": expected})
    meta_optimizer.MetaOptimizer(**seeded)

  def test_with_seed_changes_the_first_weights(self):
    config = experiments.get("quadratic").net_config
    drawn = []
    for seed in (0, 1, 1):
      meta = meta_optimizer.MetaOptimizer(**experiments.with_seed(config, seed))
      network, = meta.networks.values()
      network.initial_state({"x": tf.ones([1])})
      drawn.append(toys.weights(network)["lstm_1/w_gates"])
    self.assertFalse(np.array_equal(drawn[0], drawn[1]))
    np.testing.assert_array_equal(drawn[1], drawn[2])

  def test_a_seed_that_is_configured_stays(self):
    config = {"a": {"net": "CoordinateWiseDeepLSTM",
                    "net_options": {"layers": (), "seed": 3}}}
    self.assertEqual(experiments.with_seed(config, 5), config)

  def test_with_weights_is_what_was_saved(self):
    problem, meta = self.make("simple-multi")
    experiment = experiments.get("simple-multi")
    step = meta.meta_minimize(problem, 2, 0.1, experiment.net_assignments)
    for _ in range(3):
      step.step(step.reset(0))
    meta.save(self.folder)
    loaded = meta_optimizer.MetaOptimizer(**experiments.with_weights(
        experiment.net_config, self.folder))
    expected, actual = (
        evaluation.Evaluator(
            networks.Partition(m.networks, experiment.net_assignments),
            problem, 4)([0]) for m in (meta, loaded))
    np.testing.assert_array_equal(actual, expected)

  def test_a_new_file_goes_before_the_configuration(self):
    network = networks.CoordinateWiseDeepLSTM((3,), scale=0.5)
    network.initial_state({"x": tf.ones([1])})
    networks.save(network, os.path.join(self.folder, "cw.l2l"))
    loaded = meta_optimizer.MetaOptimizer(**experiments.with_weights(
        experiments.get("mnist").net_config, self.folder))
    self.assertEqual(loaded.networks["cw"].options, network.options)

  @parameterized.parameters("cw_logsign", "open_l2o_dm_aug")
  def test_an_old_file_needs_the_configuration(self, name):
    config = experiments.with_weights(
        experiments.get("mnist").net_config, LEGACY / name)
    network = meta_optimizer.MetaOptimizer(**config).networks["cw"]
    network.initial_state({"x": tf.ones([2])})
    self.assertEqual(network.options["scale"], 0.01)
    self.assertEqual(
        toys.weights(network)["lstm_1/w_gates"].shape, (22, 80))

  def test_old_files_of_adam_are_empty(self):
    config = {"adam": {"net": "Adam", "net_options": {"learning_rate": .1}}}
    with open(os.path.join(self.folder, "adam.l2l"), "wb") as file:
      pickle.dump({}, file)
    network = meta_optimizer.MetaOptimizer(
        **experiments.with_weights(config, self.folder)).networks["adam"]
    self.assertEqual(network.options["learning_rate"], .1)

  def test_missing_file_is_named(self):
    with self.assertRaisesRegex(FileNotFoundError, "cw.l2l"):
      experiments.with_weights(
          experiments.get("mnist").net_config, self.folder)

  def test_broken_file_is_named(self):
    pathlib.Path(self.folder, "cw.l2l").write_bytes(b"garbage")
    with self.assertRaisesRegex(ValueError, "Cannot read .*cw.l2l"):
      experiments.with_weights(
          experiments.get("mnist").net_config, self.folder)


if __name__ == "__main__":
  absltest.main()
