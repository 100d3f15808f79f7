"""Writes files whole or not at all."""

import contextlib
import os


def write_atomically(filename: str, data: bytes) -> None:
  """Writes a file whole or not at all.

  Args:
    filename: Where to write. An existing file is replaced once the new one is
      complete.
    data: The content of the file.

  Raises:
    OSError: The file cannot be written; an existing file is left as it was.
  """
  folder, name = os.path.split(filename)
  temporary = os.path.join(folder, f".{name}.tmp")
  try:
    with open(temporary, "wb") as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, filename)
  except BaseException as error:
    with contextlib.suppress(OSError):
      os.remove(temporary)
    if isinstance(error, OSError) and error.filename is None:
      error.filename = filename  # A full disk reports no file name.
    raise


def check_writable(filename: str) -> None:
  """Checks that a file can be written, before the work whose result it holds.

  Raises:
    ValueError: There is something other than a regular file, such as a folder
      or a device, which would be replaced.
    OSError: The file cannot be written.
  """
  exists = os.path.lexists(filename)
  if exists and not os.path.isfile(filename):
    raise ValueError(f"{filename} is not a file.")
  with open(filename, "ab"):
    pass
  if not exists:
    os.remove(filename)
