"""Tests of the settings that are made before TensorFlow is imported."""

import ctypes
import importlib.abc
import importlib.util
import logging
import os
import pathlib
import platform
import runpy
import sys
import types
from unittest import mock

from absl.testing import absltest, parameterized

from tests import processes

STARTUP = processes.ROOT / "l2lgd" / "commands" / "startup.py"
# From malloc.h: M_MMAP_MAX, M_TRIM_THRESHOLD and M_ARENA_MAX.
MALLOC = {(-4, 0), (-1, -1), (-8, 1)}


class FakeTensorFlow(importlib.abc.MetaPathFinder, importlib.abc.Loader):
  """Is found in place of TensorFlow, and notes how the process is set then."""

  def __init__(self, mallopt):
    self.environment = None
    self.malloc = None
    self.logger = logging.Logger("fake")
    self._mallopt = mallopt

  def find_spec(self, fullname, path, target=None):
    del path, target
    if fullname == "tensorflow":
      return importlib.util.spec_from_loader(fullname, self)
    return None

  def create_module(self, spec):
    return types.ModuleType(spec.name)

  def exec_module(self, module):
    self.environment = dict(os.environ)
    self.malloc = {call.args for call in self._mallopt.call_args_list}
    os.write(2, b"noise\n")  # As TensorFlow's C++ code does.
    module.get_logger = lambda: self.logger


class StartupTest(parameterized.TestCase):

  def start(self, environment=(), libc="glibc"):
    """Runs the module, and finds a fake TensorFlow; returns the latter."""
    library = mock.Mock()
    fake = FakeTensorFlow(library.mallopt)
    modules = {name: module for name, module in sys.modules.items()
               if name.partition(".")[0] != "tensorflow"}
    with mock.patch.dict(sys.modules, modules, clear=True), mock.patch.object(
        sys, "meta_path", [fake, *sys.meta_path]), mock.patch.dict(
            os.environ, dict(environment), clear=True), mock.patch.object(
                ctypes, "CDLL", return_value=library), mock.patch.object(
                    platform, "libc_ver", return_value=(libc, "2")):
      runpy.run_path(str(STARTUP))
    return fake

  def test_environment_is_set_before_tensorflow_is_imported(self):
    self.assertEqual(self.start().environment, {
        "MPLBACKEND": "agg", "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"})

  def test_environment_of_the_user_is_kept(self):
    environment = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_ENABLE_ONEDNN_OPTS": "0",
                   "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=true"}
    self.assertEqual(self.start(environment).environment, {
        **environment, "MPLBACKEND": "agg"})

  def test_backend_of_a_notebook_is_replaced(self):
    environment = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    self.assertEqual(
        self.start(environment).environment["MPLBACKEND"], "agg")

  def test_flags_of_xla_are_added_to_those_of_the_user(self):
    environment = self.start({"XLA_FLAGS": "--xla_dump_to=dump"}).environment
    self.assertEqual(
        environment["XLA_FLAGS"],
        "--xla_dump_to=dump --xla_cpu_multi_thread_eigen=false")

  @parameterized.parameters(("glibc", MALLOC), ("", set()))
  def test_malloc_is_set_before_tensorflow_is_imported(self, libc, settings):
    self.assertEqual(self.start(libc=libc).malloc, settings)

  def test_only_the_import_is_silent(self):
    reader, writer = os.pipe()
    stderr = os.dup(2)
    os.dup2(writer, 2)
    try:
      self.start()
      os.write(2, b"heard\n")
    finally:
      os.dup2(stderr, 2)
      for fd in (writer, stderr):
        os.close(fd)
    with os.fdopen(reader) as pipe:
      self.assertEqual(pipe.read(), "heard\n")

  def test_only_warnings_of_pfor_and_of_tracing_are_dropped(self):
    logger = self.start().logger
    for path, shown in (("/tf/parallel_for/pfor.py", False),
                        ("/tf/polymorphic_function.py", False),
                        ("/tf/eager/function.py", True)):
      record = logger.makeRecord(
          "fake", logging.WARNING, path, 1, "Slow.", (), None)
      self.assertEqual(bool(logger.filter(record)), shown)

  def test_programs_start_with_these_settings(self):
    # Importing any of the programs imports their package before.
    package = pathlib.Path(STARTUP.parent, "__init__.py").read_text()
    imports = [line for line in package.splitlines()
               if line.startswith(("import", "from"))]
    self.assertRegex(imports[0], "^from l2lgd.commands import startup")


if __name__ == "__main__":
  absltest.main()
