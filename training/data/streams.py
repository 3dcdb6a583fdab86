"""The user's own tf.data sets, checked and brought to the form that `fit` takes.

There is no random access: order, shuffling, augmentation and batches stay the user's. A resumed run repeats
exactly what the set yields from the batch where it stopped, which is exact only if the set's order depends
on nothing else.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .arrays import check_range
from .splits import SPLITS

SAMPLE = 1000  # images of a split that are looked at
VALUES = 2**24  # of them together: 64 MB
FORM = "(images, labels) pairs, or dictionaries with the keys 'image' and 'label'"


class StreamFeed:
    """A user's set with the attributes of a `Feed`.

    Args:
        dataset: batches of float32 images and int32 labels, of known cardinality.
        steps: batches an epoch.
        batch_size: images in the first batch.

    Attributes:
        epoch: kept, not used: what an epoch holds is the user's affair.
        start: first batch of a pass, read by `dataset()`.
    """

    def __init__(self, dataset: Any, steps: int, batch_size: int):
        self._dataset = dataset
        self.steps = steps
        self.batch_size = batch_size
        self.epoch = 0
        self.start = 0

    def dataset(self) -> Any:
        """Returns the batches from `start` on."""
        return self._dataset.skip(self.start) if self.start else self._dataset


class Stream:
    """One split of the user's: the mapped set and what one pass over it found.

    Args:
        dataset: finite, batched or not.
        split: its name, for messages.
        size: (height, width) to resize to whatever the aspect, or None.
        batch_size: for a set that is not batched.

    Attributes:
        sample: some images and labels, spread over the set. They are kept from its one pass: to read a shuffled set
            again would change the order that training sees.

    Raises:
        ValueError: for an infinite set, the wrong form, types, ranges, shapes or labels.
    """

    def __init__(self, dataset: Any, split: str, size: tuple[int, int] | None, batch_size: int):
        import tensorflow as tf

        if int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise ValueError(f"Expected a finite {split} set, received one that repeats for ever: drop .repeat().")
        image, label = _pair(dataset.element_spec, split)
        rank = image.shape.rank or np.ndim(_pair(next(iter(dataset), None), split)[0])
        if rank not in (3, 4):
            raise ValueError(f"Expected images of rank 3, or 4 in batches, in the {split} set, received rank {rank}.")

        one_hot = label.shape.rank == rank - 2 and label.shape[-1] != 1
        if not label.dtype.is_integer or one_hot:
            raise ValueError(
                f"Expected one integer an image as label in the {split} set, received {label}: "
                ".map(lambda x, y: (x, tf.argmax(y, -1))) undoes one-hot labels."
            )

        def mapped(*element):
            image, label = _pair(element[0] if len(element) == 1 else element, split)
            if size:
                image = tf.image.resize(tf.ensure_shape(image, [None] * rank), size, antialias=True)
            return tf.cast(image, tf.float32), tf.cast(tf.reshape(label, [-1] if rank == 4 else []), tf.int32)

        dataset = dataset.map(mapped, num_parallel_calls=tf.data.AUTOTUNE)
        self.counts, self.batches, self.image_shape, self.sample = _survey(dataset, split, image.dtype.is_floating)
        if rank == 3:
            batch = min(batch_size, len(self.batches))
            self.batches = [min(batch, len(self.batches) - i) for i in range(0, len(self.batches), batch)]
            dataset = dataset.batch(batch)
        shape = [None, *self.image_shape]
        dataset = dataset.map(lambda image, label: (tf.ensure_shape(image, shape), label))
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(self.batches)))
        self.dataset = dataset.prefetch(tf.data.AUTOTUNE)

    def feed(self, multiple_of: int = 1) -> StreamFeed:
        """Returns a feed, if its batches can be dealt out to `multiple_of` replicas."""
        odd = {batch for batch in self.batches if batch % multiple_of}
        if odd:
            raise ValueError(
                f"Expected batches that are multiples of {multiple_of} replicas, received batches of "
                f"{sorted(odd)}: use .batch(…, drop_remainder=True), or pass arrays or a folder, which are "
                "filled up without loss."
            )
        return StreamFeed(self.dataset, len(self.batches), self.batches[0])


def is_stream(source: Any) -> bool:
    """Tells whether something is a tf.data.Dataset, without importing TensorFlow."""
    return hasattr(source, "element_spec") and callable(getattr(source, "cardinality", None))


def by_split(source: Any) -> dict[str, Any] | None:
    """Returns {split: tf.data.Dataset} for one, a tuple or a dictionary of them; None for anything else."""
    if is_stream(source):
        return {"train": source}
    if isinstance(source, (tuple, list)) and source and all(map(is_stream, source)) and len(source) <= 3:
        return dict(zip(SPLITS, source, strict=False))
    if isinstance(source, Mapping) and source and all(map(is_stream, source.values())):
        if "train" not in source or not set(source) <= set(SPLITS):
            raise ValueError(f"Expected the keys train, and possibly val and test, received {', '.join(source)}.")
        return dict(source)
    return None


def _pair(element: Any, split: str) -> tuple[Any, Any]:
    if element is None:
        raise ValueError(f"Expected images in the {split} set, received an empty one.")
    if isinstance(element, Mapping) and {"image", "label"} <= set(element):
        return element["image"], element["label"]
    if isinstance(element, (tuple, list)) and len(element) == 2:
        return element[0], element[1]
    raise ValueError(f"Expected {FORM} in the {split} set, received {element}.")


def most(shape: tuple[int, ...]) -> int:
    """How many images of this shape are looked at."""
    return max(64, min(SAMPLE, VALUES // max(1, int(np.prod(shape)))))


def _survey(
    dataset: Any, split: str, floats: bool
) -> tuple[np.ndarray, list[int], tuple[int, int, int], tuple[np.ndarray, np.ndarray]]:
    """Goes through a set once, and returns images by label, batch sizes (or 1s), the images' shape, and a sample."""
    counts = np.zeros(0, np.int64)
    kept: list[tuple[np.ndarray, int]] = []
    share, rng = 1.0, np.random.default_rng(0)
    batches: list[int] = []
    shape: tuple[int, ...] = ()
    low, high = np.inf, -np.inf
    for image, label in dataset.as_numpy_iterator():
        label = np.atleast_1d(label)
        shape = shape or image.shape[-3:]
        # np.minimum, unlike min, hands NaN on
        low, high = np.minimum(low, image.min()), np.maximum(high, image.max())
        if image.shape[-3:] != shape:
            raise ValueError(
                f"Expected images of one shape in the {split} set, received {shape} and {image.shape[-3:]}: pass size=."
            )
        if image.ndim == 4 and len(image) != len(label):
            raise ValueError(
                f"Expected one label an image in the {split} set, received {len(image)} images and "
                f"{len(label)} labels in a batch."
            )
        if label.min() < 0:
            raise ValueError(f"Expected labels >= 0 in the {split} set, received {label.min()}.")
        counts = np.bincount(label, minlength=len(counts)) + np.pad(counts, (0, max(0, label.max() + 1 - len(counts))))
        batches.append(len(label))
        for number in np.flatnonzero(rng.random(len(label)) < share):
            kept.append(((image[number] if image.ndim == 4 else image).copy(), label[number]))
        if len(kept) > most(shape):
            kept, share = [each for each in kept if rng.random() < 0.5], share / 2
    if not batches:
        raise ValueError(f"Expected images in the {split} set, received an empty one.")
    check_range(float(low), float(high), f"the images of the {split} set", floats)
    images, labels = zip(*kept, strict=True)
    return counts, batches, (shape[0], shape[1], shape[2]), (np.stack(images), np.array(labels, np.int32))
