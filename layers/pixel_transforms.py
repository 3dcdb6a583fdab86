"""What an augmentation does to pixels: pure functions, with a parameter for each image.

Images are float32, channels last, shape (n, height, width, c); parameters have shape (n,). Parameters at which an
image stays what it is are named; `RandomTransform` gives them to the images that are not to be changed.

Sums are written out where a matrix product would do: on GPUs a product of float32 matrices may be rounded to 10 bits
(TensorFloat-32), and an image must be the same on every backend.
"""

import math

from keras import ops

from .base import Tensor
from .draws import normal, uniform

LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601: what red, green and blue add to brightness
SMOOTHING = 0.01  # of whitening: added to variances, as a share of their mean


def per_image(values: Tensor) -> Tensor:
    """Shape (n,) as (n, 1, 1, 1)."""
    return ops.reshape(values, (-1, 1, 1, 1))


def colour_moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean colour (n, c) and covariance of colours (n, c, c) of each image."""
    mean = ops.mean(images, axis=(1, 2))
    centred = images - mean[:, None, None, :]
    rows = [ops.mean(centred * centred[..., i : i + 1], axis=(1, 2)) for i in range(images.shape[-1])]
    return mean, ops.stack(rows, axis=1)


def map_colours(images: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """Each pixel's colour p becomes M p + t.

    Args:
        images: of c channels.
        matrix: M, shape (n, c, c).
        offset: t, shape (n, c).
    """
    result = offset[:, None, None, :]
    for channel in range(images.shape[-1]):
        result = result + images[..., channel : channel + 1] * matrix[:, None, None, :, channel]
    return result


def small_product(p: Tensor, q: Tensor) -> Tensor:
    """Matrix product of shapes (n, c, c), exact to float32 for the few channels of images."""
    if p.shape[-1] > 16:
        return ops.matmul(p, q)
    return ops.sum(p[:, :, :, None] * q[:, None, :, :], axis=2)


def whitening_matrix(covariance: Tensor) -> Tensor:
    """The ZCA matrix of each image's colours, scaled to keep the sum of the channels' variances.

    W = g (covariance + s I)^(-1/2), s = `SMOOTHING` times the mean variance. ZCA is the whitening that changes an
    image least; unlike PCA's rotated axes, its channels stay red, green and blue, and it is the same whatever signs
    eigenvectors have. The root comes from the coupled Newton-Schulz iteration (Higham 2008, "Functions of Matrices",
    section 6.7): products only, so that it has a gradient even where eigenvalues are equal, and compiles.

    Args:
        covariance: shape (n, c, c).
    """
    channels = covariance.shape[-1]
    eye = ops.eye(channels, dtype=covariance.dtype)[None]
    trace = ops.sum(covariance * eye, axis=(1, 2), keepdims=True)
    tiny = 1e-12
    # eigenvalues within (0, 1]; those of a constant image all equal
    y = (covariance / (trace + tiny) + (SMOOTHING / channels) * eye) / (1 + SMOOTHING)
    z = eye + 0 * y
    smallest = SMOOTHING / channels / (1 + SMOOTHING)
    for _ in range(math.ceil(-0.5 * math.log(smallest) / math.log(1.5)) + 4):  # a root grows by 1.5, then converges
        step = 1.5 * eye - 0.5 * small_product(z, y)
        y, z = small_product(y, step), small_product(step, z)
    whitened = small_product(z, small_product(covariance, z))
    after = ops.sum(whitened * eye, axis=(1, 2), keepdims=True)
    return z * ops.sqrt((trace + tiny) / (after + tiny))


def blur(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Gaussian blur with a deviation of its own for each image; the border's pixels are repeated outwards.

    `keras.ops.image.gaussian_blur` has one deviation for the whole batch, and darkens the border.

    Args:
        images: of any size.
        sigma: in pixels; 0 is the identity.
        radius: of the kernel, which has 2 radius + 1 taps.
    """
    variance = ops.maximum(ops.square(sigma), 1e-6)
    taps = [ops.exp(-0.5 * k * k / variance) for k in range(radius + 1)]
    total = taps[0] + 2.0 * sum(taps[1:])
    taps = [per_image(tap / total) for tap in taps]
    for axis in (1, 2):
        size = ops.shape(images)[axis]
        inside = ops.clip(ops.arange(-radius, size + radius, dtype="int32"), 0, size - 1)
        padded = ops.take(images, inside, axis=axis)
        lead = (slice(None),) * axis

        def moved(k: int, padded: Tensor = padded, lead: tuple = lead, size: int | Tensor = size) -> Tensor:
            return padded[(*lead, slice(radius + k, radius + k + size))]

        blurred = moved(0) * taps[0]
        for k in range(1, radius + 1):
            blurred = blurred + (moved(k) + moved(-k)) * taps[k]
        images = blurred
    return images


def gaussian_noise(images: Tensor, seeds: Tensor, std: Tensor) -> Tensor:
    """Adds normal noise to every value; 0 is the identity.

    Args:
        images: what to change.
        seeds: int32, shape (n,).
        std: standard deviation.
    """
    _, height, width, channels = ops.shape(images)
    noise = normal(seeds, height * width * channels)
    return images + per_image(std) * ops.reshape(noise, ops.shape(images))


def salt_and_pepper(images: Tensor, seeds: Tensor, share: Tensor, low: float, high: float) -> Tensor:
    """Makes a share of the pixels black or white, half of each, all channels alike; 0 is the identity.

    Args:
        images: what to change.
        seeds: int32, shape (n,).
        share: probability of a pixel.
        low: black.
        high: white.
    """
    draw, share = _pixel_draw(images, seeds), per_image(share)
    return ops.where(draw < share, ops.where(draw < 0.5 * share, low, high), images)


def pixel_dropout(images: Tensor, seeds: Tensor, share: Tensor, value: float) -> Tensor:
    """Gives a share of the pixels one value, all channels alike; 0 is the identity.

    Args:
        images: what to change.
        seeds: int32, shape (n,).
        share: probability of a pixel.
        value: what dropped pixels become. The others are not scaled, as dropout in a net would.
    """
    return ops.where(_pixel_draw(images, seeds) < per_image(share), value, images)


def cutout(images: Tensor, down: Tensor, right: Tensor, side: Tensor, value: float) -> Tensor:
    """Gives a rectangle one value (DeVries and Taylor 2017, arXiv 1708.04552); part of it may lie outside.

    Args:
        images: what to change.
        down: the rectangle's centre, as a share of the height.
        right: the same of the width.
        side: as a share of height and width; 0 is the identity.
        value: what the rectangle becomes.
    """
    height, width = ops.shape(images)[1:3]
    y = (ops.arange(height, dtype="float32") + 0.5) / ops.cast(height, "float32")
    x = (ops.arange(width, dtype="float32") + 0.5) / ops.cast(width, "float32")
    half = 0.5 * side[:, None]
    inside_y = ops.abs(y[None] - down[:, None]) < half
    inside_x = ops.abs(x[None] - right[:, None]) < half
    inside = ops.logical_and(inside_y[:, :, None], inside_x[:, None, :])
    return ops.where(inside[..., None], value, images)


def posterize(images: Tensor, step: Tensor, low: float) -> Tensor:
    """Rounds values to multiples of `step` above `low`, which must be positive."""
    step = per_image(step)
    return low + step * ops.round((images - low) / step)


def solarize(images: Tensor, threshold: Tensor, low: float, high: float) -> Tensor:
    """Inverts the values from `threshold` on (low + high - x)."""
    return ops.where(images >= per_image(threshold), low + high - images, images)


def _pixel_draw(images: Tensor, seeds: Tensor) -> Tensor:
    _, height, width, _ = ops.shape(images)
    return ops.reshape(uniform(seeds, height * width), (-1, height, width, 1))
