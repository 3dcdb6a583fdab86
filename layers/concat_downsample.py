"""Down-sampling that keeps the pooled image and adds learned channels (Smith & Topin 2016, arXiv 1611.00847)."""

import math
from typing import Any

import keras
from keras import ops

from .base import Shape, Tensor, checked_data_format, register


@register
class ConcatDownsample(keras.layers.Layer):
    """Max pooling and a strided convolution side by side: resolution halves, channels double.

    Pooling costs nothing and loses where things were; a strided convolution can learn to keep it. Concatenating both
    is an efficient way to widen a network where its resolution falls, since the pooled half needs no weights. Not for
    nets that must keep their number of channels: there use one or the other, or their sum.

    The channels that come out are the pooled ones, then those of the convolution. It has no activation.

    Args:
        filters: of the convolution; None for as many as come in.
        kernel_size: of the convolution.
        pool_size: of the pooling.
        strides: of both.
        use_bias: whether the convolution has a bias; not needed where normalization follows.
        kernel_initializer: of the convolution, as the next two.
        kernel_regularizer: the same.
        kernel_constraint: the same.
        data_format: "channels_last", "channels_first", or None for Keras's default.

    Call: `(inputs)`; (n, h, w, c) to (n, ceil(h / strides), ceil(w / strides), c + filters), "same" padding as Keras
    does it; dtype of the policy.

    Example:
        >>> ConcatDownsample()(np.zeros((1, 32, 32, 16), "float32")).shape == (1, 16, 16, 32)
        True

    Reference:
        Smith & Topin 2016, arXiv 1611.00847, pattern "Down-sampling transition"; the grid reduction of Inception.
    """

    def __init__(
        self,
        filters: int | None = None,
        kernel_size: int = 3,
        pool_size: int = 2,
        strides: int = 2,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        sizes = {"filters": filters, "kernel_size": kernel_size, "pool_size": pool_size, "strides": strides}
        for name, value in sizes.items():
            if (isinstance(value, bool) or not isinstance(value, int) or value < 1) and (name, value) != (
                "filters",
                None,
            ):
                raise ValueError(f"ConcatDownsample: expected {name} to be a positive integer, received {value!r}.")
        data_format = checked_data_format(data_format, "ConcatDownsample")
        self.filters = filters
        self.kernel_size = (kernel_size, kernel_size)
        self.pool_size = (pool_size, pool_size)
        self.strides = (strides, strides)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.data_format = data_format
        self._axis = -1 if data_format == "channels_last" else 1

    def build(self, input_shape: Shape) -> None:
        """Makes the convolution."""
        if len(input_shape) != 4 or input_shape[self._axis] is None:
            raise ValueError(
                f"ConcatDownsample: expected images with a known number of channels, received shape {input_shape}."
            )
        shared = {"padding": "same", "data_format": self.data_format, "dtype": self.dtype_policy}
        self.pooling = keras.layers.MaxPooling2D(self.pool_size, self.strides, name="pooling", **shared)
        self.convolution = keras.layers.Conv2D(
            self.filters or input_shape[self._axis],
            self.kernel_size,
            self.strides,
            use_bias=self.use_bias,
            kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self.kernel_regularizer,
            kernel_constraint=self.kernel_constraint,
            name="convolution",
            **shared,
        )
        self.convolution.build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Pools, convolves, concatenates."""
        if inputs.shape[0] == 0:  # TensorFlow's convolution gives an empty batch of a wrong shape
            return ops.zeros(self.compute_output_shape(inputs.shape), self.compute_dtype)
        return ops.concatenate([self.pooling(inputs), self.convolution(inputs)], axis=self._axis)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up; the channels of both."""
        channels = input_shape[self._axis] or 0
        shape = [None if size is None else -(-size // self.strides[0]) for size in input_shape]
        shape[0], shape[self._axis] = input_shape[0], channels + (self.filters or channels)
        return tuple(shape)

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        """The convolution's, for `zoo.cost`."""
        values = math.prod(size or 0 for size in self.compute_output_shape(input_shape)[1:])
        channels = input_shape[self._axis]
        filters = self.filters or channels
        return values // (channels + filters) * filters * self.kernel_size[0] ** 2 * channels

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size[0],
            "pool_size": self.pool_size[0],
            "strides": self.strides[0],
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "data_format": self.data_format,
        }
