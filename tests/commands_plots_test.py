"""Tests of what `evaluate.py` draws."""

import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import matplotlib.image
import numpy as np
import tensorflow as tf

from meta import plots, seeds, unroll
import networks
from tests import fake_data, programs, run_files


class PlotTest(programs.EagerTestCase):

  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())

  def path(self, name):
    return os.path.join(self.folder, name)

  def plot(self, function, *argv):
    """The arguments that the program gives to a function, which is called."""
    with mock.patch.object(plots, function, autospec=True,
                           side_effect=getattr(plots, function)) as called:
      self.assert_done(programs.run("evaluate", *programs.EVALUATE, *argv))
    return called.call_args.args

  def test_learning_curves_are_those_of_the_rows(self):
    filename, losses, title = self.plot(
        "learning_curves", "--problem=quadratic", "--optimizer=Sgd,Adam",
        f"--plot={self.path('losses.png')}", f"--output={self.path('a.csv')}")
    self.assertEqual((filename, title),
                     (self.path("losses.png"), "quadratic"))
    self.assertEqual(run_files.read_losses(self.path("a.csv")), {
        (name, *index): loss for name, runs in losses.items()
        for index, loss in np.ndenumerate(runs)})
    self.assertTrue(
        pathlib.Path(filename).read_bytes().startswith(programs.PNG))

  def test_updates_are_drawn_and_logged(self):
    tf.config.run_functions_eagerly(False)  # There are many small steps.
    programs.save_network(self.path("net"), layers=(2,))
    picture = self.path("updates.png")
    filename, responses, traces, title = self.plot(
        "updates", "--num_epochs=1", "--problem=quadratic", "--seed=0",
        "--optimizer=L2L,Sgd", "--learning_rate=0.1",
        f"--path={self.path('net')}", f"--plot_updates={picture}",
        f"--output={self.path('a.csv')}", f"--logdir={self.path('log')}")
    self.assertEqual((filename, title), (picture, "quadratic"))
    self.assertLen(responses, 3 * 4)
    self.assertEqual(list(responses[0].updates), ["L2L", "Sgd", "Adam"])
    self.assertEqual(list(traces), ["L2L", "Sgd"])
    logged = run_files.scalars(self.path("log/Sgd"))
    for step in range(5):
      np.testing.assert_allclose(
          logged["updates/loss"][step],
          run_files.read_losses(self.path("a.csv"))["Sgd", 0, step], rtol=1e-5)
    np.testing.assert_allclose(
        list(logged["updates/update_size"].values()),
        0.1 * np.array(list(logged["updates/gradient_size"].values())),
        rtol=1e-5)
    self.assertIn("updates/cw/saturated_gates/lstm_1",
                  run_files.scalars(self.path("log/L2L")))
    event, = pathlib.Path(self.path("log")).glob("events.*")
    self.assertIn(pathlib.Path(picture).read_bytes()[:8], event.read_bytes())

  @parameterized.parameters(
      ("--optimizer=Sgd", "--num_steps=40", "--learning_rate=1e6"),  # Diverges.
      ("--num_steps=1",))  # L2L, whose first updates are 0.
  def test_updates_without_size_are_drawn_without_warning(self, *argv):
    tf.config.run_functions_eagerly(False)  # There are many small steps.
    picture = self.path("updates.png")
    self.plot("updates", "--num_epochs=1", *argv, f"--plot_updates={picture}")
    self.assertTrue(pathlib.Path(picture).read_bytes().startswith(programs.PNG))

  def test_pictures_are_those_of_the_runs(self):
    fake_data.write_neural_art(self.folder, "test", image_size=64)
    filename, problem, contents, results = self.plot(
        "images", "--problem=paper-neural-art", f"--data_dir={self.folder}",
        "--num_steps=1", "--num_epochs=2", "--seed=0", "--optimizer=Sgd,Adam",
        f"--pictures={self.path('pictures.png')}")
    self.assertEqual([len(images) for images in results.values()], [2, 2])
    for i, content in enumerate(contents):
      run = unroll.start(
          networks.Sgd(), problem, seeds.derive(0, "test", i))
      np.testing.assert_array_equal(content, run.constants.image)
    # The second run of Sgd, after its only step.
    _, run = unroll.step(networks.Sgd(0.001), problem, run)
    np.testing.assert_allclose(
        results["Sgd"][1], run.params["image"], rtol=1e-4, atol=1e-4)
    height, width, _ = matplotlib.image.imread(filename).shape
    self.assertGreater(width, 1.5 * height)  # 4 columns, 2 rows.

  def test_pictures_of_no_images_are_refused(self):
    self.assert_error(
        programs.run(
            "evaluate", "--problem=quadratic",
            f"--pictures={self.path('pictures.png')}"),
        "--pictures is for neural art, not quadratic")


if __name__ == "__main__":
  absltest.main()
