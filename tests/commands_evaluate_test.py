"""Tests of `evaluate.py`, run in the process of the tests."""

import os
import pathlib
import re
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np

from meta import (
    evaluation,
    experiments,
    pretrained_networks,
    quasi_newton,
    seeds,
    shared_evaluator,
    tuning,
    unroll,
)
import networks
from networks import net_config
import problems
from tests import fake_data, programs, run_files, toys
from tests.programs import DEVICE, STATS

SGD = (*programs.EVALUATE, "--optimizer=Sgd", "--problem=quadratic")
TABLE = (r"Optimizer +Rate +Mean +Std\. error +Median +25 % +75 % +Diverged\n"
         r"[ -]+\n")


class EvaluateTest(programs.EagerTestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())
    self.output = self.path("losses.csv")

  def path(self, name):
    return os.path.join(self.folder, name)

  def evaluate(self, *argv):
    """Runs the program; returns what it prints, and the rows that it writes."""
    result = programs.run("evaluate", *argv, f"--output={self.output}")
    self.assert_done(result)
    return result.stdout, run_files.read_losses(self.output)

  def test_quasi_newton_methods_are_evaluated_beside_networks(self):
    printed, losses = self.evaluate(
        *programs.EVALUATE, "--problem=paper-quadratic-ntm", "--seed=0",
        "--optimizer=L-BFGS,Adam,BFGS", f"--plot={self.path('plot.png')}")
    self.assertRegex(
        printed, rf"L-BFGS\n{STATS}Adam\n{STATS}BFGS\n{STATS}{TABLE}")
    self.assertRegex(printed, r"\nL-BFGS +- +[\d.e-]+ ")
    for name in ("BFGS", "L-BFGS"):
      for i in range(3):  # They start from the same points.
        self.assertAlmostEqual(
            losses[name, i, 0] / losses["Adam", i, 0], 1., places=5)
        self.assertLess(losses[name, i, 5], losses["Adam", i, 5])

  def test_lines_table_and_rows(self):
    printed, losses = self.evaluate(
        *programs.EVALUATE, "--problem=quadratic", "--seed=0",
        "--optimizer=L2L,Adam", "--learning_rate=0.1")
    self.assertRegex(
        printed, rf"\A{DEVICE}L2L is untrained: give its --path\.\n"
        "Evaluating on quadratic: 3 runs of 5 steps, seed 0\n"
        rf"L2L\n{STATS}Adam\n{STATS}{TABLE}"
        r"Adam +0\.1 [^\n]+ 0\nL2L +- [^\n]+ 0\n\Z")
    self.assertCountEqual(losses, [
        (name, run, step) for name in ("L2L", "Adam")
        for run in range(3) for step in range(6)])
    for name, numbers in zip(("L2L", "Adam"), re.findall(STATS, printed),
                             strict=True):
      mean = np.mean([losses[name, i, 5] for i in range(3)], dtype=np.float64)
      self.assertEqual(numbers,
                       (f"{np.log10(mean):.2f}", f"{mean:.4g}", "3"))
      self.assertRegex(printed, rf"\n{name} +[\d.-]+ +{mean:.4g} ")
      for i in range(3):  # They start from the same points.
        self.assertEqual(losses[name, i, 0], losses["Adam", i, 0])

  def test_rows_are_the_test_runs_of_the_seed(self):
    network = programs.save_network(self.path("run"))
    _, losses = self.evaluate(
        *programs.EVALUATE, "--problem=quadratic", "--seed=3",
        f"--path={self.path('run')}")
    expected = evaluation.Evaluator(
        network, experiments.get("quadratic").make_problem(), 5,
        jit_compile=False)([seeds.derive(3, "test", i) for i in range(3)])
    self.assertEqual(losses, {
        ("L2L", *index): loss
        for index, loss in np.ndenumerate(expected.losses)})

  def test_printed_seed_reproduces_the_runs(self):
    printed, losses = self.evaluate(*SGD)
    seed = int(re.search(r"seed (\d+)\n", printed)[1])
    again, same_losses = self.evaluate(*SGD, f"--seed={seed}")
    self.assertEqual(same_losses, losses)
    self.assertEqual(re.findall("Final error.*", again),
                     re.findall("Final error.*", printed))
    _, other_losses = self.evaluate(*SGD, f"--seed={seed + 1}")
    self.assertNotEqual(other_losses, losses)

  def test_several_learned_optimizers_are_compared(self):
    paths = [self.path("one"), self.path("two")]
    for seed, path in enumerate(paths):
      programs.save_network(path, seed)
    printed, together = self.evaluate(
        *programs.EVALUATE, "--seed=0", f"--path={','.join(paths)}")
    self.assertRegex(printed, rf"L2L-one\n{STATS}L2L-two\n{STATS}{TABLE}")
    alone = [self.evaluate(*programs.EVALUATE, "--seed=0", f"--path={path}")[1]
             for path in paths]
    self.assertNotEqual(*alone)
    for path, losses in zip(paths, alone, strict=True):
      name = f"L2L-{os.path.basename(path)}"
      self.assertEqual(
          {key[1:]: loss for key, loss in losses.items()},
          {key[1:]: loss for key, loss in together.items() if key[0] == name})

  def test_network_of_the_library_is_found_by_name(self):
    with mock.patch.object(
        net_config, "with_weights", side_effect=OSError("enough")) as read:
      self.assert_error(
          programs.run("evaluate", *programs.EVALUATE, "--problem=quadratic",
                       "--path=paper-quadratic"), "enough")
    self.assertEqual(
        read.call_args.args[1], pretrained_networks.find("paper-quadratic"))

  def test_split_and_flags_of_the_data(self):
    fake_data.write_mnist(self.folder)
    printed, losses = self.evaluate(
        "--problem=mnist", f"--data_dir={self.folder}", "--num_steps=1",
        "--num_epochs=1", "--split=validation", "--seed=0", "--layers=3,2",
        "--activation=relu", "--optimizer=Sgd", "--jit_compile=false")
    self.assertRegex(
        printed, rf"\A{DEVICE}Evaluating on mnist \(split validation\): 1 runs "
        rf"of 1 steps, seed 0\nSgd\n{STATS}{TABLE}Sgd +0\.001 .*\n\Z")
    problem = problems.Mnist(layers=(3, 2), activation="relu",
                             split="validation", data_dir=self.folder)
    run = unroll.start(networks.Sgd(), problem, seeds.derive(0, "test", 0))
    np.testing.assert_allclose(
        losses["Sgd", 0, 0], unroll.loss(problem, run), rtol=1e-6)

  def test_images_that_need_no_files_are_named(self):
    printed, _ = self.evaluate(
        "--problem=small-1", "--num_steps=1", "--num_epochs=1", "--seed=0",
        "--optimizer=Sgd", "--jit_compile=false")
    self.assertIn("Evaluating on small-1 (synthetic images): 1 runs", printed)

  def test_tensorboard_has_the_mean_curves(self):
    _, losses = self.evaluate(
        *SGD, "--optimizer=Sgd,Adam", f"--logdir={self.folder}")
    for name in ("Sgd", "Adam"):
      logged = run_files.scalars(self.path(name))
      self.assertEqual(list(logged), ["evaluation/loss"])
      np.testing.assert_allclose(
          [logged["evaluation/loss"][t] for t in range(6)],
          [np.mean([losses[name, i, t] for i in range(3)]) for t in range(6)],
          rtol=1e-6)

  def test_curves_of_tensorboard_are_without_diverged_runs(self):
    curves = np.float32([[1., .5, .25], [2., np.inf, np.nan], [3., 1., .75]])
    for runs, expected in ((curves, [2., .75, .5]), (curves[1:2], [2.])):
      with mock.patch.object(
          shared_evaluator.Candidate, "__call__",
          return_value=evaluation.Evaluation(runs, {})):
        programs.run("evaluate", *SGD, f"--logdir={self.folder}")
      logged = run_files.scalars(self.path("Sgd"))["evaluation/loss"]
      self.assertEqual([*logged.values()][:len(expected)], expected)

  @parameterized.parameters(1e6, 3000.)
  def test_diverged_runs_are_counted(self, learning_rate):
    plot = self.path("losses.png")
    printed, losses = self.evaluate(
        *SGD, "--num_steps=20", f"--learning_rate={learning_rate}",
        f"--plot={plot}")
    self.assertIn("3 of 3 diverged", printed)
    self.assertRegex(printed, r"\nSgd +[\de+]+ +- +- +- +- +- +3\n\Z")
    self.assertTrue(pathlib.Path(plot).read_bytes().startswith(programs.PNG))
    self.assertLen(losses, 3 * 21)

  def test_runs_with_the_largest_losses_are_drawn_without_warning(self):
    # The last loss of a run is (1 - 2 * 127.4)^16: 3e38, of which not even two
    # make a sum that float32 could hold.
    printed, losses = self.evaluate(
        *programs.EVALUATE, "--optimizer=Sgd", "--num_steps=8",
        "--learning_rate=127.4", f"--plot={self.path('losses.png')}")
    self.assertIn(", 0 of 3 diverged\n", printed)
    self.assertGreater(losses["Sgd", 0, 8], np.finfo(np.float32).max / 2)
    self.assertRegex(printed, r"\nSgd +127\.4 +2\.\d+e\+38 ")

  def test_full_disk_keeps_the_last_table(self):
    pathlib.Path(self.output).write_text("Unique.")
    with run_files.full_disk(5000):
      result = programs.run(
          "evaluate", *SGD, "--num_steps=100", f"--output={self.output}")
    self.assert_error(result, "File too large.*losses.csv")
    self.assertEqual(run_files.files(self.folder), {"losses.csv": b"Unique."})

  def assert_refused_at_once(self, result, pattern):
    self.assert_error(result, pattern)
    self.assertNotIn("Evaluating", result.stdout)

  @parameterized.parameters(
      "--output=%s/no/losses.csv", "--plot=%s/no/a.png",
      "--plot_updates=%s/no/a.png", "--output=%s", "--plot=%s.png",
      "--logdir=%s/file/logs")
  def test_file_that_cannot_be_written_is_refused_at_once(self, flag):
    folder = self.path("folder")
    os.makedirs(f"{folder}.png")
    os.makedirs(folder)
    pathlib.Path(folder, "file").touch()
    self.assert_refused_at_once(
        programs.run("evaluate", *SGD, flag % folder), folder)

  def test_plots_are_png_files(self):
    self.assert_refused_at_once(
        programs.run("evaluate", *SGD, "--plot=a.pdf"),
        "--plot is a.pdf, but must end with .png")

  @parameterized.parameters("output", "plot", "logdir")
  def test_empty_path_is_refused(self, flag):
    self.assert_refused_at_once(
        programs.run("evaluate", *SGD, f"--{flag}="),
        f"--{flag} is '', but must be a path")

  def test_table_is_a_csv_file(self):
    self.assert_refused_at_once(
        programs.run("evaluate", *SGD, "--output=a.parquet"),
        "--output is a.parquet, but must end with .csv")

  def test_no_two_pictures_are_the_same_file(self):
    path = self.path("a.png")
    for same in (path, os.path.join(self.folder, ".", "a.png")):
      self.assert_refused_at_once(
          programs.run("evaluate", *SGD, f"--plot={path}",
                       f"--plot_updates={same}"),
          f"--plot={path} --plot_updates={same} must be different files")

  def test_updates_of_methods_that_are_given_functions_are_not_drawn(self):
    self.assert_refused_at_once(
        programs.run("evaluate", *programs.EVALUATE, "--optimizer=BFGS",
                     f"--plot_updates={self.path('a.png')}"),
        "--plot_updates is for optimizers that are given gradients, not BFGS")

  @parameterized.parameters(
      ("L2L", "--tune"), ("BFGS", "--learning_rate=0.1"))
  def test_flag_of_hand_designed_optimizers_without_one_is_refused(
      self, optimizer, flag):
    name = flag.partition("=")[0]
    self.assert_error(
        programs.run("evaluate", *programs.EVALUATE,
                     f"--optimizer={optimizer}", flag),
        f"{name} is for hand-designed optimizers, but --optimizer is "
        f"{optimizer}")

  def test_number_of_tuning_runs_without_tuning_is_refused(self):
    self.assert_error(
        programs.run("evaluate", *SGD, "--tuning_epochs=2"),
        "--tuning_epochs is 2, but nothing is tuned: add --tune")

  def test_tuned_rates_that_cannot_be_kept_are_refused_at_once(self):
    os.makedirs(self.path("tuning.json"))
    self.assert_refused_at_once(
        programs.run("evaluate", *SGD, "--tune", f"--output={self.output}"),
        "tuning.json exists, but is not a regular file")

  def test_runs_before_a_failure_are_kept(self):
    evaluate = quasi_newton.QuasiNewton.__call__
    with mock.patch.object(quasi_newton.QuasiNewton, "__call__", mock.Mock(
        spec=evaluate, side_effect=OSError(12, "No memory"))):
      result = programs.run(
          "evaluate", *programs.EVALUATE, "--optimizer=Sgd,BFGS",
          f"--output={self.output}")
    self.assert_error(result, "No memory")
    self.assertEqual(
        {name for name, *_ in run_files.read_losses(self.output)}, {"Sgd"})

  @parameterized.parameters(("--output", "fifo.csv"), ("--plot", "fifo.png"))
  def test_what_is_no_file_is_never_replaced(self, flag, name):
    fifo = self.path(name)
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    self.addCleanup(os.close, reader)
    self.assert_refused_at_once(
        programs.run("evaluate", *SGD, f"{flag}={fifo}"),
        f"{fifo} exists, but is not a regular file")
    self.assertTrue(pathlib.Path(fifo).is_fifo())

  def test_refused_evaluation_leaves_no_files(self):
    result = programs.run(
        "evaluate", *SGD, "--optimizer=Foo", f"--output={self.output}",
        f"--plot={self.path('a.png')}")
    self.assert_error(result, "'Foo'")
    self.assertEmpty(run_files.files(self.folder))

  def test_optimizer_that_is_named_twice_is_evaluated_once(self):
    result = programs.run("evaluate", *SGD, "--optimizer=Sgd,Sgd")
    self.assert_done(result)
    self.assertLen(re.findall("^Sgd ", result.stdout, re.MULTILINE), 1)

  @parameterized.parameters("Foo", "adam", "L2L,Foo", "all,Adam", "")
  def test_unknown_optimizer_lists_the_known_ones(self, names):
    self.assert_error(
        programs.run("evaluate", *programs.EVALUATE, f"--optimizer={names}"),
        r"must be 'all' by itself, or some of \['L2L', 'Sgd', 'Momentum', "
        r"'Nesterov', 'Rprop', 'Adagrad', 'RMSProp', 'Adam', 'BFGS', "
        r"'L-BFGS'\]")

  def test_flags_are_checked_before_data_are_read(self):
    self.assert_error(
        programs.run("evaluate", "--problem=paper-mnist", "--optimizer=Adma"),
        "--optimizer has 'Adma'")
    self.assert_error(
        programs.run("evaluate", "--problem=paper-mnist", "--path=nowhere"),
        "No trained optimizer 'nowhere'")

  def test_all_optimizers_are_checked_before_rates_are_searched_for(self):
    with mock.patch.object(tuning, "tune", side_effect=AssertionError):
      self.assert_error(
          programs.run("evaluate", "--problem=paper-quadratic",
                       "--optimizer=Adam,BFGS", "--tune"),
          "The problem has 128 functions in a run")

  def test_all_optimizers_are_always_tuned(self):
    self.assert_error(
        programs.run("evaluate", *programs.EVALUATE, "--optimizer=all",
                     "--notune"), "--optimizer=all tunes: leave --notune out")

  def test_path_without_the_learned_optimizer_is_refused(self):
    self.assert_error(
        programs.run("evaluate", *SGD, "--path=general"),
        "--path is general, but --optimizer is Sgd: add L2L, or leave")

  def test_path_that_is_empty_is_refused(self):
    self.assert_error(programs.run("evaluate", *programs.EVALUATE, "--path="),
                      "--path is '', but must be trained optimizers")

  def test_folder_without_weights_is_reported(self):
    self.assert_error(
        programs.run("evaluate", *programs.EVALUATE, f"--path={self.folder}"),
        f"No weight file '{self.folder}/cw.l2l'. Train")

  def test_unknown_network_is_reported_with_the_known_ones(self):
    self.assert_error(
        programs.run("evaluate", *programs.EVALUATE, "--path=no-such-network"),
        "No trained optimizer 'no-such-network': .*'paper-quadratic'")

  @parameterized.parameters(b"", b"garbage", b"PK\x03\x04garbage")
  def test_damaged_weights_are_reported(self, content):
    pathlib.Path(self.folder, "cw.l2l").write_bytes(content)
    self.assert_error(
        programs.run("evaluate", *programs.EVALUATE, f"--path={self.folder}"),
        "Cannot read the weight file .*cw.l2l")

  def test_weights_of_another_architecture_are_reported_with_their_shapes(self):
    fake_data.write_mnist(self.folder)
    self.assert_error(
        programs.run(
            "evaluate", *programs.EVALUATE, "--problem=mnist",
            f"--data_dir={self.folder}",
            f"--path={toys.DATA / 'legacy' / 'cw_identity'}"),
        r"lstm_1/w_gates have shape \(21, 80\), but .* needs \(22, 80\)")

  @parameterized.parameters("{0}/a,b", '"{0}/a,b","{0}/c"')
  def test_folder_may_have_a_comma(self, flag):
    for seed, name in enumerate(("a,b", "c")):
      programs.save_network(self.path(name), seed)
    _, losses = self.evaluate(
        *programs.EVALUATE, "--seed=0", f"--path={flag.format(self.folder)}")
    names = {"L2L"} if flag.count(",") == 1 else {"L2L-a,b", "L2L-c"}
    self.assertEqual({name for name, _, _ in losses}, names)

  def test_comma_in_a_missing_folder_can_be_quoted(self):
    self.assert_error(
        programs.run("evaluate", *programs.EVALUATE, "--path=a,b"),
        r"No trained optimizer 'a': .* double quotes: --path='\"a,b\",c'")

  def test_weight_file_is_refused_with_its_folder(self):
    path = self.path("run")
    programs.save_network(path)
    self.assert_error(
        programs.run("evaluate", *programs.EVALUATE, f"--path={path}/cw.l2l"),
        f"'{path}/cw.l2l' is a file, .* give '{path}'")

  def test_folders_of_one_name_are_refused(self):
    for parent in "ab":
      os.makedirs(self.path(f"{parent}/run"))
    paths = f"{self.path('a/run')},{self.path('b/run')}"
    self.assert_error(
        programs.run("evaluate", *programs.EVALUATE, f"--path={paths}"),
        f"--path is {paths}, but the folders must have different names")


if __name__ == "__main__":
  absltest.main()
