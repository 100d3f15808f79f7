"""What the tests give the folder of a run."""

import numpy as np
import tensorflow as tf

import meta
from meta import diagnostics
import problems

SETTINGS = {
    "problem": "simple", "num_steps": 2, "learning_rate": 0.5, "stagger": False,
    "layers": None, "jit_compile": None}


def make_trainer(layers=(), scale=1., problem=None, **settings):
  """A trainer that has not been compiled; its networks are of one layer."""
  return meta.Trainer(
      problem or problems.Simple(), meta.MetaOptimizer(cw={
          "net": "CoordinateWiseDeepLSTM",
          "net_options": {"layers": layers, "scale": scale}}),
      meta.Settings(num_steps=2, unroll_length=1, learning_rate=0.5,
                    **settings))


def make_epoch(number=1, gradient_norms=(1., 3.)):
  return meta.Epoch(number=number, final_loss=0.25, meta_loss=0.75,
                    gradient_norms=list(gradient_norms), seconds=0.5,
                    num_steps=2)


def make_validation(epoch=1, losses=((4., 3., 2.), (2., 2., 1.)),
                    improved=True):
  trace = diagnostics.Trace(
      *(tf.constant(pair, tf.float64) for pair in (
          (4., 3.), (1., 2.), (.1, .3), (0., 1.))),
      {"saturated": tf.constant([.5, .7], tf.float64)})
  return meta.Validation(
      epoch, np.float32(losses), trace, improved, seconds=1.)
