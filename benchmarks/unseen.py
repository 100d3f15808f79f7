"""Compares trained optimizers with Adam on problems that they never saw.

  python -m benchmarks.unseen --path=general,general-small --data_dir=data

All make the same runs, on the same functions and minibatches, with
`--schedule=cosine` under the same schedule. Final losses are means over the
last hundredth of the steps. Adam is tuned on these very runs: of
seven learning rates, the one with the lowest mean final loss counts. Its
default rate, 0.001, is among them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import functools
from typing import Any, NamedTuple

from absl import flags
import keras
import numpy as np
import sonnet as snt
import tabulate
import tensorflow as tf
import tqdm

from l2lgd import philox
from l2lgd.commands import console, data, options, program
import meta
from meta import evaluation, experiments, seeds
import networks
import problems
from problems import datasets

FLAGS = flags.FLAGS
flags.DEFINE_list("path", ["general"], "The trained optimizers: folders, or "
                  "names of those that come with the library.")
flags.DEFINE_list("only", [], "The problems to run on. (default: all)")
flags.DEFINE_integer("runs", 3, "Runs on each problem.")
flags.DEFINE_integer("seed", 0, "Seed of all functions.")
flags.DEFINE_enum("schedule", "constant", ["constant", "cosine"], "Learning "
                  "rates of all optimizers; cosine: a warm-up of 100 steps, "
                  "then a decay to 0.")
FLAGS.set_default("num_steps", 1000)
flags.adopt_module_key_flags(data)  # For --help.
flags.declare_key_flag("num_steps")
flags.declare_key_flag("jit_compile")
_RATES = 1e-4 * np.sqrt(10.)**np.arange(7)
_DEFAULT = 2  # The place of Adam's default rate, 0.001.


@snt.allow_empty_variables
class Scheduled(networks.Network):
  """A network whose updates are multiplied by a function of the step."""

  def __init__(self, network: networks.Network,
               schedule: Callable[[tf.Tensor], tf.Tensor]):
    super().__init__()
    self._network = network
    self._schedule = schedule

  def initial_state(self, params: networks.Params) -> networks.State:
    return tf.constant(0), self._network.initial_state(params)

  def with_learning_rate(self, state: networks.State,
                         learning_rate: Any) -> networks.State:
    count, own = state
    return count, self._network.with_learning_rate(own, learning_rate)

  def __call__(self, gradients: networks.Params, state: networks.State
               ) -> tuple[networks.Params, networks.State]:
    return self.step(gradients, state, None)

  def step(self, gradients: networks.Params, state: networks.State,
           params: networks.Params | None
           ) -> tuple[networks.Params, networks.State]:
    count, own = state
    updates, own = self._network.step(gradients, own, params)
    factor = self._schedule(count)
    return ({name: factor * update for name, update in updates.items()},
            (count + 1, own))


def cosine(num_steps: int, step: tf.Tensor) -> tf.Tensor:
  """Returns a warm-up from 0.1 to 1 in 100 steps, then a decay to 0.

  Keras's CosineDecay has branches, which are slow where runs are side by side.
  """
  step = tf.cast(step, tf.float32)
  decay = 0.5 + 0.5 * tf.cos(
      np.pi * tf.maximum(step - 100., 0.) / max(1, num_steps - 100))
  return tf.minimum(0.1 + 0.009 * step, 1.) * decay


class Outcome(NamedTuple):
  """What the runs of an optimizer came to."""
  optimizer: str
  final: evaluation.Summary  # Summary of the final losses.
  highest: float  # The highest loss of a run, relative to the first.


def main() -> None:
  console.print_device()
  with program.user_errors():
    options.check_positive("num_steps", "runs")
    names = chosen(FLAGS.only, PROBLEMS)
    learned = {path: networks.Partition(
        meta.LearnedOptimizer.load(path).networks) for path in FLAGS.path}
    made = {name: PROBLEMS[name]() for name in names}  # Data may be missing.
    outcomes = {}
    for name in tqdm.tqdm(names):
      outcomes[name] = measure(learned, made[name])
      tqdm.tqdm.write(tabulate.tabulate(
          [(outcome.optimizer, outcome.final.mean, outcome.final.standard_error,
            outcome.highest, outcome.final.num_diverged)
           for outcome in outcomes[name]],
          headers=(name, "Final", "Std. error", "Highest", "Diverged"),
          floatfmt=".3g") + "\n")
  for i, path in enumerate(learned):
    default, tuned = (sum(
        of_problem[i].final.rank < of_problem[adam].final.rank
        for of_problem in outcomes.values()) for adam in (-2, -1))
    print(f"{path}: under Adam's default on {default} of {len(outcomes)} "
          f"problems, under tuned Adam on {tuned}")


def chosen(names: Sequence[str], among: Iterable[str]) -> list[str]:
  """Returns the names that were given; no name stands for all.

  Raises:
    ValueError: A name is unknown.
  """
  unknown = sorted({*names}.difference(among))
  if unknown:
    raise ValueError(f"--only has {unknown}, but must be among {[*among]}.")
  return [*(names or among)]


def measure(learned: Mapping[str, networks.Network],
            problem: problems.Problem) -> list[Outcome]:
  """Returns what the optimizers came to on a problem.

  The last two are Adam at its default rate and at the best one.
  """
  run_seeds = [seeds.derive(FLAGS.seed, "test", i)
               for i in range(FLAGS.runs)]

  def evaluator(network: networks.Network) -> evaluation.Evaluator:
    if FLAGS.schedule == "cosine":
      network = Scheduled(
          network, functools.partial(cosine, FLAGS.num_steps))
    return evaluation.Evaluator(
        network, problem, FLAGS.num_steps, options.jit_compile())

  adam = evaluator(networks.Adam())
  of_adam = [_outcome(f"Adam, {rate:.2g}", adam(
      run_seeds, learning_rates=[rate] * FLAGS.runs).losses)
             for rate in _RATES]
  return [*(_outcome(name, evaluator(network)(run_seeds).losses)
            for name, network in learned.items()),
          of_adam[_DEFAULT], min(of_adam, key=lambda own: own.final.rank)]


def _outcome(optimizer: str, losses: np.ndarray) -> Outcome:
  return Outcome(optimizer, evaluation.summarize(evaluation.losses_at(losses)),
                 np.max(losses / losses[:, :1]))


def _cross_entropy() -> keras.losses.Loss:
  return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def digits() -> tuple[np.ndarray, np.ndarray]:
  """Returns images of MNIST, float32, [n, 28, 28, 1], and their labels."""
  images, labels = datasets.mnist.read(FLAGS.data_dir, "test", FLAGS.download)
  return images[..., np.newaxis] / np.float32(255), labels


def _perceptron() -> problems.Problem:
  return problems.KerasProblem(lambda: keras.Sequential([
      keras.Input([28, 28, 1]), keras.layers.Flatten(),
      keras.layers.Dense(128, "relu"), keras.layers.Dense(128, "relu"),
      keras.layers.Dense(10)]), _cross_entropy(), digits())


def _convolutional() -> problems.Problem:
  return problems.KerasProblem(lambda: keras.Sequential([
      keras.Input([28, 28, 1]),
      keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
      keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
      keras.layers.Flatten(), keras.layers.Dense(10)]),
      _cross_entropy(), digits(), batch_size=64)


def _autoencoder() -> problems.Problem:
  images, _ = digits()
  images = images.reshape([len(images), -1])
  return problems.KerasProblem(lambda: keras.Sequential([
      keras.Input([784]), keras.layers.Dense(100, "elu"),
      keras.layers.Dense(16), keras.layers.Dense(100, "elu"),
      keras.layers.Dense(784, "sigmoid")]), "mse", (images, images))


def _regression() -> problems.Problem:
  """The first function of Friedman 1991, of ten inputs with noise."""
  rng = np.random.default_rng(0)
  x = rng.uniform(size=[5000, 10]).astype(np.float32)
  y = (10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - .5)**2
       + 10 * x[:, 3] + 5 * x[:, 4] + rng.normal(size=5000))
  return problems.KerasProblem(lambda: keras.Sequential([
      keras.Input([10]), keras.layers.Dense(64, "relu"),
      keras.layers.BatchNormalization(), keras.layers.Dense(32, "relu"),
      keras.layers.Dense(1)]), "mse", (x, y[:, np.newaxis]), batch_size=64)


def _rare_class() -> problems.Problem:
  """A table with columns of very different sizes, and one label in twenty."""
  rng = np.random.default_rng(1)
  x = rng.normal(size=[5000, 20])
  score = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + x[:, 3]
  y = (score > np.quantile(score, .95)).astype(np.float32)
  x = (x * 10**rng.uniform(-1, 1, [20])).astype(np.float32)
  return problems.KerasProblem(lambda: keras.Sequential([
      keras.Input([20]), keras.layers.Dense(32, "relu"),
      keras.layers.Dropout(0.1), keras.layers.Dense(32, "relu"),
      keras.layers.Dense(1)]), keras.losses.BinaryCrossentropy(
          from_logits=True), (x, y[:, np.newaxis]), batch_size=32)


def _adding() -> problems.Problem:
  """The adding problem of Hochreiter and Schmidhuber 1997, by a GRU."""
  rng = np.random.default_rng(2)
  values = rng.uniform(size=[5000, 12]).astype(np.float32)
  marks = np.zeros_like(values)
  for row in marks:
    row[rng.choice(12, 2, replace=False)] = 1.
  sums = np.sum(values * marks, axis=1, keepdims=True)
  return problems.KerasProblem(lambda: keras.Sequential([
      keras.Input([12, 2]), keras.layers.GRU(24, unroll=True),
      keras.layers.Dense(1)]), "mse",
      (np.stack([values, marks], -1), sums), batch_size=32)


def _transformer() -> problems.Problem:
  """Which token is the most frequent in a sequence, by a small transformer."""
  rng = np.random.default_rng(3)
  tokens = rng.integers(0, 8, [5000, 12])
  counts = np.sum(tokens[..., np.newaxis] == np.arange(8), axis=1)

  def make_model():
    inputs = keras.Input([12], dtype="int32")
    x = keras.layers.Embedding(8, 32)(inputs)
    x += keras.layers.MultiHeadAttention(4, 8)(x, x)
    x = keras.layers.LayerNormalization()(x)
    x += keras.layers.Dense(32)(keras.layers.Dense(64, "gelu")(x))
    x = keras.layers.LayerNormalization()(x)
    return keras.Model(inputs, keras.layers.Dense(8)(
        keras.layers.GlobalAveragePooling1D()(x)))

  return problems.KerasProblem(
      make_model, _cross_entropy(),
      (tokens.astype(np.int32), np.argmax(counts, 1)), batch_size=64)


class Factorization(problems.Problem):
  """Matrix factorization: the mean of (U V' - A)^2, where A has rank 5."""

  def sample(self, seed):
    u, v, a, b = (
        philox.normal(shape, own_seed)
        for shape, own_seed in zip(
            ([60, 8], [40, 8], [60, 5], [5, 40]),
            philox.split(seed, 4), strict=True))
    return {"u": 0.1 * u, "v": 0.1 * v}, a @ b

  def loss(self, params, constants, seed):
    product = tf.matmul(params["u"], params["v"], transpose_b=True)
    return tf.reduce_mean((product - constants)**2)


def _experiment(name: str) -> Callable[[], problems.Problem]:
  """Returns what makes the problem of one of the experiments."""
  return lambda: options.make_problems(
      {name: experiments.get(name)}, "test")[name]


PROBLEMS: dict[str, Callable[[], problems.Problem]] = {
    "mnist-mlp": _perceptron,
    "mnist-sigmoid": _experiment("paper-mnist"),
    "mnist-conv": _convolutional,
    "cifar10-conv": _experiment("paper-cifar10"),
    "autoencoder": _autoencoder,
    "regression": _regression,
    "rare-class": _rare_class,
    "gru": _adding,
    "transformer": _transformer,
    "quadratic": _experiment("paper-quadratic"),
    "factorization": Factorization,
    "neural-art": _experiment("paper-neural-art")}


if __name__ == "__main__":
  program.run(main)
