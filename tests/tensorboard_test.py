"""Tests of what is written for TensorBoard."""

import os
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image
import tensorflow as tf

from meta import tensorboard
from tests import fake_data, run_files


class TensorboardTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = os.path.join(
        self.enter_context(tempfile.TemporaryDirectory()), "log")

  def test_curves_have_a_value_for_each_step(self):
    tensorboard.write_curves(
        self.folder, {"loss": [3., 2., 1.5], "size": np.float64([1., np.inf])})
    self.assertEqual(run_files.scalars(self.folder), {
        "loss": {0: 3., 1: 2., 2: 1.5}, "size": {0: 1., 1: np.inf}})

  def test_curves_are_one_run_of_their_folder(self):
    tensorboard.write_curves(self.folder, {"a": [1.], "b": [2.]})
    self.assertLen(os.listdir(self.folder), 1)

  def test_picture_is_shown_as_it_is(self):
    pixels = np.random.default_rng(0).integers(0, 256, [4, 6, 3], np.uint8)
    picture = f"{self.folder}.png"
    fake_data.write_image(picture, pixels)
    tensorboard.write_picture(self.folder, "updates", picture)
    file, = pathlib.Path(self.folder).glob("events.*")
    values = [value for event in tf.compat.v1.train.summary_iterator(str(file))
              for value in event.summary.value]
    self.assertEqual([value.tag for value in values], ["updates"])
    width, height, png = tf.make_ndarray(values[0].tensor)
    self.assertEqual((int(width), int(height)), (6, 4))
    np.testing.assert_array_equal(tf.io.decode_png(png), pixels)
    with Image.open(picture) as image:
      np.testing.assert_array_equal(image, pixels)


if __name__ == "__main__":
  absltest.main()
