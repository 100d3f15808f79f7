"""Photographs that are to be painted in the style of a picture."""

import os

import numpy as np

from l2lgd import checks
from problems.datasets import images, sources

_ARRAYS = {"train": "train", "validation": "valid", "test": "test"}
_SIZE = 64  # Arrays of another size have it in their name: `test128`.


def read(data_dir: str | None, split: str, size: int) -> np.ndarray:
  """Returns the photographs of a split.

  They are in `content_images.npz`, as the arrays `train`, `valid` and `test`
  (64 pixels a side) or, for instance, `test128` (128 pixels a side). Without
  that file they are in the folders `content/train`, `content/validation` and
  `content/test`. Photographs of another size are resized.

  Args:
    data_dir: The directory that holds the file or the folders.
    split: "train", "validation" or "test".
    size: Pixels a side.

  Returns:
    The images, uint8, shape [n, size, size, 3].

  Raises:
    ValueError: An argument is out of its range, or a file is broken.
    OSError: The files are not there.
  """
  checks.one_of("split", split, sources.SPLITS)
  if data_dir is None:
    raise ValueError(
        "data_dir is None, but must be the directory that holds the content "
        "images. Set it (in a command, with --data_dir).")
  data_dir = os.path.expanduser(data_dir)
  npz = os.path.join(data_dir, "content_images.npz")
  if os.path.exists(npz):
    return _read_npz(npz, _ARRAYS[split], size)
  folder = os.path.join(data_dir, "content", split)
  if not os.path.isdir(folder):
    raise FileNotFoundError(
        f"No content images under {data_dir}. Put content_images.npz there, "
        f"or images into {folder}.")
  return images.read_folder(folder, size)


def _read_npz(npz: str, name: str, size: int) -> np.ndarray:
  """Returns an array of images, resized if there is none of this size."""
  actual_size = _SIZE
  if sources.has_array(npz, f"{name}{size}"):
    name, actual_size = f"{name}{size}", size
  array, = sources.read_npz(npz, (name,))
  if (array.dtype != np.uint8
      or array.shape[1:] != (actual_size, actual_size, 3)):
    raise ValueError(
        f"{npz}, {name} is {array.dtype} of shape {list(array.shape)}, but "
        f"must be uint8 of shape [n, {actual_size}, {actual_size}, 3].")
  if not len(array):
    raise ValueError(f"{npz}, {name} has no images.")
  if actual_size == size:
    return array
  return np.stack([images.resize(image, size) for image in array])
