"""Images by index: what a data set is to a `Feed`, and the one whose images are in memory."""

import hashlib
import pathlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .images import resize

MEMORY_LIMIT = 2**30
"""Bytes of decoded images that are kept in memory; a larger set is decoded, or resized, batch by batch."""


class Source(Protocol):
    """Images by index: what a `Feed` needs to know of a data set."""

    labels: np.ndarray
    image_shape: tuple[int, int, int]

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32 images 0-255 (n, h, w, c) and int32 labels (n,)."""

    def subset(self, indices: np.ndarray) -> "Source":
        """Returns the source of these images only, in this order."""


class ArraySource:
    """Images in memory.

    Args:
        images: (n, h, w, c), uint8 or float32, 0-255.
        labels: int32 (n,).
        size: (height, width) to resize to, or None. Resized at once, or batch by batch where the result
            would exceed `MEMORY_LIMIT`; the values are the same.
        paths: the files that they come from, where they come from files.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        size: tuple[int, int] | None = None,
        paths: Sequence[pathlib.Path] | None = None,
    ):
        self.labels = labels
        self.paths = None if paths is None else list(paths)
        self.size = size or (images.shape[1], images.shape[2])
        self.image_shape = (*self.size, images.shape[3])
        self.images = images
        if len(images) * int(np.prod(self.image_shape)) * images.itemsize <= MEMORY_LIMIT:
            self.images = self._resized(images)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32 images 0-255 (n, h, w, c) and int32 labels (n,)."""
        return self._resized(self.images[indices]).astype(np.float32), self.labels[indices]

    def subset(self, indices: np.ndarray) -> "ArraySource":
        """Returns the source of these images only, in this order."""
        paths = None if self.paths is None else [self.paths[index] for index in indices]
        return ArraySource(self.images[indices], self.labels[indices], self.size, paths)

    def _resized(self, images: np.ndarray) -> np.ndarray:
        if images.shape[1:3] == self.size:
            return images
        return np.stack([resize(image, self.size) for image in images])


def hash_arrays(*arrays: np.ndarray) -> str:
    """Returns the SHA-256, in hex, of the arrays' dtypes, shapes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
