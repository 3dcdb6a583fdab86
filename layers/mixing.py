"""MixUp and CutMix for batches of images and labels: what the pipeline "modern" cannot do to images alone."""

from typing import Any

import keras
from keras import ops

from .base import Shape, Tensor, register, seed_generator
from .draws import fold, image_seeds, uniform
from .foreign import call_with_seed


@register
class MixUpCutMix(keras.layers.Layer):
    """Mixes the images of a batch with each other, and their labels alike, by Keras's MixUp or CutMix.

    Each batch draws one of the two, half of the time each. MixUp blends two images by a weight from Beta(a, a), CutMix
    puts a rectangle of one on the other; labels become the shares of each. Both are strong regularizers that helped
    where nets are large and trained for hundreds of epochs; small nets and short runs get worse. Accuracy on the
    mixed training images is low by construction: judge by validation. Labels become soft, so the loss must be
    `CategoricalCrossentropy`.

    Meant for `dataset.map`, before `fit`:

        mix = layers.MixUpCutMix(classes=10)
        model.fit(data.train.map(mix), validation_data=data.val.map(lambda *pair: mix(*pair, training=False)))

    The layer's own draws follow its `seed`, call by call; a map with parallel calls has no fixed order of them.
    `transform` is the pure function: `dataset.enumerate().map(lambda step, pair: mix.transform(*pair, step))` gives
    each step its own draw, whatever the order. Batches of one image have nothing to mix with.

    Args:
        classes: how many; needed for integer labels only.
        mixup: a of MixUp, within [0, 1]; 0: never MixUp.
        cutmix: a of CutMix, within [0, 1]; 0: never CutMix.
        seed: integer or None.
        data_format: "channels_last", "channels_first", or None for Keras's default.

    Call: `(images, labels, training=True)`; (n, h, w, c) of any dtype, and integers (n,) or one-hot (n, classes);
    images in the compute dtype and float32 (n, classes) out. With `training=False` labels become one-hot, no more.

    Example:
        >>> images, labels = MixUpCutMix(classes=3, seed=1)(np.zeros((4, 8, 8, 3), "uint8"), np.array([0, 1, 2, 0]))
        >>> labels.shape == (4, 3)
        True

    Reference:
        Zhang et al. 2017, "mixup", arXiv 1710.09412; Yun et al. 2019, "CutMix", arXiv 1905.04899. Choosing one of the
        two for a batch: Wightman et al. 2021, "ResNet strikes back", arXiv 2110.00476, section 4.
    """

    def __init__(
        self,
        classes: int | None = None,
        mixup: float = 0.2,
        cutmix: float = 1.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if classes is not None and (isinstance(classes, bool) or not isinstance(classes, int) or classes < 2):
            raise ValueError(f"MixUpCutMix: expected classes to be at least 2, or None, received {classes!r}.")
        for name, value in (("mixup", mixup), ("cutmix", cutmix)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise ValueError(f"MixUpCutMix: expected {name} within [0, 1], received {value!r}.")
        if not mixup and not cutmix:
            raise ValueError("MixUpCutMix: expected mixup or cutmix above 0, received 0 for both.")
        if data_format not in ("channels_first", "channels_last", None):
            raise ValueError(
                "MixUpCutMix: expected data_format to be 'channels_last', 'channels_first' or None, "
                f"received {data_format!r}."
            )
        self.classes = classes
        self.mixup = mixup
        self.cutmix = cutmix
        self.seed = seed
        self.data_format = data_format
        self.seed_generator = seed_generator(seed, "MixUpCutMix")
        options = {"data_format": data_format, "dtype": "float32", "seed": 0}  # never drawn from
        self._mixers = []
        if mixup:
            self._mixers.append(keras.layers.MixUp(float(mixup), **options))
        if cutmix:
            self._mixers.append(keras.layers.CutMix((float(cutmix), float(cutmix)), **options))
        self.built = True

    def call(self, images: Tensor, labels: Tensor, training: bool | None = True) -> tuple[Tensor, Tensor]:
        """Mixed images and labels; see the class."""
        if not training:
            return ops.cast(images, self.compute_dtype), self._one_hot(labels)
        return self.transform(images, labels, self.seed_generator)

    def transform(
        self, images: Tensor, labels: Tensor, seed: int | keras.random.SeedGenerator | Tensor
    ) -> tuple[Tensor, Tensor]:
        """The pure function: mixes by `seed`, an integer (also as a tensor) for the batch, whatever the phase."""
        if not isinstance(seed, keras.random.SeedGenerator):
            seed = ops.reshape(ops.cast(seed, "int32"), (-1,))
        seeds = image_seeds(seed, 1)
        images = ops.cast(ops.convert_to_tensor(images), "float32")
        if len(images.shape) != 4:
            raise ValueError(f"MixUpCutMix: expected a batch of images, received shape {tuple(images.shape)}.")
        given = {"images": images, "labels": self._one_hot(labels)}
        if images.shape[0] == 0:  # PyTorch's backend cannot
            return ops.cast(images, self.compute_dtype), given["labels"]
        mixed = [
            call_with_seed(mixer, dict(given), seeds=fold(seeds, number)) for number, mixer in enumerate(self._mixers)
        ]
        result = mixed[0]
        if len(mixed) == 2:
            first = uniform(fold(seeds, len(mixed)), 1)[0, 0] < 0.5
            result = {key: ops.where(first, mixed[0][key], mixed[1][key]) for key in given}
        return ops.cast(result["images"], self.compute_dtype), ops.cast(result["labels"], "float32")

    def _one_hot(self, labels: Tensor) -> Tensor:
        labels = ops.convert_to_tensor(labels)
        if len(labels.shape) == 2:
            return ops.cast(labels, "float32")
        if len(labels.shape) != 1 or self.classes is None:
            raise ValueError(
                "MixUpCutMix: expected one-hot labels (n, classes), or integers (n,) and the argument classes, "
                f"received labels of shape {tuple(labels.shape)} and classes={self.classes}."
            )
        return ops.one_hot(ops.cast(labels, "int32"), self.classes, dtype="float32")

    def compute_output_shape(self, images_shape: Shape, labels_shape: Shape) -> tuple[Shape, Shape]:
        """The images' shape, and (n, classes)."""
        return images_shape, labels_shape if len(labels_shape) == 2 else (labels_shape[0], self.classes)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("classes", "mixup", "cutmix", "seed", "data_format")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
