"""Tests of the problem of training a Sonnet module."""

import functools

from absl.testing import absltest, parameterized
import numpy as np
import sonnet as snt
import tensorflow as tf

import problems
from tests import assertions

SEED = (1, 2)
B = 5
# All examples are the same, so that every minibatch is known.
INPUTS = np.tile(np.float32([[0.5, -1., 2.]]), [7, 1])
TARGETS = np.tile(np.float32([[1., -2.]]), [7, 1])
SAME = INPUTS, TARGETS
RNG = np.random.default_rng(0)
OTHERS = RNG.normal(size=[7, 3]), RNG.normal(size=[7, 2])


class Noisy(snt.Module):
  """A module with a moving average and noise, which takes `is_training`."""

  def __init__(self):
    super().__init__()
    self.norm = snt.BatchNorm(create_scale=True, create_offset=True)
    self.linear = snt.Linear(4)
    self.dropout = snt.Dropout(0.5)
    self.out = snt.Linear(2)

  def __call__(self, inputs, is_training):
    hidden = self.norm(self.linear(inputs), is_training)
    return self.out(self.dropout(tf.tanh(hidden), is_training))


class Closure(snt.Module):
  """A module whose variable is not an attribute, but used by a function."""

  def __init__(self):
    super().__init__()
    w = tf.Variable(tf.random.normal([3, 2]), name="w")
    self.variables_of_mine = [w]
    self.function = lambda inputs: inputs @ w

  def __call__(self, inputs):
    return self.function(inputs)


class Counting(snt.Module):
  """A module whose results depend on how often it was called."""

  def __init__(self):
    super().__init__()
    self.linear = snt.Linear(2)
    self.count = tf.Variable(0., trainable=False)

  def __call__(self, inputs):
    return self.linear(inputs) + self.count.assign_add(1.)


def mlp():
  return snt.nets.MLP([4, 2], activation=tf.tanh)


def mean_square(targets, outputs):
  return tf.reduce_mean((targets - outputs)**2, axis=1)


def make(module_fn=mlp, loss_fn=mean_square, data=SAME, batch_size=B):
  return problems.SonnetProblem(module_fn, loss_fn, data, batch_size)


@functools.cache
def noisy():
  return make(Noisy)


def sample(problem, seed=SEED):
  return problem.sample(tf.constant(seed))[0]


def loss(problem, params, seed=SEED):
  return problem.loss(params, (), tf.constant(seed))


class SonnetProblemTest(parameterized.TestCase):

  def test_parameters_have_the_names_and_shapes_of_the_variables(self):
    self.assertEqual(
        {name: p.shape.as_list() for name, p in sample(make()).items()},
        {"mlp/linear_0/w": [3, 4], "mlp/linear_0/b": [4],
         "mlp/linear_1/w": [4, 2], "mlp/linear_1/b": [2]})

  def test_a_name_that_is_there_twice_gets_a_number(self):
    self.assertEqual(
        [n for n in sample(noisy()) if "linear" in n],
        ["noisy/linear/w", "noisy/linear/b",
         "noisy/linear/w_1", "noisy/linear/b_1"])

  def test_loss_and_gradients_are_those_of_the_module(self):
    problem, module = make(), mlp()
    params = sample(problem)
    module(INPUTS)
    for variable in module.trainable_variables:
      variable.assign(params[variable.name.removesuffix(":0")])
    with tf.GradientTape() as tape:
      tape.watch(params)
      value = loss(problem, params)
    with tf.GradientTape() as own_tape:
      expected = tf.reduce_mean((module(INPUTS) - TARGETS)**2)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    gradients = tape.gradient(value, params)
    for variable, gradient in zip(
        module.trainable_variables,
        own_tape.gradient(expected, module.trainable_variables)):
      np.testing.assert_allclose(
          gradients[variable.name.removesuffix(":0")], gradient, rtol=1e-4,
          atol=1e-6)

  def test_weights_come_from_the_initializers_and_the_seed(self):
    problem = make(lambda: snt.Sequential([
        snt.Linear(60, w_init=snt.initializers.RandomNormal(stddev=0.3, seed=1),
                   b_init=snt.initializers.Ones(), name="a"),
        snt.Linear(40, w_init=snt.initializers.Orthogonal(), name="b"),
        snt.Linear(2, name="c")]))
    first, same, other = (sample(problem, s) for s in (SEED, SEED, (1, 3)))
    assertions.assert_equal(first, same)
    for params in (first, other):
      self.assertAlmostEqual(np.std(params["a/w"]), 0.3, delta=0.05)
      np.testing.assert_array_equal(params["a/b"], 1.)
      np.testing.assert_allclose(
          tf.transpose(params["b/w"]) @ params["b/w"], np.eye(40), atol=1e-5)
      # Sonnet's default: a truncated normal, its deviation 1 / sqrt(fan_in).
      self.assertAlmostEqual(
          np.std(params["c/w"]), 0.88 / np.sqrt(40), delta=0.03)
    for name in ("a/w", "b/w", "c/w"):
      self.assertTrue(np.all(first[name] != other[name]))

  def test_drawing_leaves_the_global_random_numbers_alone(self):
    problem = noisy()
    tf.random.set_seed(0)
    expected = tf.random.normal([2]), tf.random.normal([2])
    tf.random.set_seed(0)
    first = tf.random.normal([2])
    loss(problem, sample(problem))
    assertions.assert_equal((first, tf.random.normal([2])), expected)

  def test_constants_are_where_all_runs_start(self):
    values = np.float32(RNG.normal(size=[3, 2]))
    problem = make(lambda: snt.Linear(2, w_init=lambda *_: values))
    for seed in (SEED, (1, 3)):
      np.testing.assert_array_equal(
          sample(problem, seed)["linear/w"], values)

  def test_module_that_is_assigned_to_is_refused(self):
    def module_fn():
      module = mlp()
      module(INPUTS)
      module.trainable_variables[1].assign(tf.ones([3, 4]))
      return module
    with self.assertRaisesRegex(ValueError, "assigns to 'mlp/linear_0/w:0'"):
      make(module_fn)

  def test_variables_may_be_held_anywhere(self):
    problem = make(Closure)
    params = sample(problem)
    np.testing.assert_allclose(
        loss(problem, params),
        np.mean((INPUTS @ params["closure/w"] - TARGETS)**2), rtol=1e-5)

  def test_dropout_is_drawn_from_the_seed(self):
    problem = noisy()
    params = sample(problem)
    for name in params:
      if name.startswith("noisy/batch_norm"):  # Which sees equal examples.
        params[name] = tf.ones_like(params[name])
    one, same, *others = (float(loss(problem, params, s))
                          for s in (SEED, SEED, (1, 3), (2, 2), (5, 5)))
    self.assertEqual(one, same)
    self.assertLen({one, *others}, 4)

  def test_batch_normalization_takes_the_minibatch(self):
    class Normalize(snt.Module):
      def __init__(self):
        super().__init__()
        self.norm = snt.BatchNorm(True, True, eps=1e-6)

      def __call__(self, inputs, is_training):
        return self.norm(inputs, is_training)

    problem = make(
        Normalize, lambda t, y: tf.reduce_sum(y**2, 1), OTHERS, 50)
    before = [c.variable.numpy() for c in problem._created]
    params = sample(problem)
    # Normalized numbers have the mean square 1.
    np.testing.assert_allclose(loss(problem, params), 3., rtol=1e-3)
    np.testing.assert_array_equal(loss(problem, params), loss(problem, params))
    self.assertLen(before, 2 + 2 * 3)
    assertions.assert_equal(
        [c.variable.numpy() for c in problem._created], before)

  def test_side_by_side_is_alone(self):
    assertions.assert_side_by_side_is_alone(make(Noisy, data=OTHERS))

  def test_xla_computes_the_same_loss(self):
    assertions.assert_xla_computes_the_same_loss(make(data=OTHERS))

  @parameterized.parameters(
      ({"module_fn": 3}, "module_fn is 3, but must be a function"),
      ({"module_fn": lambda: None},
       "must make an snt.Module .*: it returns NoneType"),
      ({"module_fn": lambda: snt.Linear("x")}, "that can be called on the inp"),
      ({"module_fn": lambda: snt.Sequential([tf.tanh])},
       "has no trainable variables"),
      ({"module_fn": Counting},
       "runs AssignAddVariableOp, which keeps a state"),
      ({"loss_fn": "mse"}, "loss_fn is 'mse', but must be a function"),
      ({"loss_fn": lambda t, y: (t - y)**2}, r"loss_fn returns float32 \[5, 2\]"
      ),
      ({"loss_fn": lambda t, y: y[:, 0] + tf.random.normal([5])},
       "runs RandomStandardNormal, which keeps a state"),
      ({"batch_size": 0}, "batch_size is 0"),
      ({"data": (INPUTS, TARGETS[:3])}, "must have the same number"))
  def test_what_cannot_work_is_named(self, arguments, message):
    with self.assertRaisesRegex(ValueError, message):
      make(**arguments)

  def test_module_that_was_there_before_is_refused(self):
    module = mlp()
    module(INPUTS)
    with self.assertRaisesRegex(ValueError, "whose variables existed before"):
      make(lambda: module)

  def test_module_that_differs_from_call_to_call_is_refused(self):
    sizes = iter(range(1, 9))
    with self.assertRaisesRegex(ValueError, "the same variables at each call"):
      make(lambda: snt.nets.MLP([next(sizes), 2]))


if __name__ == "__main__":
  absltest.main()
