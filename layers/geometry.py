"""Linear maps of the image plane, one an image, and the single resampling that applies their product."""

from functools import reduce

from keras import ops

from .base import Tensor, is_number

FILL_MODES = ("nearest", "constant", "reflect", "wrap")

# ((a, b), (c, d)) as (a, b, c, d), each of shape (n,): x' = a x + b y, y' = c x + d y. As in
# `keras.ops.image.affine_transform` the maps lead from the output's pixels to the input's.
Linear = tuple[Tensor, Tensor, Tensor, Tensor]


def turn(angle: Tensor, factor: Tensor) -> Linear:
    """Rotation by `angle` (radians) of what is magnified `factor` times."""
    cos, sin = ops.cos(angle) / factor, ops.sin(angle) / factor
    return cos, -sin, sin, cos


def shear(right: Tensor, down: Tensor) -> Linear:
    """Rows slide by `right` pixels for each pixel down, columns by `down` for each pixel right."""
    one = ops.ones_like(right)
    return one, right, down, one


def mirror(sign: Tensor) -> Linear:
    """Left and right are exchanged where `sign` is -1."""
    zero = ops.zeros_like(sign)
    return sign, zero, zero, ops.ones_like(sign)


def product(*maps: Linear) -> Linear:
    """The maps as one, the last applied first, as matrices are multiplied."""

    def twice(p: Linear, q: Linear) -> Linear:
        return (
            p[0] * q[0] + p[1] * q[2],
            p[0] * q[1] + p[1] * q[3],
            p[2] * q[0] + p[3] * q[2],
            p[2] * q[1] + p[3] * q[3],
        )

    return reduce(twice, maps)


def about_centre(linear: Linear, right: Tensor, down: Tensor, height: int | Tensor, width: int | Tensor) -> Tensor:
    """float32 (n, 8) as `keras.ops.image.affine_transform` takes it.

    Args:
        linear: a map of pixels about the image's centre.
        right: shift along the width, as a share of it, shape (n,).
        down: shift along the height, as a share of it, shape (n,).
        height: of the images.
        width: of the images.
    """
    a, b, c, d = linear
    height, width = ops.cast(height, "float32"), ops.cast(width, "float32")
    x, y = (width - 1) / 2, (height - 1) / 2
    zero = ops.zeros_like(a)
    offset = (x - a * x - b * y + right * width, y - c * x - d * y + down * height)
    return ops.stack([a, b, offset[0], c, d, offset[1], zero, zero], axis=1)


def resample(
    images: Tensor,
    matrices: Tensor,
    fill_mode: str = "nearest",
    fill_value: float = 0.0,
    data_format: str = "channels_last",
    interpolation: str = "bilinear",
) -> Tensor:
    """Takes for each output pixel the input pixel that `matrices` names."""
    if images.shape[0] == 0:  # PyTorch's backend cannot
        return images
    return ops.image.affine_transform(
        images,
        matrices,
        interpolation=interpolation,
        fill_mode=fill_mode,
        fill_value=fill_value,
        data_format=data_format,
    )


def check_fill(fill_mode: str, fill_value: float, layer: str) -> None:
    """Raises a ValueError for a fill mode that does not exist, or a value that is no number."""
    if not is_number(fill_value):
        raise ValueError(f"{layer}: expected fill_value to be a number, received {fill_value!r}.")
    if fill_mode not in FILL_MODES:
        raise ValueError(
            f"{layer}: expected fill_mode 'nearest', 'constant', 'reflect' or 'wrap', received {fill_mode!r}."
        )
