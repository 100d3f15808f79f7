"""Types that problems and networks share."""

import tensorflow as tf

Params = dict[str, tf.Tensor]
"""Named tensors of any shapes: parameters, gradients or updates."""
