"""Whether a problem can be computed."""

from collections.abc import Callable
import os
import re
import traceback
from typing import Any
import weakref

import numpy as np
import tensorflow as tf

from problems import base

_LIBRARY = tuple(
    os.path.join(os.path.dirname(os.path.dirname(__file__)), package, "")
    for package in ("l2lgd", "meta", "networks", "problems"))
_OF_THE_SEED = (
    "when it is called again with the same seed, but all random numbers must "
    "be drawn from the seed, as tf.random.stateless_normal does.")
# The check ends at the first whose loss and gradient are finite.
_SEEDS = [(0, i) for i in range(16)]
# By `id`, as a problem, such as a dataclass, need not be hashable.
_checked: weakref.WeakValueDictionary[int, base.Problem] = (
    weakref.WeakValueDictionary())


def check(problem: base.Problem) -> None:
  """Computes a loss and its gradient, and raises an error if that fails.

  The operations run one by one, without XLA, so TensorFlow checks what they
  are given. Then the loss is traced, as in the graph of an unroll. It is enough
  that the loss and its gradient are finite for one of 16 seeds. A problem that
  has passed is not checked again.

  Args:
    problem: The problem.

  Raises:
    ValueError: It is not a `Problem`; its parameters, constants or loss are not
      as `Problem` describes them, cannot be computed, or differ when the seed
      is the same; or the loss or its gradient is finite for none of the seeds.
  """
  if not isinstance(problem, base.Problem):
    raise ValueError(f"problem is {problem!r}, but must be a Problem.")
  if id(problem) in _checked:
    return
  for seed in _SEEDS:
    fault = _fault(problem, tf.constant(seed))
    if fault is None:
      _checked[id(problem)] = problem
      return
  raise ValueError(
      f"The {fault} for each of {len(_SEEDS)} seeds, but must be finite. Look "
      "for nan or inf in the data, for labels out of their range, and for "
      "divisions by zero, logarithms and roots.")


def ignores_seed(problem: base.Problem) -> bool:
  """Returns whether all runs of a problem are the same, whatever their seed."""
  runs = []
  for seed in map(tf.constant, _SEEDS[:2]):
    params, constants = problem.sample(seed)
    with tf.GradientTape() as tape:
      tape.watch(params)
      loss = problem.loss(params, constants, seed)
    # At weights of 0, minibatches may have the same loss.
    gradients = tape.gradient(loss, params, unconnected_gradients="zero")
    runs.append(tf.nest.flatten(
        (params, constants, loss, gradients), expand_composites=True))
  return all(bool(tf.reduce_all(a == b)) for a, b in zip(*runs, strict=True))


def computed(what: str, function: Callable[..., Any], *args: Any,
             **kwargs: Any) -> Any:
  """Returns what a function of a user returns.

  Args:
    what: What is computed, for the message.
    function: The function.
    *args: Its arguments.
    **kwargs: Those by name.

  Raises:
    ValueError: It raises an error. This one says which, and at what line.
  """
  try:
    return function(*args, **kwargs)
  except tf.errors.OperatorNotAllowedInGraphError as error:
    raise ValueError(
        f"{what} uses a tensor as a Python value{_place(error)}, in an if, a "
        "while or a for, say. Its values are not known yet when the graph is "
        "built: use tf.where, tf.cond or tf.while_loop.") from error
  except tf.errors.OpError as error:
    raise ValueError(f"{what} cannot be computed{_place(error)}: "
                     f"{sentence(error)}") from error
  except (Exception, SystemExit) as error:
    raise ValueError(f"{what} raises {type(error).__name__}{_place(error)}: "
                     f"{error}") from error


def _place(error: BaseException) -> str:
  """Returns the line of the user's code where an error was raised, if any."""
  if isinstance(error, SyntaxError):
    return f" at {error.filename}:{error.lineno}"
  own = [f for f in traceback.extract_tb(error.__traceback__)
         if not f.filename.startswith((*_LIBRARY, "<frozen"))
         and "site-packages" not in f.filename
         and "importlib" not in f.filename]
  return f" at {own[-1].filename}:{own[-1].lineno}" if own else ""


def sentence(error: Exception) -> str:
  """Returns what happened, without TensorFlow's nodes, colours and lists."""
  if not isinstance(error, tf.errors.OpError):
    return str(error)
  lines = [line for line in error.message.splitlines() if line.strip()]
  line = next((line for line in lines if "{{function_node" in line), lines[0])
  line = re.sub(r"\x1b\[[\d;]*m|\{\{.*?\}\}| ?\[Op:.*", "", line)
  # Then comes, for instance, a list of all labels.
  return re.split(r"(?<=\.)  ", line.strip())[0]


def _fault(problem: base.Problem, seed: tf.Tensor) -> str | None:
  """Returns what is not finite, or None."""
  name = type(problem).__name__
  drawn = computed(f"{name}.sample", problem.sample, seed)
  if not isinstance(drawn, (tuple, list)) or len(drawn) != 2:
    raise ValueError(f"{name}.sample returns {type(drawn).__name__}, but must "
                     "return a tuple of parameters and constants.")
  params = _checked_params(name, drawn[0])
  constants = _checked_constants(name, drawn[1])
  if not _are_equal(drawn, computed(f"{name}.sample", problem.sample, seed)):
    raise ValueError(f"{name}.sample returns other values {_OF_THE_SEED}")
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch(params)
    loss = computed(f"{name}.loss", problem.loss, params, constants, seed)
    loss = _checked_loss(name, loss, params)
  gradients = computed(f"The gradient of {name}.loss", tape.gradient, loss,
                       params)
  if all(g is None for g in gradients.values()):
    raise ValueError(f"{name}.loss has no gradient with respect to any "
                     "parameter: it must be made of TensorFlow's operations, "
                     "and must not round.")
  if not _are_equal(loss, computed(f"{name}.loss", problem.loss, params,
                                   constants, seed)):
    raise ValueError(f"{name}.loss returns other values {_OF_THE_SEED}")
  if not _is_finite(loss):
    value = f"is {loss.numpy()}" if loss.shape.rank == 0 else "has nan or inf"
    return f"loss of {name} {value}"
  for key, gradient in gradients.items():
    if gradient is not None and not _is_finite(gradient):
      return f"gradient of {name} with respect to {key!r} has nan or inf"
  for part, function, args in (
      ("sample", problem.sample, (seed,)),
      ("loss", problem.loss, (params, constants, seed))):
    computed(f"{name}.{part}", tf.function(
        function, autograph=False).get_concrete_function, *args)
  return None


def _are_equal(values: Any, others: Any) -> bool:
  """Returns whether nested numbers are the same, up to rounding."""
  values, others = _numbers(values), _numbers(others)
  return [v.shape for v in values] == [o.shape for o in others] and all(
      np.allclose(a, b, rtol=1e-4, equal_nan=True)
      for a, b in zip(values, others))


def _numbers(values: Any) -> list[np.ndarray]:
  tensors = map(tf.convert_to_tensor, tf.nest.flatten(values))
  return [tf.cast(t, tf.float64).numpy() for t in tensors
          if t.dtype.is_floating or t.dtype.is_integer]


def _checked_params(name: str, params: Any) -> base.Params:
  if not isinstance(params, dict):
    raise ValueError(
        f"{name}.sample returns parameters in a {type(params).__name__}, but "
        "must return a dictionary of names to float tensors.")
  if not params:
    raise ValueError(f"{name}.sample returns no parameters, but must return at "
                     "least one.")
  for key, value in params.items():
    if not isinstance(key, str):
      raise ValueError(f"{name}.sample returns a parameter of name {key!r}, "
                       "but names must be strings.")
    if not tf.is_tensor(value) or not value.dtype.is_floating:
      kind = value.dtype.name if tf.is_tensor(value) else _type_name(value)
      raise ValueError(f"{name}.sample returns the parameter {key!r} as {kind},"
                       " but parameters must be float tensors.")
  tensors = {key: tf.convert_to_tensor(v) for key, v in params.items()}
  if not any(t.shape.num_elements() for t in tensors.values()):
    raise ValueError(
        f"{name}.sample returns parameters of the shapes "
        f"{ {key: t.shape.as_list() for key, t in tensors.items()} }, which "
        "hold no number, but must return at least one.")
  return tensors


def _checked_constants(name: str, constants: Any) -> Any:
  def checked(value: Any) -> tf.Tensor:
    try:
      return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
      raise ValueError(
          f"{name}.sample returns {_type_name(value)} among the constants, but "
          "they must be tensors, or () if there are none.") from error

  return tf.nest.map_structure(checked, constants)


def _checked_loss(name: str, loss: Any, params: base.Params) -> tf.Tensor:
  if not tf.is_tensor(loss):
    raise ValueError(
        f"{name}.loss returns {_type_name(loss)}, but must return a float "
        "tensor: use operations of TensorFlow.")
  loss = tf.convert_to_tensor(loss)
  if not loss.dtype.is_floating or loss.shape.rank > 1:
    raise ValueError(
        f"{name}.loss returns {loss.dtype.name} {loss.shape.as_list()}, but "
        "must return floats of shape [], or [S] for S functions.")
  if loss.shape.rank == 1:
    for key, value in params.items():
      if value.shape[:1] != loss.shape:
        raise ValueError(
            f"{name}.loss returns the shape {loss.shape.as_list()}, so each "
            f"parameter must have {loss.shape[0]} entries, one for each "
            f"function, but {key!r} has the shape {value.shape.as_list()}.")
  return loss


def _type_name(value: Any) -> str:
  """Returns the name of the type of what is not a tensor."""
  library = "NumPy's " if isinstance(value, np.ndarray | np.generic) else ""
  return f"{library}{type(value).__name__}"


def _is_finite(value: Any) -> bool:
  if isinstance(value, tf.IndexedSlices):
    value = value.values
  return bool(tf.reduce_all(tf.math.is_finite(value)))
