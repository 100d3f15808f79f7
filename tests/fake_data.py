"""Data sets of noise, in the form of the real ones."""

import os

import numpy as np
from PIL import Image

from problems import vgg


def write_cifar10(folder, per_batch=4, label=None):
  """Writes records of noise in the form of CIFAR-10; returns them by file."""
  rng = np.random.default_rng(0)
  records = {}
  for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
    batch = rng.integers(0, 256, [per_batch, 3073], np.uint8)
    batch[:, 0] = rng.integers(0, 10, per_batch) if label is None else label
    batch.tofile(f"{folder}/{name}")
    records[name] = batch
  return records


def write_mnist(folder):
  """Writes a data set of noise in the form of MNIST."""
  rng = np.random.default_rng(0)
  np.savez(
      f"{folder}/mnist.npz",
      x_train=rng.integers(0, 256, [24, 28, 28], np.uint8),
      y_train=rng.integers(0, 10, [24], np.uint8),
      x_test=rng.integers(0, 256, [3, 28, 28], np.uint8),
      y_test=rng.integers(0, 10, [3], np.uint8))


STYLES = "van_gogh_starry_night.png", "kandinsky_transverse_line.png"


def write_neural_art(folder, *names, image_size):
  """Writes arrays of photographs, pictures and a small VGG-19, all of noise."""
  rng = np.random.default_rng(0)
  np.savez(f"{folder}/content_images.npz", **{
      name: rng.integers(0, 256, [3, image_size, image_size, 3], np.uint8)
      for name in names})
  os.makedirs(f"{folder}/style", exist_ok=True)
  for name in STYLES:
    write_image(f"{folder}/style/{name}", rng.integers(0, 256, [20, 28, 3]))
  np.savez(f"{folder}/vgg19_conv.npz", **small_vgg())


def write_image(path, pixels):
  """Writes a picture, from numbers of 0 to 255."""
  Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def small_vgg():
  """Weights of a VGG-19 of noise, with 2 or 3 channels a layer."""
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
