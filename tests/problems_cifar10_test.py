"""Tests of the network on CIFAR-10."""

import tempfile

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from problems import cifar10
from tests import assertions, fake_data

SEED = (1, 2)


def normalize(x, beta):
  """Batch normalization, shapes [..., C]."""
  x = x - x.mean(axis=tuple(range(x.ndim - 1)))
  return x / np.sqrt(np.mean(x**2, axis=tuple(range(x.ndim - 1))) + 1e-3) + beta


class Cifar10Test(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.data_dir = self.enter_context(tempfile.TemporaryDirectory())
    self.records = fake_data.write_cifar10(self.data_dir, per_batch=6)

  def make(self, **options):
    return cifar10.Cifar10(**{"data_dir": self.data_dir, **options})

  @parameterized.parameters(("cifar10_bn", True), ("cifar10_nobn", False))
  def test_loss_and_gradients_are_golden(self, key, batch_norm):
    assertions.assert_golden(
        self.make(batch_norm=batch_norm),
        assertions.golden("golden_cifar10.npz", key))

  def test_default_network_is_the_original_one(self):
    params, constants = self.make().sample(tf.constant(SEED))
    self.assertEqual(sum(int(tf.size(p)) for p in params.values()), 22682)
    self.assertEqual(constants, ())
    expected = assertions.golden("golden_cifar10.npz", "cifar10_bn/params")
    self.assertEqual({name: p.shape for name, p in params.items()},
                     {name: p.shape for name, p in expected.items()})

  def test_weights_and_biases_are_random_and_offsets_zero(self):
    params, _ = self.make(linear_layers=(300, 40)).sample(tf.constant(SEED))
    self.assertIn("mlp/batch_norm_1/beta", params)
    for name, value in params.items():
      with self.subTest(name):
        if name.endswith("/beta"):
          np.testing.assert_array_equal(value, np.zeros(value.shape))
        else:
          self.assertBetween(np.std(value), 0.004, 0.016)

  def test_logits_are_those_of_the_layers_by_hand(self):
    problem = self.make(conv_channels=(), linear_layers=(4,))
    params, _ = problem.sample(tf.constant(SEED))
    images = np.random.default_rng(0).uniform(size=[5, 32, 32, 3]).astype("f4")
    h = images.reshape([5, -1]).astype(np.float64)
    h = h @ params["mlp/linear_0/w"] + params["mlp/linear_0/b"]
    h = np.maximum(normalize(h.numpy(), 0.), 0.)
    np.testing.assert_allclose(
        problem.logits(params, tf.constant(images)),
        h @ params["mlp/linear_1/w"] + params["mlp/linear_1/b"], rtol=1e-3)

  @parameterized.parameters(("train", 1), ("validation", 2), ("test", 3))
  def test_minibatches_come_from_the_split(self, split, label):
    for name, records in self.records.items():
      records[:, 0] = 3 if name == "test_batch.bin" else 1
      if name == "data_batch_1.bin":  # The first tenth of the training images.
        records[:3, 0] = 2
      records.tofile(f"{self.data_dir}/{name}")
    problem = self.make(
        split=split, batch_size=64, conv_channels=(), linear_layers=())
    b = np.random.default_rng(0).normal(size=10).astype(np.float32)
    losses = np.log(np.sum(np.exp(b))) - b
    params = {"mlp/linear_0/w": tf.zeros([3072, 10]), "mlp/linear_0/b": b}
    np.testing.assert_allclose(
        problem.loss(params, (), tf.constant(SEED)), losses[label], rtol=1e-5)

  @parameterized.parameters((3, 5), (5, 3, 8))
  def test_labels_select_images_and_are_renumbered(self, *labels):
    train = np.concatenate([
        self.records[f"data_batch_{i}.bin"] for i in range(1, 6)])[3:]
    problem = self.make(labels=labels, conv_channels=(), linear_layers=())
    chosen = train[np.isin(train[:, 0], labels)]
    images, numbers = problem._data
    np.testing.assert_array_equal(
        np.array(labels)[numbers.numpy()], chosen[:, 0])
    np.testing.assert_array_equal(
        images[0], chosen[0, 1:].reshape([3, 32, 32]).transpose([1, 2, 0]))
    params, _ = problem.sample(tf.constant(SEED))
    self.assertEqual(params["mlp/linear_0/w"].shape, [3072, len(labels)])

  def test_images_stay_bytes(self):
    images, _ = self.make().minibatch(tf.constant(SEED))
    self.assertEqual(images.dtype, tf.uint8)

  @parameterized.parameters(
      ("conv_channels", 16, "conv_channels is 16"),
      ("conv_channels", (16, 0), r"conv_channels\[1\] is 0"),
      ("conv_channels", (1,) * 6, "at most five"),
      ("linear_layers", (2.5,), r"linear_layers\[0\] is 2.5"),
      ("batch_size", 0, "batch_size is 0"),
      ("labels", (), "two or more different classes of 0 to 9"),
      ("labels", (1,), r"labels is \(1,\)"),
      ("labels", (1, 1), r"labels is \(1, 1\)"),
      ("labels", (1, 10), r"labels is \(1, 10\)"),
      ("labels", (1, 2.5), r"labels is \(1, 2.5\)"),
      ("labels", "01", "labels is '01'"),
      ("labels", 5, "labels is 5, but must be two or more"),
      ("split", "dev", r"'dev', .*\['test', 'train', 'validation'\]"))
  def test_bad_argument_is_named_before_files_are_read(
      self, name, value, message):
    with self.assertRaisesRegex(ValueError, message):
      cifar10.Cifar10(**{name: value})

  def test_labels_without_images_are_reported(self):
    fake_data.write_cifar10(self.data_dir, label=7)
    with self.assertRaisesRegex(
        ValueError, r"labels is \[1, 2\], .* the files have images: \[7\]"):
      self.make(labels=(1, 2))

  def test_missing_files_are_reported(self):
    with self.assertRaisesRegex(FileNotFoundError, "No CIFAR-10 under"):
      cifar10.Cifar10(data_dir=f"{self.data_dir}/nowhere")


if __name__ == "__main__":
  absltest.main()
