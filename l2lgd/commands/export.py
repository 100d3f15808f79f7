"""Exports a trained optimizer as SavedModels, for plain TensorFlow."""

from absl import flags

from l2lgd.commands import program
import meta

FLAGS = flags.FLAGS
flags.DEFINE_string("path", None, "Folder of a trained optimizer, or the name "
                    f"of one of the library's: {', '.join(meta.pretrained())}.")
flags.DEFINE_string("output", None, "Folder to write. If there are several "
                    "networks, each has a folder in it.")


def main() -> None:
  with program.user_errors():
    for name in ("path", "output"):
      if FLAGS[name].value is None:
        raise ValueError(f"--{name} is needed.")
    for key, folder in meta.export(FLAGS.path, FLAGS.output).items():
      print(f"Exported {key} to {folder}.")


def run() -> None:
  """Runs the program."""
  program.run(main)
