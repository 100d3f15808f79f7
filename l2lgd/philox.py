"""Random numbers from seeds, by the algorithm Philox (Salmon et al. 2011).

They are those of `tf.random.stateless_*` with `alg="philox"`, the same on all
devices; but XLA makes other floats of the same bits. `tf.random` turns a
draw into 50 operations, most of which make a key of the seed; here there are
fewer than 20, which shortens tracing and compilation.

Seeds are int32 tensors of shape [2], or values that convert to one, such as
(1, 2).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_PHILOX = 1  # Its number among TensorFlow's algorithms.
_MIXING_KEY = np.array([0x02461E293EC8F720], np.uint64)  # TensorFlow's.


def normal(shape: Sequence[int], seed: tf.Tensor,
           dtype: Any = tf.float32) -> tf.Tensor:
  """Draws from N(0, 1), as `tf.random.stateless_normal`."""
  return tf.raw_ops.StatelessRandomNormalV2(
      shape=shape, **_generator(seed), dtype=dtype)


def truncated_normal(shape: Sequence[int], seed: tf.Tensor,
                     dtype: Any = tf.float32) -> tf.Tensor:
  """Draws as `tf.random.stateless_truncated_normal`."""
  return tf.raw_ops.StatelessTruncatedNormalV2(
      shape=shape, **_generator(seed), dtype=dtype)


def uniform(shape: Sequence[int], seed: tf.Tensor,
            dtype: Any = tf.float32) -> tf.Tensor:
  """Draws from [0, 1), as `tf.random.stateless_uniform`."""
  return tf.raw_ops.StatelessRandomUniformV2(
      shape=shape, **_generator(seed), dtype=dtype)


def integers(shape: Sequence[int], seed: tf.Tensor, limit: int) -> tf.Tensor:
  """Draws int32 from 0 to `limit` - 1, as `tf.random.stateless_uniform`."""
  return tf.raw_ops.StatelessRandomUniformIntV2(
      shape=shape, **_generator(seed), minval=0, maxval=limit)


def fold_in(seed: tf.Tensor, data: int | tf.Tensor) -> tf.Tensor:
  """Returns a seed that depends on an int32 number, as `tf.random.fold_in`."""
  return tf.stack([_bits([], seed), data])


def split(seed: tf.Tensor, num: int = 2) -> list[tf.Tensor]:
  """Returns independent seeds, as `tf.random.split`."""
  return tf.unstack(_bits([num, 2], seed))


def _bits(shape: Sequence[int], seed: tf.Tensor) -> tf.Tensor:
  seed = tf.convert_to_tensor(seed)
  return tf.raw_ops.StatelessRandomUniformFullIntV2(
      shape=shape, **_generator(seed), dtype=seed.dtype)


def _generator(seed: tf.Tensor) -> dict[str, Any]:
  """Returns the generator that `tf.random` makes of a seed."""
  # In int64, for which all devices have the operations.
  key, counter = tf.split(tf.raw_ops.StatelessRandomUniformFullIntV2(
      shape=[2], key=_MIXING_KEY, counter=tf.cast(seed, tf.uint64),
      alg=_PHILOX, dtype=tf.int64), 2)
  counter = tf.concat([np.zeros(1, np.int64), counter], 0)
  return {"key": tf.bitcast(key, tf.uint64),
          "counter": tf.bitcast(counter, tf.uint64), "alg": _PHILOX}
