"""Pure functions of a seed, made from functions that keep a state.

Models of Keras and Sonnet draw their weights from random operations that keep a
state, or whose seed is fixed when a layer is made. Such a function is traced
once; in its graph, everything that it drew is replaced by draws from a seed.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import re
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

_PURE = {"RandomStandardNormal": tf.random.stateless_normal,
         "RandomUniform": tf.random.stateless_uniform,
         "TruncatedNormal": tf.random.stateless_truncated_normal}
_IMPURE = re.compile(
    "Assign|Resource(Apply|Scatter)|Random|TruncatedNormal|Parameterized"
    "|Multinomial|Stateful(Uniform|StandardNormal|TruncatedNormal|Random)|Rng")


class Created(NamedTuple):
  """A variable that was created."""
  variable: tf.Variable
  initial_value: Any  # A tensor, or a function that draws one.
  first: np.ndarray  # The value right after the creation.

  def assigned(self) -> tf.Tensor | None:
    """Returns the value if it was changed later, by loading weights say."""
    with tf.init_scope():  # A copy, as the variable may change again.
      value = tf.convert_to_tensor(self.variable)
      return None if np.array_equal(self.first, value) else value


@contextlib.contextmanager
def created_variables() -> Iterator[list[Created]]:
  """Records the variables that are created eagerly in this scope.

  Yields:
    A list to which they are added.
  """
  created = []

  def creator(next_creator: Callable[..., tf.Variable],
              **kwargs: Any) -> tf.Variable:
    variable = next_creator(**kwargs)
    with tf.init_scope():  # A function that `fit` compiles may create it.
      created.append(
          Created(variable, kwargs["initial_value"], variable.numpy()))
    return variable

  with tf.variable_creator_scope(creator):
    yield created


def seeded(function: Callable[..., Any], signature: Sequence[Any] = (),
           with_keys: bool = False) -> Callable[..., Any]:
  """Returns the same function with a seed as its first argument.

  Everything that its random operations draw comes from this seed. Side effects,
  such as assignments to variables, are left out.

  Args:
    function: Takes and returns tensors.
    signature: A nest of `tf.TensorSpec` for each of its arguments. The function
      that is returned takes the tensors of all of them, flattened.
    with_keys: Whether to replace the seeds of its stateless random operations
      as well, if they leave the choice of the algorithm to TensorFlow.
  """
  # The graph of a tf.function would keep the side effects.
  traced = tf.compat.v1.wrap_function(function, signature)
  traced = traced.prune(traced.inputs, traced.structured_outputs)
  operations = traced.graph.get_operations()
  draws = [op for op in operations if op.type in _PURE]
  keys = [op.inputs[0] for op in operations
          if with_keys and op.type == "StatelessRandomGetKeyCounter"]
  # What was drawn becomes an input.
  pruned = traced.prune(
      [*traced.inputs, *(op.outputs[0] for op in draws), *keys],
      traced.structured_outputs)

  def call(seed: tf.Tensor, *args: tf.Tensor) -> Any:
    seeds = tf.unstack(tf.random.split(
        seed, len(draws) + len(keys), alg="philox"))
    drawn = [_PURE[op.type](op.outputs[0].shape, own, dtype=op.outputs[0].dtype,
                            alg="philox") for op, own in zip(draws, seeds)]
    return pruned(*args, *drawn, *(
        tf.cast(own, key.dtype)
        for own, key in zip(seeds[len(draws):], keys, strict=True)))

  return call


def operation_types(graph: tf.Graph) -> set[str]:
  """Returns the types of all operations of a graph and of its functions."""
  graph_def = graph.as_graph_def()
  nodes = [*graph_def.node, *(
      node for f in graph_def.library.function for node in f.node_def)]
  return {node.op for node in nodes}


def impure_operations(graph: tf.Graph) -> list[str]:
  """Returns the types of the operations of a graph that keep a state."""
  return sorted(filter(_IMPURE.match, operation_types(graph)))
