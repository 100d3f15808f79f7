"""States that the replicas of a distribution strategy share out.

This is the first stage of ZeRO (Rajbhandari et al. 2020): each of R replicas
keeps the states of 1/R of the coordinates, computes their updates, and gets the
other updates from the other replicas. All have all parameters and gradients.
"""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from meta import groups, states
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
  num = tf.distribute.get_strategy().num_replicas_in_sync
  if shard is None:
    shard = num_coordinates >= num * _MIN_COORDINATES
  return shard and num > 1 and can_make(nets)


def can_make(nets: Mapping[str, networks.Network]) -> bool:
  """Returns whether networks treat coordinates alike, each without the others.

  Those that also read the parameters, or have means or a number of steps for
  each of them, do not.
  """
  return groups.can_join(nets.values()) and all(
      _are_independent(network) for network in nets.values())


def _are_independent(network: networks.Network) -> bool:
  """Returns whether two coordinates together do what each does alone."""
  if network.needs_params or network.num_rows(
      {"x": tf.zeros([1, 2])}) != [2]:
    return False

  def step(gradient):
    params = {"x": tf.constant(gradient)}
    return tf.nest.flatten(
        network.step(params, network.initial_state(params), None))

  return all(a.shape.rank and np.allclose(a[..., :1], b) for a, b in zip(
      step([0.01, 1.]), step([0.01]), strict=True))


class ShardedGroup(groups.Group):
  """Parameters whose coordinates, and their states, the replicas share out."""

  def __init__(self, nets: Mapping[str, networks.Network],
               shapes: Sequence[Sequence[int]], name: str):
    """See `groups.Group`; `can_make` must hold for the networks."""
    self._sizes = [tf.TensorShape(shape).num_elements() for shape in shapes]
    self._strategy = tf.distribute.get_strategy()
    # Coordinates of a replica, M. The last one may have fewer.
    self._length = -(-sum(self._sizes) // self._strategy.num_replicas_in_sync)
    super().__init__(nets, shapes, name)

  def _make_tensor(self, values: Sequence[tf.Tensor], rows: Sequence[int],
                   name: str) -> "ShardedTensor":
    return ShardedTensor(values, rows, name, self._strategy, self._length)

  def _initial_states(self) -> list[tuple[list[tf.Tensor], Any]]:
    # All coordinates start alike, so that one of each parameter is enough.
    return [(values, self._sizes)
            for values, _ in self._initial_states_of([[1]] * len(self._sizes))]

  def updates(self, places: Sequence[int], gradients: Sequence[tf.Tensor]
              ) -> list[tf.Tensor]:
    """Returns the updates of parameters, and updates this replica's states.

    Args:
      places: Some or all parameters of the group, in ascending order.
      gradients: Their gradients, the same for all replicas.
    """
    state = [tf.convert_to_tensor(t.variable) for t in self.tensors]
    (update,), next_state = self._step(
        [0], [self._own(dict(zip(places, gradients, strict=True)))], [], state)
    if len(places) < len(self._sizes):  # Other states stay as they are.
      is_updated = self._own({
          i: tf.ones([self._sizes[i]]) for i in places}) > 0
      next_state = [tf.where(is_updated, new, old)
                    for new, old in zip(next_state, state, strict=True)]
    for tensor, value in zip(self.tensors, next_state, strict=True):
      tensor.variable.assign(value)
    context = tf.distribute.get_replica_context()
    updates = tf.split(
        context.all_gather(update, axis=0)[:sum(self._sizes)], self._sizes)
    return [tf.reshape(updates[i], g.shape)
            for i, g in zip(places, gradients, strict=True)]

  def _own(self, tensors: Mapping[int, Any]) -> tf.Tensor:
    """Returns the coordinates of this replica, 0 where there is none, [M]."""
    parts = [tf.reshape(tf.cast(tensors[i], tf.float32), [-1]) if i in tensors
             else tf.zeros([size]) for i, size in enumerate(self._sizes)]
    return _own(tf.concat(parts, 0), self._length)


class ShardedTensor(states.StateTensor):
  """A state tensor whose columns the replicas share out.

  The variable of each replica is [..., M].
  """

  def __init__(self, values: Sequence[tf.Tensor], rows: Sequence[int],
               name: str, strategy: tf.distribute.Strategy, length: int):
    """Creates the variable.

    Args:
      values: The initial state of one row of each parameter, [..., 1].
      rows: The number of rows of each parameter.
      name: Name of the variable.
      strategy: Whose replicas share them out.
      length: Number of columns of a replica, M.
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

  def _make_variable(self, values: Sequence[tf.Tensor], name: str
                     ) -> tf.Variable:
    with self._strategy.scope():
      return tf.Variable(
          tf.repeat(values[0], self._length, -1), trainable=False, name=name,
          synchronization=tf.VariableSynchronization.ON_READ,
          aggregation=tf.VariableAggregation.NONE)

  def reset(self, values: Sequence[tf.Tensor]) -> None:
    super().reset([tf.repeat(v, num, -1)
                   for v, num in zip(values, self._rows, strict=True)])

  def shape(self, place: int) -> tf.TensorShape:
    return tf.TensorShape([*self.variable.shape[:-1], self._rows[place]])

  def read(self) -> tf.Tensor:
    """Returns the value; of several processes, all must call this."""
    return self._strategy.gather(
        self._read(), axis=self.variable.shape.rank - 1)[..., :sum(self._rows)]

  def write(self, value: tf.Tensor) -> None:
    self._write((value,))

  def _read_own(self) -> tf.Tensor:
    return tf.identity(self.variable)

  def _write_own(self, value: tf.Tensor) -> None:
    self.variable.assign(_own(value, self._length))


def _own(value: tf.Tensor, length: int) -> tf.Tensor:
  """Returns the columns of this replica, M, 0 where there is none."""
  context = tf.distribute.get_replica_context()
  missing = length * context.num_replicas_in_sync - value.shape[-1]
  start = context.replica_id_in_sync_group * length
  padded = tf.pad(value, [[0, 0]] * (value.shape.rank - 1) + [[0, missing]])
  return padded[..., start:start + length]
