"""MNIST: 70,000 handwritten digits of 28 x 28 grey pixels."""

import gzip
import math
import os
import struct
import zlib

import numpy as np

from l2lgd import checks
from problems.datasets import sources

# Keras downloads the same file.
URL = ("https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
       "mnist.npz")
SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
_MAX_VALIDATION = 5000


def read(data_dir: str | None, split: str,
         download: bool = False) -> tuple[np.ndarray, np.ndarray]:
  """Returns the images and labels of a split of MNIST.

  The files are either `mnist.npz`, in the layout of Keras, or the original IDX
  files, such as `train-images-idx3-ubyte` or `train-images.idx3-ubyte.gz`.

  Args:
    data_dir: The directory that holds the files.
    split: "validation", the first 5,000 training images (or the first twelfth,
      if that is less); "train", the other training images; or "test".
    download: Whether to download `mnist.npz` to the directory if it holds no
      such files. The default directory is then that of Keras.

  Returns:
    The images, uint8, shape [n, 28, 28], and the labels, uint8, shape [n].

  Raises:
    ValueError: An argument is out of its range, or a file is broken.
    OSError: The files are not there, or could not be downloaded.
  """
  checks.one_of("split", split, sources.SPLITS)
  data_dir = sources.directory(data_dir, "MNIST", download)
  images, labels = _read_all(data_dir, split == "test", download)
  part = sources.part(split, min(_MAX_VALIDATION, len(images) // 12))
  if not len(images[part]):
    raise ValueError(
        f"split is {split!r}, but MNIST under {data_dir} has only "
        f"{len(images)} training images, too few to set a twelfth aside.")
  return images[part], labels[part]


def _read_all(data_dir: str, test: bool,
              download: bool) -> tuple[np.ndarray, np.ndarray]:
  """Returns all images and labels of the training or the test file."""
  npz = os.path.join(data_dir, "mnist.npz")
  if not os.path.exists(npz):
    idx = _find_idx_files(data_dir, test)
    if idx is not None:
      return _checked(_read_idx(idx[0]), _read_idx(idx[1]), *idx)
    if not download:
      raise FileNotFoundError(
          f"No MNIST under {data_dir}. Put mnist.npz (or the four IDX files) "
          "there, or have it downloaded with --download (in Python, "
          "download=True).")
    sources.download(URL, SHA256, npz)
  names = ("x_test", "y_test") if test else ("x_train", "y_train")
  images, labels = sources.read_npz(npz, names)
  return _checked(images, labels, f"{npz}, {names[0]}", f"{npz}, {names[1]}")


def _find_idx_files(data_dir: str, test: bool) -> tuple[str, str] | None:
  """Returns the paths of the images and the labels, if both are there."""
  prefix = "t10k" if test else "train"
  images = _find(data_dir, f"{prefix}-images-idx3-ubyte")
  labels = _find(data_dir, f"{prefix}-labels-idx1-ubyte")
  return None if images is None or labels is None else (images, labels)


def _find(data_dir: str, name: str) -> str | None:
  """Returns the path of an IDX file, under any of its usual names."""
  for variant in (name, name.replace("-idx", ".idx")):
    for extension in ("", ".gz"):
      path = os.path.join(data_dir, variant + extension)
      if os.path.exists(path):
        return path
  return None


def _read_idx(path: str) -> np.ndarray:
  """Returns the bytes of an IDX file, as LeCun's MNIST page describes it."""
  try:
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
      content = file.read()
  except (gzip.BadGzipFile, EOFError, zlib.error) as error:
    raise ValueError(
        f"{path} cannot be read: {error!r}. {sources.DAMAGED}") from error
  # Two zeros, the type (8 is uint8), the rank; big-endian sizes; the data.
  rank = 3 if "idx3" in os.path.basename(path) else 1
  magic = bytes([0, 0, 8, rank])
  if content[:4] != magic:
    raise ValueError(
        f"{path} begins with the bytes [{content[:4].hex(' ')}], but must "
        f"begin with [{magic.hex(' ')}]. {sources.DAMAGED}")
  start = 4 + 4 * rank
  if len(content) < start:
    raise ValueError(f"{path} ends within its header of {start} bytes. "
                     f"{sources.DAMAGED}")
  shape = struct.unpack(f">{rank}I", content[4:start])
  if len(content) - start != math.prod(shape):
    raise ValueError(
        f"{path} has {len(content) - start} bytes of data, but must have "
        f"{math.prod(shape)} according to its header. {sources.DAMAGED}")
  return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _checked(images: np.ndarray, labels: np.ndarray, images_origin: str,
             labels_origin: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns the arrays, or raises a ValueError that names a wrong one's origin.
  """
  if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
    raise ValueError(
        f"{images_origin} is {images.dtype} of shape {list(images.shape)}, but "
        "must be uint8 of shape [n, 28, 28].")
  if labels.dtype != np.uint8 or labels.ndim != 1:
    raise ValueError(
        f"{labels_origin} is {labels.dtype} of shape {list(labels.shape)}, but "
        "must be uint8 of shape [n].")
  if len(images) != len(labels):
    raise ValueError(
        f"{images_origin} has {len(images)} images, but {labels_origin} has "
        f"{len(labels)} labels.")
  if not len(images):
    raise ValueError(f"{images_origin} has no images.")
  if labels.max() > 9:
    raise ValueError(f"{labels_origin} has the label {labels.max()}, but "
                     "labels must be 0 to 9.")
  return images, labels
