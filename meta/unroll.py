"""The optimization of a problem by a network, as pure functions.

theta_{t+1} = theta_t + g_t with (g_t, h_{t+1}) = m(grad_t, h_t; phi), section 2
of the paper (Andrychowicz et al. 2016).
"""

from collections.abc import Callable
import functools
import itertools
from typing import NamedTuple

import tensorflow as tf

from meta import seeds
import networks
import problems


class Run(NamedTuple):
  """One optimization under way, or K of them side by side.

  K optimizations have an axis [K] before all others, in every tensor.
  """
  params: problems.Params  # Where it stands.
  constants: problems.Constants  # The function that it minimises.
  state: networks.State  # What the network remembers of it.
  seed: tf.Tensor  # Of its noise, int32, shape [2].
  step: tf.Tensor  # Updates made so far, int32, shape [].


def start(network: networks.Network, problem: problems.Problem,
          seed: int | tf.Tensor) -> Run:
  """Draws a function, a point to start from, and the noise of a run.

  Args:
    network: The optimizer.
    problem: What it is to optimize.
    seed: An integer of 64 bits, or an int32 tensor of shape [2]; of shape
      [K, 2], it starts K runs side by side.
  """
  def draw(seed):
    function, noise = tf.unstack(tf.random.split(seed, 2, alg="philox"))
    params, constants = problem.sample(function)
    return Run(params, constants, network.initial_state(params), noise,
               tf.constant(0))

  seed = seeds.as_seed(seed)
  return vectorized(draw, seed)(seed)


def what_to_compile(network: networks.Network, problem: problems.Problem,
                    run: Run) -> tuple[bool, bool]:
  """Returns whether XLA is to compile all of a step, or else the network.

  It has to know all operations. On a CPU, moreover, the convolutions that it
  makes in a loop are ten times slower than TensorFlow's.
  """
  function = tf.function(functools.partial(loss, problem), autograph=False)
  graph = function.get_concrete_function(run).graph.as_graph_def()
  nodes = itertools.chain(
      graph.node, *(f.node_def for f in graph.library.function))
  convolves = any(node.op.startswith("Conv") for node in nodes)
  has_gpu = bool(tf.config.list_physical_devices("GPU"))
  whole = (has_gpu or not convolves) and _can_compile(
      lambda run: step(network, problem, run), run)
  return whole, not whole and _can_compile(
      functools.partial(_propose, network), run.seed, run.params, run.state)


def _can_compile(function, *args):
  compiled = tf.function(function, autograph=False, jit_compile=True)
  try:
    compiled.experimental_get_compiler_ir(*args)(stage="hlo")
  except ValueError:
    return False
  return True


def vectorized(function: Callable, seed: tf.Tensor) -> Callable:
  """Returns the function of K runs, where `seed` has the shape [K, 2].

  The function returned raises a ValueError where they cannot be.
  """
  if seed.shape.rank == 1:
    return function

  def mapped(*args):
    try:
      return tf.vectorized_map(lambda args: function(*args), args, warn=False)
    except TypeError as error:
      raise ValueError(
          "TensorFlow cannot compute this problem for several runs side by "
          "side, which a loop within it may be the cause of: give a recurrent "
          "layer unroll=True, or make one run at a time.") from error

  return mapped


def loss(problem: problems.Problem, run: Run) -> tf.Tensor:
  """Returns the loss of a run where it stands, shape [], [S] or [K, ...]."""
  return vectorized(functools.partial(_loss, problem), run.seed)(
      run.params, run.constants, run.seed, run.step)


def _loss(problem, params, constants, seed, step):
  seed = tf.random.fold_in(seed, step, alg="philox")
  return problem.loss(params, constants, seed)


def step(network: networks.Network, problem: problems.Problem, run: Run,
         second_derivatives: bool = False,
         jit_network: bool = False) -> tuple[tf.Tensor, Run]:
  """Makes one update.

  Args:
    network: The optimizer.
    problem: What `run` was started on.
    run: The run so far.
    second_derivatives: Whether a derivative of the result also flows through
      the gradient that is fed to the network.
    jit_network: Whether XLA compiles the network, and the network alone.

  Returns:
    The loss before the update, shape [], [S] or [K, ...], and the run after it.
  """
  loss, gradients = loss_and_gradients(problem, run)
  if not second_derivatives:
    gradients = tf.nest.map_structure(tf.stop_gradient, gradients)
  return loss, _update(network, run, gradients, jit_network)


def unroll(network: networks.Network, problem: problems.Problem, run: Run,
           num_steps: int, second_derivatives: bool = False,
           jit_network: bool = False) -> tuple[tf.Tensor, Run]:
  """Makes `num_steps` updates in a loop that a tape can differentiate.

  Args:
    network: The optimizer.
    problem: What `run` was started on.
    run: The run so far.
    num_steps: T.
    second_derivatives: See `step`.
    jit_network: See `step`.

  Returns:
    The losses before each update and after the last one, shape [T + 1], and
    [..., K] or [..., S] or both; and the run after the last update.
  """
  losses = _array(num_steps, loss(problem, run))

  def body(i, losses, run):
    loss, run = step(
        network, problem, run, second_derivatives, jit_network)
    return i + 1, losses.write(i, loss), run

  _, losses, run = _loop(num_steps, body, losses, run)
  return tf.concat([losses.stack(), loss(problem, run)[tf.newaxis]], 0), run


def meta_loss(losses: tf.Tensor) -> tf.Tensor:
  """Returns the sum of losses over T, and their mean over K and S, shape []."""
  return tf.reduce_sum(losses) / losses[0].shape.num_elements()


def second_order_meta_gradient(
    network: networks.Network, problem: problems.Problem, run: Run,
    num_steps: int) -> tuple[tf.Tensor, Run, list[tf.Tensor]]:
  """Does what `meta_gradient` does, with second derivatives."""
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch(network.trainable_variables)
    losses, run = unroll(network, problem, run, num_steps, True)
    loss = meta_loss(losses)
  return losses, run, tape.gradient(
      loss, [*network.trainable_variables],
      unconnected_gradients=tf.UnconnectedGradients.ZERO)


def meta_gradient(
    network: networks.Network, problem: problems.Problem, run: Run,
    num_steps: int,
    jit_network: bool = False) -> tuple[tf.Tensor, Run, list[tf.Tensor]]:
  """Makes `num_steps` updates, and differentiates the meta-loss.

  As the gradients fed to the network count as constants, and are the
  derivatives of the losses too, nothing is differentiated but the network:
  backwards, step by step, from its inputs, which are all that is kept.

  Args:
    network: The optimizer.
    problem: What `run` was started on.
    run: The run so far.
    num_steps: T.
    jit_network: See `step`.

  Returns:
    The losses and the run, as `unroll` does, and the derivatives of the
    meta-loss by the network's trainable variables.
  """
  first, gradients = loss_and_gradients(problem, run)
  losses = _array(num_steps, first)
  inputs = [_array(num_steps, t)
            for t in tf.nest.flatten((gradients, run.state))]

  def forward(i, losses, inputs, run):
    loss, gradients = loss_and_gradients(problem, run)
    inputs = [array.write(i, t) for array, t in zip(
        inputs, tf.nest.flatten((gradients, run.state)), strict=True)]
    return (i + 1, losses.write(i, loss), inputs,
            _update(network, run, gradients, jit_network))

  _, losses, inputs, run = _loop(num_steps, forward, losses, inputs, run)
  loss, d_params = loss_and_gradients(problem, run)
  losses = tf.concat([losses.stack(), loss[tf.newaxis]], 0)
  pull_back = _bind(_pull_back, network, jit_network)

  def backward(i, d_variables, d_params, d_state):
    gradients, state = tf.nest.pack_sequence_as(
        (d_params, run.state),
        [array.read(num_steps - 1 - i) for array in inputs])
    of_step, d_state = pull_back(
        run.seed, gradients, state, d_params, d_state)
    return (i + 1, _add(d_variables, of_step), _add(d_params, gradients),
            d_state)

  _, d_variables, _, _ = _loop(
      num_steps, backward,
      [tf.zeros_like(v) for v in network.trainable_variables], d_params,
      [tf.zeros_like(t) for t in _floating(run.state)])
  return losses, run, [d / first.shape.num_elements() for d in d_variables]


def _bind(function, network, jit_compile):
  """The function of this network, compiled by XLA or not."""
  bound = functools.partial(function, network)
  return tf.function(
      bound, autograph=False, jit_compile=True) if jit_compile else bound


def _propose(network, seed, gradients, state):
  """The updates and the next state."""
  return vectorized(network, seed)(gradients, state)


def _pull_back(network, seed, gradients, state, d_params, d_state):
  """Derivatives by a step's variables and state, from those by its results."""
  def pull_back(gradients, state, d_params, d_state):
    sources = [*network.trainable_variables], _floating(state)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(sources)
      updates, state = network(gradients, state)
    return tape.gradient(
        (updates, _floating(state)), sources, (d_params, d_state),
        unconnected_gradients=tf.UnconnectedGradients.ZERO)

  # The tape is inside of what runs side by side: XLA would take all inputs of
  # a map that is differentiated as constants, and compile at every step.
  d_variables, d_state = vectorized(pull_back, seed)(
      gradients, state, d_params, d_state)
  if seed.shape.rank > 1:
    d_variables = [tf.reduce_sum(d, 0) for d in d_variables]
  return d_variables, d_state


def _update(network, run, gradients, jit_network):
  """The run after the update that the network makes of the gradients."""
  updates, state = _bind(_propose, network, jit_network)(
      run.seed, gradients, run.state)
  return run._replace(params=_add(run.params, updates), state=state,
                      step=run.step + 1)


def loss_and_gradients(
    problem: problems.Problem, run: Run) -> tuple[tf.Tensor, problems.Params]:
  """Returns the loss of a run where it stands, and its gradients."""
  def loss_and_gradients(params, *args):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(params)
      loss = _loss(problem, params, *args)
    gradients = tape.gradient(
        loss, params, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    # Those of embeddings are tf.IndexedSlices.
    return loss, tf.nest.map_structure(
        lambda g, p: tf.reshape(g, p.shape), gradients, params)

  return vectorized(loss_and_gradients, run.seed)(
      run.params, run.constants, run.seed, run.step)


def _array(size, like):
  return tf.TensorArray(like.dtype, size, element_shape=like.shape)


def _loop(num_steps, body, *variables):
  return tf.while_loop(
      lambda i, *_: i < num_steps, body, (0, *variables),
      maximum_iterations=num_steps, parallel_iterations=1)


def _add(a, b):
  return tf.nest.map_structure(tf.add, a, b)


def _floating(nest):
  """The tensors that have derivatives."""
  return [t for t in tf.nest.flatten(nest) if t.dtype.is_floating]
