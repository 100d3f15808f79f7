"""Tests of `export.py`, run in the process of the tests."""

import contextlib
import os
import tempfile

from absl.testing import absltest, parameterized
import tensorflow as tf

from tests import programs, run_files


class ExportTest(programs.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())
    self.output = os.path.join(self.folder, "exported")

  def test_network_is_exported(self):
    path = os.path.join(self.folder, "run")
    programs.save_network(path)
    result = programs.run("export", f"--path={path}", f"--output={self.output}")
    self.assert_done(result)
    self.assertEqual(result.stdout, f"Exported cw to {self.output}.\n")
    self.assertCountEqual(tf.saved_model.load(self.output).signatures,
                          ["initial_state", "update"])

  @parameterized.parameters(
      ((), "--path is needed"),
      (("--path=paper-mnist",), "--output is needed"),
      (("--path=paper-mnist", "--output="), "output is '', but must be a path"),
      (("--path=no-such-network", "--output={output}"),
       "No trained optimizer 'no-such-network': .*'paper-mnist'"),
      (("--path=paper-mnist", "--output={folder}/file"),
       "output is .*/file, which exists"),
      (("--path=paper-mnist", "--output={folder}/file/exported"), "/file"),
      (("--path={folder}", "--output={output}"), "{folder}"),
      (("--colour=red",), "flag 'colour'"),
      (("paper-mnist",), "'paper-mnist' is not a flag: write --name=value"))
  def test_mistake_is_reported_in_one_line(self, argv, message):
    with open(os.path.join(self.folder, "file"), "w", encoding="utf-8") as file:
      file.write("Unique.")
    names = {"folder": self.folder, "output": self.output}
    with contextlib.chdir(self.folder):
      result = programs.run("export", *(arg.format(**names) for arg in argv))
    self.assert_error(result, message.format(**names))
    self.assertEqual(result.stdout, "")
    self.assertEqual(run_files.files(self.folder), {"file": b"Unique."})


if __name__ == "__main__":
  absltest.main()
