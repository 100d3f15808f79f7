"""The meta-loss, and its derivatives by the weights of the network."""

from typing import Any

import tensorflow as tf

from meta import unroll
import networks
import problems

Result = tuple[tf.Tensor, unroll.Run, list[tf.Tensor]]
"""Losses and run, as of `unroll.unroll`, and the meta-gradient."""


def meta_loss(losses: tf.Tensor) -> tf.Tensor:
  """Returns the sum of losses over T, and their mean over K and S, shape [].

  The sum is equation 3 of Andrychowicz et al. 2016, with every weight 1.
  """
  return tf.reduce_sum(losses) / losses[0].shape.num_elements()


def meta_gradient(
    network: networks.Network, problem: problems.Problem, run: unroll.Run,
    num_steps: int, jit_network: bool = False) -> Result:
  """Makes `num_steps` updates, and differentiates the meta-loss.

  The gradients fed to the network are treated as constants (section 2.1 of the
  paper), and they are also the derivatives of the losses. So only the network
  is differentiated: one vector-Jacobian product per step, backwards. Only its
  inputs, the gradients and states of the T steps, are stored.

  Args:
    network: The optimizer.
    problem: The problem on which `run` was started.
    run: The run so far.
    num_steps: Number of updates, T.
    jit_network: See `unroll.step`.

  Returns:
    The losses and the run, as `unroll.unroll` returns them, and the derivatives
    of the meta-loss by the network's trainable variables.
  """
  first, gradients = unroll.loss_and_gradients(problem, run)
  losses = unroll.tensor_array(num_steps, first)
  inputs = [unroll.tensor_array(num_steps, t)
            for t in tf.nest.flatten((gradients, run.state))]

  def forward(i, losses, inputs, run):
    loss, gradients = unroll.loss_and_gradients(problem, run)
    inputs = [array.write(i, t) for array, t in zip(
        inputs, tf.nest.flatten((gradients, run.state)), strict=True)]
    updates, state = unroll.apply_network(network, run, gradients, jit_network)
    return (i + 1, losses.write(i, loss), inputs,
            unroll.advance(run, updates, state))

  _, losses, inputs, run = unroll.while_loop(
      num_steps, forward, losses, inputs, run)
  loss, d_params = unroll.loss_and_gradients(problem, run)
  losses = tf.concat([losses.stack(), loss[tf.newaxis]], 0)
  d_variables = _backward(network, run, num_steps, inputs, d_params,
                          jit_network)
  return losses, run, [d / first.shape.num_elements() for d in d_variables]


def _backward(network: networks.Network, run: unroll.Run, num_steps: int,
              inputs: list[tf.TensorArray], d_params: problems.Params,
              jit_network: bool) -> list[tf.Tensor]:
  """Returns the derivatives of the sum of losses, going backwards in time.

  Args:
    network: The optimizer.
    run: The run after the last step.
    num_steps: Number of updates, T.
    inputs: The network's gradients and states at each step.
    d_params: Derivatives of the last loss.
    jit_network: See `unroll.step`.
  """
  network_vjp = unroll.compiled(
      lambda *args: _network_vjp(network, run.is_batched, *args), jit_network)

  def body(i, d_variables, d_params, d_state):
    gradients, state = tf.nest.pack_sequence_as(
        (d_params, run.state),
        [array.read(num_steps - 1 - i) for array in inputs])
    d_step, d_state = network_vjp(gradients, state, d_params, d_state)
    return (i + 1, unroll.add(d_variables, d_step),
            unroll.add(d_params, gradients), d_state)

  _, d_variables, _, _ = unroll.while_loop(
      num_steps, body,
      [tf.zeros_like(v) for v in network.trainable_variables], d_params,
      [tf.zeros_like(t) for t in _floating(run.state)])
  return d_variables


def _network_vjp(
    network: networks.Network, batched: bool, gradients: problems.Params,
    state: networks.State, d_updates: problems.Params,
    d_state: list[tf.Tensor]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
  """Returns the derivatives by one step's variables and state."""
  def vjp(gradients, state, d_updates, d_state):
    sources = [*network.trainable_variables], _floating(state)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(sources)
      updates, state = network(gradients, state)
    return tape.gradient(
        (updates, _floating(state)), sources, (d_updates, d_state),
        unconnected_gradients=tf.UnconnectedGradients.ZERO)

  # The tape is inside the vectorized function: outside it, XLA would treat the
  # inputs as compile-time constants and recompile at every step.
  d_variables, d_state = unroll.vectorized(vjp, batched)(
      gradients, state, d_updates, d_state)
  if batched:
    d_variables = [tf.reduce_sum(d, 0) for d in d_variables]
  return d_variables, d_state


def second_order_meta_gradient(
    network: networks.Network, problem: problems.Problem, run: unroll.Run,
    num_steps: int, jit_network: bool = False) -> Result:
  """Does what `meta_gradient` does, through the optimizee's gradients too.

  The derivatives of the gradients that are fed to the network are not dropped,
  so that the optimizee is differentiated twice.
  """
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch(network.trainable_variables)
    losses, run = unroll.unroll(
        network, problem, run, num_steps, True, jit_network)
    loss = meta_loss(losses)
  return losses, run, tape.gradient(
      loss, [*network.trainable_variables],
      unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _floating(nest: Any) -> list[tf.Tensor]:
  """Returns the tensors that have derivatives."""
  return [t for t in tf.nest.flatten(nest) if t.dtype.is_floating]
