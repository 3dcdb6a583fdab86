"""What a trained model sees in picture files."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from . import heads
from .data import images
from .monte_carlo import with_dropout

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Guess:
    """One output of a model for one picture.

    Attributes:
        index: of the output.
        name: of the class; None where it has none.
        value: the probability; of a regression the output itself.
        std: standard deviation over the samples; None without.
    """

    index: int
    name: str | None
    value: float
    std: float | None = None


@dataclass(frozen=True)
class Prediction:
    """What a model sees in one picture.

    Attributes:
        path: of the picture.
        guesses: the most probable first; of a regression all outputs in their order.
        error: why the picture could not be read; empty where it could.
        entropy: of the mean probabilities over the samples, in nats: 0 where they are sure, the logarithm of the
            number of classes where they know nothing. None without samples, for a broken picture and for regressions.
        shares: whether the guesses' values are probabilities.
    """

    path: Path
    guesses: tuple[Guess, ...] = ()
    error: str = ""
    entropy: float | None = None
    shares: bool = True


def pictures(
    model: keras.Model,
    paths: Iterable[Path],
    top: int = 3,
    *,
    head: str | None = None,
    names: list[str] | None = None,
    samples: int = 0,
    batch_size: int = 32,
    size: tuple[int, int] | None = None,
) -> Iterator[Prediction]:
    """Looks at picture files, a batch at a time.

    A picture is read and resized as `data.load` does it for folders: the shorter side to the model's size, then the
    centre. A model that takes any size gets each picture as it is, unless `size` is given.

    Args:
        model: raw 0-255 images to one row of outputs.
        paths: of image files.
        top: how many classes to name.
        head: "softmax", "multilabel" or "regression"; None: what the model says of itself (`heads.find`).
        names: of the classes; None: they have numbers only.
        samples: how many times each picture is looked at with dropout on (Gal and Ghahramani 2016); 0: once, without.
            Normalizations stay as they are at inference.
        batch_size: pictures at a time.
        size: (height, width), for a model that takes any.

    Yields:
        A `Prediction` for each path, in order; a file that cannot be read has its reason in `error`.

    Raises:
        ValueError: for a model whose outputs are no answer about a picture, and for samples of one without dropout.
    """
    answer = heads.find(model, head)
    net, passes = (with_dropout(model), samples) if samples else (model, 1)
    for group in _groups(paths, reader(model, size), batch_size):
        good = [picture for _, picture in group if isinstance(picture, np.ndarray)]
        rows: Iterator[Any] = iter(())
        if good:
            try:
                shares = [answer.values(net.predict_on_batch(np.stack(good).astype("float32"))) for _ in range(passes)]
            # smaller than the strides of a model that takes any size, or larger than memory: each backend has its own
            except Exception as error:
                if None not in model.input_shape[1:3]:
                    raise
                shape, kind = "x".join(map(str, good[0].shape[:2])), type(error).__name__
                said = f"{model.name} cannot take {shape} pixels ({kind}): another size for all may help"
                group = [(path, said if isinstance(picture, np.ndarray) else picture) for path, picture in group]
            else:
                rows = iter(zip(np.mean(shares, 0), np.std(shares, 0, ddof=1) if samples else good, strict=True))
        for path, picture in group:
            if not isinstance(picture, np.ndarray):
                yield Prediction(path, error=str(picture))
                continue
            mean, std = next(rows)
            if not np.isfinite(mean).all():
                raise ValueError(f"{model.name} gives outputs that are no numbers: its training has diverged.")
            quantities = answer.kind == "regression"
            order = range(len(mean)) if quantities else np.argsort(-mean, kind="stable")[:top]
            guesses = tuple(
                Guess(int(i), names[i] if names else None, float(mean[i]), float(std[i]) if samples else None)
                for i in order
            )
            entropy = answer.entropy(mean) if samples else None
            yield Prediction(path, guesses, entropy=entropy, shares=not quantities)


def reader(model: keras.Model, size: tuple[int, int] | None = None) -> Any:
    """A function that reads a picture file in the shape that a model takes: uint8 (height, width, channels).

    Raises:
        ValueError: for a model of images with other than one or three channels, and for a size where it has its own.
    """
    height, width, channels = model.input_shape[1:]
    if channels not in (1, 3):
        raise ValueError(f"Expected a model of grey or colour images; {model.name} takes {channels} channels.")
    if size and None not in (height, width):
        raise ValueError(f"Expected no size of images: {model.name} takes {height}x{width} only.")
    fixed = size or (None if None in (height, width) else (height, width))

    def read(path: Path) -> np.ndarray:
        picture = images.decode(path, channels)
        return images.fit(picture, fixed) if fixed else picture

    return read


def _groups(paths, read, batch_size):
    """Lists of (path, picture or the reason why there is none); the pictures of a list have one shape."""
    group: list[tuple[Any, Any]] = []
    shape = None
    for path in paths:
        try:
            picture = read(path)
        except (images.Unreadable, OSError) as error:
            picture = getattr(error, "strerror", None) or str(error)
        else:
            if shape not in (None, picture.shape):
                yield group
                group = []
            shape = picture.shape
        group.append((path, picture))
        if len(group) == batch_size:
            yield group
            group, shape = [], None
    if group:
        yield group
