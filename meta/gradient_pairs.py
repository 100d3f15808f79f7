"""The gradients that another program gives an optimizer, and the parameters."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

Parameter: TypeAlias = "tf.Variable | keras.Variable"


def parameter_name(parameter: Parameter) -> str:
  """Returns the name by which a network is assigned to a parameter."""
  if isinstance(parameter, keras.Variable):
    return parameter.path
  return parameter.name.split(":")[0]


def variable_of(parameter: Parameter) -> tf.Variable:
  """Returns TensorFlow's variable of a parameter."""
  return (parameter.value if isinstance(parameter, keras.Variable)
          else parameter)


def as_lists(gradients: Iterable[Any], parameters: Iterable[Parameter]
             ) -> tuple[list[Any], list[Parameter]]:
  """Returns gradients and parameters as lists.

  Raises:
    ValueError: One of them is a single tensor or variable.
  """
  for single in (gradients, parameters):
    if tf.is_tensor(single) or isinstance(single, keras.Variable):
      raise ValueError(
          f"Got a single {type(single).__name__}, but apply needs a list of "
          "gradients and one of parameters: apply([gradient], [parameter]).")
  return list(gradients), list(parameters)


def pairs(gradients: Iterable[Any], parameters: Iterable[Parameter]
          ) -> list[tuple[Any, Parameter]]:
  """Returns the gradients that are not None, checked, and their parameters.

  Raises:
    ValueError: See `learned_optimizer.LearnedOptimizer.apply`.
  """
  gradients, parameters = as_lists(gradients, parameters)
  if len(gradients) != len(parameters) or not parameters:
    raise ValueError(
        f"Got {len(gradients)} gradients for {len(parameters)} parameters; "
        "apply needs one gradient per parameter, and at least one.")
  found = [(as_gradient(g, p), p) for g, p in zip(gradients, parameters)
           if g is not None]
  if not found:
    raise ValueError(
        "All gradients are None: the loss does not depend on any of the "
        f"parameters {[*map(parameter_name, parameters)]}.")
  if len({id(variable_of(p)) for _, p in found}) < len(found):
    raise ValueError(
        "A parameter is given twice: apply needs one gradient for each. The "
        f"parameters are {[parameter_name(p) for _, p in found]}.")
  return found


def sum_over_replicas(gradients: Sequence[tf.Tensor | tf.IndexedSlices]
                      ) -> Sequence[Any]:
  """Returns the sums over the replicas of the strategy in scope, if any.

  They are dense and of float32, as a strategy sums gradients of one type.

  Raises:
    ValueError: The call is in the scope of a strategy, but not in a replica.
  """
  replica = tf.distribute.get_replica_context()
  if replica is None:
    raise ValueError("apply was called in the scope of a distribution "
                     "strategy. Call it in the function that the strategy's "
                     "run() calls, or outside the scope.")
  if not tf.distribute.has_strategy():
    return gradients
  return replica.all_reduce(
      tf.distribute.ReduceOp.SUM,
      [tf.cast(tf.convert_to_tensor(g), tf.float32) for g in gradients])


def as_gradient(gradient: Any, parameter: Parameter
                ) -> tf.Tensor | tf.IndexedSlices:
  """Returns the gradient of a parameter, checked, as a tensor or as its rows.

  Raises:
    ValueError: The gradient is None or does not fit the parameter, or the
      parameter is not a floating-point variable of known shape.
  """
  if not isinstance(parameter, tf.Variable | keras.Variable):
    raise ValueError(f"A parameter is {parameter!r}, but must be a variable.")
  name = parameter_name(parameter)
  dtype, shape = tf.as_dtype(parameter.dtype), tf.TensorShape(parameter.shape)
  if not dtype.is_floating:
    raise ValueError(f"The parameter {name!r} is of type {dtype.name}, but "
                     "must be of a floating-point type: leave it out.")
  if not shape.is_fully_defined():
    raise ValueError(f"The parameter {name!r} has shape {shape}, but its shape "
                     "must be known.")
  if not isinstance(gradient, tf.IndexedSlices):
    gradient = tf.convert_to_tensor(gradient)
  if not gradient.dtype.is_floating:
    raise ValueError(f"The gradient of {name!r} is of type "
                     f"{gradient.dtype.name}, but must be of a floating-point "
                     "type.")
  given = gradient.shape
  if isinstance(gradient, tf.IndexedSlices):  # Its own shape may be unknown.
    given = shape[:1].concatenate(gradient.values.shape[1:])
  if not shape.is_compatible_with(given):
    raise ValueError(f"The gradient of {name!r} has shape {given}, but the "
                     f"parameter has {shape}.")
  if isinstance(gradient, tf.IndexedSlices):
    return _without_repetition(gradient, shape)
  return gradient if gradient.shape.is_fully_defined() else (
      tf.ensure_shape(gradient, shape))


def _without_repetition(gradient: tf.IndexedSlices, shape: tf.TensorShape
                        ) -> tf.IndexedSlices:
  """Returns a gradient in which rows that are there several times are added.

  It has a `dense_shape`, which it may have lacked.
  """
  # XLA counts the different rows of constant indices when it compiles, and
  # fails, as the number is unknown elsewhere. A sum with a computed 0 is not
  # constant.
  zero = tf.minimum(tf.cast(tf.reduce_any(tf.math.is_nan(
      gradient.values[:1])), gradient.indices.dtype), 0)
  rows, places = tf.unique(gradient.indices + zero)
  values = tf.math.unsorted_segment_sum(
      gradient.values, places, tf.size(rows))
  return tf.IndexedSlices(values, rows, tf.constant(shape.as_list()))
