"""Flags of data sets, which all programs have that compute losses."""

from absl import flags

flags.DEFINE_string("data_dir", None, "Folder of the data set. Without "
                    "it, --download takes that of Keras, ~/.keras/datasets, "
                    "and small and wide tasks have synthetic images.")
flags.DEFINE_bool("download", False,
                  "Whether to download a data set that is not there.")
