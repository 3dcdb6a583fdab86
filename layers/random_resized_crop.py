"""Crops of random place, size and shape (Szegedy et al. 2014, "Going Deeper with Convolutions", section 6)."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from .augmentation import Augmentation
from .base import Tensor, is_number, register
from .draws import uniform
from .geometry import about_centre, resample


@register
class RandomResizedCrop(Augmentation):
    """Enlarges a random part of each image to the whole image's size.

    The augmentation that ImageNet's networks are trained with: things appear at all sizes and places, and often in
    part. It suits photographs, and long trainings. It harms where the class is in the whole or in its size, and where
    a small image's half shows nothing: there, start from `RandomAffine(shift=.1)`.

    The images must have one size already: what is cut out of them is enlarged, bilinear, and less sharp than a crop of
    the original photograph would be.

    Args:
        area: smallest and largest share of the image's area, each above 0 and at most 1; drawn uniformly.
        aspect: smallest and largest width by height, both as shares of the image's; drawn uniformly in its logarithm.
            A side that would be longer than the image's is as long as it.
        flip: whether to mirror left and right, half of the time.
        seed: integer or None.
        data_format: "channels_last", "channels_first", or None for Keras's default.

    Call: `(images, training=True)`; (n, h, w, c) or (h, w, c), any dtype and range; the same shape in the compute
    dtype. On TensorFlow not under XLA (as Keras's own), so `jit_compile="auto"` leaves it off.

    Example:
        >>> RandomResizedCrop(seed=1)(np.zeros((2, 8, 8, 3), "uint8")).shape == (2, 8, 8, 3)
        True
    """

    def __init__(
        self,
        area: Sequence[float] = (0.08, 1.0),
        aspect: Sequence[float] = (3 / 4, 4 / 3),
        flip: bool = False,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        # TensorFlow has no XLA kernel for its projective transform; jit_compile="auto" heeds this
        self.supports_jit = keras.backend.backend() != "tensorflow"
        for name, value, most in (("area", area, 1.0), ("aspect", aspect, float("inf"))):
            pair = isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value))
            if not pair or not 0 < value[0] <= value[1] <= most:
                raise ValueError(
                    f"RandomResizedCrop: expected {name} to be (smallest, largest), above 0"
                    f"{' and at most 1' if most == 1 else ''}, received {value!r}."
                )
        if not isinstance(flip, bool):
            raise ValueError(f"RandomResizedCrop: expected flip to be True or False, received {flip!r}.")
        self.area = tuple(area)
        self.aspect = tuple(aspect)
        self.flip = flip

    def augment(self, images: Tensor, seeds: Tensor) -> Tensor:
        """The pure function: one draw of size, shape, place and mirroring for each image."""
        first = self.data_format == "channels_first"
        height, width = ops.shape(images)[2:4] if first else ops.shape(images)[1:3]
        matrices = self.matrices(seeds, height, width)
        return resample(images, matrices, data_format=self.data_format)

    def matrices(self, seeds: Tensor, height: int | Tensor, width: int | Tensor) -> Tensor:
        """float32 (n, 8): for each output pixel the input pixel to take, as in `keras.ops.image.affine_transform`."""
        draw = uniform(seeds, 5)
        area = self.area[0] + (self.area[1] - self.area[0]) * draw[:, 0]
        low, high = (float(np.log(bound)) for bound in self.aspect)
        aspect = ops.exp(low + (high - low) * draw[:, 1])
        wide = ops.minimum(ops.sqrt(area * aspect), 1.0)
        tall = ops.minimum(ops.sqrt(area / aspect), 1.0)
        # the crop's centre lies where the crop is within the image
        right, down = (draw[:, 2] - 0.5) * (1 - wide), (draw[:, 3] - 0.5) * (1 - tall)
        zero = ops.zeros_like(wide)
        sign = ops.where(draw[:, 4] < 0.5, -1.0, 1.0) if self.flip else 1.0
        return about_centre((wide * sign, zero, zero, tall), right, down, height, width)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("area", "aspect", "flip")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
