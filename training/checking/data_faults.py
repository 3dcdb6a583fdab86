"""What is wrong with images and labels, before any network has seen them."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..diagnosis.symptoms import Finding
from .samples import Samples

FLAT = 0.01  # share of images of one colour that is worth a word
COPIED = 0.005  # share of a split that stands in training, too: below, sets of good repute have some
NEIGHBOURS = 10
PROBED = 300  # images; among fewer, neighbours agree or not by chance
LIKELY = 4.0  # deviations above chance from which neighbours agree
PROBE_SIDE = 8  # pixels: neighbours are alike in the large
SHUFFLES = 50

FATAL = ("no numbers in the images", "blank images", "one class", "labels out of range", "labels do not fit the loss")


def no_numbers(samples: Samples) -> Finding | None:
    """NaN or infinite pixels."""
    bad = {split: _broken(x) for split, x in samples.images.items()}
    if not any(rows.any() for rows in bad.values()):
        return None
    said = ", ".join(f"{rows.sum()} of {len(rows)} in {split}" for split, rows in bad.items() if rows.any())
    advice = "Mend or leave out these images: one of them makes the loss, and then every weight, no number"
    return Finding("no numbers in the images", f"pixels are NaN or infinite in {said} looked at", advice)


def constant(samples: Samples) -> Finding | None:
    """Images without anything on them."""
    if samples.pictures is None:
        return None
    x = samples.pictures.reshape(len(samples.pictures), -1)
    blank = int((x == x[:, :1]).all(axis=1).sum())
    if blank < max(2, FLAT * len(x)):
        return None
    name = "blank images" if blank == len(x) else "some blank images"
    said = f"{blank} of {len(x)} training images looked at are of one value"
    return Finding(name, said, "Look at them: files that were not found, channels or masks mixed up, a wrong scale")


def labels_fit(samples: Samples, outputs: int, kind: str, per_pixel: bool) -> Finding | None:
    """Numbers where the loss wants rows, or rows where it wants numbers.

    Args:
        samples: of the data.
        outputs: the model's last axis.
        kind: of the crossentropy: sparse, categorical, binary; any takes both.
        per_pixel: whether the model answers for each pixel.
    """
    name, y = "labels do not fit the loss", samples.train[1]
    rows = y.ndim == (4 if per_pixel else 2) and y.shape[-1] == outputs and outputs > 1
    numbers = y.ndim == (3 if per_pixel else 1) or y.shape[-1] == 1
    shape = "x".join(map(str, y.shape))
    if kind == "sparse" and not numbers:
        said = f"a sparse crossentropy takes one number a label, the labels have the shape {shape}"
        return Finding(name, said, "Take CategoricalCrossentropy, or labels.argmax(axis=-1)")
    if kind == "categorical" and not rows:
        said = f"a categorical crossentropy takes rows of {outputs} shares, the labels have the shape {shape}"
        return Finding(name, said, "Take SparseCategoricalCrossentropy, or keras.utils.to_categorical(labels)")
    if kind == "any" and not rows and not numbers or kind == "binary" and outputs > 1 and not rows:
        said = f"the model gives {outputs} numbers an image, the labels have the shape {shape}"
        return Finding(name, said, "Give the last layer as many units as there are classes")
    if kind in ("categorical", "any") and rows:
        sums = y.sum(axis=-1, dtype="float64")
        if np.abs(sums - 1).max() > 1e-3 or y.min() < 0:
            said = f"rows of labels should be shares that sum to 1, they sum to {sums.min():.3g} to {sums.max():.3g}"
            return Finding(name, said, "Several labels an image want BinaryCrossentropy; one wants to_categorical")
    return None


def labels_in_range(samples: Samples, outputs: int, kind: str, ignore: int | None) -> Finding | None:
    """Class numbers that no output stands for.

    Args:
        samples: of the data.
        outputs: the model's last axis.
        kind: of the crossentropy.
        ignore: the number that marks a missing label.
    """
    top = 1 if kind == "binary" else outputs - 1
    for split, y in samples.every_label.items():
        if kind not in ("sparse", "binary") and _rows(y):
            continue
        wrong = y[(y < 0) | (y > top)] if kind == "binary" else y[((y < 0) | (y > top) | (y % 1 != 0)) & (y != ignore)]
        if wrong.size:
            said = f"{wrong.size} labels of {split} are outside 0 to {top}, such as {wrong.flat[0]:g}"
            return Finding("labels out of range", said, "Count classes from 0, and give the model an output for each")
    return None


def missing_classes(samples: Samples, outputs: int) -> Finding | None:
    """Classes of which a split has no image.

    Args:
        samples: of the data.
        outputs: the model's last axis.
    """
    present = {split: set(np.unique(_numbers(y)).astype(int)) for split, y in samples.every_label.items()}
    if len(present["train"]) < 2:
        said = f"all labels of train are {_name(samples, min(present['train'], default=0))}"
        return Finding("one class", said, "Give images of all classes; files sorted by class must be read to the end")
    whole = {split for split, y in samples.every_label.items() if len(y) >= samples.totals[split]}
    for split in present:
        # a split that was read in part, or has fewer images than there are classes, may well lack some
        if split not in whole or samples.totals[split] < 2 * outputs:
            continue
        lacking = sorted(set(range(outputs)) - present[split])
        if lacking:
            some = ", ".join(_name(samples, number) for number in lacking[:5])
            said = f"{split} has no image of {len(lacking)} of {outputs} classes: {some}"
            advice = "Cut splits stratified, as training.data.load does; give the model no output without images"
            return Finding("class missing from a split", said, advice)
    return None


def copies(samples: Samples) -> Finding | None:
    """Images to measure with that stand among those to train on."""
    mine = set(samples.digests.get("train", ()))
    for split, digests in samples.digests.items():
        found = 0 if split == "train" else sum(digest in mine for digest in digests)
        if found > max(1, COPIED * len(digests)):
            part = len(samples.digests["train"]), samples.totals["train"]
            said = f"{found} of {len(digests)} images of {split} stand in train, too"
            said += f" ({part[0]:,} of its {part[1]:,} were compared)" if part[0] < part[1] else ""
            advice = (
                f"Take them out: results on {split} flatter. Cut splits before augmentation, by source and not by file"
            )
            return Finding("the same images in two splits", said, advice)
    return None


def unrelated(x: np.ndarray, y: np.ndarray) -> Finding | None:
    """Images that look alike have labels that agree no more than by chance.

    Each image's nearest neighbours, small and grey, are asked for their labels; and how often those would agree if
    labels were dealt out anew, many times. Sets where only details tell classes apart have nothing to show here, so few
    images, and images of one colour, are not judged.

    Args:
        x: images.
        y: their classes.

    Reference:
        Cover & Hart 1967, "Nearest neighbor pattern classification".
    """
    agreed = agreement(x, y)
    if agreed is None or agreed[0] >= LIKELY:
        return None
    deviations, share, chance = agreed
    said = (
        f"images that look most alike have the same label in {100 * share:.1f} % of all cases, {100 * chance:.1f} % by "
    )
    said += f"chance ({deviations:+.1f} deviations)"
    advice = (
        "Look at images with their labels: shuffled apart, or sorted differently? Else details alone tell classes apart"
    )
    return Finding("labels look shuffled", said, advice)


def agreement(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float] | None:
    """How far above chance neighbours' labels agree, in deviations; their share; that of chance.

    Args:
        x: images (n, height, width, channels).
        y: their classes, as numbers or rows.

    Returns:
        None where there are too few images to tell.
    """
    from sklearn.neighbors import NearestNeighbors

    labels = _numbers(y)
    sound = np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
    x, labels = x[sound], labels[sound]
    if x.ndim != 4 or len(x) < PROBED or len(x) < 8 * len(np.unique(labels)) or labels.ndim != 1:
        return None
    best: tuple[float, float, float] | None = None
    rng = np.random.default_rng(0)
    for features in _looks(x):
        near = NearestNeighbors(n_neighbors=NEIGHBOURS + 1, algorithm="brute").fit(features)
        others = near.kneighbors(return_distance=False)[:, :NEIGHBOURS]  # of the fitted: without the image itself

        def share(given: np.ndarray, others: np.ndarray = others) -> float:
            return float((given[others] == given[:, None]).mean())

        dealt = np.array([share(rng.permutation(labels)) for _ in range(SHUFFLES)])
        mine = share(labels)
        found = (mine - dealt.mean()) / max(dealt.std(), 1e-6), mine, float(dealt.mean())
        best = found if best is None or found > best else best
    return best


def _looks(x: np.ndarray) -> list[np.ndarray]:
    """Images as a few numbers, in two ways: small, and small with brightness and contrast taken out."""
    steps = [max(1, math.ceil(side / PROBE_SIDE)) for side in x.shape[1:3]]
    windows = sliding_window_view(x, steps, axis=(1, 2))[:, :: steps[0], :: steps[1]]
    small = windows.mean(axis=(-2, -1)).reshape(len(x), -1)
    normal = small - small.mean(axis=1, keepdims=True)
    return [small, normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)]


def last_batch(count: int, batch_size: int, replicas: int) -> Finding | None:
    """A last batch of which some device gets nothing.

    Args:
        count: training images.
        batch_size: of all devices together.
        replicas: devices.
    """
    last = count % batch_size
    if replicas < 2 or not 0 < last < replicas:
        return None
    said = f"the last of {-(-count // batch_size)} batches has {last} of {batch_size} images, for {replicas} devices"
    advice = "Drop the last batch, choose another batch_size, or pass a training.data.Data, whose batches are filled up"
    return Finding("last batch smaller than the devices", said, advice)


def _broken(x: Any) -> np.ndarray:
    """Which of the images have a pixel, in any input, that is no number."""
    each = keras.tree.flatten(x)
    return np.any([(~np.isfinite(one)).any(axis=tuple(range(1, one.ndim))) for one in each], axis=0)


def _rows(y: np.ndarray) -> bool:
    return y.ndim > 1 and y.shape[-1] > 1


def _numbers(y: np.ndarray) -> np.ndarray:
    """Classes as numbers."""
    return y.argmax(axis=-1) if _rows(y) else y.reshape(len(y)) if y.ndim <= 2 else y


def _name(samples: Samples, number: int) -> str:
    names: Sequence[str] = samples.names
    return names[number] if number < len(names) else str(number)
