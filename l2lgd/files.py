"""Writes files completely or not at all, and locks folders."""

from collections.abc import Iterator, Mapping
import contextlib
import fcntl
import json
import os
import tempfile
from typing import Any

Path = str | os.PathLike[str]
"""A file or a folder; a leading ~ stands for the home directory."""


def expand(path: Path) -> str:
  """Returns a path in which ~ is replaced by the home directory.

  Raises:
    ValueError: The path is an address, of which TensorFlow would write one part
      elsewhere, and this library the other one here.
  """
  expanded = os.path.expanduser(os.fspath(path))
  if "://" in expanded:
    raise ValueError(f"{expanded!r} is an address, but must be a path on this "
                     "machine: give one, and copy the files.")
  return expanded


def check_not_empty(name: str, path: Path) -> None:
  """Raises a ValueError that names the argument if a path is empty."""
  if not os.fspath(path):
    raise ValueError(f"{name} is '', but must be a path.")


def expand_exact(name: str, path: Path) -> str:
  """Returns the expanded path of what TensorFlow is to write.

  TensorFlow reads some paths as patterns, and then deletes or overlooks other
  files than those that were meant.

  Args:
    name: The name of the argument, for the error.
    path: The path.

  Raises:
    ValueError: The path is empty, or has a character of patterns.
  """
  check_not_empty(name, path)
  expanded = expand(path)
  special = sorted(set(expanded) & set("*?[]\\"))
  if special:
    raise ValueError(
        f"{name} is {os.fspath(path)!r}, but must be without "
        f"{' '.join(special)}, which TensorFlow reads as a pattern.")
  return expanded


def write_atomically(filename: Path, data: bytes) -> None:
  """Writes a file completely or not at all; see `write_together`."""
  write_together({filename: data})


def write_together(contents: Mapping[Path, bytes]) -> None:
  """Writes files completely or not at all.

  Args:
    contents: The contents by file. Existing files are replaced once all new
      ones are complete; of a symbolic link, that is the file which it leads to.

  Raises:
    OSError: A file cannot be written; existing ones are left as they were.
  """
  temporaries: dict[str, str] = {}  # What replaces each file.
  filename = ""
  try:
    for path, data in contents.items():
      filename = os.path.realpath(expand(path))
      folder, name = os.path.split(filename)
      # Processes that write the same file at once do not meet in this one.
      temporaries[filename] = os.path.join(
          folder, f".{name}.{os.getpid()}.tmp")
      with open(temporaries[filename], "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    for filename, temporary in temporaries.items():
      os.replace(temporary, filename)
  except BaseException as error:
    for temporary in temporaries.values():
      with contextlib.suppress(OSError):
        os.remove(temporary)
    if isinstance(error, OSError):  # It names a temporary file, or none.
      raise type(error)(error.errno, error.strerror, filename) from error
    raise


def write_json(filename: Path, value: Any) -> None:
  """Writes a JSON value like `write_atomically`."""
  write_atomically(filename, json.dumps(value, indent=2).encode())


def check_writable(filename: Path) -> None:
  """Checks that a file can be written, before the work whose result it holds.

  Args:
    filename: The file. An existing file keeps its content, and none is left
      behind where there was none.

  Raises:
    ValueError: There is something other than a regular file, such as a folder
      or a device, which would be replaced.
    OSError: The file cannot be written.
  """
  filename = expand(filename)
  exists = os.path.lexists(filename)
  if exists and not os.path.isfile(filename):
    raise ValueError(f"{filename} exists, but is not a regular file: give "
                     "another name.")
  if exists:
    with open(filename, "ab"):
      pass
  _check_folder(os.path.dirname(os.path.realpath(filename)))


def make_folder(folder: Path) -> None:
  """Makes a folder, if there is none, in which files can be written.

  Raises:
    OSError: It cannot be made, or nothing can be written in it.
  """
  folder = expand(folder)
  os.makedirs(folder, exist_ok=True)
  _check_folder(folder)


def _check_folder(folder: str) -> None:
  """Raises an OSError if no file can be written in a folder."""
  try:
    with tempfile.TemporaryFile(dir=folder):
      pass
  except OSError as error:
    error.filename = folder  # Not the name of a temporary file.
    raise


@contextlib.contextmanager
def locked(name: str, folder: Path) -> Iterator[None]:
  """Keeps others from writing to a folder, if they use this, too.

  On a file system without locks, this does nothing.

  Args:
    name: The name of the argument, for the error.
    folder: The folder.

  Raises:
    ValueError: Another process, or another call, has locked it.
    OSError: There is no such folder.
  """
  descriptor = os.open(expand(folder), os.O_RDONLY)
  try:
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise ValueError(
          f"{name} is {os.fspath(folder)}, to which another program is "
          "writing: wait until it has ended, or give another folder."
      ) from None
    except OSError:  # There are no locks.
      pass
    yield
  finally:
    os.close(descriptor)


@contextlib.contextmanager
def in_turn(folder: Path) -> Iterator[None]:
  """Lets one process in at a time, if all use this; the others wait.

  On a file system without locks, this does nothing.

  Raises:
    OSError: There is no such folder.
  """
  descriptor = os.open(expand(folder), os.O_RDONLY)
  try:
    with contextlib.suppress(OSError):
      fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
  finally:
    os.close(descriptor)
