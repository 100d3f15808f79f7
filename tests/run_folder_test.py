"""Tests of the folder of a run."""

import json
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np

from meta import run_folder
import networks
from networks import weights
import problems
from tests import run_files
from tests.toy_runs import SETTINGS, make_epoch, make_trainer, make_validation

NOT_RESUMED = r"which holds a run\. Resume it with --resume"
NETWORKS = {
    "networks": {"cw": {
        "net": "CoordinateWiseDeepLSTM", "net_options": {
            "layers": [], "preprocess_name": "identity",
            "preprocess_options": {}, "scale": 1.}}},
    "net_assignments": None}
LOSSES = {"initial_losses": [1.]}


class RunFolderTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.trainer = make_trainer()

  def setUp(self):
    super().setUp()
    self.parent = self.enter_context(tempfile.TemporaryDirectory())
    self.folder = os.path.join(self.parent, "runs", "run")

  def claim(self, folder=None, resume=False, trainer=None, **settings):
    claimed = run_folder.RunFolder(
        folder or self.folder, trainer or self.trainer, SETTINGS | settings,
        resume)
    claimed.close()
    return claimed

  def assert_refused(self, error, pattern, folder=None, **options):
    """Asserts that a folder is not claimed, and left as it is."""
    folder = folder or self.folder
    before = run_files.files(self.parent)
    with self.assertRaisesRegex(error, pattern):
      self.claim(folder, **options)
    self.assertEqual(run_files.files(self.parent), before)

  def test_network_that_no_file_can_hold_is_refused(self):
    class Own(networks.CoordinateWiseDeepLSTM):
      pass

    trainer = make_trainer()
    trainer.optimizer.networks = {"cw": Own(layers=())}
    self.assert_refused(
        ValueError, "is a Own, a class that is not of the library",
        trainer=trainer)

  @parameterized.parameters(False, True)
  def test_folder_is_made_with_the_settings(self, resume):
    self.claim(resume=resume)
    text = pathlib.Path(self.folder, "run.json").read_text()
    self.assertEqual(json.loads(text), SETTINGS | NETWORKS | LOSSES)

  @parameterized.parameters(False, True)
  def test_empty_folder_is_used(self, resume):
    os.makedirs(self.folder)
    # What is left if writing the settings was interrupted.
    pathlib.Path(self.folder, ".run.json.7.tmp").write_text("{")
    self.claim(resume=resume)
    self.assertContainsSubset(["run.json"], run_files.files(self.folder))
    self.assertNotIn(".run.json.7.tmp", run_files.files(self.folder))

  def test_run_is_not_resumed_unless_asked(self):
    self.claim()
    self.assert_refused(
        ValueError, f"^save_path is {self.folder}, {NOT_RESUMED}")

  @parameterized.parameters(
      ({"num_steps": 3}, "--num_steps=2"),
      ({"learning_rate": 0.25}, r"--learning_rate=0\.5"),
      ({"stagger": True}, "--stagger=false"),
      ({"problem": "quadratic"}, "--problem=simple"),
      ({"layers": [3]}, "no --layers"),
      ({"num_steps": 3, "problem": "quadratic"},
       "--problem=simple --num_steps=2"))
  def test_run_of_other_settings_is_not_resumed(self, settings, named):
    self.claim()
    self.assert_refused(
        ValueError, f"^The run in {self.folder} was started with {named}: "
        "resume it with the same", resume=True, **settings)

  def test_settings_are_named_as_they_are_typed(self):
    self.claim(layers=["4", "4"])
    self.assert_refused(
        ValueError, "was started with --layers=4,4: resume", resume=True)

  def test_setting_that_is_not_given_again_is_another_one(self):
    self.claim(temperature=0.5)
    self.assert_refused(
        ValueError, "was started with --temperature=0.5: resume", resume=True)

  def test_all_coordinates_are_a_setting_that_can_be_given(self):
    self.claim(sampled_coordinates=None)
    self.assert_refused(
        ValueError, "was started with --sampled_coordinates=all: resume",
        resume=True, sampled_coordinates=2000)

  def test_numbers_of_numpy_are_settings(self):
    self.claim(num_steps=np.int64(5), curriculum=np.array([1, 2]))
    self.claim(num_steps=5, curriculum=[1, 2], resume=True)

  def test_setting_that_an_older_version_lacked_was_at_its_default(self):
    self.claim()
    self.claim(resume=True, seed=0, num_tasks=1)
    self.assert_refused(ValueError, "was started with --seed=0: resume",
                        resume=True, seed=1)

  def test_run_on_other_images_is_not_resumed(self):
    self.claim(images="MNIST")
    self.claim(resume=True, images="MNIST")
    for settings in {"images": "synthetic"}, {}:
      self.assert_refused(
          ValueError, 'was started with the images "MNIST", but is resumed '
          "with ", resume=True, **settings)

  def test_run_of_an_older_version_has_any_images(self):
    self.claim()
    self.claim(resume=True, images="MNIST")

  def test_byte_order_mark_of_an_editor_is_skipped(self):
    self.claim()
    file = pathlib.Path(self.folder, "run.json")
    file.write_text(file.read_text(), encoding="utf-8-sig")
    self.claim(resume=True)

  def test_compilation_may_be_another_when_a_run_is_resumed(self):
    self.claim()
    self.claim(resume=True, jit_compile=False)
    text = pathlib.Path(self.folder, "run.json").read_text()
    self.assertEqual(json.loads(text), SETTINGS | NETWORKS | LOSSES)

  @parameterized.parameters(False, True)
  def test_folder_of_other_files_is_refused(self, resume):
    pathlib.Path(self.parent, "thesis.tex").write_text("Unique.")
    self.assert_refused(
        ValueError, f"^save_path is {self.parent}, a folder of other files",
        self.parent, resume=resume)

  @parameterized.parameters("", "/run")
  def test_path_that_is_a_file_is_refused(self, below):
    pathlib.Path(self.parent, "file").write_text("Unique.")
    folder = f"{self.parent}/file{below}"
    self.assert_refused(
        OSError, f"^save_path is {folder}, but this folder cannot be made: ",
        folder)

  def test_path_that_cannot_be_made_is_refused(self):
    self.assert_refused(OSError, "/proc/run", "/proc/run")

  @parameterized.parameters("{", "[]", "{}", "[1]", "")
  def test_damaged_settings_are_refused(self, text):
    pathlib.Path(self.parent, "run.json").write_text(text)
    self.assert_refused(ValueError, self.parent, self.parent, resume=True)

  def test_damaged_checkpoint_is_refused(self):
    self.claim().save_checkpoint()
    for path in pathlib.Path(self.folder, "checkpoints").glob("*.index"):
      path.write_bytes(b"garbage")
    self.assert_refused(
        OSError, "^Cannot read .*checkpoints/ckpt-0: ", resume=True)

  def test_damaged_checkpoint_gives_way_to_the_one_before(self):
    trainer = make_trainer()
    folder = self.claim(trainer=trainer)
    for _ in range(2):
      trainer.run_epoch()
      folder.save_checkpoint()
    for path in pathlib.Path(self.folder, "checkpoints").glob("ckpt-2.data*"):
      path.write_bytes(path.read_bytes()[:60])
    restored = make_trainer()
    self.claim(trainer=restored, resume=True)
    self.assertEqual(restored.num_epochs, 1)

  @parameterized.parameters(None, "", 'model_checkpoint_path: "ckpt-2"\nall_m')
  def test_checkpoints_are_found_without_their_list(self, text):
    trainer = make_trainer()
    folder = self.claim(trainer=trainer)
    for number in (9, 10, 11):
      trainer._num_epochs.assign(number)
      folder.save_checkpoint()
    listed = pathlib.Path(self.folder, "checkpoints", "checkpoint")
    listed.unlink()
    if text is not None:
      listed.write_text(text)
    self.assertTrue(run_folder.has_checkpoint(self.folder))
    restored = make_trainer()
    folder = self.claim(trainer=restored, resume=True)
    self.assertEqual(restored.num_epochs, 11)
    restored._num_epochs.assign(12)
    folder.save_checkpoint()
    self.assertIn('model_checkpoint_path: "ckpt-12"', listed.read_text())

  @parameterized.parameters({"layers": (2,)}, {"scale": 3.})
  def test_run_of_other_networks_is_not_resumed(self, **options):
    self.claim()
    name, = options
    self.assert_refused(
        ValueError, f'with the networks .*"{name}": .*, but is resumed with '
        f'.*"{name}": .*: resume it with the same', resume=True,
        trainer=make_trainer(**options))
    self.claim(resume=True)

  def test_run_of_another_problem_is_not_resumed(self):
    self.claim()
    self.assert_refused(
        ValueError, f"The run in {self.folder} was started on a problem whose "
        r"loss is \[1.0\] at first, but is resumed on one whose loss is \[",
        trainer=make_trainer(problem=problems.Quadratic()), resume=True)

  def test_run_of_other_assignments_is_not_resumed(self):
    self.claim()
    trainer = make_trainer()
    trainer.net_assignments = [("cw", ["x"])]
    self.assert_refused(
        ValueError, r'the net_assignments null, but is resumed with \[\["cw", ',
        resume=True, trainer=trainer)

  @parameterized.parameters(((), (2,)), ((2,), (2, 2)), ((2, 2), (2,)))
  def test_checkpoint_of_fewer_or_more_layers_is_refused(self, layers, others):
    self.claim(trainer=make_trainer(layers)).save_checkpoint()
    # As in a run of an older version.
    pathlib.Path(self.folder, "run.json").write_text(json.dumps(SETTINGS))
    self.assert_refused(
        ValueError, "is of other networks, or of parameters of other names: ",
        resume=True, trainer=make_trainer(others))

  def test_state_is_restored(self):
    trainer = make_trainer()
    folder = self.claim(trainer=trainer)
    values = []
    for i, variable in enumerate(trainer.meta_step.network.variables):
      values.append(np.full(variable.shape, i + .5, np.float32))
      variable.assign(values[-1])
    folder.save_checkpoint()
    restored = make_trainer()
    self.claim(resume=True, trainer=restored)
    for variable, value in zip(
        restored.meta_step.network.variables, values, strict=True):
      np.testing.assert_array_equal(variable, value)

  def test_two_checkpoints_are_kept(self):
    trainer = make_trainer()
    folder = self.claim(trainer=trainer)
    for number in (1, 2, 3):
      trainer._num_epochs.assign(number)
      folder.save_checkpoint()
    self.assertEqual(
        sorted(name for name in os.listdir(f"{self.folder}/checkpoints")
               if name.endswith(".index")), ["ckpt-2.index", "ckpt-3.index"])

  def test_epochs_are_shown_by_tensorboard(self):
    folder = self.claim()
    folder.epoch(make_epoch(1, (1., np.nan)))
    folder.epoch(make_epoch(2))
    folder.epoch(make_epoch(3, (np.inf, np.inf)))
    folder.save_checkpoint()
    logged = run_files.scalars(self.folder)
    expected = {
        "training/meta_loss": [.75] * 3, "training/final_loss": [.25] * 3,
        "training/meta_gradient_norm": [np.nan, 2., np.inf],
        "meta_gradient_norm/unroll_1": [1., 1., np.inf],
        "meta_gradient_norm/unroll_2": [np.nan, 3., np.inf],
        "training/meta_gradients_dropped": [1, 0, 2],
        "training/learning_rate": [.5] * 3, "training/num_steps": [2] * 3,
        "training/steps_per_second": [4.] * 3}
    self.assertCountEqual(logged, expected)
    for tag, values in expected.items():
      self.assertEqual(list(logged[tag]), [1, 2, 3])
      np.testing.assert_array_equal(list(logged[tag].values()), values, tag)

  def test_decay_of_the_learning_rate_is_shown_by_tensorboard(self):
    folder = self.claim(trainer=make_trainer(decay_epochs=2))
    for number in (1, 2, 3):
      folder.epoch(make_epoch(number))
    folder.save_checkpoint()
    logged = run_files.scalars(self.folder)["training/learning_rate"]
    np.testing.assert_allclose(
        [logged[number] for number in (1, 2, 3)], [.5, .25, 0.])

  def test_speed_is_that_of_the_length_of_the_runs(self):
    folder = self.claim()
    for number in (1, 2):
      folder.epoch(make_epoch(number)._replace(num_steps=10 * number))
    folder.save_checkpoint()
    logged = run_files.scalars(self.folder)["training/steps_per_second"]
    self.assertEqual(logged, {1: 20., 2: 40.})

  @parameterized.parameters((None, ""), ("f", "/f"))
  def test_curves_of_imitation_are_others(self, problem, name):
    folder = self.claim()
    folder.epoch(make_epoch()._replace(problem=problem, is_imitation=True))
    folder.save_checkpoint()
    logged = run_files.scalars(self.folder)
    self.assertContainsSubset(
        [f"training/meta_loss{name}/imitation",
         f"meta_gradient_norm/unroll_1{name}/imitation"], logged)
    self.assertNotIn(f"training/meta_loss{name}", logged)

  def test_curves_of_several_problems_have_their_names(self):
    folder = self.claim()
    folder.epoch(make_epoch()._replace(problem="mine:f"))
    folder.validation(make_validation()._replace(problem="mine:f"))
    folder.save_checkpoint()
    logged = run_files.scalars(self.folder)
    self.assertContainsSubset(
        ["training/final_loss/mine:f", "training/meta_gradients_dropped",
         "training/learning_rate", "meta_gradient_norm/unroll_2/mine:f",
         "validation/final_loss/mine:f", "validation/loss_curve/mine:f",
         "diagnostics/cosine/mine:f"], logged)
    self.assertNotIn("training/final_loss", logged)

  def test_settings_that_are_no_json_are_refused(self):
    with self.assertRaisesRegex(ValueError, "The description is .* JSON"):
      self.claim(data=pathlib.Path("x"))

  def test_settings_are_compared_as_json(self):
    self.claim(weights=(1., 2.))
    self.claim(resume=True, weights=[1., 2.])
    self.claim(resume=True, weights=(1., 2.))

  def test_validations_are_shown_by_tensorboard(self):
    folder = self.claim()
    folder.validation(make_validation(2))
    folder.validation(make_validation(
        4, ((5., 4., 3e38), (3., 2., 3e38))))  # Of which a sum overflows.
    folder.save_checkpoint()
    logged = run_files.scalars(self.folder)
    expected = {
        "validation/final_loss": {2: 1.5, 4: 3e38},
        "validation/loss_curve": {0: 4., 1: 3., 2: 3e38},  # The last one.
        "diagnostics/gradient_size": {2: 1.5, 4: 1.5},
        "diagnostics/update_size": {2: .2, 4: .2},
        "diagnostics/cosine": {2: .5, 4: .5},
        "diagnostics/saturated": {2: .6, 4: .6}}
    self.assertCountEqual(logged, expected)
    for tag, values in expected.items():
      self.assertEqual(list(logged[tag]), list(values))
      np.testing.assert_allclose(
          list(logged[tag].values()), list(values.values()), rtol=1e-6)

  @parameterized.parameters((False, 4), (True, 5))
  def test_best_networks_are_written_or_the_last(self, keep_last, expected):
    folder = self.claim(trainer=make_trainer(keep_last=keep_last))
    filename = os.path.join(self.folder, "cw.l2l")
    folder.validation(make_validation(3, improved=False))
    self.assertEqual(os.path.exists(filename), keep_last)
    folder.validation(make_validation(4, improved=True))
    folder.validation(make_validation(5, improved=False))
    self.assertEqual(
        weights.read(filename).trained_on, SETTINGS | {"num_epochs": expected})

  def test_networks_are_written_once_for_all_problems(self):
    trainer = make_trainer(keep_last=True)
    folder = self.claim(trainer=trainer)
    with mock.patch.object(
        trainer.optimizer, "save", wraps=trainer.optimizer.save) as save:
      for epoch in (3, 4):
        for name in "ab":
          folder.validation(make_validation(epoch)._replace(problem=name))
    self.assertEqual(save.call_count, 2)


if __name__ == "__main__":
  absltest.main()
