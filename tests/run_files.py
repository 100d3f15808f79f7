"""The files of a run, and faults of the machine that writes them."""

import contextlib
import csv
import pathlib
import re
import resource

import numpy as np
import tensorflow as tf


def files(folder):
  """The bytes of each file in a folder by its path; None for a folder."""
  folder = pathlib.Path(folder)
  return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
          for p in folder.rglob("*")}


def scalars(folder):
  """What TensorBoard shows of a run, {tag: {step: value}}."""
  tags = {}
  # Their names are numbered in the order in which they were begun.
  for path in sorted(pathlib.Path(folder).glob("events.*"), key=lambda p: [
      int(n) for n in re.findall(r"\d+", p.name)]):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      for value in event.summary.value:
        tags.setdefault(value.tag, {})[event.step] = float(
            tf.make_ndarray(value.tensor))
  return tags


def read_losses(filename):
  """The rows of a CSV file, {(optimizer, run, step): loss}."""
  with open(filename, encoding="utf-8") as file:
    return {(row["optimizer"], int(row["run"]), int(row["step"])):
            np.float32(row["loss"]) for row in csv.DictReader(file)}


@contextlib.contextmanager
def full_disk(size):
  """Lets no file become larger, as if the disk were full."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
