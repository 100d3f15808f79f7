"""Reads data sets from files, and writes those that it downloads."""

import gzip
import math
import os
import struct
import tempfile
import zipfile
import zlib

import numpy as np
import tensorflow as tf

import checks

# As in `tf.keras.datasets.mnist`.
MNIST_URL = ("https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
             "mnist.npz")
MNIST_SHA256 = (
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1")


def mnist(data_dir: str | None, split: str,
          download: bool = False) -> tuple[np.ndarray, np.ndarray]:
  """Returns the images and labels of a part of MNIST.

  The files are `mnist.npz`, in the layout of Keras, or the original ones, such
  as `train-images-idx3-ubyte` or `train-images.idx3-ubyte.gz`.

  Args:
    data_dir: The directory that holds the files.
    split: "validation", the first 5,000 training images (in a smaller file, the
      first twelfth); "train", the others; or "test".
    download: Whether to download `mnist.npz` to the directory, by default that
      of Keras, if there is no file.

  Returns:
    The images, uint8, shape [n, 28, 28], and the labels, uint8, shape [n].

  Raises:
    ValueError: An argument is out of its range, or a file is broken.
    OSError: The files are not there, or could not be downloaded.
  """
  checks.one_of("split", split, ("train", "validation", "test"))
  if data_dir is None:
    if not download:
      raise ValueError(
          "data_dir is None, but must be the directory that holds MNIST. Give "
          "it with --data_dir, or let MNIST be downloaded with --download.")
    data_dir = os.path.join(
        os.environ.get("KERAS_HOME", "~/.keras"), "datasets")
  data_dir = os.path.expanduser(data_dir)
  images, labels = _read_mnist(data_dir, split == "test", download)
  num_validation = min(5000, len(images) // 12)
  part = {"validation": slice(num_validation),
          "train": slice(num_validation, None),
          "test": slice(None)}[split]
  if not len(images[part]):
    raise ValueError(
        f"split is {split!r}, but MNIST under {data_dir} has only "
        f"{len(images)} training images, and the twelfth part of them is none.")
  return images[part], labels[part]


def _read_mnist(data_dir: str, test: bool,
                download: bool) -> tuple[np.ndarray, np.ndarray]:
  """Returns all images and labels of the training or the test file."""
  npz = os.path.join(data_dir, "mnist.npz")
  idx = [_find_idx(data_dir, f"{'t10k' if test else 'train'}-{name}")
         for name in ("images-idx3-ubyte", "labels-idx1-ubyte")]
  if not os.path.exists(npz) and None in idx:
    if not download:
      raise FileNotFoundError(
          f"No MNIST under {data_dir}. Put mnist.npz (or the four IDX files) "
          "there, or let it be downloaded with --download.")
    _download(MNIST_URL, MNIST_SHA256, npz)
  if os.path.exists(npz):
    names = ("x_test", "y_test") if test else ("x_train", "y_train")
    sources = [f"{npz}, {name}" for name in names]
    images, labels = _read_npz(npz, names)
  else:
    sources = idx
    images, labels = (_read_idx(path) for path in idx)
  _check_mnist(images, labels, *sources)
  return images, labels


def _find_idx(data_dir: str, name: str) -> str | None:
  """Returns the path of an IDX file, by whichever name it is there."""
  for variant in (name, name.replace("-idx", ".idx")):
    for extension in ("", ".gz"):
      path = os.path.join(data_dir, variant + extension)
      if os.path.exists(path):
        return path
  return None


def _read_npz(path: str, names: tuple[str, ...]) -> list[np.ndarray]:
  """Returns arrays of an .npz file by name; the others are not read."""
  if not zipfile.is_zipfile(path):
    raise ValueError(f"{path} is not an .npz file: it is no zip archive.")
  try:
    with np.load(path, allow_pickle=False) as arrays:
      missing = sorted(set(names) - set(arrays.files))
      if not missing:
        return [arrays[name] for name in names]
  except Exception as error:  # A broken header may even be a TokenError.
    raise ValueError(f"{path} cannot be read: {error!r}.") from error
  raise ValueError(f"{path} lacks the arrays {missing}.")


def _read_idx(path: str) -> np.ndarray:
  """Returns the array of bytes of an IDX file (LeCun's MNIST page)."""
  try:
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
      content = file.read()
  except (OSError, EOFError, zlib.error) as error:
    raise ValueError(f"{path} cannot be read: {error!r}.") from error
  # Two zeros, the type (8 is uint8), the rank; big-endian sizes; the data.
  rank = 3 if "idx3" in os.path.basename(path) else 1
  magic = bytes([0, 0, 8, rank])
  if content[:4] != magic:
    raise ValueError(
        f"{path} begins with the bytes [{content[:4].hex(' ')}], but must "
        f"begin with [{magic.hex(' ')}].")
  start = 4 + 4 * rank
  if len(content) < start:
    raise ValueError(f"{path} ends within its header of {start} bytes.")
  shape = struct.unpack(f">{rank}I", content[4:start])
  if len(content) - start != math.prod(shape):
    raise ValueError(
        f"{path} has {len(content) - start} bytes of data, but must have "
        f"{math.prod(shape)} by its header.")
  return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _check_mnist(images: np.ndarray, labels: np.ndarray, images_source: str,
                 labels_source: str):
  """Raises a ValueError that names the source of what is wrong, if any."""
  if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
    raise ValueError(
        f"{images_source} is {images.dtype} of shape {list(images.shape)}, but "
        "must be uint8 of shape [n, 28, 28].")
  if labels.dtype != np.uint8 or labels.ndim != 1:
    raise ValueError(
        f"{labels_source} is {labels.dtype} of shape {list(labels.shape)}, but "
        "must be uint8 of shape [n].")
  if len(images) != len(labels):
    raise ValueError(
        f"{images_source} has {len(images)} images, but {labels_source} has "
        f"{len(labels)} labels.")
  if not len(images):
    raise ValueError(f"{images_source} has no images.")
  if labels.max() > 9:
    raise ValueError(
        f"{labels_source} has the label {labels.max()}, but must have 0 to 9.")


def _download(url: str, sha256: str, path: str):
  """Downloads a file; nothing is at the path until all of it has arrived."""
  directory, name = os.path.split(path)
  try:
    os.makedirs(directory, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
      os.replace(
          tf.keras.utils.get_file(name, url, file_hash=sha256,
                                  cache_dir=scratch, cache_subdir=""),
          path)
  except Exception as error:  # Keras raises bare ones.
    reason = str(error).rstrip(".")
    raise OSError(f"{url} could not be downloaded to {path}: {reason}. Put "
                  f"{name} there by hand.") from error
