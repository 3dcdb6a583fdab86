"""Classes of unequal size: noticed, shown more often, or weighted."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from .data import Data

NOTICED = 3.0  # times as many images: below that, balancing was not seen to matter
KINDS = ("none", "oversample", "weights")


def imbalance(data: Data) -> tuple[float, str, str]:
    """How many times as many training images the largest class has as the smallest.

    Args:
        data: a `training.data.Data`.

    Returns:
        (ratio, name of the largest class, name of the smallest).

    Example:
        >>> from convcraft import training
        >>> x, y = np.zeros((60, 8, 8, 1), "uint8"), np.repeat([0, 1], [40, 20])
        >>> data = training.data.load({"x_train": x, "y_train": y, "x_test": x, "y_test": y}, validation=0)
        >>> imbalance(data)
        (2.0, '0', '1')
    """
    counts = data.counts["train"]
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    return counts[most] / max(1, counts[least]), most, least


def notice(data: Data) -> str:
    """One sentence on imbalance that matters, with the remedies; empty where there is none."""
    ratio, most, least = imbalance(data)
    if ratio < NOTICED:
        return ""
    counts = data.counts["train"]
    return (
        f"{most} has {ratio:.1f} times the images of {least} ({counts[most]} and {counts[least]}): accuracy alone says "
        "little. Remedies: balance='oversample' shows small classes more often, balance='weights' makes each of their "
        "images count more."
    )


def class_weights(data: Data) -> dict[int, float]:
    """The weight of each class with which all classes count alike; its mean over the training images is 1.

    Args:
        data: a `training.data.Data`.

    Returns:
        A dictionary, label to weight: what `model.fit(class_weight=…)` takes.

    Example:
        >>> from convcraft import training
        >>> x, y = np.zeros((60, 8, 8, 1), "uint8"), np.repeat([0, 1], [40, 20])
        >>> data = training.data.load({"x_train": x, "y_train": y, "x_test": x, "y_test": y}, validation=0)
        >>> class_weights(data)
        {0: 0.75, 1: 1.5}
    """
    counts = np.array(list(data.counts["train"].values()), "float64")
    return {label: float(weight) for label, weight in enumerate(counts.sum() / (len(counts) * np.maximum(counts, 1)))}


def balance(data: Data, strength: float = 1.0) -> Data:
    """The same data, of which an epoch shows the images of small classes several times.

    No image is left out. Copies of an image are augmented each by its own draw. Validation and test images, and the
    counts, stay as they are.

    Args:
        data: a `training.data.Data`, not of tf.data, whose order is its own.
        strength: 1 for classes that are all shown as often as the largest, 0 for no change, between them a
            compromise: a class of n images where the largest has m is shown m^strength n^(1 - strength) times.

    Returns:
        A new `training.data.Data`.

    Raises:
        ValueError: for tf.data, and a strength beyond 0..1.

    Example:
        >>> from convcraft import training
        >>> x, y = np.zeros((60, 8, 8, 1), "uint8"), np.repeat([0, 1], [40, 20])
        >>> data = training.data.load({"x_train": x, "y_train": y, "x_test": x, "y_test": y}, validation=0)
        >>> np.bincount(balance(data).sources["train"].labels).tolist()
        [40, 40]
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"balance: expected strength from 0 to 1, received {strength!r}.")
    if data.streams:
        raise ValueError("balance: expected data that can be read in any order, received tf.data: balance that itself.")
    source = data.sources["train"]
    rows = np.concatenate([_repeated(source.labels, label, strength) for label in np.unique(source.labels)])
    return dataclasses.replace(data, sources={**data.sources, "train": source.subset(np.sort(rows))})


def _repeated(labels: np.ndarray, label: int, strength: float) -> np.ndarray:
    """The rows of a class as often as they are to be shown: each so often, some once more."""
    rows = np.flatnonzero(labels == label)
    largest = np.bincount(labels).max()
    count = round(largest**strength * len(rows) ** (1 - strength))
    order = np.random.default_rng([int(label), len(rows)]).permutation(rows)
    return np.resize(order, max(count, len(rows)))


def balanced_accuracy(labels: Sequence[int] | np.ndarray, predicted: Sequence[int] | np.ndarray) -> float:
    """The mean over classes of the share that is recognized: what accuracy would be were they of equal size.

    Example:
        >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
        0.5
    """
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(labels, predicted))
