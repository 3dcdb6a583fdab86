import keras
import numpy as np
import pytest
from harness import check_layer, draw, numpy
from scipy.signal import correlate

from convcraft.layers import GroupedConv2D


def make(filters=6, kernel_size=3, groups=2, **kwargs):
    """Its weights are drawn alike each time."""
    initializer = keras.initializers.RandomNormal(seed=1)
    return GroupedConv2D(filters, kernel_size, groups=groups, kernel_initializer=initializer, **kwargs)


check_layer(
    make,
    [(2, 6, 5, 4), (1, 3, 4, 4)],
    trainable=2,
    bad=[({"filters": 5}, "groups"), ({"groups": 0}, "groups")],
)


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
def test_each_group_sees_its_own_channels(groups, first):
    if first and keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow's convolutions on processors take channels last")
    x = draw((2, 7, 6, 6))
    layer = make(12, groups=groups, bias_initializer="ones", data_format=f"channels_{'first' if first else 'last'}")
    y = numpy(layer(np.moveaxis(x, -1, 1) if first else x))
    y = np.moveaxis(y, 1, -1) if first else y
    kernel, inputs, outputs = numpy(layer.kernel).astype("float64"), 6 // groups, 12 // groups
    for n in range(2):
        for out in range(12):
            start = out // outputs * inputs
            expected = 1 + sum(
                correlate(x[n, :, :, start + i], kernel[:, :, i, out], mode="valid") for i in range(inputs)
            )
            np.testing.assert_allclose(y[n, :, :, out], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"strides": 2, "padding": "same"}, {"dilation_rate": 2}, {"use_bias": False}])
def test_it_is_keras_s_layer_with_the_same_weights(options):
    """To the last option; Keras's own takes other paths."""
    x, ours = draw((2, 9, 8, 4)), make(**options)
    theirs = keras.layers.Conv2D.from_config(ours.get_config())
    y = numpy(ours(x))
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(y, numpy(theirs(x)), rtol=1e-4, atol=1e-5)
