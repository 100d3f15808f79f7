"""Curves and pictures for TensorBoard."""

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from l2lgd import files


def write_curves(folder: str, curves: Mapping[str, Iterable[Any]]) -> None:
  """Writes curves as one TensorBoard run.

  Args:
    folder: Folder of the run.
    curves: By tag, a value for each step.
  """
  writer = tf.summary.create_file_writer(files.expand(folder))
  with writer.as_default():
    for tag, curve in curves.items():
      write_curve(tag, curve)
  writer.close()


def write_curve(tag: str, curve: Iterable[Any]) -> None:
  """Writes a curve to the default writer, one value for each step."""
  for step, value in enumerate(curve):
    tf.summary.scalar(tag, value, step)


def write_picture(folder: str, tag: str, filename: str) -> None:
  """Writes a PNG file to a TensorBoard run."""
  writer = tf.summary.create_file_writer(files.expand(folder))
  with writer.as_default():
    picture = tf.io.decode_png(tf.io.read_file(files.expand(filename)))
    tf.summary.image(tag, picture[tf.newaxis], 0)
  writer.close()
