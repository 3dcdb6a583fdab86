"""Training, validation and test images as one object, and what is asked of it before training."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .draws import Augment
from .pipeline import Feed
from .sampling import Sampling
from .splits import Report
from .stored import Source
from .streams import Stream, StreamFeed


@dataclass(eq=False, repr=False)
class Data:
    """Training, validation and test images.

    Attributes:
        class_names: by label.
        counts: images by split and class name.
        image_shape: (height, width, channels).
        report: what was loaded, converted, left out.
        sha256: of the decoded images, labels and class names, before resizing and splitting; None for
            tf.data.
        batch_size: images a batch.
        seed: of order, augmentation and the validation split.
        sources: random access by split; empty for the user's own tf.data.
        augment: of the training images.
        mix: of training images and labels; labels are one-hot in all feeds then, and integers in `arrays`.
        alternate_flip: whether each training image is mirrored in every other epoch; see `Feed`.
        streams: the user's own tf.data by split; empty for everything else.
        sampling: which training images an epoch shows, and how often; see `training.balance`.
    """

    class_names: list[str]
    counts: dict[str, dict[str, int]]
    image_shape: tuple[int, int, int]
    report: Report
    sha256: str | None
    batch_size: int
    seed: int
    sources: dict[str, Source]
    augment: Augment | None = None
    mix: Any | None = None
    alternate_flip: bool = False
    streams: dict[str, Stream] = field(default_factory=dict)
    sampling: Sampling | None = None

    def __repr__(self) -> str:
        return f"<Data {self.report}>"

    @cached_property
    def train(self) -> Any:
        """Shuffled with each pass, full batches: a tf.data.Dataset, or a PyDataset on JAX and PyTorch.

        Pass `shuffle=False` to `fit`: TensorFlow warns otherwise, and elsewhere Keras would shuffle the
        batches once more, from a state that no seed holds.
        """
        return self.feed("train", auto_epoch=True).dataset()

    @cached_property
    def val(self) -> Any:
        """In order, every image once; None without validation."""
        return self.feed("val").dataset() if "val" in self.counts else None

    @cached_property
    def test(self) -> Any:
        """In order, every image once; None where a tf.data source came without one."""
        return self.feed("test").dataset() if "test" in self.counts else None

    def feed(self, split: str, **options: Any) -> Feed | StreamFeed:
        """Returns the feed of a split, to set its epoch and start.

        Args:
            split: train, val or test.
            options: of `Feed`, instead of this object's: batch_size, seed, shuffle (only train is), augment
                (only what is shuffled is), multiple_of, auto_epoch. The user's own tf.data has an order of
                its own and heeds multiple_of only, refusing batches that do not fit it.

        Example:
            >>> from convcraft import training
            >>> training.data.load("digits").feed("test", batch_size=100).steps
            4
        """
        if split not in self.counts:
            raise ValueError(f"Expected split to be one of {', '.join(self.counts)}, received {split!r}.")
        if self.streams:
            return self.streams[split].feed(options.get("multiple_of", 1))
        shuffle = options.setdefault("shuffle", split == "train")
        flip = self.alternate_flip and shuffle
        ours = {
            "seed": self.seed,
            "augment": self.augment if shuffle else None,
            "mix": self.mix,
            "sampling": self.sampling if split == "train" else None,
            "alternate_flip": flip,
        }
        options = {**ours, **options}
        return Feed(self.sources[split], options.pop("batch_size", self.batch_size), **options)

    @property
    def masks(self) -> bool:
        """Whether each pixel has a label, and not each image."""
        return any(part.labels.ndim == 3 for part in self.sources.values())

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns all images (float32, n x h x w x c) and labels (int32, n) of a split, in order."""
        feed = self.feed(split, **({} if self.streams else {"shuffle": False, "mix": None}))
        batches = feed.numpy() if isinstance(feed, Feed) else feed.dataset().as_numpy_iterator()
        images, labels = zip(*batches, strict=True)
        return np.concatenate(images), np.concatenate(labels)


def check_fits(data: Data, stride: int, name: str) -> None:
    """Raises a ValueError where images are smaller than a model's overall stride.

    Args:
        data: what `load` returned.
        stride: of the model's last feature map, in pixels.
        name: of the model.
    """
    height, width, _ = data.image_shape
    if min(height, width) < stride:
        raise ValueError(
            f"Expected images of at least {stride}x{stride} for {name}, whose feature maps shrink {stride} "
            f"times, received {height}x{width}: pass size={stride} or more, or take a model for small "
            "images (…_cifar)."
        )
