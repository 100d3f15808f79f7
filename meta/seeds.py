"""Seeds: the forms that they take, and independent ones for each purpose."""

from collections.abc import Sequence
import numbers

import tensorflow as tf

from l2lgd import philox

_PURPOSES = ("training", "validation", "test", "length", "problem",
             "imitation")


def as_seed(seed: int | tf.Tensor) -> tf.Tensor:
  """Returns a seed as an int32 tensor of shape [2].

  Args:
    seed: Any 64-bit integer. A tensor of shape [2], or of shape [K, 2] for K
      runs side by side, is returned as it is.

  Raises:
    ValueError: It is neither.
  """
  if isinstance(seed, numbers.Integral):
    if -2**63 <= int(seed) < 2**63:
      return tf.bitcast(tf.constant(int(seed), tf.int64), tf.int32)
  elif (isinstance(seed, tf.Tensor) and seed.dtype == tf.int32
        and seed.shape.rank in (1, 2) and seed.shape[-1] == 2):
    return seed
  raise ValueError(f"seed is {seed!r}, but must be an integer of 64 bits or an "
                   "int32 tensor of shape [2] or [K, 2].")


def stack(seeds: Sequence[int | tf.Tensor]) -> tf.Tensor:
  """Returns the seed of K runs side by side, shape [K, 2]; of one run, [2].

  Raises:
    ValueError: One is not the seed of a single run.
  """
  tensors = [as_seed(seed) for seed in seeds]
  for tensor in tensors:
    if tensor.shape.rank != 1:
      raise ValueError(f"A seed of a run has shape {tensor.shape}, but must be "
                       "an integer or of shape [2].")
  return tf.stack(tensors) if len(tensors) > 1 else tensors[0]


def derive(seed: int, purpose: str, index: int) -> tf.Tensor:
  """Returns the seed of a run; no two purposes share their functions.

  Args:
    seed: The seed of the whole program.
    purpose: "training", "validation" or "test"; "length", "problem" or
      "imitation" for what an epoch draws.
    index: Number of the run, or of the epoch.
  """
  return _fold_in(as_seed(seed), tf.constant(_PURPOSES.index(purpose)),
                  tf.constant(index, tf.int32))


@tf.function(autograph=False)  # Ten times as fast as eagerly.
def _fold_in(seed: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
  return philox.fold_in(philox.fold_in(seed, first), second)
