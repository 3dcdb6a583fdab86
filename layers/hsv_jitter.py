"""Colour jitter in hue, saturation and value (Dosovitskiy et al. 2014, as Wei's list of tricks tells it)."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from .augmentation import Augmentation
from .base import Tensor, is_number, is_range, register
from .draws import uniform


def hsv_jitter(
    images: Tensor,
    seeds: Tensor,
    power: Sequence[float] = (0.25, 4),
    factor: Sequence[float] = (0.7, 1.4),
    shift: float = 0.1,
    hue: float = 0.1,
    value_range: Sequence[float] = (0, 255),
    channel_axis: int = -1,
) -> Tensor:
    """Draws an image's power, factor and shift for saturation and value, and its turn of the hue; see `adjust_hsv`.

    Args:
        images: float, rank 4, RGB on `channel_axis`.
        seeds: int32, shape (n,).
        power: bounds of the powers, drawn uniformly in their logarithm.
        factor: bounds of the factors, the same way.
        shift: the shifts are uniform in [-shift, shift].
        hue: the turn is uniform in [-hue, hue], in whole turns.
        value_range: the two values that stand for black and full intensity.
        channel_axis: 1 or -1.

    Returns:
        Images in the dtype of `images`.
    """
    drawn = ops.transpose(uniform(seeds, 7))  # power, factor, shift: a row for saturation and one for value each

    def between(rows, low, high):
        return low + (high - low) * rows

    return adjust_hsv(
        images,
        ops.exp(between(drawn[0:2], math.log(power[0]), math.log(power[1]))),
        ops.exp(between(drawn[2:4], math.log(factor[0]), math.log(factor[1]))),
        between(drawn[4:6], -shift, shift),
        between(drawn[6], -hue, hue),
        value_range,
        channel_axis,
    )


def adjust_hsv(
    images: Tensor,
    power: Tensor,
    factor: Tensor,
    shift: Tensor,
    hue: Tensor,
    value_range: Sequence[float] = (0, 255),
    channel_axis: int = -1,
) -> Tensor:
    """Maps saturation and value to x ** power * factor + shift, clipped to [0, 1], and turns the hue.

    Args:
        images: float, rank 4, RGB on `channel_axis`; what lies outside `value_range` is clipped.
        power: float32 (2, n), for the saturation and the value of each image; above 0.
        factor: float32 (2, n), likewise; above 0.
        shift: float32 (2, n), likewise.
        hue: float32 (n,), within [-1, 1], in whole turns.
        value_range: the two values that stand for black and full intensity.
        channel_axis: 1 or -1.

    Returns:
        Images in the dtype of `images`.
    """
    low, high = (float(value) for value in value_range)
    # One plane a colour: short rows of three are what makes the usual conversions slow. float32, whatever the policy.
    last = channel_axis == -1
    planes = ops.transpose(ops.cast(images, "float32"), (3, 0, 1, 2) if last else (1, 0, 2, 3))
    planes = ops.clip(planes, low, high) if low == 0 else ops.clip(planes, low, high) - low
    red, green, blue = planes[0], planes[1], planes[2]
    largest = ops.maximum(ops.maximum(red, green), blue)
    smallest = ops.minimum(ops.minimum(red, green), blue)
    chroma = largest - smallest
    # neither black nor grey divides by zero, forwards or in gradients
    lit, coloured = largest > 0, chroma > 0
    bright = ops.where(lit, largest, 1.0)
    divisor = ops.where(coloured, chroma, bright)

    # The hue in sixths of a turn, within [-3, 3]: on the half of the circle with green >= blue it is this quotient,
    # red at 0, yellow at 1, green at 2, cyan at 3; on the other half its negative. Grey gets 0, as in colorsys.
    sixths = ((green - smallest) + (blue - smallest) + (largest - red)) / divisor
    sixths = ops.where(green >= blue, sixths, -sixths)

    # x ** p * m as exp(p log x + log m), with saturation = chroma / largest; zero stays zero
    power, factor, shift = (ops.reshape(draw, (2, -1, 1, 1)) for draw in (power, factor, shift))
    log_value = ops.log(bright)
    raised = ops.exp(power[0] * (ops.log(divisor) - log_value) + ops.log(factor[0]))
    saturation = ops.clip(ops.where(coloured, raised, 0.0) + shift[0], 0.0, 1.0)
    raised = ops.exp(power[1] * log_value + (ops.log(factor[1]) - math.log(high - low) * power[1]))
    value = ops.clip(ops.where(lit, raised, 0.0) + shift[1], 0.0, 1.0) * (high - low)

    # Back: a colour's plane is value - chroma * (1 - t), t = 1 near the colour's own hue (red 0, green 2, blue 4) and
    # falling to 0 from one sixth to two. `turn` is within [-3, 3), so |.| - 3 folds the circle onto that distance.
    turn = ops.reshape(6.0 * hue, (1, -1, 1, 1)) - ops.reshape(ops.arange(0, 6, 2, dtype="float32"), (3, 1, 1, 1))
    turn = turn - 6.0 * ops.floor((turn + 3.0) / 6.0)
    chroma = value * saturation
    near = ops.clip(ops.abs(ops.abs(sixths + turn) - 3.0), 1.0, 2.0)  # t + 1
    planes = (value - 2.0 * chroma + low) + chroma * near
    return ops.cast(ops.transpose(planes, (1, 2, 3, 0) if last else (1, 0, 2, 3)), images.dtype)


@register
class HSVJitter(Augmentation):
    """Changes hue, saturation and value of an image, the same way in all its pixels, one draw an image.

    Saturation and value (the largest of the three colours) become x ** p * m + a, clipped to [0, 1], with p, m and a
    drawn for each of the two by themselves; the hue turns by h. It teaches that neither the light nor the camera's
    curve tells what is seen. It harms where the colour does: ripeness, traffic lights, stained tissue; lower `hue`
    first. A power of 4 leaves little of a dark image: narrow `power` where images are dark already.

    As in every HSV conversion grey has the hue 0, so where `a` lifts the saturation grey turns slightly red (turned
    by h): with shift=.1 by at most a tenth. Clips: to `value_range` before, saturation and value to [0, 1] after.

    Args:
        power: bounds of p, drawn uniformly in the logarithm, so that 1 is in the middle of the default.
        factor: bounds of m, the same way.
        shift: a is uniform in [-shift, shift].
        hue: h is uniform in [-hue, hue]; 1 is the whole circle, so .5 draws any hue.
        value_range: the two values that stand for black and full intensity.
        seed: integer or None.
        data_format: "channels_last", "channels_first", or None for Keras's default.

    Call: `(images, training=True)`; RGB, (n, h, w, 3) or (h, w, 3), any dtype; the same shape in the compute dtype,
    within `value_range`. Computed in float32 under every dtype policy.

    Example:
        >>> red = np.full((1, 2, 2, 3), (200, 0, 0), "uint8")
        >>> turned = HSVJitter(power=(1, 1), factor=(1, 1), shift=0, hue=0.5, seed=1)(red)
        >>> float(ops.max(turned))  # of value and saturation nothing was changed
        200.0

    Reference:
        Dosovitskiy, Springenberg, Riedmiller, Brox 2014, "Discriminative Unsupervised Feature Learning with
        Convolutional Neural Networks"; the numbers as in Wei 2015, "Must Know Tips/Tricks in Deep Neural Networks".
        Neither gives the distributions: uniform (in the logarithm for p and m), independent for S and V.
    """

    def __init__(
        self,
        power: Sequence[float] = (0.25, 4),
        factor: Sequence[float] = (0.7, 1.4),
        shift: float = 0.1,
        hue: float = 0.1,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        for name, pair in (("power", power), ("factor", factor)):
            if not _is_pair(pair) or not 0 < pair[0] <= pair[1]:
                raise ValueError(f"HSVJitter: expected {name} to be (low, high), 0 < low <= high, received {pair!r}.")
        if not is_number(shift) or not 0 <= shift <= 1:
            raise ValueError(f"HSVJitter: expected shift from 0 to 1, received {shift!r}.")
        if not is_number(hue) or not 0 <= hue <= 0.5:
            raise ValueError(f"HSVJitter: expected hue from 0 to .5 (any hue), received {hue!r}.")
        if not is_range(value_range):
            raise ValueError(f"HSVJitter: expected value_range to be (low, high), received {value_range!r}.")
        self.power = tuple(power)
        self.factor = tuple(factor)
        self.shift = shift
        self.hue = hue
        self.value_range = tuple(value_range)

    def augment(self, images: Tensor, seeds: Tensor) -> Tensor:
        """The pure function; see `hsv_jitter`."""
        axis = -1 if self.data_format == "channels_last" else 1
        if images.shape[axis] != 3:
            grey = " Grey images have neither hue nor saturation." if images.shape[axis] == 1 else ""
            raise ValueError(
                f"HSVJitter: expected images with 3 channels, red, green and blue; received shape "
                f"{tuple(images.shape)} ({self.data_format}).{grey}"
            )
        return hsv_jitter(
            images, seeds, self.power, self.factor, self.shift, self.hue, self.value_range, channel_axis=axis
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "power": list(self.power),
            "factor": list(self.factor),
            "shift": self.shift,
            "hue": self.hue,
            "value_range": list(self.value_range),
        }


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value))
