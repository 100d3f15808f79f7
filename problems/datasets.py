"""Reads data sets from files, and writes those that it downloads."""

import gzip
import math
import os
import pathlib
import struct
import tarfile
import tempfile
import zipfile
import zlib

import numpy as np
from PIL import Image, ImageOps
import tensorflow as tf

from l2lgd import checks

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
  data_dir = _directory(data_dir, "MNIST", download)
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


# The official address and its checksum.
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_SHA256 = (
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")
_CIFAR10_FOLDER = "cifar-10-batches-bin"
_CIFAR10_RECORD = 1 + 3 * 32 * 32  # Bytes: the label; red, green and blue.


def cifar10(data_dir: str | None, split: str,
            download: bool = False) -> tuple[np.ndarray, np.ndarray]:
  """Returns the images and labels of a part of CIFAR-10.

  The files are those of the official binary version: `data_batch_1.bin` to
  `data_batch_5.bin`, and `test_batch.bin`, in the folder
  `cifar-10-batches-bin` or in the directory itself.

  Args:
    data_dir: The directory that holds the files or the folder.
    split: "validation", the first tenth of the training images; "train", the
      others; or "test".
    download: Whether to download the folder to the directory, by default that
      of Keras, if there is none.

  Returns:
    The images, uint8, shape [n, 32, 32, 3], and the labels, uint8, shape [n].

  Raises:
    ValueError: An argument is out of its range, or a file is broken.
    OSError: The files are not there, or could not be downloaded.
  """
  checks.one_of("split", split, ("train", "validation", "test"))
  data_dir = _directory(data_dir, "CIFAR-10", download)
  names = ["test_batch.bin"] if split == "test" else [
      f"data_batch_{i}.bin" for i in range(1, 6)]
  folder = os.path.join(data_dir, _CIFAR10_FOLDER)
  if not os.path.isdir(folder):
    if os.path.exists(os.path.join(data_dir, names[0])):
      folder = data_dir
    elif download:
      _download(CIFAR10_URL, CIFAR10_SHA256, folder, extract=True)
    else:
      raise FileNotFoundError(
          f"No CIFAR-10 under {data_dir}. Put the folder {_CIFAR10_FOLDER} "
          "there, or let it be downloaded with --download.")
  records = np.concatenate(
      [_read_cifar10(os.path.join(folder, name)) for name in names])
  num_validation = len(records) // 10
  records = {"validation": records[:num_validation],
             "train": records[num_validation:], "test": records}[split]
  if not len(records):
    raise ValueError(f"split is {split!r}, but CIFAR-10 under {data_dir} has "
                     "less than ten training images.")
  images = records[:, 1:].reshape([-1, 3, 32, 32]).transpose([0, 2, 3, 1])
  return np.ascontiguousarray(images), records[:, 0]


def _read_cifar10(path: str) -> np.ndarray:
  """Returns the records of a batch, [n, 3073]."""
  if not os.path.exists(path):
    raise FileNotFoundError(
        f"No {path}: the folder of CIFAR-10 is not complete.")
  size = os.path.getsize(path)
  if not size or size % _CIFAR10_RECORD:
    raise ValueError(
        f"{path} has {size} bytes, but must have {_CIFAR10_RECORD} for each "
        "image. It may be truncated: download it again.")
  records = np.fromfile(path, np.uint8).reshape([-1, _CIFAR10_RECORD])
  if records[:, 0].max() > 9:
    raise ValueError(
        f"{path} has the label {records[:, 0].max()}, but must have 0 to 9.")
  return records


def _directory(data_dir: str | None, name: str, download: bool) -> str:
  """Returns the directory of a data set, by default that of Keras."""
  if data_dir is None:
    if not download:
      raise ValueError(
          f"data_dir is None, but must be the directory that holds {name}. "
          f"Give it with --data_dir, or let {name} be downloaded with "
          "--download.")
    data_dir = os.path.join(
        os.environ.get("KERAS_HOME", "~/.keras"), "datasets")
  return os.path.expanduser(data_dir)


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


def _has_array(path: str, name: str) -> bool:
  """Returns whether an .npz file has an array of this name."""
  if not zipfile.is_zipfile(path):
    return False
  with zipfile.ZipFile(path) as file:
    return f"{name}.npy" in file.namelist()


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


def _download(url: str, sha256: str, path: str, extract: bool = False):
  """Downloads a file, or an archive of the folder of that name.

  Nothing is at the path until all of it has arrived.
  """
  directory, name = os.path.split(path)
  try:
    os.makedirs(directory, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
      file = tf.keras.utils.get_file(
          os.path.basename(url), url, file_hash=sha256, cache_dir=scratch,
          cache_subdir="")
      if extract:
        with tarfile.open(file) as archive:
          archive.extractall(scratch, filter="data")
        file = os.path.join(scratch, name)
      os.replace(file, path)
  except Exception as error:  # Keras raises bare ones.
    reason = str(error).rstrip(".")
    raise OSError(f"{url} could not be downloaded to {path}: {reason}. Put "
                  f"{name} there by hand.") from error


# Of a part of the content images, in their file.
_CONTENT_ARRAYS = {"train": "train", "validation": "valid", "test": "test"}
_CONTENT_SIZE = 64  # Those of another size have it in their name: `test128`.
_IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def content_images(data_dir: str | None, split: str,
                   image_size: int) -> np.ndarray:
  """Returns the photographs of a part, which are to be painted in a style.

  They are in `content_images.npz`, as the arrays `train`, `valid` and `test`
  (64 pixels a side) or, for instance, `test128` (128 pixels a side); or else
  in the folders `content/train`, `content/validation` and `content/test`. What
  is not there in the size that is asked for is resized.

  Args:
    data_dir: The directory that holds the file or the folders.
    split: "train", "validation" or "test".
    image_size: Pixels a side.

  Returns:
    The images, uint8, shape [n, image_size, image_size, 3].

  Raises:
    ValueError: An argument is out of its range, or a file is broken.
    OSError: The files are not there.
  """
  checks.one_of("split", split, _CONTENT_ARRAYS)
  if data_dir is None:
    raise ValueError(
        "data_dir is None, but must be the directory that holds the content "
        "images. Give it with --data_dir.")
  data_dir = os.path.expanduser(data_dir)
  npz = os.path.join(data_dir, "content_images.npz")
  folder = os.path.join(data_dir, "content", split)
  if not os.path.exists(npz):
    if not os.path.isdir(folder):
      raise FileNotFoundError(
          f"No content images under {data_dir}. Put content_images.npz there, "
          f"or images into {folder}.")
    return image_folder(folder, image_size)
  name, size = _CONTENT_ARRAYS[split], _CONTENT_SIZE
  if _has_array(npz, f"{name}{image_size}"):
    name, size = f"{name}{image_size}", image_size
  images, = _read_npz(npz, (name,))
  if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
    raise ValueError(
        f"{npz}, {name} is {images.dtype} of shape {list(images.shape)}, but "
        f"must be uint8 of shape [n, {size}, {size}, 3].")
  if not len(images):
    raise ValueError(f"{npz}, {name} has no images.")
  if size == image_size:
    return images
  return np.stack([_resized(Image.fromarray(i), image_size) for i in images])


def image_folder(folder: str, image_size: int) -> np.ndarray:
  """Returns all images of a folder, in the order of their names.

  Args:
    folder: Its path. Folders within it, and other files, are left out.
    image_size: Pixels a side, to which the images are cropped and resized.

  Returns:
    The images, uint8, shape [n, image_size, image_size, 3].

  Raises:
    ValueError: There is none, or one is broken.
    OSError: The folder is not there.
  """
  folder = os.path.expanduser(folder)
  if not os.path.isdir(folder):
    raise FileNotFoundError(f"No folder {folder}.")
  paths = [str(path) for path in sorted(pathlib.Path(folder).iterdir())
           if path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file()]
  if not paths:
    raise ValueError(f"{folder} has no images. Put files there that end with "
                     f"one of {list(_IMAGE_SUFFIXES)}.")
  return np.stack([image(path, image_size) for path in paths])


def image(path: str, image_size: int) -> np.ndarray:
  """Returns the central square of an image, resized.

  Args:
    path: An image file of any size.
    image_size: Pixels a side.

  Returns:
    Red, green and blue, uint8, shape [image_size, image_size, 3].

  Raises:
    ValueError: It is not an image, or broken.
    OSError: The file is not there.
  """
  path = os.path.expanduser(path)
  if not os.path.isfile(path):
    raise FileNotFoundError(f"No image {path}.")
  try:
    with Image.open(path) as file:
      upright = ImageOps.exif_transpose(file).convert("RGB")
  except Exception as error:  # Broken files raise a SyntaxError, for instance.
    raise ValueError(
        f"{path} cannot be read as an image: {error!r}.") from error
  side = min(upright.size)
  left, top = ((length - side) // 2 for length in upright.size)
  square = upright.crop((left, top, left + side, top + side))
  return _resized(square, image_size)


def _resized(square: Image.Image, image_size: int) -> np.ndarray:
  return np.asarray(
      square.resize((image_size, image_size), Image.Resampling.LANCZOS))


def vgg19(layers: tuple[str, ...], data_dir: str | None,
          download: bool = False) -> dict[str, np.ndarray]:
  """Returns weights of VGG-19, trained on ImageNet.

  The file is `vgg19_conv.npz`, with the arrays `conv1_1_w` (height, width,
  inputs, outputs), `conv1_1_b`, and so on, and `mean_rgb`. It may have any
  number of channels.

  Args:
    layers: Names of the first convolutions, such as "conv1_1", in their order.
    data_dir: The directory that holds the file.
    download: Whether to let Keras download its weights, if there is no file.

  Returns:
    By name, float32: for each layer `<layer>_w`, shape [3, 3, inputs, outputs],
    and `<layer>_b`, shape [outputs]; and `mean_rgb`, shape [3], to be taken
    from pixels of 0 to 255 in the order red, green, blue.

  Raises:
    ValueError: An argument is out of its range, or the file is broken.
    OSError: The file is not there, or could not be downloaded.
  """
  if data_dir is None and not download:
    raise ValueError(
        "data_dir is None, but must be the directory that holds VGG-19. Give "
        "it with --data_dir, or let VGG-19 be downloaded with --download.")
  npz = os.path.join(os.path.expanduser(data_dir or ""), "vgg19_conv.npz")
  if data_dir is not None and os.path.exists(npz):
    names = ("mean_rgb", *(f"{layer}_{kind}"
                           for layer in layers for kind in "wb"))
    arrays = dict(zip(names, _read_npz(npz, names)))
    _check_vgg19(layers, arrays, npz)
  elif download:
    arrays = _keras_vgg19(layers)
  else:
    raise FileNotFoundError(
        f"No VGG-19 under {data_dir}. Put vgg19_conv.npz there, or let it be "
        "downloaded with --download.")
  return {name: array.astype(np.float32) for name, array in arrays.items()}


def _check_vgg19(layers: tuple[str, ...], arrays: dict[str, np.ndarray],
                 path: str):
  """Raises a ValueError if the arrays are not those of such layers."""
  shapes, channels = {"mean_rgb": (3,)}, 3
  for layer in layers:
    outputs = arrays[f"{layer}_b"].size
    shapes[f"{layer}_w"] = (3, 3, channels, outputs)
    shapes[f"{layer}_b"] = (outputs,)
    channels = outputs
  for name, shape in shapes.items():
    array = arrays[name]
    if array.dtype.kind != "f" or array.shape != shape:
      raise ValueError(
          f"{path}, {name} is {array.dtype} of shape {list(array.shape)}, but "
          f"must be floats of shape {list(shape)}.")
    if not np.isfinite(array).all():
      raise ValueError(f"{path}, {name} has values that are not finite.")


def _keras_vgg19(layers: tuple[str, ...]) -> dict[str, np.ndarray]:
  """Returns the weights that Keras has, downloaded if they are not there."""
  try:
    model = tf.keras.applications.VGG19(weights="imagenet", include_top=False)
  except Exception as error:  # Keras raises bare ones.
    reason = str(error).rstrip(".")
    raise OSError(f"VGG-19 could not be downloaded: {reason}. Put "
                  "vgg19_conv.npz into --data_dir by hand.") from error
  # Of ImageNet's training images, as in Keras: red, green, blue.
  arrays = {"mean_rgb": np.float32([123.68, 116.779, 103.939])}
  for layer in layers:
    block, number = layer.removeprefix("conv").split("_")
    arrays[f"{layer}_w"], arrays[f"{layer}_b"] = model.get_layer(
        f"block{block}_conv{number}").get_weights()
  # Its first layer takes blue, green, red.
  arrays["conv1_1_w"] = arrays["conv1_1_w"][:, :, ::-1]
  return arrays
