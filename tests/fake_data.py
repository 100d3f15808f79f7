"""Data sets of noise, in the form of the real ones."""

import os

import numpy as np
from PIL import Image

from problems import vgg

STYLES = "van_gogh_starry_night.png", "kandinsky_transverse_line.png"


def write_cifar10(folder, per_batch=4, label=None):
  """Writes records of noise in the form of CIFAR-10; returns them by file.

  Args:
    folder: Where to write the files.
    per_batch: Number of images in each of the six files.
    label: The label of all images; by default random labels.
  """
  rng = np.random.default_rng(0)
  records = {}
  for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
    batch = rng.integers(0, 256, [per_batch, 3073], np.uint8)
    batch[:, 0] = rng.integers(0, 10, per_batch) if label is None else label
    batch.tofile(f"{folder}/{name}")
    records[name] = batch
  return records


def mnist_arrays(num_train=24, num_test=3):
  """Returns noise in the form of the arrays of mnist.npz."""
  rng = np.random.default_rng(0)
  return {"x_train": rng.integers(0, 256, [num_train, 28, 28], np.uint8),
          "y_train": rng.integers(0, 10, [num_train], np.uint8),
          "x_test": rng.integers(0, 256, [num_test, 28, 28], np.uint8),
          "y_test": rng.integers(0, 10, [num_test], np.uint8)}


def write_mnist(folder, **changes):
  """Writes noise in the form of MNIST, with other arrays where given."""
  np.savez(f"{folder}/mnist.npz", **{**mnist_arrays(), **changes})


def write_neural_art(folder, *names, image_size):
  """Writes photographs, two pictures and a small VGG-19, all of noise.

  Args:
    folder: Where to write the files.
    *names: Names of the arrays of photographs.
    image_size: Pixels a side of the photographs.
  """
  rng = np.random.default_rng(0)
  np.savez(f"{folder}/content_images.npz", **{
      name: rng.integers(0, 256, [3, image_size, image_size, 3], np.uint8)
      for name in names})
  os.makedirs(f"{folder}/style", exist_ok=True)
  for name in STYLES:
    write_image(f"{folder}/style/{name}", rng.integers(0, 256, [20, 28, 3]))
  np.savez(f"{folder}/vgg19_conv.npz", **small_vgg())


def write_image(path, pixels):
  """Writes a picture; the pixels are numbers of 0 to 255."""
  Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def small_vgg():
  """Returns random weights of a VGG-19 with 2 or 3 channels in each layer."""
  rng = np.random.default_rng(1)
  arrays = {"mean_rgb": np.float32([120., 110., 100.])}
  channels = 3
  for i, name in enumerate(vgg.LAYERS):
    outputs = 2 + i % 2
    arrays[f"{name}_w"] = rng.normal(
        0., (9 * channels / 2)**-0.5, [3, 3, channels, outputs]).astype("f4")
    arrays[f"{name}_b"] = rng.uniform(10., 20., [outputs]).astype("f4")
    channels = outputs
  return arrays
