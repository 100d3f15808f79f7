"""Tests of few steps, which take less time than tracing them."""

import tensorflow as tf


def run_eagerly(test):
  """Runs functions of TensorFlow without graphs until a test is over."""
  tf.config.run_functions_eagerly(True)
  test.addCleanup(tf.config.run_functions_eagerly, False)
