"""The states of several parameters, side by side in one variable."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


class StateTensor:
  """A tensor of the states of P parameters that one network optimizes.

  Attributes:
    variable: The states of the rows of all parameters, [..., N]. Where a state
      is one number for a parameter, such as a count of steps, they are [P]. If
      there is one parameter, it is the state as the network has it. Integers
      are of 64 bits: a GPU has no variables of 32, and so XLA could not compile
      a step.
    dtype: The type that the network has of the states.
    rows: The number of rows of each parameter, if there are several.
  """

  def __init__(self, values: Sequence[tf.Tensor], rows: Sequence[int],
               name: str):
    """Creates the variable.

    Args:
      values: The initial state of each parameter, [..., rows of it] or [].
      rows: The number of rows of each parameter, if there are several.
      name: Name of the variable.
    """
    self._num = len(values)
    self.dtype = values[0].dtype
    self.rows = rows
    self._is_number = not values[0].shape.rank
    self.variable = self._make_variable(values, name)

  def _make_variable(self, values: Sequence[tf.Tensor], name: str
                     ) -> tf.Variable:
    return tf.Variable(
        self._stored(self._join(values)), trainable=False, name=name)

  def reset(self, values: Sequence[tf.Tensor]) -> None:
    """Sets the state of each parameter."""
    self.write(self._join(values))

  def read(self) -> Any:
    """Returns the value, with the states of all parameters."""
    return self._value(self.variable)

  def write(self, value: tf.Tensor) -> None:
    """Sets the value."""
    self.variable.assign(self._stored(value))

  def part(self, value: Any, place: int) -> tf.Tensor:
    """Returns the state of one parameter, from a value that was read."""
    if self._num == 1:
      return tf.convert_to_tensor(value)
    if self._is_number:
      return value[place]
    start = sum(self.rows[:place])
    return value[..., start:start + self.rows[place]]

  def shape(self, place: int) -> tf.TensorShape:
    """Returns the shape of the state of one parameter."""
    if self._num == 1:
      return self.variable.shape
    return tf.TensorShape([] if self._is_number else [
        *self.variable.shape[:-1], self.rows[place]])

  def assign_part(self, place: int, value: tf.Tensor) -> None:
    """Sets the state of one parameter."""
    # Once a variable is written to in places, TensorFlow copies it whenever it
    # is read; and of several replicas, only the copy of one would be written.
    self.write(self.replace(self.read(), [place], value))

  def select(self, value: Any, places: Sequence[int]) -> tf.Tensor:
    """Returns the states of some parameters, as a network takes them.

    Numbers of several parameters become a row, as they may differ.

    Args:
      value: The variable, its copy on a device, or their value.
      places: The parameters.
    """
    value = self._value(value)  # Read once, which may copy it.
    if self._are_all(places):
      return value
    if len(places) == 1:
      return self.part(value, places[0])
    if self._is_number:
      return tf.repeat(tf.gather(value, list(places)),
                       [self.rows[i] for i in places])[tf.newaxis]
    return tf.concat([self.part(value, i) for i in places], -1)

  def replace(self, value: Any, places: Sequence[int],
              selected: tf.Tensor) -> tf.Tensor:
    """Returns a value to write, in which states of some parameters are others.

    Args:
      value: The variable, its copy on a device, or their value.
      places: The parameters.
      selected: Their states, in the form that `select` returns.
    """
    selected = self._stored(selected)
    if self._are_all(places):
      return selected
    value = self._stored(tf.convert_to_tensor(value))
    sizes = [self.rows[i] for i in places]
    if self._is_number:
      numbers = [selected] if len(places) == 1 else tf.gather(
          selected[0], np.cumsum([0, *sizes[:-1]]))
      return numbers if len(places) == self._num else (
          tf.tensor_scatter_nd_update(value, [[i] for i in places], numbers))
    # What lies between the selected ones is in one piece.
    pieces, end = [], 0
    for i, part in zip(places, tf.split(selected, sizes, -1), strict=True):
      start = sum(self.rows[:i])
      pieces += [value[..., end:start], part]
      end = start + self.rows[i]
    return tf.concat([*pieces, value[..., end:]], -1)

  def select_columns(self, place: int, columns: tf.Tensor) -> tf.Tensor:
    """Returns the states of M rows of a parameter, [..., M]; a number as it is.

    Args:
      place: The parameter.
      columns: Which of its rows, [M].
    """
    if self._is_number:
      return self.part(self.read(), place)
    # tf.gather would copy all of a variable that is also written to in places.
    return tf.raw_ops.ResourceGather(
        resource=self.variable.handle, dtype=self.variable.dtype,
        batch_dims=self.variable.shape.rank - 1, indices=tf.broadcast_to(
            columns + sum(self.rows[:place]),
            [*self.variable.shape[:-1], tf.shape(columns)[0]]))

  def assign_columns(self, place: int, columns: tf.Tensor,
                     value: tf.Tensor) -> None:
    """Sets what `select_columns` returns."""
    if self._is_number:
      self.assign_part(place, value)
      return
    cells = tf.meshgrid(
        *map(tf.range, self.variable.shape[:-1]),
        columns + sum(self.rows[:place]), indexing="ij")
    self.variable.scatter_nd_update(tf.stack(cells, -1), value)

  def _value(self, variable: Any) -> tf.Tensor:
    """Returns the value of a variable in the type that the network has."""
    return tf.cast(tf.convert_to_tensor(variable), self.dtype)

  def _stored(self, value: tf.Tensor) -> tf.Tensor:
    """Returns a value in the type of the variable."""
    return tf.cast(value, tf.int64) if self.dtype.is_integer else value

  def _are_all(self, places: Sequence[int]) -> bool:
    """Whether a network takes the variable as it is."""
    return len(places) == self._num and (
        self._num == 1 or not self._is_number)

  def _join(self, parts: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns a value of the variable, from the state of each parameter."""
    if self._num == 1:
      return parts[0]
    return tf.stack(parts) if self._is_number else tf.concat(parts, -1)


class ParameterState(tf.Module):
  """The state of one parameter: a part of a tensor, used like a variable.

  In a checkpoint, it is a variable.

  Attributes:
    path: Its name.
    shape: Its shape.
    dtype: Its type.
  """

  def __init__(self, tensor: StateTensor, place: int, path: str):
    """Takes the part of the parameter at `place`."""
    super().__init__("state")
    self.path = path
    self.shape = tensor.shape(place)
    self.dtype = tensor.dtype
    self._tensor = tensor
    self._place = place

  @property
  def value(self) -> tf.Tensor:
    """Its value."""
    return self._tensor.part(self._tensor.read(), self._place)

  def numpy(self) -> np.ndarray:
    """Returns the value as an array."""
    return self.value.numpy()

  def __array__(self, dtype: Any = None, copy: bool | None = None
                ) -> np.ndarray:
    """Returns the value, for NumPy and for what saves arrays."""
    return np.asarray(self.numpy(), dtype)

  def assign(self, value: Any) -> None:
    """Sets the value.

    Raises:
      ValueError: It has another shape.
    """
    value = tf.convert_to_tensor(value, self.dtype)
    if not value.shape.is_compatible_with(self.shape):
      raise ValueError(f"The state {self.path!r} has shape {self.shape}, but "
                       f"got a value of shape {value.shape}.")
    self._tensor.assign_part(self._place, tf.ensure_shape(value, self.shape))

  def _serialize_to_tensors(self) -> dict[str, tf.Tensor]:
    return {"VARIABLE_VALUE": self.value}

  def _restore_from_tensors(self, restored: dict[str, tf.Tensor]) -> None:
    try:
      self.assign(restored["VARIABLE_VALUE"])
    except ValueError as error:
      # A list that tracks the state would take a ValueError for a sign that it
      # cannot.
      raise RuntimeError(
          f"{error} Restore the checkpoint into a new optimizer, and apply it "
          "to the parameters in the order in which the one before was applied "
          "to them.") from None
