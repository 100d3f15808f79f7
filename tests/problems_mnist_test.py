"""Tests of the network on MNIST."""

import tempfile

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from problems import mnist
from tests import assertions, fake_data

SEED = (1, 2)
LABELS = {"train": 5, "validation": 0, "test": 9}  # One label a split.


class MnistTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.data_dir = self.enter_context(tempfile.TemporaryDirectory())
    fake_data.write_mnist(
        self.data_dir,
        y_train=np.uint8([LABELS["validation"]] * 2 + [LABELS["train"]] * 22),
        y_test=np.uint8([LABELS["test"]] * 3))

  def make(self, **options):
    return mnist.Mnist(**{"data_dir": self.data_dir, **options})

  @parameterized.parameters(({}, 0.01), ({"init_stddev": 0.5}, 0.5))
  def test_weights_and_biases_start_with_the_deviation(self, options, stddev):
    params, _ = self.make(layers=(300,), **options).sample(tf.constant(SEED))
    for name, value in params.items():
      with self.subTest(name):
        self.assertBetween(np.std(value) / stddev, 0.4, 1.6)

  @parameterized.parameters(("mnist", (20,), "sigmoid"),
                            ("mnist_relu2", (20, 20), "relu"))
  def test_loss_and_gradients_are_golden(self, key, layers, activation):
    assertions.assert_golden(
        self.make(layers=layers, activation=activation),
        assertions.golden("golden_mnist.npz", key))

  @parameterized.parameters(
      ((), [784, 10]), ((20,), [784, 20, 10]), ([3, 7], [784, 3, 7, 10]))
  def test_parameters_are_those_of_the_layers(self, layers, sizes):
    problem = self.make(layers=layers)
    params, _ = problem.sample(tf.constant(SEED))
    expected = {}
    for i in range(len(sizes) - 1):
      expected[f"mlp/linear_{i}/w"] = sizes[i:i + 2]
      expected[f"mlp/linear_{i}/b"] = sizes[i + 1:i + 2]
    self.assertEqual(
        {name: value.shape.as_list() for name, value in params.items()},
        expected)

  def test_defaults_are_the_original_settings(self):
    problem = self.make()
    params, constants = problem.sample(tf.constant(SEED))
    self.assertEqual(sum(int(tf.size(p)) for p in params.values()), 15910)
    images, labels = problem.minibatch(tf.constant(SEED))
    np.testing.assert_array_equal(labels, [LABELS["train"]] * 128)
    x = np.reshape(images, [128, 784]) / 255.
    w, b, v, c = (np.float64(p) for p in params.values())
    logits = 1. / (1. + np.exp(-(x @ w + b))) @ v + c  # [128, 10]
    losses = np.log(np.sum(np.exp(logits), 1)) - logits[:, LABELS["train"]]
    np.testing.assert_allclose(
        problem.loss(params, constants, tf.constant(SEED)), np.mean(losses),
        rtol=1e-5)

  @parameterized.parameters(*LABELS)
  def test_minibatches_come_from_the_split(self, split):
    problem = self.make(layers=(), split=split, batch_size=7)
    log_p = np.log(np.arange(1, 11) / 55)  # The classes' probabilities.
    params = {"mlp/linear_0/w": tf.zeros([784, 10]),
              "mlp/linear_0/b": tf.constant(log_p, tf.float32)}
    np.testing.assert_allclose(
        problem.loss(params, (), tf.constant(SEED)), -log_p[LABELS[split]],
        rtol=1e-5)

  def test_images_of_another_size_are_refused(self):
    problem = self.make()
    params, _ = problem.sample(tf.constant(SEED))
    with self.assertRaises(tf.errors.InvalidArgumentError):
      problem.loss_on(params, tf.zeros([2, 14, 28]), [0, 1])

  @parameterized.parameters(
      ("layers", 20, "layers is 20"), ("layers", "20", "layers is '20'"),
      ("layers", (20, 0), r"layers\[1\] is 0"),
      ("layers", (2.5,), r"layers\[0\] is 2.5"),
      ("activation", "tanh", r"'tanh', .* one of \['relu', 'sigmoid'\]"),
      ("init_stddev", -1, "init_stddev is -1"),
      ("batch_size", 0, "batch_size is 0"),
      ("batch_size", 1.5, "batch_size is 1.5"),
      ("split", "dev", r"'dev', .*\['test', 'train', 'validation'\]"))
  def test_bad_argument_is_named_before_files_are_read(
      self, name, value, message):
    with self.assertRaisesRegex(ValueError, message):
      mnist.Mnist(**{name: value})

  def test_missing_files_are_reported(self):
    with self.assertRaisesRegex(FileNotFoundError, "No MNIST under"):
      mnist.Mnist(data_dir=f"{self.data_dir}/nowhere")


if __name__ == "__main__":
  absltest.main()
