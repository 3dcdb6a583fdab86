"""A dense layer on flattened features, for images of any size: the same weights as a convolution."""

import keras
from keras import ops

from .base import Shape, Tensor, register


@register
class SlidingDense(keras.layers.Conv2D):
    """The dense layer after a flattening, slid over larger features: a valid convolution of the flattened size.

    Where a network ends in `Flatten` and `Dense`, its images must have one size. A convolution with the dense layer's
    weights, reshaped to (height, width, channels, units), gives the same on features of that size, and a map of
    outputs on larger ones, to be averaged. A network that ends in global average pooling needs none of this.

    Smaller features raise. Keras's convolution checks that only while shapes are known; in a TensorFlow graph of open
    shapes it can return numbers that mean nothing.

    Args:
        filters: number of units.
        kernel_size: height and width of the features that the dense layer was made for.
        kwargs: of `keras.layers.Conv2D`, without `strides`, `padding`, `dilation_rate` and `groups`.

    Call: `(inputs)`; (n, height, width, channels), at least `kernel_size`; float; out come
    (n, height - kernel_size + 1, width - kernel_size + 1, filters).

    Example:
        >>> features, dense = np.ones((1, 2, 2, 3), "float32"), keras.layers.Dense(5)
        >>> expected = dense(features.reshape(1, 12))
        >>> layer = SlidingDense(5, 2)
        >>> layer.build((None, None, None, 3))
        >>> layer.set_weights([w.reshape(v.shape) for w, v in zip(dense.get_weights(), layer.weights)])
        >>> np.allclose(layer(features)[0, 0, 0], expected[0], atol=1e-5)
        True

    Reference:
        Long, Shelhamer, Darrell 2015, arXiv 1411.4038, section 3.1; also how VGG (arXiv 1409.1556, section 3.2) tests.
    """

    def __init__(self, filters: int, kernel_size: int | tuple[int, int], **kwargs):
        for name, usual in (("strides", 1), ("padding", "valid"), ("dilation_rate", 1), ("groups", 1)):
            given = kwargs.pop(name, usual)
            if given not in (usual, (usual, usual), [usual, usual]):
                raise ValueError(f"SlidingDense: expected no argument {name}, received {name}={given!r}.")
        super().__init__(filters, kernel_size, padding="valid", **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        """Convolves; see the class."""
        axes = (2, 3) if self.data_format == "channels_first" else (1, 2)
        sizes = [inputs.shape[axis] for axis in axes]
        self._refuse(inputs.shape, sizes)
        if None in sizes:  # a slice that starts before the image where that is too small, and changes nothing otherwise
            shape, starts = [ops.shape(inputs)[axis] for axis in range(4)], [0, 0, 0, 0]
            for axis, kernel in zip(axes, self.kernel_size, strict=True):
                starts[axis] = ops.minimum(shape[axis] - kernel, 0)
            known = inputs.shape
            inputs = ops.slice(inputs, ops.stack(starts), ops.stack(shape))
            inputs = ops.reshape(inputs, [-1 if axis == 0 else known[axis] or shape[axis] for axis in range(4)])
        return super().call(inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Sizes less `kernel_size` - 1."""
        axes = (2, 3) if self.data_format == "channels_first" else (1, 2)
        self._refuse(input_shape, [input_shape[axis] for axis in axes])
        return super().compute_output_shape(input_shape)

    def _refuse(self, shape, sizes):
        if any(size is not None and size < kernel for size, kernel in zip(sizes, self.kernel_size, strict=True)):
            raise ValueError(
                f"SlidingDense: expected features of at least {self.kernel_size[0]}x{self.kernel_size[1]}, received "
                f"shape {tuple(shape)}: the images are smaller than those that the network is made for."
            )
