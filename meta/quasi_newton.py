"""Evaluates BFGS and L-BFGS, which need functions and not just gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from l2lgd import checks
from meta import evaluation, nests, unroll
from meta import seeds as seeds_lib
import networks
import problems

# SciPy's names, and the options that stop it. It is to stop when it cannot go
# on, not when it has come close.
METHODS = {
    "BFGS": ("BFGS", {"gtol": 0.}),
    "L-BFGS": ("L-BFGS-B", {"gtol": 0., "ftol": 0., "maxfun": np.inf})}
_MAX_COORDINATES = 2**12  # BFGS multiplies matrices of this size.


class QuasiNewton:
  """Evaluates a quasi-Newton method of SciPy, as an `Evaluator` does a network.

  They are what NTM-BFGS is to match (Andrychowicz et al. 2016, appendix B). A
  step is an iteration, for which a line search evaluates the function at one
  or more points. Where it finds no better point, because of rounding errors,
  the run stays.

  The methods need a function that is not random. So where each step has a
  minibatch, they minimize the mean of the losses on the minibatches of all T
  steps, and an iteration takes as long as T steps or more of others. The losses
  that are returned are those on the minibatch of each step, as for others.

  Example:

    evaluate = quasi_newton.QuasiNewton(
        "BFGS", problems.Quadratic(batch_size=1), num_steps=100)
    losses = evaluate(seeds=range(10)).losses
  """

  def __init__(self, method: str, problem: problems.Problem, num_steps: int):
    """Draws a function, to check that the method can minimize such ones.

    Args:
      method: "BFGS" or "L-BFGS".
      problem: The problem. Its loss must be a single number.
      num_steps: Number of iterations in a run, T.

    Raises:
      ValueError: An argument is not as described, or there are too many
        coordinates for BFGS.
    """
    self._method = checks.one_of("method", method, METHODS)
    problems.check(problem)
    self._problem = problem
    self._num_steps = checks.positive_integer("num_steps", num_steps)
    self._loss_at = tf.function(self._loss, autograph=False)
    self._mean_at = tf.function(self._mean_and_gradient, autograph=False)
    self._is_random = tf.function(self._differs, autograph=False)
    self.is_compiled = False
    run = unroll.start(networks.Sgd(), problem, seed=0)
    self._check(run.params, unroll.loss(problem, run))

  def __call__(self, seeds: Sequence[int | tf.Tensor],
               progress: Callable = lambda x: x) -> evaluation.Evaluation:
    """Makes a run for every seed; see `evaluation.Evaluator`.

    Raises:
      ValueError: There is no seed, or one is not that of a single run.
    """
    if not len(seeds):
      raise ValueError("seeds is empty, but must hold at least one seed.")
    losses, params = zip(*map(self._run, progress(seeds)))
    self.is_compiled = True
    return evaluation.Evaluation(np.stack(losses), {
        name: np.stack([p[name] for p in params]) for name in params[0]})

  def _run(self, seed: int | tf.Tensor
           ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns the losses [T + 1] and the final parameters of a run."""
    run = unroll.start(
        networks.Sgd(), self._problem, seeds_lib.stack([seed]))
    start = nests.flat(run.params)
    num_losses = tf.where(self._is_random(run), self._num_steps, 1)
    points = _minimize(
        lambda x: self._mean_at(run, tf.cast(x, start.dtype), num_losses),
        start.numpy(), self._method, self._num_steps)
    losses = [self._loss_at(_at_step(run, t), x) for t, x in enumerate(points)]
    return (np.reshape(losses, [-1]),
            {name: p.numpy()
             for name, p in _at_point(run, points[-1]).params.items()})

  def _check(self, params: problems.Params, loss: tf.Tensor) -> None:
    """Raises ValueError if the problem is not for this method."""
    types = sorted({p.dtype.name for p in params.values()})
    if len(types) > 1:
      raise ValueError(f"The parameters are of the types {types}, but must be "
                       f"of one for {self._method}.")
    num_coordinates = sum(p.shape.num_elements() for p in params.values())
    if tf.size(loss) != 1:
      raise ValueError(
          f"The problem has {len(loss)} functions in a run, but must have "
          f"one for {self._method}, as paper-quadratic-ntm has.")
    if self._method == "BFGS" and num_coordinates > _MAX_COORDINATES:
      raise ValueError(
          f"The parameters have {num_coordinates} coordinates, but must have "
          f"at most {_MAX_COORDINATES} for BFGS: use L-BFGS.")

  def _differs(self, run: unroll.Run) -> tf.Tensor:
    """Returns whether the function differs from step to step."""
    def values(step: int | tf.Tensor) -> list[tf.Tensor]:
      # At some points, such as weights of 0, minibatches differ in their
      # gradients, but not in their loss.
      return tf.nest.flatten(unroll.loss_and_gradients(
          self._problem, _at_step(run, step)))

    def body(t, previous, _):
      current = values(t)
      changes = [tf.reduce_any(a != b) for a, b in zip(current, previous)]
      # What was computed before the loop, for t = 0, may be rounded otherwise.
      return t + 1, current, (t > 0) & tf.reduce_any(changes)

    *_, differs = tf.while_loop(
        lambda t, _, differs: (t < self._num_steps) & ~differs, body,
        (0, values(0), False))
    return differs

  def _loss(self, run: unroll.Run, x: tf.Tensor) -> tf.Tensor:
    """Returns the loss at a point, shape [] or [1]."""
    return unroll.loss(self._problem, _at_point(run, x))

  def _mean_and_gradient(self, run: unroll.Run, x: tf.Tensor,
                         num_losses: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean of the first losses at a point, and its gradient [N]."""
    run = _at_point(run, x)

    def body(t, *sums):
      loss, gradients = unroll.loss_and_gradients(
          self._problem, run._replace(step=t))
      return t + 1, *nests.add(sums, (loss, nests.flat(gradients)))

    _, loss, gradient = unroll.while_loop(
        num_losses, body, tf.zeros_like(self._loss(run, x)), tf.zeros_like(x))
    return (tf.reshape(loss, []) / tf.cast(num_losses, loss.dtype),
            gradient / tf.cast(num_losses, x.dtype))


def _minimize(function: Callable[..., Any], start: np.ndarray, method: str,
              num_steps: int) -> list[np.ndarray]:
  """Returns the point before each iteration and after the last, T + 1."""
  from scipy import optimize  # Only here, as it takes a while to import.
  points = [start]
  name, options = METHODS[method]
  optimize.minimize(
      lambda x: tuple(t.numpy().astype(np.float64) for t in function(x)),
      start, jac=True, method=name, options=options | {"maxiter": num_steps},
      callback=lambda x: points.append(x.astype(start.dtype)))
  return points + points[-1:] * (num_steps + 1 - len(points))


def _at_point(run: unroll.Run, x: tf.Tensor) -> unroll.Run:
  """Returns a run with its parameters at a point [N]."""
  flat = tf.nest.flatten(run.params)
  parts = tf.split(x, [p.shape.num_elements() for p in flat])
  return run._replace(params=tf.nest.pack_sequence_as(
      run.params, [tf.reshape(x, p.shape) for x, p in zip(parts, flat)]))


def _at_step(run: unroll.Run, step: int | tf.Tensor) -> unroll.Run:
  return run._replace(step=tf.convert_to_tensor(step))
