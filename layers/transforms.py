"""The transformations that `RandomTransform` knows by name: their magnitudes, and how what was drawn is applied.

Each stage applies what was drawn of its names at once: geometry as one resampling, colours as one linear map.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from keras import ops

from . import geometry, pixel_transforms
from .base import Tensor
from .draws import fold, uniform
from .fancy_pca import IMAGENET_EIGENVALUES, IMAGENET_EIGENVECTORS, fancy_pca

GEOMETRY = ("flip", "rotation", "rotation_scaling", "zoom", "shear", "shift")
COLOURS = ("whitening", "fancy_pca", "colour_shift", "brightness", "contrast", "saturation", "grayscale", "invert")
FILTERS = ("blur", "sharpen")
VALUES = ("posterize", "solarize", "gaussian_noise", "salt_and_pepper", "pixel_dropout", "cutout")
KERAS = ("rand_augment", "random_erasing")
NAMES = (*GEOMETRY, *COLOURS, *FILTERS, *VALUES, *KERAS)
# Folded into an image's seed. A new name goes to the end of this table: another number is another draw.
NUMBERS = {name: number for number, name in enumerate(NAMES)}
CHANNELS = {"fancy_pca": 3, "saturation": 3, "grayscale": 3, "rand_augment": 3}  # where a number is needed

# At strength 1; see the table in `RandomTransform`.
DEGREES, ZOOM, SHEAR, SHIFT = 20.0, 1.2, 0.2, 0.125
PCA, COLOUR, BRIGHTNESS, CONTRAST, SATURATION = 0.1, 0.1, 0.25, 1.6, 0.8
SIGMA, SHARPEN, BITS, THRESHOLD = 1.0, 1.5, 5.0, 0.5
NOISE, SALT, DROPOUT, SIDE = 0.1, 0.1, 0.2, 0.5


@dataclass(frozen=True)
class Pipeline:
    """What a pipeline's name stands for: for each image `count` of `transforms`, and all of `always`."""

    transforms: tuple[str | tuple[str, float], ...]
    count: int
    always: tuple[str | tuple[str, float], ...] = ()


PIPELINES = {
    "light": Pipeline(("flip", ("shift", 0.5)), 2),
    "standard": Pipeline(
        (("shift", 0.5), ("zoom", 0.5), ("rotation", 0.5), "brightness", "contrast", "saturation", "colour_shift"),
        2,
        ("flip",),
    ),
    "heavy": Pipeline(("shift", "rotation_scaling", "shear", *COLOURS[:-1], *FILTERS, *VALUES), 4, ("flip",)),
    "modern": Pipeline(("flip", *KERAS), 3),
}


class Entry(NamedTuple):
    """One of the transformations to draw from."""

    number: int  # of its stream of draws
    strength: float
    always: bool = False


class Draws:
    """What a batch of images draws: of each image what is chosen, and how strong.

    Args:
        entries: by name.
        count: how many are chosen of those that are not applied always.
        seeds: int32, shape (n,).
        channels: of the images.
    """

    def __init__(self, entries: dict[str, Entry], count: int, seeds: Tensor, channels: int):
        self.entries = {name: entry for name, entry in entries.items() if fits(name, channels)}
        self.index = {name: index for index, name in enumerate(self.entries)}
        numbers = np.array([entry.number for entry in self.entries.values()], "int32")
        self._seeds = fold(ops.expand_dims(seeds, 1), numbers)
        # (n, names, numbers): one to choose by, then the magnitudes
        shape = (-1, len(self.entries), 1 + max(4, channels))
        self._draws = ops.reshape(uniform(ops.reshape(self._seeds, (-1,)), shape[2]), shape)
        keys = self._draws[:, :, 0] + np.array([-1.0 if e.always else 0.0 for e in self.entries.values()], "float32")
        smaller = ops.logical_or(
            keys[:, None, :] < keys[:, :, None],
            ops.logical_and(  # of equals the first
                keys[:, None, :] == keys[:, :, None], np.tri(len(self.entries), k=-1, dtype=bool)
            ),
        )
        ranks = ops.sum(ops.cast(smaller, "int32"), axis=2)
        self._chosen = ranks < count + sum(entry.always for entry in self.entries.values())

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def seeds(self, name: str) -> Tensor:
        """Of a transformation's own stream: int32 (n,). For magnitudes see `size`; pixels draw from their fold 1."""
        return self._seeds[:, self.index[name]]

    def chosen(self, *names: str) -> Tensor:
        """Whether any of these is to be applied: boolean (n,)."""
        return ops.any(ops.stack([self._chosen[:, self.index[name]] for name in names if name in self], 1), axis=1)

    def size(self, name: str, at: int = 0) -> Tensor:
        """Number `at` of a transformation: float32 (n,), from [0, strength), 0 where it was not chosen."""
        return ops.where(self.chosen(name), self._unit(name, at) * self.entries[name].strength, 0.0)

    def signed(self, name: str, at: int = 0) -> Tensor:
        """The same number, from [-strength, strength)."""
        return ops.where(self.chosen(name), (2.0 * self._unit(name, at) - 1.0) * self.entries[name].strength, 0.0)

    def _unit(self, name: str, at: int) -> Tensor:
        return self._draws[:, self.index[name], 1 + at]


def fits(name: str, channels: int) -> bool:
    """Whether a transformation is drawn for images of so many channels."""
    return channels > 1 if name == "whitening" else channels == CHANNELS.get(name, channels)


def matrices(draws: Draws, height: int | Tensor, width: int | Tensor) -> Tensor:
    """The drawn geometry as one map, float32 (n, 8), as in `keras.ops.image.affine_transform`."""
    maps = []
    if "flip" in draws:
        maps.append(geometry.mirror(ops.where(draws.signed("flip") < 0, -1.0, 1.0)))
    for name in ("rotation", "zoom", "rotation_scaling"):
        if name in draws:
            zero = ops.zeros_like(draws.size(name))
            angle = zero if name == "zoom" else draws.signed(name) * math.radians(DEGREES)
            power = zero if name == "rotation" else draws.signed(name, at=name == "rotation_scaling")
            maps.append(geometry.turn(angle, ops.exp(power * math.log(ZOOM))))
    if "shear" in draws:
        maps.append(geometry.shear(draws.signed("shear") * SHEAR, draws.signed("shear", 1) * SHEAR))
    right = down = ops.zeros_like(draws.size(next(name for name in GEOMETRY if name in draws)))
    if "shift" in draws:
        down, right = draws.signed("shift") * SHIFT, draws.signed("shift", 1) * SHIFT
        maps.append(geometry.mirror(ops.ones_like(right)))  # there may be no other
    return geometry.about_centre(geometry.product(*maps), right, down, height, width)


def colour_map(images: Tensor, draws: Draws, low: float, high: float) -> tuple[Tensor, Tensor]:
    """The drawn changes of colour as one map p -> M p + t: M (n, c, c) and t (n, c)."""
    channels, width = images.shape[-1], high - low
    eye = ops.eye(channels)[None]
    matrix, offset = eye, ops.zeros((1, channels))

    def scaled(factor: Tensor, pivot: Tensor) -> tuple[Tensor, Tensor]:
        return matrix * factor[:, None, None], offset * factor[:, None] + (1.0 - factor[:, None]) * pivot

    if "whitening" in draws or "contrast" in draws:
        mean, covariance = pixel_transforms.colour_moments(images)
    if "whitening" in draws:
        share = ops.minimum(draws.size("whitening"), 1.0)[:, None, None]
        matrix = (1.0 - share) * eye + share * pixel_transforms.whitening_matrix(covariance)
        offset = mean - ops.sum(matrix * mean[:, None, :], axis=2)
    if "fancy_pca" in draws:
        values, vectors = (np.array(a, "float32") for a in (IMAGENET_EIGENVALUES, IMAGENET_EIGENVECTORS))
        black = ops.zeros_like(images[:, :1, :1])
        shift = fancy_pca(black, fold(draws.seeds("fancy_pca"), 1), values, ops.convert_to_tensor(vectors), PCA, width)
        weight = ops.where(draws.chosen("fancy_pca"), draws.entries["fancy_pca"].strength, 0.0)
        offset = offset + shift[:, 0, 0] * weight[:, None]
    if "colour_shift" in draws:
        shifts = ops.stack([draws.signed("colour_shift", channel) for channel in range(channels)], axis=1)
        offset = offset + COLOUR * width * shifts
    if "brightness" in draws:
        offset = offset + BRIGHTNESS * width * draws.signed("brightness")[:, None]
    if "contrast" in draws:
        now = ops.sum(matrix * mean[:, None, :], axis=2) + offset
        factor = ops.exp(draws.signed("contrast") * math.log(CONTRAST))
        matrix, offset = scaled(factor, ops.mean(now, axis=1, keepdims=True))
    for name in ("saturation", "grayscale"):
        if name in draws:
            amount = -draws.size(name) if name == "grayscale" else SATURATION * draws.signed(name)
            factor = ops.maximum(1.0 + amount, 0.0)
            luma = np.array(pixel_transforms.LUMA, "float32")
            # p -> f p + (1 - f) (luma . p) (1, 1, 1)
            towards = (1.0 - factor)[:, None, None] * ops.sum(matrix * luma[:, None], axis=1, keepdims=True)
            matrix, offset = (
                matrix * factor[:, None, None] + towards,
                offset * factor[:, None] + (1.0 - factor[:, None]) * ops.sum(offset * luma, axis=1, keepdims=True),
            )
    if "invert" in draws:
        sign = ops.where(draws.chosen("invert"), -1.0, 1.0)
        matrix, offset = scaled(sign, 0.5 * (low + high))
    count = ops.shape(images)[0]
    return ops.broadcast_to(matrix, (count, channels, channels)), ops.broadcast_to(offset, (count, channels))


def filtered(images: Tensor, draws: Draws) -> Tensor:
    """Blurred and sharpened as drawn: x + k (blurred - x), k from 1 for blur, less what sharpens."""
    widest, amount, sigma = 0.0, 0.0, SIGMA
    if "sharpen" in draws:
        widest, amount = SIGMA, -SHARPEN * draws.size("sharpen")
    if "blur" in draws:
        chosen = draws.chosen("blur")
        widest = max(widest, SIGMA * draws.entries["blur"].strength)
        sigma = ops.where(chosen, SIGMA * draws.size("blur"), SIGMA)
        amount = amount + ops.where(chosen, 1.0, 0.0)
    else:
        sigma = SIGMA + 0.0 * amount
    blurred = pixel_transforms.blur(images, sigma, max(1, math.ceil(3 * widest)))
    return images + pixel_transforms.per_image(amount) * (blurred - images)


def valued(images: Tensor, draws: Draws, low: float, high: float) -> Tensor:
    """Quantized, with noise, with pixels and rectangles replaced, as drawn."""
    width = high - low
    if "posterize" in draws:
        step = width / 255.0 * ops.exp(math.log(2.0) * BITS * draws.size("posterize"))
        images = only(draws.chosen("posterize"), pixel_transforms.posterize(images, step, low), images)
    if "solarize" in draws:
        threshold = ops.where(draws.chosen("solarize"), high - THRESHOLD * width * draws.size("solarize"), np.inf)
        images = pixel_transforms.solarize(images, threshold, low, high)
    if "gaussian_noise" in draws:
        seeds = fold(draws.seeds("gaussian_noise"), 1)
        images = pixel_transforms.gaussian_noise(images, seeds, NOISE * width * draws.size("gaussian_noise"))
    if "salt_and_pepper" in draws:
        seeds, share = fold(draws.seeds("salt_and_pepper"), 1), SALT * draws.size("salt_and_pepper")
        images = pixel_transforms.salt_and_pepper(images, seeds, share, low, high)
    if "pixel_dropout" in draws:
        seeds, share = fold(draws.seeds("pixel_dropout"), 1), DROPOUT * draws.size("pixel_dropout")
        images = pixel_transforms.pixel_dropout(images, seeds, share, low)
    if "cutout" in draws:
        # the place does not scale with the strength
        down, right = draws._unit("cutout", 1), draws._unit("cutout", 2)
        images = pixel_transforms.cutout(images, down, right, SIDE * draws.size("cutout"), 0.5 * (low + high))
    return images


def only(chosen: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    """`changed` where an image was chosen, else the image, to the bit and without what is not finite elsewhere."""
    return ops.where(pixel_transforms.per_image(chosen), changed, images)
