"""Tests of the flags that programs share, and of mistakes in them."""

import contextlib
import os
import pathlib
import sys
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized

from l2lgd.commands import options
from tests import fake_data, programs

FLOATS = "learning_rate", "max_gradient_norm", "random_scaling"
MISTAKES = (
    (("--problem=cubic",), r"'cubic', .* \['simple', 'simple-multi', "),
    (("--problem=own:make",), "no module 'own' in this folder or on PYTHONPAT"),
    (("--problem=tests.toys:Wrong",),
     "Wrong.sample returns dict, but must return a tuple"),
    (("--problem=tests.toys:none",),
     r"toys \(.*toys.py\) has no function 'none'"),
    (("--problem=tests.toys:Regression", "--layers=10"),
     "--layers is given, but tests.toys:Regression has no argument 'layers'"),
    (("--problem=tests.toys:Given",),
     r"Given', which raises TypeError: .*missing 3 required"),
    (("--problem=tests.fake_data:small_vgg",), "returns dict, but must"),
    (("--problem=mnist",), "--data_dir, or .* --download"),
    (("--problem=mnist", "--data_dir={folder}"), "No MNIST under {folder}"),
    (("--problem=mnist", "--data_dir={folder}/no"),
     "No MNIST under {folder}/no"),
    (("--problem=mnist", "--data_dir={folder}", "--split=all"),
     "--split=all: value should be one of <train|validation|test>"),
    (("--colour=red",), "flag 'colour'"),
    (("--num_steps=ten",), "--num_steps=ten"),
    (("--num_steps=1.5",), "--num_steps=1.5"),
    (("--learning_rate=fast",), "--learning_rate=fast"),
    (("--learning_rate=nan",), "--learning_rate is nan"),
    (("--learning_rate=inf",), "--learning_rate is inf"),
    (("--seed=ten",), "--seed=ten"),
    (("--layers=20",),
     "--layers is for mnist, paper-mnist, paper-mnist-relu, paper-mnist-gac, "
     "not simple"),
    (("--problem=quadratic", "--activation=relu"),
     "--activation is for mnist, paper-mnist, paper-mnist-gac, not quadratic"),
    (("--problem=mnist", "--layers=20,many"), "--layers has 'many'"),
    (("--problem=mnist", "--layers=0"),
     r"layers\[0\] is 0, but must be a positive integer"),
    (("--problem=mnist", "--activation=tanh"), "--activation=tanh"),
    (("--problem=quadratic", "--init_stddev=0.1"),
     "--init_stddev is for mnist, paper-mnist, paper-mnist-relu, "
     "paper-mnist-gac, not quadratic"),
    (("--problem=mnist", "--init_stddev=0"),
     "init_stddev is 0.0, but must be a positive number"),
    (("--jit_compile=maybe",), "--jit_compile=maybe"),
    (("--seed=9223372036854775808",), "seed is 9223372036854775808"),
    (("simple",), "'simple' is not a flag: write --name=value"))


class OptionsTest(programs.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())

  @contextlib.contextmanager
  def given(self, *argv):
    """Gives these flags to train.py, and restores the import path."""
    with programs.given_flags("train", *argv), mock.patch.object(
        sys, "path", [*sys.path]):
      yield

  @parameterized.product(program=("train", "evaluate"), case=MISTAKES)
  def test_mistake_is_reported_in_one_line(self, program, case):
    argv, message = case
    self.assert_error(
        programs.run(program, *(a.format(folder=self.folder) for a in argv)),
        message.replace("{folder}", self.folder))

  @parameterized.parameters("simple,quadratic", "small-tasks")
  def test_evaluation_is_on_one_problem(self, names):
    self.assert_error(
        programs.run("evaluate", f"--problem={names}"),
        f"--problem is {names}, but must name one problem alone")

  @parameterized.parameters(
      *(("train", name) for name in (
          "num_steps", "unroll_length", "learning_rate", "num_epochs",
          "log_period", "evaluation_period", "evaluation_epochs",
          "num_tasks", "decay_epochs", "max_gradient_norm", "min_num_steps",
          "random_scaling", "patience")),
      *(("evaluate", name) for name in (
          "num_steps", "num_epochs", "learning_rate", "tuning_epochs")))
  def test_flag_that_is_not_positive_is_refused(self, program, name):
    path = os.path.join(self.folder, "run")
    argv = [f"--save_path={path}"] if program == "train" else []
    for value in (0, -1):
      value = float(value) if name in FLOATS else value
      with self.subTest(value=value):
        self.assert_error(
            programs.run(program, *argv, f"--{name}={value}"),
            f"--{name} is {value}, but must be a positive number")
        self.assertFalse(os.path.exists(path))

  def test_flags_of_the_data_reach_the_problem(self):
    fake_data.write_mnist(self.folder)
    with self.given(
        "--problem=mnist", f"--data_dir={self.folder}", "--layers=3,2",
        "--activation=relu"):
      problem = options.make_problem(options.experiment(), "test")
    params, _ = problem.sample((1, 2))
    self.assertEqual(
        [p.shape.as_list() for p in params.values()],
        [[784, 3], [3], [3, 2], [2], [2, 10], [10]])

  def test_function_of_a_user_gets_the_flags_that_it_has_arguments_for(self):
    pathlib.Path(self.folder, "own_flags.py").write_text(
        "import problems\n"
        "def make(layers, split, data_dir='here', activation='tanh',\n"
        "         download=True):\n"
        "  given.update(locals())\n"
        "  return problems.Simple()\n"
        "given = {}\n")
    self.enter_context(contextlib.chdir(self.folder))
    for argv, data_dir, activation, download in (
        ((), "here", "tanh", True),
        (("--data_dir=there", "--activation=relu", "--nodownload"), "there",
         "relu", False)):
      with self.given("--problem=own_flags:make", "--layers=3,2", *argv):
        options.make_problem(options.experiment(), "test")
      self.assertEqual(sys.modules["own_flags"].given, {
          "layers": [3, 2], "split": "test", "data_dir": data_dir,
          "activation": activation, "download": download})

  def test_flag_without_an_argument_in_the_function_of_a_user_is_refused(self):
    pathlib.Path(self.folder, "own_data.py").write_text(
        "import problems\n"
        "def make(datadir=None):\n"
        "  return problems.Simple()\n")
    self.enter_context(contextlib.chdir(self.folder))
    for name, flag in (("data_dir", "--data_dir=there"),
                       ("download", "--download"), ("split", "--split=test")):
      with self.given("--problem=own_data:make", flag):
        with self.assertRaisesRegex(
            ValueError,
            f"--{name} is given, but own_data:make has no argument"):
          options.make_problem(options.experiment(), "test")

  @parameterized.parameters(
      (("--problem=simple",), 100),
      (("--problem=paper-neural-art",), 128),
      (("--problem=paper-neural-art", "--num_steps=7"), 7))
  def test_number_of_steps_is_that_of_the_experiment_by_default(
      self, argv, num_steps):
    with self.given(*argv):
      options.experiment()
      self.assertEqual(options.FLAGS.num_steps, num_steps)

  def test_own_modules_are_found_in_the_current_folder(self):
    # After the folder of the program, whose modules must not be hidden.
    pathlib.Path(self.folder, "own_here.py").write_text(
        "import problems\n\nmake = problems.Simple\n")
    with contextlib.chdir(self.folder), self.given(
        "--problem=own_here:make"):
      first = sys.path[0]
      options.experiment()
      self.assertEqual(sys.path[:2], [first, os.path.realpath(self.folder)])

  @parameterized.parameters(
      ("auto", None), ("true", True), ("false", False))
  def test_jit_compile_may_be_left_to_the_library(self, text, value):
    with self.given(f"--jit_compile={text}"):
      self.assertIs(options.jit_compile(), value)


if __name__ == "__main__":
  absltest.main()
