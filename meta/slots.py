"""What a trained optimizer keeps for each parameter of another program."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias
import weakref

import tensorflow as tf

import networks

Parameter: TypeAlias = "tf.Variable | tf.keras.Variable"


class Slot(NamedTuple):
  """The network that optimizes one parameter, and its state."""
  name: str  # The name of the parameter.
  network: networks.Network
  template: Any  # The structure of the state.
  variables: list[Any]  # The state, flat; variables of TensorFlow or Keras.

  def update(self, gradient: tf.Tensor, parameter: tf.Tensor,
             state: Sequence[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Returns what is to be added to the parameter, and its next state.

    Args:
      gradient: The gradient of the parameter, of any floating-point type. The
        update is of float32.
      parameter: The value of the parameter.
      state: The values of `variables`.
    """
    updates, next_state = self.network.step(
        {self.name: tf.cast(gradient, tf.float32)},
        tf.nest.pack_sequence_as(self.template, state),
        {self.name: tf.cast(parameter, tf.float32)})
    return updates[self.name], tf.nest.flatten(next_state)

  @property
  def has_rows(self) -> bool:
    """Whether `update_rows` can be called: coordinates have own states."""
    of_networks = self.network.num_rows({self.name: tf.zeros([1])})
    return all(num_rows == [1] for num_rows in of_networks.values())

  def update_rows(self, gradient: tf.IndexedSlices, variable: tf.Variable,
                  learning_rate: Any) -> None:
    """Updates the rows of a variable that have gradients, and their states.

    Args:
      gradient: The gradient of the variable, an embedding say.
      variable: The parameter.
      learning_rate: Factor of the updates.
    """
    variable, *state = [v.value if isinstance(v, tf.keras.Variable) else v
                        for v in (variable, *self.variables)]
    rows = tf.cast(gradient.indices, tf.int32)
    width = variable.shape[1:].num_elements()
    columns = tf.reshape(
        rows[:, tf.newaxis] * width + tf.range(width), [-1])  # [M]
    # Rows that are there several times get the same update, for their sum.
    values = tf.gather(variable, rows)
    update, next_state = self.update(
        tf.gather(tf.convert_to_tensor(gradient), rows), values,
        [_columns(v, columns) for v in state])
    update *= tf.cast(learning_rate, update.dtype)
    variable.scatter_update(
        tf.IndexedSlices(values + tf.cast(update, values.dtype), rows))
    for v, value in zip(state, next_state, strict=True):
      if not v.shape.rank:
        v.assign(value)
        continue
      places = tf.meshgrid(
          *map(tf.range, v.shape[:-1]), columns, indexing="ij")
      v.scatter_nd_update(tf.stack(places, -1), value)


class Slots:
  """Slots by their variable, which they do not keep alive."""

  def __init__(self) -> None:
    # Not by the variable, which has no hash. `tf.Module` tracks and sorts the
    # dictionaries among its attributes, but not this object.
    self._by_id: dict[int, tuple[weakref.ref[Any], Slot]] = {}

  def __len__(self) -> int:
    return len(self._by_id)

  def add(self, variable: tf.Variable, slot: Slot) -> None:
    """Adds the slot of a variable."""
    self._by_id[id(variable)] = weakref.ref(variable), slot

  def find(self, variable: tf.Variable) -> Slot | None:
    """Returns the slot of a variable, or None."""
    reference, slot = self._by_id.get(id(variable), (lambda: None, None))
    # The id of a deleted variable may be that of a new one.
    return slot if reference() is variable else None

  def items(self) -> Iterator[tuple[tf.Variable, Slot]]:
    """Yields the variables that exist and their slots, as they were added."""
    for reference, slot in self._by_id.values():
      variable = reference()
      if variable is not None:
        yield variable, slot

  def drop_deleted(self) -> None:
    """Drops the slots of variables that no longer exist."""
    self._by_id = {key: (reference, slot)
                   for key, (reference, slot) in self._by_id.items()
                   if reference() is not None}


def make_slot(network: networks.Network, name: str, shape: Sequence[int],
              make_variable: Callable[[tf.Tensor, int], Any]) -> Slot:
  """Returns a slot whose state is that before the first step.

  Args:
    network: The network that optimizes the parameter.
    name: The name of the parameter.
    shape: The shape of the parameter.
    make_variable: Makes a variable from its initial value and its index.

  Raises:
    ValueError: The network cannot optimize parameters of this shape.
  """
  state = network.initial_state({name: tf.zeros(shape)})
  return Slot(name, network, tf.nest.map_structure(lambda _: None, state), [
      make_variable(t, i) for i, t in enumerate(tf.nest.flatten(state))])


def _columns(variable: tf.Variable, columns: tf.Tensor) -> tf.Tensor:
  """Returns columns of a variable, [..., M]; a scalar as it is."""
  rank = variable.shape.rank
  if not rank:
    return tf.convert_to_tensor(variable)
  # tf.gather would copy all of a variable that is also written to in places.
  return tf.raw_ops.ResourceGather(
      resource=variable.handle, dtype=variable.dtype, batch_dims=rank - 1,
      indices=tf.broadcast_to(
          columns, [*variable.shape[:-1], tf.shape(columns)[0]]))


def parameter_name(parameter: Parameter) -> str:
  """Returns the name by which a network is assigned to a parameter."""
  if isinstance(parameter, tf.keras.Variable):
    return parameter.path
  return parameter.name.split(":")[0]


def as_gradient(gradient: Any, parameter: Parameter
                ) -> tf.Tensor | tf.IndexedSlices:
  """Returns the gradient of a parameter, checked, as a tensor or as its rows.

  Raises:
    ValueError: The gradient is None or does not fit the parameter, or the
      parameter is not a floating-point variable of known shape.
  """
  if not isinstance(parameter, tf.Variable | tf.keras.Variable):
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
  if not shape.is_compatible_with(gradient.shape):
    raise ValueError(f"The gradient of {name!r} has shape {gradient.shape}, "
                     f"but the parameter has {shape}.")
  return gradient
