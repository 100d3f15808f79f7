"""Unrolls of an optimization, and the step of meta-training, compiled."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from l2lgd import checks
from meta import (
    compilation,
    meta_gradient,
    nests,
    objectives,
    replicas,
    second_order,
    seeds,
    unroll,
)
import networks
import problems


class Unroller:
  """Unrolls the optimization of a problem by a network, compiled.

  `MetaOptimizer.meta_loss` returns one. In the scope of a distribution
  strategy, each replica has its own runs, and seeds and runs are nests of
  `tf.distribute.DistributedValues`; the networks must be made in it, too.
  """

  def __init__(self, network: networks.Network, problem: problems.Problem,
               len_unroll: int, second_derivatives: bool = False,
               jit_compile: bool | None = None):
    """Creates the network's variables.

    Args:
      network: The optimizer.
      problem: The problem that it optimizes.
      len_unroll: Number of updates in an unroll, T.
      second_derivatives: Whether the meta-gradient also flows through the
        gradients that are fed to the network.
      jit_compile: Whether XLA compiles the unroll. None chooses between the
        whole unroll, the network alone and neither.

    Raises:
      ValueError: `len_unroll` is not a positive integer; `network` is not a
        `Network`; `jit_compile` is not True, False or None; the problem cannot
        be computed (see `problems.check`), or has no second derivatives where
        they are asked for; or the network cannot optimize the problem's
        parameters, or was made outside the scope of the strategy.
    """
    len_unroll = checks.positive_integer("len_unroll", len_unroll)
    if not isinstance(network, networks.Network):
      raise ValueError(
          f"network is a {type(network).__name__}, but must be a Network. (The "
          "networks of a LearnedOptimizer, o say, are one as "
          "networks.Partition(o.networks, o.net_assignments).)")
    problems.check(problem)
    self.network = network
    self.problem = problem
    self.len_unroll = len_unroll
    self._second_derivatives = second_derivatives
    self._jit_compile = checks.optional_boolean("jit_compile", jit_compile)
    self._choices: dict[bool, compilation.Compilation] = {}
    # Eagerly: a tf.function that creates variables would be traced twice.
    run = unroll.start(network, problem, seed=0)
    if second_derivatives:
      second_order.check(problem, run)
    replicas.check_variables(network.variables)
    # Never by XLA, which draws other random numbers from the same seed.
    self._start = replicas.on_each(tf.function(
        functools.partial(unroll.start, network, problem), autograph=False))
    self._unroll = replicas.on_each(self._compiled(unroll.unroll))

  def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function, compiled as it is best for the runs it is given."""
    @functools.cache
    def compiled(choice: compilation.Compilation) -> Callable[..., Any]:
      return tf.function(
          functools.partial(function, self.network, self.problem,
                            jit_network=choice.network),
          autograph=False, jit_compile=choice.unroll)

    return lambda run, *args: compiled(self._choose(run))(run, *args)

  def _choose(self, run: unroll.Run) -> compilation.Compilation:
    """Returns what XLA compiles of one run, or of runs side by side."""
    if self._jit_compile is not None:
      return compilation.Compilation(unroll=self._jit_compile, network=False)
    if run.is_batched not in self._choices:
      self._choices[run.is_batched] = compilation.choose(
          self.network, self.problem, run, self._second_derivatives)
    return self._choices[run.is_batched]

  def reset(self, seed: int | tf.Tensor) -> unroll.Run:
    """Starts a run on a function that is drawn from the seed.

    Args:
      seed: A 64-bit integer, or an int32 tensor of shape [2]. A tensor of shape
        [K, 2] starts K runs side by side.
    """
    if not isinstance(seed, tf.distribute.DistributedValues):
      seed = seeds.as_seed(seed)
    return self._start(seed)

  def unroll(self, run: unroll.Run,
             num_steps: int | None = None) -> tuple[tf.Tensor, unroll.Run]:
    """Makes the updates of one unroll.

    Args:
      run: The run so far.
      num_steps: Number of updates, if it is not `len_unroll`.

    Returns:
      The losses before each update and after the last one, and the run after
      the last update. The shape of the losses is [T + 1], or [T + 1, K] for K
      runs side by side, [T + 1, S] for a problem of S functions, and
      [T + 1, K, S] for both. The meta-loss "sum" is their sum over T, and their
      mean over K and S.
    """
    return self._unroll(
        run, self._length(num_steps), self._second_derivatives)

  def _length(self, num_steps: int | None) -> int:
    return self.len_unroll if num_steps is None else checks.positive_integer(
        "num_steps", num_steps)


class StepInfo(NamedTuple):
  """The results of one step of meta-training."""
  losses: tf.Tensor  # The optimizee's, as `Unroller.unroll` returns them; under
  # a distribution strategy those of all K runs, [T + 1, K, ...].
  meta_loss: tf.Tensor  # See `MetaStep`, shape [].
  gradient_norm: tf.Tensor  # Norm of the meta-gradient before it is clipped,
  # shape []. If it is not finite, the weights were left as they were.


class MetaStep(Unroller):
  """A step of meta-training: one unroll, and one update of the network by Adam.

  `MetaOptimizer.meta_minimize` returns one. Under a distribution strategy, the
  meta-gradient is the mean over the replicas.
  """

  def __init__(self, network: networks.Network, problem: problems.Problem,
               len_unroll: int, learning_rate: float,
               second_derivatives: bool = False,
               jit_compile: bool | None = None,
               num_sampled: int | None = None,
               max_gradient_norm: float | None = None,
               objective: str = "sum",
               adam: keras.optimizers.Optimizer | None = None):
    """Creates the network's variables and Adam's slots.

    Args:
      network: The optimizer that is trained.
      problem: The problem that it optimizes.
      len_unroll: Number of updates in an unroll, T.
      learning_rate: Learning rate of Adam.
      second_derivatives: See `Unroller`. Where they explode, they are left out:
        see `second_order.unless_exploded`.
      jit_compile: See `Unroller`.
      num_sampled: Number of coordinates, or rows of them, from a sample of
        which the meta-gradient is estimated at each unroll, for each run. The
        estimate is unbiased, and takes much less time where there are many
        coordinates. None takes all, as do networks whose coordinates share
        information.
      max_gradient_norm: Norm to which a larger meta-gradient is scaled down, so
        that a steep part of a run makes no large step (Pascanu et al. 2013,
        algorithm 1). None clips nothing.
      objective: The meta-loss: "sum", the sum of the losses over T, and their
        mean over K and S; or "log", the sum of their logarithms, for losses
        above 0 that fall by orders of magnitude (Wichrowska et al. 2017).
      adam: The `optimizer` of another step of the same networks, to train them
        on several problems in turn. By default, it is a new one.

    Raises:
      ValueError: See `Unroller`; `learning_rate`, `num_sampled` or
        `max_gradient_norm` is not positive; `num_sampled` is given together
        with second derivatives, which depend on all coordinates; `objective`
        is unknown; `adam` is not of another step; the weights are of type
        float16 or bfloat16; or Keras's backend is not TensorFlow.
    """
    learning_rate = checks.positive("learning_rate", learning_rate)
    if max_gradient_norm is not None:
      checks.positive("max_gradient_norm", max_gradient_norm)
    checks.one_of("objective", objective, objectives.NAMES)
    if num_sampled is not None:
      num_sampled = checks.positive_integer("num_sampled", num_sampled)
      if second_derivatives:
        raise ValueError(
            f"num_sampled is {num_sampled}, but must be None with second "
            "derivatives, which depend on all coordinates.")
    super().__init__(
        network, problem, len_unroll, second_derivatives, jit_compile)
    small = {v.dtype.name for v in network.trainable_variables
             if v.dtype.size < 4}
    if small:  # Adam's second moments would vanish, or its decay be 1.
      raise ValueError(
          "The parameters of the problem, and with them the weights of the "
          f"network, are of type {', '.join(sorted(small))}, but must be of "
          "type float32 or float64: Adam cannot train smaller ones.")
    checks.keras_backend()
    if adam is None:
      # As in TensorFlow 1, epsilon is outside the bias correction.
      adam = _Adam(learning_rate, epsilon=1e-8, name="adam")
      adam.build(network.trainable_variables)
    elif not isinstance(adam, _Adam):
      raise ValueError(f"adam is {adam!r}, but must be the `optimizer` of "
                       "another step of the same networks.")
    self.optimizer = adam
    self._max_gradient_norm = max_gradient_norm
    self._objective = objective
    self._meta_gradient = self._make_meta_gradient(num_sampled)
    self._differentiate_each = replicas.on_each(self._differentiate)
    self._apply_each = replicas.on_each(self._apply)
    self._train = tf.function(self._differentiate_and_apply, autograph=False)

  def _make_meta_gradient(
      self, num_sampled: int | None) -> Callable[..., meta_gradient.Result]:
    """Returns a function of a run and a number of steps."""
    if self._second_derivatives:
      return self._compiled(functools.partial(
          second_order.meta_gradient, objective=self._objective))
    return self._compiled(functools.partial(
        meta_gradient.meta_gradient, num_sampled=num_sampled,
        objective=self._objective))

  def _meta_loss(self, losses: tf.Tensor, run: unroll.Run) -> tf.Tensor:
    """Returns the meta-loss of an unroll, shape []; `run` is after it."""
    return objectives.meta_loss(losses, self._objective, run.is_batched)

  def step(self, run: unroll.Run) -> tuple[tf.Tensor, unroll.Run]:
    """Makes the updates of one unroll, then one update of the weights.

    Args:
      run: The run so far.

    Returns:
      The losses and the run, as `Unroller.unroll` returns them, computed with
      the weights from before their update.
    """
    info, run = self.train(run)
    return info.losses, run

  def train(self, run: unroll.Run,
            num_steps: int | None = None) -> tuple[StepInfo, unroll.Run]:
    """Does what `step` does, and returns more of its results.

    Args:
      run: The run so far.
      num_steps: Number of updates, if it is not `len_unroll`.
    """
    return self._train(run, self._length(num_steps))

  def _differentiate_and_apply(
      self, run: unroll.Run, num_steps: int) -> tuple[StepInfo, unroll.Run]:
    info, run, gradients = self._differentiate_each(run, num_steps)
    info = replicas.first(info)
    if gradients:
      tf.cond(tf.math.is_finite(info.gradient_norm),
              lambda: self._apply_each(gradients), lambda: None)
    return info, run

  def _apply(self, gradients: list[tf.Tensor]) -> None:
    self.optimizer.apply(gradients, self.network.trainable_variables)

  def _differentiate(self, run: unroll.Run, num_steps: int
                     ) -> tuple[StepInfo, unroll.Run, list[tf.Tensor]]:
    """Returns the results of an unroll, the run and what Adam is given."""
    losses, run, gradients = self._meta_gradient(run, num_steps)
    meta_loss = self._meta_loss(losses, run)
    if tf.distribute.has_strategy():
      # [T + 1, K / R, ...], or [T + 1, ...] of one run.
      by_run = losses if run.is_batched else losses[:, tf.newaxis]
      (by_run,), (meta_loss, *gradients) = replicas.combine(
          [nests.swap_axes(by_run)], [meta_loss, *gradients])
      losses = nests.swap_axes(by_run)  # [T + 1, K, ...]
    if not gradients:  # All networks are hand-designed.
      return StepInfo(losses, meta_loss, tf.zeros_like(meta_loss)), run, []
    norm = nests.norm(gradients)
    if self._max_gradient_norm is not None:
      gradients, _ = tf.clip_by_global_norm(
          gradients, self._max_gradient_norm, norm)
    return StepInfo(losses, meta_loss, norm), run, gradients


class _Adam(keras.optimizers.Adam):
  """Adam, whose gradients are those of all replicas already."""

  def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
    return grads_and_vars
