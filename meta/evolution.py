"""Meta-gradients without back-propagation: evolution strategies.

The weights phi are perturbed, and the meta-losses say which perturbations are
good. With a standard deviation sigma, the estimates are those of the gradient
of the meta-loss smoothed by it: of its mean over phi + N(0, sigma^2).
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import tensorflow as tf

from l2lgd import checks, philox
from meta import (
    meta_gradient,
    meta_step,
    nests,
    objectives,
    replicas,
    unroll,
)
import networks
from networks import weights_in_state
import problems

ESTIMATORS = ("backprop", "es", "pes")


class Particles(NamedTuple):
  """P pairs of runs with perturbed weights, beside a run with the weights."""
  params: problems.Params  # [2 P, ...]: the runs with phi + epsilon, one of
  # each pair, then those with phi - epsilon.
  state: networks.State  # [2 P, ...]
  sums: tuple[tf.Tensor, ...]  # For each variable, [P, ...]: xi, the sum of the
  # epsilon of each pair since the run started.


class EvolutionStep(meta_step.MetaStep):
  """A step of meta-training whose meta-gradient is estimated by perturbations.

  `MetaOptimizer.meta_minimize` returns one for the estimators "es" and "pes".
  An unroll is made with the weights, whose losses are returned, and side by
  side with 2 P perturbed ones, P of them epsilon ~ N(0, sigma^2) and their
  antithetic partners -epsilon. The estimate is the mean over the pairs of
  xi (L(phi + epsilon) - L(phi - epsilon)) / (2 sigma^2). Nothing is
  differentiated, and the memory does not depend on T.

  Evolution strategies, ES: each unroll starts all perturbed runs where the run
  is, and xi = epsilon. What an update does beyond the unroll is not counted, as
  in truncated back-propagation.

  Persistent evolution strategies, PES (Vicol et al. 2021): the perturbed runs
  go on from unroll to unroll with new perturbations, and xi is the sum of those
  since the start of the run. The sum of the estimates of a run is unbiased for
  the gradient of all its meta-losses, each unroll smoothed by perturbations of
  its own.

  With the objective "log", the loss at which an unroll starts is a constant.
  """

  def __init__(self, *args: Any, persistent: bool, stddev: float,
               num_pairs: int, **kwargs: Any):
    """Creates the network's variables and Adam's slots.

    Args:
      *args: See `meta_step.MetaStep`.
      persistent: Whether to estimate by PES. If not, it is ES.
      stddev: Standard deviation of the perturbations, sigma.
      num_pairs: Number of pairs, P, for each of K runs.
      **kwargs: See `meta_step.MetaStep`.

    Raises:
      ValueError: See `meta_step.MetaStep`; `stddev` or `num_pairs` is not
        positive; there are second derivatives or samples of coordinates; or the
        weights of the network cannot be perturbed.
    """
    self._persistent = persistent
    self._stddev = checks.positive("perturbation_stddev", stddev)
    self._num_pairs = checks.positive_integer("perturbation_pairs", num_pairs)
    super().__init__(*args, **kwargs)
    self._perturbed = meta_step.Unroller(
        weights_in_state.WeightsInState(self.network), self.problem,
        self.len_unroll, jit_compile=self._jit_compile)
    self._spread = replicas.on_each(
        tf.function(self._with_particles, autograph=False))

  def reset(self, seed: int | tf.Tensor) -> unroll.Run:
    run = super().reset(seed)
    return self._spread(run) if self._persistent else run

  def _make_meta_gradient(
      self, num_sampled: int | None) -> Callable[..., meta_gradient.Result]:
    for name, value, allowed in (
        ("second_derivatives", self._second_derivatives, False),
        ("num_sampled", num_sampled, None)):
      if value != allowed:
        raise ValueError(f"{name} is {value}, but must be {allowed} with "
                         "estimators other than 'backprop'.")
    return self._estimate

  def _estimate(self, run: unroll.Run, num_steps: int) -> meta_gradient.Result:
    """Returns the losses, the next run and the meta-gradient."""
    batched = run.is_batched
    if not self._persistent:
      run = self._with_particles(run)
    perturbations = unroll.vectorized(self._draw, batched)(run.seed, run.step)
    runs = unroll.vectorized(self._beside, batched)(run, perturbations)
    if batched:  # [K, 1 + 2 P, ...]
      runs = tf.nest.map_structure(
          lambda t: tf.reshape(t, [-1, *t.shape[2:]]), runs)
    losses, runs = self._perturbed.unroll(runs, num_steps)
    losses = nests.swap_axes(losses)  # [K (1 + 2 P), T + 1, ...]
    if batched:
      losses, runs = tf.nest.map_structure(
          lambda t: tf.reshape(t, [run.seed.shape[0], -1, *t.shape[1:]]),
          (losses, runs))
    losses, run, gradients = unroll.vectorized(self._results, batched)(
        losses, runs, run.particles, perturbations)
    if batched:
      losses, gradients = nests.swap_axes(losses), [
          tf.reduce_mean(g, 0) for g in gradients]
    return meta_gradient.Result(losses, run, gradients)

  def _with_particles(self, run: unroll.Run) -> unroll.Run:
    """Returns the run with particles that are where it is."""
    def spread(run):
      params, state = tf.nest.map_structure(
          functools.partial(_repeat, num=2 * self._num_pairs),
          (run.params, run.state))
      return run._replace(particles=Particles(params, state, tuple(
          tf.zeros([self._num_pairs, *v.shape], v.dtype)
          for v in self.network.trainable_variables)))

    return unroll.vectorized(spread, run.is_batched)(run)

  def _draw(self, seed: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Draws the perturbations epsilon of an unroll, [P, ...], for a run."""
    seed = philox.fold_in(seed, -2)  # No step of a loss.
    seed = philox.fold_in(seed, step)
    return tuple(
        self._stddev * philox.normal(
            [self._num_pairs, *v.shape], philox.fold_in(seed, i), v.dtype)
        for i, v in enumerate(self.network.trainable_variables))

  def _beside(self, run: unroll.Run,
              perturbations: tuple[tf.Tensor, ...]) -> unroll.Run:
    """Returns a run and its particles side by side, 1 + 2 P runs."""
    params, state = tf.nest.map_structure(
        lambda t, others: tf.concat([t[tf.newaxis], others], 0),
        (run.params, run.state), (run.particles.params, run.particles.state))
    weights = tuple(
        v + tf.concat([tf.zeros_like(p[:1]), p, -p], 0)
        for v, p in zip(self.network.trainable_variables, perturbations))
    constants, seed, step = tf.nest.map_structure(
        functools.partial(_repeat, num=1 + 2 * self._num_pairs),
        (run.constants, run.seed, run.step))
    return unroll.Run(
        params, constants, weights_in_state.State(state, weights), seed, step)

  def _results(self, losses: tf.Tensor, runs: unroll.Run, particles: Particles,
               perturbations: tuple[tf.Tensor, ...]) -> meta_gradient.Result:
    """Returns the results of one run.

    Args:
      losses: Those of the run and of its particles, [1 + 2 P, T + 1, ...].
      runs: The run and its particles after the unroll.
      particles: The particles before the unroll.
      perturbations: Those of the unroll.
    """
    runs = runs._replace(state=runs.state.own)
    sums = tuple(map(tf.add, particles.sums, perturbations))
    # Meta-losses, up to a constant of each pair.
    _, added, subtracted = tf.split(
        tf.reduce_sum(objectives.terms(losses, self._objective, 2), 1),
        [1, self._num_pairs, self._num_pairs])
    differences = added - subtracted  # [P]
    valid = tf.math.is_finite(differences)
    slopes = tf.where(valid, differences, 0.) / (
        2 * self._stddev**2 * tf.reduce_sum(tf.cast(valid, losses.dtype)))
    gradients = [tf.tensordot(tf.cast(slopes, xi.dtype), xi, 1) for xi in sums]
    run = tf.nest.map_structure(lambda t: t[0], runs)
    if self._persistent:  # Pairs that diverged start again, from the run.
      both = runs.params, runs.state
      params, state = nests.where(
          tf.tile(valid, [2]), tf.nest.map_structure(lambda t: t[1:], both),
          tf.nest.map_structure(lambda t: t[:1], both))
      run = run._replace(particles=Particles(params, state, nests.where(
          valid, sums, tf.nest.map_structure(tf.zeros_like, sums))))
    return meta_gradient.Result(losses[0], run, gradients)


def _repeat(tensor: tf.Tensor, num: int) -> tf.Tensor:
  """Returns copies of a tensor, [num, ...]."""
  return tf.broadcast_to(tensor, [num, *tensor.shape])
