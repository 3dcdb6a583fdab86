import keras
import numpy as np
import pytest
from harness import check_layer, draw, numpy

from convcraft.layers import SlidingDense


def make(filters=4, kernel_size=(3, 2), **kwargs):
    """Its weights are drawn alike each time."""
    return SlidingDense(filters, kernel_size, kernel_initializer=keras.initializers.RandomNormal(seed=1), **kwargs)


check_layer(
    make,
    [(2, 6, 5, 3), (1, 3, 2, 3)],
    trainable=2,
    bad=[
        ({"strides": 2}, "SlidingDense: expected no argument strides, received strides=2"),
        ({"padding": "same"}, "SlidingDense: expected no argument padding, received padding='same'"),
        ({"dilation_rate": (2, 2)}, "dilation_rate"),
        ({"groups": 2}, "groups"),
    ],
)


def test_slides_a_dense_layer_is_the_formula():
    """Every window, flattened as Keras flattens, times the dense layer's matrix."""
    x, layer = draw((2, 5, 7, 3)), make(bias_initializer="ones")
    y = numpy(layer(x))
    matrix, bias = (numpy(v) for v in layer.weights)
    matrix = matrix.reshape(3 * 2 * 3, 4).astype("float64")
    for i in range(3):
        for j in range(6):
            expected = x[:, i : i + 3, j : j + 2].reshape(2, -1) @ matrix + bias
            np.testing.assert_allclose(y[:, i, j], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(2, 2), (3, 1), (2, 9), (1, 1)])
def test_smaller_features_are_refused(size):
    with pytest.raises(ValueError, match="SlidingDense: expected features of at least 3x2, received shape .*smaller"):
        make()(draw((1, *size, 3)))
    with pytest.raises(ValueError, match="SlidingDense: expected features of at least 3x2"):
        make()(keras.Input((*size, 3)))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere shapes are always known")
@pytest.mark.parametrize("size", [(2, 4), (1, 1), (4, 1)])
def test_smaller_features_are_refused_in_graphs_of_open_shapes(size):
    """TensorFlow's own fused convolution gave numbers near zero for images one pixel too small."""
    import tensorflow as tf

    layer = make()
    layer.build((None, None, None, 3))
    apply = tf.function(layer.call, input_signature=[tf.TensorSpec((None, None, None, 3))])
    x = draw((2, 5, 4, 3))
    np.testing.assert_array_equal(numpy(apply(x)), numpy(layer(x)))
    with pytest.raises(tf.errors.InvalidArgumentError):
        apply(draw((1, *size, 3)))
