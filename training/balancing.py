"""Classes of unequal size: noticed, shown more or less often, in equal shares, in two stages, or weighted."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from .data import Data
from .data.sampling import EPOCHS, STAGES, Epochs, Stages
from .requirements import loaded

NOTICED = 3.0  # times as many images: below that, balancing was not seen to matter
KINDS = ("none", *EPOCHS, "weights", "two_stage")  # of `--balance`
FIRST_STAGE = 2 / 3  # of the epochs, where nobody says otherwise


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
    counts = _classes(data, "imbalance")
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
    counts = np.array(list(_classes(data, "class_weights").values()), "float64")
    return {label: float(weight) for label, weight in enumerate(counts.sum() / (len(counts) * np.maximum(counts, 1)))}


def balance(data: Data, kind: str = "oversample", *, strength: float = 1.0) -> Data:
    """The same data, of which an epoch of training shows images of small classes more often, or of large ones fewer.

    Nothing is copied, and no image is left out for good: the order of an epoch follows from (seed, epoch), as it does
    without, and goes round each class. Images that are shown several times are augmented each time by another draw.
    Sources, counts, validation and test images stay as they are.

    Args:
        data: a `training.data.Data`, not of tf.data, whose order is its own.
        kind: what an epoch shows.
            "oversample": every image, those of small classes several times, until classes are equal.
            "undersample": of each class as many as the smallest has, in each epoch others.
            "batches": as many images as there are; every batch has equally many of each class, or one more of some.
            "crops": as "oversample"; where an image is shown again, it is a crop of half of its area or more, another
            one each time.
        strength: of all but "batches": 1 for classes that are shown alike, 0 for no change, between them a compromise:
            a class of n images where the largest (of "undersample" the smallest) has m is shown m^strength
            n^(1 - strength) times.

    Returns:
        A new `training.data.Data`.

    Raises:
        ValueError: for tf.data, masks, images without a label, other kinds, and a strength beyond 0..1.

    Example:
        >>> from convcraft import training
        >>> x, y = np.zeros((60, 8, 8, 1), "uint8"), np.repeat([0, 1], [40, 20])
        >>> data = training.data.load({"x_train": x, "y_train": y, "x_test": x, "y_test": y}, validation=0)
        >>> {kind: balance(data, kind).feed("train").size for kind in ("oversample", "undersample", "batches")}
        {'oversample': 80, 'undersample': 40, 'batches': 60}

    Reference:
        Wei: Must Know Tips/Tricks in Deep Neural Networks, Miscellaneous (imbalance); Wei et al., ChaLearn 2015.
    """
    if kind not in EPOCHS:
        known = ", ".join(EPOCHS)
        weights = (
            ": weights go into the loss, fit(class_weight=training.class_weights(data))" if kind == "weights" else ""
        )
        raise ValueError(f"balance: expected kind to be one of {known}; received {kind!r}{weights}.")
    if not isinstance(strength, int | float | np.number) or not 0 <= strength <= 1:
        raise ValueError(f"balance: expected strength from 0 to 1, received {strength!r}.")
    if kind == "batches" and strength != 1:
        raise ValueError(f"balance: expected strength 1 with batches, whose shares are equal, received {strength!r}.")
    _check(data, "balance")
    return dataclasses.replace(data, sampling=Epochs(kind, strength))


def two_stage(data: Data, switch: int, first: str = "all", second: str = "balanced") -> Data:
    """The same data in two stages: epochs before `switch` show them in one way, those from it on in another.

    All epochs are as long as without. The model stays the same, with one classifier for all classes; plain `fit` trains
    it, and a run that is killed goes on exactly where it stopped, in either stage. The rate decides what the second
    stage may change: where a schedule has all but ended, little; where it begins anew, "tail" forgets what "head" has
    learned (docs/imbalance.md).

    Args:
        data: a `training.data.Data`, not of tf.data.
        switch: number of epochs of the first stage, at least 1.
        first: "all": the images as they are; "balanced": batches with equally many of each class; "head": images of
            large classes alone, those of at least the mean size; "tail": those of the other classes alone.
        second: one of these, too. "head", then "tail" is Wei's advice; "all", then "balanced" defers the balancing, as
            Cao et al. do; "balanced", then "all" is the reverse.

    Returns:
        A new `training.data.Data`.

    Raises:
        ValueError: for tf.data, masks, images without a label, other stages, and classes that are all of one size
            where a stage shows only some of them.

    Example:
        >>> from convcraft import training
        >>> x, y = np.zeros((60, 8, 8, 1), "uint8"), np.repeat([0, 1], [40, 20])
        >>> data = training.data.load({"x_train": x, "y_train": y, "x_test": x, "y_test": y}, validation=0)
        >>> feed = two_stage(data, 5, "head", "tail").feed("train", batch_size=60)
        >>> [np.bincount(labels).tolist() for epoch in (4, 5) for _, labels in feed.numpy(epoch)]
        [[60], [0, 60]]

    Reference:
        Wei et al., ChaLearn 2015 (two-stage fine-tuning); Cao et al. 2019, arXiv 1906.07413, section 3.3.
    """
    for name, stage in (("first", first), ("second", second)):
        if stage not in STAGES:
            raise ValueError(f"two_stage: expected {name} to be one of {', '.join(STAGES)}; received {stage!r}.")
    if isinstance(switch, bool) or not isinstance(switch, (int, np.integer)) or switch < 1:
        raise ValueError(f"two_stage: expected switch to be a number of epochs, at least 1; received {switch!r}.")
    _check(data, "two_stage")
    if {first, second} & {"head", "tail"} and imbalance(data)[0] == 1:
        raise ValueError("two_stage: expected classes of unequal size, for head and tail; received equal ones.")
    return dataclasses.replace(data, sampling=Stages(first, second, int(switch)))


def _classes(data: Data, name: str) -> dict[str, int]:
    """The number of training images of each class."""
    if loaded(data, name).masks:
        raise ValueError(f"{name}: expected a label for each image, received masks.")
    return data.counts["train"]


def _check(data: Data, name: str) -> None:
    """Refuses what has no order of ours, or no classes to balance."""
    if loaded(data, name).streams:
        raise ValueError(f"{name}: expected data that can be read in any order, received tf.data: balance that itself.")
    if data.masks:
        raise ValueError(f"{name}: expected a label for each image, received masks: weight the classes in the loss.")
    missing = int((data.sources["train"].labels < 0).sum())
    if missing:
        raise ValueError(f"{name}: expected a label for each image, received {missing} without.")


def balanced_accuracy(labels: Sequence[int] | np.ndarray, predicted: Sequence[int] | np.ndarray) -> float:
    """The mean over classes of the share that is recognized: what accuracy would be were they of equal size.

    Example:
        >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
        0.5
    """
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(labels, predicted))
