"""Tests of meta-training as a whole, and of resuming it."""

import json
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import meta
from networks import weights
import problems
from tests import assertions, run_files, toys

SETTINGS = meta.Settings(
    num_steps=4, unroll_length=2, learning_rate=0.01, evaluation_period=2,
    evaluation_epochs=1, jit_compile=False)
NUM_EPOCHS = 5
NET_CONFIG = {"cw": {"net": "CoordinateWiseDeepLSTM",
                     "net_options": {"layers": (), "scale": 0.1}}}


def train(folder=None, num_epochs=NUM_EPOCHS, settings=SETTINGS,
          problem=None, optimizer=None, **options):
  """Trains a small network."""
  return meta.train(
      problem or problems.Quadratic(2, 2),
      optimizer or meta.MetaOptimizer(**NET_CONFIG), num_epochs, settings,
      save_path=folder, **{"log_period": 1, **options})


def variables(optimizer):
  return [v.numpy() for v in optimizer.networks["cw"].trainable_variables]


class Journal(meta.Recorder):
  """Lists what it receives, and what is in the folder of the run then."""

  def __init__(self, folder=None):
    self.entries = []
    self.epochs = []
    self.validations = []
    self.last_files = None
    self._folder = folder

  def begin(self, num_epochs):
    self.entries.append(("begin", num_epochs))

  def epoch(self, epoch):
    self.entries.append(("epoch", epoch.number))
    self.epochs.append(epoch)

  def validation(self, validation):
    self.entries.append(("validation", validation.epoch))
    self.validations.append(validation)

  def end(self, num_epochs):
    self.entries.append(("end", num_epochs))
    if self._folder:
      self.last_files = run_files.files(self._folder)


class Killed(BaseException):
  """Ends a training at once."""


def kill_at(call, function):
  """A function that kills the training where it is called the n-th time."""
  def count(*args, **kwargs):
    nonlocal call
    call -= 1
    if not call:
      raise Killed
    return function(*args, **kwargs)
  return count


class TrainingTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    tf.config.run_functions_eagerly(True)  # For few steps, tracing is slower.
    cls.addClassCleanup(tf.config.run_functions_eagerly, False)
    # A run that was never interrupted; not to be changed.
    cls.reference = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.journal = Journal(cls.reference)
    cls.trained = train(cls.reference, recorders=[cls.journal])

  def setUp(self):
    super().setUp()
    self.folder = os.path.join(
        self.enter_context(tempfile.TemporaryDirectory()), "runs", "run")

  def test_numbers_of_numpy_train_as_others(self):
    settings = SETTINGS._replace(
        num_steps=np.int64(4), unroll_length=np.int64(2), num_tasks=np.int64(1),
        learning_rate=np.float64(0.01), evaluation_period=np.int64(2),
        curriculum=np.array([2, 4]), seed=np.int64(0))
    expected = settings._replace(
        num_steps=4, unroll_length=2, num_tasks=1, learning_rate=0.01,
        curriculum=(2, 4), seed=0)
    tf.config.run_functions_eagerly(False)  # In which the types matter.
    self.addCleanup(tf.config.run_functions_eagerly, True)
    assertions.assert_equal(*(
        variables(train(num_epochs=1, settings=each))
        for each in (settings, expected)))

  def assert_same_run(self, folder):
    """Asserts that a folder holds the run that was never interrupted."""
    actual = run_files.files(folder)
    expected = run_files.files(self.reference)
    for name in ("cw.l2l", "run.json"):
      self.assertEqual(actual[name], expected[name])
    self.assertEmpty([name for name in actual if name.endswith("tmp")])
    actual = run_files.scalars(folder)
    expected = run_files.scalars(self.reference)
    self.assertCountEqual(actual, expected)
    for tag in expected:
      if tag != "training/steps_per_second":
        self.assertEqual(actual[tag], expected[tag], tag)

  def test_recorders_receive_the_epochs_and_validations_in_order(self):
    self.assertEqual(self.journal.entries, [
        ("begin", 0), ("validation", 0),  # Before any training.
        ("epoch", 1), ("epoch", 2), ("validation", 2),
        ("epoch", 3), ("epoch", 4), ("validation", 4),
        ("epoch", 5), ("validation", 5),  # The last one always.
        ("end", 5)])

  def test_everything_is_saved_before_the_end(self):
    self.assertEqual(self.journal.last_files, run_files.files(self.reference))
    self.assertContainsSubset(
        ["run.json", "cw.l2l", "checkpoints/checkpoint",
         "checkpoints/ckpt-4.index", "checkpoints/ckpt-5.index"],
        self.journal.last_files)
    self.assertNotIn("checkpoints/ckpt-3.index", self.journal.last_files)

  def test_tensorboard_shows_all_epochs_and_validations(self):
    logged = run_files.scalars(self.reference)
    for tag, steps in (("training/meta_loss", [1, 2, 3, 4, 5]),
                       ("meta_gradient_norm/unroll_2", [1, 2, 3, 4, 5]),
                       ("validation/final_loss", [0, 2, 4, 5]),
                       ("validation/loss_curve", [0, 1, 2, 3, 4])):
      self.assertEqual(sorted(logged[tag]), steps)
    for tag, values in logged.items():
      self.assertTrue(np.isfinite(list(values.values())).all(), tag)
    for epoch in self.journal.epochs:
      np.testing.assert_allclose(logged["training/final_loss"][epoch.number],
                                 epoch.final_loss, rtol=1e-6)
    for validation in self.journal.validations:
      np.testing.assert_allclose(
          logged["validation/final_loss"][validation.epoch],
          np.mean(validation.losses[:, -1]), rtol=1e-6)

  def test_returns_the_networks_of_the_last_epoch(self):
    checkpoint = tf.train.load_checkpoint(
        os.path.join(self.reference, "checkpoints", "ckpt-5"))
    for i, variable in enumerate(variables(self.trained)):
      np.testing.assert_array_equal(variable, checkpoint.get_tensor(
          f"training/_optimizer/_trainable_variables/{i}/.ATTRIBUTES"
          "/VARIABLE_VALUE"))

  def test_file_holds_the_network_of_the_best_validation(self):
    saved = weights.read(os.path.join(self.reference, "cw.l2l"))
    best = min(self.journal.validations,
               key=lambda v: np.mean(v.losses[:, -1]))
    self.assertEqual(saved.trained_on["num_epochs"], best.epoch)
    before = os.listdir()
    trained = train(num_epochs=best.epoch)
    self.assertEqual(os.listdir(), before)  # Nothing is saved without a folder.
    assertions.assert_equal(
        {f"{module}/{variable}": array
         for module, arrays in saved.weights.items()
         for variable, array in arrays.items()},
        toys.weights(trained.networks["cw"]))

  def test_file_says_what_it_was_trained_on(self):
    saved = weights.read(os.path.join(self.reference, "cw.l2l"))
    self.assertEqual(saved.trained_on, {
        "problem": "Quadratic", **SETTINGS._asdict(),
        "num_epochs": saved.trained_on["num_epochs"]})

  def test_description_takes_the_place_of_the_problem(self):
    train(self.folder, 0, description={"data": "mine"})
    saved = json.loads(pathlib.Path(self.folder, "run.json").read_text())
    self.assertEqual(
        saved, saved | {"data": "mine", **SETTINGS._asdict()})
    self.assertNotIn("problem", saved)

  def test_network_is_the_default_one_unless_given(self):
    trained = meta.train(
        problems.Simple(), num_epochs=0, settings=SETTINGS)
    self.assertEqual(
        {key: network.options for key, network in trained.networks.items()},
        {key: network.options
         for key, network in meta.MetaOptimizer().networks.items()})

  def test_killed_run_is_resumed_as_if_it_never_was(self):
    for module, name, call in (
        (os, "replace", 1),  # The settings are written, but have no place yet.
        (os, "replace", 2),  # The same of the first network.
        (tf.train.CheckpointManager, "save", 2),  # The first is before epoch 1.
        (tf.train.CheckpointManager, "save", 4)):
      with mock.patch.object(
          module, name, kill_at(call, getattr(module, name))), mock.patch(
              "os.remove"):  # The dead do not tidy up.
        with self.assertRaises(Killed):
          train(self.folder, resume=True)
    journal = Journal()
    trained = train(self.folder, resume=True, recorders=[journal])
    self.assertEqual(journal.entries[:2], [("begin", 2), ("epoch", 3)])
    assertions.assert_equal(variables(trained), variables(self.trained))
    self.assert_same_run(self.folder)

  def test_run_stopped_before_its_first_epoch_is_as_if_it_never_was(self):
    settings = SETTINGS._replace(patience=1)
    expected, journal = Journal(), Journal()
    train(None, settings=settings, recorders=[expected])
    train(self.folder, settings=settings, should_stop=lambda: True)
    train(self.folder, settings=settings, resume=True, recorders=[journal])
    self.assertEqual(journal.entries, expected.entries)

  def test_run_interrupted_before_it_was_saved_begins_anew(self):
    optimizer = meta.MetaOptimizer(**NET_CONFIG)
    with self.assertRaises(KeyboardInterrupt):
      train(self.folder, optimizer=optimizer, log_period=100,
            should_stop=mock.Mock(side_effect=[False, KeyboardInterrupt]))
    trained = train(self.folder, optimizer=optimizer, resume=True)
    assertions.assert_equal(variables(trained), variables(self.trained))

  def test_run_under_way_is_not_resumed_elsewhere(self):
    class Second(meta.Recorder):
      def end(self, num_epochs):
        train(folder, resume=True)

    folder = self.folder
    with self.assertRaisesRegex(
        ValueError, f"save_path is {folder}, to which another program is"):
      train(folder, recorders=[Second()])
    train(folder, resume=True)  # The lock went with the error.
    self.assert_same_run(folder)

  def test_stopped_run_is_saved_and_resumed(self):
    answers = iter([False, False, False, True])
    journal = Journal(self.folder)
    with mock.patch.object(
        tf.train.CheckpointManager, "save", autospec=True,
        side_effect=tf.train.CheckpointManager.save) as save:
      train(self.folder, log_period=2, recorders=[journal],
            should_stop=lambda: next(answers))
    self.assertEqual(journal.entries[-2:], [("epoch", 3), ("end", 3)])
    self.assertEqual(
        [c.kwargs["checkpoint_number"] for c in save.call_args_list],
        [0, 2, 3])
    self.assertIn("checkpoints/ckpt-3.index", journal.last_files)
    trained = train(self.folder, resume=True)
    assertions.assert_equal(variables(trained), variables(self.trained))
    self.assert_same_run(self.folder)

  def test_finished_run_can_be_made_longer_or_left_as_it_is(self):
    train(self.folder, num_epochs=2)
    train(self.folder, resume=True)
    before = run_files.files(self.folder)
    for resume_with in (5, 3):  # It is never made shorter.
      journal = Journal()
      trained = train(
          self.folder, resume_with, resume=True, recorders=[journal])
      self.assertEqual(journal.entries, [("begin", 5), ("end", 5)])
      assertions.assert_equal(variables(trained), variables(self.trained))
    after = run_files.files(self.folder)
    for name, content in before.items():
      if not name.startswith("checkpoints"):
        self.assertEqual(after[name], content)
    self.assert_same_run(self.folder)

  def test_training_stops_after_validations_without_improvement(self):
    settings = SETTINGS._replace(
        learning_rate=1e-30, evaluation_period=1, patience=2)
    journal = Journal()
    train(self.folder, settings=settings, recorders=[journal])
    # The first validation is the best of all that follow.
    self.assertEqual(journal.entries, [
        ("begin", 0), ("validation", 0), ("epoch", 1), ("validation", 1),
        ("epoch", 2), ("validation", 2), ("end", 2)])
    journal = Journal()
    train(self.folder, settings=settings, recorders=[journal], resume=True)
    self.assertEqual(journal.entries, [("begin", 2), ("end", 2)])

  def test_training_on_several_problems_is_resumed_as_if_it_never_was(self):
    settings = SETTINGS._replace(
        problem_weights=(1., 2.), decay_epochs=8, min_num_steps=2)
    several = [problems.Quadratic(2, 2), problems.Simple()]
    journal = Journal()
    expected = train(None, 5, settings, several, recorders=[journal])
    for num_epochs in (2, 5):
      resumed = train(self.folder, num_epochs, settings, several, resume=True)
    assertions.assert_equal(variables(resumed), variables(expected))
    saved = weights.read(os.path.join(self.folder, "cw.l2l")).trained_on
    self.assertEqual(saved["problem"], ["Quadratic", "Simple"])
    self.assertEqual(saved["problem_weights"], [1., 2.])
    logged = run_files.scalars(self.folder)
    for name in ("Quadratic", "Simple"):
      self.assertEqual(sorted(logged[f"validation/final_loss/{name}"]),
                       [0, 2, 4, 5])
      self.assertEqual(
          sorted(logged[f"training/final_loss/{name}"]),
          [e.number for e in journal.epochs if e.problem == name])

  def test_tasks_that_cannot_be_staggered_are_refused(self):
    with self.assertRaisesRegex(
        ValueError, "^num_steps is 5, but must be a multiple of .* 2"):
      train(self.folder, settings=SETTINGS._replace(
          num_steps=5, num_tasks=2, stagger=True))
    self.assertFalse(os.path.exists(self.folder))

  @parameterized.parameters(
      ({"num_epochs": -1}, "num_epochs is -1, but must be a positive integer"),
      ({"num_epochs": "5"}, "num_epochs is '5', but must be a positive integ"),
      ({"num_epochs": 2.5}, "num_epochs is 2.5, but must be a positive integ"),
      ({"log_period": 0}, "log_period is 0, but must be a positive integer"),
      ({"recorders": meta.Recorder()}, "recorders is <.*>, but must be obj"),
      ({"recorders": [meta.Recorder]}, "recorders is .*, but must be objects"),
      ({"recorders": iter([])}, "recorders is .*, but must be objects"),
      ({"description": "mine"}, "description is 'mine', but must be a dict"),
      ({"optimizer": "general"}, "optimizer is 'general', but must be a meta."),
      ({"settings": {"seed": 1}}, "settings is {'seed': 1}, but must be a met"))
  def test_argument_of_another_type_is_named(self, arguments, message):
    with self.assertRaisesRegex(ValueError, f"^{message}"):
      meta.train(problems.Simple(), **{"num_epochs": 1, **arguments})

  def test_epochs_after_the_decay_are_refused(self):
    with self.assertRaisesRegex(
        ValueError, "^num_epochs is 3, but must be at most decay_epochs, 2, "
        "after which the learning rate is 0"):
      train(self.folder, 3, SETTINGS._replace(decay_epochs=2))
    self.assertFalse(os.path.exists(self.folder))

  def test_parameters_that_the_problem_lacks_are_refused(self):
    with self.assertRaisesRegex(ValueError, "'y'"):
      train(self.folder, net_assignments=[("cw", ["y"])])
    self.assertFalse(os.path.exists(self.folder))


if __name__ == "__main__":
  absltest.main()
