"""Fancy PCA (Krizhevsky et al. 2012, "ImageNet Classification with Deep CNNs", section 4.1)."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from .augmentation import Augmentation
from .base import Tensor, is_number, is_range, register
from .draws import normal
from .preprocessing import batches_of, moments

# Of ImageNet's colours as images in [0, 1]: variances, and eigenvectors as columns (rows are red, green, blue).
# As published with fb.resnet.torch, datasets/imagenet.lua.
IMAGENET_EIGENVALUES = (0.2175, 0.0188, 0.0045)
IMAGENET_EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


def fancy_pca(
    images: Tensor,
    seeds: Tensor,
    eigenvalues: Tensor,
    eigenvectors: Tensor,
    std: float = 0.1,
    scale: float = 255.0,
    sqrt: bool = False,
    channel_axis: int = -1,
) -> Tensor:
    """Shifts the colour of each image along the principal components of the data's colours.

    Every pixel of an image gets the same shift, scale * P (a * l): P the eigenvectors as columns, l the eigenvalues
    (their square roots with `sqrt`), a drawn from N(0, std) once for each component.

    Args:
        images: float, rank 4: n images with the colours on `channel_axis`.
        seeds: int32, shape (n,).
        eigenvalues: shape (c,), variances of images in [0, 1].
        eigenvectors: shape (c, c), as columns.
        std: of the draws.
        scale: how many units of `images` make up the range [0, 1]: 255 for 0-255.
        sqrt: whether to use standard deviations in place of variances.
        channel_axis: 1 or -1.

    Returns:
        Shifted images in the dtype of `images`; not clipped.
    """
    lengths = ops.sqrt(eigenvalues) if sqrt else eigenvalues
    alphas = normal(seeds, eigenvalues.shape[0], std)
    shift = scale * ops.matmul(alphas * lengths, ops.transpose(eigenvectors))
    shape = [-1, 1, 1, 1]
    shape[channel_axis] = eigenvalues.shape[0]
    return images + ops.cast(ops.reshape(shift, shape), images.dtype)


@register
class FancyPCA(Augmentation):
    """Adds a random multiple of the principal components of the data's colours, one draw an image.

    Changes the colour and intensity of the light, not what is seen. It helps where photographs are taken in all kinds
    of light; not where the colour is the class, nor where normalization has removed each image's mean colour. It is
    weak: with the defaults the shift has a standard deviation of about 3 of 255 grey levels in each channel.

    The literal formula multiplies by eigenvalues, which are variances, so it depends on the unit: they are always
    those of images in [0, 1], and `value_range` says what comes in. `sqrt=True` is the form that does not depend on
    the unit, and about twice as strong.

    Args:
        std: standard deviation of the draws.
        eigenvalues: C variances of images in [0, 1]; ImageNet's unless given or `adapt` is called.
        eigenvectors: C x C, columns, in the order of `eigenvalues`; rows are the channels (RGB for ImageNet's).
        value_range: the two values that stand for black and full intensity.
        sqrt: whether to multiply by the square roots of the eigenvalues.
        seed: integer or None.
        data_format: "channels_last", "channels_first", or None for Keras's default.

    Call: `(images, training=True)`; (n, h, w, C) or (h, w, C), any dtype; the same shape in the compute dtype. Values
    may leave `value_range`: the layer never clips.

    Example:
        >>> shifted = FancyPCA(seed=1)(np.zeros((2, 4, 4, 3), "uint8"))
        >>> shifted.shape == (2, 4, 4, 3) and keras.backend.standardize_dtype(shifted.dtype)
        'float32'

    Reference:
        Krizhevsky, Sutskever, Hinton 2012, section 4.1.
    """

    def __init__(
        self,
        std: float = 0.1,
        eigenvalues: Sequence[float] | np.ndarray | None = None,
        eigenvectors: Sequence[Sequence[float]] | np.ndarray | None = None,
        value_range: Sequence[float] = (0, 255),
        sqrt: bool = False,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        if not is_number(std) or std < 0:
            raise ValueError(f"FancyPCA: expected std to be a number of at least 0, received {std!r}.")
        if (eigenvalues is None) != (eigenvectors is None):
            raise ValueError("FancyPCA: expected eigenvalues and eigenvectors together, received only one of them.")
        if not is_range(value_range):
            raise ValueError(f"FancyPCA: expected value_range to be (low, high), received {value_range!r}.")
        self.std = std
        self.value_range = tuple(value_range)
        self.sqrt = sqrt
        values = np.array(IMAGENET_EIGENVALUES if eigenvalues is None else eigenvalues, "float32")
        vectors = np.array(IMAGENET_EIGENVECTORS if eigenvectors is None else eigenvectors, "float32")
        if values.ndim != 1 or vectors.shape != (len(values), len(values)) or (values < 0).any():
            raise ValueError(
                "FancyPCA: expected C eigenvalues, none negative, and C x C eigenvectors, "
                f"received eigenvalues {values.tolist()} and eigenvectors of shape {vectors.shape}."
            )
        self._create_weights(values, vectors)

    def _create_weights(self, values: np.ndarray, vectors: np.ndarray) -> None:
        # Made here and not in build, where `dataset.map(layer)` would make variables inside a graph.
        def constant(name: str, array: np.ndarray) -> keras.Variable:
            return self.add_weight(
                name=name,
                shape=array.shape,
                initializer=lambda shape, dtype=None: ops.convert_to_tensor(array, dtype),
                dtype="float32",
                trainable=False,
                autocast=False,
            )

        self._values = constant("eigenvalues", values)
        self._vectors = constant("eigenvectors", vectors)
        self.built = True

    @property
    def eigenvalues(self) -> np.ndarray:
        """The C eigenvalues in use, float32, variances of images in [0, 1]."""
        return keras.ops.convert_to_numpy(self._values)

    @property
    def eigenvectors(self) -> np.ndarray:
        """The C x C eigenvectors in use, float32, as columns."""
        return keras.ops.convert_to_numpy(self._vectors)

    def adapt(self, images: Any) -> None:
        """Finds eigenvalues and eigenvectors of the training images' colours, in float64 and in one pass.

        Args:
            images: a batch of them, as the layer takes it (rank 4, any dtype); or an iterable of batches or of single
                images, or of pairs whose first is one, such as a `tf.data.Dataset` of images and labels.
        """
        low, high = self.value_range
        channels = self._values.shape[0]

        def pixels():
            for batch in batches_of(images, "FancyPCA.adapt", self.data_format):
                if batch.shape[-1] != channels:
                    raise ValueError(
                        f"FancyPCA.adapt: expected images with {channels} channels, received {batch.shape[-1]}. "
                        "For another number of channels, pass eigenvalues and eigenvectors."
                    )
                yield (batch.reshape(-1, channels) - low) / (high - low)

        rows = pixels()
        first = next(rows, None)
        if first is None:
            raise ValueError("FancyPCA.adapt: expected images, received none.")
        _, covariance = moments(itertools.chain([first], rows), covariance=True)
        values, vectors = np.linalg.eigh(covariance)  # ascending
        self._values.assign(np.maximum(values[::-1], 0).astype("float32"))
        self._vectors.assign(vectors[:, ::-1].astype("float32"))

    def augment(self, images: Tensor, seeds: Tensor) -> Tensor:
        """The pure function; see `fancy_pca`."""
        axis = -1 if self.data_format == "channels_last" else 1
        if images.shape[axis] != self._values.shape[0]:
            raise ValueError(
                f"FancyPCA: expected images with {self._values.shape[0]} channels, received shape "
                f"{tuple(images.shape)} ({self.data_format}). For other colours, pass eigenvalues and eigenvectors."
            )
        low, high = self.value_range
        return fancy_pca(
            images,
            seeds,
            ops.convert_to_tensor(self._values),
            ops.convert_to_tensor(self._vectors),
            std=self.std,
            scale=float(high - low),
            sqrt=self.sqrt,
            channel_axis=axis,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the eigenvalues and eigenvectors in use."""
        return {
            **super().get_config(),
            "std": self.std,
            "eigenvalues": self.eigenvalues.tolist(),
            "eigenvectors": self.eigenvectors.tolist(),
            "value_range": list(self.value_range),
            "sqrt": self.sqrt,
        }
