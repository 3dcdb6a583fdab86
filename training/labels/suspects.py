"""The labels of a data set that are probably wrong: found, ranked, and shown to whoever can tell."""

import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Data, Source
from ..evaluate import source
from ..restoring import same_draws
from ..rundir import write_atomically
from .confident_learning import Judged, judge
from .held_out import MODEL, features_of, loaded, out_of_sample

if TYPE_CHECKING:
    import keras

PICTURES = 200


@dataclass(frozen=True)
class Suspect:
    """An image whose label is probably wrong.

    Attributes:
        rank: from 1, the most suspicious first.
        split: train, val or test.
        index: of the image in its split.
        file: where it comes from; "" where it comes from an array.
        given: the label's name.
        suggested: the name of the more probable class.
        confidence: probability of the suggested class.
        given_confidence: probability of the given one.
    """

    rank: int
    split: str
    index: int
    file: str
    given: str
    suggested: str
    confidence: float
    given_confidence: float


@dataclass(frozen=True, repr=False)
class SuspiciousLabels:
    """What `suspicious_labels` returns.

    Attributes:
        rows: the suspects, the most suspicious first.
        images: how many were judged.
        without: how many have no label, and were not.
        share: estimated share of wrong labels.
        agreement: share of the labels that are the held-out classifier's first choice: where it is low, it knows too
            little to accuse anybody.
        margins: by split, for each image the probability of its label less that of the most probable other class; NaN
            without a label. The smallest are the most suspicious, beyond those in `rows`, too.
        class_names: by label.
        name: of the data.
        sources: the images, by split.
    """

    rows: tuple[Suspect, ...]
    images: int
    without: int
    share: float
    agreement: float
    margins: dict[str, np.ndarray]
    class_names: list[str]
    name: str
    sources: dict[str, Source] = field(repr=False)

    def __repr__(self) -> str:
        """In one line."""
        found = f"{len(self.rows)} of {self.images} images"
        return f"<SuspiciousLabels of {self.name}: {found}; estimated {self.share:.1%} wrong>"

    def to_csv(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """Writes all rows as a table; returns its path."""
        said = io.StringIO()
        writer = csv.writer(said, lineterminator="\n")
        writer.writerow([each.name for each in dataclasses.fields(Suspect)])
        for row in self.rows:
            numbers = (f"{row.confidence:.4f}", f"{row.given_confidence:.4f}")
            writer.writerow([*dataclasses.astuple(row)[:-2], *numbers])
        return _written(path, said.getvalue())

    def to_html(self, path: str | os.PathLike[str], pictures: int = PICTURES) -> pathlib.Path:
        """Writes a page with the pictures of the first rows, at most so many; returns its path.

        One file, which needs no network.
        """
        from ..report.labels import page

        if pictures < 1:
            raise ValueError(f"to_html: expected pictures to be at least 1; received {pictures}.")
        shown = self.rows[:pictures]
        images = [self.sources[row.split].batch(np.array([row.index]))[0][0] for row in shown]
        return _written(path, page(self, [np.clip(np.rint(each), 0, 255).astype("uint8") for each in images]))


@same_draws()
def suspicious_labels(
    data: Any,
    model: "keras.Model | str | os.PathLike[str] | None" = None,
    *,
    probabilities: Mapping[str, np.ndarray] | None = None,
    splits: Sequence[str] = ("train", "val", "test"),
    folds: int = 5,
    seed: int = 0,
) -> SuspiciousLabels:
    """Finds the labels that are probably wrong, by classifiers that were fitted without the image in question.

    A network that was trained on wrong labels has learned them by heart, and finds nothing. So images are turned into
    features by a pretrained network, which stays as it is, and each image is judged by a logistic regression of the
    others. It can tell what such features tell: rare confusions of classes that look alike remain a guess, and so does
    the suggestion. Look before you relabel.

    Args:
        data: a `training.data.Data`, or what `training.data.load` takes: a folder of class folders.
        model: what makes the features, as for `fine_tune`: MODEL:WEIGHTS, a `.keras` file, a run's directory or a Keras
            model, but none that was trained on these labels. None: a SqueezeNet that comes with the package.
        probabilities: in place of model and regression, by split, float (n, classes): of classifiers of your own, each
            image's by one that was not trained on it.
        splits: which of train, val and test are judged; those that there are.
        folds: of the cross-validation; fewer where a class has fewer images.
        seed: of the folds.

    Returns:
        A `SuspiciousLabels`, with `rows`, `to_csv(path)` and `to_html(path)`.

    Raises:
        ValueError: for masks, a class with fewer than two images, other splits, and probabilities that are none.

    Example:
        >>> from convcraft import training
        >>> clean = training.data.load("digits", size=8)
        >>> noisy = training.inject_label_noise(clean, 0.05)
        >>> sure = {"train": np.eye(10)[clean.sources["train"].labels] * 0.9 + 0.01}  # of a classifier that is right
        >>> found = suspicious_labels(noisy, probabilities=sure)
        >>> int((noisy.sources["train"].labels != clean.sources["train"].labels).sum()), len(found.rows)
        (65, 65)

    Reference:
        Northcutt, Jiang, Chuang 2021, arXiv 1911.00068.
    """
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise ValueError(f"suspicious_labels: expected folds to be a whole number, at least 2; received {folds!r}.")
    splits = [splits] if isinstance(splits, str) else splits
    if probabilities is not None and not (isinstance(probabilities, Mapping) and probabilities):
        raise ValueError(
            "suspicious_labels: expected probabilities to be a dictionary, split to an array (n, classes); received "
            f"{type(probabilities).__name__}."
        )
    strange = sorted(set(splits) - {"train", "val", "test"})
    if strange or not splits:
        raise ValueError(f"suspicious_labels: expected splits among train, val and test; received {list(splits)}.")
    images = data if isinstance(data, Data) else loaded(data, model or MODEL)
    if images.masks:
        raise ValueError("suspicious_labels: expected a label for each image, received masks.")
    chosen = [split for split in images.counts if split in (probabilities or splits) and split in splits]
    if not chosen:
        raise ValueError(
            f"suspicious_labels: expected a split among {', '.join(images.counts)}; received "
            f"{list(probabilities or splits)}."
        )
    sources = {split: source(images, split) for split in chosen}
    labels = np.concatenate([each.labels for each in sources.values()])
    known = np.flatnonzero(labels >= 0)
    _check_labels(labels[known], images.class_names)
    if probabilities is not None:
        found = _given(probabilities, sources, len(images.class_names))[known]
    else:
        features = features_of(model or MODEL, images, sources)
        found = out_of_sample(features[known], labels[known], folds, seed)
    return _ranked(images, sources, labels, known, found, judge(labels[known], found))


def _check_labels(labels: np.ndarray, names: Sequence[str]) -> None:
    """Refuses classes that cannot be held out."""
    sizes = np.bincount(labels, minlength=len(names))
    if sizes.min() < 2:
        name = names[int(sizes.argmin())]
        raise ValueError(
            f"suspicious_labels: expected at least 2 labelled images of each class, to hold one out; received "
            f"{sizes.min()} of {name!r}."
        )


def _given(probabilities: Mapping[str, np.ndarray], sources: Mapping[str, Source], classes: int) -> np.ndarray:
    """The probabilities of the user's own classifiers, checked."""
    parts = []
    for split, each in sources.items():
        found = np.asarray(probabilities[split], "float64")
        if found.shape != (len(each), classes):
            raise ValueError(
                f"suspicious_labels: expected probabilities of {split} of shape {(len(each), classes)}; received "
                f"{found.shape}."
            )
        if not np.isfinite(found).all() or found.min() < 0 or np.abs(found.sum(axis=1) - 1).max() > 1e-2:
            raise ValueError(
                f"suspicious_labels: expected probabilities of {split} from 0 to 1 that add up to 1; received others. "
                "Of logits, take the softmax."
            )
        parts.append(found)
    return np.concatenate(parts)


def _ranked(
    images: Data,
    sources: dict[str, Source],
    labels: np.ndarray,
    known: np.ndarray,
    probabilities: np.ndarray,
    judged: Judged,
) -> SuspiciousLabels:
    """The suspects as rows, the smallest margin first."""
    places = [(split, index) for split, each in sources.items() for index in range(len(each))]
    suspects = np.flatnonzero(judged.suspect)
    suspects = suspects[np.argsort(judged.margin[suspects], kind="stable")]
    rows = []
    for rank, i in enumerate(suspects, 1):
        split, index = places[known[i]]
        paths = getattr(sources[split], "paths", None)
        given, guess = int(labels[known[i]]), int(judged.guess[i])
        names = images.class_names[given], images.class_names[guess]
        sure = float(probabilities[i, guess]), float(probabilities[i, given])
        rows.append(Suspect(rank, split, index, str(paths[index]) if paths else "", *names, *sure))
    every = np.full(len(labels), np.nan)
    every[known] = judged.margin
    sizes = np.cumsum([len(each) for each in sources.values()])[:-1]
    margins = dict(zip(sources, np.split(every, sizes), strict=True))
    agreement = float((probabilities.argmax(axis=1) == labels[known]).mean())
    counts = len(known), len(labels) - len(known)
    classes, name = list(images.class_names), images.report.name
    return SuspiciousLabels(tuple(rows), *counts, judged.share, agreement, margins, classes, name, dict(sources))


def _written(path: str | os.PathLike[str], content: str) -> pathlib.Path:
    """Writes a file whole or not at all."""
    target = pathlib.Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent}.")
    write_atomically(target, lambda file: file.write(content.encode()))
    return target
