"""The parameter-free shortcut of CIFAR ResNets."""

from typing import Any

import keras
from keras import ops

from .base import Shape, Tensor, register


@register
class PadShortcut(keras.layers.Layer):
    """Takes every `stride`-th pixel and pads the channels with zeros, the same number on both sides.

    Option A of the paper: a shortcut between stages that costs nothing. The paper does not say where the zeros go;
    they surround the channels, as in the widely used reimplementation whose weights are public (akamaster).

    Args:
        filters: number of channels that come out, at least as many as come in.
        stride: step in height and width.

    Call: `(inputs)`; (n, h, w, c); (n, ceil(h / stride), ceil(w / stride), filters) out, in the same dtype.

    Example:
        >>> PadShortcut(4, 2)(np.ones((1, 5, 5, 2), "float32")).shape == (1, 3, 3, 4)
        True

    Reference:
        He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition", section 3.3, option (A).
    """

    def __init__(self, filters: int, stride: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        for name, value in (("filters", filters), ("stride", stride)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"PadShortcut: expected {name} to be a positive integer, received {value!r}.")
        self.filters = filters
        self.stride = stride

    def _missing(self, shape: tuple[Any, ...]) -> tuple[int, int]:
        if shape[-1] is None:
            raise ValueError(f"PadShortcut: expected a known number of channels, received shape {tuple(shape)}.")
        missing = self.filters - shape[-1]
        if missing < 0:
            raise ValueError(f"PadShortcut: expected at most {self.filters} channels, received {shape[-1]}.")
        return missing // 2, missing - missing // 2

    def call(self, inputs: Tensor) -> Tensor:
        """Subsamples and pads; see the class."""
        pads = [(0, 0)] * 3 + [self._missing(inputs.shape)]
        return ops.pad(inputs[:, :: self.stride, :: self.stride], pads)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Height and width divided by the stride and rounded up; `filters` channels."""
        self._missing(input_shape)
        batch, height, width, _ = input_shape
        sizes = [None if size is None else -(-size // self.stride) for size in (height, width)]
        return (batch, *sizes, self.filters)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "stride": self.stride}
