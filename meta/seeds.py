"""Seeds: what may be given as one, and independent ones for each purpose."""

import numbers

import tensorflow as tf

_PURPOSES = ("training", "validation", "test")


def as_seed(seed: int | tf.Tensor) -> tf.Tensor:
  """Returns a seed as an int32 tensor of shape [2].

  Args:
    seed: Any integer of 64 bits; or a tensor of shape [2], or [K, 2] for K
      runs side by side, that is returned as it is.

  Raises:
    ValueError: It is neither.
  """
  if isinstance(seed, numbers.Integral) and -2**63 <= seed < 2**63:
    return tf.bitcast(tf.constant(int(seed), tf.int64), tf.int32)
  if (tf.is_tensor(seed) and seed.dtype == tf.int32
      and seed.shape.rank in (1, 2) and seed.shape[-1] == 2):
    return seed
  raise ValueError(f"seed is {seed!r}, but must be an integer of 64 bits or an "
                   "int32 tensor of shape [2] or [K, 2].")


def derive(seed: int | tf.Tensor, purpose: str, index: int) -> tf.Tensor:
  """Returns the seed of a run: the functions of no two purposes are the same.

  Args:
    seed: The seed of everything.
    purpose: "training", "validation" or "test".
    index: Number of the run.
  """
  return _fold_in(as_seed(seed), tf.constant(_PURPOSES.index(purpose)),
                  tf.constant(index))


@tf.function(autograph=False)  # Ten times as fast as without.
def _fold_in(seed, first, second):
  return tf.random.fold_in(
      tf.random.fold_in(seed, first, alg="philox"), second, alg="philox")
