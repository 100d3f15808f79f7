"""Tests of problems that users name as "module:function"."""

import contextlib
import pathlib
import sys
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized

from meta import user_problems


class UserProblemsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())

  @parameterized.parameters(
      ("own_none:make", "no module 'own_none' in this folder or on PYTHONPATH"),
      (":make", "no module ''"),
      ("own.py:make", "must be the name of a module, not of a file, and of its "
       "function, such as my_problem:make"),
      ("folder/own:make", "must be the name of a module, not of a file"),
      ("tests.toys:", "has no function ''"),
      ("tests.none.toys:make", "no module 'tests.none'"),
      ("tests.toys:SEED", r"tests.toys \(.*toys.py\) has no function 'S"),
      ("wave:make", r"wave \(.*/wave.py\) has no function 'make'"),
      ("sys:make", "sys has no function 'make'"))
  def test_own_problem_that_is_none_is_told(self, name, message):
    with self.assertRaisesRegex(ValueError, f"^problem is {name!r}, .*{message}"
                               ):
      user_problems.find(name)[0]()

  def test_arguments_of_an_own_function_are_its_own(self):
    self.assertEqual(
        user_problems.find("tests.toys:Given")[1], ["w", "y", "x0"])

  @parameterized.parameters("random.py", "random/__init__.py")
  def test_own_file_that_another_module_hides_is_told_with_both(self, file):
    path = pathlib.Path(self.folder, file)
    path.parent.mkdir(exist_ok=True)
    path.write_text("def make():\n  pass\n")
    self.enter_context(contextlib.chdir(self.folder))
    with self.assertRaisesRegex(
        ValueError, rf"^problem is 'random:make', but .*/{file} is hidden by "
        r"another module of this name, .*/random\.py: rename your file\."):
      user_problems.find("random:make")

  def test_own_file_that_is_found_may_be_named_like_others(self):
    pathlib.Path(self.folder, "tests").mkdir()  # Without Python in it.
    pathlib.Path(self.folder, "own_unhidden.py").write_text(
        "def make():\n  pass\n")
    self.enter_context(contextlib.chdir(self.folder))
    self.enter_context(mock.patch.object(sys, "path", [*sys.path, self.folder]))
    user_problems.find("own_unhidden:make")
    user_problems.find("tests.toys:Regression")

  def test_error_of_an_own_problem_is_told_with_its_place(self):
    folder = pathlib.Path(self.folder)
    (folder / "own_bad.py").write_text("import os\n\nprint(unknown)\n")
    (folder / "own_worse.py").write_text(
        "import numpy as np\n\ndef make():\n  np.ones('x')\n")
    self.enter_context(mock.patch.object(sys, "path", [*sys.path, self.folder]))
    with self.assertRaisesRegex(
        ValueError, "raises NameError at .*own_bad.py:3: .*'unknown'"):
      user_problems.find("own_bad:make")
    with self.assertRaisesRegex(
        ValueError, "raises TypeError at .*own_worse.py:4: "):
      user_problems.find("own_worse:make")[0]()
    (folder / "own_package").mkdir()
    (folder / "own_package" / "__init__.py").write_text("\nimport own_none\n")
    (folder / "own_package" / "module.py").write_text("")
    with self.assertRaisesRegex(
        ValueError, "raises ModuleNotFoundError at .*__init__.py:2: .*own_no"):
      user_problems.find("own_package.module:make")
    (folder / "own_typo.py").write_text("\n\ndef make(:\n")
    with self.assertRaisesRegex(
        ValueError, "raises SyntaxError at .*own_typo.py:3: "):
      user_problems.find("own_typo:make")
    (folder / "own_wrong.py").write_text(
        "import problems\n\ndef make():\n  return problems.Quadratic(0, 1)\n")
    with self.assertRaisesRegex(
        ValueError, "raises ValueError at .*own_wrong.py:4: "):
      user_problems.find("own_wrong:make")[0]()


if __name__ == "__main__":
  absltest.main()
