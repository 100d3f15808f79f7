"""Tests of commands whose work several processes share out."""

import json
import os
import signal
import socket
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from l2lgd.commands import cluster
from meta import compilation
from tests import eager, processes, programs, run_files

TRAIN = ("train.py", "--problem=simple", "--num_steps=4", "--unroll_length=2",
         "--num_tasks=2", "--evaluation_epochs=2", "--evaluation_period=3",
         "--log_period=1", "--jit_compile=false")
REMEDY = "start all processes again; a training goes on with --resume."

setUpModule = processes.start


def config(ports, index):
  """The value of TF_CONFIG."""
  return json.dumps({
      "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
      "task": {"type": "worker", "index": index}})


class SetConfig:
  """Sets TF_CONFIG in a process."""

  def __init__(self, value):
    self._value = value

  def __call__(self):
    os.environ["TF_CONFIG"] = self._value


class WorkersTest(programs.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())

  def train(self, name, *argv):
    return processes.Process(
        (*TRAIN, f"--save_path={self.folder}/{name}", *argv))

  def test_killed_training_is_resumed_as_if_it_never_was(self):
    process = self.train("killed", "--num_workers=2", "--num_epochs=1000")
    process.wait_for("Epoch 3")
    process.kill_child(1, signal.SIGKILL)
    result = process.result()
    self.assert_error(result, "Process 1 of 2 has ended with status -9: "
                      f"{REMEDY}")
    num_epochs = 12
    process = self.train("killed", "--num_workers=2",
                         f"--num_epochs={num_epochs}", "--resume")
    self.assert_done(process.result())
    self.assert_done(self.train("at_once", "--num_workers=2",
                                f"--num_epochs={num_epochs}").result())
    self.assert_done(self.train("alone", f"--num_epochs={num_epochs}").result())
    killed, at_once, alone = (
        run_files.files(f"{self.folder}/{name}")
        for name in ("killed", "at_once", "alone"))
    for name in ("cw.l2l",
                 f"checkpoints/ckpt-{num_epochs}.data-00000-of-00001"):
      self.assertEqual(killed[name], at_once[name])
    self.assertEqual(killed["run.json"], alone["run.json"])
    at_once, alone = (run_files.scalars(f"{self.folder}/{name}")
                      for name in ("at_once", "alone"))
    for tag in ("training/meta_loss", "validation/final_loss"):
      np.testing.assert_allclose(
          [*at_once[tag].values()], [*alone[tag].values()], rtol=1e-5)

  def test_signal_to_one_process_ends_all_after_an_epoch(self):
    process = self.train("run", "--num_workers=2", "--num_epochs=1000",
                         "--problem=tests.toys:made_of_tensors")
    process.wait_for("Epoch 1")
    process.kill_child(1, signal.SIGTERM)
    result = process.result()
    self.assertEqual((result.code, result.stderr), (128 + signal.SIGTERM, ""))
    self.assertRegex(result.stdout, rf"{programs.RESUME}\n\Z")

  def test_evaluation_is_shared_out(self):
    argv = ("--problem=quadratic", "--optimizer=Adam", "--num_steps=2",
            "--num_epochs=3", "--seed=0", "--tune", "--tuning_epochs=2",
            "--jit_compile=false")
    outputs = [f"{self.folder}/{num}.csv" for num in (1, 2)]
    self.assert_done(processes.run(
        "evaluate.py", *argv, f"--output={outputs[1]}", "--num_workers=2"))
    os.remove(f"{self.folder}/tuning.json")
    eager.run_eagerly(self)
    with mock.patch.object(compilation, "can_vectorize", return_value=False):
      self.assert_done(programs.run(
          "evaluate", *argv, f"--output={outputs[0]}", "--num_workers=1"))
    alone, shared = map(run_files.read_losses, outputs)
    self.assertEqual(alone.keys(), shared.keys())
    np.testing.assert_allclose(
        [*shared.values()], [*alone.values()], rtol=1e-5)

  def test_tasks_that_cannot_be_shared_out_are_told(self):
    result = processes.run(*TRAIN, "--num_tasks=3", "--num_workers=2")
    self.assert_error(result, "--num_workers is 2, but must divide "
                      "--num_tasks, which is 3: give another of them")

  def test_processes_of_other_flags_are_told(self):
    with socket.create_server(("", 0)) as one, socket.create_server(
        ("", 0)) as two:
      ports = [s.getsockname()[1] for s in (one, two)]
    running = [processes.Process(
        (*TRAIN, f"--seed={i}"), SetConfig(config(ports, i))) for i in (0, 1)]
    for process in running:
      self.assert_error(
          process.result(), "The flags, or the versions .* differ between the "
          r"processes \(\[\d+, \d+\]\)")


class ClusterTest(programs.TestCase):

  @parameterized.parameters(
      "", "3", "{}", '{"cluster": {"worker": ["a:1"]}}', config([1], 1),
      config([1], -1), config([0], 0), config([1], "x"),
      config([1], 0).replace("worker", "ps"))
  def test_broken_description_is_told(self, value):
    with mock.patch.dict(os.environ, TF_CONFIG=value):
      self.assert_error(
          programs.run("train"), "TF_CONFIG is .*, but must be such as")

  def test_port_that_is_taken_is_told(self):
    with socket.create_server(("", 0)) as taken:
      port = taken.getsockname()[1]
      with mock.patch.dict(os.environ, TF_CONFIG=config([port], 0)):
        self.assert_error(
            programs.run("train"), f"The port of 127.0.0.1:{port} cannot be "
            "opened: .* Give another one")

  @parameterized.parameters(
      ("0", {}, "num_workers is 0, but must be a positive integer"),
      ("2", {"TF_CONFIG": "{}"}, "num_workers is 2, but must be 1 where"))
  def test_number_of_processes_is_checked(self, num, environment, message):
    with mock.patch.dict(os.environ, environment):
      self.assert_error(programs.run("train", f"--num_workers={num}"), message)

  def test_processes_that_cannot_be_started_are_told(self):
    with mock.patch.object(
        tempfile, "TemporaryFile", side_effect=OSError("No space left")):
      self.assert_error(
          programs.run("train", "--num_workers=2"), "error: No space left")

  def test_broken_number_of_tasks_is_told(self):
    with mock.patch.dict(os.environ, SLURM_STEP_NUM_TASKS="two"):
      self.assert_error(programs.run("train"),
                        "SLURM_STEP_NUM_TASKS is 'two', but must be an integer")

  def test_lost_connection_is_one_line_with_its_remedy(self):
    with self.assertRaisesRegex(
        ConnectionError, "no longer answers: start all processes again"):
      with cluster._lost_connections():
        raise tf.errors.UnavailableError(None, None, "Collective ops aborted")

  def test_variables_of_slurm_describe_the_processes(self):
    with mock.patch.dict(
        os.environ, SLURM_PROCID="2", SLURM_STEP_NUM_TASKS="3",
        SLURM_STEP_NODELIST="node[1-2]", SLURM_STEP_TASKS_PER_NODE="2,1"):
      self.assertTrue(cluster.is_described())
      self.assertEqual(json.loads(cluster.slurm_config()), {
          "cluster": {"worker": ["node1:8888", "node1:8889", "node2:8888"]},
          "task": {"type": "worker", "index": 2}})
    with mock.patch.dict(os.environ, SLURM_STEP_NUM_TASKS="2"):
      with self.assertRaisesRegex(ValueError, "variables of SLURM are broken"):
        cluster.slurm_config()


if __name__ == "__main__":
  absltest.main()
