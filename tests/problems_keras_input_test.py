"""Tests of what problems of Keras models refuse."""

from absl.testing import absltest, parameterized
import keras
import tensorflow as tf

from tests.toy_keras import (
  INPUTS,
  SAME,
  TARGETS,
  called,
  layers,
  make,
)


def normal_noise():
  return keras.layers.Lambda(lambda x: x + tf.random.normal([4]))


def unseeded_noise():
  return keras.layers.Lambda(lambda x: x + keras.random.normal([4]))


class Lazy(keras.Model):
  """A model that makes a layer whenever it runs."""

  def __init__(self):
    super().__init__()
    self.first = keras.layers.Dense(2)

  def call(self, inputs):
    return keras.layers.Dense(2)(self.first(inputs))


class BadInputTest(parameterized.TestCase):

  @parameterized.parameters(
      ({"model_fn": 3}, "model_fn is 3, but must be a function"),
      ({"model_fn": keras.Sequential([
          keras.Input([2]), keras.layers.Dense(1)])},
       "model_fn is <Sequential .*, but must be a function"),
      ({"model_fn": lambda: None}, "model_fn returns NoneType, but must"),
      ({"model_fn": lambda: keras.Sequential([keras.layers.Dense(2)])},
       "has no weights yet: begin with keras.Input"),
      ({"model_fn": lambda: keras.Sequential([
          keras.Input([2]), keras.layers.ReLU()])}, "no trainable weights"),
      ({"model_fn": called(Lazy, INPUTS)}, "creates '.*' while it runs"),
      ({"model_fn": layers(normal_noise)},
       "runs RandomStandardNormal, which keeps a state"),
      ({"model_fn": layers(unseeded_noise)},
       "changes a variable that is not its own, as keras.random does without"),
      ({"data": (INPUTS[:, :2], TARGETS)},
       r"cannot be called on inputs of float32 \[5, 2\]: "),
      ({"model_fn": layers(
          lambda: keras.layers.Dense(4, dtype="float16"))},
       "weights are of float16, float32, but must all be of float32"),
      ({"data": (INPUTS.tolist(), TARGETS)}, r"float32 \[\], \.\.\., but all"),
      ({"loss_fn": None}, "loss_fn is None, but must be a function"),
      ({"loss_fn": keras.losses.MeanSquaredError},
       "loss_fn is <class .*MeanSquaredError'>, but must be a function"),
      ({"loss_fn": "none_such"}, "none_such"),
      ({"loss_fn": lambda t, y: (t - y)**2},
       r"loss_fn returns float32 \[5, 2\] for targets of float32 \[5, 2\] and "
       r"outputs of float32 \[5, 2\], but must return floats of shape \[\] or "
       r"\[5\]"),
      ({"loss_fn": lambda t, y: tf.argmax(y, 1)}, r"returns int64 \[5\]"),
      ({"loss_fn": lambda t, y: tf.round(y[:, 0])}, "has no gradient"),
      ({"loss_fn": lambda t, y: t @ y},
       r"loss_fn cannot be called on targets of .* and outputs of .*: "),
      ({"batch_size": 0}, "batch_size is 0"),
      ({"data": INPUTS}, "data is ndarray, but must be a tuple"),
      ({"data": (INPUTS,)}, "data is tuple, but must be a tuple of inputs and"),
      ({"data": (INPUTS, TARGETS[:3])},
       r"data has float32 \[7, 3\], float32 \[3, 2\], but all must have the "
       "same number"),
      ({"data": (INPUTS[:0], TARGETS[:0])}, "data is empty"),
      ({"data": (INPUTS, 1.)}, "one entry for each example"),
      ({"data": (INPUTS, object())}, "data has no arrays"))
  def test_what_cannot_work_is_named(self, arguments, message):
    with self.assertRaisesRegex(ValueError, message):
      make(**arguments)

  def test_model_that_was_there_before_is_refused(self):
    model = layers()()
    with self.assertRaisesRegex(ValueError, "which existed before"):
      make(lambda: model)

  @parameterized.parameters(
      (lambda d: d.repeat(), "data never ends"),
      (lambda d: d.take(0), "data is empty"),
      (lambda d: d.batch(2), "single examples of one shape, not batches"),
      (lambda d: d.map(lambda x, y: x), "but must be a tuple of inputs"))
  def test_data_set_that_cannot_work_is_named(self, change, message):
    data = tf.data.Dataset.from_tensor_slices(SAME)
    with self.assertRaisesRegex(ValueError, message):
      make(data=change(data))


if __name__ == "__main__":
  absltest.main()
