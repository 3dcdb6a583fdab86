"""Whitening: rotation to principal components, PCA and ZCA, of colours, patches or whole images."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from .base import Shape, Tensor, register
from .preprocessing import CHUNK, Preprocessing, moments

KINDS = ("zca", "pca", "rotate")
LARGEST = 16_384  # features: their covariance takes 2 GB in float64


@register
class Whitening(Preprocessing):
    """Makes features uncorrelated and of unit variance, by the covariance U diag(S) U^T of the training data.

    With x centred: "rotate" gives U^T x, the principal components, largest first; "pca" divides each by
    sqrt(S + eps); "zca" turns them back, U diag(1 / sqrt(S + eps)) U^T x, which of all whitenings stays closest to
    the images: they still look like images, so convolutions have what they need.

    It helps nets without batch normalization and plain learners on small images (CIFAR-10 with ZCA of whole images was
    usual around 2013). With batch normalization mean and deviation serve as well or better (Wide ResNets report so),
    and components of little variance, which are mostly noise, are amplified: raise `eps`.

    Args:
        kind: "zca", "pca" or "rotate".
        eps: added to the variances, in the unit of the data squared: 1e-5 is next to nothing for images of 0-255, where
            650 is what 1e-2 is for images in [0, 1]. Larger values smooth. 0 drops directions without variance.
        patch: which features: None for the colours of single pixels; k for patches of k x k pixels, stride 1, without
            padding; "image" for the whole image, of fixed size and at most 16,384 numbers.
        data_format: "channels_last", "channels_first", or None for Keras's default.

    Call: `(images)`; (n, h, w, c) or (h, w, c), any dtype and range; the compute dtype out. Colours: the same shape.
    Patches: the components, (n, h-k+1, w-k+1, k*k*c); for "zca" the patch's centre alone, (n, h-k+1, w-k+1, c), and k
    is odd. Images: the same shape for "zca", else components, which have no place in the image, (n, h*w*c).

    `adapt(images)` must come first. `inverse(outputs)` gives the images back, of patches the mean of what they say of a
    pixel; not for "zca" with patches, which keeps a patch's centre only. The sign of each component is fixed: its
    entry of largest magnitude is positive.

    Example:
        >>> images = np.random.default_rng(0).uniform(0, 255, (16, 8, 8, 3))
        >>> layer = Whitening()
        >>> layer.adapt(images)
        >>> colours = ops.convert_to_numpy(layer(images)).reshape(-1, 3)
        >>> bool(np.allclose(np.cov(colours.T, bias=True), np.eye(3), atol=1e-4))
        True

    Reference:
        Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images", appendix A; Stanford CS231n's notes,
        "Setting up the data", for the formulas; Coates, Ng, Lee 2011 for patches.
    """

    def __init__(
        self,
        kind: str = "zca",
        eps: float = 1e-5,
        patch: int | str | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format=data_format, **kwargs)
        if kind not in KINDS:
            raise ValueError(f"Whitening: expected kind to be 'zca', 'pca' or 'rotate', received {kind!r}.")
        if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 <= eps < math.inf:
            raise ValueError(f"Whitening: expected eps to be a number of at least 0, received {eps!r}.")
        side = patch if isinstance(patch, int) and not isinstance(patch, bool) else None
        if patch not in (None, "image") and (side is None or side < 1):
            raise ValueError(
                f"Whitening: expected patch to be None, a positive integer or 'image', received {patch!r}."
            )
        if kind == "zca" and side is not None and side % 2 == 0:
            raise ValueError(f"Whitening: expected patch to be odd for kind='zca' (its centre), received {patch}.")
        self.kind = kind
        self.eps = eps
        self.patch = patch

    # -- statistics ----------------------------------------------------------------------------------------------

    def _features(self, shape: Shape) -> int:
        """How many numbers a feature vector has, for images of (height, width, channels)."""
        if self.patch == "image":
            if None in shape:
                raise ValueError(f"Whitening: patch='image' expects images of a fixed size, received {shape}.")
            count = math.prod(size for size in shape if size is not None)
        else:
            count = (self.patch if isinstance(self.patch, int) else 1) ** 2 * (shape[-1] or 0)
        if count > LARGEST:
            raise ValueError(
                f"Whitening: expected at most {LARGEST} features, whose covariance takes 2 GB; received {count} "
                f"(patch={self.patch!r} of images {shape}). Use smaller patches."
            )
        return count

    def statistics_shapes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        """The mean of the features, and the covariance's eigenvalues and eigenvectors (columns)."""
        self._check_size(shape)
        count = self._features(shape)
        return {"mean": (count,), "eigenvalues": (count,), "eigenvectors": (count, count)}

    def statistics(self, batches: Iterator[np.ndarray]) -> dict[str, np.ndarray]:
        """From the covariance of all feature vectors, divided by N."""
        mean, covariance = moments(self._rows(batches), covariance=True)
        values, vectors = np.linalg.eigh(np.atleast_2d(covariance))
        values, vectors = values[::-1], vectors[:, ::-1]
        # what rounding leaves of a direction without variance is no variance
        values = np.where(values > values[0] * len(values) * np.finfo("float64").eps, values, 0.0)
        largest = np.abs(vectors).argmax(axis=0)
        return {
            "mean": mean,
            "eigenvalues": values,
            "eigenvectors": vectors * np.sign(vectors[largest, np.arange(len(values))]),
        }

    def _rows(self, batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for batch in batches:
            self._check_size(batch.shape[1:])
            count = self._features(batch.shape[1:])
            if not isinstance(self.patch, int):
                yield batch.reshape(-1, count)
                continue
            windows = np.lib.stride_tricks.sliding_window_view(batch, (self.patch, self.patch), axis=(1, 2))
            step = max(1, CHUNK // windows[:1].size)
            for start in range(0, len(windows), step):
                part = windows[start : start + step].transpose(0, 1, 2, 4, 5, 3)  # row and column before the channel
                yield part.reshape(-1, count)

    def _check_size(self, shape: Shape) -> None:
        if isinstance(self.patch, int) and any(size is not None and size < self.patch for size in shape[:2]):
            raise ValueError(f"Whitening: expected images of {self.patch}x{self.patch} or more, received {shape}.")

    # -- the transform and its inverse ---------------------------------------------------------------------------

    def _scales(self) -> tuple[Tensor, Tensor]:
        """What each component is multiplied by, and what undoes it."""
        values = self.weight("eigenvalues")
        if self.kind == "rotate":
            return ops.ones_like(values), ops.ones_like(values)
        spread = ops.sqrt(values + self.eps)
        known = spread > 0
        return ops.where(known, 1.0 / ops.where(known, spread, 1.0), 0.0), spread

    def transform(self, images: Tensor) -> Tensor:
        """Centres, rotates, scales, and for "zca" turns back."""
        mean, vectors = self.weight("mean"), self.weight("eigenvectors")
        scale = self._scales()[0]
        if isinstance(self.patch, int):
            return self._convolve(images, mean, vectors, scale)
        flat = ops.reshape(images, (-1, mean.shape[0])) if self.patch == "image" else images
        outputs = ops.matmul(flat - mean, vectors) * scale
        if self.kind == "zca":
            outputs = ops.matmul(outputs, ops.transpose(vectors))
            outputs = ops.reshape(outputs, (-1, *self.image_shape)) if self.patch == "image" else outputs
        return outputs

    def _convolve(self, images: Tensor, mean: Tensor, vectors: Tensor, scale: Tensor) -> Tensor:
        """Patches as a convolution; less each channel's mean first, so that large numbers need not cancel."""
        kernel, channels = vectors * scale, self._channels()
        if self.kind == "zca":
            kernel = ops.matmul(kernel, ops.transpose(vectors[self._centre()]))
        tile = self.patch * self.patch  # type: ignore[operator]
        level = ops.mean(ops.reshape(mean, (tile, channels)), axis=0)
        offset = ops.matmul(mean - ops.tile(level, (tile,)), kernel)
        kernel = ops.reshape(kernel, (self.patch, self.patch, channels, -1))
        return _conv(images - level, kernel) - offset

    def _channels(self) -> int:
        return self.image_shape[-1] or 0

    def _centre(self) -> slice:
        start = (self.patch**2 // 2) * self._channels()  # type: ignore[operator]
        return slice(start, start + self._channels())

    def invert(self, outputs: Tensor) -> Tensor:
        """Back to images; see the class."""
        mean, vectors = self.weight("mean"), self.weight("eigenvectors")
        spread = self._scales()[1]
        if isinstance(self.patch, int):
            if self.kind == "zca" and self.patch > 1:
                raise ValueError(
                    f"Whitening.inverse: expected kind 'pca' or 'rotate' with patches, received kind='zca', "
                    f"patch={self.patch}: the centre of a patch does not determine it."
                )
            outputs = ops.matmul(outputs, vectors) if self.kind == "zca" else outputs
            return self._overlap(outputs * spread, mean, vectors)
        if self.kind == "zca":
            outputs = ops.reshape(outputs, (-1, mean.shape[0])) if self.patch == "image" else outputs
            outputs = ops.matmul(outputs, vectors)
        images = ops.matmul(outputs * spread, ops.transpose(vectors)) + mean
        return ops.reshape(images, (-1, *self.image_shape)) if self.patch == "image" else images

    def _overlap(self, components: Tensor, mean: Tensor, vectors: Tensor) -> Tensor:
        """Each pixel is the mean of what the patches around it say."""
        side, channels = int(self.patch or 1), self._channels()

        def spread(values, kernel):
            """The transposed convolution."""
            kernel = ops.flip(ops.reshape(kernel, (side, side, channels, -1)), (0, 1))
            values = ops.pad(values, ((0, 0), *[(side - 1, side - 1)] * 2, (0, 0)))
            return _conv(values, ops.transpose(kernel, (0, 1, 3, 2)))

        ones = ops.ones_like(components[..., :1])
        level = ops.mean(ops.reshape(mean, (-1, channels)), axis=0)
        own = mean - ops.tile(level, (side * side,))
        total = spread(components, vectors) + spread(ones, own)
        return total / spread(ones, ops.ones_like(own)) + level

    # -- what is known -------------------------------------------------------------------------------------------

    @property
    def mean(self) -> np.ndarray:
        """The mean of the features."""
        return self.array("mean")

    @property
    def eigenvalues(self) -> np.ndarray:
        """The variances along the components, largest first."""
        return self.array("eigenvalues")

    @property
    def eigenvectors(self) -> np.ndarray:
        """The components, as columns."""
        return self.array("eigenvectors")

    @property
    def matrix(self) -> np.ndarray:
        """What centred features are multiplied by, float64 (outputs, features): `outputs = matrix @ (x - mean)`."""
        values, vectors = self.eigenvalues.astype("float64"), self.eigenvectors.astype("float64")
        if self.kind == "rotate":
            return vectors.T
        spread = np.sqrt(values + self.eps)
        matrix = (vectors * np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)).T
        if self.kind == "pca":
            return matrix
        return (vectors[self._centre()] if isinstance(self.patch, int) else vectors) @ matrix

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """See the class for the shapes."""
        shape = tuple(input_shape)
        if self.patch is None or (self.patch == "image" and self.kind == "zca"):
            return shape
        last = self.data_format == "channels_last"
        height, width, channels = shape[-3:] if last else (*shape[-2:], shape[-3])
        if self.patch == "image":
            return (*shape[:-3], self._features((height, width, channels)))
        self._check_size((height, width, channels))
        side = self.patch - 1 if isinstance(self.patch, int) else 0
        height, width = (None if size is None else size - side for size in (height, width))
        outputs = channels if self.kind == "zca" else self._features((height, width, channels))
        return (*shape[:-3], height, width, outputs) if last else (*shape[:-3], outputs, height, width)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; what `adapt` found is in the weights."""
        return {**super().get_config(), "kind": self.kind, "eps": self.eps, "patch": self.patch}


def _conv(images: Tensor, kernel: Tensor) -> Tensor:
    """Convolution of images, channels last, without padding."""
    if images.shape[0] == 0:  # TensorFlow gives an empty batch back as it is
        height, width = (size - kernel.shape[0] + 1 for size in images.shape[1:3])
        return ops.zeros((0, height, width, kernel.shape[-1]), images.dtype)
    return ops.conv(images, kernel, padding="valid", data_format="channels_last")
