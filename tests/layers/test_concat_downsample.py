import keras
import numpy as np
import pytest
from harness import BACKEND, check_layer, draw, numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate

from convcraft import zoo
from convcraft.layers import ConcatDownsample

check_layer(
    lambda **options: ConcatDownsample(**{"kernel_initializer": keras.initializers.GlorotUniform(seed=1), **options}),
    shapes=[(2, 6, 8, 3), (1, 5, 7, 3)],
    trainable=2,
    bad=[
        ({"filters": 0}, "filters to be a positive integer, received 0"),
        ({"kernel_size": (3, 3)}, "kernel_size"),
        ({"pool_size": -1}, "pool_size"),
        ({"strides": 1.0}, "strides"),
        ({"data_format": "nchw"}, "data_format"),
    ],
)


def windows(x, size, stride, fill):
    """Keras's "same" padding, then the windows: (n, h, w, c, size, size)."""
    pads = [(0, 0)]
    for length in x.shape[1:3]:
        whole = max((-(-length // stride) - 1) * stride + size - length, 0)
        pads.append((whole // 2, whole - whole // 2))
    x = np.pad(x, [*pads, (0, 0)], constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]


@pytest.mark.parametrize(
    "size, knobs",
    [
        ((6, 8), {}),
        ((7, 5), {"kernel_size": 5, "pool_size": 3, "strides": 3, "filters": 2}),
        ((4, 4), {"kernel_size": 1}),
    ],
)
def test_output_is_the_formula(size, knobs):
    x = draw((2, *size, 3)).astype("float64")
    layer = ConcatDownsample(**knobs)
    y = numpy(layer(x))
    kernel, bias = [numpy(w).astype("float64") for w in layer.trainable_variables]
    bias += 0.5
    layer.trainable_variables[1].assign(bias)
    y = numpy(layer(x))
    pooled = windows(x, layer.pool_size[0], layer.strides[0], -np.inf).max((-1, -2))
    patches = windows(x, layer.kernel_size[0], layer.strides[0], 0)
    convolved = np.einsum("bhwcij,ijco->bhwo", patches, kernel) + bias
    np.testing.assert_allclose(y, np.concatenate([pooled, convolved], -1), rtol=1e-4, atol=1e-5)
    assert y.shape[-1] == 3 + knobs.get("filters", 3)


def test_convolution_is_scipy_s():
    """Stride 1, which scipy knows."""
    x = draw((1, 6, 7, 2))
    layer = ConcatDownsample(filters=1, strides=1, use_bias=False)
    y = numpy(layer(x))
    (kernel,) = (numpy(w) for w in layer.trainable_variables)
    expected = sum(correlate(x[0, ..., c], kernel[..., c, 0], mode="same") for c in range(2))
    np.testing.assert_allclose(y[0, ..., 2], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow has no channels-first convolution on CPUs")
def test_channels_first():
    x = draw((2, 6, 7, 3))
    last, first = ConcatDownsample(4), ConcatDownsample(4, data_format="channels_first")
    expected = numpy(last(x))
    first.build((None, 3, 6, 7))
    first.set_weights(last.get_weights())
    y = numpy(first(np.moveaxis(x, -1, 1)))
    np.testing.assert_allclose(np.moveaxis(y, 1, -1), expected, rtol=1e-4, atol=1e-5)
    assert first.compute_output_shape((None, 3, 6, 7)) == (None, 7, 3, 4)


@given(n=st.integers(0, 2), height=st.integers(1, 9), width=st.integers(1, 9), stride=st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_every_size(n, height, width, stride):
    layer = ConcatDownsample(2, strides=stride)
    y = layer(draw((n, height, width, 3)))
    assert tuple(y.shape) == layer.compute_output_shape((n, height, width, 3))
    assert tuple(y.shape) == (n, -(-height // stride), -(-width // stride), 5)


def test_cost_and_regularization():
    inputs = keras.Input((16, 16, 4))
    layer = ConcatDownsample(kernel_regularizer="l2", kernel_constraint="non_neg")
    found = zoo.cost(keras.Model(inputs, layer(inputs)))
    assert found.multiply_adds == 8 * 8 * 4 * 9 * 4 and found.stride == (2, 2) and found.receptive_field == (3, 3)
    assert len(layer.losses) == 1 and layer.convolution.kernel.constraint is not None
    with pytest.raises(ValueError, match="expected images with a known number of channels"):
        ConcatDownsample()(draw((2, 3)))
