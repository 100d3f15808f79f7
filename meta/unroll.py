"""The optimization of a problem by a network, as pure functions.

An update is theta_{t+1} = theta_t + g_t, where
(g_t, h_{t+1}) = m(grad_t, h_t; phi) (Andrychowicz et al. 2016, section 2):
`params` are theta, `state` is h, the network is m and its weights are phi.
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import tensorflow as tf

from l2lgd import philox
from meta import nests, seeds
import networks
import problems

# What a gradient may be off by, relative to the largest coordinate. Those of
# biases before batch normalization, which are 0, come close to it.
_ROUNDING_ERROR = 1e-5


class Run(NamedTuple):
  """One optimization in progress, or K of them side by side.

  K runs have an axis [K] before all others, in every tensor.
  """
  params: problems.Params  # The current point.
  constants: problems.Constants  # The function that is minimized.
  state: networks.State  # The network's memory of the run.
  seed: tf.Tensor  # Seed of the noise of the losses, int32, shape [2].
  step: tf.Tensor  # Number of updates made so far, int32, shape [].
  particles: Any = ()  # With the estimator "pes", the perturbed runs beside it,
  # `evolution.Particles`.

  @property
  def is_batched(self) -> bool:
    """Whether these are K runs side by side."""
    return self.seed.shape.rank == 2


def start(network: networks.Network, problem: problems.Problem,
          seed: int | tf.Tensor) -> Run:
  """Draws a function, a starting point and the noise of a run.

  Args:
    network: The optimizer.
    problem: The problem that it optimizes.
    seed: A 64-bit integer, or an int32 tensor of shape [2]. A tensor of shape
      [K, 2] starts K runs side by side.
  """
  def draw(seed):
    function_seed, noise_seed = philox.split(seed)
    params, constants = problem.sample(function_seed)
    return Run(params, constants, network.initial_state(params), noise_seed,
               tf.constant(0))

  seed = seeds.as_seed(seed)
  return vectorized(draw, seed.shape.rank == 2)(seed)


def vectorized(function: Callable[..., Any], batched: bool
               ) -> Callable[..., Any]:
  """Returns the function for K runs if `batched`, else the function itself.

  Calling the result raises a ValueError where TensorFlow cannot vectorize the
  function.
  """
  if not batched:
    return function

  def one(args):
    # Tensors that a problem has made before cannot be results as they are.
    return tf.nest.map_structure(tf.identity, function(*args))

  def mapped(*args):
    if not tf.nest.flatten(args):  # As of a network without a state.
      return function(*args)
    try:
      return tf.vectorized_map(one, args, warn=False)
    except (TypeError, ValueError) as error:
      raise ValueError(
          "TensorFlow cannot vectorize this problem over several runs. Train "
          "on one run at a time (num_tasks=1, estimator='backprop'). The cause "
          "may be a loop or a branch in sample or loss (a recurrent layer can "
          "do without by unroll=True), or an error in a network of your own. "
          "TensorFlow says: "
          f"{str(error).splitlines()[0]}"
          ) from error

  return mapped


def loss(problem: problems.Problem, run: Run) -> tf.Tensor:
  """Returns the loss at the current point, shape [], [S] or [K, ...]."""
  return vectorized(functools.partial(_loss, problem), run.is_batched)(
      run.params, run.constants, run.seed, run.step)


def _loss(problem: problems.Problem, params: problems.Params,
          constants: problems.Constants, seed: tf.Tensor,
          step: tf.Tensor) -> tf.Tensor:
  seed = philox.fold_in(seed, step)
  return problem.loss(params, constants, seed)


def loss_and_gradients(
    problem: problems.Problem, run: Run) -> tuple[tf.Tensor, problems.Params]:
  """Returns the loss at the current point, and its gradients."""
  def loss_and_gradients(params, *args):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(params)
      loss = _loss(problem, params, *args)
    gradients = tape.gradient(
        loss, params, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return loss, _dense(gradients, params)

  return vectorized(loss_and_gradients, run.is_batched)(
      run.params, run.constants, run.seed, run.step)


def hessian_product(problem: problems.Problem, run: Run,
                    vector: problems.Params) -> problems.Params:
  """Returns the Hessian of the loss at the current point times a vector.

  Args:
    problem: The problem on which `run` was started.
    run: The run so far.
    vector: Named and shaped like the parameters.
  """
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch(run.params)
    _, gradients = loss_and_gradients(problem, run)
  products = tape.gradient(
      gradients, run.params, vector,
      unconnected_gradients=tf.UnconnectedGradients.ZERO)
  return _dense(products, run.params)


def _dense(gradients: problems.Params,
           params: problems.Params) -> problems.Params:
  """Returns gradients as tensors, also those of embeddings."""
  # The reshape turns tf.IndexedSlices into tensors.
  return tf.nest.map_structure(
      lambda g, p: tf.reshape(g, p.shape), gradients, params)


def apply_network(
    network: networks.Network, run: Run, gradients: problems.Params,
    jit_network: bool = False) -> tuple[problems.Params, networks.State]:
  """Returns the network's updates for these gradients, and its next state."""
  return compiled(vectorized(network.step, run.is_batched), jit_network)(
      gradients, run.state, run.params)


def advance(run: Run, updates: problems.Params, state: networks.State) -> Run:
  """Returns the run after an update."""
  return run._replace(
      params=nests.add(run.params, updates), state=state, step=run.step + 1)


def step(network: networks.Network, problem: problems.Problem, run: Run,
         second_derivatives: bool = False,
         jit_network: bool = False) -> tuple[tf.Tensor, Run]:
  """Makes one update.

  Args:
    network: The optimizer.
    problem: The problem on which `run` was started.
    run: The run so far.
    second_derivatives: Whether a derivative of the result also flows through
      the gradients, and the parameters, that are fed to the network. None flows
      through gradients so small that they may be rounding errors: a network
      that divides by their size would magnify the errors of the derivative.
    jit_network: Whether XLA compiles the network, and only the network.

  Returns:
    The loss before the update, shape [], [S] or [K, ...], and the run after it.
  """
  loss, gradients = loss_and_gradients(problem, run)
  params = run.params
  constants = tf.nest.map_structure(tf.stop_gradient, gradients)
  if second_derivatives:
    gradients = vectorized(where_large, run.is_batched)(
        gradients, gradients, constants)
  else:
    gradients = constants
    params = tf.nest.map_structure(tf.stop_gradient, params)
  return loss, advance(run, *apply_network(
      network, run._replace(params=params), gradients, jit_network))


def where_large(gradients: problems.Params, large: problems.Params,
                small: problems.Params) -> problems.Params:
  """Returns values for the large gradients, and others for the small ones.

  Small ones may be rounding errors.

  Args:
    gradients: The gradients of one run.
    large: Values for large gradients, named and shaped like these.
    small: Values for small ones.
  """
  bound = _ROUNDING_ERROR * tf.reduce_max([
      tf.cast(tf.reduce_max(tf.abs(g)), tf.float32)
      for g in tf.nest.flatten(gradients)])
  return tf.nest.map_structure(lambda g, a, b: tf.where(
      tf.abs(g) > tf.cast(bound, g.dtype), a, b), gradients, large, small)


def unroll(network: networks.Network, problem: problems.Problem, run: Run,
           num_steps: int, second_derivatives: bool = False,
           jit_network: bool = False) -> tuple[tf.Tensor, Run]:
  """Makes `num_steps` updates, in a loop that a tape can differentiate.

  Args:
    network: The optimizer.
    problem: The problem on which `run` was started.
    run: The run so far.
    num_steps: Number of updates, T.
    second_derivatives: See `step`.
    jit_network: See `step`.

  Returns:
    The losses before each update and after the last one, shape [T + 1] or
    [T + 1, ...] with the axes of `loss`, and the run after the last update.
  """
  losses = tensor_array(num_steps, loss(problem, run))

  def body(i, losses, run):
    value, run = step(network, problem, run, second_derivatives, jit_network)
    return i + 1, losses.write(i, value), run

  _, losses, run = while_loop(num_steps, body, losses, run)
  return tf.concat([losses.stack(), loss(problem, run)[tf.newaxis]], 0), run


def compiled(function: Callable[..., Any], jit_compile: bool
             ) -> Callable[..., Any]:
  """Returns the function compiled by XLA if `jit_compile`, else itself."""
  return tf.function(
      function, autograph=False, jit_compile=True) if jit_compile else function


def tensor_array(size: int, like: tf.Tensor) -> tf.TensorArray:
  """Returns an array of `size` tensors that resemble `like`."""
  return tf.TensorArray(
      like.dtype, size, element_shape=like.shape, clear_after_read=False)


def while_loop(num_steps: int, body: Callable[..., Any],
               *variables: Any) -> tuple[Any, ...]:
  """Repeats `body(i, *variables)`, and returns what it returned last."""
  return tf.while_loop(
      lambda i, *_: i < num_steps, body, (0, *variables),
      maximum_iterations=num_steps, parallel_iterations=1)
