"""Evaluates several hand-designed optimizers with one compilation."""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import sonnet as snt
import tensorflow as tf

from meta import evaluation
import networks
import problems


class SharedEvaluator:
  """Evaluates hand-designed optimizers, all of which are compiled at once.

  To trace and compile short runs takes far longer than to make them. Here, that
  happens once for all optimizers and their learning rates.

  Example:

    shared = shared_evaluator.SharedEvaluator(
        [networks.Sgd(), networks.Adam()], problem, num_steps=100)
    losses = shared.of(networks.Adam(0.1))(seeds=range(10)).losses
  """

  def __init__(self, candidates: Sequence[networks.Network],
               problem: problems.Problem, num_steps: int,
               jit_compile: bool | None = None):
    """Computes nothing yet.

    Args:
      candidates: Hand-designed optimizers, of any learning rates.
      problem: See `evaluation.Evaluator`.
      num_steps: See `evaluation.Evaluator`.
      jit_compile: See `evaluation.Evaluator`.
    """
    self._keys = [_key(network) for network in candidates]
    self._switch = Switch(candidates)
    self._make_evaluator = functools.partial(
        evaluation.Evaluator, self._switch, problem, num_steps, jit_compile)

  @functools.cached_property
  def _evaluator(self) -> evaluation.Evaluator:
    """What evaluates the candidate that is selected."""
    return self._make_evaluator()

  def of(self, network: networks.Network) -> "Candidate":
    """Returns what evaluates one of the optimizers.

    Args:
      network: One of the candidates, with any learning rate.

    Raises:
      ValueError: It is none of the candidates, or see `evaluation.Evaluator`.
    """
    key = _key(network)
    if key not in self._keys:
      raise ValueError(
          f"network is {key}, but must be one of the candidates, {self._keys}.")
    return Candidate(
        self._evaluator,
        functools.partial(self._switch.select, self._keys.index(key)),
        network.options["learning_rate"])


class Candidate:
  """Evaluates one of the optimizers of a `SharedEvaluator`."""

  def __init__(self, evaluator: evaluation.Evaluator,
               select: Callable[[], None], learning_rate: float):
    """Computes nothing yet.

    Args:
      evaluator: Evaluates the optimizer that is selected.
      select: Selects this optimizer.
      learning_rate: Its learning rate.
    """
    self._evaluator = evaluator
    self._select = select
    self._learning_rate = learning_rate

  @property
  def is_compiled(self) -> bool:
    """See `evaluation.Evaluator`."""
    return self._evaluator.is_compiled

  def __call__(self, seeds: Sequence[int | tf.Tensor],
               progress: Callable = lambda x: x,
               learning_rates: Sequence[float] | None = None
               ) -> evaluation.Evaluation:
    """See `evaluation.Evaluator`."""
    if learning_rates is None:
      learning_rates = [self._learning_rate] * len(seeds)
    self._select()
    return self._evaluator(seeds, progress, learning_rates)


def _key(network: networks.Network) -> tuple[str, dict[str, Any]]:
  """Returns what makes an optimizer another one; its learning rate does not."""
  return type(network).__name__, {
      name: value for name, value in network.options.items()
      if name != "learning_rate"}


@snt.allow_empty_variables
class Switch(networks.Network):
  """One of several hand-designed optimizers; which one is a variable.

  So one compiled program serves all of them. The state is a list of tensors,
  the learning rate first. Fields of the same shape share a place in it, as only
  one of the optimizers uses it.
  """

  def __init__(self, candidates: Sequence[networks.Network]):
    """Selects the first of hand-designed optimizers."""
    super().__init__()
    self._candidates = list(candidates)
    # int64, as there are no int32 variables on a GPU.
    self._selected = tf.Variable(0, trainable=False, dtype=tf.int64)

  def select(self, index: int) -> None:
    """Selects a candidate, for runs from their start on."""
    self._selected.assign(index)

  def initial_state(self, params: networks.Params) -> networks.State:
    states, layouts, empty = self._layout(params)
    return self._call_selected(
        lambda i: _pack(states[i], layouts[i], empty))

  def __call__(self, gradients: networks.Params, state: networks.State
               ) -> tuple[networks.Params, networks.State]:
    _, layouts, _ = self._layout(gradients)

    def step(i):
      own_state = tf.nest.map_structure(lambda place: state[place], layouts[i])
      updates, own_state = self._candidates[i](gradients, own_state)
      return updates, _pack(own_state, layouts[i], state)

    return self._call_selected(step)

  def with_learning_rate(self, state: networks.State,
                         learning_rate: Any) -> networks.State:
    rate = tf.convert_to_tensor(learning_rate, tf.float32)
    return [tf.reshape(rate, state[0].shape), *state[1:]]

  def _layout(self, params: networks.Params) -> tuple[list[Any], ...]:
    """Returns where the state of each candidate lies.

    Returns:
      The initial state of each candidate; for each of its tensors, in the same
      nest, the place in the list; and the list, of zeros.
    """
    states = [c.initial_state(params) for c in self._candidates]
    empty: list[tf.Tensor] = []
    layouts = []
    for state in states:
      places: list[int] = []
      for tensor in tf.nest.flatten(state):
        place = next((i for i, other in enumerate(empty) if i not in places and
                      (other.dtype, other.shape) == (tensor.dtype, tensor.shape)
                      ), len(empty))
        if place == len(empty):
          empty.append(tf.zeros_like(tensor))
        places.append(place)
      layouts.append(tf.nest.pack_sequence_as(state, places))
    return states, layouts, empty

  def _call_selected(self, function: Callable[[int], Any]) -> Any:
    """Returns what the function returns for the selected candidate."""
    return tf.switch_case(
        tf.cast(self._selected, tf.int32),
        [functools.partial(function, i) for i in range(len(self._candidates))])


def _pack(state: networks.State, layout: Any,
          places: Sequence[tf.Tensor]) -> list[tf.Tensor]:
  """Returns the list of tensors with those of a state in their places."""
  packed = list(places)
  for place, tensor in zip(tf.nest.flatten(layout), tf.nest.flatten(state)):
    packed[place] = tensor
  return packed
