"""The learned optimizer and its training, under the original's names."""

from collections.abc import Mapping
import functools
import os
from typing import Any, NamedTuple

import tensorflow as tf

from l2lgd import checks
from meta import seeds, unroll
import networks
import problems

DEFAULT_CONFIG = {
    "coordinatewise": {
        "net": "CoordinateWiseDeepLSTM",
        "net_options": {
            "layers": (20, 20),
            "preprocess_name": "LogAndSign",
            "preprocess_options": {"k": 5},
            "scale": 0.01,
        },
    },
}


class Unroller:
  """The losses of a problem that a network optimizes, compiled."""

  def __init__(self, network: networks.Network, problem: problems.Problem,
               len_unroll: int, second_derivatives: bool = False,
               jit_compile: bool | None = None):
    """Args:
      network: The optimizer.
      problem: What it optimizes.
      len_unroll: Updates in an unroll, T.
      second_derivatives: Whether the gradients that are fed to the network
        are differentiated too.
      jit_compile: Whether XLA compiles the unroll; None, what of it is then
        faster.

    Raises:
      ValueError: `len_unroll` is not a positive integer, or the network cannot
        optimize the parameters of this problem.
    """
    checks.positive_integer("len_unroll", len_unroll)
    self.network = network
    self.problem = problem
    self.len_unroll = len_unroll
    self._second_derivatives = second_derivatives
    # A function that makes variables would be traced twice.
    run = unroll.start(network, problem, seed=0)
    self._jit_compile, self._jit_network = (
        unroll.what_to_compile(network, problem, run) if jit_compile is None
        else (jit_compile, False))
    # Not by XLA, which draws other random numbers.
    self._start = tf.function(
        functools.partial(unroll.start, network, problem), autograph=False)
    self._unroll = self._compiled(unroll.unroll)

  def reset(self, seed: int | tf.Tensor) -> unroll.Run:
    """Starts a run on a function drawn with the seed.

    Args:
      seed: An integer of 64 bits, or an int32 tensor of shape [2]; of shape
        [K, 2], it starts K runs side by side.
    """
    return self._start(seeds.as_seed(seed))

  def unroll(self, run: unroll.Run,
             num_steps: int | None = None) -> tuple[tf.Tensor, unroll.Run]:
    """Makes the updates of one unroll.

    Args:
      run: The run so far.
      num_steps: Updates, where they are not `len_unroll`.

    Returns:
      The losses, shape [T + 1], and [..., K] or [..., S] or both, and the run
      after them. The sum over T (and mean over K and S) of the losses is the
      meta-loss.
    """
    return self._unroll(run, num_steps or self.len_unroll,
                        self._second_derivatives)

  def _compiled(self, function):
    return tf.function(
        functools.partial(function, self.network, self.problem,
                          jit_network=self._jit_network),
        autograph=False, jit_compile=self._jit_compile)


class StepInfo(NamedTuple):
  """What a step of meta-training did."""
  losses: tf.Tensor  # Of the optimizee, as `Unroller.unroll` returns them.
  meta_loss: tf.Tensor  # Their sum over T and mean over K and S, shape [].
  gradient_norm: tf.Tensor  # Of the meta-gradient, shape []. Where it is not
  # finite, the weights were not changed.


class MetaStep(Unroller):
  """A step of meta-training: an unroll, and an update of the network."""

  def __init__(self, network: networks.Network, problem: problems.Problem,
               len_unroll: int, learning_rate: float,
               second_derivatives: bool = False,
               jit_compile: bool | None = None):
    """Args:
      network: The optimizer, to be trained by Adam.
      problem: What it optimizes.
      len_unroll: Updates in an unroll, T.
      learning_rate: Of Adam.
      second_derivatives: See `Unroller`.
      jit_compile: See `Unroller`.

    Raises:
      ValueError: See `Unroller`; or `learning_rate` is not positive.
    """
    checks.positive("learning_rate", learning_rate)
    super().__init__(
        network, problem, len_unroll, second_derivatives, jit_compile)
    # As in TensorFlow 1, epsilon stands outside the bias correction.
    self.optimizer = tf.keras.optimizers.Adam(learning_rate, epsilon=1e-8)
    self.optimizer.build(network.trainable_variables)
    self._differentiate = self._compiled(unroll.meta_gradient)
    self._train = tf.function(self._train, autograph=False)

  def step(self, run: unroll.Run) -> tuple[tf.Tensor, unroll.Run]:
    """Makes the updates of one unroll, then one of the network's weights.

    Args:
      run: The run so far.

    Returns:
      See `Unroller.unroll`. All of it was made with the weights from before
      their update.
    """
    info, run = self.train(run)
    return info.losses, run

  def train(self, run: unroll.Run,
            num_steps: int | None = None) -> tuple[StepInfo, unroll.Run]:
    """Does what `step` does, and tells more of it.

    Args:
      run: The run so far.
      num_steps: Updates, where they are not `len_unroll`.
    """
    return self._train(run, num_steps or self.len_unroll)

  def _train(self, run, num_steps):
    if self._second_derivatives:
      losses, run, gradients = unroll.second_order_meta_gradient(
          self.network, self.problem, run, num_steps)
    else:
      losses, run, gradients = self._differentiate(run, num_steps)
    meta_loss = unroll.meta_loss(losses)
    variables = self.network.trainable_variables
    if not variables:  # All the optimizers are designed by hand.
      return StepInfo(losses, meta_loss, tf.zeros([], meta_loss.dtype)), run
    norm = tf.linalg.global_norm(gradients)
    tf.cond(tf.math.is_finite(norm),
            lambda: self.optimizer.apply(gradients, variables), lambda: None)
    return StepInfo(losses, meta_loss, norm), run


class MetaOptimizer:
  """Networks that learn to optimize."""

  def __init__(self, **net_config: Mapping[str, Any]):
    """Args:
      **net_config: For each network its id, and a dictionary of the arguments
        of `networks.factory`. None makes the original's default, one
        coordinatewise network.

    Raises:
      ValueError: See `networks.factory`.
    """
    self.networks = {
        key: networks.factory(**config)
        for key, config in (net_config or DEFAULT_CONFIG).items()}

  def meta_loss(
      self, problem: problems.Problem, len_unroll: int,
      net_assignments: networks.Assignments | None = None,
      second_derivatives: bool = False,
      jit_compile: bool | None = None) -> Unroller:
    """Returns the losses of a problem that the networks optimize.

    Args:
      problem: What they optimize.
      len_unroll: Updates in an unroll.
      net_assignments: Pairs of a network's id and the names of the parameters
        it optimizes; None gives all to the only network.
      second_derivatives: See `Unroller`.
      jit_compile: See `Unroller`.

    Raises:
      ValueError: See `Unroller` and `networks.Partition`.
    """
    return Unroller(networks.Partition(self.networks, net_assignments), problem,
                    len_unroll, second_derivatives, jit_compile)

  def meta_minimize(
      self, problem: problems.Problem, len_unroll: int,
      learning_rate: float = 0.01,
      net_assignments: networks.Assignments | None = None,
      second_derivatives: bool = False,
      jit_compile: bool | None = None) -> MetaStep:
    """Returns the step that trains the networks on a problem.

    Args:
      problem: What they optimize.
      len_unroll: Updates in an unroll.
      learning_rate: Of Adam, which trains the networks.
      net_assignments: See `meta_loss`.
      second_derivatives: See `Unroller`.
      jit_compile: See `Unroller`.

    Raises:
      ValueError: See `MetaStep` and `networks.Partition`.
    """
    return MetaStep(networks.Partition(self.networks, net_assignments), problem,
                    len_unroll, learning_rate, second_derivatives, jit_compile)

  def save(self, path: str, trained_on: dict[str, Any] | None = None,
           net_assignments: networks.Assignments | None = None) -> None:
    """Writes each network to `<path>/<id>.l2l`.

    Args:
      path: Folder, which is made where it does not exist.
      trained_on: What to note about the training, as JSON values.
      net_assignments: Those of the training, for `LearnedOptimizer.load`.
    """
    if net_assignments is not None:
      trained_on = (trained_on or {}) | {"net_assignments": net_assignments}
    os.makedirs(path, exist_ok=True)
    for key, network in self.networks.items():
      networks.save(network, os.path.join(path, f"{key}.l2l"), trained_on)
