"""What a frozen network sees in each image, computed once."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .. import distribute
from ..data import Data, Feed
from .bodies import TILES, Body, free


@dataclass(frozen=True)
class Features:
    """Features of images that are kept in memory.

    Attributes:
        vectors: by what they are of: "" for what the classifier sees, else a layer's name. float32 (n, features).
        mirrored: the same of the mirrored images; empty where mirroring changes what an image means.
        labels: int32 (n,).
        answers: the pretrained classifier's kernel and bias on what it sees; None where there was none.
    """

    vectors: dict[str, np.ndarray]
    mirrored: dict[str, np.ndarray]
    labels: np.ndarray
    answers: tuple[np.ndarray, np.ndarray] | None = None

    def subset(self, rows: np.ndarray) -> "Features":
        """The features of some of the images."""
        vectors, mirrored = ({k: v[rows] for k, v in each.items()} for each in (self.vectors, self.mirrored))
        return Features(vectors, mirrored, self.labels[rows], self.answers)


def compute(body: Body, data: Data, *, split: str = "train", mirror: bool = True, levels: bool = False) -> Features:
    """One pass of a split through a body, and a second of the mirrored images.

    Args:
        body: of `bodies.find`.
        data: a `training.data.Data`.
        split: of it.
        mirror: whether a mirrored image means the same.
        levels: whether to keep features of earlier layers, too: the means of 3x3 tiles of their maps.
    """
    outputs = {"": body.model.outputs[0], **(_tiles(body) if levels else {})}
    model = keras.Model(body.model.inputs[0], outputs)
    feed = data.feed(split, **({} if data.streams else {"shuffle": False, "batch_size": 32, "mix": None}))
    parts: list[dict[str, np.ndarray]] = []
    mirrors: list[dict[str, np.ndarray]] = []
    labels = []
    batches = feed.numpy() if isinstance(feed, Feed) else feed.dataset().as_numpy_iterator()
    for images, given, *_ in batches:
        parts.append(_arrays(distribute.answers(model, images)))
        if mirror:
            mirrors.append(_arrays(distribute.answers(model, np.ascontiguousarray(images[:, :, ::-1]))))
        labels.append(given)
    joined = [
        {key: np.concatenate([part[key] for part in each]) for key in outputs} for each in (parts, mirrors) if each
    ]
    labelled = np.concatenate(labels).astype("int32")
    return Features(joined[0], joined[1] if mirror else {}, labelled, body.answers)


def tiled(body: Body, level: str) -> Any:
    """The means of a level's map over tiles, as a vector."""
    tensor = body.levels[level]
    height, width = tensor.shape[1:3]
    mean, tiles, vector = (free(f"{level}_{what}", body.model) for what in ("mean", "tiles", "vector"))
    if None in (height, width) or 1 in (height, width):  # a side of one pixel is more than Keras's tiles take
        return keras.layers.GlobalAveragePooling2D(dtype="float32", name=mean)(tensor)
    grid = (min(TILES, height), min(TILES, width))
    x = keras.layers.AdaptiveAveragePooling2D(grid, dtype="float32", name=tiles)(tensor)
    return keras.layers.Flatten(name=vector)(x)


def _tiles(body: Body) -> dict[str, Any]:
    return {level: tiled(body, level) for level in body.levels}


def _arrays(outputs: dict[str, Any]) -> dict[str, np.ndarray]:
    return {key: value.astype("float32") for key, value in outputs.items()}
