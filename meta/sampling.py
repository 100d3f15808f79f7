"""Random samples of rows, from which a meta-gradient can be estimated.

With first derivatives, the meta-gradient is a sum over the rows of coordinates
that a network updates independently of one another. A sample of M of N rows,
each weighted by the inverse of its probability, estimates it without bias, at
M / N of the time and the memory of the backward pass.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from l2lgd import philox


class Sample(NamedTuple):
  """Which rows of a network were drawn."""
  indices: tf.Tensor  # int32, shape [M].
  weights: tf.Tensor  # The inverse of each row's probability, shape [M].


def draw(num_rows: Any, num_sampled: int | None, seed: tf.Tensor) -> Any:
  """Draws rows, the same from the same seed.

  The sample is stratified: the rows of each parameter are divided into as many
  intervals as rows are drawn of it, and one row is drawn from each interval.

  Args:
    num_rows: What `Network.num_rows` returned.
    num_sampled: Number of rows, M, of all networks together. None draws all.
    seed: An int32 tensor of shape [2].

  Returns:
    A sample; `()`, which stands for all rows; or a dictionary of these, one
    for each of several networks.
  """
  counts = tf.nest.flatten(num_rows)
  if num_sampled is None or num_sampled >= sum(counts):
    sizes = counts
  else:
    sizes = allocate(counts, num_sampled)
  return _draw(num_rows, tf.nest.pack_sequence_as(num_rows, sizes), seed)


def _draw(num_rows: Any, sizes: Any, seed: tf.Tensor) -> Any:
  if isinstance(num_rows, dict):
    seeds = philox.split(seed, len(num_rows))
    return {key: _draw(num_rows[key], sizes[key], seed)
            for key, seed in zip(num_rows, seeds, strict=True)}
  if num_rows == sizes:
    return ()
  starts = np.concatenate([
      start + n * np.arange(m) // m for start, n, m in zip(
          np.cumsum([0, *num_rows[:-1]]), num_rows, sizes, strict=True)])
  lengths = np.diff(starts, append=sum(num_rows))
  uniform = philox.uniform(lengths.shape, seed)
  return Sample(
      tf.constant(starts, tf.int32) + tf.minimum(
          tf.cast(uniform * lengths, tf.int32),
          tf.constant(lengths - 1, tf.int32)),
      tf.constant(lengths, tf.float32))


def allocate(counts: Sequence[int], num_sampled: int) -> list[int]:
  """Returns how many rows to draw of each parameter.

  Parameters that have no more than an equal share are drawn as a whole: biases
  are few, and matter as much as large matrices. The others divide the rest in
  proportion to their sizes, with at least one row each.

  Args:
    counts: Number of rows of each parameter.
    num_sampled: Number of rows, less than there are.
  """
  share = num_sampled // len(counts)
  rest = num_sampled - sum(n for n in counts if n <= share)
  total = sum(n for n in counts if n > share)
  return [n if n <= share else max(1, rest * n // total) for n in counts]


def take(rows: Any, sample: Any) -> Any:
  """Returns the rows that were drawn of a nest of tensors, [..., M].

  Args:
    rows: A nest of tensors [..., N]; scalars are left as they are.
    sample: What `draw` returned.
  """
  return _map(lambda t, own: tf.gather(t, own.indices, axis=-1)
              if t.shape.rank else t, rows, sample)


def weigh(rows: Any, sample: Any) -> Any:
  """Returns the rows that `take` returned, multiplied by their weights."""
  return _map(lambda t, own: t * tf.cast(own.weights, t.dtype), rows, sample)


def _map(function: Callable[..., Any], rows: Any, sample: Any) -> Any:
  """Applies a function to tensors and the sample of their network, if any."""
  if isinstance(sample, dict):
    return {key: _map(function, rows[key], sample[key]) for key in sample}
  if isinstance(sample, Sample):
    return tf.nest.map_structure(lambda t: function(t, sample), rows)
  return rows
