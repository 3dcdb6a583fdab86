"""Loads images for training, from a name, a folder, a table, arrays or the user's own tf.data, into one form.

Whatever the source: float32 images, 0-255, height x width x channels; int32 labels; train, validation and
test apart; every problem named before training starts. Models do their own preprocessing.
"""

import operator
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import arrays, folders, sources, streams, tfds
from .dataset import Data
from .draws import Augment, augmentation
from .splits import SPLITS, Loaded, Report, complete, fold_of
from .streams import Stream


def load(
    source: Any,
    *,
    size: int | tuple[int, int] | None = None,
    batch_size: int = 32,
    validation: float = 0.1,
    seed: int = 0,
    augment: Augment | Any | None = None,
    mix: bool = False,
    alternate_flip: bool = False,
    channels: int | None = None,
) -> Data:
    """Loads a data set.

    Where there is a validation set and no test set, it serves as test set, and validation is cut from
    training. Where there is neither, both are cut, stratified, at least one image a class where there are
    two. A test set that is cut is a tenth, the same for every seed and every `validation`.

    Args:
        source: one of
            - a name: digits, cifar10, cifar100, mnist, fashion_mnist, or of what `$CONVCRAFT_DATA` holds: for
              every name `$CONVCRAFT_DATA/<name>.npz`, then the folder `$CONVCRAFT_DATA/<name>/`, come first;
            - "tfds:NAME", a set of TensorFlow Datasets (the package is not installed with convcraft), in its format
              array_record; what is not prepared yet is downloaded;
            - a folder with a folder for each class, or with train, val and test folders that have them;
            - a .csv of files, relative to it (columns file or path, label or class, and possibly split);
            - an .npz, or a dictionary, of x_train y_train [x_val y_val] [x_test y_test] [names], or x y;
            - a tuple (x, y) of arrays; ((x, y), (x, y)) of training and test arrays;
            - a tf.data.Dataset, or a tuple or dictionary of up to three (train, val, test), batched or not.
            Behind a name or a path given as text, "@2/5" makes the second of five stratified folds of the training
            images the validation set, the same for every seed.
        size: side, or (height, width), in pixels; bilinear, antialiased when shrinking. Files keep their
            aspect and lose what exceeds it around the centre; arrays and tf.data are stretched. None: the
            data's own, 32 for digits.
        batch_size: images a batch, at most as many as there are.
        validation: fraction of the training images to hold out, where there is no validation set; 0 for none.
        seed: of the validation split, the order and the augmentation.
        augment: of training images: a pipeline's name (light, standard, heavy, modern; see
            `layers.RandomTransform`); one of our augmentation layers, or of Keras's; or a pure function
            `(float32 images [n, h, w, c], int32 seeds [n]) -> images`.
        mix: whether to mix training images and their labels by MixUp and CutMix (`layers.MixUpCutMix`). Labels are
            one-hot then, those of validation too: compile with `keras.losses.CategoricalCrossentropy`.
        alternate_flip: whether to mirror each training image left and right in every other epoch; see `Feed`.
        channels: 1 or 3 to convert; None: grey stays grey, a mixed folder becomes RGB.

    Raises:
        ValueError, FileNotFoundError: for data on which training would fail or mislead; the message names the
            argument, what was found, and the remedy.

    Example:
        >>> data = load("digits")
        >>> data.image_shape, len(data.sources["train"]), len(data.sources["val"]), len(data.sources["test"])
        ((32, 32, 1), 1293, 144, 360)
    """
    size = _size(size)
    if not 0 <= validation < 1:
        raise ValueError(f"Expected validation within [0, 1), a fraction, received validation={validation}.")
    for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
        if not hasattr(value, "__index__") or operator.index(value) < least:
            raise ValueError(f"Expected {name} to be an integer >= {least}, received {name}={value!r}.")
    if channels not in (None, 1, 3):
        raise ValueError(f"Expected channels=None, 1 or 3, received channels={channels!r}.")
    augment = augmentation(augment)
    datasets = streams.by_split(source)
    if datasets:
        if alternate_flip:
            raise ValueError("Expected alternate_flip=False with your own tf.data, received True: mirror it by .map.")
        if mix:
            raise ValueError(
                "Expected mix=False with your own tf.data, received True: apply layers.MixUpCutMix by .map."
            )
        return _from_streams(datasets, size, batch_size, seed, augment, channels)
    source, fold = fold_of(source)
    name, loaded = _read(source, size, channels)
    complete(loaded, validation, seed, fold)
    counts = {}
    for split, part in loaded.sources.items():
        images = np.bincount(part.labels, minlength=len(loaded.class_names)).tolist()
        counts[split] = dict(zip(loaded.class_names, images, strict=True))
    shape = loaded.sources["train"].image_shape
    report = Report(name, counts, shape, dict(loaded.sizes), loaded.notes, dict(loaded.conversions), loaded.unreadable)
    mixes = mixer(len(loaded.class_names), seed) if mix else None
    names, parts = loaded.class_names, loaded.sources
    return Data(names, counts, shape, report, loaded.sha256, batch_size, seed, parts, augment, mixes, alternate_flip)


def _read(source: Any, size: tuple[int, int] | None, channels: int | None) -> tuple[str, Loaded]:
    if tfds.is_tfds(source):
        return source, tfds.read_tfds(source, size, channels)
    if isinstance(source, (str, os.PathLike)):
        found = sources.locate(source)
        if isinstance(found, str):
            loaded = sources.read_name(found, size, channels)
            if os.path.exists(found):
                loaded.notes.append(f"the name {found!r} was meant; for the path beside you pass './{found}'")
            return found, loaded
        return str(found), _read_path(found, size, channels)
    if isinstance(source, (tuple, list)) and len(source) in (2, 3):
        if all(isinstance(pair, tuple) and len(pair) == 2 for pair in source):
            splits = SPLITS if len(source) == 3 else ("train", "test")
            source = {
                f"{axis}_{s}": a
                for s, pair in zip(splits, source, strict=True)
                for axis, a in zip("xy", pair, strict=True)
            }
        elif len(source) == 2:
            source = {"x": source[0], "y": source[1]}
    if isinstance(source, Mapping):
        return "arrays", arrays.read_arrays(source, size, channels)
    raise ValueError(
        "Expected source to be a name, a path, a tuple (x, y) or dictionary of arrays, or "
        f"tf.data.Datasets, received {type(source).__name__}."
    )


def _read_path(path: pathlib.Path, size: tuple[int, int] | None, channels: int | None) -> Loaded:
    if path.is_dir():
        return folders.read_folder(path, size, channels)
    if path.suffix.lower() == ".csv":
        return folders.read_csv(path, size, channels)
    if path.suffix.lower() == ".npz":
        return sources.read_npz(path, size, channels)
    raise ValueError(f"Expected source to be a folder, a .csv or an .npz, received the file {path}.")


def _from_streams(
    datasets: dict[str, Any],
    size: tuple[int, int] | None,
    batch_size: int,
    seed: int,
    augment: Augment | None,
    channels: int | None,
) -> Data:
    if augment is not None:
        raise ValueError("Expected augment=None with your own tf.data, received a function: apply it with .map.")
    parts = {split: Stream(dataset, split, size, batch_size) for split, dataset in datasets.items()}
    shape = parts["train"].image_shape
    for split, part in parts.items():
        if part.image_shape != shape or channels not in (None, shape[2]):
            raise ValueError(
                f"Expected images like those of train, {shape}, and channels={channels}, received "
                f"{part.image_shape} in {split}."
            )
    notes = ["order, batches, shuffling and augmentation are the tf.data pipeline's own"]
    if "val" in parts and "test" not in parts:
        parts["test"] = parts["val"]
        notes.append("the validation set serves as test set too: nothing can be cut from a stream")
    elif "val" not in parts:
        notes.append("no validation set: nothing can be cut from a stream")
    classes = max(len(part.counts) for part in parts.values())
    names = [str(name) for name in getattr(datasets["train"], "class_names", range(classes))]
    if len(names) < max(2, classes):
        raise ValueError(f"Expected at least {max(2, classes)} classes, received the names {names}.")
    counts = {
        split: {name: int(part.counts[i]) if i < len(part.counts) else 0 for i, name in enumerate(names)}
        for split, part in parts.items()
    }
    missing = [name for name, number in counts["train"].items() if not number]
    if missing:
        raise ValueError(f"Expected training images of all {len(names)} classes, received none of {missing[:10]}.")
    report = Report("tf.data", counts, shape, notes=notes)
    return Data(names, counts, shape, report, None, parts["train"].batches[0], seed, {}, streams=parts)


def mixer(classes: int, seed: int) -> Any:
    """What mixes images and labels of so many classes, by MixUp or CutMix."""
    from convcraft.layers import MixUpCutMix  # and Keras with it

    return MixUpCutMix(classes=classes, data_format="channels_last", seed=seed)


def _size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2 or any(not isinstance(side, (int, np.integer)) or side < 1 for side in pair):
        raise ValueError(f"Expected size to be a positive integer or (height, width), received size={size!r}.")
    return int(pair[0]), int(pair[1])
