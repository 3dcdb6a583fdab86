"""Layers that need statistics of the training data, such as `layers.Whitening`, are given them before training."""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np

from . import distribute
from .data import Data

SAMPLE = 2048  # images: enough for the statistics, little beside an epoch
BATCH = 256


@dataclass(frozen=True)
class Adapted:
    """What was adapted.

    Attributes:
        layers: their names.
        images: how many they were shown.
    """

    layers: list[str]
    images: int


def to_data(model: keras.Model, data: Data) -> Adapted | None:
    """Calls `adapt` of each layer of `model` that has one and says, by `adapted`, that it still needs it.

    The images are those of the training split before augmentation, spread evenly over it, so that a folder sorted by
    class is seen whole: the same ones each time. A layer behind others sees what those make of them. Of the user's
    own tf.data, which has no such order, they are the first.

    Args:
        model: functional, of one input.
        data: a `training.data.Data`.

    Returns:
        Which layers, and on how many images; None where there was nothing to do.
    """
    names: list[str] = []
    count = 0
    for layer in model.layers:
        if not callable(getattr(layer, "adapt", None)) or getattr(layer, "adapted", True):
            continue
        before = None if layer.input is model.input else keras.Model(model.input, layer.input)
        sizes: list[int] = []

        def batches(before=before, sizes=sizes) -> Iterator[np.ndarray]:
            for images in sample(data, SAMPLE):
                sizes.append(len(images))
                yield images if before is None else distribute.answers(before, images)

        layer.adapt(batches())
        names.append(layer.name)
        count = sum(sizes)
    return Adapted(names, count) if names else None


def spread(count: int, most: int) -> np.ndarray:
    """At most so many of the numbers below `count`, evenly spread, the last one among them."""
    return np.unique(np.linspace(0, max(0, count - 1), min(most, count)).round().astype("int64"))


def sample(data: Data, most: int) -> Iterator[np.ndarray]:
    """Up to so many training images, spread over the data, not augmented, in batches."""
    if "train" in data.sources:
        source = data.sources["train"]
        chosen = spread(len(source), most)
        for start in range(0, len(chosen), BATCH):
            yield source.batch(chosen[start : start + BATCH])[0]
        return
    left = most
    for images, *_ in data.feed("train").dataset().as_numpy_iterator():
        yield images[:left]
        left -= len(images)
        if left <= 0:
            return
