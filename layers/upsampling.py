"""Layers that bring coarse maps back to the resolution of the image; none of them has weights."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from .base import Shape, Tensor, register

PADDINGS = ("same", "valid")
EDGES = ("zero", "repeat")


@register
class BilinearUpsampling2D(keras.layers.Layer):
    """Bilinear interpolation as Caffe's transposed convolution with a fixed kernel computes it.

    Caffe's layer has a stride of `factor`, a kernel of 2 * factor - factor % 2 pixels, one for each channel. What lies
    outside of the map is zero, so that the outermost factor / 2 pixels fade; `edges="repeat"` repeats the border
    instead, as `keras.layers.UpSampling2D` does. Nothing is trained, and there is no kernel to store.

    Args:
        factor: how many pixels of height and width each becomes.
        padding: "same", height and width times `factor`; or "valid", all that the kernels reach, as Caffe's layer
            without padding: (n + 1) * factor for an even factor.
        edges: "zero" as in Caffe, or "repeat".

    Call: `(inputs)`; images (n, h, w, c); (n, h * factor, w * factor, c) out with "same"; dtype of the policy.

    Example:
        >>> x = np.float32([0, 1]).reshape(1, 1, 2, 1)
        >>> np.asarray(BilinearUpsampling2D(2, edges="repeat")(x))[0, 0, :, 0].tolist()
        [0.0, 0.25, 0.75, 1.0]

    Reference:
        Long, Shelhamer, Darrell 2015, "Fully Convolutional Networks for Semantic Segmentation", section 3.3.
    """

    def __init__(self, factor: int, padding: str = "same", edges: str = "zero", **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = _positive(factor, "factor", "BilinearUpsampling2D")
        for name, value, (one, other) in (("padding", padding, PADDINGS), ("edges", edges, EDGES)):
            if value not in (one, other):
                raise ValueError(
                    f"BilinearUpsampling2D: expected {name} to be {one!r} or {other!r}, received {value!r}."
                )
        self.padding = padding
        self.edges = edges

    @property
    def _beyond(self) -> int:
        """Pixels beyond each side of the enlarged map that "valid" gives out."""
        return self.factor // 2 if self.padding == "valid" else 0

    def call(self, inputs: Tensor) -> Tensor:
        """Interpolates; see the class."""
        return self._stretch(self._stretch(inputs, 1), 2)

    def _stretch(self, x: Tensor, axis: int) -> Tensor:
        """Along one axis: each new pixel lies between an old one and the one before or after it."""
        factor, beyond = self.factor, self._beyond
        offset = (np.arange(factor) + 0.5) / factor - 0.5  # from the old pixel, in old pixels
        shares = np.stack([np.maximum(-offset, 0), 1 - np.abs(offset), np.maximum(offset, 0)]).astype("float32")
        margin = 2 if beyond else 1
        pads = [(margin, margin) if number == axis else (0, 0) for number in range(4)]
        size = _size(x, axis) + 2 * (margin - 1)
        if self.edges == "repeat":
            first, last = (ops.take(x, [end], axis=axis) for end in (0, -1))
            x = ops.concatenate([first] * margin + [x] + [last] * margin, axis=axis)
        else:
            x = ops.pad(x, pads)
        wide = 0
        for start, share in enumerate(shares):
            part = _cut(x, axis, start, size)
            shape = [1] * 5
            shape[axis + 1] = factor
            wide = wide + ops.expand_dims(part, axis + 1) * ops.cast(share.reshape(shape), x.dtype)
        target = [_size(x, number) for number in range(4)]
        target[axis] = size * factor
        target[0] = -1
        return _cut(ops.reshape(wide, target), axis, factor - beyond if beyond else 0, self._length(size, beyond))

    def _length(self, size: Any, beyond: int) -> Any:
        return (size - 2) * self.factor + 2 * beyond if beyond else size * self.factor

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Height and width multiplied."""
        batch, *sizes, channels = input_shape
        grown = [None if size is None else size * self.factor + 2 * self._beyond for size in sizes]
        return (batch, *grown, channels)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "factor": self.factor, "padding": self.padding, "edges": self.edges}


@register
class DepthToSpace(keras.layers.Layer):
    """Channels become pixels: each pixel a square of `block` times `block`, with as many times fewer channels.

    The order is TensorFlow's, on every backend: channel (row * block + column) * c + k goes to channel k.

    Args:
        block: height and width of the squares.

    Call: `(inputs)`; (n, h, w, block * block * c); (n, h * block, w * block, c) out, in the same dtype.

    Example:
        >>> np.asarray(DepthToSpace(2)(np.arange(4, dtype="float32").reshape(1, 1, 1, 4)))[0, ..., 0].tolist()
        [[0.0, 1.0], [2.0, 3.0]]

    Reference:
        Shi et al. 2016, arXiv 1609.05158, section 3.2.
    """

    def __init__(self, block: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.block = _positive(block, "block", "DepthToSpace")

    def call(self, inputs: Tensor) -> Tensor:
        """Rearranges; see the class."""
        self.compute_output_shape(inputs.shape)
        return ops.depth_to_space(inputs, self.block, data_format="channels_last")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Height and width multiplied, channels divided."""
        batch, *sizes, channels = input_shape
        if channels is None or channels % self.block**2:
            raise ValueError(
                f"DepthToSpace: expected a multiple of {self.block**2} channels, received shape {tuple(input_shape)}."
            )
        grown = [None if size is None else size * self.block for size in sizes]
        return (batch, *grown, channels // self.block**2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "block": self.block}


@register
class CropLike(keras.layers.Layer):
    """Cuts a map to the height and width of another, which may be known only when the model runs.

    Args:
        offset: pixels that are left out at the top and at the left.

    Call: `([inputs, like])`; (n, h, w, c) and (n, height, width, any); (n, height, width, c) out, in the same dtype.

    Example:
        >>> CropLike(1)([np.ones((1, 8, 8, 3), "float32"), np.ones((1, 5, 6, 1), "float32")]).shape == (1, 5, 6, 3)
        True

    Reference:
        Long, Shelhamer, Darrell 2015, "Fully Convolutional Networks for Semantic Segmentation"; Caffe's layer `Crop`.
    """

    def __init__(self, offset: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
            raise ValueError(f"CropLike: expected offset to be an integer of at least 0, received {offset!r}.")
        self.offset = offset

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Cuts; see the class."""
        x, like = inputs
        self.compute_output_shape([tuple(x.shape), tuple(like.shape)])
        for axis in (1, 2):
            x = _cut(x, axis, self.offset, _size(like, axis))
        return x

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """The height and width of the second; the rest of the first."""
        (batch, *sizes, channels), like = input_shape
        for size, wanted in zip(sizes, like[1:3], strict=True):
            if size is not None and wanted is not None and size < wanted + self.offset:
                raise ValueError(
                    f"CropLike: expected maps of at least {wanted + self.offset} pixels for an offset of "
                    f"{self.offset}, received shapes {[tuple(shape) for shape in input_shape]}."
                )
        return (batch, *like[1:3], channels)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "offset": self.offset}


def _positive(value: Any, name: str, layer: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{layer}: expected {name} to be a positive integer, received {value!r}.")
    return value


def _size(x: Tensor, axis: int) -> Any:
    """A number where it is known, else a tensor."""
    return x.shape[axis] if x.shape[axis] is not None else ops.shape(x)[axis]


def _cut(x: Tensor, axis: int, start: int, size: Any) -> Tensor:
    """`size` pixels of an axis, from `start` on."""
    return x[(slice(None),) * axis + (slice(start, start + size),)]
