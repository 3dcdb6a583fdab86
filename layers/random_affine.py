"""Rotation, zoom, shift and mirroring in one resampling."""

from typing import Any

import keras
import numpy as np
from keras import ops

from .augmentation import Augmentation
from .base import Tensor, is_number, register
from .draws import uniform
from .geometry import about_centre, check_fill, mirror, product, resample, turn


@register
class RandomAffine(Augmentation):
    """Rotates, scales and shifts each image by its own draw, with a single interpolation.

    Keras's RandomRotation, RandomZoom and RandomTranslation in a row resample, and blur, three times.

    Args:
        rotation: largest angle in degrees, drawn uniformly from [-rotation, rotation].
        zoom: largest relative change of size; .1 draws a factor from [1/1.1, 1.1], uniformly in its logarithm.
        shift: largest shift as a share of the height and of the width, drawn for each.
        flip: whether to mirror left and right, half of the time.
        fill_mode: what lies outside: "nearest", "constant", "reflect" or "wrap" (see `keras.ops.image`).
        fill_value: for "constant".
        interpolation: "bilinear", which blurs a little; "nearest", which takes pixels as they are; None for "nearest"
            where images are only shifted and mirrored, by whole pixels then, and "bilinear" where they are turned or
            scaled.
        seed: integer or None.
        data_format: "channels_last", "channels_first", or None for Keras's default.

    Call: `(images, training=True)`; (n, h, w, c) or (h, w, c), any dtype and range; the same shape in the compute
    dtype. On TensorFlow not under XLA (as Keras's own), so `jit_compile="auto"` leaves it off.

    Example:
        >>> RandomAffine(rotation=10, shift=0.1, seed=1)(np.zeros((2, 8, 8, 1), "uint8")).shape == (2, 8, 8, 1)
        True
    """

    def __init__(
        self,
        rotation: float = 0.0,
        zoom: float = 0.0,
        shift: float = 0.0,
        flip: bool = False,
        fill_mode: str = "nearest",
        fill_value: float = 0.0,
        interpolation: str | None = None,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        # TensorFlow has no XLA kernel for its projective transform; jit_compile="auto" heeds this
        self.supports_jit = keras.backend.backend() != "tensorflow"
        for name, value in (("rotation", rotation), ("zoom", zoom), ("shift", shift)):
            if not is_number(value) or value < 0:
                raise ValueError(f"RandomAffine: expected {name} to be a number of at least 0, received {value!r}.")
        if not isinstance(flip, bool):
            raise ValueError(f"RandomAffine: expected flip to be True or False, received {flip!r}.")
        check_fill(fill_mode, fill_value, "RandomAffine")
        if interpolation not in (None, "bilinear", "nearest"):
            raise ValueError(
                f"RandomAffine: expected interpolation 'bilinear', 'nearest' or None, received {interpolation!r}."
            )
        self.rotation = rotation
        self.zoom = zoom
        self.shift = shift
        self.flip = flip
        self.fill_mode = fill_mode
        self.fill_value = fill_value
        self.interpolation = interpolation or ("bilinear" if rotation or zoom else "nearest")

    def augment(self, images: Tensor, seeds: Tensor) -> Tensor:
        """The pure function: one draw of angle, factor, shifts and mirroring for each image."""
        first = self.data_format == "channels_first"
        height, width = ops.shape(images)[2:4] if first else ops.shape(images)[1:3]
        matrices = self.matrices(seeds, height, width)
        return resample(images, matrices, self.fill_mode, self.fill_value, self.data_format, self.interpolation)

    def matrices(self, seeds: Tensor, height: int | Tensor, width: int | Tensor) -> Tensor:
        """float32 (n, 8): for each output pixel the input pixel to take, as in `keras.ops.image.affine_transform`."""
        draw = uniform(seeds, 5, -1.0, 1.0)
        linear = turn(draw[:, 0] * (self.rotation * np.pi / 180), ops.exp(draw[:, 1] * float(np.log1p(self.zoom))))
        if self.flip:
            linear = product(mirror(ops.where(draw[:, 4] < 0, -1.0, 1.0)), linear)
        return about_centre(linear, draw[:, 2] * self.shift, draw[:, 3] * self.shift, height, width)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("rotation", "zoom", "shift", "flip", "fill_mode", "fill_value", "interpolation")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
