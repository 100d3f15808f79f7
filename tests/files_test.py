"""Tests of files that are written completely or not at all."""

import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized

from l2lgd import files


class FilesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory()))
    self.file = self.folder / "file"

  def in_folder(self):
    return sorted(os.listdir(self.folder))

  @parameterized.parameters(str, pathlib.Path)
  def test_file_holds_what_was_written_last(self, kind):
    for data in (b"abc", b"", b"d" * 100_000):
      files.write_atomically(kind(self.file), data)
      self.assertEqual(self.file.read_bytes(), data)
    self.assertEqual(self.in_folder(), ["file"])

  @parameterized.parameters("gs://bucket/run", "file:///tmp/run")
  def test_addresses_are_refused(self, path):
    for function in (files.expand, files.check_writable, files.make_folder):
      with self.assertRaisesRegex(
          ValueError, f"^'{path}' is an address, but must be a path"):
        function(path)

  def test_a_name_without_a_folder_is_in_the_current_one(self):
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(self.folder)
    files.write_atomically("file", b"abc")
    self.assertEqual(self.file.read_bytes(), b"abc")

  def test_leaves_no_temporary_file_where_it_cannot_write(self):
    self.file.mkdir()
    with self.assertRaises(OSError):
      files.write_atomically(self.file, b"abc")
    self.assertEqual(self.in_folder(), ["file"])

  def test_missing_folder_is_named(self):
    with self.assertRaisesRegex(FileNotFoundError, "missing"):
      files.write_atomically(self.folder / "missing" / "file", b"abc")

  @parameterized.parameters(OSError("full"), KeyboardInterrupt())
  def test_existing_file_survives_an_error(self, error):
    files.write_atomically(self.file, b"old")
    with mock.patch.object(os, "fsync", side_effect=error):
      with self.assertRaises(type(error)):
        files.write_atomically(self.file, b"new")
    self.assertEqual(self.file.read_bytes(), b"old")
    self.assertEqual(self.in_folder(), ["file"])

  def test_of_several_files_none_is_replaced_unless_all_are_complete(self):
    for name in ("one", "two"):
      files.write_atomically(self.folder / name, b"old")
    new = {self.folder / name: b"new" for name in ("one", "two")}
    with mock.patch.object(
        os, "fsync", side_effect=[None, OSError(28, "full")]):
      with self.assertRaises(OSError) as caught:
        files.write_together(new)
    self.assertEqual(caught.exception.filename, str(self.folder / "two"))
    self.assertEqual(self.in_folder(), ["one", "two"])
    for name in new:
      self.assertEqual(name.read_bytes(), b"old")
    files.write_together(new)
    for name in new:
      self.assertEqual(name.read_bytes(), b"new")

  def test_file_that_a_link_leads_to_is_written(self):
    link = self.folder / "link"
    link.symlink_to(self.file)
    files.write_atomically(link, b"new")
    self.assertTrue(link.is_symlink())
    self.assertEqual(self.file.read_bytes(), b"new")

  def test_errors_name_the_file_and_not_a_temporary_one(self):
    for function in ("fsync", "replace"):
      error = OSError(28, "full", "a temporary file")
      with mock.patch.object(os, function, side_effect=error):
        with self.assertRaises(OSError) as caught:
          files.write_atomically(str(self.file), b"new")
      self.assertEndsWith(str(caught.exception), f"full: '{self.file}'")

  def test_file_that_does_not_exist_is_writable_and_still_does_not(self):
    files.check_writable(self.file)
    self.assertEmpty(self.in_folder())

  def test_file_that_exists_is_writable_and_keeps_its_content(self):
    self.file.write_bytes(b"abc")
    files.check_writable(str(self.file))
    self.assertEqual(self.file.read_bytes(), b"abc")

  def test_file_in_a_missing_folder_is_not_writable(self):
    folder = self.folder / "missing"
    with self.assertRaises(FileNotFoundError) as caught:
      files.check_writable(folder / "file")
    self.assertEqual(caught.exception.filename, str(folder))

  def test_file_in_a_folder_without_permission_is_not_writable(self):
    self.file.write_bytes(b"abc")
    with mock.patch.object(
        tempfile, "TemporaryFile", side_effect=PermissionError) as make:
      with self.assertRaises(PermissionError):
        files.check_writable(self.file)
    make.assert_called_once_with(dir=str(self.folder))
    self.assertEqual(self.file.read_bytes(), b"abc")

  def test_folder_is_made_and_empty(self):
    files.make_folder(self.folder / "new" / "one")
    files.make_folder(self.folder / "new" / "one")
    self.assertEmpty(os.listdir(self.folder / "new" / "one"))

  def test_folder_in_a_file_is_not_made(self):
    self.file.write_bytes(b"abc")
    with self.assertRaises(OSError):
      files.make_folder(self.file)

  def test_only_regular_files_are_writable(self):
    self.file.mkdir()
    link = self.folder / "link"
    link.symlink_to(self.folder / "nowhere")
    for filename in (self.file, link, os.devnull):
      with self.assertRaisesRegex(
          ValueError, f"^{filename} exists, but is not a regular file"):
        files.check_writable(filename)
    self.assertEqual(self.in_folder(), ["file", "link"])

  def test_only_one_at_a_time_has_a_locked_folder(self):
    with files.locked("save_path", self.folder):
      with self.assertRaisesRegex(
          ValueError, f"^save_path is {self.folder}, to which another program "
          "is writing: wait until it has ended"):
        with files.locked("save_path", self.folder):
          pass
    with files.locked("save_path", self.folder):
      pass
    self.assertEmpty(self.in_folder())

  def test_folder_on_a_file_system_without_locks_is_used(self):
    with mock.patch.object(files.fcntl, "flock", side_effect=OSError(38, "No")):
      with files.locked("save_path", self.folder):
        pass


if __name__ == "__main__":
  absltest.main()
