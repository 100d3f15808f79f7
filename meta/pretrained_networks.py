"""The trained networks that come with the library."""

import os
import pathlib

from l2lgd import files

_CARD = "README.md"


def pretrained() -> dict[str, str]:
  """Returns the card of each trained network, a Markdown text, by name.

  A name may be given wherever the folder of a trained network is: to
  `LearnedOptimizer.load`, to `KerasLearnedOptimizer` and to `--path`. The first
  two refuse networks that join parameters, such as `networks.LSTMWithGAC`.

  Example:

    print(list(meta.pretrained()))
    print(meta.pretrained()["paper-mnist"])
  """
  return {name: (folder / _CARD).read_text(encoding="utf-8")
          for name, folder in _folders().items()}


def find(path: files.Path) -> str:
  """Returns the folder of trained networks.

  Args:
    path: The folder, or else the name of networks that come with the library. A
      folder of this name without networks does not count.

  Raises:
    FileNotFoundError: There is neither.
    ValueError: `path` is a file, or no path at all.
  """
  folders = _folders()
  names = list(folders)
  if not isinstance(path, str | os.PathLike):
    raise ValueError(
        f"path is {path!r}, but must be the folder of a trained optimizer, or "
        f"one of {names}. A learning rate is given as learning_rate=...")
  path = files.expand(path)
  if os.path.isdir(path) and (
      path not in names or any(pathlib.Path(path).glob("*.l2l"))):
    return path
  if path in names:
    return str(folders[path])
  if os.path.isfile(path):
    raise ValueError(
        f"{path!r} is a file, but the folder of a trained optimizer is needed: "
        f"give {os.path.dirname(path) or '.'!r}.")
  raise FileNotFoundError(
      f"No trained optimizer {path!r}: there is no such folder, and the "
      f"optimizers that come with the library are {names}.")


def _folders() -> dict[str, pathlib.Path]:
  """Returns the folder of each trained network, installed or in a checkout."""
  here = pathlib.Path(__file__).parent
  installed = here / "trained"
  root = installed if installed.is_dir() else here.parent / "trained"
  return {card.parent.name: card.parent
          for card in sorted(root.glob(f"*/{_CARD}"))}
