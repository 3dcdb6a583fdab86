"""PReLU with one slope a channel (He et al. 2015, arXiv 1502.01852)."""

from typing import Any

import keras

from .base import Shape, register
from .owner import build_with_owner


@register
class PReLU(keras.layers.PReLU):
    """Leaky ReLU whose slopes are learned, one a channel, whatever the rank and size of the input.

    Keras's has a slope for each pixel unless told the axes, and starts at 0. Meant for large data; on small sets the
    slopes can overfit, where `RReLU` regularizes. Do not decay the slopes: decay pulls them to ReLU.

    Args:
        slope: for negative inputs, at the start; the paper's .25. A lower one, .1, is nearer to ReLU.
        axis: of the channels, -1 for channels last.
        kwargs: as in `keras.layers.PReLU`, without `shared_axes` and `alpha_initializer`.

    Call: `(inputs)`; any rank from 2, floating dtype; the same shape and dtype out.

    Example:
        >>> layer = PReLU(0.1)
        >>> layer.build((None, 8, 8, 3))
        >>> tuple(layer.alpha.shape)
        (1, 1, 3)

    Reference:
        He, Zhang, Ren, Sun 2015, "Delving Deep into Rectifiers", section 2.1.
    """

    def __init__(self, slope: float = 0.25, axis: int = -1, **kwargs: Any):
        for fixed in ("shared_axes", "alpha_initializer"):
            if kwargs.pop(fixed, None) is not None:
                raise ValueError(
                    f"PReLU: expected no {fixed}; slope and axis say the same. Or take keras.layers.PReLU."
                )
        if isinstance(slope, bool) or not isinstance(slope, int | float) or not -1 <= slope <= 1:
            raise ValueError(f"PReLU: expected slope to be a number from -1 to 1, received {slope!r}.")
        if isinstance(axis, bool) or not isinstance(axis, int) or axis == 0:
            raise ValueError(f"PReLU: expected axis to be an integer other than 0 (the batch), received {axis!r}.")
        super().__init__(alpha_initializer=keras.initializers.Constant(slope), **kwargs)
        self.slope = slope
        self.axis = axis
        build_with_owner(self)

    def build(self, input_shape: Shape) -> None:
        """Makes the slopes, of shape (1, …, channels)."""
        rank = len(input_shape)
        if not -rank < self.axis < rank or input_shape[self.axis] is None:
            raise ValueError(
                f"PReLU: expected a known length on axis {self.axis}, received shape {tuple(input_shape)}."
            )
        self.shared_axes = [axis for axis in range(1, rank) if axis != self.axis % rank]
        super().build(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {**super().get_config(), "slope": self.slope, "axis": self.axis}
        return {key: value for key, value in config.items() if key not in ("shared_axes", "alpha_initializer")}
