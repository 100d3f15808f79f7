"""The contract of a network: gradients in, updates out."""

import abc
from typing import Any

import sonnet as snt
import tensorflow as tf

from l2lgd.types import Params

State = Any
"""A nest of tensors: what a network remembers from one step to the next."""


class Network(snt.Module, abc.ABC):
  """An optimizer, learned or hand-designed: it turns gradients into updates.

  A network never sees the function that it optimizes, only gradients, its own
  state and, if `needs_params` is true, the parameters. So every network can be
  evaluated on every problem whose parameters it takes. `meta.MetaOptimizer`
  trains networks that `networks.factory` makes.

  Example:

    params = {"x": tf.constant([2., -3.])}
    network = networks.Adam(learning_rate=0.1)
    state = network.initial_state(params)
    for _ in range(100):
      gradients = {"x": 2. * params["x"]}  # The function is sum(x**2).
      updates, state = network(gradients, state)
      params = {"x": params["x"] + updates["x"]}

  A custom network implements `initial_state` and `__call__`. Both are pure,
  except that `initial_state` creates the variables when it is first called.
  They run inside `tf.function`, `tf.while_loop` and `tf.vectorized_map`, so
  they must consist of TensorFlow operations. A network without variables needs
  Sonnet's decorator. For a rule that treats all coordinates alike,
  `networks.elementwise.Elementwise` does a part of the work.

  Example:

    @snt.allow_empty_variables
    class NormalizedGradient(networks.Network):

      joins_parameters = True  # By the norm of all gradients.

      def initial_state(self, params):
        return ()  # Nothing to remember.

      def __call__(self, gradients, state):
        norm = tf.linalg.global_norm(tf.nest.flatten(gradients))
        return {name: -0.01 * g / norm for name, g in gradients.items()}, state
  """

  @abc.abstractmethod
  def initial_state(self, params: Params) -> State:
    """Returns the state before the first step.

    Args:
      params: The parameters that this network optimizes.

    Raises:
      ValueError: The network cannot optimize parameters of these shapes
        or types.
    """

  @abc.abstractmethod
  def __call__(self, gradients: Params, state: State) -> tuple[Params, State]:
    """Makes one step.

    Args:
      gradients: Gradients, named and shaped like the parameters.
      state: The state that `initial_state` or the previous step returned.

    Returns:
      The updates, which are to be added to the parameters, and the next state.
    """

  # The methods below divide a step into what has no weights and what has: a
  # meta-gradient needs derivatives of the second part alone, and where its rows
  # are independent of one another, of a sample of them. By default, the whole
  # step is the second part, and it has no rows.

  def num_rows(self, params: Params) -> Any:
    """Returns the numbers of rows that each parameter is divided into.

    Returns:
      A list of integers, in the order in which the rows of the parameters are
      concatenated; `()` if the network has no independent rows; a dictionary
      of these if it consists of several networks.
    """
    del params
    return ()

  def to_rows(self, tensors: Params) -> Any:
    """Returns tensors that are named and shaped like the parameters as rows.

    N is the last axis of the result, as it is of all tensors of rows: those
    that `prepare` and `update_rows` return, and of the state but for scalars. A
    scalar of the state, such as a count of steps, may also come as a row
    [1, N]: it differs where some parameters have made fewer steps.
    """
    return tensors

  def from_rows(self, rows: Any, like: Params) -> Params:
    """Returns rows as tensors that are named and shaped like others."""
    del like
    return rows

  def prepare(self, gradients: Params, state: State,
              params: Params | None = None) -> tuple[Any, State]:
    """Makes the part of a step that has no weights.

    Args:
      gradients: See `__call__`.
      state: See `__call__`.
      params: The parameters before the step, for networks that read them.

    Returns:
      The inputs of `update_rows`, and the state, changed only in what
      `update_rows` does not read. Tensors that stay as they are must be the
      same objects: replicas that share out states keep the others whole.
    """
    del params
    return gradients, state

  @property
  def needs_params(self) -> bool:
    """Whether `prepare` reads the parameters; if so, callers call `step`."""
    return False

  def update_rows(self, inputs: Any, state: State) -> tuple[Any, State]:
    """Makes the part of a step that has weights.

    Returns:
      The updates in rows, and the next state.
    """
    return self(inputs, state)

  def step(self, gradients: Params, state: State,
           params: Params | None) -> tuple[Params, State]:
    """Makes one step, as `__call__` does, with the parameters before it.

    Networks that read the parameters override `prepare`, not this method.
    """
    updates, state = self.update_rows(*self.prepare(gradients, state, params))
    return self.from_rows(updates, gradients), state

  def with_learning_rate(self, state: State, learning_rate: Any) -> State:
    """Returns a state with another learning rate.

    Hand-designed optimizers keep the learning rate in their state, so that one
    compiled program serves all rates, and runs side by side can have different
    ones.

    Args:
      state: The state of one run, or of K runs side by side.
      learning_rate: A number for one run, or K numbers.

    Raises:
      ValueError: The network has no learning rate.
    """
    del state, learning_rate
    raise ValueError(
        f"The network is a {type(self).__name__}, which has no learning rate, "
        "but must be a hand-designed optimizer.")

  def diagnose(self, gradients: Params, state: State) -> dict[str, tf.Tensor]:
    """Returns measurements of one step that show whether the network can learn.

    Args:
      gradients: See `__call__`.
      state: See `__call__`.

    Returns:
      Fractions by name, float32, shape []. By default there are none.
    """
    del gradients, state
    return {}

  @property
  def joins_parameters(self) -> bool:
    """Whether the updates of a parameter depend on the other parameters.

    If so, the network cannot be called for some of the parameters alone.
    """
    return False

  @property
  def options(self) -> dict[str, Any]:
    """The constructor's arguments that determine what the network computes.

    They are JSON values. Together with the weights, which they do not contain,
    they make the same network again.
    """
    return {}

  @property
  def parameter_shape(self) -> list[int | None]:
    """The shape of the parameters that the network takes; None is any length.

    By default it is [None]: the network takes parameters of all shapes, and
    computes the same for a vector of their coordinates.
    """
    return [None]
