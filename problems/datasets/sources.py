"""What the readers share: directories, splits, .npz files and downloads."""

from collections.abc import Sequence
import os
import shutil
import tarfile
import zipfile

import keras
import numpy as np

from l2lgd import files

SPLITS = ("train", "validation", "test")
DAMAGED = "It may be damaged: delete it, and copy or download it again."


def directory(data_dir: str | None, name: str, download: bool,
              of_keras: str = "datasets") -> str:
  """Returns the directory of a data set.

  Args:
    data_dir: The directory as the user gave it; `~` is the home directory. None
      is the directory of Keras, which only a download may use.
    name: Name of the data set, for the error.
    download: Whether the data set may be downloaded.
    of_keras: Where Keras has it, within its own directory.

  Raises:
    ValueError: `data_dir` is None, and nothing may be downloaded.
  """
  if data_dir is None:
    if not download:
      raise ValueError(
          f"data_dir is None, but must be the directory that holds {name}. "
          f"Set it with --data_dir, or have {name} downloaded with --download "
          "(in Python, download=True).")
    data_dir = os.path.join(
        os.environ.get("KERAS_HOME", "~/.keras"), of_keras)
  return os.path.expanduser(data_dir) or "."


def part(split: str, num_validation: int) -> slice:
  """Returns which images of a file belong to a split.

  Training and validation images share a file, in which the validation images
  come first. The test images have a file to themselves.

  Args:
    split: "train", "validation" or "test".
    num_validation: Number of validation images.
  """
  return {"train": slice(num_validation, None),
          "validation": slice(num_validation),
          "test": slice(None)}[split]


def read_npz(path: str, names: Sequence[str]) -> list[np.ndarray]:
  """Returns arrays of an .npz file by name; the others are not read.

  Raises:
    ValueError: The file is broken, or lacks an array.
    OSError: It cannot be opened.
  """
  with open(path, "rb") as file:
    if not zipfile.is_zipfile(file):
      raise ValueError(
          f"{path} is not an .npz file: it is not a zip archive. {DAMAGED}")
    file.seek(0)  # The check leaves it near the end.
    try:
      with np.load(file, allow_pickle=False) as arrays:
        missing = sorted(set(names) - set(arrays.files))
        if not missing:
          return [arrays[name] for name in names]
    except Exception as error:  # A broken header may even be a TokenError.
      raise ValueError(
          f"{path} cannot be read: {error!r}. {DAMAGED}") from error
  raise ValueError(f"{path} lacks the arrays {missing}.")


def has_array(path: str, name: str) -> bool:
  """Returns whether an .npz file, if it is one, has an array of this name."""
  try:
    with zipfile.ZipFile(path) as file:
      return f"{name}.npy" in file.namelist()
  except zipfile.BadZipFile:
    return False


def download(url: str, checksum: str, path: str, extract: bool = False) -> None:
  """Downloads a file or a folder. Nothing is at the path until it is complete.

  Of several processes, one downloads, and the others wait.

  Args:
    url: Where the file is.
    checksum: The checksum that it must have, SHA-256 or MD5.
    path: Where to put the file.
    extract: Whether the file is an archive that holds a folder. The folder must
      have the name in which the path ends, and is put there.

  Raises:
    OSError: The file could not be downloaded.
  """
  folder, name = os.path.split(path)
  scratch = os.path.join(folder, f".download-{name}")
  try:
    os.makedirs(folder, exist_ok=True)
    with files.in_turn(folder):
      if os.path.exists(path):  # Another process has downloaded it.
        return
      try:
        os.makedirs(scratch, exist_ok=True)  # Keras would take another folder.
        file = keras.utils.get_file(
            os.path.basename(url), url, file_hash=checksum, cache_dir=scratch,
            cache_subdir="")
        if extract:
          with tarfile.open(file) as archive:
            archive.extractall(scratch, filter="data")
          file = os.path.join(scratch, name)
        os.replace(file, path)
      finally:
        shutil.rmtree(scratch, ignore_errors=True)
  except Exception as error:  # Keras raises plain Exceptions.
    reason = str(error).rstrip(".")
    raise OSError(f"{url} could not be downloaded to {path}: {reason}. Put "
                  f"{name} there by hand.") from error
