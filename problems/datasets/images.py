"""Pictures and photographs from image files."""

import functools
import os
import pathlib

import numpy as np
from PIL import Image, ImageOps

# Pillow knows them, but reads them with other programs or not at all.
_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_MAX_16_BITS = 65535


def read(path: str, size: int) -> np.ndarray:
  """Returns the central square of an image, resized.

  Transparent pixels are shown on white. Grey levels of 16 bits are divided by
  257; floats must be from 0 to 1, or from 0 to 255.

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
      upright = _rgb(ImageOps.exif_transpose(file))
  except Exception as error:  # Broken files raise a SyntaxError, for instance.
    raise ValueError(
        f"{path} cannot be read as an image: {error!r}.") from error
  side = min(upright.shape[:2])
  top, left = ((length - side) // 2 for length in upright.shape[:2])
  return resize(upright[top:top + side, left:left + side], size)


def read_folder(folder: str, size: int) -> np.ndarray:
  """Returns all images of a folder, in the order of their names.

  Args:
    folder: Its path. Its image files are known by their endings, which are
      those that Pillow reads. Other files are left out, and so are folders and
      hidden files, whose names begin with a dot.
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
           if path.suffix.lower() in _suffixes() and path.is_file()
           and not path.name.startswith(".")]
  if not paths:
    raise ValueError(f"{folder} has no images. Put files there that end with "
                     f"one of {list(_suffixes())}.")
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


@functools.cache
def _suffixes() -> tuple[str, ...]:
  """Returns the endings of the files that Pillow reads, in lower case."""
  Image.init()
  return tuple(sorted(
      suffix for suffix, kind in Image.registered_extensions().items()
      if kind in Image.OPEN and kind not in _NOT_READ))


def _rgb(image: Image.Image) -> np.ndarray:
  """Returns the pixels of an image of any mode, uint8, shape [h, w, 3]."""
  if image.mode.startswith("I") or image.mode == "F":
    # `convert` would cut off what is above 255.
    grey = _bytes(np.asarray(image))  # [h, w]
    return np.repeat(grey[..., np.newaxis], 3, axis=-1)
  if image.has_transparency_data:
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image)
  return np.asarray(image.convert("RGB"))


def _bytes(levels: np.ndarray) -> np.ndarray:
  """Returns grey levels of another type as bytes."""
  low, high = np.min(levels), np.max(levels)
  is_float = np.issubdtype(levels.dtype, np.floating)
  # The comparison is false if a level is nan.
  if not (low >= 0 and high <= (255 if is_float else _MAX_16_BITS)):
    raise ValueError(
        f"its grey levels are from {low} to {high}, but must be from 0 to "
        + ("1 or 255" if is_float else f"{_MAX_16_BITS}"))
  if is_float:
    scale = 255. if high <= 1. else 1.
  else:
    scale = 255. / _MAX_16_BITS
  return np.round(levels * scale).astype(np.uint8)
