"""Groups of parameters that are optimized by one call of a network."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import functools
from typing import Any

import tensorflow as tf

from meta import states, unroll
import networks

# A larger group is hardly faster, and needs more memory for what the network
# computes: about a kilobyte a coordinate, for two layers of 20 units.
MAX_COORDINATES = 2**17

# XLA makes a step of few parameters a third faster. With many, the step is no
# faster, and takes long to compile.
_MAX_COMPILED = 100

# XLA compiles a step for each set of parameters that have gradients, up to this
# number. Where there are more sets, as with layers dropped at random, each step
# may have a new one.
_MAX_PROGRAMS = 8


class Step:
  """What networks compute for the parameters of a group.

  Groups whose parameters have the same shapes share it, so that XLA compiles it
  once.

  Attributes:
    shapes: The shapes of the parameters, by their names in the network.
    network: The networks as one, for all parameters.
    template: The structure of the state.
    has_coordinates: Whether each coordinate has a state of its own, so that
      rows of a parameter can be updated alone.
    of_places: Returns `of_some` for its first argument, a tuple.
  """

  def __init__(self, nets: Mapping[str, networks.Network],
               shapes: Sequence[Sequence[int]]):
    """Prepares the step.

    Args:
      nets: The networks by id. The updates of several are added.
      shapes: The shapes of the parameters; of one, if `can_join` is false.

    Raises:
      ValueError: A network cannot optimize a parameter of such a shape.
    """
    self._networks = nets
    # In alphabetical order, as networks sort the parameters; their own names
    # need not be unique.
    self.shapes = {f"{i:09}": shape for i, shape in enumerate(shapes)}
    self.network = self._network_of(list(self.shapes))
    self.has_coordinates = have_coordinates(nets.values())
    name_of_first = next(iter(self.shapes))
    self.template = tf.nest.map_structure(
        lambda _: None, self._network_of([name_of_first]).initial_state(
            {name_of_first: tf.zeros([1] if self.has_coordinates
                                     else shapes[0])}))
    self.of_places = self.compiled(self.of_some)

  def compiled(self, step: Callable[..., Any]
               ) -> Callable[[tuple[int, ...]], Callable[..., Any]]:
    """Returns a function of places, which returns the step of some parameters.

    XLA compiles the step if that is faster.
    """
    can_compile = can_join(self._networks.values())
    programs: dict[tuple[int, ...], Callable[..., Any]] = {}

    def of_places(places):
      if places in programs:
        return programs[places]
      of_these = functools.partial(step, places)
      if len(programs) == _MAX_PROGRAMS:
        return of_these
      programs[places] = unroll.compiled(
          of_these, can_compile and len(places) <= _MAX_COMPILED)
      return programs[places]

    return of_places

  def initial_states(self, shapes: Sequence[Sequence[int]]
                     ) -> list[tuple[list[tf.Tensor], Any]]:
    """Returns the states of parameters, and their rows, for each tensor.

    Args:
      shapes: The shapes of as many parameters as there are.
    """
    initial = []
    for _, network in sorted(self._networks.items()):
      params = {name: tf.zeros(shape)
                for name, shape in zip(self.shapes, shapes, strict=True)}
      of_params = [tf.nest.flatten(network.initial_state({name: p}))
                   for name, p in params.items()]
      rows = network.num_rows(params)
      initial += [(list(values), rows) for values in zip(*of_params)]
    return initial

  def of_some(self, places: Sequence[int], gradients: Sequence[tf.Tensor],
              parameters: Sequence[tf.Tensor], state: Sequence[tf.Tensor],
              learning_rate: tf.Tensor
              ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Returns the updates of parameters, of float32, and the next state.

    Args:
      places: Some or all parameters of the group, in ascending order.
      gradients: Their gradients.
      parameters: The parameters, if the network needs them.
      state: Their states, as the network takes them.
      learning_rate: Factor of the updates.
    """
    names = list(self.shapes)
    names = [names[i] for i in places]
    network = (self.network if len(names) == len(self.shapes)
               else self._network_of(names))
    values = dict(zip(names, parameters)) if network.needs_params else {}
    updates, next_state = network.step(
        {name: tf.cast(g, tf.float32) for name, g in zip(names, gradients)},
        tf.nest.pack_sequence_as(self.template, state),
        {name: tf.cast(p, tf.float32) for name, p in values.items()})
    return ([updates[name] * learning_rate for name in names],
            tf.nest.flatten(next_state))

  def _network_of(self, names: Sequence[str]) -> networks.Network:
    """Returns the networks as one, for some of the parameters."""
    return networks.Partition(
        self._networks, [(key, names) for key in self._networks])


class Group:
  """Parameters that networks optimize in one call, and their states.

  Attributes:
    step: What the networks compute.
    tensors: The states, in the order of `tf.nest.flatten`.
  """

  def __init__(self, step: Step, name: str):
    """Creates the states before the first step.

    Args:
      step: What the networks compute.
      name: Name of the variables.
    """
    self.step = step
    self.tensors = self._make_tensors(name)

  def _make_tensors(self, name: str) -> Sequence[states.StateTensor]:
    """Returns the states before the first step."""
    return [states.StateTensor(values, rows, name)
            for values, rows in self._initial_states()]

  def _initial_states(self) -> list[tuple[list[tf.Tensor], Any]]:
    """Returns the states of each parameter, and their rows, for each tensor."""
    return self.step.initial_states([*self.step.shapes.values()])

  def reset(self) -> None:
    """Sets the states to those before the first step."""
    for tensor, (values, _) in zip(self.tensors, self._initial_states()):
      tensor.reset(values)

  def update(self, places: Sequence[int],
             gradients: Sequence[tf.Tensor | tf.IndexedSlices],
             parameters: Sequence[tf.Variable], state: Sequence[tf.Variable],
             learning_rate: Any) -> None:
    """Updates parameters by one step, and their states.

    Args:
      places: Some or all parameters of the group, in ascending order.
      gradients: Their gradients, of any floating-point type.
      parameters: Their variables.
      state: The variables of the states, or their copies on a device.
      learning_rate: Factor of the updates.
    """
    step = self.step.of_places(tuple(places))
    read = parameters if self.step.network.needs_params else ()
    updates, next_state = step(
        [*map(tf.convert_to_tensor, gradients)],
        [*map(tf.convert_to_tensor, read)],
        [t.select(v, places) for t, v in zip(self.tensors, state)],
        tf.cast(learning_rate, tf.float32))
    for variable, update in zip(parameters, updates, strict=True):
      variable.assign_add(tf.cast(update, variable.dtype))
    for tensor, variable, value in zip(self.tensors, state, next_state):
      variable.assign(tensor.replace(variable, places, value))

  def update_rows(self, place: int, gradient: tf.IndexedSlices,
                  parameter: tf.Variable, learning_rate: Any) -> None:
    """Updates the rows of a parameter that have gradients, and their states.

    Args:
      place: The parameter's place in the group.
      gradient: Its gradient, which has no row twice; it is an embedding, say.
      parameter: The parameter.
      learning_rate: See `update`.
    """
    rows = tf.cast(gradient.indices, tf.int32)
    width = parameter.shape[1:].num_elements()
    columns = tf.reshape(
        rows[:, tf.newaxis] * width + tf.range(width), [-1])  # [M]
    values = tf.gather(parameter, rows)
    (update,), next_state = self.step.of_some(
        [place], [gradient.values], [values],
        [t.select_columns(place, columns) for t in self.tensors],
        tf.cast(learning_rate, tf.float32))
    parameter.scatter_update(
        tf.IndexedSlices(values + tf.cast(update, values.dtype), rows))
    for tensor, value in zip(self.tensors, next_state, strict=True):
      tensor.assign_columns(place, columns, value)


def can_join(nets: Iterable[networks.Network]) -> bool:
  """Whether networks may optimize several parameters in one call.

  If not, what they do with a parameter may depend on the others.
  """
  return all(isinstance(rows, list) and rows for rows in (
      network.num_rows({"x": tf.zeros([1])}) for network in nets))


def have_coordinates(nets: Iterable[networks.Network]) -> bool:
  """Whether each coordinate has a state of its own."""
  return all(network.num_rows({"x": tf.zeros([1, 2])}) == [2]
             for network in nets)


def divide(keys: Sequence[Any], sizes: Sequence[int],
           limit: int) -> list[list[int]]:
  """Returns the indices of the parameters of each group.

  Args:
    keys: What the parameters of a group have in common; None for a parameter
      that is alone in its group.
    sizes: The numbers of coordinates of the parameters.
    limit: The number of coordinates of a group of several parameters.
  """
  divided: list[list[int]] = []
  last: dict[Any, list[int]] = {}
  for i, key in enumerate(keys):
    group = last.get(key)
    if key is None or group is None or (
        sum(sizes[j] for j in group) + sizes[i] > limit):
      group = last[key] = []
      divided.append(group)
    group.append(i)
  return divided
