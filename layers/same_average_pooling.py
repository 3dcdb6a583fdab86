"""Average pooling that is the same on every backend."""

from typing import Any

import keras
import numpy as np
from keras import ops

from .base import Shape, Tensor, register


@register
class SameAveragePooling2D(keras.layers.AveragePooling2D):
    """Average pooling with "same" padding: the mean of those pixels of a window that lie in the image.

    Keras 3.15 computes this on TensorFlow and JAX; on PyTorch it repeats the pixels at the edge and counts them, where
    the padding is not alike on both sides. Weights trained on one backend then give other outputs on another. With a
    window as large as its stride, on images that it divides, there is no padding, and Keras's layer will do.

    Args:
        pool_size: as in `keras.layers.AveragePooling2D`.
        strides: as there.
        kwargs: as there, without `padding`.

    Call: `(inputs)`; (n, h, w, c) or channels first; the same rank and dtype, sizes divided by the stride, rounded up.

    Example:
        >>> x = np.arange(4, dtype="float32").reshape(1, 1, 4, 1)
        >>> np.asarray(SameAveragePooling2D((1, 3), (1, 2))(x), float).ravel().tolist()
        [1.0, 2.5]
    """

    def __init__(self, pool_size: int | tuple[int, int], strides: int | tuple[int, int] | None = None, **kwargs: Any):
        if kwargs.pop("padding", "same") != "same":
            raise ValueError("SameAveragePooling2D: expected no padding argument: it is 'same'.")
        super().__init__(pool_size, strides, padding="same", **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        """Pools; see the class."""
        if keras.backend.backend() != "torch":
            return super().call(inputs)
        first = self.data_format == "channels_first"
        axes = (2, 3) if first else (1, 2)
        pads, shares = [(0, 0)] * 4, []
        for axis, window, stride in zip(axes, self.pool_size, self.strides, strict=True):
            size = inputs.shape[axis]
            count = -(-size // stride)
            total = max((count - 1) * stride + window - size, 0)
            pads[axis] = (total // 2, total - total // 2)
            starts = np.arange(count) * stride - total // 2
            shares.append((np.minimum(starts + window, size) - np.maximum(starts, 0)) / window)
        means = ops.average_pool(ops.pad(inputs, pads), self.pool_size, self.strides, "valid", self.data_format)
        share = np.outer(*shares).astype("float32")[None]  # of each window, in the image
        return ops.divide(means, ops.cast(share[:, None] if first else share[..., None], means.dtype))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up."""
        axes = (2, 3) if self.data_format == "channels_first" else (1, 2)
        shape = list(input_shape)
        for axis, stride in zip(axes, self.strides, strict=True):
            if (size := shape[axis]) is not None:
                shape[axis] = -(-size // stride)
        return tuple(shape)

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """As `compute_output_shape`."""
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=inputs.dtype)
