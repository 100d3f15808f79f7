"""What a network does in a run: how large its updates are, and which way."""

from collections.abc import Iterator, Mapping, Sequence
import functools
import itertools
from typing import NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

from meta import unroll
import networks
import problems


class Trace(NamedTuple):
  """Measures of the T steps of a run, float64, each of shape [T]."""
  loss: tf.Tensor  # Before the update; the mean over S.
  gradient_size: tf.Tensor  # RMS over the coordinates.
  update_size: tf.Tensor  # RMS over the coordinates.
  cosine: tf.Tensor  # Of update and negative gradient; 0 where one is 0.
  shares: dict[str, tf.Tensor]  # What `Network.diagnose` returns.

  def by_name(self) -> dict[str, tf.Tensor]:
    """Returns all of them."""
    *measures, shares = self._asdict().items()
    return dict(measures) | shares[1]


def trace(network: networks.Network, problem: problems.Problem,
          seed: int | tf.Tensor, num_steps: int) -> Trace:
  """Makes a run and measures it.

  Args:
    network: The optimizer. Inside a `tf.function` it must have its variables.
    problem: What it optimizes.
    seed: Of the run, see `unroll.start`; of one alone.
    num_steps: T.
  """
  run = unroll.start(network, problem, seed)
  rows = tf.nest.map_structure(
      lambda t: tf.TensorArray(t.dtype, num_steps, element_shape=[]),
      _measure(network, problem, run)[0])

  def body(i, rows, run):
    measures, run = _measure(network, problem, run)
    return i + 1, tf.nest.map_structure(
        lambda row, m: row.write(i, m), rows, measures), run

  _, rows, _ = tf.while_loop(
      lambda i, *_: i < num_steps, body, (0, rows, run), parallel_iterations=1)
  return tf.nest.map_structure(lambda row: row.stack(), rows)


def _measure(network, problem, run):
  """A step's part of the trace, and the run after it."""
  loss, gradients = unroll.loss_and_gradients(problem, run)
  updates, state = network(gradients, run.state)
  g, u = _concat(gradients), _concat(updates)
  step = Trace(
      tf.reduce_mean(tf.cast(loss, tf.float64)), _rms(g), _rms(u),
      tf.math.divide_no_nan(-tf.reduce_mean(g * u), _rms(g) * _rms(u)),
      {name: tf.cast(share, tf.float64) for name, share in
       network.diagnose(gradients, run.state).items()})
  params = tf.nest.map_structure(tf.add, run.params, updates)
  return step, run._replace(params=params, state=state, step=run.step + 1)


def _concat(tensors):
  """All numbers, as float64, whose squares neither vanish nor overflow."""
  return tf.concat([tf.cast(tf.reshape(t, [-1]), tf.float64)
                    for t in tf.nest.flatten(tensors)], 0)


def _rms(x):
  return tf.sqrt(tf.reduce_mean(x**2))


def response(network: networks.Network, gradients: networks.Params,
             state: networks.State, name: str, index: int | tf.Tensor,
             values: tf.Tensor) -> tf.Tensor:
  """Returns the updates of a coordinate at other values of its gradient.

  Args:
    network: The optimizer.
    gradients: Of a step; all but one number of them are kept.
    state: Before the step.
    name: The parameter that has the coordinate.
    index: Which one it is, as the parameter is flattened.
    values: The gradients to put in its place, shape [V].

  Returns:
    The updates of this coordinate, shape [V].
  """
  flat = tf.reshape(gradients[name], [-1])

  def respond(value):
    changed = tf.tensor_scatter_nd_update(flat, [[index]], [value])
    updates, _ = network(
        {**gradients, name: tf.reshape(changed, gradients[name].shape)}, state)
    return tf.reshape(updates[name], [-1])[index]

  # One after another, for the memory: each is an update of all coordinates.
  return tf.map_fn(respond, values)


class Response(NamedTuple):
  """Updates of one coordinate in a step, as functions of its gradient."""
  step: int  # Updates made before.
  name: str  # The parameter and
  index: int  # the place in it, flattened.
  gradient: float  # The one that it had.
  values: np.ndarray  # Those that it is given, ascending, shape [V].
  updates: dict[str, np.ndarray]  # By network, shape [V], in units of the RMS
  # of its updates of the parameter in this step.


def responses(optimizers: Mapping[str, networks.Network],
              problem: problems.Problem, seed: int | tf.Tensor,
              steps: Sequence[int], num_coordinates: int,
              num_values: int = 62) -> Iterator[Response]:
  """Yields the responses of coordinates drawn, in a run of the first network.

  The other networks see the gradients of this run, and so have what they would
  remember of it; but they do not move it.

  Args:
    optimizers: The networks by name.
    problem: What they optimize.
    seed: Of the run and of the coordinates.
    steps: Numbers of updates made before, ascending.
    num_coordinates: Coordinates in each step, the same in all. They are drawn
      from those whose gradient is not 0 in the first of the steps.
    num_values: V. They reach as far as the gradients of the parameter do in
      the step, but for the largest 2 %.
  """
  together = _Together(list(optimizers.values()))
  run = unroll.start(together, problem, seed)
  advance = tf.function(
      lambda run: unroll.step(together, problem, run)[1], autograph=False)
  respond = {name: tf.function(functools.partial(response, network),
                               autograph=False)
             for name, network in optimizers.items()}
  coordinates = None
  for step in steps:
    while run.step < step:
      run = advance(run)
    _, gradients = unroll.loss_and_gradients(problem, run)
    if coordinates is None:
      coordinates = _draw(gradients, run.seed, num_coordinates)
    updates = {key: network(gradients, state)[0] for (key, network), state
               in zip(optimizers.items(), run.state, strict=True)}
    for name, index in coordinates:
      values = _values(gradients[name], index, num_values)  # [V]
      yield Response(
          step, name, index, float(tf.reshape(gradients[name], [-1])[index]),
          values.numpy(), {
              key: _in_units(respond[key](
                  gradients, state, name, tf.constant(index), values),
                             updates[key][name])
              for key, state in zip(optimizers, run.state, strict=True)})


def _values(gradient, index, count):
  """Gradients of both signs, dense around 0, and the coordinate's own."""
  flat = np.ravel(gradient)
  reach = max(np.abs(flat[index]),
              np.percentile(np.abs(flat), 98, method="lower"))
  x = np.linspace(-1., 1., count - 1)
  grid = (reach if 0 < reach < np.inf else 1.) * np.sign(x) * x**2
  return tf.constant(np.sort([*grid, flat[index]]), gradient.dtype)


def _in_units(updates, of_parameter):
  """Updates [V] divided by the RMS of all those of their parameter."""
  return tf.math.divide_no_nan(
      tf.cast(updates, tf.float64), _rms(_concat(of_parameter))).numpy()


def _draw(gradients, seed, count):
  """Pairs of a parameter's name and an index, each parameter in turn."""
  rng = np.random.default_rng(seed.numpy().view(np.uint32))
  of_names = []
  for name in rng.permutation(sorted(gradients)):
    flat = np.ravel(gradients[name])
    candidates = np.flatnonzero(flat) if flat.any() else np.arange(flat.size)
    of_names.append([(str(name), int(i))
                     for i in rng.permutation(candidates)[:count]])
  in_turn = itertools.chain(*itertools.zip_longest(*of_names))
  return [pair for pair in in_turn if pair][:count]


@snt.allow_empty_variables
class _Together(networks.Network):
  """The first network, while others see the same gradients."""

  def __init__(self, members: Sequence[networks.Network]):
    super().__init__("together")
    self._members = members

  def initial_state(self, params):
    return [network.initial_state(params) for network in self._members]

  def __call__(self, gradients, state):
    results = [network(gradients, own)
               for network, own in zip(self._members, state, strict=True)]
    return results[0][0], [next_state for _, next_state in results]
