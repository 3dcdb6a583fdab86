"""Image files, decoded in parallel.

Every file is decoded once before training starts, so that all bad files are known by name then, not in the
middle of epoch 3. Small sets stay decoded in memory; what exceeds `stored.MEMORY_LIMIT` is decoded batch
by batch.
"""

import hashlib
import os
import pathlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from . import stored
from .images import Unreadable, decode, fit, read, to_channels
from .splits import Loaded, few
from .stored import ArraySource, Source, hash_arrays

Items = dict[str, list[tuple[pathlib.Path, str]]]  # split to (file, class name)


class FileSource:
    """Images in files, decoded in parallel when they are asked for, see `ArraySource` for the rest."""

    def __init__(self, paths: Sequence[pathlib.Path], labels: np.ndarray, image_shape: tuple[int, int, int]):
        self.paths = list(paths)
        self.labels = labels
        self.image_shape = image_shape

    def __len__(self) -> int:
        return len(self.paths)

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32 images 0-255 (n, h, w, c) and int32 labels (n,)."""
        images = list(_pool().map(self._decode, [self.paths[index] for index in indices]))
        return np.stack(images).astype(np.float32), self.labels[indices]

    def subset(self, indices: np.ndarray) -> "FileSource":
        """Returns the source of these images only, in this order."""
        return FileSource([self.paths[index] for index in indices], self.labels[indices], self.image_shape)

    def _decode(self, path: pathlib.Path) -> np.ndarray:
        try:
            return fit(decode(path, channels=self.image_shape[2]), self.image_shape[:2])
        except Unreadable as error:
            raise Unreadable(f"{path} was readable when the data were loaded, and is not any more: {error}") from error


class _Scan(NamedTuple):
    """One file, decoded once."""

    shape: tuple[int, int, int]
    digest: bytes
    conversions: tuple[str, ...]
    pixels: np.ndarray | None  # None where they are not to be kept


def load_files(
    root: pathlib.Path,
    items: Items,
    expected: dict[str, set[str]],
    class_names: list[str],
    notes: list[str],
    size: tuple[int, int] | None,
    channels: int | None,
) -> Loaded:
    """Decodes all files once and makes sources of those that can be read.

    Args:
        root: for messages; files are named relative to it.
        items: the files and their classes, by split.
        expected: the classes of which every split must have a readable image.
        class_names: in the order of the labels.
        notes: what the caller has to report.
        size: (height, width), see `images.fit`. None: images must be of one size.
        channels: 1 or 3 to force; None: grey if all files are, else RGB.
    """
    if len(class_names) < 2:
        raise ValueError(f"Expected at least two classes in {root}, received {few(class_names) or 'none'}.")
    paths = [path for rows in items.values() for path, _ in rows]
    scans = dict(zip(paths, _scan(paths, size, channels), strict=True))
    unreadable = [(_relative(path, root), str(scan)) for path, scan in scans.items() if isinstance(scan, Unreadable)]
    good = {path: scan for path, scan in scans.items() if isinstance(scan, _Scan)}
    if not good:
        first = f", first {unreadable[0][0]} ({unreadable[0][1]})" if unreadable else ""
        raise ValueError(f"Expected images in {root}, received none readable among {len(paths)}{first}.")
    rows = {split: [(path, name) for path, name in found if path in good] for split, found in items.items()}
    _check_classes(root, rows, expected, unreadable)
    sizes = Counter((scan.shape[0], scan.shape[1]) for scan in good.values())
    if size is None and len(sizes) > 1:
        shown = ", ".join(f"{h}x{w} ({n} of {len(good)})" for (h, w), n in sizes.most_common(5))
        raise ValueError(
            f"Expected images of one size in {root}, received {len(sizes)} sizes (height x width): {shown}"
            f"{', …' if len(sizes) > 5 else ''}. Pass size=, such as size={min(map(min, sizes))}."
        )
    depth = max(scan.shape[2] for scan in good.values())
    height, width = size or next(iter(sizes))
    conversions = Counter(done for scan in good.values() for done in scan.conversions)
    if depth == 3:
        conversions["grey repeated to RGB"] += sum(scan.shape[2] == 1 for scan in good.values())
    number = {name: index for index, name in enumerate(class_names)}
    sources: dict[str, Source] = {}
    digests: list[np.ndarray] = []
    for split, found in rows.items():
        labels = np.array([number[name] for _, name in found], np.int32)
        files = [path for path, _ in found]
        digests += [np.frombuffer(b"".join(good[path].digest for path in files), np.uint8), labels]
        pixels = [good[path].pixels for path in files]
        kept = [to_channels(image, depth) for image in pixels if image is not None]
        sources[split] = (
            ArraySource(np.stack(kept), labels, paths=files)
            if len(kept) == len(files)
            else FileSource(files, labels, (height, width, depth))
        )
    notes += _copies({split: [good[path].digest for path, _ in found] for split, found in rows.items()})
    sha256 = hash_arrays(np.array(class_names), *digests)
    return Loaded(sources, class_names, sha256, sizes, notes, +conversions, unreadable)


def _scan(
    paths: Sequence[pathlib.Path], size: tuple[int, int] | None, channels: int | None
) -> Iterator[_Scan | Unreadable]:
    scans: list[_Scan | Unreadable] = []
    kept = 0
    step = 4 * _workers()  # files in flight, which bounds the memory
    for begin in range(0, len(paths), step):
        keep = kept <= stored.MEMORY_LIMIT
        for scan in _pool().map(
            partial(_scan_one, size=size, channels=channels, keep=keep), paths[begin : begin + step]
        ):
            if isinstance(scan, _Scan) and scan.pixels is not None:
                kept += scan.pixels.nbytes * (1 if channels else 3 // scan.pixels.shape[2])  # RGB in the worst case
            scans.append(scan)
    whole = kept <= stored.MEMORY_LIMIT
    return (scan if whole or isinstance(scan, Unreadable) else scan._replace(pixels=None) for scan in scans)


def _scan_one(path: pathlib.Path, size: tuple[int, int] | None, channels: int | None, keep: bool) -> _Scan | Unreadable:
    try:
        pixels, conversions = read(path, channels)
    except Unreadable as error:
        return error
    digest = hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()
    kept = (pixels if size is None else fit(pixels, size)) if keep else None
    height, width, depth = pixels.shape
    return _Scan((height, width, depth), digest, conversions, kept)


def _check_classes(
    root: pathlib.Path, rows: Items, expected: dict[str, set[str]], unreadable: list[tuple[str, str]]
) -> None:
    for split, found in rows.items():
        empty = sorted(expected[split] - {name for _, name in found})
        if empty:
            bad = f" Unreadable: {len(unreadable)}, first {': '.join(unreadable[0])}." if unreadable else ""
            raise ValueError(
                f"Expected a readable image of every class in {root} ({split}), received none of {few(empty)}.{bad}"
            )


def _copies(digests: dict[str, list[bytes]]) -> list[str]:
    notes = []
    for index, (split, mine) in enumerate(digests.items()):
        extra = len(mine) - len(set(mine))
        if extra:
            notes.append(f"{extra} images of {split} are copies of others: a split may tear them apart")
        for other in list(digests)[index + 1 :]:
            shared = len(set(mine) & set(digests[other]))
            if shared:
                notes.append(f"{shared} images stand both in {split} and in {other}: results on {other} will flatter")
    return notes


def _relative(path: pathlib.Path, root: pathlib.Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _workers() -> int:
    return min(16, os.cpu_count() or 1)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_workers(), thread_name_prefix="convcraft-decode")
