"""Tests of the pages: code and commands run, links and flags exist."""

import contextlib
import io
import pathlib
import re
import shlex
import shutil
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from meta import compilation, experiments, tuning
from problems import supervised
from tests import fake_data, processes, programs

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [str(page.relative_to(ROOT)) for folder in (".", "docs", "trained/*")
         for page in sorted(ROOT.glob(f"{folder}/*.md"))]
RESULTS = "docs/paper/results.md"
API_PAGES = [
    str(page.relative_to(ROOT)) for page in sorted(ROOT.glob("docs/api/*.md"))]
EXAMPLES = [path.read_text() for path in ROOT.glob("examples/*.py")]
# Appended to the commands; of a flag that is there twice, the last one counts.
SMALL = ("--num_epochs=1", "--num_steps=1", "--jit_compile=false")
FLAGS = {
    "train": (*SMALL, "--unroll_length=1", "--evaluation_epochs=1",
              "--num_tasks=1"),
    "evaluate": SMALL,
    "export": ()}
OTHERS = ("make", "pip", "tensorboard", "export")  # What installs or watches.

setUpModule = processes.start


def blocks(page):
  """Returns the blocks of code of a page, pairs of a language and a text."""
  return re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / page).read_text(),
                    re.DOTALL | re.MULTILINE)


def anchors(page):
  """Returns the anchors of the headings of a page, as GitHub makes them."""
  text = re.sub(r"^```.*?^```", "", page.read_text(),
                flags=re.DOTALL | re.MULTILINE)
  return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-")
          for heading in re.findall(r"^#+ (.*)", text, re.MULTILINE)}


def rows(page):
  """Returns the cells of each row of the tables of a page."""
  return [[cell.strip(" `") for cell in line.strip("|").split("|")]
          for line in (ROOT / page).read_text().splitlines()
          if line.startswith("|")]


make_supervised = supervised.Supervised.__init__


def of_two_examples(self, data, batch_size):
  """Makes a problem with the smallest minibatches."""
  make_supervised(self, data, 2)


@contextlib.contextmanager
def uncompiled(eager=True):
  """Makes few steps, which take less time than tracing or compiling them."""
  nothing = compilation.Compilation(unroll=False, network=False)
  with (mock.patch.object(compilation, "choose", return_value=nothing),
        mock.patch.object(compilation, "can_vectorize", return_value=False),
        mock.patch.object(supervised.Supervised, "__init__", of_two_examples),
        mock.patch.object(tuning, "_LIMIT", 0)):  # A single learning rate.
    tf.config.run_functions_eagerly(eager)
    try:
      yield
    finally:
      tf.config.run_functions_eagerly(False)


class CodeTest(programs.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())
    fake_data.write_mnist(self.folder)
    fake_data.write_cifar10(self.folder, per_batch=40)
    fake_data.write_neural_art(
        self.folder, "train", "valid", "test", image_size=64)
    self.enter_context(contextlib.chdir(self.folder))
    self.enter_context(contextlib.redirect_stdout(io.StringIO()))

  @parameterized.parameters(*filter(blocks, PAGES))
  def test_runs_from_top_to_bottom(self, page):
    names = {}
    for language, code in blocks(page):
      if language == "python" and code not in EXAMPLES:  # Those have a test.
        self.run_code(code, names, page)
      elif language == "sh":
        for command in code.replace("\\\n", "").splitlines():
          self.run_command(command)
      else:
        self.assertIn(language, ("python", "text"))
    self.assertTrue(np.isfinite(names.get("losses", 0.)).all())

  def run_code(self, code, names, page):
    """Runs a block of Python, with fewer epochs and steps."""
    file = re.match(r"# (\w+\.py)\n", code)  # The name of a module.
    if file:
      pathlib.Path(file[1]).write_text(code)
    code = re.sub(
        r"\b(num_epochs|num_steps|unroll_length|len_unroll|evaluation_epochs)"
        r"=\d+", r"\1=1", code)
    code = re.sub(r"\brange\(\d+\)", "range(1)", code)
    with uncompiled():
      exec(compile(code, f"{page}, of which this is\n{code}", "exec"), names)

  def run_command(self, command):
    """Runs a command, with less to do."""
    program, *argv = shlex.split(command, comments=True)
    if program.startswith("l2l-"):
      name = program.removeprefix("l2l-")
      argv = [a.replace("=DIR", f"={self.folder}") for a in argv]
      start = re.search(r"--init=(runs/([\w-]+)-\d+)", command)
      if start and not pathlib.Path(start[1]).exists():  # Of another card.
        shutil.copytree(ROOT / "trained" / start[2], start[1])
      argv = self.with_few_problems(argv)
      if re.search("--recipe=general|--min_num_steps", command):
        argv += ["--min_num_steps=1"]
      if "--optimizer=all" in argv:
        argv += ["--optimizer=L2L,Sgd", "--tune"]
      if "--tune" in argv:
        argv += ["--tuning_epochs=1"]
      # Drawing traces a graph for each coordinate if it is eager.
      with uncompiled(eager="--plot_updates" not in command):
        self.assert_done(programs.run(name, *argv, *FLAGS[name]))
    elif program == "python":  # A benchmark, which takes minutes.
      self.assertEqual(argv[0], "-m")
      self.assertTrue((ROOT / f"{argv[1].replace('.', '/')}.py").exists())
    elif not program.startswith(".venv/bin/"):
      self.assertIn(program, OTHERS)

  def with_few_problems(self, argv):
    """The arguments, with two small problems in place of many."""
    lists = {"problem": ["simple"]}
    for a in argv:
      if match := re.fullmatch("--(problem|problem_weights)=(.*)", a):
        lists[match[1]] = match[2].split(",")
    names = experiments.expand(lists["problem"])
    if len(names) < 3:
      return argv
    for name in names:
      experiments.get(name)
    if "problem_weights" in lists:
      self.assertLen(lists["problem_weights"], len(names))
      argv = [*argv, "--problem_weights=1,2"]
    return [*argv, "--problem=small-6,small-10"]


class TextTest(parameterized.TestCase):

  @parameterized.parameters(*PAGES, *API_PAGES, RESULTS)
  def test_links_lead_somewhere(self, page):
    path = ROOT / page
    text = re.sub("```.*?```|`[^`]*`", "", path.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
      if "://" not in link:
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        self.assertTrue(target.exists(), link)
        if anchor:
          self.assertIn(anchor, anchors(target), link)

  @parameterized.parameters(*PAGES)
  def test_modules_that_are_named_exist(self, page):
    for path in re.findall(
        r"\b(?:l2lgd|meta|networks|problems|tests)/[\w/]*\.py\b",
        (ROOT / page).read_text()):
      self.assertTrue((ROOT / path).exists(), path)

  def test_results_of_the_readme_are_those_of_the_page(self):
    text = re.search("\n## Results\n.*?\n## ", (ROOT / "README.md").read_text(),
                     re.DOTALL)[0]
    found = {(row[0], cell) for row in rows(RESULTS) for cell in row}
    losses = re.findall(r"\| \**(\d+\.\d+)\** ?`?([\w-]*)", text)
    self.assertGreater(len(losses), 30)
    for loss, name in losses:  # The LSTM of the paper has no name there.
      self.assertIn((name or "LSTM", loss), found)

  def test_program_of_the_readme_is_the_example(self):
    example = (ROOT / "examples" / "rosenbrock.py").read_text()
    self.assertIn(("python", example), blocks("README.md"))

  @parameterized.parameters("train", "evaluate", "export", "reproduce")
  def test_table_of_the_readme_has_all_flags_and_their_defaults(self, name):
    table = rows("README.md")
    header, = (row for row in table
               if row[0] == "flag" and f"l2l-{name}" in row)
    column = header.index(f"l2l-{name}")
    listed = {row[0].removeprefix("--"): row[column]
              for row in table[table.index(header) + 2:]
              if len(row) == len(header) and row[column]}
    result = processes.run(f"{name}.py", "--help")
    self.assertEqual(result.stderr, "")
    known = dict(re.findall(r"^  --(?:\[no\])?(\w+): (.*?)(?=^  --|^$)",
                            result.stdout, re.DOTALL | re.MULTILINE))
    self.assertEqual(set(listed), set(known))
    for flag, text in known.items():
      default = re.search(r"\(default:\s+'?([^)']+)'?\)", text)
      if default:
        self.assertRegex(
            default[1],
            rf"(?<![\w.]){re.escape(listed[flag])}(\.0)?(?![\w.])", flag)
      else:
        self.assertEqual(listed[flag], "none", flag)


if __name__ == "__main__":
  absltest.main()
