"""Data sets that are arrays. Checked, and refused before training.

Images must be 0-255. What is accepted as such: uint8; other integers from 0 to 255; 16-bit integers above
that (divided by 257); booleans (times 255); floats from 0 to 255 whose maximum is above 1.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from .images import to_channels
from .splits import SPLITS, Loaded, few
from .stored import ArraySource, Source, hash_arrays


def read_arrays(arrays: Mapping[str, Any], size: tuple[int, int] | None, channels: int | None) -> Loaded:
    """Reads a mapping with the keys of `read_npz`.

    Args:
        arrays: images (n, h, w, c) or (n, h, w); labels integers (n,) or (n, 1), or strings.
        size: (height, width) to resize to, whatever the aspect; None keeps the arrays' own.
        channels: 1 or 3 to convert, None keeps.

    Raises:
        ValueError: for anything that would train on nonsense; the message says what and how to mend it.
    """
    renamed = {f"{key}_train" if key in ("x", "y") else key: value for key, value in arrays.items()}
    known = [f"{axis}_{split}" for split in SPLITS for axis in "xy"]
    if not {"x_train", "y_train"} <= set(renamed):
        raise ValueError(
            "Expected the arrays x_train and y_train (or x and y), and possibly x_val y_val x_test y_test "
            f"names, received {', '.join(sorted(arrays)) or 'none'}."
        )
    notes = [f"array {key!r} ignored" for key in sorted(set(renamed) - {*known, "names"})]
    conversions: Counter[str] = Counter()
    images, labels = {}, {}
    for split in SPLITS:
        x, y = renamed.get(f"x_{split}"), renamed.get(f"y_{split}")
        if x is None and y is None:
            continue
        if x is None or y is None:
            raise ValueError(f"Expected both x_{split} and y_{split}, received only one of them.")
        x, y = np.asarray(x), np.asarray(y)
        if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or not len(x):
            raise ValueError(
                f"Expected as many images as labels, and at least one, received x_{split} of shape {x.shape} "
                f"and y_{split} of shape {y.shape}."
            )
        images[split] = check_images(x, f"x_{split}", conversions)
        labels[split] = check_labels(y, f"y_{split}")
    given = renamed.get("names")
    names, targets = _classes(labels, None if given is None else [str(name) for name in given])
    sha256 = hash_arrays(np.array(names), *(array for split in images for array in (images[split], targets[split])))
    if channels:
        images = {split: _converted(array, channels, conversions) for split, array in images.items()}
    shapes = {split: array.shape[3:] if size else array.shape[1:] for split, array in images.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"Expected images of one shape in all splits, received {shapes}: pass size= or channels=.")
    sizes: Counter[tuple[int, int]] = Counter()
    for array in images.values():
        sizes[array.shape[1], array.shape[2]] += len(array)
    sources: dict[str, Source] = {split: ArraySource(images[split], targets[split], size) for split in images}
    return Loaded(sources, names, sha256, sizes, notes, conversions)


def check_images(x: np.ndarray, name: str, conversions: Counter[str] | None = None) -> np.ndarray:
    """Returns images as uint8 or float32 (n, h, w, c), 0-255, or raises a ValueError that says why not."""
    conversions = Counter() if conversions is None else conversions
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"Expected {name} of shape (n, height, width, channels), received {x.shape}.")
    if x.shape[1] in (1, 3) and x.shape[3] > 4:
        raise ValueError(
            f"Expected {name} with channels last, received shape {x.shape}: pass {name}.transpose(0, 2, 3, 1)."
        )
    if x.dtype == bool:
        conversions["booleans times 255"] += len(x)
        return x.astype(np.uint8) * np.uint8(255)
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind not in "iuf":
        raise ValueError(f"Expected {name} of numbers, received dtype {x.dtype}.")
    low, high = float(x.min()), float(x.max())
    if not np.isfinite([low, high]).all():  # minimum and maximum are NaN if any value is
        bad = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2, 3)))
        raise ValueError(
            f"Expected {name} to be finite, received NaN or infinity in {len(bad)} images, first {bad[:5].tolist()}."
        )
    if x.dtype.kind in "iu" and low >= 0 and 255 < high <= 65535:
        conversions["16-bit values divided by 257"] += len(x)
        return np.rint(x / 257).astype(np.uint8)
    check_range(low, high, name, x.dtype.kind == "f")
    return x.astype(np.float32 if x.dtype.kind == "f" else np.uint8)


def check_range(low: float, high: float, name: str, floats: bool) -> None:
    """Raises a ValueError where values from low to high cannot be pixels 0-255, or are floats 0-1."""
    if not np.isfinite([low, high]).all():
        raise ValueError(f"Expected {name} to be finite, received NaN or infinity.")
    if low < 0 or high > 255:
        raise ValueError(
            f"Expected {name} within 0-255, received {low:g} to {high:g}: models do their own "
            "preprocessing, so pass the raw pixels, before any standardization."
        )
    if floats and high <= 1:
        raise ValueError(f"Expected {name} within 0-255, received floats up to {high:g}: multiply by 255.")


def check_labels(y: np.ndarray, name: str) -> np.ndarray:
    """Returns labels (n,), integers >= 0 or strings, or raises a ValueError that says what is wrong."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        hint = f": one-hot labels? pass {name}.argmax(1)" if y.ndim == 2 else ""
        raise ValueError(f"Expected {name} of shape (n,) or (n, 1), received {y.shape}{hint}.")
    if y.dtype.kind == "S":
        y = np.char.decode(y)
    if y.dtype.kind == "O" and all(isinstance(label, str) for label in y):
        y = y.astype(str)
    if y.dtype.kind == "U":
        return y
    if y.dtype.kind not in "iub":
        raise ValueError(
            f"Expected {name} to be integers or strings, received dtype {y.dtype}: pass {name}.astype('int32')."
        )
    if y.dtype.kind == "i" and y.min() < 0:
        raise ValueError(f"Expected {name} >= 0, received {y.min()}: number the classes from 0.")
    return y


def _classes(labels: dict[str, np.ndarray], names: list[str] | None) -> tuple[list[str], dict[str, np.ndarray]]:
    """Turns checked labels into class names and int32 targets."""
    twice = sorted(name for name, count in Counter(names or ()).items() if count > 1)
    if twice:
        raise ValueError(f"Expected each class's name once, received {few(twice)} more than once.")
    kinds = {array.dtype.kind == "U" for array in labels.values()}
    if len(kinds) > 1:
        raise ValueError("Expected labels of one kind in all splits, received strings in some and integers in others.")
    if kinds == {True}:
        names = sorted(set(labels["train"].tolist())) if names is None else names
        number = {name: index for index, name in enumerate(names)}
        strange = sorted({label for array in labels.values() for label in array.tolist()} - set(names))
        if strange:
            raise ValueError(f"Expected labels among {few(names)}, received {few(strange)} as well.")
        labels = {split: np.array([number[label] for label in array]) for split, array in labels.items()}
    highest = max(int(array.max()) for array in labels.values())
    classes = highest + 1 if names is None else len(names)
    if highest >= classes:
        raise ValueError(f"Expected labels 0 to {classes - 1} ({classes} names), received {highest}.")
    if classes < 2:
        raise ValueError("Expected at least two classes, received one: there is nothing to tell apart.")
    present = set(np.unique(labels["train"]).tolist())
    if len(present) < classes:
        empty = [label for label in range(min(classes, len(present) + 5)) if label not in present]
        shown = [names[label] if names else str(label) for label in empty]
        raise ValueError(
            f"Expected training images of all {classes} classes, received none of {few(shown)}: leave them "
            "out of the names, and number the labels from 0 without gaps."
        )
    names = [str(label) for label in range(classes)] if names is None else names
    return names, {split: array.astype(np.int32) for split, array in labels.items()}


def _converted(images: np.ndarray, channels: int, conversions: Counter[str]) -> np.ndarray:
    if images.shape[3] not in (1, 3):
        raise ValueError(f"Expected images of 1 or 3 channels for channels={channels}, received {images.shape[3]}.")
    if images.shape[3] != channels:
        conversions["grey repeated to RGB" if channels == 3 else "RGB to grey"] += len(images)
    return to_channels(images, channels)
