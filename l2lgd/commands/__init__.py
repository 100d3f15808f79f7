"""The programs `l2l-train`, `l2l-evaluate`, `l2l-export`, `l2l-reproduce`."""

# First, as its settings must be made before TensorFlow is imported.
from l2lgd.commands import startup as startup
