"""Pure functions of a seed, made of functions that keep a state.

Models of Keras and Sonnet draw their weights from random operations that
remember what they drew before, or whose seed is fixed when a layer is made.
A function traced once is a graph, in which what they draw can be replaced.
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
  first: np.ndarray  # Its value at first.

  def assigned(self) -> tf.Tensor | None:
    """Returns what was assigned to it since, pretrained weights say, or None.
    """
    with tf.init_scope():  # A copy, not the variable, which may change.
      value = tf.convert_to_tensor(self.variable)
      return None if np.array_equal(self.first, value) else value


@contextlib.contextmanager
def created_variables() -> Iterator[list[Created]]:
  """Collects the variables that are created eagerly in this scope.

  Yields:
    A list to which they are added.
  """
  created = []

  def creator(next_creator, **kwargs):
    variable = next_creator(**kwargs)
    with tf.init_scope():  # A function that `fit` compiles may create it.
      created.append(
          Created(variable, kwargs["initial_value"], variable.numpy()))
    return variable

  with tf.variable_creator_scope(creator):
    yield created


def seeded(function: Callable, signature: Sequence[tf.TensorSpec] = (),
           with_keys: bool = False) -> Callable:
  """Returns the function of a seed and the arguments, traced.

  What its random operations draw comes from the seed alone. What it does
  besides computing its results, such as assigning to variables, is left out.

  Args:
    function: Takes and returns tensors.
    signature: Of its arguments.
    with_keys: Whether the seeds of its stateless random operations are replaced
      too, as far as their algorithm is left to TensorFlow.
  """
  # Of tf.function, what is done besides could not be left out.
  traced = tf.compat.v1.wrap_function(function, signature)
  traced = traced.prune(traced.inputs, traced.structured_outputs)
  operations = traced.graph.get_operations()
  draws = [op for op in operations if op.type in _PURE]
  keys = [op.inputs[0] for op in operations
          if with_keys and op.type == "StatelessRandomGetKeyCounter"]
  pruned = traced.prune(
      [*traced.inputs, *(op.outputs[0] for op in draws), *keys],
      traced.structured_outputs)

  def call(seed, *args):
    seeds = tf.unstack(tf.random.split(
        seed, len(draws) + len(keys), alg="philox"))
    drawn = [_PURE[op.type](op.outputs[0].shape, own, dtype=op.outputs[0].dtype,
                            alg="philox") for op, own in zip(draws, seeds)]
    return pruned(*args, *drawn, *(
        tf.cast(own, key.dtype)
        for own, key in zip(seeds[len(draws):], keys, strict=True)))

  return call


def operation_types(graph: tf.Graph) -> set[str]:
  """Returns the types of all operations of a graph, and of its functions."""
  graph_def = graph.as_graph_def()
  nodes = [*graph_def.node, *(
      node for f in graph_def.library.function for node in f.node_def)]
  return {node.op for node in nodes}


def impure_operations(graph: tf.Graph) -> list[str]:
  """Returns the types of the operations of a graph that keep a state."""
  return sorted(filter(_IMPURE.match, operation_types(graph)))
