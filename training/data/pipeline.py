"""From stored images to the batches that `fit` and `evaluate` take, reproducible to the bit.

A `Source` gives images by index. A `Feed` decides which index stands where in which epoch: a pure function of
(seed, epoch), so that a run that was killed goes on exactly where it stopped. Augmentation draws from
per-image seeds, a pure function of (seed, epoch, index), so that neither order nor parallel work can change
an image's draw.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .draws import MIXING, SIDES, Augment, augmentation, image_seeds
from .sampling import Sampling, cropped
from .stored import Source


class Feed:
    """Batches of a source, in an order that depends on (seed, epoch) alone.

    For training (`shuffle=True`) every batch is full: the last is filled from the beginning of the same
    epoch's order, so that no image is lost, no replica starves and batch normalization never sees a batch of
    one. For evaluation (`shuffle=False`) the order is the source's and the last batch is short.

    Args:
        source: what to read.
        batch_size: images a batch; at most the source's length, then rounded up to `multiple_of`.
        shuffle: True for training, False for evaluation.
        seed: of order and augmentation, >= 0.
        augment: `(float32 images [n, h, w, c], int32 seeds [n]) -> images`, pure; applied in TensorFlow's
            graph, elsewhere to NumPy batches. Or what `augmentation` makes one of.
        mix: a `layers.MixUpCutMix`: mixes the images of a training batch and their labels; evaluation's labels become
            one-hot. A batch's draw follows (seed, epoch, step).
        sampling: which images an epoch of training shows, and how often, where it is not each of them once. What is
            shown several times has an index of its own each time.
        alternate_flip: mirror each training image left and right in every other epoch, so that two epochs show both
            sides of every image, where a coin shows half of the images the same side twice. Which side comes first
            is drawn for each image from (seed, index). Masks are mirrored alike.
        multiple_of: number of replicas. In evaluation, the last batch is padded to a multiple by its row 0,
            and every batch carries float32 weights: 1, and 0 for padding.
        auto_epoch: advance `epoch` with every pass, for a feed whose epoch nobody sets.

    Attributes:
        epoch: read when a pass begins.
        start: first batch of a pass. Read by `dataset()`, because `fit` asks its data once for the number of
            steps: resume the broken epoch in one call of `fit`, then set `start = 0` and go on with another.
        steps: batches of a whole epoch.
        size: images of a whole epoch, those left out with which the last batch is filled.

    Example:
        >>> from convcraft.training.data.stored import ArraySource
        >>> source = ArraySource(np.zeros((5, 2, 2, 1), "uint8"), np.arange(5, dtype="int32"))
        >>> [labels.tolist() for _, labels in Feed(source, 2, shuffle=False).numpy()]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        augment: Augment | Any | None = None,
        mix: Any | None = None,
        sampling: Sampling | None = None,
        alternate_flip: bool = False,
        multiple_of: int = 1,
        auto_epoch: bool = False,
    ):
        if batch_size < 1 or multiple_of < 1:
            raise ValueError(f"Expected batch_size >= 1 and multiple_of >= 1, received {batch_size} and {multiple_of}.")
        if seed < 0:
            raise ValueError(f"Expected seed >= 0, received seed={seed}.")
        if len(source) == 0:
            raise ValueError("Expected a source with images, received an empty one.")
        self.source = source
        self.sampling = sampling if shuffle else None
        self.size = self.sampling.size(source.labels) if self.sampling else len(source)
        self.batch_size = -(-min(batch_size, self.size) // multiple_of) * multiple_of
        self.shuffle = shuffle
        self.seed = seed
        self.augment = augmentation(augment)
        self.mix: Any = mix
        self.alternate_flip = alternate_flip
        self.multiple_of = multiple_of
        self.auto_epoch = auto_epoch
        self.weighted = multiple_of > 1 and not shuffle
        self.steps = -(-self.size // self.batch_size)
        self.epoch = 0
        self.start = 0
        self._batches: tuple[int, list[np.ndarray]] | None = None

    def indices(self, epoch: int | None = None) -> list[np.ndarray]:
        """Returns the indices of each batch of an epoch (None: the current one), padding left out."""
        epoch = self.epoch if epoch is None else epoch
        cached = self._batches
        if cached is None or cached[0] != epoch:
            order, places = np.arange(len(self.source)), self.steps * self.batch_size
            if self.sampling:
                order = self.sampling.order(self.source.labels, places, self.seed, epoch, self.batch_size)
            elif self.shuffle:
                order = np.random.default_rng([self.seed, epoch]).permutation(order)
                order = np.resize(order, places)  # goes round
            cached = epoch, np.split(order, range(self.batch_size, len(order), self.batch_size))
            self._batches = cached
        return cached[1]

    def numpy(self, epoch: int | None = None) -> Iterator[tuple[np.ndarray, ...]]:
        """Yields NumPy batches of an epoch (None: the current one) from batch `start` on."""
        epoch = self.epoch if epoch is None else epoch
        for indices in self.indices(epoch)[self.start :]:
            yield self._batch(indices, epoch)

    def dataset(self) -> Any:
        """Returns what `fit` and `evaluate` take: a tf.data.Dataset on TensorFlow, else a keras PyDataset."""
        import keras

        if not 0 <= self.start < self.steps:
            raise ValueError(f"Expected start within [0, {self.steps}), received start={self.start}.")
        return self._tensorflow() if keras.backend.backend() == "tensorflow" else self._py_dataset()

    def _batch(self, indices: np.ndarray, epoch: int) -> tuple[np.ndarray, ...]:
        real = len(indices)
        indices = self._pad(indices)
        images, labels = self._read(indices, epoch)
        if self.augment is not None:
            images = _numpy(self.augment(images, image_seeds(self.seed, epoch, indices)))
        if self.mix is not None:
            mixed = self._mixed(images, labels, image_seeds(self.seed, epoch, indices))
            images, labels = map(_numpy, mixed)
        if not self.weighted:
            return images, labels
        return images, labels, (np.arange(len(indices)) < real).astype(np.float32)

    def _read(self, indices: np.ndarray, epoch: int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, labels = self.source.batch(indices % len(self.source))
        if self.sampling and self.sampling.crops:
            copies = indices >= len(self.source)
            images = cropped(images, copies, image_seeds(self.seed, int(epoch), indices))
        if self.alternate_flip:
            turned = (image_seeds(self.seed, SIDES, indices) + int(epoch)) % 2 == 1
            images[turned] = images[turned][:, :, ::-1]
            if labels.ndim > 1:
                labels[turned] = labels[turned][:, :, ::-1]
        return images, labels

    def _mixed(self, images: Any, labels: Any, seeds: Any) -> tuple[Any, Any]:
        if not self.shuffle:
            return self.mix(images, labels, training=False)
        return self.mix.transform(images, labels, seeds[0] ^ MIXING)

    def _pad(self, indices: np.ndarray) -> np.ndarray:
        return np.append(indices, np.repeat(indices[:1], -len(indices) % self.multiple_of))

    def _begin(self) -> int:
        epoch = self.epoch
        if self.auto_epoch:
            self.epoch += 1
        return epoch

    def _tensorflow(self) -> Any:
        import tensorflow as tf

        start = self.start
        shape = (self.batch_size if self.shuffle else None, *self.source.image_shape)

        def index_batches() -> Iterator[tuple[Any, ...]]:
            epoch = self._begin()
            for real in self.indices(epoch)[start:]:
                indices = self._pad(real)
                weights = (np.arange(len(indices)) < len(real)).astype(np.float32)
                yield indices, image_seeds(self.seed, epoch, indices), weights, epoch

        def load(indices, seeds, weights, epoch):
            images, labels = tf.numpy_function(self._read, [indices, epoch], [tf.float32, tf.int32], stateful=False)
            images = tf.ensure_shape(images, shape)
            labels = tf.ensure_shape(labels, (shape[0], *self.source.labels.shape[1:]))
            if self.augment is not None:
                images = tf.ensure_shape(self.augment(images, seeds), shape)
            if self.mix is not None:
                images, labels = self._mixed(images, labels, seeds)
                images = tf.ensure_shape(images, shape)
            return (images, labels, weights) if self.weighted else (images, labels)

        vector = [tf.TensorSpec(shape[:1], dtype) for dtype in (tf.int64, tf.int32, tf.float32)]
        signature = (*vector, tf.TensorSpec((), tf.int64))
        dataset = tf.data.Dataset.from_generator(index_batches, output_signature=signature)
        dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(self.steps - start))
        options = tf.data.Options()
        # there are no files to deal out between workers, and by default tf.data says so at length
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)

    def _py_dataset(self) -> Any:
        import keras

        feed, start = self, self.start

        class Batches(keras.utils.PyDataset):
            seen = -1  # step of the last batch that was asked for

            def __len__(self):
                return feed.steps - start

            def __getitem__(self, step):
                self.seen = step
                return feed._batch(feed.indices()[start + step], feed.epoch)

            def __iter__(self):
                for step in range(len(self)):
                    yield self[step]
                self.on_epoch_end()

            def on_epoch_end(self):
                # `fit` takes a look at the first batch before it begins, and says that an epoch has ended;
                # only where an epoch is a single batch, that look cannot be told from it
                if self.seen == len(self) - 1:
                    feed._begin()
                self.seen = -1

        return Batches()


def _numpy(images: Any) -> np.ndarray:
    if hasattr(images, "detach"):  # PyTorch's, perhaps on a GPU
        images = images.detach().cpu()
    return np.asarray(images, np.float32)
