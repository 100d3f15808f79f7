"""Tests of `train.py`, run in the process of the tests."""

import contextlib
import inspect
import json
import os
import pathlib
import re
import signal
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from l2lgd.commands import console
import meta
from meta import experiments
from networks import weights
import problems
from tests import assertions, fake_data, programs, run_files, toys
from tests.programs import DEVICE, STATS

TRAINED = pathlib.Path(__file__).parents[1] / "trained"
FAST = ("--num_steps=2", "--unroll_length=2", "--evaluation_epochs=1",
        "--jit_compile=false")


class Huge(problems.Problem):
  """Two functions whose values are finite, but whose sum is not."""

  def sample(self, seed):
    return {"x": tf.ones([2])}, ()

  def loss(self, params, constants, seed):
    return 3e38 + 0. * params["x"]


class TrainTest(programs.TestCase):

  def setUp(self):
    super().setUp()
    self.parent = self.enter_context(tempfile.TemporaryDirectory())
    self.folder = os.path.join(self.parent, "runs", "run")

  def test_lines_and_files(self):
    result = programs.run(
        "train", *FAST, "--num_epochs=5", "--log_period=2",
        "--evaluation_period=3", "--evaluation_epochs=2",
        f"--save_path={self.folder}")
    self.assert_done(result)
    self.assertRegex(
        result.stdout,
        rf"\A{DEVICE}EVALUATION\n{STATS}Epoch 2\n{STATS}EVALUATION\n{STATS}"
        rf"Epoch 4\n{STATS}Epoch 5\n{STATS}EVALUATION\n{STATS}"
        rf"Saved {re.escape(self.folder)} after epoch 5\.\n\Z")
    self.assertContainsSubset(
        ["run.json", "cw.l2l", "checkpoints/checkpoint",
         "checkpoints/ckpt-5.index"], run_files.files(self.folder))
    # The printed errors are those of TensorBoard.
    logged = run_files.scalars(self.folder)
    losses = logged["training/final_loss"]
    validations = logged["validation/final_loss"]
    expected = [(validations[0], 2), ((losses[1] + losses[2]) / 2, 2),
                (validations[3], 2), ((losses[3] + losses[4]) / 2, 2),
                (losses[5], 1), (validations[5], 2)]
    self.assertEqual(
        re.findall(STATS, result.stdout),
        [(f"{np.log10(mean):.2f}", f"{mean:.4g}", str(count))
         for mean, count in expected])

  def test_nothing_is_saved_without_save_path(self):
    self.enter_context(contextlib.chdir(self.parent))
    result = programs.run("train", *FAST, "--num_epochs=1")
    self.assert_done(result)
    self.assertRegex(
        result.stdout,
        rf"\A{DEVICE}Nothing is saved: give a --save_path to keep the network"
        rf"\.\nEVALUATION\n{STATS}Epoch 1\n{STATS}EVALUATION\n{STATS}\Z")
    self.assertEmpty(run_files.files(self.parent))

  @parameterized.parameters(signal.SIGINT, signal.SIGTERM)
  def test_interrupted_run_is_saved_and_resumed(self, signum):
    argv = (*FAST, "--num_epochs=3", f"--save_path={self.folder}", "--resume")

    class Interrupted(console.Console):

      def epoch(self, epoch):
        super().epoch(epoch)
        if epoch.number == 2:
          signal.raise_signal(signum)

    with mock.patch.object(console, "Console", Interrupted):
      result = programs.run("train", *argv)
    self.assertEqual((result.code, result.stderr), (128 + signum, ""))
    self.assertRegex(
        result.stdout, rf"\A{DEVICE}EVALUATION\n{STATS}"
        rf"Saved {self.folder} after epoch 2\. Resume it with --resume\.\n\Z")
    result = programs.run("train", *argv)
    self.assert_done(result)
    self.assertRegex(
        result.stdout, rf"\A{DEVICE}Resuming {self.folder} after epoch 2\.\n"
        rf"Epoch 3\n{STATS}EVALUATION\n{STATS}"
        rf"Saved {self.folder} after epoch 3\.\n\Z")
    result = programs.run("train", *argv)  # There is nothing left to do.
    self.assert_done(result)
    self.assertRegex(
        result.stdout, rf"\A{DEVICE}Resuming {self.folder} after epoch 3\.\n"
        rf"Saved {self.folder} after epoch 3\.\n\Z")

  def test_means_of_the_largest_losses_are_without_warning(self):
    result = programs.run(
        "train", *FAST, "--problem=tests.commands_train_test:Huge",
        "--num_epochs=1", f"--save_path={self.folder}")
    self.assert_done(result)
    self.assertRegex(
        result.stdout, r"\nEpoch 1\n(.*\n){2}Final error: mean 3e\+38, .*"
        r" 0 of 1 diverged\n(.*\n)?EVALUATION\n(.*\n){2}"
        r"Final error: mean 3e\+38, .* 0 of 2 diverged\n")

  def test_diverging_training_goes_on(self):
    result = programs.run(
        "train", *FAST, "--problem=tests.toys:Moody", "--num_epochs=8",
        f"--save_path={self.folder}")
    self.assert_done(result)
    diverged = re.search(r"(\d) of 8 diverged", result.stdout)[1]
    self.assertIn(diverged, "1234567")
    self.assertIn(f"{diverged} of 8 meta-gradients were not finite, and were "
                  "dropped.\n", result.stdout)

  def test_full_disk_ends_with_one_line_and_can_be_resumed(self):
    argv = (*FAST, "--problem=quadratic", f"--save_path={self.folder}",
            "--num_epochs=1", "--resume")
    with run_files.full_disk(40000):
      self.assert_error(
          programs.run("train", *argv),
          "Cannot write a checkpoint .*--resume.*File too large")
    result = programs.run("train", *argv)
    self.assert_done(result)
    self.assertIn(f"Saved {self.folder} after epoch 1.", result.stdout)

  def test_problem_of_a_user_in_the_current_folder(self):
    pathlib.Path(self.parent, "own_split.py").write_text(
        "import problems\n\n"
        "def make_problem(split):\n"
        "  print(f'Split {split}')\n"
        "  return problems.Simple()\n")
    self.enter_context(contextlib.chdir(self.parent))
    own = ("--problem=own_split:make_problem", "--num_steps=2",
           "--num_epochs=1", "--jit_compile=false")
    result = programs.run("train", *own, "--unroll_length=2",
                          "--evaluation_epochs=1", "--save_path=run")
    self.assert_done(result)
    self.assertRegex(result.stdout, rf"\A{DEVICE}Split train\nEVALUATION\n")
    settings = json.loads(pathlib.Path("run/run.json").read_text())
    self.assertEqual((settings["problem"], settings["learning_rate"]),
                     ("own_split:make_problem", 0.003))
    result = programs.run("evaluate", *own, "--seed=0", "--path=run",
                          "--optimizer=L2L,Sgd", "--tune", "--tuning_epochs=1")
    self.assert_done(result)
    self.assertRegex(
        result.stdout, rf"\A{DEVICE}Split test\nSplit validation\n(.*\n)+"
        r"Evaluating on own_split:make_problem \(split test\): 1 runs of 2 ")


class FlagsTest(programs.TestCase):
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
        "split": "train", "init": None})
    self.assertEqual(
        [passed[name] for name in (
            "num_epochs", "save_path", "resume", "log_period")],
        [10000, None, False, 100])

  def test_every_setting_has_a_flag(self):
    settings = meta.Settings(
        num_steps=6, unroll_length=3, learning_rate=0.5,
        second_derivatives=True, num_tasks=2, stagger=True, seed=7,
        evaluation_period=11, evaluation_epochs=13, jit_compile=False)
    for name, default in meta.Settings()._asdict().items():
      self.assertNotEqual(getattr(settings, name), default)
    passed = self.passed(
        *(f"--{name}={str(value).lower()}"
          for name, value in settings._asdict().items()),
        "--num_epochs=17", "--log_period=19", f"--save_path={self.folder}/run",
        "--resume")
    self.assertEqual(passed["settings"], settings)
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
        "--layers=3,2", "--activation=relu")
    self.assertEqual(passed["description"], {
        "problem": "mnist", "layers": ["3", "2"], "activation": "relu",
        "split": "test", "init": None})
    expected = problems.Mnist(
        layers=(3, 2), activation="relu", data_dir=self.folder, split="test")
    params, constants = expected.sample(tf.constant([1, 2]))
    actual, _ = passed["problem"].sample(tf.constant([1, 2]))
    assertions.assert_equal(actual, params)
    seed = tf.constant([3, 4])
    self.assertEqual(passed["problem"].loss(params, constants, seed),
                     expected.loss(params, constants, seed))

  @parameterized.parameters(
      (("--resume",), "--resume needs the --save_path of the run to resume"),
      (("--num_steps=25", "--unroll_length=10", "--num_tasks=2", "--stagger"),
       "num_steps is 25, but must be a multiple of unroll_length, 10"))
  def test_flags_that_do_not_fit_are_refused(self, argv, message):
    self.assert_error(programs.run("train", *argv), message)

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

  def test_init_that_is_none_lists_the_known_ones(self):
    self.assert_error(
        programs.run("train", "--init=nowhere"),
        r"No trained optimizer 'nowhere': .* \['paper-cifar10', ")

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
        (("--init=paper-mnist",), "no --init")):
      with self.subTest(flags=flags):
        self.assert_error(programs.run("train", *argv, "--resume", *flags),
                          f"was started with {named}: resume it with the same")
    self.assert_error(programs.run("train", *argv),
                      "which holds a run. Resume it with --resume .*, or")
    self.assertEqual(run_files.files(self.folder), before)


if __name__ == "__main__":
  absltest.main()
