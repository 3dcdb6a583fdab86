"""Zero mean and unit deviation, per channel or per pixel."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .base import Shape, Tensor, register
from .preprocessing import Preprocessing, moments

AXES = ("channel", "pixel")


@register
class Standardize(Preprocessing):
    """Subtracts the training data's mean and divides by its standard deviation.

    The usual first layer: gradients are better scaled, and one learning rate suits all inputs. Per channel (three
    numbers for RGB) is what papers do and takes images of any size; per pixel ("the mean image") suits images that are
    aligned, such as faces or digits, and needs a fixed size. Before a first layer that is followed by batch
    normalization it changes little.

    It differs from `keras.layers.Normalization`: there is `inverse`; a feature that never varies is centred and not
    divided by 1e-7; sums are in float64; what a checkpoint restores is used; and before `adapt` it raises, where
    Keras's passes images through unchanged.

    Args:
        axis: "channel" for one mean and deviation a channel, "pixel" for one a pixel and channel.
        mean: the data's mean where it is known, a number or one a channel; together with `std`.
        std: the data's standard deviation.
        data_format: "channels_last", "channels_first", or None for Keras's default.

    Call: `(images)`; (n, h, w, c) or (h, w, c), any dtype and range; the same shape in the compute dtype.
    `layer.inverse(outputs)` undoes it.

    Example:
        >>> images = np.random.default_rng(0).uniform(0, 255, (64, 8, 8, 3))
        >>> layer = Standardize()
        >>> layer.adapt(images)
        >>> bool(abs(ops.std(layer(images)) - 1) < 1e-3)
        True

    Reference:
        LeCun, Bottou, Orr, Müller 1998, "Efficient BackProp", section 4.3.
    """

    def __init__(
        self,
        axis: str = "channel",
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format=data_format, **kwargs)
        if axis not in AXES:
            raise ValueError(f"Standardize: expected axis to be 'channel' or 'pixel', received {axis!r}.")
        if (mean is None) != (std is None):
            raise ValueError("Standardize: expected mean and std together, received only one of them.")
        if std is not None and not (np.asarray(std) > 0).all():
            raise ValueError(f"Standardize: expected std to be positive, received {std!r}.")
        self.axis = axis
        self.mean = None if mean is None else np.asarray(mean, "float64").tolist()
        self.std = None if std is None else np.asarray(std, "float64").tolist()

    def given(self) -> dict[str, Any] | None:
        """Mean and deviation, where the arguments state them."""
        return None if self.mean is None else {"means": self.mean, "deviations": self.std}

    def statistics_shapes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        """One mean and one deviation a feature."""
        return dict.fromkeys(("means", "deviations"), feature_shape(self.axis, shape, "Standardize"))

    def statistics(self, batches: Iterator[np.ndarray]) -> dict[str, np.ndarray]:
        """Mean and standard deviation (divided by N) of each feature; 1 for what does not vary."""
        size: list[tuple[int, ...]] = []

        def rows():
            for batch in batches:
                size[:] = [feature_shape(self.axis, batch.shape[1:], "Standardize")]
                yield batch.reshape(-1, int(np.prod(size[0])))

        means, variances = moments(rows(), covariance=False)
        deviations = not_constant(np.sqrt(variances), means)
        return {"means": means.reshape(size[0]), "deviations": deviations.reshape(size[0])}

    def transform(self, images: Tensor) -> Tensor:
        """Centres and divides."""
        return (images - self.weight("means")) / self.weight("deviations")

    def invert(self, outputs: Tensor) -> Tensor:
        """Multiplies and adds the mean."""
        return outputs * self.weight("deviations") + self.weight("means")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; what `adapt` found is in the weights."""
        return {**super().get_config(), "axis": self.axis, "mean": self.mean, "std": self.std}


def feature_shape(axis: str | None, shape: Shape, layer: str) -> tuple[int, ...]:
    """Of (height, width, channels), those that a statistic has a value for each."""
    if axis is None:
        return ()
    kept = shape[-1:] if axis == "channel" else shape
    if None in kept:
        raise ValueError(f"{layer}: axis={axis!r} expects images of a fixed size, received {shape}.")
    return tuple(int(size) for size in kept if size is not None)


def not_constant(width: np.ndarray, level: np.ndarray) -> np.ndarray:
    """`width`, and 1 where it is nothing but the rounding of float32 numbers as large as `level`."""
    return np.where(width > 1e-7 * np.abs(level), width, 1.0)
