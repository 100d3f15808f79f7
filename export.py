"""Exports a trained optimizer as a SavedModel, for plain TensorFlow."""

from l2lgd.commands import export

if __name__ == "__main__":
  export.run()
