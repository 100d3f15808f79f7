"""CIFAR-10: 60,000 photographs of ten classes, 32 x 32 pixels."""

import os

import numpy as np

from l2lgd import checks
from problems.datasets import sources

# The official address and its checksum.
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
_FOLDER = "cifar-10-batches-bin"
_PYTHON_FOLDER = "cifar-10-batches-py"  # Pickles, which could run any code.
_REMEDY = (f"Delete the .bin files, with their folder {_FOLDER} if they are in "
           "one, and download them again, for instance with --download.")
_RECORD = 1 + 3 * 32 * 32  # Bytes: the label; red, green and blue.


def read(data_dir: str | None, split: str,
         download: bool = False) -> tuple[np.ndarray, np.ndarray]:
  """Returns the images and labels of a split of CIFAR-10.

  The files are those of the official binary version: `data_batch_1.bin` to
  `data_batch_5.bin`, and `test_batch.bin`, in the folder
  `cifar-10-batches-bin` or in the directory itself.

  Args:
    data_dir: The directory that holds the files or the folder.
    split: "validation", the first tenth of the training images; "train", the
      others; or "test".
    download: Whether to download the folder to the directory if it holds
      neither. The default directory is then that of Keras.

  Returns:
    The images, uint8, shape [n, 32, 32, 3], and the labels, uint8, shape [n].

  Raises:
    ValueError: An argument is out of its range, or a file is broken.
    OSError: The files are not there, or could not be downloaded.
  """
  checks.one_of("split", split, sources.SPLITS)
  data_dir = sources.directory(data_dir, "CIFAR-10", download)
  names = ["test_batch.bin"] if split == "test" else [
      f"data_batch_{i}.bin" for i in range(1, 6)]
  folder = _find_folder(data_dir, names[0], download)
  records = np.concatenate(
      [_read_batch(os.path.join(folder, name)) for name in names])
  records = records[sources.part(split, len(records) // 10)]
  if not len(records):
    raise ValueError(f"split is {split!r}, but CIFAR-10 under {data_dir} has "
                     "fewer than ten training images.")
  images = records[:, 1:].reshape([-1, 3, 32, 32]).transpose([0, 2, 3, 1])
  return np.ascontiguousarray(images), records[:, 0]


def _find_folder(data_dir: str, name: str, download: bool) -> str:
  """Returns the folder that holds the batches, of which `name` is one."""
  folder = os.path.join(data_dir, _FOLDER)
  if os.path.isdir(folder):
    return folder
  if os.path.exists(os.path.join(data_dir, name)):
    return data_dir
  if not download:
    python = [name for name in (_PYTHON_FOLDER, "data_batch_1")
              if os.path.exists(os.path.join(data_dir, name))]
    found = (f"Only its version for Python ({python[0]}) is there, but the "
             f"binary version ({URL}) is needed. " if python else "")
    raise FileNotFoundError(
        f"No CIFAR-10 under {data_dir}. {found}Put the folder {_FOLDER} there, "
        "or have it downloaded with --download (in Python, download=True).")
  sources.download(URL, SHA256, folder, extract=True)
  return folder


def _read_batch(path: str) -> np.ndarray:
  """Returns the records of a batch, [n, 3073]."""
  if not os.path.exists(path):
    raise FileNotFoundError(
        f"No {path}: the files of CIFAR-10 are incomplete. {_REMEDY}")
  size = os.path.getsize(path)
  if not size or size % _RECORD:
    raise ValueError(
        f"{path} has {size} bytes, but must have {_RECORD} for each image: it "
        f"may be truncated. {_REMEDY}")
  records = np.fromfile(path, np.uint8).reshape([-1, _RECORD])
  if records[:, 0].max() > 9:
    raise ValueError(f"{path} has the label {records[:, 0].max()}, but labels "
                     "must be 0 to 9.")
  return records
