"""Random quadratic functions (Andrychowicz et al. 2016, section 3.1)."""

import tensorflow as tf

from l2lgd import checks, philox
from problems import base

_COEFFICIENTS = {
    "uniform": philox.uniform,  # In [0, 1).
    "normal": philox.normal,  # Standard.
}


class Quadratic(base.Problem):
  """A batch of functions f(x) = |W x - y|^2 with random W and y.

  The cheapest problem to train on. The defaults are those of DeepMind's
  program; the paper's first experiment has distribution="normal", separate=True
  and stddev=1. The parameter "x" has the shape [B, D], a row for each of the B
  functions; with `separate`, they are the S functions of the contract.

  Example:

    problem = problems.Quadratic(distribution="normal", separate=True)
    params, (w, y) = problem.sample(seed=tf.constant([0, 0]))
    params["x"].shape  # [128, 10]
    problem.loss(params, (w, y), seed=tf.constant([0, 1])).shape  # [128]
  """

  def __init__(self, batch_size: int = 128, num_dims: int = 10,
               stddev: float = 0.01, dtype: tf.DType = tf.float32,
               distribution: str = "uniform", separate: bool = False):
    """Creates the problem; the defaults are those of DeepMind's program.

    Args:
      batch_size: Number of functions, B.
      num_dims: Number of dimensions of each function, D.
      stddev: Standard deviation of the starting point; its mean is 0.
      dtype: Type of the parameters, the coefficients and the loss.
      distribution: Distribution of the entries of W and y: "uniform" in [0, 1),
        as in DeepMind's program, or standard "normal", as in the paper.
      separate: Whether the loss is all B values, shape [B], as in the paper, or
        their mean. The mean divides every gradient by B.

    Raises:
      ValueError: An argument is out of its range.
    """
    self._batch_size = checks.positive_integer("batch_size", batch_size)
    self._num_dims = checks.positive_integer("num_dims", num_dims)
    self._stddev = checks.finite("stddev", stddev, minimum=0.)
    try:
      self._dtype = tf.as_dtype(dtype)
    except TypeError as error:
      raise ValueError(f"dtype is {dtype!r}, but must be a type.") from error
    if not self._dtype.is_floating:
      raise ValueError(
          f"dtype is {self._dtype.name}, but must be a floating-point type.")
    self._draw = _COEFFICIENTS[
        checks.one_of("distribution", distribution, _COEFFICIENTS)]
    self._separate = separate

  def sample(self, seed: tf.Tensor) -> tuple[base.Params, base.Constants]:
    x_seed, w_seed, y_seed = philox.split(seed, 3)
    b, d = self._batch_size, self._num_dims
    w = self._draw([b, d, d], w_seed, self._dtype)  # [B, D, D]
    y = self._draw([b, d], y_seed, self._dtype)  # [B, D]
    x = self._stddev * philox.normal([b, d], x_seed, self._dtype)  # [B, D]
    return {"x": x}, (w, y)

  def loss(self, params: base.Params, constants: base.Constants,
           seed: tf.Tensor) -> tf.Tensor:
    w, y = constants
    residual = tf.linalg.matvec(w, params["x"]) - y  # [B, D]
    values = tf.reduce_sum(tf.square(residual), axis=1)  # [B]
    return values if self._separate else tf.reduce_mean(values)
