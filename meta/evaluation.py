"""Evaluates any network on any problem."""

from collections.abc import Callable, Generator, Sequence
from concurrent import futures
import contextlib
import functools
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from l2lgd import checks, devices
from meta import compilation, meta_step, nests, replicas, unroll
from meta import seeds as seeds_lib
import networks
import problems


class Evaluation(NamedTuple):
  """What optimizers reached in runs that were evaluated."""
  losses: np.ndarray  # Before each update and after the last, shape
  # [runs * S, T + 1].
  params: dict[str, np.ndarray]  # After the last update, each [runs, ...].


class Evaluator:
  """Evaluates a network on functions drawn from a problem.

  The same seeds give the same functions, starting points and minibatches to
  every network. Many runs are made side by side, on all cores. In the scope of
  a distribution strategy, in which the network must be made, the replicas share
  them out, and all processes get the results.

  Example:

    evaluate = evaluation.Evaluator(
        networks.Adam(0.1), problems.Quadratic(), num_steps=100)
    summary = evaluation.summarize(evaluate(seeds=range(10)).losses[:, -1])
    print(f"{summary.mean:.3g} +- {summary.standard_error:.1g}")
  """

  def __init__(self, network: networks.Network, problem: problems.Problem,
               num_steps: int, jit_compile: bool | None = None):
    """Compiles nothing yet; the first call does.

    Args:
      network: Any optimizer, learned or hand-designed.
      problem: The problem that it optimizes.
      num_steps: Number of updates in a run, T.
      jit_compile: See `meta_step.Unroller`.

    Raises:
      ValueError: `num_steps` is not a positive integer, or see
        `meta_step.Unroller`.
    """
    num_steps = checks.positive_integer("num_steps", num_steps)
    self._network = network
    self._unroller = meta_step.Unroller(
        network, problem, num_steps, jit_compile=jit_compile)
    self._sizes: set[int] = set()  # Numbers of runs that it is compiled for.
    self._set_rates = replicas.on_each(self._with_learning_rates)
    self._by_run = replicas.on_each(_by_run)

  @property
  def is_compiled(self) -> bool:
    """Whether runs have been made, so that others need no compilation."""
    return bool(self._sizes)

  @functools.cached_property
  def max_side_by_side(self) -> int:
    """How many runs a replica makes at once, decided before the first."""
    # Eagerly: single runs may not be needed again.
    run = unroll.start(self._network, self._unroller.problem, seed=0)
    size = sum(p.shape.num_elements() for p in run.params.values())
    count = max(1, _max_coordinates(self._network) // size)
    if count > 1 and not compilation.can_vectorize(
        self._unroller.problem, run):
      return 1
    return count

  def __call__(self, seeds: Sequence[int | tf.Tensor],
               progress: Callable = lambda x: x,
               learning_rates: Sequence[float] | None = None,
               num_steps: int | None = None) -> Evaluation:
    """Makes a run for every seed.

    Args:
      seeds: Integers or int32 tensors of shape [2].
      progress: Takes the sequence of chunks of runs, and returns an iterable of
        the same chunks that shows the progress, as `tqdm.tqdm` does.
      learning_rates: One learning rate per seed, in place of the optimizer's
        own (baselines only). New rates do not cause recompilation.
      num_steps: Number of updates, if it is not that of the constructor.

    Returns:
      The losses and the final parameters. If the problem is one of S functions
      at once, each of them has a row of losses, [seeds * S, T + 1].

    Raises:
      ValueError: There is no seed, or one is not of these forms; the number of
        learning rates is not that of seeds, one of them is not positive, or the
        optimizer has no learning rate; or `num_steps` is not a positive
        integer.
    """
    if not len(seeds):
      raise ValueError("seeds is empty, but must hold at least one seed.")
    if learning_rates is not None:
      checks.positives("learning_rates", learning_rates)
      if len(learning_rates) != len(seeds):
        raise ValueError(f"learning_rates has {len(learning_rates)} rates, but "
                         f"must have one for each of {len(seeds)} seeds.")
    size = self._num_at_once(len(seeds))
    num_rows = size * replicas.count()

    def run(start: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
      # The last chunk wraps around to the first seeds, so that all chunks have
      # the same shape.
      chunk = [(start + i) % len(seeds) for i in range(num_rows)]
      chunk_losses, params = self._run(
          [seeds[i] for i in chunk],
          None if learning_rates is None else [
              learning_rates[i] for i in chunk], num_steps)
      count = min(num_rows, len(seeds) - start)
      return (_rows(chunk_losses[:count]),
              {name: p[:count] for name, p in params.items()})

    starts = range(0, len(seeds), num_rows)
    with contextlib.closing(_on_all_cores(run, starts)) as results:
      losses, params = zip(*(result for _, result in zip(
          progress(starts), results, strict=True)))
    self._sizes.add(size)
    return Evaluation(np.concatenate(losses), tf.nest.map_structure(
        lambda *parts: np.concatenate(parts), *params))

  def _num_at_once(self, num_runs: int) -> int:
    """Returns how many of the runs a replica makes at once."""
    num_chunks = 1 if num_runs == 1 else math.ceil(
        num_runs / self.max_side_by_side / replicas.count())
    size = math.ceil(num_runs / num_chunks / replicas.count())
    if size in self._sizes:
      return size
    # A few runs too many take less time than another compilation.
    return min((s for s in self._sizes if size <= s <= self.max_side_by_side),
               default=size)

  def _run(self, seeds: Sequence[int | tf.Tensor],
           learning_rates: Sequence[float] | None, num_steps: int | None
           ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Makes runs at once.

    Returns:
      The losses, [runs, T + 1, (S)], and the final parameters, [runs, ...].
    """
    num = len(seeds)
    run = self._unroller.reset(replicas.share(
        num, lambda part: seeds_lib.stack([seeds[i] for i in part])))
    if learning_rates is not None:
      run = self._set_rates(run, replicas.share(num, lambda part: tf.constant(
          [learning_rates[i] for i in part], tf.float32)))
    losses, run = self._unroller.unroll(run, num_steps)
    results = replicas.gather(num, self._by_run(losses, run))
    return tf.nest.map_structure(
        lambda t: t.numpy()[np.newaxis] if num == 1 else t.numpy(), results)

  def _with_learning_rates(self, run: unroll.Run, rates: tf.Tensor
                           ) -> unroll.Run:
    return run._replace(
        state=self._network.with_learning_rate(run.state, rates))


def _by_run(losses: tf.Tensor, run: unroll.Run
            ) -> tuple[tf.Tensor, problems.Params]:
  """Returns the losses with the axis of the runs first, and the parameters."""
  return nests.swap_axes(losses) if run.is_batched else losses, run.params


def _rows(losses: np.ndarray) -> np.ndarray:
  """Returns losses [runs, T + 1, (S)] as rows, [runs * S, T + 1]."""
  losses = losses.reshape([*losses.shape[:2], -1])
  return losses.transpose([0, 2, 1]).reshape([-1, losses.shape[1]])


def _on_all_cores(function: Callable[[int], Any],
                  args: Sequence[int]) -> Generator[Any, None, None]:
  """Yields what a function returns for each argument, the first one alone.

  One call does not keep all cores busy, so that as many are made at once as
  there are cores, after the first one, which may have to compile. Replicas and
  GPUs are busy with one call. Where functions run eagerly, TensorFlow changes
  what threads share.
  """
  if (tf.distribute.has_strategy() or devices.has_gpu()
      or tf.config.functions_run_eagerly()):
    yield from map(function, args)
    return
  yield function(args[0])
  num_threads = (tf.config.threading.get_intra_op_parallelism_threads()
                 or devices.num_cores())
  with futures.ThreadPoolExecutor(num_threads) as pool:
    yield from pool.map(function, args[1:])


def _max_coordinates(network: networks.Network) -> int:
  """Returns how many coordinates are worth optimizing side by side."""
  if devices.has_gpu():
    return 2**20  # They fit in the memory of any.
  # More are no faster, as they do not fit in the cache of a core. Those of
  # learned networks have more memory.
  return 2**13 if network.trainable_variables else 2**15


def mean_curve(losses: np.ndarray) -> np.ndarray:
  """Returns the mean over runs of losses [runs, T + 1], float64."""
  # In float64, as a sum of the largest losses overflows float32.
  return np.asarray(np.mean(losses, axis=0, dtype=np.float64))


def finite_runs(losses: np.ndarray) -> np.ndarray:
  """Returns the runs of losses [runs, T + 1] that are finite at every step."""
  return losses[np.isfinite(losses).all(axis=1)]


def losses_at(losses: np.ndarray, step: int | None = None) -> np.ndarray:
  """Returns the loss of each run at a step, shape [runs].

  In runs of 200 steps and more it is the mean over the hundredth of the steps
  that ends there, as the loss of a single minibatch is mostly noise.

  Args:
    losses: Before each update and after the last, [runs, T + 1].
    step: From 0 to T, by default T.
  """
  num_steps = losses.shape[1] - 1
  step = num_steps if step is None else step
  width = max(1, num_steps // 100)
  part = losses[:, max(0, step + 1 - width):step + 1]
  return np.asarray(np.mean(part, axis=1, dtype=np.float64))


class Summary(NamedTuple):
  """Statistics of final losses."""
  mean: float  # This and the next four are of the runs that did not diverge.
  standard_error: float  # Standard error of the mean; NaN for a single run.
  lower_quartile: float
  median: float
  upper_quartile: float
  num_runs: int
  num_diverged: int  # Number of runs whose final loss is not finite.

  @property
  def rank(self) -> tuple[int, float]:
    """The smaller, the better: runs that diverged count first."""
    return self.num_diverged, self.mean

  @property
  def log_mean(self) -> float:
    """The decimal logarithm of the mean; NaN if that is negative."""
    with np.errstate(divide="ignore", invalid="ignore"):
      return float(np.log10(self.mean))


def summarize(final_losses: np.ndarray) -> Summary:
  """Returns the statistics of final losses, shape [runs].

  If every run diverged, the mean and the quartiles are infinite.
  """
  finite = final_losses[np.isfinite(final_losses)].astype(np.float64)
  if finite.size:
    with np.errstate(invalid="ignore"):
      standard_error = np.std(finite) / np.sqrt(finite.size - 1)
    statistics = [np.mean(finite), standard_error,
                  *np.percentile(finite, (25, 50, 75))]
  else:
    statistics = [math.inf] * 5
  mean, standard_error, lower_quartile, median, upper_quartile = map(
      float, statistics)
  return Summary(
      mean, standard_error, lower_quartile, median, upper_quartile,
      num_runs=final_losses.size,
      num_diverged=final_losses.size - finite.size)
