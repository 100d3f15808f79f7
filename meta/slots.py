"""What a trained optimizer keeps for each parameter of another program."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
import weakref

import tensorflow as tf

from meta import groups, replicas, shards, states
import networks


class Slot(NamedTuple):
  """Where the state of a parameter is."""
  group: groups.Group
  place: int  # Which of the parameters of the group it is.
  states: list[states.ParameterState]


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

  def __contains__(self, variable: tf.Variable) -> bool:
    reference, _ = self._by_id.get(id(variable), (lambda: None, None))
    # The id of a deleted variable may be that of a new one.
    return reference() is variable

  def __getitem__(self, variable: tf.Variable) -> Slot:
    return self._by_id[id(variable)][1]

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

  def update(self, strategy: tf.distribute.Strategy, gradients: Sequence[Any],
             variables: Sequence[tf.Variable], learning_rate: Any) -> None:
    """Updates parameters that have slots, in the cross-replica context.

    Args:
      strategy: The distribution strategy.
      gradients: The gradients.
      variables: The parameters.
      learning_rate: Factor of the updates.
    """
    dense = []
    for gradient, variable in zip(gradients, variables, strict=True):
      group, place, _ = self[variable]
      if isinstance(gradient, tf.IndexedSlices) and group.step.has_coordinates:
        group.update_rows(place, gradient, variable, learning_rate)
      else:
        dense.append((gradient, variable))
    for group, places, own_gradients, own in self._by_group(dense):

      def step(_, *args, group=group, places=places):
        group.update(places, *args)

      strategy.extended.update(own[0], step, group=False, args=(
          own_gradients, own, [t.variable for t in group.tensors],
          learning_rate))

  def update_shards(
      self, gradients: Sequence[Any], variables: Sequence[tf.Variable],
      learning_rate: Any) -> tuple[list[Any], list[tf.Variable]]:
    """Updates the parameters whose coordinates replicas share out.

    The arguments are those of `update`, in a replica.

    Returns:
      The gradients of the other parameters, and these.
    """
    sharded: list[tuple[Any, tf.Variable]] = []
    others: list[tuple[Any, tf.Variable]] = []
    for pair in zip(gradients, variables, strict=True):
      is_sharded = isinstance(self[pair[1]].group, shards.ShardedGroup)
      (sharded if is_sharded else others).append(pair)
    for group, places, own_gradients, own in self._by_group(sharded):
      updates = group.updates(places, own_gradients, own)
      updates = [tf.cast(u * tf.cast(learning_rate, u.dtype), v.dtype)
                 for u, v in zip(updates, own, strict=True)]
      tf.distribute.get_replica_context().merge_call(
          _add_updates, args=(own, updates))
    return [g for g, _ in others], [v for _, v in others]

  def _by_group(self, pairs: Sequence[tuple[Any, tf.Variable]]
                ) -> Iterator[tuple[Any, list[int], tuple[Any, ...],
                                    tuple[tf.Variable, ...]]]:
    """Yields groups, and their places, gradients and variables in order."""
    by_group: dict[groups.Group, dict[int, tuple[Any, tf.Variable]]] = {}
    for gradient, variable in pairs:
      group, place, _ = self[variable]
      by_group.setdefault(group, {})[place] = gradient, variable
    for group, by_place in by_group.items():
      places = sorted(by_place)
      gradients, variables = zip(*(by_place[i] for i in places))
      yield group, places, gradients, variables


def _add_updates(strategy: tf.distribute.Strategy,
                 variables: Sequence[tf.Variable], updates: Sequence[Any]
                 ) -> None:
  for variable, update in zip(variables, updates, strict=True):
    strategy.extended.update(
        variable, lambda v, u: v.assign_add(u), args=(update,), group=False)


def make(names: Sequence[str], variables: Sequence[tf.Variable],
         nets: Sequence[Mapping[str, networks.Network]],
         shard: bool | None = None) -> list[Slot]:
  """Returns slots with the states before the first step.

  Args:
    names: The names of the parameters.
    variables: The parameters.
    nets: The networks that optimize each parameter, by id.
    shard: See `learned_optimizer.LearnedOptimizer`.

  Raises:
    ValueError: A network cannot optimize a parameter of this shape.
  """
  sizes = [variable.shape.num_elements() for variable in variables]
  keys = [(tuple(own), variable.device)
          if size and groups.can_join(own.values()) else None
          for own, size, variable in zip(nets, sizes, variables)]
  made: dict[int, Slot] = {}
  steps: dict[Any, groups.Step] = {}
  for group_class, indices in _divide(keys, sizes, nets, shard):
    first = indices[0]
    extended = tf.distribute.get_strategy().extended
    shapes = [tuple(variables[i].shape) for i in indices]
    key = (*nets[first].items(), *shapes)
    with extended.colocate_vars_with(variables[first]):
      if key not in steps:
        steps[key] = groups.Step(nets[first], shapes)
      group = group_class(steps[key], f"{names[first]}/state")
    for place, i in enumerate(indices):
      path = names[i].replace("/", "_")
      made[i] = Slot(group, place, [
          states.ParameterState(tensor, place, f"{path}_state_{j}")
          for j, tensor in enumerate(group.tensors)])
  return [made[i] for i in range(len(variables))]


def _divide(keys: Sequence[Any], sizes: Sequence[int],
            nets: Sequence[Mapping[str, networks.Network]], shard: bool | None
            ) -> Iterator[tuple[type[groups.Group], list[int]]]:
  """Yields the class of each group, and the indices of its parameters.

  Replicas that share out a group have room for a larger one.
  """
  num = replicas.count()
  for indices in groups.divide(keys, sizes, num * groups.MAX_COORDINATES):
    own_sizes = [sizes[i] for i in indices]
    if shards.are_used(shard, nets[indices[0]], sum(own_sizes)):
      yield shards.ShardedGroup, indices
    else:
      for places in groups.divide([keys[i] for i in indices], own_sizes,
                                  groups.MAX_COORDINATES):
        yield groups.Group, [indices[place] for place in places]
