"""Wrong labels on purpose, to learn how much of them a recipe bears."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ..data import Data, Source
from ..requirements import loaded

KINDS = ("uniform", "pairs", "permutation", "missing")
MISSING = -1  # in place of a label


class Relabelled:
    """The images of a source with other labels."""

    def __init__(self, source: Source, labels: np.ndarray):
        self.source = source
        self.labels = labels
        self.image_shape = source.image_shape
        self.paths = getattr(source, "paths", None)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32 images 0-255 (n, h, w, c) and int32 labels (n,)."""
        return self.source.batch(indices)[0], self.labels[indices]

    def subset(self, indices: np.ndarray) -> "Relabelled":
        """Returns the source of these images only, in this order."""
        return Relabelled(self.source.subset(indices), self.labels[indices])


def inject_label_noise(
    data: Data,
    rate: float | Mapping[str, float],
    kind: str = "uniform",
    *,
    splits: Sequence[str] = ("train", "val"),
    seed: int = 0,
) -> Data:
    """The same images, some of them with a wrong label.

    Validation labels are as wrong as those to train on, unless told otherwise: who has wrong labels has them there,
    too. The test set stays right.

    Args:
        data: a `training.data.Data` of classes, not of masks.
        rate: share of the images, from 0 to 1, that get another class than theirs; exact, up to rounding; images
            without a label are left alone. Or the share of each class, name to number, as where some classes are
            harder to tell; those not named stay right.
        kind: "uniform": any other class, all alike, as careless work has it; "pairs": always the next class, the last
            one's is the first, as where one class is taken for another; "permutation": the class that one random
            permutation without fixed points gives, as in Reed et al. 2014; "missing": no class, -1 in its place, for
            `BootstrappedCrossentropy(ignore=-1)`, in the training labels alone: nothing can be measured on the others.
        splits: which of train, val and test; those that there are.
        seed: of which images and which classes.

    Returns:
        A `training.data.Data`; `data` is left as it is.

    Raises:
        ValueError: for values outside, and for data that cannot be relabelled.

    Example:
        >>> from convcraft.training import data
        >>> clean = data.load("digits")
        >>> noisy = inject_label_noise(clean, 0.4)
        >>> wrong = noisy.sources["train"].labels != clean.sources["train"].labels
        >>> print(f"{wrong.mean():.2f}")
        0.40
    """
    shares = _shares(loaded(data, "inject_label_noise"), rate)
    splits = [splits] if isinstance(splits, str) else splits
    if kind not in KINDS:
        raise ValueError(f"Expected kind to be one of {', '.join(KINDS)}, received {kind!r}.")
    strange = sorted(set(splits) - {"train", "val", "test"})
    if strange:
        raise ValueError(f"Expected splits among train, val and test, received {strange[0]!r}.")
    if not data.sources or data.masks:
        raise ValueError("Expected data with a label for each image, not masks or your own tf.data.")
    classes = len(data.class_names)
    permutation = _derangement(classes, seed)
    if kind == "missing":
        splits = [split for split in splits if split == "train"]
    sources, counts = dict(data.sources), dict(data.counts)
    for number, split in enumerate(("train", "val", "test")):
        if split not in splits or split not in sources:
            continue
        rng = np.random.default_rng([seed, number])
        labels = sources[split].labels.copy()
        order = rng.permutation(len(labels))
        order = order[labels[order] != MISSING]
        if isinstance(rate, Mapping):
            of = [order[labels[order] == label] for label in range(classes)]
            chosen = np.concatenate([rows[: round(share * len(rows))] for rows, share in zip(of, shares, strict=True)])
        else:
            chosen = order[: round(rate * len(order))]
        if kind == "missing":
            labels[chosen] = MISSING
        elif kind == "permutation":
            labels[chosen] = permutation[labels[chosen]]
        else:
            steps = rng.integers(1, classes, len(chosen)) if kind == "uniform" else 1
            labels[chosen] = (labels[chosen] + steps) % classes
        sources[split] = Relabelled(sources[split], labels)
        found = np.bincount(labels[labels != MISSING], minlength=classes).tolist()
        counts[split] = dict(zip(data.class_names, found, strict=True))
    return dataclasses.replace(data, sources=sources, counts=counts)


def _shares(data, rate):
    """The share of each class, in the order of the classes."""
    if not isinstance(rate, Mapping):
        rates = {"": rate}
    else:
        rates = dict(rate)
        strange = [name for name in rates if name not in data.class_names]
        if strange:
            known = ", ".join(map(str, data.class_names[:10]))
            raise ValueError(f"Expected rate of classes among {known}; received {strange[0]!r}.")
    for name, share in rates.items():
        if not isinstance(share, int | float | np.number) or not 0 <= share <= 1:
            raise ValueError(f"Expected rate from 0 to 1, received {share!r}{f' of {name!r}' if name else ''}.")
    return [rates.get(name, rates.get("", 0.0)) for name in data.class_names]


def _derangement(classes, seed):
    """A random permutation that leaves no class in its place."""
    rng = np.random.default_rng([seed, 3])
    while True:
        found = rng.permutation(classes)
        if classes < 2 or (found != np.arange(classes)).all():
            return found
