"""What a check looks at: some images and labels of each split, out of whatever `fit` takes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from convcraft.layers.base import to_numpy

from .. import feeding
from ..data import Data, Source
from ..data.stored import ArraySource
from ..data.streams import most

READ = 2**28  # values of a split that are compared with another's
SLOW = 1000  # images that are compared where each must be read from a file


@dataclass
class Samples:
    """Images and labels, spread over the splits.

    Attributes:
        images: of each split, float32; of a model with several inputs a structure of arrays.
        labels: theirs, as the loss is given them: numbers, one-hot, masks or quantities; of several outputs a
            structure of those.
        every_label: those of all images of a split where they are numbers; else as `labels`.
        digests: of images that are looked for in other splits.
        totals: images in each split; those that were read where there is no telling.
        names: of the classes, where they are known.
    """

    images: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    every_label: dict[str, Any] = field(default_factory=dict)
    digests: dict[str, list[int]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    @property
    def train(self) -> tuple[Any, Any]:
        """Of the training split."""
        return self.images["train"], self.labels["train"]

    @property
    def pictures(self) -> np.ndarray | None:
        """Training images where they are all that the model is shown."""
        x = self.images["train"]
        return x if isinstance(x, np.ndarray) and x.ndim == 4 else None


def sampled(data: Any, validation: Any = None) -> Samples:
    """Some images of each split.

    Args:
        data: a `training.data.Data`, a pair of arrays, or batches (x, y) that can be read again; of batches, the
            first are read.
        validation: the same, to validate on.

    Raises:
        ValueError: for anything else, and for data without images or labels.
    """
    found = Samples()
    if isinstance(data, Data):
        found.names = [str(name) for name in data.class_names]
        for split in data.counts:
            if data.streams:
                images, labels = data.streams[split].sample
                counts = data.counts[split]
                _keep(found, split, images, labels, sum(counts.values()))
                found.every_label[split] = np.repeat(np.arange(len(counts)), list(counts.values()))
                found.digests[split] = list(_digests(images))
            else:
                _take(found, split, data.sources[split], data.mix)
        return found
    for split, given in (("train", data), ("val", validation)):
        if given is None and split == "val":
            continue
        arrays = feeding.pair(given, "check: ")
        if arrays is None:
            x, labels = _first(given, f"check: of {split}: ")
            _keep(found, split, x, labels, len(x))
            found.digests[split] = list(_digests(x))
        else:
            _arrays(found, split, *arrays)
    return found


def read(data: Any, what: str) -> tuple[Any, Any]:
    """Images and labels to train on: all of a pair of arrays, the first of batches, some of a `training.data.Data`.

    Args:
        data: see `sampled`.
        what: asks, for its errors.

    Raises:
        ValueError: as there.
    """
    if isinstance(data, Data):
        return sampled(data).train
    return feeding.pair(data, what) or _first(data, what)


def _take(found: Samples, split: str, source: Source, mix: Any) -> None:
    """Of a source: spread over it."""
    total = len(source)
    chosen = _some(total, most(source.image_shape))
    images, labels = source.batch(chosen)
    if mix is not None:
        images, labels = (to_numpy(each) for each in mix(images, labels, training=False))
    _keep(found, split, images, labels, total)
    if source.labels.ndim == 1:
        found.every_label[split] = source.labels
    kept = source
    while hasattr(kept, "source"):  # with other labels, or in another order
        kept = kept.source
    limit = max(1, READ // int(np.prod(source.image_shape))) if isinstance(kept, ArraySource) else SLOW
    chosen = _some(total, limit)
    parts = (source.batch(chosen[start : start + 256])[0] for start in range(0, len(chosen), 256))
    found.digests[split] = [digest for part in parts for digest in _digests(part)]


def _arrays(found: Samples, split: str, x: Any, y: Any) -> None:
    """Of a pair of arrays."""
    each = keras.tree.flatten(x)
    total, largest = len(each[0]), max((a.shape[1:] for a in each), key=math.prod)
    chosen = _some(total, most(largest))
    _keep(found, split, feeding.rows(x, chosen), feeding.rows(y, chosen), total)
    if isinstance(y, np.ndarray) and y.ndim <= 2:
        found.every_label[split] = y
    chosen = _some(total, max(1, READ // max(1, math.prod(largest))))
    found.digests[split] = list(_digests(feeding.rows(x, chosen)))


def _first(data: Any, what: str) -> tuple[Any, Any]:
    """Of batches: the first."""
    if isinstance(data, Iterator):
        raise ValueError(
            f"{what}expected data that can be read again, received an iterator, of which fit would miss what is read "
            "here. Pass what it was made from."
        )
    parts: list[Any] = []
    total = 0
    for batch in feeding.batches(data, what):
        parts.append(feeding.split(batch, what))
        first = keras.tree.flatten(parts[-1])[0]
        total += len(first)
        if total >= most(first.shape[1:]):
            break
    if not total:
        raise ValueError(f"{what}expected images, received none: the data are empty.")
    return keras.tree.map_structure(lambda *each: np.concatenate(each), *parts)


def _keep(found: Samples, split: str, images: Any, labels: Any, total: int) -> None:
    one = isinstance(images, np.ndarray)
    found.images[split] = np.asarray(images, "float32") if one else keras.tree.map_structure(np.asarray, images)
    found.labels[split] = found.every_label[split] = labels
    found.totals[split] = total


def _digests(images: Any) -> Iterator[int]:
    """A number for each image, the same for the same image within this process; of several inputs for all together."""
    if not isinstance(images, np.ndarray):
        yield from map(hash, zip(*map(_digests, map(np.asarray, keras.tree.flatten(images))), strict=True))
        return
    images = np.asarray(images, "float32")
    with np.errstate(invalid="ignore"):
        small = images.astype("uint8")  # a quarter to read, where nothing is lost by it
    whole = (small == images).reshape(len(images), -1).all(axis=1)
    for image, bytes_, is_whole in zip(images, small, whole, strict=True):
        yield hash((bytes_ if is_whole else image).tobytes())


def _some(total: int, most: int) -> np.ndarray:
    """Of so many images at most so many, always the same: at random, for classes may come in turn."""
    return np.sort(np.random.default_rng(0).permutation(total)[:most])
