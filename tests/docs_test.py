"""Tests that every block of code in the documentation runs."""

import contextlib
import functools
import io
import os
import pathlib
import re
import shlex
import tempfile

from absl.testing import absltest, parameterized
import numpy as np

from tests import fake_data, processes

# Appended to the commands; of a flag that is there twice, the last one counts.
SMALL = ("--num_epochs=1", "--num_steps=2", "--jit_compile=false")
FLAGS = {
    "train.py": (*SMALL, "--unroll_length=2", "--evaluation_epochs=1"),
    "evaluate.py": (*SMALL, "--tuning_epochs=1"),
    "export.py": ()}
PAGES = ["README.md", *(
    f"docs/{page.name}" for page in (processes.ROOT / "docs").glob("*.md"))]

setUpModule = processes.start


class DocsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())
    fake_data.write_mnist(self.folder)
    fake_data.write_cifar10(self.folder, per_batch=40)
    fake_data.write_neural_art(
        self.folder, "train", "valid", "test", image_size=64)
    os.symlink(processes.ROOT / "trained", f"{self.folder}/trained")
    self.enter_context(contextlib.chdir(self.folder))
    self.enter_context(contextlib.redirect_stdout(io.StringIO()))

  @parameterized.parameters(*PAGES)
  def test_code_runs_from_top_to_bottom(self, page):
    names = {}
    for language, code in re.findall(
        r"^```(\w*)\n(.*?)^```", (processes.ROOT / page).read_text(),
        re.DOTALL | re.MULTILINE):
      if language == "python":
        file = re.match(r"# (\w+\.py)\n", code)  # The name of a module.
        if file:
          pathlib.Path(file[1]).write_text(code)
        exec(compile(code, f"{page}, of which this is\n{code}", "exec"), names)
      else:
        self.assertEqual(language, "sh")
        for command in code.replace("\\\n", "").splitlines():
          self.run_command(command)
    self.assertTrue(np.isfinite(names.get("losses", 0.)).all())

  def run_command(self, command):
    """Runs a command of a page, with less to do."""
    program, *argv = shlex.split(command, comments=True)
    if program == "python":
      argv = [a.replace("=DIR", f"={self.folder}") for a in argv]
      argv += FLAGS[argv[0]]
      if "--optimizer=all" in argv:
        argv += ["--optimizer=L2L,Sgd", "--tune"]
      result = processes.run(
          *argv, before=functools.partial(os.chdir, self.folder))
      self.assertEqual((result.code, result.stderr), (0, ""), command)
    else:  # What installs or watches.
      self.assertIn(program, ("make", "source", "pip", "tensorboard"))


if __name__ == "__main__":
  absltest.main()
