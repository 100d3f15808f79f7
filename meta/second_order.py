"""The meta-gradient through the gradients of the optimizee."""

from collections.abc import Callable

import tensorflow as tf

from meta import meta_gradient as first_order
from meta import objectives, unroll
import networks
from networks import elementwise
import problems

MAX_RATIO = 100.  # See `unless_exploded`.


def meta_gradient(
    network: networks.Network, problem: problems.Problem, run: unroll.Run,
    num_steps: int, objective: str = "sum",
    jit_network: bool = False) -> first_order.Result:
  """Does what `meta_gradient.meta_gradient` does, through the gradients too.

  On the way back, the derivatives with respect to the gradients of a step are
  multiplied by the Hessian of its loss. So the optimizee is differentiated
  twice, but one step at a time: only the parameters, the gradients and the
  state of each step are stored. Where second derivatives explode, they are left
  out: see `unless_exploded`.
  """
  step = unroll.compiled(
      unroll.vectorized(network.step, run.is_batched), jit_network)
  losses, end, last_gradients, gradients_of, before = first_order.record(
      problem, run, num_steps,
      lambda gradients, *args: (*step(gradients, *args), gradients),
      run.params, lambda run: (run.state, run.params))
  derivatives = objectives.derivatives_of(losses, objective, run.is_batched)
  vjp = unroll.compiled(first_order.vjp_of(
      network, network.step, lambda gradients, state, params: (
          gradients, first_order.floating(state), params), run.is_batched),
                        jit_network)
  where_large = unroll.vectorized(unroll.where_large, run.is_batched)

  def back(with_second: bool, t: tf.Tensor, d_params: problems.Params,
           d_state: list[tf.Tensor]) -> tuple:
    gradients = gradients_of(t)
    state, params = before(t)
    d_variables, (d_gradients, d_state, d_direct) = vjp(
        (gradients, state, params), (d_params, d_state))
    if with_second:
      d_gradients = where_large(
          gradients, d_gradients, elementwise.zeros(gradients))
      through_gradients = unroll.hessian_product(
          problem, run._replace(params=params, step=run.step + t), d_gradients)
      d_params = unroll.add(d_params, unroll.add(d_direct, through_gradients))
    return d_variables, unroll.add(d_params, derivatives(gradients, t)), d_state

  def gradient(with_second: bool) -> list[tf.Tensor]:
    d_variables = first_order.go_back(
        network, num_steps, lambda *args: back(with_second, *args),
        derivatives(last_gradients, num_steps),
        [tf.zeros_like(t) for t in first_order.floating(run.state)])
    return [d / losses[0].shape.num_elements() for d in d_variables]

  return losses, end, unless_exploded(
      gradient(True), losses, objective, lambda: gradient(False))


def unless_exploded(
    gradients: list[tf.Tensor], losses: tf.Tensor, objective: str,
    without_second: Callable[[], list[tf.Tensor]]) -> list[tf.Tensor]:
  """Returns a meta-gradient with second derivatives, unless it has exploded.

  Second derivatives of chaotic runs, of recurrent networks say, grow
  exponentially with T, and their direction is noise (Metz et al. 2019, arXiv
  1810.10180, section 3). First derivatives do not.

  Args:
    gradients: The meta-gradient with second derivatives.
    losses: The losses of the unroll, as `unroll.unroll` returns them.
    objective: See `objectives.meta_loss`.
    without_second: Returns the meta-gradient without, which is used if
      `gradients` are not finite, or their norm is more than `MAX_RATIO` times
      its norm, and more than ten times the sum over T of the mean size of the
      losses, or with "log", 10 (T + 1).
  """
  def choose() -> list[tf.Tensor]:
    others = without_second()
    is_sane = norm <= MAX_RATIO * unroll.norm(others)
    return [tf.where(is_sane, a, b)
            for a, b in zip(gradients, others, strict=True)]

  if not gradients:  # All networks are hand-designed.
    return gradients
  norm = unroll.norm(gradients)
  # Most are not large: they need no comparison.
  size = (float(losses.shape[0]) if objective == "log" else
          tf.cast(objectives.meta_loss(tf.abs(losses)), norm.dtype))
  return tf.cond(norm <= 10. * size, lambda: gradients, choose)
