"""Trains an optimizer on a function of two variables, then uses it."""

import tensorflow as tf

import meta
import problems


class Rosenbrock(problems.Problem):
  """(1 - x)^2 + 100 (y - x^2)^2, from a random starting point."""

  def sample(self, seed):
    return {"xy": tf.random.stateless_normal([2], seed, alg="philox")}, ()

  def loss(self, params, constants, seed):
    x, y = tf.unstack(params["xy"])
    return (1 - x)**2 + 100 * (y - x**2)**2


settings = meta.Settings(
    learning_rate=0.003, decay_epochs=400, max_gradient_norm=1., num_tasks=4,
    evaluation_period=50)
meta.train(Rosenbrock(), num_epochs=400, settings=settings,
           save_path="runs/rosenbrock", resume=True)

optimizer = meta.LearnedOptimizer.load("runs/rosenbrock")
xy = tf.Variable([-1., 1.])
for _ in range(100):
  with tf.GradientTape() as tape:
    loss = Rosenbrock().loss({"xy": xy}, (), None)
  optimizer.apply([tape.gradient(loss, xy)], [xy])
loss = Rosenbrock().loss({"xy": xy}, (), None)
print(f"From 4 down to {loss:.2g}, at {xy.numpy().tolist()}")
