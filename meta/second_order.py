"""The meta-gradient through the gradients of the optimizee."""

from collections.abc import Callable
import functools

import tensorflow as tf

from meta import meta_gradient as first_order
from meta import nests, objectives, unroll
import networks
from networks import elementwise
import problems
from problems import seeded

MAX_RATIO = 100.  # See `unless_exploded`.
# What TensorFlow takes as constant when it differentiates a second time, though
# it is not.
_TAKEN_AS_CONSTANT = "ResizeBilinearGrad"


def check(problem: problems.Problem, run: unroll.Run) -> None:
  """Raises a ValueError if a loss has no second derivatives in TensorFlow.

  Args:
    problem: The problem.
    run: A run of it.
  """
  product = tf.function(
      functools.partial(unroll.hessian_product, problem), autograph=False)
  try:
    graph = product.get_concrete_function(run, run.params).graph
    reason = (f"it takes {_TAKEN_AS_CONSTANT} as constant."
              if _TAKEN_AS_CONSTANT in seeded.operation_types(graph) else None)
  except LookupError as error:  # An operation is not registered.
    reason = str(error)
  if reason:
    raise ValueError(
        "second_derivatives is True, but must be False for this problem, of "
        f"whose loss TensorFlow cannot compute them: {reason}")


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
  recording = first_order.record(
      problem, run, num_steps,
      lambda gradients, *args: (*step(gradients, *args), gradients),
      run.params, lambda run: (run.state, run.params))
  losses = recording.losses
  derivatives = objectives.derivatives_of(losses, objective, run.is_batched)
  vjp = unroll.compiled(first_order.vjp_of(
      network, network.step, lambda gradients, state, params: (
          gradients, first_order.floating(state), params), run.is_batched),
                        jit_network)
  where_large = unroll.vectorized(unroll.where_large, run.is_batched)

  def back(with_second: bool, t: tf.Tensor, d_params: problems.Params,
           d_state: list[tf.Tensor]) -> tuple:
    gradients = recording.of_step(t)
    state, params = recording.before(t)
    d_variables, (d_gradients, d_state, d_direct) = vjp(
        (gradients, state, params), (d_params, d_state))
    if with_second:
      d_gradients = where_large(
          gradients, d_gradients, elementwise.zeros(gradients))
      through_gradients = unroll.hessian_product(
          problem, run._replace(params=params, step=run.step + t), d_gradients)
      d_params = nests.add(d_params, nests.add(d_direct, through_gradients))
    return d_variables, nests.add(d_params, derivatives(gradients, t)), d_state

  def gradient(with_second: bool) -> list[tf.Tensor]:
    d_variables = first_order.go_back(
        network, num_steps, lambda *args: back(with_second, *args),
        derivatives(recording.gradients, num_steps),
        [tf.zeros_like(t) for t in first_order.floating(run.state)])
    return [d / losses[0].shape.num_elements() for d in d_variables]

  return first_order.Result(losses, recording.run, unless_exploded(
      gradient(True), losses, objective, lambda: gradient(False)))


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
    is_sane = norm <= MAX_RATIO * nests.norm(others)
    return [tf.where(is_sane, a, b)
            for a, b in zip(gradients, others, strict=True)]

  if not gradients:  # All networks are hand-designed.
    return gradients
  norm = nests.norm(gradients)
  # Most are not large: they need no comparison.
  size = (float(losses.shape[0]) if objective == "log" else
          tf.cast(objectives.meta_loss(tf.abs(losses)), norm.dtype))
  return tf.cond(norm <= 10. * size, lambda: gradients, choose)
