"""The choice of what XLA compiles."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import tensorflow as tf

from l2lgd import devices
from meta import unroll
import networks
import problems
from problems import seeded

# Operations the shape of whose results depends on values: results of several
# runs have no common shape.
_OF_ANY_SIZE = {"DynamicPartition", "ListDiff", "Unique", "UniqueV2",
                "UniqueWithCounts", "UniqueWithCountsV2", "Where"}


class Compilation(NamedTuple):
  """What XLA compiles; TensorFlow's own kernels compute the rest."""
  unroll: bool  # The whole unroll.
  network: bool  # The network within it, and only the network.


def choose(network: networks.Network, problem: problems.Problem,
           run: unroll.Run, second_derivatives: bool = False) -> Compilation:
  """Returns the fastest compilation that is possible.

  XLA must know all operations that it compiles, and it knows fewer of those
  that serve several runs. On a CPU, moreover, its convolutions in a loop are
  ten times slower than TensorFlow's.

  Args:
    network: The optimizer.
    problem: The problem that it optimizes.
    run: A run, or runs side by side, as they will be made; only the shapes
      matter.
    second_derivatives: Whether the loss is differentiated twice.
  """
  def two_steps(run: unroll.Run) -> Any:
    return unroll.unroll(network, problem, run, num_steps=2)

  def hessian_products(run: unroll.Run) -> Any:
    return unroll.while_loop(2, lambda i, vector: (
        i + 1, unroll.hessian_product(problem, run, vector)), run.params)

  with tf.init_scope():  # The run may be that of a graph under construction.
    run = tf.nest.map_structure(lambda t: tf.zeros(t.shape, t.dtype), run)
    convolves = any(name.startswith("Conv")
                    for name in _operations(problem, run))
    # In loops, as outside of them XLA takes the values of inputs as constants,
    # which it cannot do later.
    functions = [two_steps]
    if second_derivatives:
      functions.append(hessian_products)
    whole = (devices.has_gpu() or not convolves) and all(
        _can_compile(function, run) for function in functions)
    return Compilation(whole, not whole and _can_compile(
        lambda run, gradients: unroll.apply_network(network, run, gradients),
        run, run.params))


def can_vectorize(problem: problems.Problem, run: unroll.Run) -> bool:
  """Returns whether several runs of a problem can be made side by side.

  Args:
    problem: The problem.
    run: One run of it, as `unroll.start` returned it.
  """
  sample = tf.function(problem.sample, autograph=False).get_concrete_function(
      tf.TensorSpec([2], tf.int32))
  operations = seeded.operation_types(sample.graph) | _operations(problem, run)
  if not _OF_ANY_SIZE.isdisjoint(operations):
    return False

  def start_and_differentiate(runs: unroll.Run) -> Any:
    return (unroll.vectorized(problem.sample, True)(runs.seed),
            unroll.loss_and_gradients(problem, runs))

  runs = tf.nest.map_structure(lambda t: tf.stack([t, t]), run)
  try:
    tf.function(start_and_differentiate, autograph=False
                ).get_concrete_function(runs)
  except ValueError:
    return False
  return True


def _operations(problem: problems.Problem, run: unroll.Run) -> set[str]:
  """Returns the types of the operations of the loss."""
  loss = tf.function(functools.partial(unroll.loss, problem), autograph=False)
  return seeded.operation_types(loss.get_concrete_function(run).graph)


def _can_compile(function: Callable[..., Any], *args: Any) -> bool:
  compiled = tf.function(function, autograph=False, jit_compile=True)
  try:
    compiled.experimental_get_compiler_ir(*args)(stage="hlo")
  except (ValueError, tf.errors.OpError):
    return False
  return True
