"""Tests of `reproduce.py`, run in the process of the tests."""

import base64
import json
import os
import pathlib
import re
import shlex
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np

from l2lgd import files
from l2lgd.commands.paper import jobs, records, report, table, trainings
from meta import plots, tuning
from tests import fake_data, programs, run_files


def run_here(waiting, num_processes):
  """Runs jobs in this process."""
  del num_processes
  errors = {job.name: jobs.do(job, lambda cost: None) for job in waiting}
  return {name: error for name, error in errors.items() if error}


class ReproduceTest(programs.EagerTestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory()))
    self.output = self.folder / "paper"
    self.network = str(self.folder / "network")
    programs.save_network(self.network)
    self.enter_context(mock.patch.object(table, "PANELS", {
        "one": table.Panel(
            ("4",), "One <panel>", "It goes down.", {"": self.setting()},
            {"LSTM": {1: .5, 3: .25}}, note="It is a toy."),
        "units": table.Panel(
            ("6",), "Units", "It goes down.", {
                label: self.setting(
                    options={"layers": (int(label),)}, num_steps=1,
                    problem="paper-mnist", split="train")
                for label in ("1", "2")})}))
    self.run_jobs = self.enter_context(mock.patch.object(
        jobs, "run", side_effect=run_here))
    self.enter_context(mock.patch.object(tuning, "_LIMIT", 0))

  def setting(self, **kwargs):
    return table.Setting(**{
        "problem": "quadratic", "learned": {"LSTM": self.network},
        "num_steps": 3, "num_runs": 2, "tuning_runs": 1,
        "hand_designed": ("Sgd", "Adam"), **kwargs})

  def reproduce(self, *argv):
    return programs.run("reproduce", f"--output={self.output}", *argv)

  def read(self, name):
    return (self.output / name).read_text(encoding="utf-8")

  def without_minutes(self, *names):
    """Pages, but for what differs between runs of the program."""
    return [re.sub(r"<td>[\d.]+</td></tr>|[\d.]+ minutes", "", self.read(name))
            for name in names]

  def test_page_has_verdict_numbers_and_pictures(self):
    result = self.reproduce("--panels=4")
    self.assert_done(result)
    self.assertRegex(result.stdout, r"One <panel>: (not )?reproduced\. LSTM is")
    page = self.read("index.html")
    self.assertIn("One &lt;panel&gt;", page)
    self.assertNotIn("Units", page)
    picture = base64.b64decode(re.search("base64,([^\"]+)", page)[1])
    self.assertEqual(picture, (self.output / "pictures/one.png").read_bytes())
    folder, = (self.output / "results").iterdir()
    file, = folder.glob("LSTM-*.csv")
    losses = np.loadtxt(file, delimiter=",", skiprows=1)
    self.assertEqual(losses.shape, (2, 4))
    for text in (page, self.read("results.md")):
      self.assertIn(f"{losses[:, 3].mean():.3g}", text)
      self.assertIn("0.25", text)  # The paper's.
      self.assertIn("It is a toy.", text)
      self.assertIn("Other runs at each rate of the search: 1.", text)
    self.assertIn("](pictures/one.png)", self.read("results.md"))

  def test_command_makes_the_same_runs(self):
    self.assert_done(self.reproduce("--panels=one"))
    page = self.read("index.html")
    program, *argv = shlex.split(re.search("<pre>(.*?)</pre>", page)[1])
    self.assertEqual(program, "l2l-evaluate")
    output = self.folder / "losses.csv"
    self.assert_done(programs.run(
        "evaluate", *argv, f"--output={output}", "--jit_compile=false"))
    losses = run_files.read_losses(str(output))
    folder, = (self.output / "results").iterdir()
    for theirs, ours in (("L2L", "LSTM-*"), ("Sgd", "Sgd"), ("Adam", "Adam")):
      file, = folder.glob(f"{ours}.csv")
      for (run, step), loss in np.ndenumerate(np.loadtxt(
          file, delimiter=",", skiprows=1)):
        self.assertAlmostEqual(losses[theirs, run, step], loss, places=6)

  def test_nothing_is_tuned_where_quasi_newton_methods_are_the_rivals(self):
    table.PANELS["one"] = table.PANELS["one"]._replace(
        settings={"": self.setting(hand_designed=("BFGS",), tuning_runs=3)})
    self.assert_done(self.reproduce("--panels=one"))
    _, *argv = shlex.split(re.search(
        "<pre>(.*?)</pre>", self.read("index.html"))[1])
    self.assert_done(programs.run("evaluate", *argv, "--jit_compile=false"))

  def test_runs_of_other_data_are_not_mixed(self):
    table.PANELS["one"] = table.PANELS["one"]._replace(settings={
        "": self.setting(problem="paper-mnist", split="train")})
    fake_data.write_mnist(self.folder)
    argv = "--panels=one", f"--data_dir={self.folder}"
    self.assert_done(self.reproduce(*argv))
    folder, = (self.output / "results").iterdir()
    (folder / "Adam.json").unlink()
    self.assert_done(self.reproduce(*argv))
    (folder / "Adam.json").unlink()
    fake_data.write_mnist(self.folder, x_train=np.zeros([24, 28, 28], np.uint8))
    result = self.reproduce(*argv)
    self.assertEqual(result.code, 1)
    self.assertIn(f"The losses of the problem are not those of the runs in "
                  f"{folder}: the data have changed", result.stdout)

  def test_results_stay_when_the_data_move(self):
    table.PANELS["one"] = table.PANELS["one"]._replace(settings={
        "": self.setting(problem="paper-mnist", split="train")})
    fake_data.write_mnist(self.folder)
    self.assert_done(self.reproduce(
        "--panels=one", f"--data_dir={self.folder}"))
    self.run_jobs.reset_mock()
    self.assert_done(self.reproduce("--panels=one", "--data_dir=elsewhere"))
    self.assertEqual(self.run_jobs.call_args.args[0], [])

  def test_what_is_there_is_not_computed_again(self):
    self.assert_done(self.reproduce("--panels=4"))
    page, summary = self.read("index.html"), self.read("results.md")
    self.run_jobs.reset_mock()
    self.assert_done(self.reproduce("--panels=4"))
    self.assertEqual(self.run_jobs.call_args.args[0], [])
    self.assertEqual(self.read("index.html"), page)
    self.assertEqual(self.read("results.md"), summary)

  def test_interrupted_runs_end_with_the_same_page(self):
    self.assert_done(self.reproduce("--panels=4"))
    pages = self.without_minutes("index.html", "results.md")
    folder, = (self.output / "results").iterdir()
    learned, = folder.glob("LSTM-*.csv")
    before = {file: file.read_bytes()
              for file in (learned, folder / "Adam.csv")}
    for file in before:
      file.with_suffix(".json").unlink()
    learned.write_text("")
    self.assert_done(self.reproduce("--panels=4"))
    for file, losses in before.items():
      self.assertEqual(file.read_bytes(), losses)
    self.assertEqual(self.without_minutes("index.html", "results.md"), pages)

  def test_more_runs_are_added_and_fewer_are_the_first(self):
    # A run optimizes 128 functions.
    table.PANELS["one"] = table.PANELS["one"]._replace(
        settings={"": self.setting(problem="paper-quadratic")})
    losses, searches = {}, []
    for num_runs in (3, 1, 2):  # The first in one piece, the last in two.
      if num_runs == 1:
        self.output = self.folder / "other"
      self.assert_done(self.reproduce("--panels=4", f"--runs={num_runs}"))
      folder, = (self.output / "results").iterdir()
      file = folder / "tuning.json"
      searches.append(file.exists())
      file.unlink(missing_ok=True)
      losses[num_runs] = {
          name: next(folder.glob(f"{name}*.csv")).read_text().splitlines()
          for name in ("LSTM", "Sgd", "Adam")}
      self.assertIn(f"--num_epochs={num_runs}", self.read("index.html"))
    # Runs that are added have the rates of those before them.
    self.assertEqual(searches, [True, True, False])
    for name, lines in losses[3].items():
      self.assertLen(lines, 1 + 128 * 3)
      self.assertEqual(losses[1][name], lines[:1 + 128])
      self.assertEqual(losses[2][name], lines[:1 + 128 * 2])
    rows = re.findall("^.*LSTM .*", self.read("results.md"), re.MULTILINE)
    self.output = self.folder / "paper"
    self.assert_done(self.reproduce("--panels=4", "--runs=2"))
    for row in rows:
      self.assertIn(row, self.read("results.md"))

  def test_another_network_is_run_and_the_others_stay(self):
    self.reproduce("--panels=4")
    folder, = (self.output / "results").iterdir()
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    programs.save_network(self.folder / "other", seed=1)
    os.replace(self.folder / "other/cw.l2l", f"{self.network}/cw.l2l")
    self.reproduce("--panels=4")
    self.assertLen([*folder.glob("LSTM-*.json")], 2)
    self.assertEqual({file: file.stat().st_mtime_ns for file in before}, before)

  def test_another_hand_designed_optimizer_is_run_and_the_others_stay(self):
    self.reproduce("--panels=4")
    folder, = (self.output / "results").iterdir()
    before = {file: file.stat().st_mtime_ns for file in folder.glob("*.csv")}
    table.PANELS["one"] = table.PANELS["one"]._replace(settings={
        "": self.setting(hand_designed=("Sgd", "Adam", "Rprop"))})
    self.assert_done(self.reproduce("--panels=4"))
    self.assertTrue((folder / "Rprop.csv").exists())
    self.assertEqual({file: file.stat().st_mtime_ns for file in before}, before)

  def test_panel_that_fails_is_named_and_the_others_are_there(self):
    result = self.reproduce(f"--data_dir={self.folder}")
    self.assertEqual((result.code, result.stderr), (1, ""))
    self.assertRegex(result.stdout, "\nUnits: failed. No MNIST under")
    page = self.read("index.html")
    self.assertRegex(page, "failed</span></h3>")
    self.assertIn(f"No MNIST under {self.folder}", page)
    self.assertIn("base64,", page)
    fake_data.write_mnist(self.folder)
    self.assert_done(self.reproduce(f"--data_dir={self.folder}"))
    self.assertIn(" of 2 settings", self.read("index.html"))

  def test_damaged_record_is_named(self):
    self.assert_done(self.reproduce("--panels=4"))
    folder, = (self.output / "results").iterdir()
    record, losses = folder / "Adam.json", folder / "Adam.csv"
    for content in ("0\n1\n", "0\nx\ny\n", None):
      losses.unlink()
      if content is not None:
        losses.write_text(content)
      self.assert_error(
          self.reproduce("--panels=4"),
          f"{losses} cannot be read, delete it and {record}: ")
    for content in ("{}", ""):
      record.write_text(content)
      self.assert_error(self.reproduce("--panels=4"),
                        f"{record} is damaged, delete it")

  def test_divergence_is_a_failure_with_its_table(self):
    self.assert_done(self.reproduce("--panels=4"))
    folder, = (self.output / "results").iterdir()
    file, = folder.glob("LSTM-*.csv")
    file.write_text("0,1,2,3\n" + "1,1,inf,nan\n" * 2)
    result = self.reproduce("--panels=4")
    self.assertEqual(result.code, 1)
    page = self.read("index.html")
    self.assertIn("All runs of LSTM diverged", page)
    self.assertIn("<td>inf</td>", page)

  def test_quick_takes_known_rates(self):
    rates = self.folder / "rates.json"
    rates.write_text(json.dumps({"one": {"": {
        "Sgd": {"learning_rate": .5}}}}))
    with mock.patch.object(table, "_RATES", rates):
      self.assert_done(self.reproduce("--panels=4", "--quick"))
    found = json.loads(self.read("rates.json"))["one"][""]
    self.assertEqual(found["Sgd"], {"learning_rate": .5})
    self.assertIn("learning_rate", found["Adam"])
    self.assertIn("The learning rates were searched before.",
                  self.read("results.md"))

  def test_bad_flags(self):
    self.assert_error(self.reproduce("--panels=3"), "--panels has '3'")
    self.assert_error(self.reproduce("--runs=0"), "--runs is 0, but must be")
    self.assert_error(self.reproduce("--output="), "--output is '', but must")

  def test_page_of_another_program_is_not_replaced(self):
    self.output.mkdir()
    (self.output / "index.html").write_text("mine")
    self.assert_error(
        self.reproduce("--panels=4"),
        f"--output is {self.output}, whose index.html is not of this program")
    self.assertEqual(self.read("index.html"), "mine")

  def test_networks_are_trained_again(self):
    self.network = "paper-quadratic"
    table.PANELS["one"] = table.PANELS["one"]._replace(
        settings={"": self.setting()})
    folder = self.output / "trained" / "paper-quadratic"

    found = []

    def train(argvs, cost, report):
      found.extend(argvs)
      programs.save_network(folder)

    stages = [{"seed": 3}, {"seed": 4}, {"num_epochs": 600}]
    training = trainings.TRAINING["paper-quadratic"]._replace(stages=stages)
    with (mock.patch.object(jobs, "train", train),
          mock.patch.dict(trainings.TRAINING, {"paper-quadratic": training})):
      self.assert_done(self.reproduce("--panels=4", "--retrain"))
    one, two = (folder.with_name(f"stage-{records.key(stages[:i])}")
                for i in (1, 2))
    self.assertEqual(found, [
        ["--seed=3", f"--save_path={one}", "--resume"],
        ["--seed=4", f"--save_path={two}", "--resume", f"--init={one}"],
        ["--num_epochs=600", f"--save_path={folder}", "--resume",
         f"--init={two}"]])
    self.assertIn("--retrain", self.read("index.html"))

  def test_network_that_is_trained_further_is_trained_once(self):
    first, second, third = {"seed": 1}, {"seed": 2}, {"seed": 3}
    stages = {"long": [first, second], "one": [first],
              "longer": [first, third]}
    table.PANELS["one"] = table.PANELS["one"]._replace(settings={
        "": self.setting(learned={name: name for name in stages})})
    with (mock.patch.object(jobs, "train") as train,
          mock.patch.dict(trainings.TRAINING, {
              name: trainings.Training(1., s) for name, s in stages.items()})):
      self.reproduce("--panels=4", "--retrain")
    folder = self.output / "trained"
    self.assertEqual([call.args[0] for call in train.call_args_list], [[
        ["--seed=1", f"--save_path={folder}/one", "--resume"],
        ["--seed=2", f"--save_path={folder}/long", "--resume",
         f"--init={folder}/one"],
        ["--seed=3", f"--save_path={folder}/longer", "--resume",
         f"--init={folder}/one"]]])

  def test_training_that_fails_is_the_reason(self):
    self.network = "paper-mnist-long"
    table.PANELS["one"] = table.PANELS["one"]._replace(
        settings={"": self.setting()})
    with mock.patch.object(jobs, "train", side_effect=ValueError("no disk")):
      result = self.reproduce("--panels=4", "--retrain")
    self.assertEqual(result.code, 1)
    self.assertIn("no disk", self.read("index.html"))
    # Nothing was computed with what the training may have left.
    self.assertEqual(self.run_jobs.call_args.args[0], [])

  def test_training_needs_the_data_of_its_panels(self):
    self.assert_error(self.reproduce("--panels=units", "--retrain"),
                      "--retrain needs the data: add --data_dir or --download")

  def test_output_is_of_one_program_at_a_time(self):
    results = self.output / "results"
    results.mkdir(parents=True)
    with files.locked("It", results):
      self.assert_error(
          self.reproduce("--panels=one"), "The folder of the results is "
          f"{results}, to which another program")

  def test_output_may_be_the_folder_of_the_data(self):
    def download(*args):
      del args
      with files.in_turn(self.output):
        return {}

    self.run_jobs.side_effect = download
    self.reproduce("--panels=one")
    self.run_jobs.assert_called_once()


class ArtTest(programs.EagerTestCase):

  def test_pictures_are_on_the_page(self):
    folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    programs.save_network(folder / "network")
    fake_data.write_neural_art(folder, "valid", "test", image_size=64)
    panel = table.Panel(("8", "9"), "Art", "It shows.", {"": table.Setting(
        "paper-neural-art", {"LSTM": str(folder / "network")}, num_steps=1,
        num_runs=1, tuning_runs=1, split="test", hand_designed=("Sgd",))},
                        draws="pictures")
    argv = f"--output={folder}/paper", f"--data_dir={folder}"
    page = folder / "paper/index.html"
    with (mock.patch.object(table, "PANELS", {"art": panel}),
          mock.patch.object(jobs, "run", side_effect=run_here),
          mock.patch.object(tuning, "_LIMIT", 0)):
      with mock.patch.object(plots, "images", side_effect=OSError("no disk")):
        self.assertEqual(programs.run("reproduce", *argv).code, 1)
      self.assertIn("no disk", page.read_text())
      self.assert_done(programs.run("reproduce", *argv))
    self.assertEqual(page.read_text().count("base64,"), 2)
    self.assertIn("Figures 8 and 9", page.read_text())


class TitleTest(absltest.TestCase):

  def test_figures_are_named(self):
    self.assertEqual(report._title(("4",)), "Figure 4")
    self.assertEqual(report._title(("appendix",)), "Appendix")


if __name__ == "__main__":
  absltest.main()
