import keras
import numpy as np
import pytest
from harness import BACKEND, check_layer, draw, numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from convcraft.layers import LocalResponseNormalization


def formula(x, depth_radius=5, bias=1.0, alpha=1.0, beta=0.5):
    """Channels last, window by window, in float64."""
    y = np.empty(x.shape, "float64")
    for c in range(x.shape[-1]):
        window = x[..., max(0, c - depth_radius) : c + depth_radius + 1].astype("float64")
        y[..., c] = x[..., c] / (bias + alpha * (window**2).sum(-1)) ** beta
    return y


check_layer(
    LocalResponseNormalization,
    shapes=[(2, 4, 5, 16), (3, 7), (2, 5, 3)],
    reference=formula,
    bad=[
        ({"depth_radius": -1}, "depth_radius to be an integer of at least 0, received -1"),
        ({"depth_radius": 1.5}, "depth_radius"),
        ({"bias": 0}, "bias to be above 0, received 0"),
        ({"alpha": -1}, "alpha"),
        ({"beta": "half"}, "beta"),
        ({"beta": float("nan")}, "beta"),
        ({"data_format": "nchw"}, "data_format"),
    ],
)

KNOBS = [
    {},
    {"depth_radius": 2, "bias": 2.0, "alpha": 1e-4, "beta": 0.75},
    {"depth_radius": 0, "alpha": 0.3, "beta": 1.5},
]


@pytest.mark.parametrize("knobs", KNOBS)
@pytest.mark.parametrize("channels", [1, 3, 40])
def test_output_is_the_formula(knobs, channels):
    x = draw((2, 3, 4, channels), low=-40, high=40)
    np.testing.assert_allclose(numpy(LocalResponseNormalization(**knobs)(x)), formula(x, **knobs), rtol=1e-5)
    first = LocalResponseNormalization(**knobs, data_format="channels_first")
    for shape in (x, x[:, 0], x[:, 0, 0]):  # images, sequences, vectors
        moved = numpy(first(np.moveaxis(shape, -1, 1)))
        np.testing.assert_allclose(np.moveaxis(moved, 1, -1), formula(shape, **knobs), rtol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's operation")
@pytest.mark.parametrize("knobs", KNOBS)
def test_value_and_gradient_are_those_of_tensorflow(knobs):
    import tensorflow as tf

    layer = LocalResponseNormalization(**knobs)
    x, weights = tf.constant(draw((2, 5, 5, 24), low=-9, high=9)), draw((2, 5, 5, 24), seed=1)
    found = []
    full = {"depth_radius": 5, "bias": 1, "alpha": 1, "beta": 0.5} | knobs
    for apply in (layer, lambda x: tf.nn.local_response_normalization(x, **full)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = apply(x)
            total = tf.reduce_sum(y * weights)
        found.append((numpy(y), numpy(tape.gradient(total, x))))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=2e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend's derivative suffices")
def test_gradient_against_finite_differences():
    import tensorflow as tf

    x, knobs = draw((1, 2, 6)).astype("float64"), {"depth_radius": 1, "bias": 0.7, "alpha": 0.4, "beta": 0.8}
    layer, weights = LocalResponseNormalization(**knobs, dtype="float64"), draw((1, 2, 6), seed=1)
    with tf.GradientTape() as tape:
        variable = tf.Variable(x)
        total = tf.reduce_sum(layer(variable) * weights)
    found = np.asarray(tape.gradient(total, variable))
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = 1e-5
        ends = [(formula(x + sign * step, **knobs) * weights).sum() for sign in (1, -1)]
        assert found[index] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-7)


def test_caffe_s_alpha_is_of_the_mean():
    """facts.md, section 10.2: Caffe's alpha 1e-4 with n = 5 is 2e-5 here."""
    x = draw((1, 2, 2, 8), low=-200, high=200)
    window = np.stack([np.pad(x.astype("float64") ** 2, [(0, 0)] * 3 + [(2, 2)])[..., i : i + 8] for i in range(5)])
    caffe = x / (1 + 1e-4 / 5 * window.sum(0)) ** 0.75
    y = LocalResponseNormalization(2, bias=1.0, alpha=2e-5, beta=0.75)(x)
    np.testing.assert_allclose(numpy(y), caffe, rtol=1e-5)


@given(
    n=st.integers(0, 3),
    channels=st.integers(1, 20),
    radius=st.integers(0, 25),
    first=st.booleans(),
    dtype=st.sampled_from(["float32", "float16", "bfloat16"]),
    high=st.sampled_from([1e-3, 1, 255, 6e4]),
)
@settings(max_examples=25, deadline=None)
def test_shapes_dtypes_and_ranges(n, channels, radius, first, dtype, high):
    x = draw((n, 2, 3, channels), low=-high, high=high)
    if first:
        layer = LocalResponseNormalization(radius, data_format="channels_first", dtype=dtype)
        y = keras.ops.moveaxis(layer(np.moveaxis(x, -1, 1)), 1, -1)
    else:
        y = LocalResponseNormalization(radius, dtype=dtype)(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype and tuple(y.shape) == x.shape
    x = numpy(keras.ops.cast(x, dtype))
    tolerance = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1e-2}[dtype]
    np.testing.assert_allclose(numpy(y), formula(x, radius), rtol=tolerance, atol=1e-6)


def test_special_values():
    x = np.float32([[0, 0, 0], [1e18, 1, 0], [np.nan, 1, 1]])
    y = numpy(LocalResponseNormalization(1)(x))
    np.testing.assert_array_equal(y[0], 0)
    np.testing.assert_allclose(y[1], [1, 1e-18, 0], rtol=1e-5)
    assert np.isnan(y[2, :2]).all()
    with pytest.raises(ValueError, match="known number of channels"):
        LocalResponseNormalization()(np.zeros(3, "float32"))
