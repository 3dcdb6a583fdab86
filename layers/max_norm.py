"""Max-norm with the right axes: of dense layers and convolutions alike (Srebro et al. 2004, Hinton et al. 2012)."""

import math
from typing import Any

import keras
from keras import ops

from .base import Tensor, register


@register
class MaxNorm(keras.constraints.MaxNorm):
    """Keeps the norm of the weights that lead to each unit, or to each filter, at or below a bound.

    A regularizer that goes with dropout and large learning rates: weights can no longer run away, and are not pulled
    to zero as by weight decay. With batch normalization behind the layer, the norm of its weights has no effect on the
    output, and the constraint little.

    `keras.constraints.MaxNorm` (and the name "max_norm") sums over axis 0: right for a `Dense` kernel, wrong for that
    of a convolution, whose axis 0 is the height alone. Here all axes but the last are summed over, as a kernel's last
    axis counts its units or filters. The exceptions need `axis`: `(0, 1)` for a depthwise kernel (height, width,
    channels, multiplier; the zoo does that by itself), `(0, 1, 3)` for a transposed convolution.

    Weights within the bound are left bit for bit as they are; Keras's shrink a little at each step.

    Args:
        max_value: the bound, positive; 3 or 4 are usual.
        axis: "auto", all but the last; or an integer or a list of integers: the axes that are summed over.

    Call: `(w)`; a kernel; the same shape and dtype. A vector's elements are bounded one by one.

    Example:
        >>> kernel = MaxNorm(3)(np.ones((3, 3, 16, 8), "float32"))  # each filter's norm was 12
        >>> float(kernel[0, 0, 0, 0])
        0.25

    Reference:
        Srivastava et al. 2014, "Dropout", section 5.1; Wei 2015, "Must know tips/tricks in deep neural networks".
    """

    def __init__(self, max_value: float = 3, axis: str | int | list[int] | tuple[int, ...] = "auto"):
        if isinstance(max_value, bool) or not isinstance(max_value, int | float) or not 0 < max_value < math.inf:
            raise ValueError(f"MaxNorm: expected max_value to be positive, received {max_value!r}.")
        axes = axis if isinstance(axis, list | tuple) else [axis]
        if axis != "auto" and not (axes and all(isinstance(a, int) and not isinstance(a, bool) for a in axes)):
            raise ValueError(f"MaxNorm: expected axis to be 'auto', an integer or a list of them, received {axis!r}.")
        super().__init__(max_value, list(axis) if isinstance(axis, tuple) else axis)

    def __call__(self, w: Tensor) -> Tensor:
        """The kernel, its filters scaled down to the bound where they are above it."""
        w = ops.convert_to_tensor(w)
        axis = tuple(range(len(w.shape) - 1)) if self.axis == "auto" else self.axis
        wide = ops.cast(w, "float32") if ops.dtype(w) in ("float16", "bfloat16") else w  # squares overflow
        squares = ops.square(wide)
        norms = ops.sqrt(ops.sum(squares, axis=axis, keepdims=True) if axis != () else squares)
        scaled = ops.cast(wide * (self.max_value / ops.maximum(norms, self.max_value)), w.dtype)
        return ops.where(norms > self.max_value, scaled, w)

    def depthwise(self) -> "MaxNorm":
        """The same for the kernel of a depthwise convolution, in which each channel has filters of its own."""
        return MaxNorm(self.max_value, [0, 1]) if self.axis == "auto" else self

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"max_value": self.max_value, "axis": self.axis}
