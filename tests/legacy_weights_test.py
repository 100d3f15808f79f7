"""Tests of the weight files of DeepMind's program."""

import collections
import os
import pathlib
import pickle
import re

from absl.testing import absltest, parameterized
import numpy as np

from networks import weights
from tests import weight_files

LEGACY = weight_files.DATA / "legacy"
PROTOCOLS = tuple(range(pickle.HIGHEST_PROTOCOL + 1))


def _call(name, *args):
  """Returns pickle text that calls `name`; the arguments are pickle text."""
  module, _, name = name.rpartition(".")
  return f"c{module}\n{name}\n({''.join(args)}tR"


def _text(value):
  return f"V{value}\n"


MODULE = "numpy.core.multiarray"
NDARRAY = "cnumpy\nndarray\n"
EMPTY_ARRAY = _call(f"{MODULE}._reconstruct", NDARRAY, "(I0\nt", _text("b"))
RUN = _text("touch marker")

# What a file may do instead of building arrays. If it were run, some of them
# would leave a file called "marker" behind.
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


class LegacyWeightsTest(weight_files.FileTestCase):

  @parameterized.parameters(
      ("cw_logsign", "cw"), ("cw_identity", "cw"), ("kernel", "conv"))
  def test_reads_files_of_deepminds_program(self, golden, network):
    saved = weights.read(LEGACY / golden / f"{network}.l2l")
    expected = collections.defaultdict(dict)
    with np.load(weight_files.DATA / "golden_networks_and_meta.npz") as arrays:
      for key in arrays.files:
        if key.startswith(f"{golden}/weights/"):
          module, variable = key.split("/")[2:]
          expected[module][variable] = arrays[key]
    self.assert_same_weights(saved.weights, expected)
    self.assertEqual(saved[1:], (None, None, {}))

  def test_reads_a_file_of_another_project(self):
    saved = weights.read(LEGACY / "open_l2o_dm_aug" / "cw.l2l")
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

  def test_arrays_read_can_be_written_on(self):
    self.put(pickle.dumps({"linear": {"w": np.zeros([3, 2])}}))
    weights.read(self.file).weights["linear"]["w"][0, 0] = 1.0

  def test_legacy_file_can_be_written_as_a_new_one(self):
    saved = weights.read(LEGACY / "kernel" / "conv.l2l")
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
      if protocol >= 4:  # Removes FRAME, which has a length, after PROTO.
        data = data[:2] + data[11:]
        data = re.sub(rb"\x8c(.)numpy\._core", lambda match: (
            b"\x8c" + bytes([match[1][0] - 1]) + b"numpy.core"), data)
      data = data.replace(b"numpy._core", b"numpy.core")
      self.assertNotIn(b"numpy._core", data)
    self.put(data)
    expected = {**tree, "linear": {
        "big_endian": np.arange(3, dtype=np.float32)}}
    self.assert_same_weights(weights.read(self.file).weights, expected)

  def test_reads_pickles_of_python_2(self):
    b = np.array([-1.5, 3e-9], np.float32)
    self.put(
        b"\x80\x02ccollections\ndefaultdict\ncdill.dill\n_load_type\n"
        b"U\x08DictType\x85R\x85R(U\x06linear}U\x01b"
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        b"U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x08" + b.tobytes() + b"tbsu.")
    self.assert_same_weights(
        weights.read(self.file).weights, {"linear": {"b": b}})

  @parameterized.parameters("cw_logsign/cw", "open_l2o_dm_aug/cw")
  def test_file_cut_short_is_refused(self, name):
    data = (LEGACY / f"{name}.l2l").read_bytes()
    for length in (*range(600), *range(600, len(data), 499), len(data) - 1):
      self.put(data[:length])
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
    self.put(text.encode("latin1") + b".")
    self.assert_refused()
    self.assertEqual(os.listdir(self.folder), ["net.l2l"])
    # The reader can still read the next file.
    weights.read(LEGACY / "cw_logsign" / "cw.l2l")

  @parameterized.product(
      [{"name": key} for key, text in MALICIOUS.items() if "\x81" not in text],
      protocol=(2, 4))
  def test_malicious_pickle_of_a_newer_protocol_is_refused(
      self, name, protocol):
    self.put(b"\x80" + bytes([protocol]) +
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
    self.put(MALICIOUS[name].encode("latin1") + b".")
    self.assert_refused(f"{named}.*refused.*nothing of it was run")

  @parameterized.parameters(
      ("objects", "of type 'O8'"), ("dtype_without_size", "of type 'f'"),
      ("changes_stand_in", "changes a function"),
      ("changes_stand_in_attributes", "changes a function"),
      ("changes_dtype_attributes", "changes a function"),
      ("dill_create", "os.system"),
      ("dill_create_attributes", "something other than an array"),
      ("huge_shape", "cannot reshape"))
  def test_refusal_says_why(self, name, why):
    self.put(MALICIOUS[name].encode("latin1") + b".")
    self.assert_refused(why)

  def test_pickled_objects_are_refused(self):
    for value in (pathlib.Path("a"), np.dtype("f4"), np.float32(1), {1, 2},
                  object(), os.system, np.ma.ones(2), 2 ** 70, [[]]):
      self.put(pickle.dumps({"linear": {"w": value}}))
      self.assert_refused()

  @parameterized.product(
      [{"name": name} for name in weight_files.NOT_WEIGHTS if name not in
       ("slash", "no_variable", "no_module")], protocol=(2, 5))
  def test_pickle_of_something_else_is_refused(self, name, protocol):
    self.put(pickle.dumps(weight_files.NOT_WEIGHTS[name], protocol))
    self.assert_refused()

  def test_recursive_dictionary_is_refused(self):
    tree = {}
    tree["linear"] = tree
    self.put(pickle.dumps(tree))
    self.assert_refused()


if __name__ == "__main__":
  absltest.main()
