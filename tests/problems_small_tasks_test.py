"""Tests of small, wide and hard tasks."""

import functools
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

import problems
from problems.datasets import mnist
from tests import fake_data

SEED = tf.constant([1, 2])
NOISE = tf.constant([3, 4])
NUM_KINDS = 11
INDICES = [*range(2 * NUM_KINDS)]
NUM_WIDE = 5
NUM_HARD = 6


@functools.cache
def task(index):
  """A task that reads noise in the place of MNIST, or none for some."""
  with tempfile.TemporaryDirectory() as folder:
    fake_data.write_mnist(folder)
    return problems.small_task(index, folder)


@functools.cache
def wide_task(index):
  """A wide task that reads noise in the place of MNIST."""
  with tempfile.TemporaryDirectory() as folder:
    fake_data.write_mnist(folder)
    return problems.wide_task(index, folder)


def loss_of_one(problem, seed):
  params, constants = problem.sample(seed)
  return float(problem.loss(params, constants, NOISE))


class SmallTaskTest(parameterized.TestCase):

  @parameterized.parameters(*INDICES)
  def test_task_is_a_problem_of_moderate_size(self, index):
    problems.check(task(index))
    params, _ = task(index).sample(SEED)
    self.assertBetween(
        sum(tf.size(p).numpy() for p in params.values()), 30, 20_000)

  @parameterized.parameters(*((task, i) for i in INDICES),
                            *((wide_task, i) for i in range(NUM_WIDE)),
                            *((problems.hard_task, i) for i in range(NUM_HARD)))
  def test_gradient_step_lowers_the_loss(self, make, index):
    problem = make(index)
    params, constants = problem.sample(SEED)
    with tf.GradientTape() as tape:
      tape.watch(params)
      before = problem.loss(params, constants, NOISE)
    gradients = tape.gradient(before, params)
    norm = tf.linalg.global_norm([*gradients.values()])
    after = problem.loss(
        {k: x - 1e-3 * gradients[k] / norm for k, x in params.items()},
        constants, NOISE)
    self.assertLess(after, before)

  def test_index_determines_the_task(self):
    again = problems.small_task(0)
    self.assertEqual(loss_of_one(again, SEED), loss_of_one(task(0), SEED))

  def test_tasks_differ_in_shape(self):
    shapes = {
        str([(name, x.shape) for name, x in task(i).sample(SEED)[0].items()])
        for i in INDICES}
    self.assertLen(shapes, len(INDICES))

  def test_only_autoencoders_reconstruct(self):
    with tempfile.TemporaryDirectory() as folder:
      fake_data.write_mnist(
          folder, x_train=np.full([24, 28, 28], 255, np.uint8))
      made = [*(problems.small_task(i, folder) for i in range(NUM_KINDS)),
              *(problems.wide_task(i, folder) for i in range(NUM_WIDE))]
    losses = []
    for problem in made:  # At weights of 0, which give outputs of 0.
      params, constants = problem.sample(SEED)
      zeros = {name: tf.zeros_like(x) for name, x in params.items()}
      losses.append(np.mean(problem.loss(zeros, constants, NOISE)))
    expected = np.full(len(made), np.log(10.))  # Of ten classes.
    expected[[9, NUM_KINDS + 1]] = 1.  # The mean square of white digits.
    is_network = np.arange(len(made)) != 6  # Not the quadratic function.
    np.testing.assert_allclose(
        np.array(losses)[is_network], expected[is_network], rtol=1e-5)

  def test_synthetic_images_are_others_in_each_run(self):
    losses = {loss_of_one(task(0), tf.constant([i, 0])) for i in range(5)}
    self.assertLen(losses, 5)

  def test_labels_can_be_learned_from_synthetic_images(self):
    problem = problems.small_task(2 * NUM_KINDS + 10)  # Logistic regression.
    params, constants = problem.sample(SEED)
    variables = {name: tf.Variable(x) for name, x in params.items()}
    adam = tf.keras.optimizers.Adam(0.03)
    first = None
    for i in range(60):
      with tf.GradientTape() as tape:
        loss = problem.loss(
            {k: tf.convert_to_tensor(v) for k, v in variables.items()},
            constants, tf.constant([i, i]))
      adam.apply(tape.gradient(loss, [*variables.values()]),
                 [*variables.values()])
      first = first or float(loss)
    self.assertLess(loss, first / 4)

  def test_odd_tasks_read_the_split_of_mnist(self):
    with tempfile.TemporaryDirectory() as folder:
      fake_data.write_mnist(folder, x_test=np.zeros([3, 28, 28], np.uint8))
      losses = [loss_of_one(problems.small_task(1, folder, split), SEED)
                for split in ("train", "test")]
      even = [loss_of_one(problems.small_task(0, folder, split), SEED)
              for split in ("train", "test")]
    self.assertNotEqual(*losses)
    self.assertEqual(*even)

  def test_needs_no_files(self):
    self.assertTrue(np.isfinite(loss_of_one(problems.small_task(1), SEED)))

  @parameterized.parameters(-1, 1.5, "1")
  def test_index_of_no_small_task_is_refused(self, index):
    with self.assertRaisesRegex(
        ValueError, f"index is {index!r}, but must be an integer of at leas"):
      problems.small_task(index)

  def test_missing_data_are_named(self):
    with self.assertRaisesRegex(FileNotFoundError, "No MNIST under"):
      problems.small_task(1, "/nowhere")

  def test_digits_may_be_downloaded(self):
    for make in (problems.small_task, problems.wide_task):
      with mock.patch.object(
          mnist, "read", side_effect=OSError("no network")) as read:
        with self.assertRaisesRegex(OSError, "no network"):
          make(1, None, download=True)
      read.assert_called_once_with(None, "train", True)

  @parameterized.parameters(*range(NUM_WIDE))
  def test_wide_task_is_larger_than_the_small_ones_of_its_kind(self, index):
    problems.check(wide_task(index))
    of_its_kind = [[0, 1, 5, 8], [9], [7], [4], [2, 3]][index]
    wide, *small = (
        sum(tf.size(x).numpy() for x in problem.sample(SEED)[0].values())
        for problem in (wide_task(index), *map(task, of_its_kind)))
    self.assertGreater(wide, 2 * max(small))

  def test_wide_tasks_need_no_files(self):
    self.assertTrue(np.isfinite(loss_of_one(problems.wide_task(3), SEED)))

  @parameterized.parameters(
      (problems.wide_task, -1), (problems.wide_task, NUM_WIDE),
      (problems.hard_task, -1), (problems.hard_task, NUM_HARD),
      (problems.hard_task, 1.))
  def test_task_that_there_is_not_is_refused(self, make, index):
    with self.assertRaisesRegex(
        ValueError, f"index is {index}, but must be an integer from 0 to "):
      make(index)

  @parameterized.parameters(*range(NUM_HARD))
  def test_hard_task_is_a_problem_of_moderate_size(self, index):
    problem = problems.hard_task(index)
    problems.check(problem)
    params, _ = problem.sample(SEED)
    self.assertBetween(
        sum(tf.size(p).numpy() for p in params.values()), 2722, 17_418)

  def test_class_of_a_hard_task_has_thirty_patterns(self):
    problem = problems.hard_task(3)
    _, patterns = problem.sample(SEED)
    self.assertEqual(patterns.shape, [300, 14, 14, 1])
    images, labels = problem._images.minibatch(patterns, 1000, NOISE)
    distances = np.linalg.norm(
        np.reshape(images, [1000, 1, -1]) - np.reshape(patterns, [1, 300, -1]),
        axis=-1)
    nearest = distances.argmin(1)
    self.assertGreater(np.mean(nearest % 10 == labels), 0.99)
    self.assertGreater(len(set(nearest)), 280)


if __name__ == "__main__":
  absltest.main()
