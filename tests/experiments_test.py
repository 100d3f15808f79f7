"""Tests of the settings of the experiments."""

import pathlib
import sys
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import evaluation, experiments, meta_optimizer
import networks
import problems
from tests import eager, fake_data

SIZES = {  # Numbers of coordinates and of functions, as published.
    "simple": (1, 1), "simple-multi": (2, 1), "quadratic": (1280, 1),
    "mnist": (15910, 1), "cifar": (22682, 1), "cifar-multi": (22682, 1),
    "paper-quadratic": (1280, 128), "paper-quadratic-gac": (10, 1),
    "paper-quadratic-ntm": (10, 1),
    "paper-mnist": (15910, 1), "paper-mnist-relu": (15910, 1),
    "paper-mnist-gac": (15910, 1),
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
        problem, 1, experiment.learning_rate, experiment.net_assignments,
        jit_compile=False)
    eager.run_eagerly(self)
    info, run = step.train(step.reset(0))
    self.assertEqual(
        sum(int(tf.size(p)) for p in run.params.values()), sizes[0])
    self.assertEqual(info.losses.shape.num_elements(), 2 * sizes[1])
    self.assertTrue(0. < info.gradient_norm < np.inf)

  @parameterized.parameters(
      ("small-0", problems.small_task, 0),
      ("small-17", problems.small_task, 17),
      ("wide-3", problems.wide_task, 3),
      ("hard-3", lambda index, *data: problems.hard_task(index), 3))
  def test_name_is_the_task_of_this_index(self, name, make, index):
    actual, _ = self.make(name)
    expected = make(index, self.folder, "test")
    params, constants = expected.sample(tf.constant([1, 2]))
    seed = tf.constant([3, 4])
    self.assertEqual(actual.loss(params, constants, seed),
                     expected.loss(params, constants, seed))

  def test_group_stands_for_its_experiments(self):
    names = experiments.expand(
        ["mnist", "small-tasks", "wide-tasks", "hard-tasks"])
    self.assertEqual(names, ["mnist", *(f"small-{i}" for i in range(22)),
                             *(f"wide-{i}" for i in range(5)),
                             *(f"hard-{i}" for i in range(6))])

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
        problem, 1)([0]).losses
    # The network of zeros leaves x_0 at 1; Adam's first update is its rate.
    np.testing.assert_allclose(losses, [[2., 1 + 0.9**2]], rtol=1e-5)

  def test_paper_mnist_relu_is_paper_mnist_with_relu(self):
    relu, _ = self.make("paper-mnist-relu")
    expected = problems.Mnist(
        activation="relu", data_dir=self.folder, split="test")
    params, constants = expected.sample(tf.constant([1, 2]))
    params = {k: 30. * v for k, v in params.items()}  # Not almost linear.
    losses = [problem.loss(params, constants, tf.constant([3, 4]))
              for problem in (relu, expected, self.make("paper-mnist")[0])]
    self.assertEqual(losses[0], losses[1])
    self.assertNotEqual(losses[0], losses[2])

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
        "'simple-multi', 'quadratic', 'mnist'.*'small-tasks', 'wide-tasks'"):
      experiments.get("cubic")

  @parameterized.parameters("wide-5", "hard-6", "hard-00")
  def test_unknown_task_lists_the_known_ones(self, name):
    with self.assertRaisesRegex(
        ValueError,
        f"^problem is '{name}', but must be one of .'{name[:4]}-0'"):
      experiments.get(name)

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
        problem = experiment.make_problem(
            **{name: options[name] for name in experiment.options})
        params, _ = problem.sample(tf.constant([1, 2]))
        self.assertEqual(params["x"].shape, [1, size])

  def test_own_function_may_return_an_experiment(self):
    pathlib.Path(self.folder, "own_experiment.py").write_text(
        "import meta\n"
        "import problems\n"
        "def make_problem(split):\n"
        "  return problems.Quadratic(1, {'train': 2, 'test': 3}[split])\n"
        "def make():\n"
        "  return meta.experiments.Experiment(\n"
        "      make_problem, {'own': {'net': 'Sgd'}}, learning_rate=0.5,\n"
        "      options=('split',), num_steps=7)\n"
        "def with_arguments(split):\n"
        "  return make()\n"
        "def wrong():\n"
        "  return make()._replace(make_problem=dict, options=())\n"
        "def without_id():\n"
        "  return make()._replace(net_config={'net': 'Sgd'})\n")
    self.enter_context(mock.patch.object(sys, "path", [*sys.path, self.folder]))
    experiment = experiments.get("own_experiment:make")
    self.assertEqual(experiment.net_config, {"own": {"net": "Sgd"}})
    self.assertEqual((experiment.learning_rate, experiment.num_steps), (0.5, 7))
    params, _ = experiment.make_problem(split="test").sample(
        tf.constant([1, 2]))
    self.assertEqual(params["x"].shape, [1, 3])
    with self.assertRaisesRegex(
        ValueError, r"own_experiment:make', which raises KeyError at .*:4: "):
      experiment.make_problem(split="none")
    with self.assertRaisesRegex(ValueError, "a function with the arguments of"):
      experiments.get("own_experiment:with_arguments").make_problem(split="a")
    with self.assertRaisesRegex(ValueError, "wrong', which returns dict, but"):
      experiments.get("own_experiment:wrong").make_problem()
    with self.assertRaisesRegex(
        ValueError, "without_id', which raises ValueError.* of network 'net'"):
      experiments.get("own_experiment:without_id")

  def test_own_function_must_return_a_problem_or_an_experiment(self):
    with self.assertRaisesRegex(
        ValueError, "^problem is 'tests.fake_data:small_vgg', which returns "
        "dict, but must return a problems.Problem or a meta.experiments.Ex"):
      experiments.get("tests.fake_data:small_vgg").make_problem()

  def test_own_problem_gets_a_network_with_bounded_steps(self):
    own = experiments.get("tests.toys:Regression")
    network, = meta_optimizer.MetaOptimizer(**own.net_config).networks.values()
    self.assertEqual(network.options["preprocess_name"], "NormalizedMomenta")
    self.assertEqual(network.options["postprocess_options"], {
        "nonlinearity": "tanh", "nominal_step": 0.01, "log_range": 4})
    self.assertEqual(own.learning_rate, 0.003)

  @parameterized.parameters(
      ("mnist", False), ("paper-quadratic", False), ("paper-mnist", True),
      ("paper-mnist-gac", True), ("paper-cifar10", True),
      ("paper-neural-art", True))
  def test_first_updates_of_an_untrained_network(self, name, are_0):
    gradients = {"x": tf.constant([1., -2.])}
    for network in meta_optimizer.MetaOptimizer(
        **experiments.get(name).net_config).networks.values():
      updates, _ = network(gradients, network.initial_state(gradients))
      self.assertEqual(not np.any(updates["x"]), are_0)


if __name__ == "__main__":
  absltest.main()
