"""Measurements of speed and memory."""

# First, as its settings must be made before TensorFlow is imported.
from l2lgd import commands as commands
