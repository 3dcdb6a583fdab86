"""What every reader of data returns, how missing splits are cut from it, and the report on it."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .stored import Source

SPLITS = ("train", "val", "test")
# of every test set that is cut: it must move neither with a run's seed nor with its validation set
TEST_SEED, TEST_SHARE = 0, 0.1


@dataclass
class Loaded:
    """What a reader found: the sources of the splits that exist, and what the report should say."""

    sources: dict[str, Source]
    class_names: list[str]
    sha256: str
    sizes: Counter[tuple[int, int]]
    notes: list[str] = field(default_factory=list)
    conversions: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Report:
    """What was loaded; `str()` says it all.

    Attributes:
        name: the source.
        counts: images by split and class name.
        image_shape: (height, width, channels) that the model sees.
        sizes: images by (height, width) as they were found, before resizing.
        notes: how the splits were cut, what was ignored, copies found.
        conversions: images by what was done to them.
        unreadable: (file, reason), every file that was left out.
    """

    name: str
    counts: dict[str, dict[str, int]]
    image_shape: tuple[int, int, int]
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    conversions: dict[str, int] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        classes = len(self.counts["train"])
        lines = [f"{self.name}: {classes} classes, images {'x'.join(map(str, self.image_shape))}, float32, 0-255"]
        for split, counts in self.counts.items():
            least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
            spread = f"{counts[least]} ({least}) to {counts[most]} ({most}) a class"
            if counts[least] == counts[most]:
                spread = f"{counts[least]} a class"
            lines.append(f"  {split:5} {sum(counts.values()):7,}  {spread}")
        if set(self.sizes) - {self.image_shape[:2]}:
            common = sorted(self.sizes.items(), key=lambda item: (-item[1], item[0]))
            shown = ", ".join(f"{h}x{w} ({n:,})" for (h, w), n in common[:5])
            lines.append(f"Sizes found (height x width): {shown}{f', … ({len(common)} sizes)' if common[5:] else ''}")
        return "\n".join([*lines, *self.remarks()])

    def remarks(self, most: int | None = None) -> list[str]:
        """What was not as it should be, or was decided: lines, at most so many of them on unreadable files."""
        lines = [f"Note: {note}" for note in self.notes]
        lines += [f"Converted: {done} ({number:,})" for done, number in sorted(self.conversions.items())]
        if self.unreadable:
            lines.append(f"Unreadable and left out ({len(self.unreadable)}):")
            lines += [f"  {name}: {reason}" for name, reason in self.unreadable[:most]]
            left = len(self.unreadable[:most]) < len(self.unreadable)
            lines += ["  …, all of them in the run's config.json"] if left else []
        return lines


def fold_of(source: object) -> tuple[object, tuple[int, int] | None]:
    """A source without its fold, and the fold: `photos@2/5` means that the second of five folds is held out.

    Args:
        source: what `load` takes; anything but a text stays as it is, and so does a path that ends so by itself.

    Raises:
        ValueError: for a fold that is none.

    Example:
        >>> fold_of("digits@2/5"), fold_of("digits")
        (('digits', (2, 5)), ('digits', None))
    """
    found = re.fullmatch(r"(.+)@(\d+)/(\d+)", source) if isinstance(source, str) else None
    if found is None or os.path.exists(found[0]):
        return source, None
    number, count = int(found[2]), int(found[3])
    if not 1 <= number <= count or count < 2:
        raise ValueError(f"Expected DATA@NUMBER/FOLDS, NUMBER from 1 to FOLDS, 2 at least; received {source!r}.")
    return found[1], (number, count)


def complete(loaded: Loaded, validation: float, seed: int, fold: tuple[int, int] | None = None) -> None:
    """Cuts the splits that `loaded` lacks off its training images, in place, and says so in its notes.

    Args:
        loaded: with train, and possibly val and test. Validation alone serves as test set.
        validation: fraction to hold out, 0 for no validation set.
        seed: of the validation set; a test set that is cut, a tenth, is always the same.
        fold: (number from 1, count): this one of so many stratified folds of the training images is validation, the
            same for every seed. A validation set that was given is not used then.
    """
    parts = loaded.sources
    if "val" in parts and "test" not in parts:
        parts["test"] = parts.pop("val")
        loaded.notes.append("the validation set given serves as test set")
    if "test" not in parts:
        _hold_out(loaded, "test", TEST_SHARE, TEST_SEED, "for every seed the same")
    if fold is not None:
        _fold(loaded, *fold)
    elif "val" not in parts and validation:
        _hold_out(loaded, "val", validation, seed, f"seed {seed}")
    loaded.sources = {split: parts[split] for split in SPLITS if split in parts}


def stratified(labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts `count` samples off, each class in proportion, one a class at least and never a class's last.

    Args:
        labels: int32 (n,).
        count: samples to cut. More are cut where there are more classes than that.
        seed: of the choice; equal arguments give equal results.

    Returns:
        Indices that stay and indices that are cut, int64, both in ascending order, disjoint, all of them.
    """
    rng = np.random.default_rng(seed)
    sizes = np.bincount(labels)
    exact = sizes * (count / len(labels))
    take = np.clip(np.floor(exact).astype(int), np.minimum(1, np.maximum(sizes - 1, 0)), np.maximum(sizes - 1, 0))
    for label in np.argsort(take - exact, kind="stable"):  # largest remainder first
        if take.sum() < count and take[label] < sizes[label] - 1:
            take[label] += 1
    cut = np.zeros(len(labels), bool)
    for label, number in enumerate(take):
        cut[rng.permutation(np.flatnonzero(labels == label))[:number]] = True
    return np.flatnonzero(~cut), np.flatnonzero(cut)


def few(names: Sequence[str], most: int = 10) -> str:
    """Lists names for a message, at most `most` of them."""
    return ", ".join(map(repr, names[:most])) + (f", … ({len(names)})" if len(names) > most else "")


def _hold_out(loaded: Loaded, split: str, fraction: float, seed: int, which: str) -> None:
    source = loaded.sources["train"]
    rest, held = stratified(source.labels, max(1, round(fraction * len(source))), seed)
    if not len(held):
        raise ValueError(
            f"Expected at least two images of some class, to hold out {split}, received {len(source)} "
            f"images of {len(loaded.class_names)} classes: add images, or give {split} apart."
        )
    loaded.sources["train"], loaded.sources[split] = source.subset(rest), source.subset(held)
    loaded.notes.append(f"{split}: {len(held)} of {len(source)} training images held out, stratified, {which}")


def _fold(loaded: Loaded, number: int, count: int) -> None:
    from sklearn.model_selection import StratifiedKFold

    source = loaded.sources["train"]
    if source.labels.ndim != 1:
        raise ValueError("Expected one label an image, to spread the classes over folds; received one for each pixel.")
    sizes = np.bincount(source.labels, minlength=len(loaded.class_names))
    if sizes.min() < count:
        least = loaded.class_names[int(sizes.argmin())]
        raise ValueError(
            f"Expected at least {count} training images of each class for {count} folds, received {int(sizes.min())} "
            f"of {least!r}."
        )
    folds = StratifiedKFold(count, shuffle=True, random_state=TEST_SEED).split(source.labels, source.labels)
    rest, held = list(folds)[number - 1]
    if "val" in loaded.sources:
        loaded.notes.append("the validation set given is not used")
    loaded.sources["train"], loaded.sources["val"] = source.subset(rest), source.subset(held)
    note = f"val: fold {number} of {count}, {len(held)} of {len(source)} training images, stratified, for every seed"
    loaded.notes.append(note)
