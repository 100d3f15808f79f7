"""Puts a trained optimizer into Keras programs, in the place of Adam.

  python -m benchmarks.keras_programs --path=general,paper-mnist --data_dir=data

Several trained optimizers are separated by commas. The programs have what
breaks learned optimizers: a training step of their own and a loss of hundreds,
two models that work against each other, a loss of 1e-4, half precision, and an
embedding of which a step uses a few rows. Adam has a learning rate that is
usual in each.
"""

from collections.abc import Callable
import functools
import itertools
from typing import Any, NamedTuple

from absl import flags
import keras
from keras import layers, ops
import numpy as np
import tabulate
import tensorflow as tf
import tqdm

from benchmarks import unseen
from l2lgd import checks
from l2lgd.commands import console, options, program
import meta

FLAGS = flags.FLAGS
for _name in ("path", "only", "runs", "seed", "num_steps", "data_dir",
              "download"):
  flags.declare_key_flag(_name)  # For --help.
flags.DEFINE_list("warmup_steps", ["0"], "Steps of a warm-up, in which the "
                  "updates grow from a tenth of their size.")
_BATCH_SIZE = 128
_NUM_CODES = 2  # Numbers that stand for an image in the auto-encoder.
_NUM_INPUTS = 32  # Numbers of which the generator makes an image.

MakeOptimizer = Callable[[float], keras.optimizers.Optimizer]
"""Returns a new optimizer, for the learning rate that Adam would have."""


class Outcome(NamedTuple):
  """What a run came to."""
  highest: float  # The highest loss of a step, relative to the first.
  final: float  # The mean loss of the last tenth of the steps, or what is said
  # to be in its place.


def main() -> None:
  console.print_device()
  with program.user_errors():
    options.check_positive("num_steps", "runs")
    names = unseen.chosen(FLAGS.only, PROGRAMS)
    for path in FLAGS.path:
      meta.LearnedOptimizer.load(path)  # Before the runs of Adam.
    optimizers: dict[str, MakeOptimizer] = {"Adam": keras.optimizers.Adam}
    for path, steps in itertools.product(
        FLAGS.path, options.integers("warmup_steps")):
      checks.finite("--warmup_steps", steps, minimum=0)
      optimizers[f"{path}, {steps}"] = functools.partial(_learned, path, steps)
    rows = [(name, optimizer, *measure(PROGRAMS[name], make))
            for name in tqdm.tqdm(names)
            for optimizer, make in optimizers.items()]
  print(tabulate.tabulate(rows, headers=(
      "Program", "Optimizer", "Highest", "Final", "Diverged"), floatfmt=".3g"))


def _learned(path: str, warmup_steps: int,
             of_adam: float) -> keras.optimizers.Optimizer:
  del of_adam
  return meta.KerasLearnedOptimizer(
      path, learning_rate=keras.optimizers.schedules.PolynomialDecay(
          0.1, warmup_steps, 1.) if warmup_steps else 1.)


def measure(run: Callable[[MakeOptimizer], Outcome],
            make_optimizer: MakeOptimizer) -> tuple[float, float, int]:
  """Returns the means of the runs that did not diverge, and how many did."""
  outcomes = []
  for i in range(FLAGS.runs):
    keras.utils.set_random_seed(FLAGS.seed + i)
    outcomes.append(run(make_optimizer))
  finite = [o for o in outcomes if np.isfinite(o).all()]
  highest, final = np.mean(finite, 0) if finite else (np.nan, np.nan)
  return highest, final, FLAGS.runs - len(finite)


class _Losses(keras.callbacks.Callback):
  """Collects the loss of each step."""

  def __init__(self):
    super().__init__()
    self._losses: list[float] = []

  def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
    self.model.reset_metrics()  # Keras shows means over the epoch.

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    self._losses.append(float(logs["loss"]))

  def outcome(self, final: float | None = None) -> Outcome:
    last = self._losses[-max(1, len(self._losses) // 10):]
    return Outcome(np.max(self._losses) / self._losses[0],
                   np.mean(last) if final is None else final)


def _fit(model: keras.Model, *data: np.ndarray,
         batch_size: int = _BATCH_SIZE, **kwargs: Any) -> _Losses:
  """Trains a model for `--num_steps`."""
  losses = _Losses()
  batches = tf.data.Dataset.from_tensor_slices(
      data if len(data) > 1 else data[0]).shuffle(
          len(data[0]), seed=FLAGS.seed).repeat().batch(batch_size)
  model.fit(batches, steps_per_epoch=FLAGS.num_steps, shuffle=False, verbose=0,
            callbacks=[losses], **kwargs)
  return losses


class _VariationalAutoencoder(keras.Model):
  """Kingma and Welling 2014, with a training step of its own."""

  def __init__(self):
    super().__init__()
    self._noise = keras.random.SeedGenerator(FLAGS.seed)
    self.encoder = keras.Sequential([
        layers.Conv2D(16, 3, 2, "same", activation="relu"),
        layers.Conv2D(32, 3, 2, "same", activation="relu"),
        layers.Flatten(), layers.Dense(16, "relu"),
        layers.Dense(2 * _NUM_CODES)])
    self.decoder = keras.Sequential([
        layers.Dense(7 * 7 * 32, "relu"), layers.Reshape([7, 7, 32]),
        layers.Conv2DTranspose(32, 3, 2, "same", activation="relu"),
        layers.Conv2DTranspose(16, 3, 2, "same", activation="relu"),
        layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid")])

  def train_step(self, data: tf.Tensor) -> dict[str, tf.Tensor]:
    with tf.GradientTape() as tape:
      mean, log_variance = ops.split(self.encoder(data), 2, axis=1)
      code = mean + ops.exp(log_variance / 2) * keras.random.normal(
          ops.shape(mean), seed=self._noise)
      reconstruction = ops.mean(ops.sum(keras.losses.binary_crossentropy(
          data, self.decoder(code)), axis=(1, 2)))
      divergence = ops.mean(ops.sum(
          ops.square(mean) + ops.exp(log_variance) - log_variance - 1,
          axis=1)) / 2
      loss = reconstruction + divergence
    weights = self.trainable_weights
    self.optimizer.apply_gradients(
        zip(tape.gradient(loss, weights), weights, strict=True))
    return {"loss": loss}


def _variational_autoencoder(make_optimizer: MakeOptimizer) -> Outcome:
  images, _ = unseen.digits()
  model = _VariationalAutoencoder()
  model.compile(make_optimizer(0.001))
  return _fit(model, images).outcome()


class _Adversaries(keras.Model):
  """A generator and a discriminator (Goodfellow et al. 2014)."""

  def __init__(self):
    super().__init__()
    self._noise = keras.random.SeedGenerator(FLAGS.seed)
    self._loss = keras.losses.BinaryCrossentropy(from_logits=True)
    self.discriminator = keras.Sequential([
        layers.Conv2D(16, 3, 2, "same"), layers.LeakyReLU(0.2),
        layers.Conv2D(32, 3, 2, "same"), layers.LeakyReLU(0.2),
        layers.Flatten(), layers.Dense(1)])
    self.generator = keras.Sequential([
        layers.Dense(7 * 7 * 32), layers.LeakyReLU(0.2),
        layers.Reshape([7, 7, 32]),
        layers.Conv2DTranspose(32, 4, 2, "same"), layers.LeakyReLU(0.2),
        layers.Conv2DTranspose(16, 4, 2, "same"), layers.LeakyReLU(0.2),
        layers.Conv2D(1, 7, padding="same", activation="sigmoid")])

  def compile(self, *optimizers: keras.optimizers.Optimizer) -> None:
    super().compile()
    self._optimizers = optimizers

  def generate(self, number: int) -> tf.Tensor:
    return self.generator(
        keras.random.normal([number, _NUM_INPUTS], seed=self._noise))

  def train_step(self, data: tf.Tensor) -> dict[str, tf.Tensor]:
    real, fake = ops.ones([_BATCH_SIZE, 1]), ops.zeros([_BATCH_SIZE, 1])
    with tf.GradientTape(persistent=True) as tape:
      images = self.generate(_BATCH_SIZE)
      of_images = self.discriminator(images)
      loss = (self._loss(real, self.discriminator(data))
              + self._loss(fake, of_images))
      of_generator = self._loss(real, of_images)
    for optimizer, model, its_loss in zip(
        self._optimizers, (self.discriminator, self.generator),
        (loss, of_generator), strict=True):
      weights = model.trainable_weights
      optimizer.apply_gradients(
          zip(tape.gradient(its_loss, weights), weights, strict=True))
    return {"loss": of_generator}


def _adversaries(make_optimizer: MakeOptimizer) -> Outcome:
  """Has the distance of the images from digits in the place of a loss."""
  images, _ = unseen.digits()
  model = _Adversaries()
  model.compile(make_optimizer(3e-4), make_optimizer(3e-4))
  losses = _fit(model, images)
  return losses.outcome(distance(model.generate(1000).numpy(), images[:1000]))


def distance(images: np.ndarray, others: np.ndarray) -> float:
  """Returns the sliced Wasserstein distance (Bonneel et al. 2015, eq. 8)."""
  directions = np.random.default_rng(0).normal(size=[images[0].size, 200])
  directions /= np.linalg.norm(directions, axis=0)
  a, b = (np.sort(x.reshape([len(x), -1]) @ directions, axis=0)
          for x in (images, others))
  return float(np.mean(np.abs(a - b)))


def _class_weights(make_optimizer: MakeOptimizer) -> Outcome:
  """One row in a hundred is of the second class; weights are 1 / n."""
  rng = np.random.default_rng(FLAGS.seed)
  x = rng.normal(size=[20000, 29]).astype(np.float32)
  score = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + x[:, 3]
  y = (score > np.quantile(score, .99)).astype(np.int32)
  model = keras.Sequential([
      layers.Dense(128, "relu"), layers.Dense(128, "relu"), layers.Dropout(0.3),
      layers.Dense(128, "relu"), layers.Dropout(0.3),
      layers.Dense(1, "sigmoid")])
  model.compile(make_optimizer(0.01), "binary_crossentropy")
  return _fit(model, x, y, batch_size=2048, class_weight=dict(
      enumerate(1 / np.bincount(y)))).outcome()


def _half_precision(make_optimizer: MakeOptimizer) -> Outcome:
  images, labels = unseen.digits()
  policy = keras.mixed_precision.dtype_policy()
  keras.mixed_precision.set_dtype_policy("mixed_float16")
  try:
    model = keras.Sequential([
        layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(64, "relu"),
        layers.Dense(10, "softmax", dtype="float32")])
    model.compile(make_optimizer(0.001), "sparse_categorical_crossentropy")
    return _fit(model, images, labels).outcome()
  finally:
    keras.mixed_precision.set_dtype_policy(policy)


def _text(make_optimizer: MakeOptimizer) -> Outcome:
  """Sequences of words, whose frequencies are as in texts."""
  rng = np.random.default_rng(FLAGS.seed)
  words = rng.zipf(1.3, size=[20000, 40]) % 5000
  y = (np.mean(rng.normal(size=[5000])[words], axis=1) > 0).astype(np.int32)
  model = keras.Sequential([
      layers.Embedding(5000, 16), layers.GlobalAveragePooling1D(),
      layers.Dense(24, "relu"), layers.Dense(1, "sigmoid")])
  model.compile(make_optimizer(0.001), "binary_crossentropy")
  return _fit(model, words.astype(np.int32), y).outcome()


PROGRAMS: dict[str, Callable[[MakeOptimizer], Outcome]] = {
    "vae": _variational_autoencoder,
    "gan": _adversaries,
    "class-weights": _class_weights,
    "mixed-float16": _half_precision,
    "text": _text}


if __name__ == "__main__":
  program.run(main)
