"""Weights of VGG-19, trained on ImageNet."""

from collections.abc import Sequence
import os

import keras
import numpy as np

from problems.datasets import sources

# Keras downloads the same file.
URL = ("https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
       "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5")
MD5 = "253f8cb515780f3b799900260a226db6"
# The mean colour of ImageNet's training images, as in Keras.
_MEAN_RGB = (123.68, 116.779, 103.939)


def read(layers: Sequence[str], data_dir: str | None,
         download: bool = False) -> dict[str, np.ndarray]:
  """Returns the weights of the first convolutions of VGG-19.

  The file is `vgg19_conv.npz`, with the arrays `conv1_1_w` (height, width,
  inputs, outputs), `conv1_1_b`, and so on, and `mean_rgb`. The layers may have
  any number of channels. The file of Keras is read, too; it ends in
  `_notop.h5`.

  Args:
    layers: Names of the first convolutions, such as "conv1_1", in their order.
    data_dir: The directory that holds the file.
    download: Whether to download the file of Keras to the directory if it holds
      neither. The default directory is then that of Keras.

  Returns:
    Arrays of float32 by name: for each layer `<layer>_w`, shape
    [3, 3, inputs, outputs], and `<layer>_b`, shape [outputs]; and `mean_rgb`,
    shape [3], the colour to subtract from pixels of 0 to 255.

  Raises:
    ValueError: An argument is out of its range, or the file is broken.
    OSError: The file is not there, or could not be downloaded.
  """
  data_dir = sources.directory(data_dir, "VGG-19", download, "models")
  npz = os.path.join(data_dir, "vgg19_conv.npz")
  if os.path.exists(npz):
    names = ["mean_rgb", *(f"{layer}_{kind}"
                           for layer in layers for kind in "wb")]
    arrays = dict(zip(names, sources.read_npz(npz, names)))
    _check(layers, arrays, npz)
  else:
    arrays = _read_keras(layers, data_dir, download)
  return {name: array.astype(np.float32) for name, array in arrays.items()}


def _check(layers: Sequence[str], arrays: dict[str, np.ndarray],
           path: str) -> None:
  """Raises a ValueError if the arrays do not fit these layers."""
  shapes: dict[str, tuple[int, ...]] = {"mean_rgb": (3,)}
  channels = 3
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


def _read_keras(layers: Sequence[str], data_dir: str,
                download: bool) -> dict[str, np.ndarray]:
  """Returns the weights in the file of Keras."""
  path = os.path.join(data_dir, os.path.basename(URL))
  if not os.path.exists(path):
    if not download:
      raise FileNotFoundError(
          f"No VGG-19 under {data_dir}. Put vgg19_conv.npz there, or have "
          "the weights of Keras downloaded with --download (in Python, "
          "download=True).")
    sources.download(URL, MD5, path)
  try:
    model = keras.applications.VGG19(weights=path, include_top=False)
  except Exception as error:  # Of Keras or of h5py.
    raise ValueError(
        f"{path} cannot be read: {error!r}. {sources.DAMAGED}") from error
  arrays = {"mean_rgb": np.array(_MEAN_RGB)}
  for layer in layers:
    block, number = layer.removeprefix("conv").split("_")
    arrays[f"{layer}_w"], arrays[f"{layer}_b"] = model.get_layer(
        f"block{block}_conv{number}").get_weights()
  # The first layer of Keras takes blue, green, red.
  arrays["conv1_1_w"] = arrays["conv1_1_w"][:, :, ::-1]
  return arrays
