"""The derivatives of the meta-loss with respect to the network's weights."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import tensorflow as tf

from l2lgd import philox
from meta import nests, objectives, sampling, unroll
import networks
from networks import elementwise
import problems


class Result(NamedTuple):
  """What an unroll and its meta-gradient return."""
  losses: tf.Tensor  # As `unroll.unroll` returns them.
  run: unroll.Run  # After the last update.
  gradients: list[tf.Tensor]  # Derivatives of the meta-loss with respect to the
  # network's trainable variables.


def meta_gradient(
    network: networks.Network, problem: problems.Problem, run: unroll.Run,
    num_steps: int, num_sampled: int | None = None, objective: str = "sum",
    jit_network: bool = False) -> Result:
  """Makes `num_steps` updates, and differentiates the meta-loss.

  The gradients fed to the network are treated as constants (section 2.1 of the
  paper), and they are also the derivatives of the losses. So only the network
  is differentiated: one vector-Jacobian product per step, backwards. Only its
  inputs in the T steps are stored, and only those of the rows in the sample.

  Args:
    network: The optimizer.
    problem: The problem on which `run` was started.
    run: The run so far.
    num_steps: Number of updates, T.
    num_sampled: Number of rows, M, from which the derivatives are estimated;
      see `sampling`. Each of several runs has its own. None takes all rows.
    objective: See `objectives.meta_loss`.
    jit_network: See `unroll.step`.
  """
  recording = forward(
      network, problem, run, num_steps, num_sampled, jit_network)
  losses = recording.losses
  d_variables = backward(
      network, recording,
      objectives.derivatives_of(losses, objective, run.is_batched),
      elementwise.zeros(recording.before(num_steps)), jit_network)
  return Result(losses, recording.run,
                [d / losses[0].shape.num_elements() for d in d_variables])


class _Saved(NamedTuple):
  """What the derivatives of a step need, of the rows in the sample."""
  gradients: Any  # As `_sampled_rows` returns them.
  inputs: Any  # The inputs of `Network.update_rows`.


class Recording(NamedTuple):
  """What an unroll returns, and what its derivatives need."""
  losses: tf.Tensor  # As `unroll.unroll` returns them.
  run: unroll.Run  # After the last update.
  gradients: Any  # Of the last loss.
  of_step: Callable[[Any], Any]  # Returns what was saved of step t.
  before: Callable[[Any], Any]  # Returns what was saved of the run before step
  # t, or at T, after the last one.
  sample: Any = ()  # The rows in the sample, if there is one: see
  # `sampling.draw`. What is saved, and the gradients, are of these.


def forward(network: networks.Network, problem: problems.Problem,
            run: unroll.Run, num_steps: int, num_sampled: int | None,
            jit_network: bool) -> Recording:
  """Makes the updates, and saves what `backward` needs of them.

  The arguments are those of `meta_gradient`.
  """
  batched = run.is_batched

  def call(function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function of the network, for one run or for each."""
    return unroll.vectorized(
        functools.partial(function, network), batched)(*args)

  sample = call(functools.partial(_draw, num_sampled=num_sampled),
                run.params, run.seed, run.step)
  like = call(_prepare, run.params, run.state, run.params, sample)[-1]
  apply = unroll.compiled(functools.partial(call, _apply), jit_network)
  take = unroll.vectorized(sampling.take, batched)
  recording = record(
      problem, run, num_steps, lambda *args: apply(*args, sample), like,
      lambda run: take(run.state, sample))
  return recording._replace(
      sample=sample,
      gradients=call(_sampled_rows, recording.gradients, sample))


def record(
    problem: problems.Problem, run: unroll.Run, num_steps: int,
    apply: Callable[..., tuple[problems.Params, networks.State, Any]],
    like: Any, of_run: Callable[[unroll.Run], Any]) -> Recording:
  """Makes the updates of an unroll, and saves what `apply` and `of_run` return.

  Args:
    problem: The problem.
    run: The run so far.
    num_steps: Number of updates, T.
    apply: Returns the updates, the next state and what is to be saved of the
      step, for gradients, a state and parameters.
    like: A nest that resembles what is saved of a step.
    of_run: Returns what is to be saved of a run before a step.
  """
  first = of_run(run)
  losses = unroll.tensor_array(num_steps, unroll.loss(problem, run))
  steps = [unroll.tensor_array(num_steps, t) for t in tf.nest.flatten(like)]
  runs = _write([unroll.tensor_array(num_steps + 1, t)
                 for t in tf.nest.flatten(first)], 0, first)

  def body(i, losses, steps, runs, run):
    loss, gradients = unroll.loss_and_gradients(problem, run)
    updates, state, saved = apply(gradients, run.state, run.params)
    run = unroll.advance(run, updates, state)
    # The run after the step: if it were the one before, XLA could not write the
    # next state over the last one, and would copy it.
    return (i + 1, losses.write(i, loss), _write(steps, i, saved),
            _write(runs, i + 1, of_run(run)), run)

  _, losses, steps, runs, run = unroll.while_loop(
      num_steps, body, losses, steps, runs, run)
  loss, gradients = unroll.loss_and_gradients(problem, run)
  return Recording(
      tf.concat([losses.stack(), loss[tf.newaxis]], 0), run, gradients,
      functools.partial(_read, like, steps),
      functools.partial(_read, first, runs))


def _write(arrays: list[tf.TensorArray], i: Any, nest: Any
           ) -> list[tf.TensorArray]:
  """Writes each tensor of a nest to an array of its own."""
  return [array.write(i, t)
          for array, t in zip(arrays, tf.nest.flatten(nest), strict=True)]


def _read(like: Any, arrays: list[tf.TensorArray], i: Any) -> Any:
  """Returns a nest that `_write` wrote, which resembles another."""
  return tf.nest.pack_sequence_as(like, [array.read(i) for array in arrays])


def backward(network: networks.Network, recording: Recording,
             derivatives: Callable[[Any, Any], Any], d_state: networks.State,
             jit_network: bool) -> list[tf.Tensor]:
  """Returns the derivatives of a meta-loss with respect to the weights.

  Args:
    network: The optimizer.
    recording: What `forward` returned.
    derivatives: Returns the derivatives of the t-th term of the meta-loss with
      respect to the parameters, in rows. Its arguments are those of the t-th
      loss, and t.
    d_state: Derivatives of the meta-loss with respect to the last state.
    jit_network: See `unroll.step`.
  """
  num_steps = recording.losses.shape[0] - 1
  vjp = unroll.compiled(vjp_of(
      network, network.update_rows, lambda inputs, state: floating(state),
      recording.run.is_batched), jit_network)

  def step(t, d_rows, d_state):
    gradients, inputs = recording.of_step(t)
    d_variables, d_state = vjp(
        (inputs, recording.before(t)), (d_rows, d_state))
    return d_variables, nests.add(d_rows, derivatives(gradients, t)), d_state

  return go_back(network, num_steps, step,
                 derivatives(recording.gradients, num_steps), floating(d_state))


def go_back(network: networks.Network, num_steps: int,
            step: Callable[..., tuple[list[tf.Tensor], Any, Any]],
            d_params: Any, d_state: list[tf.Tensor]) -> list[tf.Tensor]:
  """Adds up the derivatives by the network's variables, from the last step on.

  Args:
    network: The optimizer.
    num_steps: Number of updates, T.
    step: Returns the derivatives of the meta-loss with respect to the variables
      in step t, and to the parameters and the state before it, for t and the
      latter two after it.
    d_params: The derivatives with respect to the last parameters.
    d_state: The derivatives with respect to the last state.
  """
  def body(i, d_variables, d_params, d_state):
    d_step, d_params, d_state = step(num_steps - 1 - i, d_params, d_state)
    return i + 1, nests.add(d_variables, d_step), d_params, d_state

  return unroll.while_loop(
      num_steps, body,
      [tf.zeros_like(v) for v in network.trainable_variables], d_params,
      d_state)[1]


def _draw(network: networks.Network, params: problems.Params, seed: tf.Tensor,
          step: tf.Tensor, num_sampled: int | None) -> Any:
  """Draws the rows of an unroll from the seed of the run."""
  seed = philox.fold_in(seed, -1)  # No step of a loss.
  return sampling.draw(network.num_rows(params), num_sampled,
                       philox.fold_in(seed, step))


def _prepare(network: networks.Network, gradients: problems.Params,
             state: networks.State, params: problems.Params, sample: Any
             ) -> tuple[Any, networks.State, _Saved]:
  """Returns what `Network.prepare` returns, and what is to be saved of it."""
  inputs, state = network.prepare(gradients, state, params)
  return inputs, state, _Saved(
      _sampled_rows(network, gradients, sample), sampling.take(inputs, sample))


def _apply(network: networks.Network, gradients: problems.Params,
           state: networks.State, params: problems.Params, sample: Any
           ) -> tuple[problems.Params, networks.State, _Saved]:
  """Returns the updates, the next state, and what is to be saved."""
  inputs, state, saved = _prepare(network, gradients, state, params, sample)
  updates, state = network.update_rows(inputs, state)
  return network.from_rows(updates, gradients), state, saved


def _sampled_rows(network: networks.Network, tensors: problems.Params,
                  sample: Any) -> Any:
  """Returns the rows in the sample, multiplied by their weights."""
  return sampling.weigh(sampling.take(network.to_rows(tensors), sample), sample)


def vjp_of(network: networks.Network, function: Callable[..., Any],
           sources: Callable[..., Any], batched: bool) -> Callable[..., Any]:
  """Returns the vector-Jacobian product of a function of the network.

  It is a function of the arguments and of the derivatives with respect to the
  results. It returns those with respect to the network's variables, and to what
  `sources` selects from the arguments.
  """
  def vjp(args, d_results):
    watched = [*network.trainable_variables], sources(*args)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(watched)
      results = function(*args)
    return tape.gradient(
        floating(results), watched, tf.nest.flatten(d_results),
        unconnected_gradients=tf.UnconnectedGradients.ZERO)

  def summed(args, d_results):
    # The tape is inside the vectorized function: outside it, XLA would treat
    # the inputs as compile-time constants and recompile at every step.
    d_variables, d_sources = unroll.vectorized(vjp, batched)(args, d_results)
    if batched:
      d_variables = [tf.reduce_sum(d, 0) for d in d_variables]
    return d_variables, d_sources

  return summed


def floating(nest: Any) -> list[tf.Tensor]:
  """Returns the tensors that have derivatives."""
  return [t for t in tf.nest.flatten(nest) if t.dtype.is_floating]
