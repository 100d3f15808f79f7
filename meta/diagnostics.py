"""Diagnostics: the size and direction of a network's updates in a run."""

from collections.abc import Iterator, Mapping, Sequence
import functools
import itertools
from typing import Any, NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

from meta import nests, seeds, unroll
import networks
from networks import moments
import problems


class Trace(NamedTuple):
  """Measurements of the T steps of a run, float64, each of shape [T]."""
  loss: tf.Tensor  # Before the update; the mean over S.
  gradient_size: tf.Tensor  # RMS over the coordinates.
  update_size: tf.Tensor  # RMS over the coordinates.
  cosine: tf.Tensor  # Cosine of the update and the negative gradient; 0 if one
  # of them is 0.
  shares: dict[str, tf.Tensor]  # What `Network.diagnose` returns.

  def by_name(self) -> dict[str, tf.Tensor]:
    """Returns all measurements by name."""
    measures = self._asdict()
    shares = measures.pop("shares")
    return measures | shares


def trace(network: networks.Network, problem: problems.Problem,
          seed: int | tf.Tensor, num_steps: int) -> Trace:
  """Makes a run and measures every step.

  Args:
    network: The optimizer. Inside a `tf.function` its variables must exist.
    problem: The problem that it optimizes.
    seed: Seed of the run, as for `unroll.start`; of a single run.
    num_steps: Number of updates, T.
  """
  run = unroll.start(network, problem, seeds.stack([seed]))
  rows = tf.nest.map_structure(
      functools.partial(unroll.tensor_array, num_steps),
      _measure(network, problem, run)[0])

  def body(i, rows, run):
    measures, run = _measure(network, problem, run)
    return i + 1, tf.nest.map_structure(
        lambda row, m: row.write(i, m), rows, measures), run

  _, rows, _ = unroll.while_loop(num_steps, body, rows, run)
  return tf.nest.map_structure(lambda row: row.stack(), rows)


def _measure(network: networks.Network, problem: problems.Problem,
             run: unroll.Run) -> tuple[Trace, unroll.Run]:
  """Returns the measurements of one step, and the run after it."""
  loss, gradients = unroll.loss_and_gradients(problem, run)
  updates, state = unroll.apply_network(network, run, gradients)
  g, u = _flat(gradients), _flat(updates)
  rms_g, rms_u = moments.rms(g), moments.rms(u)
  measures = Trace(
      tf.reduce_mean(tf.cast(loss, tf.float64)), rms_g, rms_u,
      tf.math.divide_no_nan(-tf.reduce_mean(g * u), rms_g * rms_u),
      {name: tf.cast(share, tf.float64) for name, share in
       network.diagnose(gradients, run.state).items()})
  return measures, unroll.advance(run, updates, state)


def _flat(tensors: Any) -> tf.Tensor:
  """Returns all numbers, in float64, where no square vanishes or overflows."""
  return nests.flat(tf.nest.map_structure(
      lambda t: tf.cast(t, tf.float64), tensors))


def response(network: networks.Network, gradients: networks.Params,
             state: networks.State, name: str, index: int | tf.Tensor,
             values: tf.Tensor,
             params: networks.Params | None = None) -> tf.Tensor:
  """Returns the updates of one coordinate for other values of its gradient.

  Args:
    network: The optimizer.
    gradients: The gradients of a step; all other coordinates keep theirs.
    state: The state before the step.
    name: The parameter that has the coordinate.
    index: The coordinate's index in the flattened parameter.
    values: The gradients that replace its own, shape [V].
    params: The parameters before the step, if the network needs them.

  Returns:
    The updates of this coordinate, shape [V].
  """
  flat = tf.reshape(gradients[name], [-1])

  def respond(value):
    changed = tf.tensor_scatter_nd_update(flat, [[index]], [value])
    updates, _ = network.step(
        {**gradients, name: tf.reshape(changed, gradients[name].shape)}, state,
        params)
    return tf.reshape(updates[name], [-1])[index]

  # One after another, to save memory: each value updates all coordinates.
  return tf.map_fn(respond, values)


class Response(NamedTuple):
  """The update of one coordinate in a step, as a function of its gradient."""
  step: int  # Number of updates made before.
  name: str  # The parameter that has the coordinate.
  coordinate: int  # Its index in the flattened parameter.
  gradient: float  # The gradient that it had.
  values: np.ndarray  # The gradients that replace it, ascending, shape [V].
  updates: dict[str, np.ndarray]  # By network, shape [V], in units of the RMS
  # of its updates of the parameter in this step.


def responses(optimizers: Mapping[str, networks.Network],
              problem: problems.Problem, seed: int | tf.Tensor,
              steps: Sequence[int], num_coordinates: int,
              num_values: int = 62) -> Iterator[Response]:
  """Yields the responses of random coordinates, in a run of the first network.

  The other networks are fed the gradients of this run, so that their states are
  what they would remember of it, but they do not make its updates.

  Args:
    optimizers: The networks by name.
    problem: The problem that they optimize.
    seed: Seed of the run and of the choice of coordinates.
    steps: The steps to look at, ascending, as numbers of updates made before.
    num_coordinates: Number of coordinates, the same ones in each step. They are
      drawn from those whose gradient is not 0 in the first of the steps, or
      from all of a parameter that has none.
    num_values: V. The values reach as far as the gradients of the parameter do
      in the step, except for the largest 2 %.
  """
  together = _Together(list(optimizers.values()))
  run = unroll.start(together, problem, seeds.stack([seed]))
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
    updates = {
        key: network.step(gradients, state, run.params)[0]
        for (key, network), state in zip(
            optimizers.items(), run.state, strict=True)}
    for name, index in coordinates:
      values = _values(gradients[name], index, num_values)  # [V]
      yield Response(
          step, name, index, float(tf.reshape(gradients[name], [-1])[index]),
          values.numpy(), {
              key: _relative(respond[key](
                  gradients, state, name, tf.constant(index), values,
                  run.params),
                             updates[key][name])
              for key, state in zip(optimizers, run.state, strict=True)})


def _values(gradient: tf.Tensor, index: int, count: int) -> tf.Tensor:
  """Returns gradients of both signs, dense around 0, and the actual one."""
  flat = np.ravel(gradient)
  reach = max(np.abs(flat[index]),
              np.percentile(np.abs(flat), 98, method="lower"))
  x = np.linspace(-1., 1., count - 1)
  grid = (reach if 0 < reach < np.inf else 1.) * np.sign(x) * x**2
  return tf.constant(np.sort([*grid, flat[index]]), gradient.dtype)


def _relative(updates: tf.Tensor, all_updates: tf.Tensor) -> np.ndarray:
  """Returns updates [V] over the RMS of all updates of their parameter."""
  return tf.math.divide_no_nan(
      tf.cast(updates, tf.float64), moments.rms(_flat(all_updates))).numpy()


def _draw(gradients: networks.Params, seed: tf.Tensor,
          count: int) -> list[tuple[str, int]]:
  """Returns pairs of a parameter's name and an index, taking turns."""
  rng = np.random.default_rng(seed.numpy().view(np.uint32))
  pairs = []
  for name in rng.permutation(sorted(gradients)):
    flat = np.ravel(gradients[name])
    candidates = np.flatnonzero(flat) if flat.any() else np.arange(flat.size)
    pairs.append([(str(name), int(i))
                  for i in rng.permutation(candidates)[:count]])
  in_turn = itertools.chain(*itertools.zip_longest(*pairs))
  return [pair for pair in in_turn if pair][:count]


def compare(
    optimizers: Mapping[str, networks.Network], problem: problems.Problem,
    seed: int | tf.Tensor, num_steps: int
    ) -> tuple[list[Response], dict[str, Trace]]:
  """Returns responses at four steps of a run, and a trace of each optimizer.

  The responses have Sgd and Adam beside the optimizers.

  Args:
    optimizers: The networks by name.
    problem: The problem that they optimize.
    seed: Seed of the run and of the choice of coordinates.
    num_steps: Number of updates, T.
  """
  references = {cls.__name__: cls() for cls in (networks.Sgd, networks.Adam)
                if cls.__name__ not in optimizers}
  steps = {min(1, num_steps - 1), num_steps // 10, num_steps // 2,
           num_steps - 1}
  traces = {}
  for name, network in optimizers.items():
    function = tf.function(
        functools.partial(trace, network, problem), autograph=False)
    traces[name] = tf.nest.map_structure(
        lambda t: t.numpy(), function(seed, num_steps))
  return list(responses({**optimizers, **references}, problem, seed,
                        sorted(steps), num_coordinates=3)), traces


@snt.allow_empty_variables
class _Together(networks.Network):
  """The first network, while the others are fed the same gradients."""

  def __init__(self, members: Sequence[networks.Network]):
    super().__init__("together")
    self._members = members

  def initial_state(self, params):
    return [network.initial_state(params) for network in self._members]

  def __call__(self, gradients, state):
    return self.step(gradients, state, None)

  def step(self, gradients, state, params):
    results = [network.step(gradients, own, params)
               for network, own in zip(self._members, state, strict=True)]
    return results[0][0], [next_state for _, next_state in results]
