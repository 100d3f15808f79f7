"""What was computed, as files: for each optimizer its losses and a record."""

import hashlib
import io
import json
import os
import pathlib
import platform
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from l2lgd import devices, files
from meta import evaluation


class Record(NamedTuple):
  """The runs of one optimizer."""
  losses: np.ndarray  # Before each update and after the last, [N, T + 1]; N is
  # the number of runs times that of functions that a run optimizes together.
  options: dict[str, Any]  # Arguments of a hand-designed optimizer; empty for a
  # learned one.
  seconds: float  # Time of the search and of the runs.
  machine: str  # What computed them.
  versions: str  # With which software.

  @property
  def final_losses(self) -> np.ndarray:
    """The loss of each run at the last step, see `evaluation.losses_at`."""
    return evaluation.losses_at(self.losses)


def count(folder: str, name: str) -> int:
  """Returns how many runs of an optimizer have been made."""
  path = _path(folder, name, "json")
  return _load(path, "runs")["runs"] if os.path.exists(path) else 0


def add(folder: str, name: str, runs: range, losses: np.ndarray,
        options: dict[str, Any], seconds: float,
        images: np.ndarray | None = None) -> None:
  """Adds runs of an optimizer to those before them, all or none.

  Args:
    folder: The folder of the comparison.
    name: Name of the optimizer.
    runs: Which ones they are.
    losses: Theirs, see `Record`.
    options: See `Record`.
    seconds: Time of the search and of these runs.
    images: The final images of neural art, to be drawn later.

  Raises:
    OSError: A file cannot be written.
  """
  num_rows = len(losses) // len(runs)
  machine, versions = _machine(), _versions()
  if runs.start:
    earlier = read(folder, name, runs.start)
    losses = np.concatenate([earlier.losses, losses])
    seconds += earlier.seconds
    machine = _union(earlier.machine, machine)
    versions = _union(earlier.versions, versions)
    if images is not None:
      images = np.concatenate([read_images(folder, name)[:runs.start], images])
  file = io.BytesIO()
  # Nine digits are those that a float32 is read back from.
  np.savetxt(file, losses, fmt="%.9g", delimiter=",", comments="",
             header=",".join(map(str, range(losses.shape[1]))))
  files.write_atomically(_path(folder, name, "csv"), file.getvalue())
  if images is not None:
    file = io.BytesIO()
    np.save(file, images)
    files.write_atomically(_path(folder, name, "npy"), file.getvalue())
  # Last, as it says that the others are there.
  record = {"runs": runs.stop, "rows_per_run": num_rows, "options": options,
            "seconds": seconds, "machine": machine, "versions": versions}
  files.write_json(_path(folder, name, "json"), record)


def read(folder: str, name: str, num_runs: int) -> Record:
  """Returns the first `num_runs` runs of an optimizer.

  Raises:
    OSError: There are none.
    ValueError: A file is damaged.
  """
  path = _path(folder, name, "json")
  record = _load(path, "runs", "rows_per_run", *Record._fields[1:])
  del record["runs"]
  num_rows = num_runs * record.pop("rows_per_run")
  losses = _path(folder, name, "csv")
  try:
    rows = np.loadtxt(losses, np.float32, delimiter=",", skiprows=1,
                      max_rows=num_rows, ndmin=2)
    if len(rows) < num_rows:
      raise ValueError(f"it has {len(rows)} of {num_rows} rows")
  except (OSError, ValueError) as error:
    # The record says that they are there.
    raise ValueError(f"{losses} cannot be read, delete it and {path}: {error}."
                     ) from error
  return Record(rows, **record)


def check_losses(folder: str, losses: list[list[float | None]]) -> None:
  """Checks that the runs in a folder are of the same functions, or notes them.

  Args:
    folder: The folder of the comparison.
    losses: What `tuning.fingerprint` returned.

  Raises:
    ValueError: They are of others: the data have changed.
    OSError: A file cannot be read or written.
  """
  path = _path(folder, "problem", "json")
  if not os.path.exists(path):
    files.write_json(path, {"losses": losses})
    return
  before = np.array(_load(path).get("losses", np.nan), float)
  if not np.allclose(before, np.array(losses, float), equal_nan=True):
    raise ValueError(f"The losses of the problem are not those of the runs in "
                     f"{folder}: the data have changed, or it is computed on "
                     "another kind of device. Take the same as before, or "
                     "delete this folder, to make the runs again.")


def read_images(folder: str, name: str) -> np.ndarray:
  """Returns the final images of an optimizer, [runs, 1, size, size, 3]."""
  return np.load(_path(folder, name, "npy"))


def key(*values: Any) -> str:
  """Returns a name for JSON values that determine a result."""
  text = json.dumps(values, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def fingerprint(folder: str) -> str:
  """Returns what tells trained networks from others: a hash of their files."""
  return key(*(
      [file.name, hashlib.sha256(file.read_bytes()).hexdigest()]
      for file in sorted(pathlib.Path(folder).glob("*.l2l"))))


def _load(path: str, *keys: str) -> dict[str, Any]:
  """Returns a dictionary of a file, which must have these keys."""
  with open(path, encoding="utf-8") as file:
    try:
      record = dict(json.load(file))
      if missing := {*keys} - record.keys():
        raise ValueError(f"it has no {', '.join(sorted(missing))}")
    except (ValueError, TypeError) as error:
      raise ValueError(f"{path} is damaged, delete it: {error}.") from error
  return record


def _union(earlier: str, now: str) -> str:
  return earlier if now in earlier.split("; ") else f"{earlier}; {now}"


def _path(folder: str, name: str, suffix: str) -> str:
  return os.path.join(folder, f"{name}.{suffix}")


def _machine() -> str:
  """Returns the name of the processor, and of the GPU if there is one."""
  cpuinfo = pathlib.Path("/proc/cpuinfo")
  lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
  model = next((line.split(":")[1].strip() for line in lines
                if line.startswith("model name")), platform.machine())
  return ", ".join([model, *devices.gpu_names()])


def _versions() -> str:
  return f"Python {platform.python_version()}, TensorFlow {tf.__version__}"
