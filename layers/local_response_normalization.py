"""Local response normalization (Krizhevsky et al. 2012, "ImageNet Classification with Deep CNNs", section 3.3)."""

from typing import Any

import keras
import numpy as np
from keras import ops

from .base import Shape, Tensor, checked_data_format, is_number, register


@register
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each value by a power of the squares of its neighbours in the channels: x / (bias + alpha s)^beta.

    s is the sum over 2 depth_radius + 1 channels of the same pixel. Defaults and result are those of
    `tf.nn.local_response_normalization`. For old networks, as published. In a new one batch normalization takes its
    place; the authors of VGG found no gain from it (Simonyan & Zisserman 2014, section 4.1).

    Caffe divides alpha by the number of channels n = 2 depth_radius + 1, and so do AlexNet's and GoogLeNet's files:
    their alpha=1e-4, n=5 is `alpha=2e-5, depth_radius=2` here, with beta=.75.

    The sum is a product with a band of ones, which is faster on CPUs than TensorFlow's own operation up to some
    hundred channels; its cost grows with the square of their number. One infinite value makes its pixel NaN.

    Args:
        depth_radius: channels on each side, at least 0.
        bias: above 0.
        alpha: factor of the sum.
        beta: exponent.
        data_format: "channels_last", "channels_first", or None for Keras's default.

    Call: `(inputs)`; (n, …, channels), or (n, channels, …) channels first, rank 2 or more; same shape and dtype out.
    The sum is computed in float32 at least.

    Example:
        >>> layer = LocalResponseNormalization(depth_radius=1)
        >>> y = layer(np.array([[1.0, 1.0, 1.0, 0.0]], "float32"))
        >>> np.asarray(y, float).round(4).tolist()
        [[0.5774, 0.5, 0.5774, 0.0]]

    Reference:
        Krizhevsky, Sutskever, Hinton 2012, section 3.3 (there bias=2, alpha=1e-4, beta=.75, depth_radius=2).
    """

    def __init__(
        self,
        depth_radius: int = 5,
        bias: float = 1.0,
        alpha: float = 1.0,
        beta: float = 0.5,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if isinstance(depth_radius, bool) or not isinstance(depth_radius, int) or depth_radius < 0:
            raise ValueError(
                "LocalResponseNormalization: expected depth_radius to be an integer of at least 0, "
                f"received {depth_radius!r}."
            )
        for name, value, least in (
            ("bias", bias, "above 0"),
            ("alpha", alpha, "at least 0"),
            ("beta", beta, "a number"),
        ):
            if not is_number(value) or (least == "above 0" and value <= 0) or (least == "at least 0" and value < 0):
                raise ValueError(f"LocalResponseNormalization: expected {name} to be {least}, received {value!r}.")
        data_format = checked_data_format(data_format, "LocalResponseNormalization")
        self.depth_radius = depth_radius
        self.bias = bias
        self.alpha = alpha
        self.beta = beta
        self.data_format = data_format
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        """Applies the normalization; see the class."""
        axis = len(inputs.shape) - 1 if self.data_format == "channels_last" else 1
        channels = inputs.shape[axis]
        if axis < 1 or channels is None:
            raise ValueError(
                "LocalResponseNormalization: expected inputs of rank 2 or more with a known number of channels, "
                f"received shape {tuple(inputs.shape)} ({self.data_format})."
            )
        if 0 in inputs.shape:  # JAX and PyTorch cannot flatten it
            return inputs
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        x = ops.cast(inputs, dtype)
        number = np.arange(channels)
        band = ops.convert_to_tensor((np.abs(number[:, None] - number) <= self.depth_radius).astype(dtype))
        if axis == len(inputs.shape) - 1:
            sums = ops.matmul(ops.square(x), band)
        else:
            flat = ops.reshape(ops.square(x), (*ops.shape(x)[:2], -1))
            sums = ops.reshape(ops.matmul(band, flat), ops.shape(x))
        base = self.bias + self.alpha * sums
        factor = ops.rsqrt(base) if self.beta == 0.5 else ops.power(base, -self.beta)
        return ops.cast(x * factor, inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Same shape as the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("depth_radius", "bias", "alpha", "beta", "data_format")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
