"""Which training images an epoch shows, and how often, where that is not each of them once.

As the plain order, an epoch's is a pure function of (seed, epoch), so that a run that was killed goes on exactly where
it stopped. What an epoch has no place for, other epochs show: each class goes round a permutation of its own, and no
image is left out for good. A copy of an image has an index of its own, its row plus a multiple of the number of images,
so that each copy is augmented by its own draw.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .images import resize

LEAST_CROP = 0.5  # of the image's area
CROPPING = 0x5BD1E995  # tells the draw of the crop from that of the augmentation
EPOCHS = ("oversample", "undersample", "batches", "crops")  # one of them may fill a whole training
STAGES = ("all", "balanced", "head", "tail")  # two of them follow each other


class Sampling(Protocol):
    """What a `Feed` asks for in place of each image once."""

    @property
    def crops(self) -> bool:
        """Whether copies of an image are shown as crops of it."""

    def size(self, labels: np.ndarray) -> int:
        """How many images an epoch shows."""

    def order(self, labels: np.ndarray, places: int, seed: int, epoch: int, batch_size: int) -> np.ndarray:
        """Row + number of images * copy, int64, for each of the epoch's places."""


@dataclass(frozen=True)
class Epochs:
    """Every epoch alike.

    Args:
        kind: one of `EPOCHS`; see `training.balance`. Or one of `STAGES`, which show as many images as there are.
        strength: from 0, the data as they are, to 1, classes alike; for oversample, undersample and crops.
    """

    kind: str
    strength: float = 1.0

    @property
    def crops(self) -> bool:
        """Whether copies are crops."""
        return self.kind == "crops"

    def size(self, labels: np.ndarray) -> int:
        """How many images an epoch shows."""
        if self.kind in ("oversample", "undersample", "crops"):
            return int(self._counts(np.unique(labels, return_counts=True)[1]).sum())
        return len(labels)

    def order(self, labels: np.ndarray, places: int, seed: int, epoch: int, batch_size: int) -> np.ndarray:
        """What stands in each place of an epoch."""
        rng = np.random.default_rng([seed, epoch])
        if self.kind == "all":
            return np.resize(rng.permutation(len(labels)), places)
        rows = _classes(labels)
        if self.kind in ("batches", "balanced"):
            return _interleaved(rows, len(labels), places, batch_size, seed, epoch)
        if self.kind in ("head", "tail"):
            chosen = np.flatnonzero(head(labels) == (self.kind == "head"))
            return rng.permutation(_window(chosen, places, len(labels), seed, epoch, -1))
        counts = self._counts(np.array([len(own) for own in rows]))
        shown = [
            _window(own, k, len(labels), seed, epoch, i) for i, (own, k) in enumerate(zip(rows, counts, strict=True))
        ]
        return np.resize(rng.permutation(np.concatenate(shown)), places)  # the last batch goes round

    def _counts(self, sizes: np.ndarray) -> np.ndarray:
        """How often an epoch shows images of each class."""
        goal = sizes.min() if self.kind == "undersample" else sizes.max()
        return np.rint(float(goal) ** self.strength * sizes ** (1 - self.strength)).astype(int)


@dataclass(frozen=True)
class Stages:
    """Two kinds of epochs, one after the other, both as long as the data.

    Args:
        first: one of `STAGES`.
        second: one of them.
        switch: the epoch, from 0, with which the second begins.
    """

    first: str
    second: str
    switch: int
    crops: bool = False

    def size(self, labels: np.ndarray) -> int:
        """How many images an epoch shows."""
        return len(labels)

    def order(self, labels: np.ndarray, places: int, seed: int, epoch: int, batch_size: int) -> np.ndarray:
        """What stands in each place of an epoch."""
        kind = self.first if epoch < self.switch else self.second
        return Epochs(kind).order(labels, places, seed, epoch, batch_size)


def head(labels: np.ndarray) -> np.ndarray:
    """Whether each image is of a class that has at least as many images as classes have on average.

    Example:
        >>> head(np.array([0, 0, 0, 1])).tolist()
        [True, True, True, False]
    """
    _, numbers, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return (sizes >= sizes.mean())[numbers]


def cropped(images: np.ndarray, which: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Crops some of the images, of half of the area or more and of the same aspect, and enlarges them again.

    Args:
        images: float32 (n, h, w, c); changed in place.
        which: bool (n,).
        seeds: one an image.
    """
    height, width = images.shape[1:3]
    for i in np.flatnonzero(which):
        rng = np.random.default_rng([int(seeds[i]), CROPPING])
        side = np.sqrt(rng.uniform(LEAST_CROP, 1))
        top, left = rng.uniform(0, 1 - side, 2) * (height, width)
        images[i] = resize(images[i], (height, width), (left, top, left + side * width, top + side * height))
    return images


def _classes(labels: np.ndarray) -> list[np.ndarray]:
    """The rows of each class that has any."""
    sizes = np.unique(labels, return_counts=True)[1]
    return np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])


def _window(rows: np.ndarray, count: int, images: int, seed: int, epoch: int, number: int) -> np.ndarray:
    """The next `count` places of a walk round a class: over the epochs, its images come equally often."""
    circle = np.random.default_rng([seed, number + 2, 1]).permutation(rows)
    steps = np.arange(count)
    return circle[(epoch * count + steps) % len(rows)] + images * (steps // len(rows))


def _interleaved(rows: list[np.ndarray], images: int, places: int, batch: int, seed: int, epoch: int) -> np.ndarray:
    """Classes in turn, so that any batch has equally many images of each, or one more of some."""
    rng = np.random.default_rng([seed, epoch])
    most = -(-places // len(rows))
    windows = [rng.permutation(_window(own, most, images, seed, epoch, i)) for i, own in enumerate(rows)]
    turns = np.stack([windows[i] for i in rng.permutation(len(rows))], axis=1).ravel()[:places]
    # within a batch at random: what mixes neighbours shall not always mix the same classes
    return np.concatenate([rng.permutation(turns[begin : begin + batch]) for begin in range(0, places, batch)])
