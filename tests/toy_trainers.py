"""Trainers of small networks."""

import os
import tempfile

from meta import meta_optimizer, settings, trainer
import problems

SEED = 7
PROBLEM = problems.Quadratic(2, 2, stddev=1.)


def make(problem=PROBLEM, num_steps=4, unroll_length=2, **options):
  """A trainer of a small network."""
  optimizer = meta_optimizer.MetaOptimizer(net={
      "net": "CoordinateWiseDeepLSTM",
      "net_options": {"layers": (), "scale": 0.1}})
  return trainer.Trainer(problem, optimizer, settings.Settings(**{
      "num_steps": num_steps, "unroll_length": unroll_length,
      "learning_rate": 0.01, "seed": SEED, "evaluation_epochs": 1,
      "jit_compile": False, **options}))


def weights(trained):
  return [v.numpy() for v in trained.meta_step.network.variables]


def without_time(epoch):
  return epoch._replace(seconds=0.)


def restore(trained, saved):
  """Gives a trainer the checkpoint of another, which is used as a whole."""
  with tempfile.TemporaryDirectory() as folder:
    trained.checkpoint().read(saved.checkpoint().write(
        os.path.join(folder, "checkpoint"))).assert_consumed()
