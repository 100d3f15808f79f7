"""Tests of the scripts, run as a user runs them: each in its own process."""

import csv
import functools
import json
import os
import pathlib
import pkgutil
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from meta import evaluation, experiments, meta_optimizer, seeds, training
from networks import weights
from tests import fake_data, processes
from tests.processes import ROOT, Process, run

LEGACY = ROOT / "tests" / "data" / "legacy"
# 25 steps are two unrolls and a half.
FIXED = ("--num_steps=25", "--unroll_length=10", "--evaluation_period=20",
         "--evaluation_epochs=2")
TRAIN = ("train.py", *FIXED, "--num_epochs=60", "--log_period=20")
# Networks whose files are larger than those of TensorBoard.
LARGE = ("train.py", "--problem=quadratic", "--num_steps=2",
         "--unroll_length=2", "--log_period=1", "--evaluation_period=1",
         "--evaluation_epochs=1", "--jit_compile=false")
EVALUATE = ("evaluate.py", "--num_steps=5", "--num_epochs=3")
SGD = (*EVALUATE, "--optimizer=Sgd", "--problem=quadratic")

DEVICE = r"Running on (CPU, \d+ cores|GPU .*)\n"
STATS = (r"Log Mean Final Error: (-?\d+\.\d\d)\n"
         r"Mean epoch time: \d+\.\d\d s\n"
         r"Final error: mean (\S+), median \S+, quartiles \S+ to \S+, "
         r"0 of (\d+) diverged\n")
TABLE = (r"Optimizer +Rate +Mean +Std\. error +Median +25 % +75 % +Diverged\n"
         r"[ -]+\n")


def _limit_files(size):
  """Lets no file become larger, as if the disk were full."""
  resource.setrlimit(
      resource.RLIMIT_FSIZE,
      (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _die_at(target, calls):
  """Kills the process where it calls a function for the n-th time."""
  module, _, name = target.rpartition(".")
  original = getattr(pkgutil.resolve_name(module), name)

  def count(*args, **kwargs):
    nonlocal calls
    calls -= 1
    if not calls:
      os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

  mock.patch(target, count).start()


def files(folder):
  """What a folder holds: the bytes of each file by its path."""
  folder = pathlib.Path(folder)
  return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
          for p in folder.rglob("*")}


def scalars(folder):
  """What TensorBoard shows: {tag: {step: value}}."""
  tags = {}
  for path in sorted(pathlib.Path(folder).glob("events.*")):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      for value in event.summary.value:
        tags.setdefault(value.tag, {})[event.step] = float(
            tf.make_ndarray(value.tensor))
  return tags


def read_losses(filename):
  """The rows of a CSV file: {(optimizer, run, step): loss}."""
  with open(filename, encoding="utf-8") as file:
    return {(row["optimizer"], int(row["run"]), int(row["step"])):
            np.float32(row["loss"]) for row in csv.DictReader(file)}


setUpModule = processes.start


class ScriptsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())

  def path(self, name):
    return os.path.join(self.folder, name)

  def assert_done(self, result):
    """Asserts that all went well."""
    self.assertEqual((result.code, result.stderr), (0, ""))

  def assert_error(self, result, pattern):
    """Asserts that the user is told, in one line."""
    self.assertRegex(result.stderr, r"\Aerror: [^\n]+\n\Z")
    self.assertRegex(result.stderr, pattern)
    self.assertEqual(result.code, 1)


class TrainTest(ScriptsTest):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    # A run that was never interrupted; not to be changed.
    cls.reference = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.result = run(*TRAIN, f"--save_path={cls.reference}")

  def assert_same_run(self, folder):
    """Asserts that a folder holds the run that was never interrupted."""
    actual, expected = files(folder), files(self.reference)
    for name in ("cw.l2l", "run.json"):
      self.assertEqual(actual[name], expected[name])
    self.assertEmpty([name for name in actual if name.endswith("tmp")])
    actual, expected = scalars(folder), scalars(self.reference)
    self.assertCountEqual(actual, expected)
    for tag in ("training/meta_loss", "training/meta_gradient_norm",
                "validation/loss_curve", "validation/final_loss"):
      self.assertEqual(actual[tag], expected[tag])

  def test_lines_and_files(self):
    # A process from the very start, with a folder to be made.
    folder = self.path("runs/again")
    result = subprocess.run(
        [sys.executable, *TRAIN, f"--save_path={folder}"], cwd=ROOT,
        capture_output=True, text=True, check=True)
    lines = "".join(f"Epoch {n}\n{STATS}EVALUATION\n{STATS}"
                    for n in (20, 40, 60))
    self.assertRegex(
        result.stdout,
        rf"\A{DEVICE}{lines}Saved {re.escape(folder)} after epoch 60\.\n\Z")
    self.assertEqual([n for *_, n in re.findall(STATS, result.stdout)],
                     ["20", "2"] * 3)
    self.assertNotIn("Traceback", result.stderr)
    self.assertContainsSubset(
        ["run.json", "cw.l2l", "checkpoints/checkpoint",
         "checkpoints/ckpt-60.index"], files(folder))
    self.assert_same_run(folder)

  def test_printed_errors_are_those_of_tensorboard(self):
    self.assert_done(self.result)
    logged = scalars(self.reference)
    losses = [logged["training/final_loss"][n] for n in range(1, 61)]
    expected = []
    for last in (20, 40, 60):
      expected += [np.mean(losses[last - 20:last]),
                   logged["validation/final_loss"][last]]
    printed = re.findall(STATS, self.result.stdout)
    self.assertEqual([p[0] for p in printed],
                     [f"{np.log10(e):.2f}" for e in expected])
    self.assertEqual([p[1] for p in printed], [f"{e:.4g}" for e in expected])

  def test_tensorboard(self):
    logged = scalars(self.reference)
    epochs = list(range(1, 61))
    self.assertEqual({tag: sorted(values) for tag, values in logged.items()}, {
        "training/meta_loss": epochs,
        "training/final_loss": epochs,
        "training/meta_gradient_norm": epochs,
        "meta_gradient_norm/unroll_1": epochs,
        "meta_gradient_norm/unroll_2": epochs,
        "meta_gradient_norm/unroll_3": epochs,
        "training/meta_gradients_dropped": epochs,
        "training/learning_rate": epochs,
        "training/steps_per_second": epochs,
        "validation/final_loss": [20, 40, 60],
        "validation/loss_curve": list(range(26)),
        "diagnostics/gradient_size": [20, 40, 60],
        "diagnostics/update_size": [20, 40, 60],
        "diagnostics/cosine": [20, 40, 60]})  # It has no gates.
    for values in logged.values():
      self.assertTrue(np.isfinite(list(values.values())).all())
    np.testing.assert_allclose(logged["training/learning_rate"][1], 0.001)
    np.testing.assert_allclose(
        list(logged["training/meta_gradient_norm"].values()),
        np.mean([list(logged[f"meta_gradient_norm/unroll_{i}"].values())
                 for i in (1, 2, 3)], axis=0), rtol=1e-6)
    # The curve is that of the last validation, and ends with its loss.
    np.testing.assert_allclose(logged["validation/loss_curve"][25],
                               logged["validation/final_loss"][60], rtol=1e-6)

  def test_evaluation_of_the_file_is_that_of_the_network_in_memory(self):
    experiment, output = experiments.get("simple"), self.path("losses.csv")
    problem = experiment.make_problem()
    step = meta_optimizer.MetaOptimizer(**experiments.with_seed(
        experiment.net_config, 0)).meta_minimize(
            problem, 10, experiment.learning_rate)
    state = training.Training(
        step, evaluation.Evaluator(step.network, problem, 25), 0, 25, 2)
    saved = weights.read(os.path.join(self.reference, "cw.l2l"))
    for _ in range(saved.trained_on["num_epochs"]):
      state.run_epoch()
    expected = evaluation.Evaluator(step.network, problem, 5)(
        [seeds.derive(3, "test", i) for i in range(3)])
    self.assert_done(run(*EVALUATE, f"--path={self.reference}", "--seed=3",
                         f"--output={output}"))
    self.assertEqual(
        read_losses(output),
        {("L2L", *index): loss for index, loss in np.ndenumerate(expected)})

  def test_file_says_what_it_was_trained_on(self):
    saved = weights.read(os.path.join(self.reference, "cw.l2l"))
    self.assertContainsSubset(
        {"problem": "simple", "num_steps": 25, "unroll_length": 10, "seed": 0,
         "learning_rate": 0.001, "split": "train"}.items(),
        saved.trained_on.items())
    self.assertIn(saved.trained_on["num_epochs"], (20, 40, 60))

  def test_another_seed_makes_another_network(self):
    made = []
    for seed in (0, 1):
      folder = self.path(str(seed))
      self.assert_done(run(*LARGE, "--num_epochs=1", f"--seed={seed}",
                           f"--save_path={folder}"))
      made.append(files(folder)["cw.l2l"])
    self.assertNotEqual(*made)

  def test_nothing_is_saved_without_save_path(self):
    result = run(*LARGE, "--num_epochs=1")
    self.assert_done(result)
    self.assertIn("Nothing is saved: give a --save_path", result.stdout)
    self.assertNotIn("Saved", result.stdout)

  def test_killed_run_is_resumed_as_if_it_never_was(self):
    folder = self.path("run")
    argv = (*TRAIN, f"--save_path={folder}", "--resume", "--log_period=1")
    for target, calls in (
        ("os.replace", 1),  # Of run.json.
        ("os.replace", 2),  # Of the first network.
        ("tensorflow.train.CheckpointManager.save", 1),
        ("tensorflow.train.CheckpointManager.save", 8)):
      result = run(*argv, before=functools.partial(_die_at, target, calls))
      self.assertEqual((result.code, result.stderr), (-signal.SIGKILL, ""))
    process = Process(argv)
    process.wait_for("Epoch 30")
    process.kill(signal.SIGKILL)
    self.assertEqual(process.result().code, -signal.SIGKILL)
    result = run(*argv)
    self.assert_done(result)
    self.assertRegex(result.stdout, rf"Resuming {folder} after epoch \d\d\.\n")
    self.assert_same_run(folder)

  def test_interrupted_run_is_saved_and_resumed(self):
    folder = self.path("run")
    argv = (*TRAIN, f"--save_path={folder}", "--log_period=1", "--resume")
    for signum, line in ((signal.SIGINT, 10), (signal.SIGTERM, 25)):
      process = Process(argv)
      process.wait_for(f"Epoch {line}")
      process.kill(signum)
      result = process.result()
      self.assertEqual((result.code, result.stderr), (128 + signum, ""))
      epoch = re.search(r"Saved .*/run after epoch (\d+)\. Go on with "
                        r"--resume\.\n\Z", result.stdout)[1]
      self.assertIn(f"checkpoints/ckpt-{epoch}.index", files(folder))
    result = run(*argv)
    self.assert_done(result)
    self.assertIn(f"Resuming {folder} after epoch {epoch}.\n", result.stdout)
    self.assert_same_run(folder)

  def test_staggered_run_is_resumed_as_if_it_never_was(self):
    networks = []
    for parts in ((4,), (1, 3, 4)):
      folder = self.path(str(len(parts)))
      for num_epochs in parts:
        self.assert_done(run(
            "train.py", "--num_steps=6", "--unroll_length=2", "--num_tasks=3",
            "--stagger", f"--num_epochs={num_epochs}", "--resume",
            "--evaluation_epochs=1", f"--save_path={folder}"))
      networks.append(weights.read(os.path.join(folder, "cw.l2l")).weights)
    tf.nest.map_structure(np.testing.assert_array_equal, *networks)

  def test_tasks_that_cannot_be_staggered_are_refused(self):
    self.assert_error(run(*TRAIN, "--num_tasks=2", "--stagger"),
                      "num_steps is 25, but must be a multiple of .* 10")

  def test_resume_of_a_finished_run_changes_nothing(self):
    folder = self.path("run")
    shutil.copytree(self.reference, folder)
    result = run(*TRAIN, f"--save_path={folder}", "--resume")
    self.assert_done(result)
    self.assertRegex(result.stdout, rf"\A{DEVICE}Resuming {folder} after "
                     rf"epoch 60\.\nSaved {folder} after epoch 60\.\n\Z")
    self.assert_same_run(folder)

  def test_full_disk_ends_with_one_line_and_can_be_resumed(self):
    folder = self.path("run")
    argv = (*LARGE, f"--save_path={folder}", "--resume")
    self.assert_done(run(*argv, "--num_epochs=1"))
    before = files(folder)
    for size, message in ((400, "TensorBoard|events"), (9000, "cw.l2l"),
                          (40000, "checkpoint.*--resume")):
      self.assert_error(
          run(*argv, "--num_epochs=2",
              before=functools.partial(_limit_files, size)),
          f"File too large.*{message}|{message}.*File too large")
      after = files(folder)
      # The network has its place before the checkpoint does.
      kept = set(before) - ({"cw.l2l"} if size == 40000 else set())
      self.assertEqual({name: after[name] for name in kept},
                       {name: before[name] for name in kept})
      weights.read(os.path.join(folder, "cw.l2l"))
    result = run(*argv, "--num_epochs=2")
    self.assert_done(result)
    self.assertIn(f"Resuming {folder} after epoch 1.", result.stdout)
    self.assertIn(f"Saved {folder} after epoch 2.", result.stdout)

  def test_full_disk_at_the_start(self):
    folder = self.path("run")
    self.assert_error(
        run(*LARGE, f"--save_path={folder}",
            before=functools.partial(_limit_files, 150)),
        "File too large.*run.json")
    self.assertEmpty(files(folder))

  @parameterized.parameters(
      (("--num_steps=20",), "--num_steps=25"),
      (("--unroll_length=5", "--seed=1"), "--unroll_length=10 --seed=0"),
      (("--learning_rate=0.1",), "--learning_rate=0.001"),
      (("--evaluation_period=1",), "--evaluation_period=20"),
      (("--evaluation_epochs=1",), "--evaluation_epochs=2"),
      (("--second_derivatives",), "--second_derivatives=False"),
      (("--split=test",), "--split=train"),
      (("--num_tasks=2",), "--num_tasks=1"),
      (("--jit_compile=false",), "--jit_compile=auto"),
      (("--problem=simple-multi",), "--problem=simple"))
  def test_resume_with_other_settings_is_refused(self, argv, named):
    before = files(self.reference)
    self.assert_error(
        run(*TRAIN, f"--save_path={self.reference}", "--resume", *argv),
        f"was started with {named}: resume it with the same")
    self.assertEqual(files(self.reference), before)

  def test_folder_of_another_run_is_refused(self):
    before = files(self.reference)
    self.assert_error(run(*TRAIN, f"--save_path={self.reference}"),
                      "holds a run. Go on with it by --resume, or")
    self.assertEqual(files(self.reference), before)

  @parameterized.parameters((), ("--resume",))
  def test_folder_of_other_files_is_refused(self, *argv):
    pathlib.Path(self.folder, "thesis.tex").write_text("Unique.")
    before = files(self.folder)
    self.assert_error(run(*TRAIN, f"--save_path={self.folder}", *argv),
                      "is a folder of other files")
    self.assertEqual(files(self.folder), before)

  @parameterized.parameters("", "/run")
  def test_save_path_that_is_a_file_is_refused(self, below):
    pathlib.Path(self.folder, "file").write_text("Unique.")
    self.assert_error(
        run(*TRAIN, f"--save_path={self.folder}/file{below}"), "/file")
    self.assertEqual(files(self.folder), {"file": b"Unique."})

  def test_save_path_that_cannot_be_made_is_refused(self):
    self.assert_error(run(*TRAIN, "--save_path=/proc/run"), "/proc/run")

  @parameterized.parameters("{", "[]", "{}")
  def test_damaged_settings_are_told(self, text):
    pathlib.Path(self.folder, "run.json").write_text(text)
    self.assert_error(
        run(*TRAIN, f"--save_path={self.folder}", "--resume"), self.folder)

  def test_damaged_checkpoint_is_told(self):
    folder = self.path("run")
    shutil.copytree(self.reference, folder)
    for path in pathlib.Path(folder, "checkpoints").glob("*.index"):
      path.write_bytes(b"garbage")
    self.assert_error(run(*TRAIN, f"--save_path={folder}", "--resume"),
                      "checkpoints/ckpt-60")

  def test_resume_needs_save_path(self):
    self.assert_error(run(*TRAIN, "--resume"), "--resume needs the --save_path")

  def test_means_of_the_largest_losses_are_without_warning(self):
    # The sum over the functions is more than a float32 holds.
    result = run(*LARGE, "--problem=paper-quadratic", "--num_steps=10",
                 "--unroll_length=5", "--num_epochs=1", "--learning_rate=1e16",
                 f"--save_path={self.folder}")
    self.assert_done(result)
    self.assertIn("0 of 1 diverged", result.stdout)
    self.assertIn("0 of 128 diverged", result.stdout)

  def test_diverging_training_goes_on(self):
    result = run(*LARGE, "--num_steps=30", "--num_epochs=2",
                 "--unroll_length=15", "--learning_rate=1e30",
                 f"--save_path={self.folder}")
    self.assert_done(result)
    self.assertIn("1 of 1 diverged", result.stdout)
    self.assertRegex(result.stdout,
                     r"Meta-gradients not finite, and dropped: \d of 2")

  @parameterized.product(
      name=("num_steps", "unroll_length", "learning_rate", "num_epochs",
            "log_period", "evaluation_period", "evaluation_epochs",
            "num_tasks"),
      value=(0, -1))
  def test_flag_that_is_not_positive_is_refused(self, name, value):
    folder = self.path("run")
    value = float(value) if name == "learning_rate" else value
    self.assert_error(
        run("train.py", f"--save_path={folder}", f"--{name}={value}"),
        f"--{name} is {value}, but must be positive")
    self.assertFalse(os.path.exists(folder))


class EvaluateTest(ScriptsTest):

  def test_lines_table_and_plot(self):
    output, plot = self.path("losses.csv"), self.path("losses.png")
    result = run(*EVALUATE, "--problem=quadratic", "--optimizer=L2L,Adam",
                 "--seed=0", "--learning_rate=0.1", f"--output={output}",
                 f"--plot={plot}")
    self.assert_done(result)
    self.assertRegex(
        result.stdout,
        rf"\A{DEVICE}L2L is untrained: give its --path\.\n"
        "Evaluating on quadratic: 3 runs of 5 steps, seed 0\n"
        rf"L2L\n{STATS}Adam\n{STATS}{TABLE}"
        r"Adam +0\.1 [^\n]+ 0\nL2L +- [^\n]+ 0\n\Z")
    with open(output, encoding="utf-8") as file:
      self.assertEqual(file.readline(), "optimizer,run,step,loss\n")
      self.assertLen(file.readlines(), 2 * 3 * 6)
    losses = read_losses(output)
    for name, printed in zip(("L2L", "Adam"), re.findall(STATS, result.stdout),
                             strict=True):
      mean = np.mean([losses[name, i, 5] for i in range(3)], dtype=np.float64)
      self.assertEqual(printed,
                       (f"{np.log10(mean):.2f}", f"{mean:.4g}", "3"))
      self.assertRegex(result.stdout, rf"\n{name} +[\d.-]+ +{mean:.4g} ")
      for i in range(3):  # They start from the same points.
        self.assertEqual(losses[name, i, 0], losses["Adam", i, 0])
    self.assertEqual(pathlib.Path(plot).read_bytes()[:8], b"\x89PNG\r\n\x1a\n")

  def test_same_seed_gives_the_same_table(self):
    tables = []
    for seed in (0, 0, 1):
      output = self.path("losses.csv")
      self.assert_done(run(*SGD, f"--seed={seed}", f"--output={output}"))
      tables.append(pathlib.Path(output).read_bytes())
    self.assertEqual(tables[0], tables[1])
    self.assertNotEqual(tables[0], tables[2])

  def test_tuned_rate_is_kept(self):
    argv = (*EVALUATE, "--num_steps=1", "--optimizer=Sgd", "--tune",
            "--jit_compile=false", f"--output={self.path('losses.csv')}")
    result = run(*argv)
    self.assert_done(result)
    # From x = 1, a step leads to 1 - 2 rate: of the grid, 10^(-4 / 12) is best.
    self.assertRegex(result.stdout, r"\n0\.464 +0\.005184 +best\n")
    self.assertRegex(result.stdout, r"\nSgd +0\.464 +0\.005184 ")
    search = pathlib.Path(self.path("tuning.json"))
    # It is what the next evaluation goes by, until a setting is another.
    search.write_text(search.read_text().replace("0.464", "0.25"))
    for flags, rate in (((), "0.25"), (("--tuning_epochs=2",), "0.464")):
      result = run(*argv, *flags)
      self.assert_done(result)
      self.assertRegex(result.stdout, rf"\nSgd +{rate} ")
    self.assertEqual(search.read_text().count('"settings"'), 2)

  def test_all_optimizers_are_tuned(self):
    result = run(*EVALUATE, "--num_steps=2", "--num_epochs=1",
                 "--tuning_epochs=1", "--optimizer=all", "--jit_compile=false")
    self.assert_done(result)
    rates = dict(re.findall(r"\n(\w+) +([\d.]+|-) [^\n]+ 0(?=\n)",
                            result.stdout.rpartition("Optimizer")[2]))
    self.assertCountEqual(rates, ["L2L", "Sgd", "Momentum", "Nesterov", "Rprop",
                                  "Adagrad", "RMSProp", "Adam"])
    searches = {}
    for name, best, loss in re.findall(
        r"\n(\w+),[^\n]* rate [^,]+?\n([\d.]+) +(\S+) +best\n",
        result.stdout):
      searches.setdefault(name, []).append((float(loss), best))
    self.assertLen(searches.pop("RMSProp"), 4)  # Of other decays.
    del rates["RMSProp"]
    self.assertEqual({"L2L": "-"} | {
        name: best for name, ((_, best),) in searches.items()}, rates)

  def test_best_of_the_other_options_is_used(self):
    argv = (*EVALUATE, "--num_steps=3", "--optimizer=RMSProp", "--tune",
            "--jit_compile=false", f"--output={self.path('losses.csv')}")
    self.assert_done(run(*argv))
    search = pathlib.Path(self.path("tuning.json"))
    found = json.loads(search.read_text())
    for i, losses in enumerate(([1.], [.5], [None], [.7])):
      found[i] |= {"learning_rates": [10.**-i], "losses": losses}
    search.write_text(json.dumps(found))
    result = run(*argv)
    self.assert_done(result)
    self.assertIn("RMSProp, decay 0.999, epsilon 1.0, rate", result.stdout)
    self.assertRegex(result.stdout, r"\nRMSProp +0\.1 ")

  def test_several_learned_optimizers_are_compared(self):
    paths = [self.path("one"), self.path("two")]
    experiment = experiments.get("quadratic")
    for seed, path in enumerate(paths):
      made = meta_optimizer.MetaOptimizer(
          **experiments.with_seed(experiment.net_config, seed))
      made.networks["cw"].initial_state({"x": tf.zeros([2])})
      os.mkdir(path)
      made.save(path)
    output = self.path("losses.csv")
    self.assert_done(run(*EVALUATE, "--problem=quadratic", "--seed=0",
                         f"--path={','.join(paths)}", f"--output={output}"))
    together = read_losses(output)
    for path in paths:
      self.assert_done(run(*EVALUATE, "--problem=quadratic", "--seed=0",
                           f"--path={path}", f"--output={output}"))
      name = f"L2L-{os.path.basename(path)}"
      self.assertEqual(
          {key[1:]: loss for key, loss in read_losses(output).items()},
          {key[1:]: loss for key, loss in together.items() if key[0] == name})

  def test_folders_of_one_name_are_refused(self):
    self.assert_error(run(*EVALUATE, "--path=a/run,b/run"),
                      "--path is a/run,b/run, but the folders must have")

  def test_learning_rate_is_given_or_tuned(self):
    self.assert_error(run(*SGD, "--tune", "--learning_rate=0.1"),
                      "--learning_rate is what --tune searches")

  @parameterized.parameters("{", "[1]", '[{"settings": {}}]')
  def test_damaged_search_is_told(self, text):
    search = pathlib.Path(self.path("tuning.json"))
    search.write_text(text)
    self.assert_error(
        run(*SGD, "--tune", f"--output={self.path('losses.csv')}"),
        "tuning.json is damaged, delete it")
    self.assertEqual(search.read_text(), text)

  def test_tensorboard_has_the_mean_curves(self):
    output = self.path("losses.csv")
    self.assert_done(run(*SGD, "--optimizer=Sgd,Adam", f"--output={output}",
                         f"--logdir={self.folder}"))
    losses = read_losses(output)
    for name in ("Sgd", "Adam"):
      curve, = scalars(self.path(name)).values()
      np.testing.assert_allclose(
          [curve[t] for t in range(6)],
          [np.mean([losses[name, i, t] for i in range(3)]) for t in range(6)],
          rtol=1e-6)

  def test_updates_are_drawn(self):
    picture, output = self.path("updates.png"), self.path("losses.csv")
    self.assert_done(run(
        *EVALUATE, "--num_epochs=1", "--problem=quadratic",
        "--optimizer=L2L,Sgd", "--learning_rate=0.1", "--jit_compile=false",
        f"--plot_updates={picture}", f"--output={output}",
        f"--logdir={self.path('log')}"))
    height, width, _ = plt.imread(picture).shape
    self.assertGreater(width, height)
    logged = scalars(self.path("log/Sgd"))
    for step in range(5):
      np.testing.assert_allclose(
          logged["updates/loss"][step], read_losses(output)["Sgd", 0, step],
          rtol=1e-5)
    np.testing.assert_allclose(
        list(logged["updates/update_size"].values()),
        0.1 * np.array(list(logged["updates/gradient_size"].values())),
        rtol=1e-5)
    self.assertIn("updates/cw/saturated_gates/lstm_2",
                  scalars(self.path("log/L2L")))
    event, = pathlib.Path(self.path("log")).glob("events.*")
    self.assertIn(b"\x89PNG", event.read_bytes())

  @parameterized.parameters(
      ("--optimizer=Sgd", "--num_steps=40", "--learning_rate=1e6"),  # Diverges.
      ("--num_steps=1",))  # L2L, whose first updates are 0.
  def test_updates_without_size_are_drawn_without_warning(self, *argv):
    picture = self.path("updates.png")
    self.assert_done(run(
        *EVALUATE, "--num_epochs=1", "--jit_compile=false", *argv,
        f"--plot_updates={picture}"))
    self.assertTrue(pathlib.Path(picture).read_bytes().startswith(b"\x89PNG"))

  def test_pictures_are_drawn(self):
    fake_data.write_neural_art(self.folder, "test", image_size=64)
    pictures = self.path("pictures.png")
    self.assert_done(run(
        *EVALUATE, "--problem=paper-neural-art", f"--data_dir={self.folder}",
        "--num_steps=1", "--num_epochs=2", "--optimizer=L2L,Sgd",
        "--jit_compile=false", f"--pictures={pictures}"))
    height, width, _ = plt.imread(pictures).shape
    self.assertGreater(width, 1.5 * height)  # 4 columns, 2 rows.

  def test_pictures_of_no_images_are_refused(self):
    self.assert_error(run(*SGD, f"--pictures={self.path('pictures.png')}"),
                      "--pictures is for neural art, not quadratic")

  def test_printed_seed_reproduces_the_runs(self):
    output = self.path("losses.csv")
    result = run(*SGD, f"--output={output}")
    expected = read_losses(output)
    seed = re.search(r"seed (\d+)\n", result.stdout)[1]
    again = run(*SGD, f"--output={output}", f"--seed={seed}")
    self.assertEqual(read_losses(output), expected)
    self.assertEqual(re.findall("Final error.*", again.stdout),
                     re.findall("Final error.*", result.stdout))

  @parameterized.parameters(1e6, 3000.)
  def test_diverged_runs_are_counted(self, learning_rate):
    plot, output = self.path("losses.png"), self.path("losses.csv")
    result = run(*SGD, "--num_steps=20", f"--learning_rate={learning_rate}",
                 f"--plot={plot}", f"--output={output}")
    self.assert_done(result)
    self.assertIn("3 of 3 diverged", result.stdout)
    self.assertTrue(pathlib.Path(plot).read_bytes().startswith(b"\x89PNG"))
    self.assertLen(read_losses(output), 3 * 21)

  def test_runs_with_the_largest_losses_are_drawn_without_warning(self):
    # Their sum is more than a float32 holds.
    plot, output = self.path("losses.png"), self.path("losses.csv")
    result = run(*SGD, "--num_epochs=40", "--num_steps=8", "--seed=0",
                 "--learning_rate=450", f"--plot={plot}", f"--output={output}")
    self.assertIn("0 of 40 diverged", result.stdout)
    self.assertGreater(
        np.sum(list(read_losses(output).values()), dtype=np.float64),
        np.finfo(np.float32).max)
    self.assert_done(result)

  @parameterized.parameters("curves", "curves.pdf")
  def test_plot_is_the_file_that_was_named(self, name):
    self.assert_done(run(*SGD, f"--plot={self.path(name)}"))
    self.assertEqual(list(files(self.folder)), [name])
    self.assertTrue(files(self.folder)[name].startswith(b"\x89PNG"))

  @parameterized.parameters("--output=%s/no/losses.csv", "--plot=%s/no/a.png",
                            "--plot_updates=%s/no/a.png",
                            "--output=%s", "--plot=%s")
  def test_file_that_cannot_be_written_is_refused_at_once(self, flag):
    result = run(*SGD, flag % self.folder)
    self.assert_error(result, self.folder)
    self.assertNotIn("Evaluating", result.stdout)

  @parameterized.parameters("--output", "--plot")
  def test_what_is_no_file_is_never_replaced(self, flag):
    fifo = self.path("fifo")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    self.addCleanup(os.close, reader)
    self.assert_error(run(*SGD, f"{flag}={fifo}"), fifo)
    self.assertTrue(pathlib.Path(fifo).is_fifo())

  def test_refused_evaluation_leaves_no_files(self):
    result = run(*SGD, "--optimizer=Foo", f"--output={self.path('a.csv')}",
                 f"--plot={self.path('a.png')}")
    self.assert_error(result, "'Foo'")
    self.assertEmpty(files(self.folder))

  def test_full_disk_keeps_the_last_table(self):
    output = pathlib.Path(self.path("losses.csv"))
    output.write_text("Unique.")
    self.assert_error(
        run(*SGD, "--num_steps=100", f"--output={output}",
            before=functools.partial(_limit_files, 5000)),
        "File too large.*losses.csv")
    self.assertEqual(files(self.folder), {"losses.csv": b"Unique."})

  def test_interrupt_ends_it_without_a_traceback(self):
    process = Process(
        (*SGD, "--seed=0", "--num_epochs=2000", "--num_steps=500"))
    process.wait_for(
        "Evaluating on quadratic: 2000 runs of 500 steps, seed 0")
    process.kill(signal.SIGINT)
    result = process.result()
    self.assertEqual((result.code, result.stderr), (-signal.SIGINT, ""))

  @parameterized.parameters("Foo", "adam", "L2L,Foo", "")
  def test_unknown_optimizer_lists_the_known_ones(self, names):
    self.assert_error(run(*EVALUATE, f"--optimizer={names}"),
                      r"must be .*\['L2L', 'Sgd', 'Momentum', 'Nesterov', "
                      r"'Rprop', 'Adagrad', 'RMSProp', 'Adam'\]")

  def test_path_without_weights_is_told(self):
    self.assert_error(run(*EVALUATE, f"--path={self.folder}"),
                      f"No weight file '{self.folder}/cw.l2l'. Train")

  @parameterized.parameters(b"", b"garbage", b"PK\x03\x04garbage")
  def test_damaged_weights_are_told(self, content):
    pathlib.Path(self.folder, "cw.l2l").write_bytes(content)
    self.assert_error(run(*EVALUATE, f"--path={self.folder}"),
                      "Cannot read the weight file .*cw.l2l")

  def test_weights_of_another_architecture_are_told_with_their_shapes(self):
    fake_data.write_mnist(self.folder)
    self.assert_error(
        run(*EVALUATE, "--problem=mnist", f"--data_dir={self.folder}",
            f"--path={LEGACY / 'cw_identity'}"),
        r"lstm_1/w_gates have shape \(21, 80\), but .* needs \(22, 80\)")

  @parameterized.product(
      name=("num_steps", "num_epochs", "learning_rate"), value=(0, -1))
  def test_flag_that_is_not_positive_is_refused(self, name, value):
    value = float(value) if name == "learning_rate" else value
    self.assert_error(run(*SGD, f"--{name}={value}"),
                      f"--{name} is {value}, but must be positive")


class BothTest(ScriptsTest):

  def test_mnist(self):
    fake_data.write_mnist(self.folder)
    run_folder = self.path("run")
    data = ("--problem=mnist", f"--data_dir={self.folder}", "--num_steps=2",
            "--num_epochs=1")
    self.assert_done(run("train.py", *data, "--evaluation_epochs=1",
                         f"--save_path={run_folder}"))
    result = run("evaluate.py", *data, "--split=validation", "--seed=0",
                 f"--path={run_folder}", "--layers=3,2", "--activation=relu")
    self.assert_done(result)
    self.assertRegex(
        result.stdout,
        rf"\A{DEVICE}Evaluating on mnist \(split validation\): 1 runs of 2 "
        rf"steps, seed 0\nL2L\n{STATS}{TABLE}L2L +- .*\n\Z")

  def test_own_problem(self):
    pathlib.Path(self.folder, "own_keras.py").write_text("""
import keras
import numpy as np
import problems

def make_model():
  return keras.Sequential([
      keras.Input([2, 2, 1]), keras.layers.Conv2D(1, 2),
      keras.layers.Flatten()])

def make_problem(split):
  print(f"Split {split}")
  inputs = np.random.default_rng(0).normal(size=[20, 2, 2, 1])
  return problems.KerasProblem(make_model, "mse", (inputs, inputs[:, :1, 0]), 4)
""")
    before = functools.partial(os.chdir, self.folder)
    own = ("--problem=own_keras:make_problem", "--num_steps=4",
           "--num_epochs=2", "--jit_compile=false")
    result = run("train.py", *own, "--unroll_length=2", "--evaluation_epochs=1",
                 "--save_path=run", before=before)
    self.assert_done(result)
    self.assertRegex(result.stdout, rf"\A{DEVICE}Split train\nEpoch 2\n")
    with open(self.path("run/run.json"), encoding="utf-8") as file:
      settings = json.load(file)
    self.assertEqual((settings["problem"], settings["learning_rate"]),
                     ("own_keras:make_problem", 0.003))
    result = run("evaluate.py", *own, "--seed=0", "--path=run",
                 "--optimizer=L2L,Sgd", "--tune", "--tuning_epochs=1",
                 before=before)
    self.assert_done(result)
    self.assertRegex(
        result.stdout, rf"\A{DEVICE}Split test\nSplit validation\n(.*\n)+"
        r"Evaluating on own_keras:make_problem \(split test\): 2 runs of 4 ")

  @parameterized.product(
      script=("train.py", "evaluate.py"),
      case=(
          (("--problem=cubic",), r"'cubic', .* \['simple', 'simple-multi', "),
          (("--problem=own:make",), "no module 'own' in this folder or on PY"),
          (("--problem=tests.toys:none",), "tests.toys has no function 'none'"),
          (("--problem=tests.toys:Given",), r"Given', which raises TypeError: "
           r".*missing 3 required"),
          (("--problem=tests.toys:small_vgg",), "returns dict, but must"),
          (("--problem=mnist",), "--data_dir, or .* --download"),
          (("--problem=mnist", "--data_dir={folder}"),
           "No MNIST under {folder}"),
          (("--problem=mnist", "--data_dir={folder}/no"),
           "No MNIST under {folder}/no"),
          (("--problem=mnist", "--data_dir={folder}", "--split=all"),
           r"split is 'all', .* \['test', 'train', 'validation'\]"),
          (("--colour=red",), "flag 'colour'"),
          (("--num_steps=ten",), "--num_steps=ten"),
          (("--num_steps=1.5",), "--num_steps=1.5"),
          (("--learning_rate=fast",), "--learning_rate=fast"),
          (("--learning_rate=nan",), "--learning_rate is nan"),
          (("--learning_rate=inf",), "--learning_rate is inf"),
          (("--seed=ten",), "--seed=ten"),
          (("--layers=20",), "--layers is for mnist and paper-mnist, not simp"),
          (("--problem=mnist", "--layers=20,many"), "--layers has 'many'"),
          (("--problem=mnist", "--layers=0"), "layers"),
          (("--problem=mnist", "--activation=tanh"), "--activation=tanh"),
          (("--seed=9223372036854775808",), "seed is 9223372036854775808"),
          (("simple",), "'simple' is not a flag: write --name=value"),
      ))
  def test_mistake_is_told_in_one_line(self, script, case):
    argv, message = case
    self.assert_error(
        run(script, *(a.format(folder=self.folder) for a in argv)),
        message.replace("{folder}", self.folder))

  @parameterized.parameters("train.py", "evaluate.py")
  def test_help_lists_the_flags(self, script):
    result = run(script, "--help")
    for name in ("problem", "num_steps", "data_dir", "download", "num_epochs",
                 "seed", "split", "learning_rate"):
      self.assertRegex(result.stdout, rf"--(\[no\])?{name}:")


if __name__ == "__main__":
  absltest.main()
