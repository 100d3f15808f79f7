"""Tests of the flags of `train.py`."""

import inspect
import json
import pathlib
import re
import shlex
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from meta import experiments
from networks import weights
import problems
from tests import assertions, fake_data, programs, run_files, toys

TRAINED = pathlib.Path(__file__).parents[1] / "trained"
FAST = ("--num_steps=2", "--unroll_length=2", "--evaluation_epochs=1",
        "--jit_compile=false")


class FlagsTest(programs.EagerTestCase):
  """Tests of what the program passes to `meta.train`."""

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())

  def passed(self, *argv):
    """The arguments that the program passes, by name."""
    with mock.patch.object(meta, "train", autospec=True) as train:
      self.assert_done(programs.run("train", *argv))
    return inspect.signature(meta.train).bind(
        *train.call_args.args, **train.call_args.kwargs).arguments

  def test_defaults_are_deepminds(self):
    passed = self.passed()
    self.assertIsInstance(passed["problem"], problems.Simple)
    self.assertEqual(passed["settings"], meta.Settings())
    self.assertEqual(passed["description"], {
        "problem": "simple", "layers": None, "activation": None,
        "init_stddev": None, "split": "train", "init": None,
        "net_options": None,
        "random_scaling": None, "recipe": None})
    self.assertEqual(
        [passed[name] for name in (
            "num_epochs", "save_path", "resume", "log_period")],
        [10000, None, False, 100])

  def test_every_setting_has_a_flag(self):
    sets = (  # They exclude one another.
        ("quadratic", {
            "num_steps": 6, "unroll_length": 3, "learning_rate": 0.5,
            "second_derivatives": True, "num_tasks": 2, "stagger": True,
            "seed": 7, "evaluation_period": 11, "evaluation_epochs": 13,
            "jit_compile": False, "decay_epochs": 19,
            "max_gradient_norm": 0.25, "objective": "log", "patience": 2,
            "keep_last": True, "restart_from_best": True}),
        ("quadratic,simple", {
            "sampled_coordinates": 50, "min_num_steps": 40,
            "problem_weights": [1., 0.5], "imitation": 0.25,
            "teacher": "Momentum", "teacher_learning_rate": 0.125}),
        ("quadratic", {
            "curriculum": [3, 6], "estimator": "pes",
            "perturbation_stddev": 0.5, "perturbation_pairs": 3}))
    defaults = meta.Settings()._asdict()
    left = set(defaults)
    for problem, values in sets:
      settings = meta.Settings(**values)
      passed = self.passed(f"--problem={problem}", *(
          f"--{name}=" + json.dumps(value).strip('[]"')
          for name, value in values.items()))
      self.assertEqual(passed["settings"], settings)
      left -= {name for name in values if values[name] != defaults[name]}
    self.assertEmpty(left)

  def test_arguments_of_a_training_have_flags(self):
    passed = self.passed("--num_epochs=17", "--log_period=19",
                         f"--save_path={self.folder}/run", "--resume")
    self.assertEqual(
        [passed[name] for name in (
            "num_epochs", "save_path", "resume", "log_period")],
        [17, f"{self.folder}/run", True, 19])

  def test_seed_is_that_of_the_networks_too(self):
    made = []
    for seed in (0, 0, 1):
      network = self.passed(
          "--problem=quadratic", f"--seed={seed}")["optimizer"].networks["cw"]
      network.initial_state({"x": tf.zeros([2])})
      made.append(toys.weights(network)["lstm_1/w_gates"])
    np.testing.assert_array_equal(made[0], made[1])
    self.assertFalse(np.any(made[0] == made[2]))

  @parameterized.parameters(
      ("simple-multi", 100, 20, 0.001), ("paper-quadratic", 100, 20, 0.003),
      ("paper-mnist", 100, 20, 0.01), ("paper-neural-art", 128, 32, 0.003),
      ("paper-cifar10", 100, 20, 0.003))
  def test_experiment_has_settings_of_its_own(
      self, name, num_steps, unroll_length, learning_rate):
    fake_data.write_mnist(self.folder)
    fake_data.write_cifar10(self.folder, per_batch=20)
    fake_data.write_neural_art(self.folder, "train", image_size=64)
    passed = self.passed(f"--problem={name}", f"--data_dir={self.folder}")
    self.assertEqual(passed["settings"], meta.Settings(
        num_steps=num_steps, unroll_length=unroll_length,
        learning_rate=learning_rate))
    experiment = experiments.get(name)
    self.assertEqual(
        passed["net_assignments"], experiment.net_assignments)
    self.assertCountEqual(
        passed["optimizer"].networks, experiment.net_config)

  def test_flags_of_the_data_are_part_of_the_description(self):
    fake_data.write_mnist(self.folder)
    passed = self.passed(
        "--problem=mnist", f"--data_dir={self.folder}", "--split=test",
        "--layers=3,2", "--activation=relu", "--init_stddev=0.5")
    self.assertEqual(passed["description"], {
        "problem": "mnist", "layers": ["3", "2"], "activation": "relu",
        "init_stddev": 0.5,
        "split": "test", "init": None, "net_options": None,
        "random_scaling": None, "recipe": None})
    expected = problems.Mnist(
        layers=(3, 2), activation="relu", data_dir=self.folder, split="test",
        init_stddev=0.5)
    params, constants = expected.sample(tf.constant([1, 2]))
    actual, _ = passed["problem"].sample(tf.constant([1, 2]))
    assertions.assert_equal(actual, params)
    seed = tf.constant([3, 4])
    self.assertEqual(passed["problem"].loss(params, constants, seed),
                     expected.loss(params, constants, seed))

  @parameterized.parameters(
      (("--resume",), "--resume needs the --save_path of the run to resume"),
      (("--teacher=Sgd",), "--teacher has no effect without --imitation"),
      (("--perturbation_pairs=2",),
       "--perturbation_pairs has no effect without --estimator"),
      (("--stagger",), "--stagger has no effect with one task: add --num_ta"),
      (("--sampled_coordinates=half",), "--sampled_coordinates is half, but "),
      (("--sampled_coordinates=0",), "--sampled_coordinates is 0, but must "),
      (("--num_steps=25", "--unroll_length=10", "--num_tasks=2", "--stagger"),
       "num_steps is 25, but must be a multiple of unroll_length, 10"),
      (("--min_num_steps=15",), "min_num_steps is 15, but must be a multiple "),
      (("--problem_weights=1,many",),
       "--problem_weights has 'many', but must be numbers"),
      (("--curriculum=3,six",), "--curriculum has 'six', but must be whole"),
      (("--curriculum=20,40", "--num_steps=60"),
       "--num_steps has no effect with --curriculum"),
      (("--curriculum=3,2",), r"curriculum is \[3, 2\], but must be incre"),
      (("--problem_weights=1,2",), r"problem_weights is \[1.0, 2.0\], but must "
       "be as many numbers as there are problems, 1"),
      (("--problem=simple,simple",),
       "--problem is simple,simple, but must not name a problem twice"),
      (("--problem=simple,cubic",), "problem is 'cubic', but must be one of"),
      (("--problem=simple,quadratic", "--layers=3"), "--layers is for mnist"),
      (("--recipe=cake",), "recipe.*cake"))
  def test_flags_that_do_not_fit_are_refused(self, argv, message):
    self.assert_error(programs.run("train", *argv), message)

  def test_settings_are_checked_before_data_are_read(self):
    self.assert_error(
        programs.run("train", "--problem=paper-mnist", "--imitation=2"),
        r"imitation is 2.0, but must be in \[0, 1\]")

  def test_recipe_gives_the_defaults_of_flags(self):
    passed = self.passed("--problem=paper-quadratic", "--num_epochs=70",
                         "--recipe=robust")
    self.assertEqual(passed["settings"], meta.Settings(
        learning_rate=0.01, decay_epochs=70, max_gradient_norm=1.,
        sampled_coordinates=2000))
    self.assertEqual(passed["description"]["recipe"], "robust")

  def test_flags_replace_the_settings_of_a_recipe(self):
    passed = self.passed(
        "--recipe=robust", "--decay_epochs=5", "--learning_rate=0.5",
        "--sampled_coordinates=all", "--max_gradient_norm=3")
    self.assertEqual(passed["settings"], meta.Settings(
        learning_rate=0.5, decay_epochs=5, max_gradient_norm=3.))

  @parameterized.parameters(
      ("--curriculum=20,40",), ("--stagger", "--num_tasks=2"))
  def test_recipe_leaves_the_length_of_runs_to_other_flags(self, *argv):
    passed = self.passed("--recipe=general", *argv)
    self.assertIsNone(passed["settings"].min_num_steps)

  def test_shortest_runs_of_a_recipe_have_one_unroll(self):
    passed = self.passed("--recipe=general", "--unroll_length=50")
    self.assertEqual(passed["settings"].min_num_steps, 50)

  @parameterized.parameters("--second_derivatives", "--estimator=pes")
  def test_recipe_samples_no_coordinates_where_all_are_needed(self, flag):
    passed = self.passed("--recipe=general", flag)
    self.assertIsNone(passed["settings"].sampled_coordinates)

  def test_random_scaling_wraps_the_problem(self):
    passed = self.passed("--problem=quadratic", "--random_scaling=2.5")
    self.assertIsInstance(passed["problem"], problems.RandomScaling)
    self.assertEqual(passed["description"]["random_scaling"], 2.5)
    _, (_, scales) = passed["problem"].sample(tf.constant([1, 2]))
    self.assertBetween(np.max(np.abs(np.log(scales["x"]))), 2.4, 2.5)

  def test_group_of_problems_is_all_of_them(self):
    passed = self.passed("--problem=small-tasks")
    self.assertEqual([*passed["problem"]], [f"small-{i}" for i in range(22)])
    self.assertEqual(passed["description"]["problem"], "small-tasks")

  def test_images_of_tasks_that_can_do_without_files_are_recorded(self):
    fake_data.write_mnist(self.folder)
    for flags, images in (
        (["--problem=small-1"], "synthetic"),
        (["--problem=hard-0,wide-0", f"--data_dir={self.folder}"], "MNIST")):
      self.assertEqual(self.passed(*flags)["description"]["images"], images)
    self.assertNotIn(
        "images", self.passed("--problem=hard-0")["description"])

  def test_several_problems_have_the_networks_of_the_first(self):
    fake_data.write_mnist(self.folder)
    fake_data.write_neural_art(self.folder, "train", image_size=64)
    passed = self.passed("--problem=paper-neural-art,paper-mnist,quadratic",
                         f"--data_dir={self.folder}", "--layers=3",
                         "--problem_weights=1,2,3")
    self.assertEqual(
        list(passed["problem"]),
        ["paper-neural-art", "paper-mnist", "quadratic"])
    self.assertEqual(passed["description"]["problem"],
                     "paper-neural-art,paper-mnist,quadratic")
    self.assertEqual(passed["settings"], meta.Settings(
        num_steps=128, unroll_length=32, learning_rate=0.003,
        problem_weights=[1., 2., 3.]))
    params, _ = passed["problem"]["paper-mnist"].sample(tf.constant([1, 2]))
    self.assertEqual(next(iter(params.values())).shape, [784, 3])

  def test_init_starts_from_trained_networks(self):
    fake_data.write_mnist(self.folder)
    with mock.patch.object(meta, "train") as train:
      self.assert_done(programs.run(
          "train", "--problem=paper-mnist", f"--data_dir={self.folder}",
          "--init=paper-quadratic"))
    _, optimizer = train.call_args.args[:2]
    network = optimizer.networks["cw"]
    network.initial_state({"x": tf.zeros([1])})
    saved = weights.read(TRAINED / "paper-quadratic" / "cw.l2l").weights
    assertions.assert_equal(toys.weights(network), {
        f"{module}/{name}": array for module, arrays in saved.items()
        for name, array in arrays.items()})
    self.assertEqual(train.call_args.kwargs["description"]["init"],
                     "paper-quadratic")

  def test_options_of_the_networks_replace_those_of_the_experiment(self):
    given = {"layers": [5], "scale": 0.5, "initializer": "zeros",
             "preprocess_options": {"decays": [0.7]}, "postprocess_options": {}}
    passed = self.passed("--problem=tests.toys:Regression", "--seed=3",
                         f"--net_options={json.dumps(given)}")
    network = passed["optimizer"].networks["cw"]
    self.assertEqual(network.options, {
        "layers": [5], "scale": 0.5, "preprocess_name": "NormalizedMomenta",
        "preprocess_options": {"decays": [0.7]}})
    network.initial_state({"x": tf.zeros([1])})
    self.assertFalse(np.any(toys.weights(network)["lstm_1/w_gates"]))
    self.assertEqual(passed["description"]["net_options"], given)

  @parameterized.parameters(
      ("layers", "must be a JSON object in single quotes, such as '{"),
      ("[]", "must be a JSON object"),
      ('{"size": 3}', r"net_options has \['size'\], but the options of Coord"),
      ('{"layers": 3}', "layers is 3, but must be a tuple"),
      ('{"preprocess_options": 5}', "preprocess_options are 5, which"),
      ('{"preprocess_name": "log"}', "preprocess_name is 'log', but must be"))
  def test_options_that_no_network_has_are_refused(self, text, message):
    self.assert_error(programs.run("train", f"--net_options={text}"), message)

  def test_options_of_trained_networks_cannot_be_replaced(self):
    self.assert_error(
        programs.run("train", "--problem=tests.toys:Regression",
                     "--init=paper-mnist", '--net_options={"scale": 2}'),
        "--net_options is for new networks, but those of --init have their")

  def test_init_that_is_none_lists_the_known_ones(self):
    self.assert_error(
        programs.run("train", "--init=nowhere"),
        r"No trained optimizer 'nowhere': .* \['general', ")

  def test_run_of_other_flags_is_not_resumed(self):
    argv = (*FAST, f"--save_path={self.folder}/run", "--num_epochs=1")
    # The settings are written at once, before the first epoch.
    with mock.patch.object(meta.Trainer, "run_epoch", side_effect=OSError("x")):
      self.assert_error(programs.run("train", *argv), "error: x")
    before = run_files.files(self.folder)
    for flags, named in (
        (("--num_steps=4",), "--num_steps=2"),
        (("--unroll_length=1", "--seed=1"), "--unroll_length=2 --seed=0"),
        (("--learning_rate=0.1",), "--learning_rate=0.001"),
        (("--evaluation_period=1",), "--evaluation_period=1000"),
        (("--evaluation_epochs=2",), "--evaluation_epochs=1"),
        (("--second_derivatives",), "--second_derivatives=false"),
        (("--split=test",), "--split=train"),
        (("--num_tasks=2",), "--num_tasks=1"),
        (("--problem=simple-multi",), "--problem=simple"),
        (("--init=paper-mnist",), "no --init"),
        (('--net_options={"scale": 2}',), "no --net_options")):
      with self.subTest(flags=flags):
        self.assert_error(programs.run("train", *argv, "--resume", *flags),
                          f"was started with {named}: resume it with the same")
    self.assert_error(programs.run("train", *argv),
                      "which holds a run. Resume it with --resume .*, or")
    self.assertEqual(run_files.files(self.folder), before)

  def test_damaged_network_of_a_run_may_be_deleted(self):
    argv = (*FAST, f"--save_path={self.folder}/run", "--num_epochs=1",
            "--resume")
    programs.run("train", *argv)
    file = pathlib.Path(self.folder, "run", "cw.l2l")
    file.write_bytes(file.read_bytes()[:60])
    self.assert_error(programs.run("train", *argv),
                      "cw.l2l.* Or delete this file: the run resumes from its")
    file.unlink()
    self.assertIn("after epoch 1", programs.run("train", *argv).stdout)

  def test_run_of_other_networks_is_not_resumed(self):
    argv = (*FAST, f"--save_path={self.folder}/run", "--num_epochs=1",
            "--resume", '--net_options={"scale": 0.5, "layers": [3]}')
    with mock.patch.object(meta.Trainer, "run_epoch", side_effect=OSError("x")):
      self.assert_error(programs.run("train", *argv), "error: x")
      # The order and the spaces of the same options do not matter.
      self.assert_error(
          programs.run("train", *argv,
                       '--net_options={"layers":[3],"scale":0.5}'), "error: x")
    result = programs.run("train", *argv, '--net_options={"scale": 2}')
    self.assert_error(result, "was started with --net_options=")
    # What is printed can be typed.
    typed = re.search("started with (.*): resume", result.stderr)[1]
    with mock.patch.object(meta.Trainer, "run_epoch", side_effect=OSError("x")):
      self.assert_error(
          programs.run("train", *argv, *shlex.split(typed)), "error: x")

  def test_run_of_a_version_without_a_flag_is_that_of_its_default(self):
    argv = (*FAST, f"--save_path={self.folder}/run", "--num_epochs=1",
            "--resume")
    with mock.patch.object(meta.Trainer, "run_epoch", side_effect=OSError("x")):
      self.assert_error(programs.run("train", *argv), "error: x")
      file = pathlib.Path(self.folder, "run", "run.json")
      settings = json.loads(file.read_text())
      del settings["net_options"]
      file.write_text(json.dumps(settings))
      self.assert_error(programs.run("train", *argv), "error: x")


if __name__ == "__main__":
  absltest.main()
