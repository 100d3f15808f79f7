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

from l2lgd import philox

_PURE = {"RandomStandardNormal": philox.normal,
         "RandomUniform": philox.uniform,
         "TruncatedNormal": philox.truncated_normal}
_KEY = "StatelessRandomGetKeyCounter"
_RANDOM = ("Random|TruncatedNormal|Parameterized|Multinomial"
           "|Stateful(Uniform|StandardNormal|TruncatedNormal|Random)|Rng")
_IMPURE = re.compile(f"Assign|Resource(Apply|Scatter)|{_RANDOM}")


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
          if with_keys and op.type == _KEY]
  # What was drawn becomes an input.
  pruned = traced.prune(
      [*traced.inputs, *(op.outputs[0] for op in draws), *keys],
      traced.structured_outputs)

  def call(seed: tf.Tensor, *args: tf.Tensor) -> Any:
    seeds = philox.split(seed, len(draws) + len(keys))
    drawn = [_PURE[op.type](op.outputs[0].shape, own, op.outputs[0].dtype)
             for op, own in zip(draws, seeds)]
    return pruned(*args, *drawn, *(
        tf.cast(own, key.dtype)
        for own, key in zip(seeds[len(draws):], keys, strict=True)))

  return call


def is_random(tensor: tf.Tensor) -> bool:
  """Returns whether a tensor of a graph depends on random operations."""
  seen = set()
  operations = [tensor.op]
  while operations:
    operation = operations.pop()
    if operation.type == _KEY or re.match(_RANDOM, operation.type):
      return True
    if operation not in seen:
      seen.add(operation)
      operations += [i.op for i in operation.inputs]
  return False


class Untrained(tf.Variable):
  """A variable of a graph that begins with a given tensor.

  What is assigned to it is read from then on in this graph, and nowhere else.
  """

  def __init__(self, value: tf.Tensor, name: str):
    """Creates the variable.

    Args:
      value: What it holds at first.
      name: Its name.
    """
    self._value = value
    self._variable_name = name

  name = property(lambda self: self._variable_name)
  dtype = property(lambda self: self._value.dtype)
  shape = property(lambda self: self._value.shape)
  trainable = property(lambda self: False)

  def __repr__(self) -> str:
    return f"<Untrained {self.name!r}, {self._value!r}>"

  def __tf_tensor__(self, dtype: tf.DType | None = None,
                    name: str | None = None) -> tf.Tensor:
    return tf.convert_to_tensor(self._value, dtype, name=name)

  def value(self) -> tf.Tensor:
    return self._value

  def read_value(self) -> tf.Tensor:
    return self._value

  def assign(self, value: Any, *args: Any, **kwargs: Any) -> tf.Tensor:
    del args, kwargs  # How a variable of TensorFlow is assigned to.
    self._value = tf.ensure_shape(
        tf.convert_to_tensor(value, self.dtype), self.shape)
    return self._value

  def assign_add(self, delta: Any, *args: Any, **kwargs: Any) -> tf.Tensor:
    return self.assign(self._value + delta, *args, **kwargs)

  def assign_sub(self, delta: Any, *args: Any, **kwargs: Any) -> tf.Tensor:
    return self.assign(self._value - delta, *args, **kwargs)


def operation_types(graph: tf.Graph) -> set[str]:
  """Returns the types of all operations of a graph and of its functions."""
  graph_def = graph.as_graph_def()
  nodes = [*graph_def.node, *(
      node for f in graph_def.library.function for node in f.node_def)]
  return {node.op for node in nodes}


def impure_operations(graph: tf.Graph) -> list[str]:
  """Returns the types of the operations of a graph that keep a state."""
  return sorted(filter(_IMPURE.match, operation_types(graph)))
