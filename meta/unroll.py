"""The optimization of a problem by a network, as pure functions.

theta_{t+1} = theta_t + g_t with (g_t, h_{t+1}) = m(grad_t, h_t; phi), section 2
of the paper (Andrychowicz et al. 2016).
"""

from typing import NamedTuple

import tensorflow as tf

from meta import seeds
import networks
import problems


class Run(NamedTuple):
  """One optimization under way."""
  params: problems.Params  # Where it stands.
  constants: problems.Constants  # The function that it minimises.
  state: networks.State  # What the network remembers of it.
  seed: tf.Tensor  # Of its noise, int32, shape [2].
  step: tf.Tensor  # Updates made so far, int32, shape [].


def start(network: networks.Network, problem: problems.Problem,
          seed: int | tf.Tensor) -> Run:
  """Draws a function, a point to start from, and the noise of a run."""
  draw, noise = tf.unstack(
      tf.random.split(seeds.as_seed(seed), 2, alg="philox"))
  params, constants = problem.sample(draw)
  return Run(params, constants, network.initial_state(params), noise,
             tf.constant(0))


def evaluate(problem: problems.Problem, run: Run) -> tf.Tensor:
  """Returns the loss of a run where it stands, shape [] or [S]."""
  seed = tf.random.fold_in(run.seed, run.step, alg="philox")
  return problem.loss(run.params, run.constants, seed)


def step(network: networks.Network, problem: problems.Problem, run: Run,
         second_derivatives: bool = False) -> tuple[tf.Tensor, Run]:
  """Makes one update.

  Args:
    network: The optimizer.
    problem: What `run` was started on.
    run: The run so far.
    second_derivatives: Whether a derivative of the result also flows through
      the gradient that is fed to the network.

  Returns:
    The loss before the update, shape [] or [S], and the run after it.
  """
  differentiate = _differentiate if second_derivatives else _differentiate_once
  loss, gradients = differentiate(problem, run)
  updates, state = network(gradients, run.state)
  params = {k: run.params[k] + updates[k] for k in run.params}
  return loss, run._replace(params=params, state=state, step=run.step + 1)


def unroll(network: networks.Network, problem: problems.Problem, run: Run,
           num_steps: int,
           second_derivatives: bool = False) -> tuple[tf.Tensor, Run]:
  """Makes `num_steps` updates in a loop that can be differentiated.

  Args:
    network: The optimizer.
    problem: What `run` was started on.
    run: The run so far.
    num_steps: T.
    second_derivatives: See `step`.

  Returns:
    The losses before each update and after the last one, shape [T + 1] or
    [T + 1, S], and the run after the last update.
  """
  # The loss also tells the loop the shape and type of its results.
  first = evaluate(problem, run)
  losses = tf.TensorArray(first.dtype, num_steps, element_shape=first.shape)

  def body(i, losses, run):
    loss, run = step(network, problem, run, second_derivatives)
    return i + 1, losses.write(i, loss), run

  _, losses, run = tf.while_loop(
      lambda i, *_: i < num_steps, body, (0, losses, run),
      maximum_iterations=num_steps, parallel_iterations=1)
  return tf.concat([losses.stack(), evaluate(problem, run)[tf.newaxis]], 0), run


def _differentiate(problem, run):
  """The loss and its gradients, which can be differentiated again."""
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch(run.params)
    loss = evaluate(problem, run)
  return loss, tape.gradient(
      loss, run.params, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _differentiate_once(problem, run):
  """The loss and its gradients, which count as constants.

  The derivative of the loss with respect to the parameters is the gradients at
  hand: the optimizee is neither differentiated again, nor are its activations
  kept for the backward pass.
  """
  @tf.custom_gradient
  def loss_and_gradients(*flat):
    params = tf.nest.pack_sequence_as(run.params, flat)
    loss, gradients = _differentiate(problem, run._replace(params=params))
    flat_gradients = tf.nest.flatten(gradients)

    def backward(d_loss, *_):
      # Of S functions, each has its entry in the leading axis.
      ones = [[1] * (g.shape.rank - loss.shape.rank) for g in flat_gradients]
      return [g * tf.reshape(d_loss, loss.shape + one)
              for g, one in zip(flat_gradients, ones)]

    return (loss, *flat_gradients), backward

  loss, *gradients = loss_and_gradients(*tf.nest.flatten(run.params))
  return loss, tf.nest.pack_sequence_as(run.params, gradients)
