"""Sets of TensorFlow Datasets, read by index: order, augmentation and resuming are those of every other set.

They must lie in a format that gives records by number, ArrayRecord; TFRecord, the default of TensorFlow Datasets, does
not.
"""

import hashlib
import importlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .files import _pool
from .images import decode, fit
from .splits import Loaded, few
from .stored import Source

PREFIX = "tfds:"
SPLITS = {"train": "train", "validation": "val", "test": "test"}
CHUNK = 1024  # records that are read at once


class TfdsSource:
    """Images of one split, decoded in parallel when they are asked for.

    Args:
        records: gives records by number, their images as files' contents.
        key: of the image in a record.
        rows: numbers of the records.
        labels: of these rows.
        image_shape: (height, width, channels) that comes out.
    """

    def __init__(self, records: Any, key: str, rows: np.ndarray, labels: np.ndarray, image_shape: tuple[int, int, int]):
        self.records, self.key, self.rows = records, key, rows
        self.labels = labels
        self.image_shape = image_shape

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32 images 0-255 (n, h, w, c) and int32 labels (n,)."""
        files = [record[self.key] for record in self.records.__getitems__(self.rows[indices].tolist())]
        images = list(_pool().map(self._decode, files))
        return np.stack(images).astype(np.float32), self.labels[indices]

    def subset(self, indices: np.ndarray) -> "TfdsSource":
        """Returns the source of these images only, in this order."""
        return TfdsSource(self.records, self.key, self.rows[indices], self.labels[indices], self.image_shape)

    def _decode(self, content: bytes) -> np.ndarray:
        return fit(decode(content, channels=self.image_shape[2]), self.image_shape[:2])


def is_tfds(source: Any) -> bool:
    """Whether this names a set of TensorFlow Datasets, as "tfds:imagenet2012"."""
    return isinstance(source, str) and source.startswith(PREFIX)


def read_tfds(source: str, size: tuple[int, int] | None, channels: int | None) -> Loaded:
    """Reads "tfds:NAME", "tfds:NAME/CONFIG" or "tfds:NAME:VERSION"; what is not prepared yet is downloaded.

    Args:
        source: the name.
        size: (height, width): images are scaled to cover it, and what exceeds it around the centre is cut. None: of
            sets whose images are of one size.
        channels: 1 or 3 to force; None: the set's own.

    Raises:
        ValueError: where the package or the set is missing, or the set is none of images with one label each.
    """
    name = source.removeprefix(PREFIX)
    package = _package(source)
    builder = _builder(package, name)
    image, label = builder.info.supervised_keys or ("image", "label")
    features: dict[str, Any] = dict(builder.info.features.items())
    picture, classes = features.get(image), getattr(features.get(label), "names", None)
    if not isinstance(picture, package.features.Image) or not classes:
        raise ValueError(f"Expected {source} to be a set of images with a class each, received {features}.")
    height, width, depth = picture.shape
    if not (size or (height and width)):
        raise ValueError(
            f"Expected a size for the images of {source}, which differ in theirs. Pass size=, as size=224."
        )
    shape = (*(size or (height, width)), channels or depth or 3)
    digest, notes = hashlib.sha256(str(classes).encode()), []
    sources: dict[str, Source] = {}
    for split in (known for known in SPLITS if known in builder.info.splits):
        skip = {image: package.decode.SkipDecoding()}
        records = builder.as_data_source(split=split, decoders=skip)
        labels = np.fromiter(_labels(records, image, label, digest), np.int32, len(records))
        if (labels < 0).any():
            notes.append(f"the split {split!r} left out: it has no labels")
            continue
        sources[SPLITS[split]] = TfdsSource(records, image, np.arange(len(records)), labels, shape)
    if "train" not in sources:
        raise ValueError(f"Expected {source} to have a split 'train', received {few(list(builder.info.splits))}.")
    notes.append(f"{builder.info.full_name} of TensorFlow Datasets; images are decoded batch by batch")
    sizes = Counter({(height, width): sum(map(len, sources.values()))} if height and width else {})
    return Loaded(sources, list(classes), digest.hexdigest(), sizes, notes)


def _labels(records: Sequence[Any], image: str, label: str, digest: Any) -> Iterator[int]:
    """The label of each record; all that is read goes into the hash."""
    for start in range(0, len(records), CHUNK):
        rows = list(range(start, min(start + CHUNK, len(records))))
        for record in records.__getitems__(rows):  # type: ignore[attr-defined]  # one call, not one a record
            digest.update(record[image])
            digest.update(int(record[label]).to_bytes(4, "little", signed=True))
            yield int(record[label])


def _package(source: str) -> Any:
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise ValueError(
            f"Expected the package tensorflow-datasets, to read {source}, received: {error}. "
            "`pip install tensorflow-datasets array-record` installs it."
        ) from error


def _builder(package: Any, name: str) -> Any:
    try:
        builder = package.builder(name)
    except Exception as error:  # several kinds, and what they say fills pages
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"Expected the name of a set of TensorFlow Datasets, received {name!r}: {reason}") from error
    if not builder.data_path.exists():
        builder = package.builder(name, file_format="array_record")
        builder.download_and_prepare()
    if builder.info.file_format.value not in ("array_record", "parquet"):
        raise ValueError(
            f"Expected {PREFIX}{name} in the format array_record, whose records have numbers, received "
            f"{builder.info.file_format.value} in {builder.data_path}. Prepare it once more, in another folder, "
            f'tfds.builder({name!r}, data_dir=FOLDER, file_format="array_record").download_and_prepare(), and set '
            "TFDS_DATA_DIR to that folder; or pass tfds.load(…, as_supervised=True) to training.data.load, which then "
            "leaves order and augmentation to it."
        )
    return builder
