"""Imitation of a hand-designed optimizer, the teacher, by a learned one.

A run is made by the teacher. The network is fed with the gradients of this run,
and learns to make the teacher's updates (Chen et al. 2020, "Training Stronger
Baselines for Learning to Optimize").
"""

import functools
from typing import Any, NamedTuple

import sonnet as snt
import tensorflow as tf

from meta import meta_gradient, meta_step, nests, sampling, unroll
import networks
from networks import elementwise
import problems


class StudentState(NamedTuple):
  """The state of a student."""
  own: networks.State  # The network's state.
  teacher: networks.State  # The teacher's, in rows of the network.
  losses: Any  # Sums over the steps of the unroll of 1/2 (g - g_teacher)^2, in
  # rows. The unit of the updates g is the teacher's learning rate.


@snt.allow_empty_variables
class Student(networks.Network):
  """A network that is fed with gradients, while its teacher makes the updates.

  Its variables are those of the network.
  """

  def __init__(self, network: networks.Network, teacher: networks.Network):
    """Checks the teacher.

    Args:
      network: The network that learns.
      teacher: A hand-designed optimizer.

    Raises:
      ValueError: The teacher is something else.
    """
    super().__init__()
    if not isinstance(teacher, elementwise.Elementwise):
      raise ValueError(f"teacher is a {type(teacher).__name__}, but must be a "
                       "hand-designed optimizer.")
    self._network = network
    self._teacher = teacher
    self._unit = teacher.options["learning_rate"]

  def initial_state(self, params: networks.Params) -> StudentState:
    rows = self.to_rows(params)
    return StudentState(
        self._network.initial_state(params), self._teacher.initial_state(rows),
        elementwise.zeros(rows))

  def __call__(self, gradients: networks.Params, state: StudentState
               ) -> tuple[networks.Params, StudentState]:
    return self.step(gradients, state, None)

  def num_rows(self, params: networks.Params) -> Any:
    return self._network.num_rows(params)

  def to_rows(self, tensors: networks.Params) -> Any:
    return self._network.to_rows(tensors)

  def from_rows(self, rows: Any, like: networks.Params) -> networks.Params:
    return self._network.from_rows(rows, like)

  def prepare(self, gradients: networks.Params, state: StudentState,
              params: networks.Params | None = None
              ) -> tuple[tuple[Any, Any], StudentState]:
    inputs, own = self._network.prepare(gradients, state.own, params)
    updates, teacher = self._teacher(self.to_rows(gradients), state.teacher)
    return (inputs, updates), state._replace(own=own, teacher=teacher)

  def update_rows(self, inputs: tuple[Any, Any], state: StudentState
                  ) -> tuple[Any, StudentState]:
    own_inputs, updates = inputs
    own_updates, own = self._network.update_rows(own_inputs, state.own)
    losses = tf.nest.map_structure(
        lambda loss, a, b: loss + ((a - b) / self._unit)**2 / 2,
        state.losses, own_updates, updates)
    return updates, state._replace(own=own, losses=losses)

  @property
  def needs_params(self) -> bool:
    return self._network.needs_params


class ImitationStep(meta_step.MetaStep):
  """A step of meta-training on a run that a teacher makes.

  `MetaOptimizer.meta_minimize` returns one if it is given a teacher. The losses
  are those of the teacher. The meta-loss is the sum over T of the mean over the
  coordinates of 1/2 (g - g_teacher)^2, where the unit of the updates g is the
  teacher's learning rate, and its mean over K. The paper has the sum over the
  coordinates, and no unit. Here, the size of the meta-loss depends on neither
  the number of coordinates nor the learning rate: Adam's updates are about 1 in
  this unit, and so a network without updates has a meta-loss of at most about
  T / 2, which is the size of a sum of T losses. Of several networks, each has
  its own mean, and these are added.
  """

  def _make_meta_gradient(self, num_sampled: int | None) -> Any:
    return self._compiled(functools.partial(
        imitation_gradient, num_sampled=num_sampled))

  def _meta_loss(self, losses: tf.Tensor, run: unroll.Run) -> tf.Tensor:
    return tf.add_n([
        tf.cast(tf.reduce_mean(nests.flat(state.losses)), losses.dtype)
        for state in run.state.values()])


def imitation_gradient(
    network: networks.Network, problem: problems.Problem, run: unroll.Run,
    num_steps: int, num_sampled: int | None = None,
    jit_network: bool = False) -> meta_gradient.Result:
  """Makes `num_steps` updates, and differentiates the loss of imitation.

  The run does not depend on the network, so this is the whole derivative.

  Args:
    network: A `networks.Partition` of students.
    problem: See `meta_gradient.meta_gradient`.
    run: See `meta_gradient.meta_gradient`.
    num_steps: See `meta_gradient.meta_gradient`.
    num_sampled: See `meta_gradient.meta_gradient`.
    jit_network: See `unroll.step`.
  """
  run = run._replace(state={
      key: state._replace(losses=elementwise.zeros(state.losses))
      for key, state in run.state.items()})
  recording = meta_gradient.forward(
      network, problem, run, num_steps, num_sampled, jit_network)
  d_variables = meta_gradient.backward(
      network, recording, lambda gradients, t: elementwise.zeros(gradients),
      unroll.vectorized(_d_state, run.is_batched)(
          recording.before(num_steps), recording.sample), jit_network)
  num_runs = run.seed.shape[0] if run.is_batched else 1
  return meta_gradient.Result(
      recording.losses, recording.run, [d / num_runs for d in d_variables])


def _d_state(state: dict[str, StudentState], sample: Any
             ) -> dict[str, StudentState]:
  """Returns the derivatives of the loss of a run by its last state."""
  return {key: zeros._replace(losses=_shares(zeros.losses, sample[key]))
          for key, zeros in elementwise.zeros(state).items()}


def _shares(zeros: Any, sample: Any) -> Any:
  """Returns the share that each coordinate in the sample has in the mean."""
  weights = sampling.weigh(tf.nest.map_structure(tf.ones_like, zeros), sample)
  total = tf.add_n([tf.reduce_sum(t) for t in tf.nest.flatten(weights)])
  return tf.nest.map_structure(lambda t: t / total, weights)
