"""Trains a Keras model with a learned optimizer, and with Adam at three rates.

The data are synthetic: the labels come from a random network, so nothing has to
be downloaded. It takes half a minute.
"""

import keras
import numpy as np

import meta


def make_data(num_examples):
  """Returns inputs [n, 20] and labels [n] of five classes."""
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=[num_examples, 20]).astype(np.float32)
  hidden = np.maximum(inputs @ rng.normal(size=[20, 16]), 0)
  return inputs, np.argmax(hidden @ rng.normal(size=[16, 5]), axis=1)


def train(optimizer, inputs, labels):
  """Makes 100 steps on a new model, and returns the model."""
  keras.utils.set_random_seed(0)  # The same initial weights for all.
  model = keras.Sequential([
      keras.Input([20]),
      keras.layers.Dense(20, activation="sigmoid"),
      keras.layers.Dense(5)])
  model.compile(
      optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
  model.fit(inputs, labels, batch_size=128, epochs=2, verbose=0)
  return model


inputs, labels = make_data(6400)
# Trained on networks with 20 hidden units that classify MNIST. It is not tuned.
model = train(meta.KerasLearnedOptimizer("paper-mnist"), inputs, labels)
print(f"Learned optimizer: {model.evaluate(inputs, labels, verbose=0):.3f}")
for rate in (0.001, 0.01, 0.03):
  adam = train(keras.optimizers.Adam(rate), inputs, labels)
  print(f"Adam, rate {rate}: {adam.evaluate(inputs, labels, verbose=0):.3f}")

# The model is saved together with its optimizer, and can be trained further.
model.save("classifier.keras")
model = keras.models.load_model("classifier.keras")
model.fit(inputs, labels, batch_size=128, epochs=1, verbose=0)
