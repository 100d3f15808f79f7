"""A small trained optimizer, and a model that it trains."""

import subprocess
import sys
import tempfile
import textwrap
from unittest import mock

from absl.testing import parameterized
import tensorflow as tf

import meta
from meta import groups

NET = {"net": "CoordinateWiseDeepLSTM", "net_options": {
    "layers": (4, 3), "preprocess_name": "LogAndSign",
    "preprocess_options": {"k": 5}, "scale": 0.1}}
STEPS = 5

# What a process without this library runs.
MODEL = """
    import numpy as np, sys, tensorflow as tf
    def make_model():
      tf.keras.utils.set_random_seed(0)
      return tf.keras.Sequential([
          tf.keras.Input([3]), tf.keras.layers.Dense(4, "tanh", name="a"),
          tf.keras.layers.Dense(2, name="b")])
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape([8, 3])
    y = x[:, :2]**2
"""
_NAMES = {}
exec(textwrap.dedent(MODEL), _NAMES)
make_model, x, y = (_NAMES[name] for name in ("make_model", "x", "y"))


def save_networks(folder, assignments=None, **net_config):
  """Saves untrained networks."""
  optimizer = meta.MetaOptimizer(**net_config or {"cw": NET})
  for network in optimizer.networks.values():
    network.initial_state({"x": tf.zeros([1])})
  optimizer.save(folder, net_assignments=assignments)
  return optimizer


def loop(optimizer, model, steps=STEPS, **options):
  """Trains on x and y in a loop; the loss before every step."""
  def step():
    with tf.GradientTape() as tape:
      loss = tf.keras.losses.MeanSquaredError()(y, model(x))
    variables = model.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss

  step = tf.function(step, **options) if options else step
  return [float(step()) for _ in range(steps)]


def fit(model, epochs=STEPS):
  """Trains on x and y by Keras; the loss before every step."""
  return model.fit(x, y, batch_size=len(x), epochs=epochs, shuffle=False,
                   verbose=0).history["loss"]


class FolderTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.path = self.enter_context(tempfile.TemporaryDirectory())
    save_networks(self.path)
    self.compile_up_to(0)  # To compile would take most of the time.

  def compile_up_to(self, num_parameters):
    """Lets XLA compile the steps of so many parameters."""
    self.enter_context(
        mock.patch.object(groups, "_MAX_COMPILED", num_parameters))

  def python(self, code, folder):
    """Runs code in a new process, with the folder as its argument."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MODEL) + textwrap.dedent(code),
         self.path], cwd=folder, capture_output=True, text=True, check=False)
    self.assertEqual(result.returncode, 0, result.stderr)
    return [float(v) for v in result.stdout.split()]
