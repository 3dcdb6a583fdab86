"""Competitive multi-scale convolution (Liao & Carneiro 2015, arXiv 1511.05635)."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from .base import Shape, Tensor, checked_data_format, register
from .batch_normalization import BatchNormalization


@register
class CompetitiveConv2D(keras.layers.Layer):
    """Convolutions of several kernel sizes that compete: at each place and channel the largest answer wins.

    An inception module whose concatenation is replaced by maxout. Each branch is batch-normalized before the maximum,
    or the one with the largest outputs would win everywhere. It suits things that come in different sizes; it costs
    what all its kernels cost together, and gives out no more channels than one of them. The maximum is the activation:
    put none after it.

    Args:
        filters: number of channels that come out, and of each branch.
        kernel_sizes: of the branches, two or more in all with `pool`'s.
        pool: whether a branch of 3x3 max pooling, stride 1, and a 1x1 convolution competes, too: the paper's second
            form. That a 1x1 convolution fits its width is our reading.
        strides: of every branch.
        kernel_initializer: of every convolution, as the next two.
        kernel_regularizer: the same.
        kernel_constraint: the same.
        data_format: "channels_last", "channels_first", or None for Keras's default.

    Call: `(inputs, training=None)`; (n, h, w, c) to (n, ceil(h / strides), ceil(w / strides), filters), "same" padding
    as Keras does it; dtype of the policy.

    Example:
        >>> layer = CompetitiveConv2D(8, kernel_sizes=(1, 3, 5))
        >>> layer(np.zeros((2, 16, 16, 4), "float32")).shape == (2, 16, 16, 8)
        True

    Reference:
        Liao & Carneiro 2015, "Competitive Multi-scale Convolution"; normalization before the maximum: their section 3.
    """

    def __init__(
        self,
        filters: int,
        kernel_sizes: Sequence[int] = (1, 3, 5, 7),
        pool: bool = False,
        strides: int = 1,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        sizes = tuple(kernel_sizes) if isinstance(kernel_sizes, list | tuple) else (None,)
        if not all(_positive(size) for size in sizes) or len(sizes) + bool(pool) < 2 or not sizes:
            raise ValueError(
                "CompetitiveConv2D: expected kernel_sizes to be positive integers, two or more (one with pool=True), "
                f"received {kernel_sizes!r}."
            )
        if len(set(sizes)) < len(sizes):
            raise ValueError(f"CompetitiveConv2D: expected kernel_sizes to differ, received {kernel_sizes!r}.")
        for name, value in (("filters", filters), ("strides", strides)):
            if not _positive(value):
                raise ValueError(f"CompetitiveConv2D: expected {name} to be a positive integer, received {value!r}.")
        if not isinstance(pool, bool):
            raise ValueError(f"CompetitiveConv2D: expected pool to be True or False, received {pool!r}.")
        data_format = checked_data_format(data_format, "CompetitiveConv2D")
        self.filters = filters
        self.kernel_sizes = sizes
        self.pool = pool
        self.strides = (strides, strides)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.data_format = data_format
        self._axis = -1 if data_format == "channels_last" else 1

    @property
    def kernel_size(self) -> tuple[int, int]:
        """What one output sees: the largest window."""
        largest = max(*self.kernel_sizes, 3 if self.pool else 1)
        return largest, largest

    def build(self, input_shape: Shape) -> None:
        """Makes the branches."""
        if len(input_shape) != 4 or input_shape[self._axis] is None:
            raise ValueError(
                f"CompetitiveConv2D: expected images with a known number of channels, received shape {input_shape}."
            )
        self.pooling = keras.layers.MaxPooling2D(
            3, 1, padding="same", data_format=self.data_format, dtype=self.dtype_policy, name="pooling"
        )
        names = [(size, f"{size}x{size}") for size in self.kernel_sizes] + [(1, "pooled")] * self.pool
        self.convolutions = [self._convolution(size, f"convolution_{name}") for size, name in names]
        self.norms = [
            BatchNormalization(axis=self._axis, dtype=self.dtype_policy, name=f"norm_{name}") for _, name in names
        ]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            convolution.build(input_shape)
            norm.build(convolution.compute_output_shape(input_shape))

    def _convolution(self, size, name):
        init = self.kernel_initializer
        return keras.layers.Conv2D(
            self.filters,
            size,
            self.strides,
            padding="same",
            use_bias=False,  # the normalization's offset stands in for it
            # one instance draws the same numbers each time: every branch gets a copy of its own
            kernel_initializer=init.clone() if isinstance(init, keras.initializers.Initializer) else init,
            kernel_regularizer=self.kernel_regularizer,
            kernel_constraint=self.kernel_constraint,
            data_format=self.data_format,
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """The maximum over the branches."""
        if inputs.shape[0] == 0:  # TensorFlow's convolution gives an empty batch of a wrong shape
            return ops.zeros(self.compute_output_shape(inputs.shape), self.compute_dtype)
        best = None
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = self.pooling(inputs) if number == len(self.kernel_sizes) else inputs
            x = norm(convolution(x), training=training)
            best = x if best is None else ops.maximum(best, x)
        return best

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Sizes divided by the stride, rounded up; `filters` channels."""
        shape = [
            size if size is None or axis == 0 else -(-size // self.strides[0]) for axis, size in enumerate(input_shape)
        ]
        shape[self._axis] = self.filters
        return tuple(shape)

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        """All convolutions', for `zoo.cost`."""
        values = math.prod(size or 0 for size in self.compute_output_shape(input_shape)[1:])
        return values * input_shape[self._axis] * (sum(size**2 for size in self.kernel_sizes) + self.pool)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_sizes": list(self.kernel_sizes),
            "pool": self.pool,
            "strides": self.strides[0],
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "data_format": self.data_format,
        }


def _positive(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
