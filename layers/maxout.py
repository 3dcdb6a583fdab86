"""Maxout (Goodfellow et al. 2013, arXiv 1302.4389)."""

from typing import Any

import keras
from keras import ops

from .base import Shape, Tensor, register


@register
class Maxout(keras.layers.Layer):
    """The maximum over groups of channels: a learned convex activation, and competition between features.

    Put it after a dense or convolutional layer without an activation of its own. With k channels a unit it can bend
    k - 1 times, for k times the weights of the layer before it.

    The grouping is tensorflow-addons': unit u competes over the channels u, u + units, u + 2 * units, … (strided, not
    contiguous).

    Args:
        units: number of channels that remain; must divide the number that comes in.
        axis: the axis to reduce, -1 for channels last.

    Call: `(inputs)`; any rank from 2; the axis becomes `units` long, the dtype stays.

    Example:
        >>> np.asarray(Maxout(2)(np.arange(6, dtype="float32")[None])).tolist()
        [[4.0, 5.0]]

    Reference:
        Goodfellow et al. 2013, "Maxout Networks", section 3. Grouping: `tfa.layers.Maxout`, 0.23.
    """

    def __init__(self, units: int, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise ValueError(f"Maxout: expected units to be a positive integer, received {units!r}.")
        if isinstance(axis, bool) or not isinstance(axis, int) or axis == 0:
            raise ValueError(f"Maxout: expected axis to be an integer other than 0 (the batch), received {axis!r}.")
        self.units = units
        self.axis = axis

    def _groups(self, shape: Shape) -> tuple[int, int]:
        """The axis counted from the front, and how many channels compete for each unit."""
        if not -len(shape) < self.axis < len(shape):
            raise ValueError(f"Maxout: expected inputs that have axis {self.axis}, received shape {tuple(shape)}.")
        axis = self.axis % len(shape)
        channels = shape[axis]
        if channels is None or channels % self.units:
            raise ValueError(
                f"Maxout: expected the length of axis {self.axis} to be a multiple of units={self.units}, "
                f"received {channels} (shape {tuple(shape)})."
            )
        return axis, channels // self.units

    def call(self, inputs: Tensor) -> Tensor:
        """Applies the maximum; see the class."""
        axis, pieces = self._groups(inputs.shape)
        shape = ops.shape(inputs)
        grouped = ops.reshape(inputs, (*shape[:axis], pieces, self.units, *shape[axis + 1 :]))
        return ops.max(grouped, axis=axis)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's shape with `units` on the axis."""
        axis, _ = self._groups(input_shape)
        return (*input_shape[:axis], self.units, *input_shape[axis + 1 :])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "units": self.units, "axis": self.axis}
