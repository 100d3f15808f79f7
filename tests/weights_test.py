"""Tests of the weight file, new and old."""

import collections
import io
import os
import pathlib
import pickle
import re
import resource
import signal
import tempfile
import zipfile

from absl.testing import absltest, parameterized
import numpy as np

from l2lgd import files
from networks import weights

DATA = pathlib.Path(__file__).parent / "data"
PROTOCOLS = tuple(range(pickle.HIGHEST_PROTOCOL + 1))


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


def _call(name, *args):
  """Returns pickle text that calls `name`; args are pickle text, too."""
  module, _, name = name.rpartition(".")
  return f"c{module}\n{name}\n({''.join(args)}tR"


def _text(value):
  return f"V{value}\n"


MODULE = "numpy.core.multiarray"
NDARRAY = "cnumpy\nndarray\n"
EMPTY_ARRAY = _call(f"{MODULE}._reconstruct", NDARRAY, "(I0\nt", _text("b"))
RUN = _text("touch marker")

# What else a file may want to do; "marker" would be its trace.
MALICIOUS = {
    "os_system": _call("os.system", RUN),
    "posix_system": _call("posix.system", RUN),
    "eval": _call("builtins.eval", _text("open('marker', 'w')")),
    "python_2_eval": _call("__builtin__.eval", _text("open('marker', 'w')")),
    "getattr": _call("builtins.getattr", NDARRAY, _text("tofile")),
    "inst": f"({RUN}ios\nsystem\n",
    "obj": f"(cos\nsystem\n{RUN}o",
    "newobj": f"csubprocess\nPopen\n({RUN}t\x81",
    "dill_eval": _call("dill._dill._eval_repr", RUN),
    "dill_code": _call("dill._dill._load_type", _text("CodeType")),
    "dill_module": _call("dill._dill._import_module", _text("os")),
    "dill_attribute_of_os": _call(
        "dill._dill._get_attr",
        _call("dill._dill._import_module", _text("os")), _text("system")) +
                            f"({RUN}tR",
    "dill_attribute_of_numpy": _call(
        "dill._dill._get_attr",
        _call("dill._dill._import_module", _text(MODULE)), _text("scalar")),
    "dill_attribute_of_array": _call(
        "dill._dill._get_attr", EMPTY_ARRAY, _text("_reconstruct")),
    "dill_create": _call(
        "dill._dill._create_array", "cos\nsystem\n", f"({RUN}t", "N"),
    "dill_create_attributes": _call(
        "dill._dill._create_array", f"c{MODULE}\n_reconstruct\n",
        f"({NDARRAY}(I0\nt{_text('b')}t", "N", "(d"),
    "default_factory": _call("collections.defaultdict", "cos\nsystem\n"),
    "default_factory_called": _call(
        "collections.defaultdict", _call("os.system", RUN)),
    "scalar_of_objects": _call(
        f"{MODULE}.scalar", _call("numpy.dtype", _text("O8"), "I0\n", "I1\n"),
        _text(_call("os.system", RUN).replace("\n", "\\u000a"))),
    "numpy_load": _call("numpy.load", RUN),
    "copyreg": _call("copyreg._reconstructor", "cos\nsystem\n",
                     "cbuiltins\nobject\n", "N"),
    "dotted_name": _call("numpy.f2py.os.system", RUN),
    "extension": "\x82\x01",
    "persistent_id": "Pmarker\n",
    "changes_stand_in": f"{NDARRAY}(V__call__\ncbuiltins\ndict\ndb",
    "changes_stand_in_attributes": f"{NDARRAY}(N(V_function\nI1\ndtb",
    "changes_dtype_attributes": (
        "cnumpy\ndtype\n(N(V__init__\nI1\ndtb"),
    "changes_array_attributes": f"{EMPTY_ARRAY}(N(Varray\nI1\ndtb",
    "objects": (f"{EMPTY_ARRAY}(I1\n(I1\nt" +
                _call("numpy.dtype", _text("O8"), "I0\n", "I1\n") +
                "I00\n(I1\nltb"),
    "dtype_of_fields": (f"{EMPTY_ARRAY}(I1\n(I1\nt" +
                        _call("numpy.dtype", "((Va\nVf4\ntl") +
                        f"I00\n{_text('abcd')}tb"),
    "dtype_without_size": (f"{EMPTY_ARRAY}(I1\n(I1\nt" +
                           _call("numpy.dtype", _text("f")) +
                           f"I00\n{_text('abcd')}tb"),
    "huge_shape": (f"{EMPTY_ARRAY}(I1\n(I1000000000\nI1000000000\nt" +
                   _call("numpy.dtype", _text("f4")) +
                   f"I00\n{_text('abcd')}tb"),
    "negative_shape": (f"{EMPTY_ARRAY}(I1\n(I-1\nI-1\nt" +
                       _call("numpy.dtype", _text("f4")) +
                       f"I00\n{_text('abcd')}tb"),
    "array_without_state": EMPTY_ARRAY,
    "array_class": NDARRAY,
}

NOT_WEIGHTS = {
    "list": [1.0],
    "array": np.ones(2),
    "flat": {"w": np.ones(2)},
    "deep": {"linear": {"w": {"w": np.ones(2)}}},
    "number": {"linear": {"w": 1.0}},
    "none": {"linear": {"w": None}},
    "integers": {"linear": {"w": np.ones(2, np.int32)}},
    "complex": {"linear": {"w": np.ones(2, np.complex64)}},
    "objects": {"linear": {"w": np.array([None])}},
    "strings": {"linear": {"w": np.array(["a"])}},
    "integer_module": {1: {"w": np.ones(2)}},
    "integer_variable": {"linear": {1: np.ones(2)}},
    "slash": {"linear": {"w/x": np.ones(2)}},
    "no_variable": {"linear": {"": np.ones(2)}},
    "no_module": {"": {"w": np.ones(2)}},
}


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


# Each with a part of the message that has to come.
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


class FileTestCase(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enterContext(tempfile.TemporaryDirectory())
    self.file = os.path.join(self.folder, "net.l2l")
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(self.folder)

  def _put(self, data):
    with open(self.file, "wb") as file:
      file.write(data)

  def _get(self):
    with open(self.file, "rb") as file:
      return file.read()

  def assert_same_weights(self, actual, expected):
    self.assertCountEqual(actual, expected)
    for module, variables in expected.items():
      self.assertCountEqual(actual[module], variables)
      for name, array in variables.items():
        np.testing.assert_array_equal(actual[module][name], array, strict=True)

  def assert_refused(self, message=""):
    with self.assertRaisesRegex(
        ValueError, f"(?s)Cannot read .*{re.escape(self.file)}.*{message}.*"
        "train the network again"):
      weights.read(self.file)


class WeightsTest(FileTestCase):

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
    self._put(pickle.dumps(_saved().weights))
    weights.read(self.file).weights["lstm_1"]["w_gates"][0, 0] = 1.0

  def test_numpy_reads_the_arrays(self):
    weights.write(self.file, _saved())
    with np.load(self.file) as arrays:
      np.testing.assert_array_equal(
          arrays["lstm_1/w_gates"], _saved().weights["lstm_1"]["w_gates"])

  def test_same_weights_give_same_bytes(self):
    weights.write(self.file, _saved())
    first = self._get()
    saved = _saved()
    reordered = {
        module: {name: np.asfortranarray(array) if array.ndim else array
                 for name, array in reversed(variables.items())}
        for module, variables in reversed(saved.weights.items())}
    weights.write(self.file, saved._replace(
        weights=reordered,
        net_options=dict(reversed(saved.net_options.items()))))
    self.assertEqual(self._get(), first)
    # The dates are fixed, whatever the clock says.
    with zipfile.ZipFile(self.file) as archive:
      self.assertEqual({info.date_time for info in archive.infolist()},
                       {(1980, 1, 1, 0, 0, 0)})

  def test_other_weights_give_other_bytes(self):
    weights.write(self.file, _saved())
    first = self._get()
    weights.write(self.file, _saved(seed=1))
    self.assertNotEqual(self._get(), first)

  @parameterized.named_parameters(
      (name, value) for name, value in NOT_WEIGHTS.items())
  def test_writes_nothing_but_weights(self, value):
    weights.write(self.file, _saved())
    with self.assertRaises(ValueError):
      weights.write(self.file, _saved()._replace(weights=value))
    self.assert_same_weights(
        weights.read(self.file).weights, _saved().weights)

  @parameterized.parameters(
      {"net": 3}, {"net_options": [1]}, {"trained_on": None})
  def test_writes_only_headers_that_can_be_read(self, **fields):
    with self.assertRaisesRegex(ValueError, f"{next(iter(fields))} is "):
      weights.write(self.file, _saved()._replace(**fields))
    self.assertEmpty(os.listdir(self.folder))

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

  def test_leaves_no_temporary_file_where_it_cannot_write(self):
    os.mkdir(self.file)
    with self.assertRaises(OSError):
      files.write_atomically(self.file, b"abc")
    self.assertEqual(os.listdir(self.folder), ["net.l2l"])

  def test_writes_bytes_atomically(self):
    for data in (b"abc", b"", b"d" * 100_000):
      files.write_atomically(self.file, data)
      self.assertEqual(self._get(), data)
    self.assertEqual(os.listdir(self.folder), ["net.l2l"])

  def test_absent_file_says_what_to_do(self):
    with self.assertRaisesRegex(
        FileNotFoundError, f"{re.escape(self.file)}.*Train a network first"):
      weights.read(self.file)

  @parameterized.named_parameters(
      (name, *arguments) for name, arguments in BROKEN.items())
  def test_broken_file_is_refused(self, data, message):
    self._put(data)
    self.assert_refused(message)

  def test_new_file_cut_short_is_refused(self):
    weights.write(self.file, _saved())
    data = self._get()
    for length in range(0, len(data), 7):
      self._put(data[:length])
      self.assert_refused()

  def test_changed_byte_of_an_array_is_found(self):
    weights.write(self.file, _saved())
    data = bytearray(self._get())
    array = _saved().weights["lstm_1"]["w_gates"].tobytes()
    data[data.index(array) + 5] ^= 1
    self._put(data)
    self.assert_refused("CRC")


class OldFileTest(FileTestCase):

  @parameterized.parameters(
      ("cw_logsign", "cw"), ("cw_identity", "cw"), ("kernel", "conv"))
  def test_reads_the_originals_files(self, golden, network):
    saved = weights.read(DATA / "legacy" / golden / f"{network}.l2l")
    expected = collections.defaultdict(dict)
    with np.load(DATA / "golden_networks_and_meta.npz") as arrays:
      for key in arrays.files:
        if key.startswith(f"{golden}/weights/"):
          module, variable = key.split("/")[2:]
          expected[module][variable] = arrays[key]
    self.assert_same_weights(saved.weights, expected)
    self.assertEqual(saved[1:], (None, None, {}))

  def test_reads_a_file_of_another_project(self):
    saved = weights.read(DATA / "legacy" / "open_l2o_dm_aug" / "cw.l2l")
    shapes = {f"{module}/{name}": array.shape
              for module, variables in saved.weights.items()
              for name, array in variables.items()}
    self.assertEqual(shapes, {
        "lstm_1/w_gates": (22, 80), "lstm_1/b_gates": (80,),
        "lstm_2/w_gates": (40, 80), "lstm_2/b_gates": (80,),
        "linear/w": (20, 1), "linear/b": (1,)})
    first_bytes = bytes.fromhex("fece21bf")  # As pickletools shows them.
    self.assertEqual(
        saved.weights["lstm_1"]["w_gates"][0, 0],
        np.frombuffer(first_bytes, "<f4")[0])

  def test_old_file_can_be_written_as_a_new_one(self):
    saved = weights.read(DATA / "legacy" / "kernel" / "conv.l2l")
    weights.write(self.file, saved)
    again = weights.read(self.file)
    self.assert_same_weights(again.weights, saved.weights)
    self.assertEqual(again[1:], saved[1:])

  @parameterized.product(
      protocol=PROTOCOLS, numpy=(1, 2),
      kind=(dict, collections.OrderedDict, collections.defaultdict))
  def test_reads_plain_pickles(self, protocol, numpy, kind):
    tree = kind(dict) if kind is collections.defaultdict else kind()
    tree.update({
        "lstm_1": {"w": np.arange(6.0).reshape(2, 3),
                   "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
                   "slice": np.arange(6.0, dtype=np.float32)[::2],
                   "half": np.ones(3, np.float16)},
        "linear": {"big_endian": np.arange(3, dtype=">f4")}})
    data = pickle.dumps(tree, protocol)
    if numpy == 1:
      if protocol >= 4:  # PROTO, FRAME with the length; then names' lengths.
        data = data[:2] + data[11:]
        data = re.sub(rb"\x8c(.)numpy\._core", lambda match: (
            b"\x8c" + bytes([match[1][0] - 1]) + b"numpy.core"), data)
      data = data.replace(b"numpy._core", b"numpy.core")
      self.assertNotIn(b"numpy._core", data)
    self._put(data)
    expected = {**tree, "linear": {
        "big_endian": np.arange(3, dtype=np.float32)}}
    self.assert_same_weights(weights.read(self.file).weights, expected)

  def test_reads_pickles_of_python_2(self):
    b = np.array([-1.5, 3e-9], np.float32)
    self._put(
        b"\x80\x02ccollections\ndefaultdict\ncdill.dill\n_load_type\n"
        b"U\x08DictType\x85R\x85R(U\x06linear}U\x01b"
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        b"U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x08" + b.tobytes() + b"tbsu.")
    self.assert_same_weights(
        weights.read(self.file).weights, {"linear": {"b": b}})

  @parameterized.parameters("cw_logsign/cw", "open_l2o_dm_aug/cw")
  def test_old_file_cut_short_is_refused(self, name):
    data = (DATA / "legacy" / f"{name}.l2l").read_bytes()
    for length in (*range(600), *range(600, len(data), 499), len(data) - 1):
      self._put(data[:length])
      self.assert_refused()

  def test_marker_would_show_that_something_was_run(self):
    pickle.loads(_call("os.system", RUN).encode() + b".")
    self.assertTrue(os.path.exists("marker"))

  @parameterized.parameters(*(
      (name, place) for name in MALICIOUS for place in ("all", "array")))
  def test_malicious_pickle_is_refused_with_nothing_run(self, name, place):
    text = MALICIOUS[name]
    if place == "array":  # {"linear": {"w": ...}}
      text = f"(Vlinear\n(Vw\n{text}dd"
    self._put(text.encode("latin1") + b".")
    self.assert_refused()
    self.assertEqual(os.listdir(self.folder), ["net.l2l"])
    # And the reader reads the next file as ever.
    weights.read(DATA / "legacy" / "cw_logsign" / "cw.l2l")

  @parameterized.product(
      [{"name": key} for key, text in MALICIOUS.items() if "\x81" not in text],
      protocol=(2, 4))
  def test_malicious_pickle_of_a_newer_protocol_is_refused(
      self, name, protocol):
    self._put(b"\x80" + bytes([protocol]) +
              MALICIOUS[name].encode("latin1") + b".")
    self.assert_refused()
    self.assertEqual(os.listdir(self.folder), ["net.l2l"])

  @parameterized.parameters(
      ("os_system", "os.system"), ("eval", "builtins.eval"),
      ("inst", "os.system"), ("newobj", "subprocess.Popen"),
      ("default_factory", "os.system"), ("dill_module", "'os'"),
      ("dill_code", "CodeType"), ("dill_attribute_of_numpy", "scalar"),
      ("scalar_of_objects", "multiarray.scalar"),
      ("copyreg", "copyreg._reconstructor"))
  def test_refusal_says_what_was_named(self, name, named):
    self._put(MALICIOUS[name].encode("latin1") + b".")
    self.assert_refused(f"{named}.*refused.*nothing of it was run")

  @parameterized.parameters(
      ("objects", "of type 'O8'"), ("dtype_without_size", "of type 'f'"),
      ("changes_stand_in", "changes a function"),
      ("changes_stand_in_attributes", "changes a function"),
      ("changes_dtype_attributes", "changes a function"),
      ("dill_create", "os.system"),
      ("dill_create_attributes", "something else than an array"),
      ("huge_shape", "cannot reshape"))
  def test_refusal_says_why(self, name, why):
    self._put(MALICIOUS[name].encode("latin1") + b".")
    self.assert_refused(why)

  def test_pickled_objects_are_refused(self):
    for value in (pathlib.Path("a"), np.dtype("f4"), np.float32(1), {1, 2},
                  object(), os.system, np.ma.ones(2), 2 ** 70, [[]]):
      self._put(pickle.dumps({"linear": {"w": value}}))
      self.assert_refused()

  @parameterized.product(
      [{"name": name} for name in NOT_WEIGHTS if name not in
       ("slash", "no_variable", "no_module")], protocol=(2, 5))
  def test_pickle_of_something_else_is_refused(self, name, protocol):
    self._put(pickle.dumps(NOT_WEIGHTS[name], protocol))
    self.assert_refused()

  def test_recursive_dictionary_is_refused(self):
    tree = {}
    tree["linear"] = tree
    self._put(pickle.dumps(tree))
    self.assert_refused()


if __name__ == "__main__":
  absltest.main()
