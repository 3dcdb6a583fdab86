"""Maxout (Goodfellow et al. 2013, arXiv 1302.4389)."""

import functools
from typing import Any

import keras
from keras import ops

from .base import Shape, Tensor, register
from .owner import build_with_owner


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
        pieces: in place of `units`: how many channels compete for each that remains.

    Call: `(inputs)`; any rank from 2; the axis becomes `units` long, the dtype stays.

    Example:
        >>> np.asarray(Maxout(2)(np.arange(6, dtype="float32")[None])).tolist()
        [[4.0, 5.0]]

    Reference:
        Goodfellow et al. 2013, "Maxout Networks", section 3. Grouping: `tfa.layers.Maxout`, 0.23.
    """

    def __init__(self, units: int | None = None, axis: int = -1, pieces: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if (units is None) == (pieces is None):
            raise ValueError(f"Maxout: expected either units or pieces, received units={units!r}, pieces={pieces!r}.")
        for name, value in (("units", units), ("pieces", pieces)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"Maxout: expected {name} to be a positive integer, received {value!r}.")
        if isinstance(axis, bool) or not isinstance(axis, int) or axis == 0:
            raise ValueError(f"Maxout: expected axis to be an integer other than 0 (the batch), received {axis!r}.")
        self.units = units
        self.axis = axis
        self.pieces = pieces
        build_with_owner(self)

    def _groups(self, shape: Shape) -> tuple[int, int, int]:
        """The axis counted from the front, how many channels compete for each unit, and the number of units."""
        if not -len(shape) < self.axis < len(shape):
            raise ValueError(f"Maxout: expected inputs that have axis {self.axis}, received shape {tuple(shape)}.")
        axis = self.axis % len(shape)
        channels = shape[axis]
        name, number = ("units", self.units) if self.units is not None else ("pieces", self.pieces or 1)
        if channels is None or channels % number:
            raise ValueError(
                f"Maxout: expected the length of axis {self.axis} to be a multiple of {name}={number}, "
                f"received {channels} (shape {tuple(shape)})."
            )
        other = channels // number
        return (axis, other, number) if self.pieces is None else (axis, number, other)

    def call(self, inputs: Tensor) -> Tensor:
        """Applies the maximum; see the class."""
        axis, pieces, units = self._groups(inputs.shape)
        # by halves, as fast as a maximum over an axis of the pieces, and right for empty batches on every backend
        odd = []
        while pieces > 1:
            if pieces % 2:
                inputs, last = ops.split(inputs, [(pieces - 1) * units], axis=axis)
                odd.append(last)
            inputs = ops.maximum(*ops.split(inputs, 2, axis=axis))
            pieces //= 2
        return functools.reduce(ops.maximum, odd, inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's shape with the number of units on the axis."""
        axis, _, units = self._groups(input_shape)
        return (*input_shape[:axis], units, *input_shape[axis + 1 :])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "units": self.units, "axis": self.axis, "pieces": self.pieces}
