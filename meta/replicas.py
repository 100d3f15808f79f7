"""The replicas of a distribution strategy, which share out runs.

They are those of the strategy in whose scope a function is called. Without a
strategy, the functions here return what they are given.

Each of R replicas has one of R equal parts of K runs, [K / R, ...], or one run,
[...], without an axis. The parts of the replicas of one process are
`tf.distribute.DistributedValues`.
"""

from collections.abc import Callable, Sequence
import contextlib
import functools
from typing import Any

import numpy as np
import tensorflow as tf


def count() -> int:
  """Returns the number of replicas, in all processes, R."""
  return tf.distribute.get_strategy().num_replicas_in_sync


def is_first_worker() -> bool:
  """Returns whether this is the process that writes files and prints."""
  return (not tf.distribute.has_strategy()
          or tf.distribute.get_strategy().extended.should_checkpoint)


def check_variables(variables: Sequence[tf.Variable]) -> None:
  """Raises a ValueError if variables are not those of the strategy."""
  extended = tf.distribute.get_strategy().extended
  others = [v.name for v in variables
            if not extended.variable_created_in_scope(v)]
  if others and tf.distribute.has_strategy():
    raise ValueError(
        f"The variables {others} were made outside of the scope of the "
        "distribution strategy: make the networks in it.")
  if others:
    raise ValueError(f"The variables {others} were made in the scope of a "
                     "distribution strategy: use the networks in it.")


def on_each(function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns the function, called by each replica with its arguments.

  Called by a replica, it is the function itself.
  """
  if not tf.distribute.has_strategy():
    return function
  each = tf.function(functools.partial(
      _run, tf.distribute.get_strategy(), function), autograph=False)
  return lambda *args: (
      each if tf.distribute.in_cross_replica_context() else function)(*args)


def _run(strategy: tf.distribute.Strategy, function: Callable[..., Any],
         *args: Any) -> Any:
  return strategy.run(function, args)


def check_multiple(name: str, num_runs: int) -> None:
  """Raises a ValueError if runs cannot be shared out equally."""
  if num_runs % count():
    raise ValueError(f"{name} is {num_runs}, but must be a multiple of the "
                     f"number of replicas, {count()}.")


def share(num_runs: int, values: Callable[[range], Any]) -> Any:
  """Returns the values of each replica.

  Args:
    num_runs: Number of runs, K, a multiple of R.
    values: Returns a nest of tensors for a part of the runs.
  """
  if not tf.distribute.has_strategy():
    return values(range(num_runs))

  def of_replica(context):
    size = num_runs // context.num_replicas_in_sync
    start = context.replica_id_in_sync_group * size
    return values(range(start, start + size))

  strategy = tf.distribute.get_strategy()
  return strategy.experimental_distribute_values_from_function(of_replica)


def split(num_runs: int, nest: Any) -> Any:
  """Returns the part of each replica in values of all runs, [K, ...]."""
  def part(runs):
    if len(runs) == num_runs:
      return nest
    return tf.nest.map_structure(
        lambda t: (t[runs.start:runs.stop] if len(runs) > 1
                   else t[runs.start]), nest)

  return share(num_runs, part)


def first(nest: Any) -> Any:
  """Returns the values of the first replica of this process."""
  strategy = tf.distribute.get_strategy()
  return tf.nest.map_structure(
      lambda t: strategy.experimental_local_results(t)[0], nest)


def combine(parts: Sequence[tf.Tensor], terms: Sequence[tf.Tensor] = ()
            ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
  """Gives each replica what all of them have.

  Everything goes in one message, as the number of messages determines the time.

  Args:
    parts: The parts of this replica, each [N, ...].
    terms: Tensors, whose means over the replicas are computed.

  Returns:
    The parts of all replicas one after the other, [R N, ...], and the means.
  """
  context = tf.distribute.get_replica_context()
  num = context.num_replicas_in_sync
  is_own = tf.range(num) == context.replica_id_in_sync_group  # [R]
  # A sum in which others have zeros. float64 holds floats, and integers
  # of up to 53 bits.
  spread = [tf.where(tf.reshape(is_own, [num, *[1] * t.shape.rank]), t,
                     tf.zeros([], t.dtype)) for t in parts]
  flat = [tf.reshape(tf.cast(t, tf.float64), [-1]) for t in [*spread, *terms]]
  sums = tf.split(
      context.all_reduce(tf.distribute.ReduceOp.SUM, tf.concat(flat, 0)),
      [t.shape[0] for t in flat])
  gathered = [
      tf.cast(tf.reshape(s, [-1, *t.shape[1:]]), t.dtype)
      for s, t in zip(sums, parts)]
  means = [tf.cast(tf.reshape(s, t.shape) / num, t.dtype)
           for s, t in zip(sums[len(parts):], terms, strict=True)]
  return gathered, means


def gather(num_runs: int, nest: Any) -> Any:
  """Returns values of all runs, [K, ...], from the part of each replica."""
  if count() == 1:
    return first(nest)
  is_one = num_runs == count()
  # Kept with the strategy, as it is compiled.
  gatherers = vars(tf.distribute.get_strategy()).setdefault(
      "_l2lgd_gatherers", {})
  if is_one not in gatherers:
    gatherers[is_one] = on_each(functools.partial(_gather, is_one))
  return first(gatherers[is_one](nest))


def _gather(is_one: bool, nest: Any) -> Any:
  parts = [t[tf.newaxis] if is_one else t for t in tf.nest.flatten(nest)]
  return tf.nest.pack_sequence_as(nest, combine(parts)[0])


def of_workers(value: int) -> np.ndarray:
  """Returns a number that each process has, once for each replica, [R]."""
  values = gather(count(), share(
      count(), lambda _: tf.constant(value, tf.int64)))
  return np.reshape(values.numpy(), [-1])


def wait_for_all() -> None:
  """Waits until each process has what the others sent it, so that it can end.

  A process that ends too early cuts off its last message to the others.
  """
  with contextlib.suppress(tf.errors.OpError):
    of_workers(0)  # Whoever is cut off from this message has all before it.


def check_same(what: str, value: int, remedy: str) -> None:
  """Raises a ValueError, in every process, if a number differs between them.

  Args:
    what: What it stands for, in words.
    value: The number of this process.
    remedy: What to do if it differs, in words.
  """
  values = np.unique(of_workers(value)).tolist()
  if len(values) > 1:
    wait_for_all()
    raise ValueError(
        f"{what} differ between the processes ({values}): {remedy}.")
