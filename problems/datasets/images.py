"""Pictures and photographs from image files."""

import os
import pathlib

import numpy as np
from PIL import Image, ImageOps

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def read(path: str, size: int) -> np.ndarray:
  """Returns the central square of an image, resized.

  Args:
    path: An image file of any size.
    size: Pixels a side.

  Returns:
    Red, green and blue, uint8, shape [size, size, 3].

  Raises:
    ValueError: The file is not an image, or is broken.
    OSError: The file is not there.
  """
  path = os.path.expanduser(path)
  if not os.path.isfile(path):
    raise FileNotFoundError(f"No image {path}.")
  try:
    with Image.open(path) as file:
      upright = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
  except Exception as error:  # Broken files raise a SyntaxError, for instance.
    raise ValueError(
        f"{path} cannot be read as an image: {error!r}.") from error
  side = min(upright.shape[:2])
  top, left = ((length - side) // 2 for length in upright.shape[:2])
  return resize(upright[top:top + side, left:left + side], size)


def read_folder(folder: str, size: int) -> np.ndarray:
  """Returns all images of a folder, in the order of their names.

  Args:
    folder: Its path. Other files in it are left out, and so are its folders.
    size: Pixels a side, to which the images are cropped and resized.

  Returns:
    The images, uint8, shape [n, size, size, 3].

  Raises:
    ValueError: There is no image, or one is broken.
    OSError: The folder is not there.
  """
  folder = os.path.expanduser(folder)
  if not os.path.isdir(folder):
    raise FileNotFoundError(f"No folder {folder}.")
  paths = [str(path) for path in sorted(pathlib.Path(folder).iterdir())
           if path.suffix.lower() in _SUFFIXES and path.is_file()]
  if not paths:
    raise ValueError(f"{folder} has no images. Put files there that end with "
                     f"one of {list(_SUFFIXES)}.")
  return np.stack([read(path, size) for path in paths])


def resize(square: np.ndarray, size: int) -> np.ndarray:
  """Returns a square image in another size.

  Args:
    square: Red, green and blue, uint8, shape [side, side, 3].
    size: Pixels a side.

  Returns:
    The image, uint8, shape [size, size, 3].
  """
  return np.asarray(Image.fromarray(square).resize(
      (size, size), Image.Resampling.LANCZOS))
