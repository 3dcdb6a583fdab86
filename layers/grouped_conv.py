"""Convolution in groups, quick on processors, too (Krizhevsky et al. 2012, "ImageNet Classification", section 3.5)."""

import keras
from keras import ops

from .base import Tensor, register


@register
class GroupedConv2D(keras.layers.Conv2D):
    """Convolution in `groups`: that many of Keras's, each of its share of the channels, side by side.

    The numbers and the weights are those of Keras's layer, which on processors leaves groups to XLA, on TensorFlow and
    on JAX alike, and takes several times as long over half of the work (benchmarks/layers.py). For the two groups of
    AlexNet, or for a few; with one channel a group use `keras.layers.DepthwiseConv2D`.

    Args:
        args: of `keras.layers.Conv2D`.
        kwargs: as there; `groups` divides the channels of inputs and outputs.

    Call: `(inputs)`; (n, h, w, c) or channels first; as Keras's layer.

    Example:
        >>> import numpy as np
        >>> GroupedConv2D(6, 3, groups=2)(np.zeros((1, 5, 5, 4), "float32")).shape == (1, 3, 3, 6)
        True
    """

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Each group's convolution, side by side."""
        axis = 1 if self.data_format == "channels_first" else -1
        parts = zip(ops.split(inputs, self.groups, axis), ops.split(kernel, self.groups, -1), strict=True)
        return ops.concatenate([super(GroupedConv2D, self).convolution_op(*part) for part in parts], axis)
