"""Tests of the weight file."""

import io
import os
import pathlib
import re
import resource
import signal
import zipfile

from absl.testing import absltest, parameterized
import numpy as np

from networks import weights
from tests import weight_files


def _saved(seed=0):
  rng = np.random.default_rng(seed)
  return weights.Saved(
      weights={
          "lstm_1": {"w_gates": rng.normal(size=(3, 8)).astype(np.float32),
                     "b_gates": rng.normal(size=8).astype(np.float32)},
          "outer/linear": {"w": rng.normal(size=(2, 1)), "scale": np.array(3.)},
      },
      net="CoordinateWiseDeepLSTM",
      net_options={"layers": [2], "scale": 0.1},
      trained_on={"problem": "mnist", "seed": 0})


def _zip(**members):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    for name, content in members.items():
      archive.writestr(name, content)
  return buffer.getvalue()


def _npy(array):
  buffer = io.BytesIO()
  np.save(buffer, array)
  return buffer.getvalue()


def _header(trained_on="{}", **others):
  return {"network.json": (
      '{"format": 1, "net": "Sgd", "net_options": {}, "trained_on": '
      f"{trained_on}}}"), **others}


# Each with a part of the error's message.
BROKEN = {
    "empty": (b"", "Ran out of input"),
    "garbage": (b"\xff\x00garbage", "invalid load key"),
    "text": (b"lstm_1: 3", ""),
    "zip_magic_only": (b"PK\x03\x04", "not a zip"),
    "zip_without_header": (_zip(**{"a/w.npy": _npy(1.0)}), "without network"),
    "not_json": (_zip(**{"network.json": "{"}), "Expecting"),
    "json_list": (_zip(**{"network.json": "[1]"}), "which format"),
    "json_without_format": (_zip(**{"network.json": "{}"}), "which format"),
    "newer": (_zip(**{"network.json": '{"format": 2}'}),
              "format 2, but .* format 1.* Update"),
    "wrong_net": (_zip(**{"network.json": '{"format": 1, "net": 3}'}),
                  "net is 3"),
    "wrong_options": (
        _zip(**{"network.json": '{"format": 1, "net_options": [3]}'}),
        r"net_options is \[3\]"),
    "no_trained_on": (_zip(**_header("null")), "trained_on is None"),
    "integers": (_zip(**_header(**{"a/w.npy": _npy(np.arange(2))})),
                 "a/w is of type int64"),
    "objects": (_zip(**_header(**{"a/w.npy": _npy(np.array([None]))})),
                "allow_pickle"),
    "not_npy": (_zip(**_header(**{"a/w.npy": b"abc"})), "magic"),
    "short_npy": (_zip(**_header(**{"a/w.npy": _npy(np.ones(9))[:-1]})), ""),
    "no_module": (_zip(**_header(**{"w.npy": _npy(np.ones(9))})), "'w.npy'"),
    "stranger": (_zip(**_header(**{"a/w.txt": "1"})), "'a/w.txt'"),
}


class WeightsTest(weight_files.FileTestCase):

  def test_returns_what_was_written(self):
    weights.write(self.file, _saved())
    saved = weights.read(self.file)
    self.assert_same_weights(saved.weights, _saved().weights)
    self.assertEqual(saved[1:], _saved()[1:])

  def test_relative_names_and_path_objects_are_files_too(self):
    weights.write("a.l2l", _saved())
    weights.write(pathlib.Path("b.l2l"), weights.read("a.l2l"))
    self.assert_same_weights(
        weights.read(pathlib.Path("b.l2l")).weights, _saved().weights)

  def test_a_network_without_variables_has_a_file(self):
    saved = weights.Saved({}, "Sgd", {"learning_rate": 0.1}, {})
    weights.write(self.file, saved)
    self.assertEqual(weights.read(self.file), saved)

  def test_a_numpy_scalar_is_an_array_without_axes(self):
    weights.write(self.file, _saved()._replace(
        weights={"linear": {"b": np.float32(2.0)}}))
    self.assert_same_weights(
        weights.read(self.file).weights,
        {"linear": {"b": np.array(2.0, np.float32)}})

  def test_arrays_read_can_be_written_on(self):
    weights.write(self.file, _saved())
    weights.read(self.file).weights["lstm_1"]["w_gates"][0, 0] = 1.0

  def test_numpy_reads_the_arrays(self):
    weights.write(self.file, _saved())
    with np.load(self.file) as arrays:
      np.testing.assert_array_equal(
          arrays["lstm_1/w_gates"], _saved().weights["lstm_1"]["w_gates"])

  def test_same_weights_give_same_bytes(self):
    weights.write(self.file, _saved())
    first = self.get()
    saved = _saved()
    reordered = {
        module: {name: np.asfortranarray(array) if array.ndim else array
                 for name, array in reversed(variables.items())}
        for module, variables in reversed(saved.weights.items())}
    weights.write(self.file, saved._replace(
        weights=reordered,
        net_options=dict(reversed(saved.net_options.items()))))
    self.assertEqual(self.get(), first)
    # The dates are fixed, whatever the clock says.
    with zipfile.ZipFile(self.file) as archive:
      self.assertEqual({info.date_time for info in archive.infolist()},
                       {(1980, 1, 1, 0, 0, 0)})

  def test_other_weights_give_other_bytes(self):
    weights.write(self.file, _saved())
    first = self.get()
    weights.write(self.file, _saved(seed=1))
    self.assertNotEqual(self.get(), first)

  @parameterized.named_parameters(
      (name, value) for name, value in weight_files.NOT_WEIGHTS.items())
  def test_writes_nothing_but_weights(self, value):
    weights.write(self.file, _saved())
    with self.assertRaisesRegex(
        ValueError, "must be an array of floats|is empty or contains '/'|"
        "must be a dictionary with strings as keys"):
      weights.write(self.file, _saved()._replace(weights=value))
    self.assert_same_weights(
        weights.read(self.file).weights, _saved().weights)

  @parameterized.parameters(
      {"net": 3}, {"net_options": [1]}, {"trained_on": None},
      {"trained_on": {"loss": {1.}}})
  def test_writes_only_headers_that_can_be_read(self, **fields):
    with self.assertRaisesRegex(ValueError, f"{next(iter(fields))} is "):
      weights.write(self.file, _saved()._replace(**fields))
    self.assertEmpty(os.listdir(self.folder))

  def test_numbers_of_numpy_become_json(self):
    weights.write(self.file, _saved()._replace(
        trained_on={"loss": np.float32(.5), "sizes": np.arange(2)}))
    self.assertEqual(weights.read(self.file).trained_on,
                     {"loss": .5, "sizes": [0, 1]})

  def test_last_good_file_survives_a_full_disk(self):
    weights.write(self.file, _saved())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores the signal that comes with the error; make sure of it.
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
      with self.assertRaises(OSError):
        weights.write(self.file, _saved(seed=1))
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
      signal.signal(signal.SIGXFSZ, handler)
    self.assert_same_weights(
        weights.read(self.file).weights, _saved().weights)
    self.assertEqual(os.listdir(self.folder), ["net.l2l"])

  def test_folder_says_what_to_do(self):
    folder = os.path.dirname(self.file)
    with self.assertRaisesRegex(ValueError, f"'{folder}' is a folder, but"):
      weights.read(folder)

  def test_absent_file_says_what_to_do(self):
    with self.assertRaisesRegex(
        FileNotFoundError, f"{re.escape(self.file)}.*Train a network first"):
      weights.read(self.file)

  @parameterized.named_parameters(
      (name, *arguments) for name, arguments in BROKEN.items())
  def test_broken_file_is_refused(self, data, message):
    self.put(data)
    self.assert_refused(message)

  def test_new_file_cut_short_is_refused(self):
    weights.write(self.file, _saved())
    data = self.get()
    for length in range(0, len(data), 7):
      self.put(data[:length])
      self.assert_refused()

  def test_changed_byte_of_an_array_is_found(self):
    weights.write(self.file, _saved())
    data = bytearray(self.get())
    array = _saved().weights["lstm_1"]["w_gates"].tobytes()
    data[data.index(array) + 5] ^= 1
    self.put(data)
    self.assert_refused("CRC")


if __name__ == "__main__":
  absltest.main()
