import keras
import numpy as np
import pytest
from harness import BACKEND, check_layer, draw, numpy
from scipy.ndimage import maximum_filter
from scipy.signal import correlate

from convcraft import zoo
from convcraft.layers import BatchNormalization, CompetitiveConv2D


def make(filters=4, kernel_sizes=(1, 3), **options):
    options = {"kernel_initializer": keras.initializers.GlorotUniform(seed=1), **options}
    return CompetitiveConv2D(filters, kernel_sizes, **options)


check_layer(
    make,
    shapes=[(2, 6, 5, 3), (1, 4, 4, 3)],
    trainable=6,
    bad=[
        ({"filters": 0}, "filters to be a positive integer, received 0"),
        ({"kernel_sizes": ()}, "kernel_sizes"),
        ({"kernel_sizes": (3,)}, "two or more"),
        ({"kernel_sizes": (3, 3)}, "to differ"),
        ({"kernel_sizes": 3}, "kernel_sizes"),
        ({"kernel_sizes": (3, 0)}, "kernel_sizes"),
        ({"pool": 1}, "pool"),
        ({"strides": 0}, "strides"),
        ({"data_format": "nchw"}, "data_format"),
    ],
)


def randomized(layer, shape, seed=0):
    layer.build(shape)
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        low = 0.5 if variable.name in ("gamma", "moving_variance") else -1
        variable.assign(rng.uniform(low, 1.5, variable.shape).astype("float32"))
    return layer


@pytest.mark.parametrize("sizes, pool", [((1, 3, 5, 7), False), ((3,), True), ((1, 4), True)])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("strides", [1, 2])
def test_output_is_the_formula(sizes, pool, training, strides):
    """scipy's correlation and running maximum, then normalization, then the maximum over the branches."""
    x = draw((2, 6, 8, 3))
    layer = randomized(make(2, sizes, pool=pool, strides=strides), x.shape)
    best = np.full((2, -(-6 // strides), 8 // strides, 2), -np.inf)
    branches = [(size, x) for size in sizes] + [(1, maximum_filter(x, (1, 3, 3, 1), mode="nearest"))] * pool
    moments = {}
    for number, (size, images) in enumerate(branches):
        kernel = numpy(layer.convolutions[number].kernel).astype("float64")
        y = np.zeros((*x.shape[:3], 2))
        for i, c, o in np.ndindex(2, 3, 2):
            full = correlate(images[i, ..., c].astype("float64"), kernel[..., c, o], mode="full")
            start = size - 1 - (size - 1) // 2
            y[i, ..., o] += full[start : start + 6, start : start + 8]
        if strides == 2:  # Keras's "same" starts where the padding is halved, which depends on the size
            offsets = [max(size - 2 + length % 2, 0) // 2 for length in x.shape[1:3]]
            shift = [(size - 1) // 2 - offset for offset in offsets]
            y = y[:, shift[0] :: 2, shift[1] :: 2]
        gamma, beta, mean, variance = (numpy(v).astype("float64") for v in layer.norms[number].weights)
        if training:
            mean, variance = y.mean((0, 1, 2)), y.var((0, 1, 2))
            moments[number] = mean
        best = np.maximum(best, gamma * (y - mean) / np.sqrt(variance + 1e-5) + beta)
    before = [numpy(norm.moving_mean) for norm in layer.norms]
    np.testing.assert_allclose(numpy(layer(x, training=training)), best, rtol=1e-3, atol=1e-4)
    for number, mean in moments.items():
        expected = 0.9 * before[number] + 0.1 * mean
        np.testing.assert_allclose(numpy(layer.norms[number].moving_mean), expected, rtol=1e-3, atol=1e-4)


def test_branches_compete():
    """Where one branch is far above the others, only it learns."""
    layer = randomized(make(2, (1, 3)), (2, 5, 5, 3))
    layer.norms[1].beta.assign(np.float32([100, 100]))
    model = keras.Sequential([keras.Input((5, 5, 3)), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    before = [numpy(v) for v in layer.trainable_variables]
    model.fit(draw((2, 5, 5, 3)), np.zeros((2, 5, 5, 2)), verbose=0)
    moved = {
        v.path.split("/")[-2]: (numpy(v) != old).any() for v, old in zip(layer.trainable_variables, before, strict=True)
    }
    assert moved == {"convolution_1x1": False, "norm_1x1": False, "convolution_3x3": True, "norm_3x3": True}


def test_branches_start_apart_and_are_ours():
    layer = make(4, (3, 5), kernel_initializer=keras.initializers.RandomNormal(stddev=1.0, seed=None))
    layer.build((None, 8, 8, 3))
    assert all(isinstance(norm, BatchNormalization) for norm in layer.norms)
    one, other = (numpy(c.kernel) for c in layer.convolutions)
    assert (one != other[1:4, 1:4]).any()
    assert not any(c.use_bias for c in layer.convolutions)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow has no channels-first convolution on CPUs")
def test_channels_first():
    x = draw((2, 6, 7, 3))
    last = randomized(make(pool=True), x.shape)
    first = make(pool=True, data_format="channels_first")
    first.build((None, 3, 6, 7))
    first.set_weights(last.get_weights())
    for training in (False, True):
        y = numpy(first(np.moveaxis(x, -1, 1), training=training))
        expected = numpy(last(x, training=training))
        np.testing.assert_allclose(np.moveaxis(y, 1, -1), expected, rtol=1e-3, atol=1e-4)
    assert first.compute_output_shape((None, 3, 6, 7)) == (None, 4, 6, 7)


def test_cost_and_regularization():
    inputs = keras.Input((16, 16, 4))
    layer = CompetitiveConv2D(8, pool=True, strides=2, kernel_regularizer="l2")
    found = zoo.cost(keras.Model(inputs, layer(inputs)))
    assert found.multiply_adds == 8 * 8 * 8 * 4 * (1 + 9 + 25 + 49 + 1)
    assert found.stride == (2, 2) and found.receptive_field == (7, 7)
    assert found.trainable == 8 * 4 * (1 + 9 + 25 + 49 + 1) + 5 * 16
    assert len(layer.losses) == 5
    with pytest.raises(ValueError, match="expected images with a known number of channels"):
        make()(draw((2, 3)))


def test_empty_batch():
    """TensorFlow 2.21's convolution on CPUs gives an empty batch the shape of its input."""
    layer = make(strides=2)
    shape = layer.compute_output_shape((0, 9, 8, 3))
    for training in (False, True):
        assert tuple(layer(np.zeros((0, 9, 8, 3), "float32"), training=training).shape) == shape
    assert np.isfinite(np.concatenate([np.ravel(w) for w in layer.get_weights()])).all()
