"""States that the replicas of a distribution strategy share out.

This is the first stage of ZeRO (Rajbhandari et al. 2020): each of R replicas
keeps the states of 1/R of the coordinates, computes their updates, and gets the
other updates from the other replicas. All have all parameters and gradients.
"""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

import tensorflow as tf

from meta import groups, replicas, states
import networks

_MIN_COORDINATES = 2**15  # Of a replica. With fewer, messages take longer than
# the updates that are saved.


def are_used(shard: bool | None, nets: Mapping[str, networks.Network],
             num_coordinates: int) -> bool:
  """Returns whether replicas share out the coordinates of parameters.

  Args:
    shard: Whether they are to; None if it is faster.
    nets: The networks.
    num_coordinates: The number of coordinates.
  """
  num = replicas.count()
  if shard is None:
    shard = num_coordinates >= num * _MIN_COORDINATES
  return bool(num_coordinates) and shard and num > 1 and can_make(nets)


def can_make(nets: Mapping[str, networks.Network]) -> bool:
  """Returns whether networks have a state for each coordinate."""
  return (groups.can_join(nets.values())
          and groups.have_coordinates(nets.values()))


class ShardedGroup(groups.Group):
  """Parameters whose coordinates, and their states, the replicas share out.

  A step begins with what has no weights: the features of the coordinates, and
  means over parameters. Each replica makes this part for all coordinates, and
  keeps the states that it changes whole; they are few.
  """
  tensors: Sequence["ShardedTensor"]

  def __init__(self, step: groups.Step, name: str):
    """See `groups.Group`; `can_make` must hold for the networks."""
    self._sizes = [tf.TensorShape(shape).num_elements()
                   for shape in step.shapes.values()]
    self._strategy = tf.distribute.get_strategy()
    # Coordinates of a replica, M. The last one may have fewer.
    self._length = -(-sum(self._sizes) // self._strategy.num_replicas_in_sync)
    super().__init__(step, name)
    self._share_of_places = step.compiled(self._share_of_step)

  def _make_tensors(self, name: str) -> Sequence["ShardedTensor"]:
    params = {name: tf.ones([1]) for name in self.step.shapes}
    network = self.step.network
    before = network.initial_state(params)
    _, after = network.prepare(params, before, params)
    return [
        ShardedTensor(values, rows, name, self._strategy,
                      self._length if old is new else None)
        for (values, rows), old, new in zip(
            self._initial_states(), tf.nest.flatten(before),
            tf.nest.flatten(after), strict=True)]

  def _initial_states(self) -> list[tuple[list[tf.Tensor], Any]]:
    # All coordinates start alike, so that one of each parameter is enough.
    return [(values, self._sizes)
            for values, _ in self.step.initial_states(
                [[1]] * len(self._sizes))]

  def updates(self, places: Sequence[int], gradients: Sequence[tf.Tensor],
              parameters: Sequence[tf.Variable]) -> list[tf.Tensor]:
    """Returns the updates of parameters, and updates this replica's states.

    Args:
      places: Some or all parameters of the group, in ascending order.
      gradients: Their gradients, the same for all replicas.
      parameters: Their variables.
    """
    context = tf.distribute.get_replica_context()
    update, state = self._share_of_places(tuple(places))(
        self._all(places, gradients),
        (self._all(places, parameters)
         if self.step.network.needs_params else []),
        [tf.convert_to_tensor(t.variable) for t in self.tensors],
        tf.convert_to_tensor(context.replica_id_in_sync_group) * self._length)
    for tensor, value in zip(self.tensors, state, strict=True):
      tensor.variable.assign(value)
    updates = tf.split(
        context.all_gather(update, axis=0)[:sum(self._sizes)], self._sizes)
    return [tf.reshape(updates[i], g.shape)
            for i, g in zip(places, gradients, strict=True)]

  def _all(self, places: Sequence[int],
           tensors: Sequence[Any]) -> list[tf.Tensor]:
    """Returns tensors of all parameters, 0 where there is none."""
    by_place = dict(zip(places, tensors, strict=True))
    return [tf.cast(tf.convert_to_tensor(by_place[i]), tf.float32)
            if i in by_place else tf.zeros(shape)
            for i, shape in enumerate(self.step.shapes.values())]

  def _share_of_step(
      self, places: Sequence[int], gradients: Sequence[tf.Tensor],
      parameters: Sequence[tf.Tensor], state: Sequence[tf.Tensor],
      start: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Returns the updates of a replica's coordinates, [M], and its next state.

    Args:
      places: The parameters that have gradients.
      gradients: Those of all parameters.
      parameters: All parameters, if the network reads them.
      state: The replica's.
      start: The first of its coordinates.
    """
    everything = range(len(self._sizes))
    network, shapes = self.step.network, self.step.shapes
    inputs, prepared = network.prepare(
        dict(zip(shapes, gradients, strict=True)),
        tf.nest.pack_sequence_as(self.step.template, [
            t.select(value, everything) if t.is_whole else value
            for t, value in zip(self.tensors, state, strict=True)]),
        dict(zip(shapes, parameters)))
    inputs = tf.nest.map_structure(
        lambda t: self._own(t, start) if t.shape.rank else t, inputs)
    updates, next_state = network.update_rows(inputs, prepared)
    is_updated = self._own(tf.concat([
        tf.fill([size], i in places) for i, size in enumerate(self._sizes)],
                                     0), start)
    return tf.add_n([*updates.values()])[0], [
        _replace(tensor, old, places, new) if tensor.is_whole
        else tf.where(is_updated, new, old) for tensor, old, new in zip(
            self.tensors, state, tf.nest.flatten(next_state), strict=True)]

  def _own(self, value: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    return _own(value, self._length, start, self._strategy)


class ShardedTensor(states.StateTensor):
  """A state tensor of which each replica has a part, [..., M], or a copy."""

  def __init__(self, values: Sequence[tf.Tensor], rows: Sequence[int],
               name: str, strategy: tf.distribute.Strategy, length: int | None):
    """Creates the variable.

    Args:
      values: The initial state of one row of each parameter, [..., 1] or [].
      rows: The number of rows of each parameter.
      name: Name of the variable.
      strategy: Whose replicas share out the columns.
      length: Number of columns of a replica, M. None gives each a copy.
    """
    self._strategy = strategy
    self._length = length
    super().__init__(values, rows, name)
    # As partial functions, TensorFlow does not take them for one that is traced
    # again and again.
    self._read = tf.function(
        functools.partial(strategy.run, self._read_own), autograph=False)
    self._write = tf.function(
        functools.partial(strategy.run, self._write_own), autograph=False)

  @property
  def is_whole(self) -> bool:
    """Whether each replica has a copy."""
    return self._length is None

  def _make_variable(self, values: Sequence[tf.Tensor], name: str
                     ) -> tf.Variable:
    with self._strategy.scope():
      return tf.Variable(
          self._stored(self._of_all_rows(values)) if self._length is None
          else tf.repeat(values[0], self._length, -1), trainable=False,
          name=name, synchronization=tf.VariableSynchronization.ON_READ,
          aggregation=tf.VariableAggregation.NONE)

  def _of_all_rows(self, values: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the value, from that of one row of each parameter."""
    return self._join([
        tf.repeat(v, num, -1) if v.shape.rank else v
        for v, num in zip(values, self.rows, strict=True)])

  def reset(self, values: Sequence[tf.Tensor]) -> None:
    self.write(self._of_all_rows(values))

  def shape(self, place: int) -> tf.TensorShape:
    if self._is_number:
      return tf.TensorShape([])
    return tf.TensorShape([*self.variable.shape[:-1], self.rows[place]])

  def read(self) -> tf.Tensor:
    """Returns the value; of several processes, all must call this."""
    own = self._read()
    if self._length is None:
      return self._strategy.experimental_local_results(own)[0]
    return self._strategy.gather(
        own, axis=self.variable.shape.rank - 1)[..., :sum(self.rows)]

  def write(self, value: tf.Tensor) -> None:
    self._write((value,))

  def _read_own(self) -> tf.Tensor:
    return tf.identity(self._value(self.variable))

  def _write_own(self, value: tf.Tensor) -> None:
    if self._length is not None:
      context = tf.distribute.get_replica_context()
      value = _own(value, self._length, context.replica_id_in_sync_group
                   * self._length, self._strategy)
    self.variable.assign(self._stored(value))


def _replace(tensor: states.StateTensor, old: tf.Tensor,
             places: Sequence[int], new: tf.Tensor) -> tf.Tensor:
  """Returns a value in which the states of some parameters are new.

  Args:
    tensor: Whose value it is.
    old: The value before.
    places: The parameters.
    new: The states of all, as `StateTensor.select` returns them.
  """
  new = tensor.replace(old, range(len(tensor.rows)), new)
  return tensor.replace(old, places, tensor.select(new, places))


def _own(value: tf.Tensor, length: int, start: Any,
         strategy: tf.distribute.Strategy) -> tf.Tensor:
  """Returns M columns from `start` on, 0 where there is none."""
  missing = length * strategy.num_replicas_in_sync - value.shape[-1]
  padded = tf.pad(value, [[0, 0]] * (value.shape.rank - 1) + [[0, missing]])
  sizes = [*value.shape[:-1], length]
  return tf.slice(padded, [0] * (len(sizes) - 1) + [start], sizes)
