"""Max pooling whose last window may hang over the edge, as in Caffe."""

from typing import Any

import keras
from keras import ops

from .base import Shape, Tensor, register


@register
class CeilMaxPooling2D(keras.layers.MaxPooling2D):
    """Max pooling with the output size rounded up: ceil((n - pool) / stride) + 1.

    Keras's "valid" rounds down; its "same" pads both sides, also where Caffe pads none: 113 pixels pooled by 3 with
    stride 2 give 57 there, and 56 in Caffe. SqueezeNet and GoogLeNet were trained with this rounding.

    Args:
        pool_size: as in `keras.layers.MaxPooling2D`.
        strides: at most `pool_size`, so that no window lies outside the image.
        kwargs: as in `keras.layers.MaxPooling2D`, without `padding`.

    Call: `(inputs)`; (n, h, w, c) or channels first; the same rank and dtype.

    Example:
        >>> CeilMaxPooling2D(3, 2)(np.zeros((1, 56, 113, 8), "float32")).shape == (1, 28, 56, 8)
        True
    """

    def __init__(self, pool_size: int | tuple[int, int] = 3, strides: int | tuple[int, int] | None = 2, **kwargs: Any):
        if kwargs.pop("padding", "valid") != "valid":
            raise ValueError("CeilMaxPooling2D: expected no padding argument: the size is rounded up instead.")
        super().__init__(pool_size=pool_size, strides=strides, padding="valid", **kwargs)
        if any(s > p for s, p in zip(self.strides, self.pool_size, strict=True)):
            raise ValueError(
                f"CeilMaxPooling2D: expected strides of at most pool_size={self.pool_size}, received {self.strides}."
            )

    def call(self, inputs: Tensor) -> Tensor:
        """Pads by stride - 1 at the end: enough for every size, never enough for a window of padding only."""
        ends = [(0, stride - 1) for stride in self.strides]
        first = self.data_format == "channels_first"
        sizes = inputs.shape[2:4] if first else inputs.shape[1:3]
        for size, pool, stride in zip(sizes, self.pool_size, self.strides, strict=True):
            if size is not None and size + stride - 1 < pool:
                raise ValueError(
                    f"CeilMaxPooling2D: expected images of at least {pool - stride + 1} pixels, received shape "
                    f"{tuple(inputs.shape)}: take larger images, or a network of smaller stride."
                )
        pads = [(0, 0), (0, 0), *ends] if first else [(0, 0), *ends, (0, 0)]
        return super().call(ops.pad(inputs, pads, constant_values=float("-inf")))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Sizes rounded up."""
        axes = (2, 3) if self.data_format == "channels_first" else (1, 2)
        shape = list(input_shape)
        for axis, pool, stride in zip(axes, self.pool_size, self.strides, strict=True):
            if shape[axis] is not None:
                shape[axis] = -((pool - shape[axis]) // stride) + 1
        return tuple(shape)

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """As `compute_output_shape`."""
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=inputs.dtype)
