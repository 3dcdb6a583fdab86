"""To -1..1, by a known range or by the data's own."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .base import Shape, Tensor, is_range, register
from .preprocessing import Preprocessing
from .standardize import feature_shape, not_constant


@register
class Squeeze(Preprocessing):
    """Maps a range of values to -1..1: the range that is known, or the one that `adapt` finds in the training data.

    For images of a fixed range this needs no data at all, and is what the MobileNets and Inception nets expect. A
    single outlier sets the range that is found in data: there `Standardize` is the safer choice. Neither changes the
    relation between channels; `Whitening` does.

    With a range it is `keras.layers.Rescaling(2 / (high - low), …)`, with an `inverse`.

    Args:
        value_range: what becomes -1 and 1; or None, and `adapt` is required. Calling `adapt` replaces it.
        axis: of what `adapt` finds: None for one range, "channel" for one a channel, "pixel" for one a pixel and
            channel.
        data_format: "channels_last", "channels_first", or None for Keras's default.

    Call: `(images)`; (n, h, w, c) or (h, w, c), any dtype; the same shape in the compute dtype. Never clips: values
    outside the range go beyond -1 and 1. A feature that never varied becomes 0. `layer.inverse(outputs)` undoes it.

    Example:
        >>> np.asarray(ops.convert_to_numpy(Squeeze()(np.array([[[0], [255]]], "uint8")))).ravel().tolist()
        [-1.0, 1.0]

    Reference:
        LeCun, Bottou, Orr, Müller 1998, "Efficient BackProp", section 4.3, on inputs around zero.
    """

    def __init__(
        self,
        value_range: Sequence[float] | None = (0, 255),
        axis: str | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format=data_format, **kwargs)
        if value_range is not None and not is_range(value_range):
            raise ValueError(f"Squeeze: expected value_range to be (low, high) or None, received {value_range!r}.")
        if axis not in (None, "channel", "pixel"):
            raise ValueError(f"Squeeze: expected axis to be None, 'channel' or 'pixel', received {axis!r}.")
        self.value_range = None if value_range is None else tuple(value_range)
        self.axis = axis

    def given(self) -> dict[str, Any] | None:
        """The middle and half the width of `value_range`."""
        if self.value_range is None:
            return None
        low, high = self.value_range
        return {"middles": (low + high) / 2, "halves": (high - low) / 2}

    def statistics_shapes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        """One middle and one half width a feature."""
        return dict.fromkeys(("middles", "halves"), feature_shape(self.axis, shape, "Squeeze"))

    def statistics(self, batches: Iterator[np.ndarray]) -> dict[str, np.ndarray]:
        """From the smallest and the largest value of each feature."""
        over = {None: (0, 1, 2, 3), "channel": (0, 1, 2), "pixel": (0,)}[self.axis]
        low, high = np.array(np.inf), np.array(-np.inf)
        for batch in batches:
            low, high = np.minimum(low, batch.min(axis=over)), np.maximum(high, batch.max(axis=over))
        middles = (low + high) / 2
        return {"middles": middles, "halves": not_constant((high - low) / 2, middles)}

    def transform(self, images: Tensor) -> Tensor:
        """Centres and divides."""
        return (images - self.weight("middles")) / self.weight("halves")

    def invert(self, outputs: Tensor) -> Tensor:
        """Multiplies and adds the middle."""
        return outputs * self.weight("halves") + self.weight("middles")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; what `adapt` found is in the weights."""
        return {
            **super().get_config(),
            "value_range": None if self.value_range is None else list(self.value_range),
            "axis": self.axis,
        }
