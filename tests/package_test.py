"""Tests of the wheel: what is in it, and that it works elsewhere."""

from importlib import metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

from absl.testing import absltest
from packaging import requirements

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ["l2lgd", "meta", "networks", "problems"]
# Not a part of the wheel.
OTHERS = ["benchmarks", "tests"]

BUILD = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
USE = """
from importlib import metadata, util
import os, sys
sys.modules["matplotlib"] = None  # Training does without it.
import meta, networks, problems
for package in (meta, networks, problems):
  assert package.__file__.startswith(os.environ["PYTHONPATH"]), package
for name in ("train", "evaluate", "export", "reproduce", "tests", "benchmarks",
             "setup"):
  assert util.find_spec(name) is None, name
assert meta.pretrained()
assert meta.LearnedOptimizer.load("paper-mnist").networks
commands = metadata.distribution("l2lgd").entry_points
commands["l2l-train"].load()()
"""
TRAIN = ["--problem=quadratic", "--num_steps=2", "--unroll_length=2",
         "--num_epochs=1", "--evaluation_epochs=1", "--jit_compile=false",
         "--save_path=run"]


def python(code, *argv, **kwargs):
  """Runs a program, and returns what it printed."""
  result = subprocess.run([sys.executable, "-c", code, *argv], check=False,
                          capture_output=True, text=True, **kwargs)
  if result.returncode:
    raise AssertionError(result.stderr)
  return result.stdout


class PackageTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
    source = folder / "source"
    for name in (*PACKAGES, "trained", *OTHERS):
      shutil.copytree(ROOT / name, source / name,
                      ignore=shutil.ignore_patterns("__pycache__", "data"))
    for path in ROOT.iterdir():
      if path.is_file():
        shutil.copy(path, source)
    wheel = python(BUILD, cwd=source).splitlines()[-1]
    cls.installed = folder / "installed"
    with zipfile.ZipFile(source / wheel) as file:
      file.extractall(cls.installed)
      cls.names = set(file.namelist())
    cls.distribution = metadata.Distribution.at(
        next(cls.installed.glob("*.dist-info")))

  def test_only_the_packages_are_at_the_top(self):
    version = self.distribution.version
    self.assertEqual({name.split("/")[0] for name in self.names},
                     {*PACKAGES, f"l2lgd-{version}.dist-info"})

  def test_all_modules_and_their_types_are_there(self):
    sources = {str(path.relative_to(ROOT)) for package in PACKAGES
               for path in (ROOT / package).rglob("*.py")}
    self.assertEqual({n for n in self.names if n.endswith(".py")}, sources)
    self.assertLessEqual({f"{p}/py.typed" for p in PACKAGES}, self.names)

  def test_all_trained_networks_are_there_with_their_cards(self):
    folders = list((ROOT / "trained").iterdir())
    files = {f"meta/{path.relative_to(ROOT)}" for folder in folders
             for path in (*folder.glob("*.l2l"), folder / "README.md")}
    self.assertEqual(
        {n for n in self.names if n.startswith("meta/trained/")}, files)

  def test_files_of_the_page_of_the_paper_are_there(self):
    folder = "l2lgd/commands/paper"
    self.assertLessEqual(
        {f"{folder}/rates.json", f"{folder}/templates/index.html",
         f"{folder}/templates/results.md"}, self.names)

  def test_dependencies_are_the_requirements_without_pytest(self):
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    expected = {str(requirements.Requirement(line)) for line in lines
                if line and not line.startswith("#")}
    expected = {text for text in expected if not text.startswith("pytest")}
    self.assertIn("tensorflow", {re.match(r"[\w-]+", t)[0] for t in expected})
    self.assertEqual(
        {str(requirements.Requirement(text))
         for text in self.distribution.requires}, expected)

  def test_version_is_that_of_the_change_log_and_of_the_citation(self):
    version = self.distribution.version
    changes = (ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## ([\d.]+)", changes, re.MULTILINE)[1]
    self.assertEqual(newest, version)
    citation = (ROOT / "CITATION.cff").read_text()
    self.assertIn(f"\nversion: {version}\n", citation)

  def test_commands_are_those_of_the_scripts(self):
    commands = {e.name: e.value for e in self.distribution.entry_points}
    self.assertEqual(commands, {
        f"l2l-{name}": f"l2lgd.commands.{name}:run"
        for name in ("train", "evaluate", "export", "reproduce")})

  def test_works_in_an_empty_folder(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    environment = os.environ | {"PYTHONPATH": str(self.installed)}
    stdout = python(USE, *TRAIN, cwd=folder, env=environment)
    self.assertRegex(stdout, "^Running on")
    self.assertTrue(os.path.exists(f"{folder}/run/cw.l2l"))


if __name__ == "__main__":
  absltest.main()
