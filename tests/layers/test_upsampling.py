import keras
import numpy as np
import pytest
from harness import BACKEND, check_layer, draw, numpy
from numpy_net import deconvolve, interpolate

from convcraft.layers import BilinearUpsampling2D, CropLike, DepthToSpace


def caffe(x, factor=2):
    """As many pixels as height and width times the factor: Caffe's pad of (kernel - factor) / 2."""
    return deconvolve(x, factor, pad=(2 * factor - factor % 2 - factor) // 2)


def make(factor=2, **kwargs):
    return BilinearUpsampling2D(factor, **kwargs)


check_layer(
    make,
    [(2, 3, 4, 3), (1, 1, 1, 2), (2, 1, 5, 1)],
    reference=caffe,
    bad=[
        ({"factor": 0}, "BilinearUpsampling2D: expected factor to be a positive integer, received 0"),
        ({"factor": 2.0}, "factor"),
        ({"padding": "full"}, "expected padding to be 'same' or 'valid', received 'full'"),
        ({"edges": "wrap"}, "expected edges to be 'zero' or 'repeat', received 'wrap'"),
    ],
)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8, 16, 32])
@pytest.mark.parametrize("padding, reference", [("same", caffe), ("valid", deconvolve)])
def test_every_factor_is_caffes_kernel(factor, padding, reference):
    x = draw((2, 3, 4, 2))
    layer = BilinearUpsampling2D(factor, padding)
    expected = reference(x.astype("float64"), factor)
    assert layer.compute_output_shape(x.shape) == expected.shape
    np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 8, 32])
@pytest.mark.parametrize("size", [(3, 4), (1, 1), (2, 1)])
def test_repeated_edges_are_a_resize(factor, size):
    x = draw((1, *size, 2))
    y = BilinearUpsampling2D(factor, edges="repeat")(x)
    np.testing.assert_allclose(numpy(y), interpolate(x.astype("float64"), factor), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("edges", ["zero", "repeat"])
def test_open_sizes(padding, edges):
    inputs = keras.Input((None, None, 2))
    layer = BilinearUpsampling2D(4, padding, edges)
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, None, 2)
    for shape in ((2, 3, 5, 2), (1, 1, 2, 2)):
        x = draw(shape)
        np.testing.assert_allclose(model.predict(x, verbose=0), numpy(layer(x)), rtol=1e-6, atol=1e-6)


def test_depth_to_space_is_tensorflows():
    x = draw((2, 3, 5, 12))
    expected = np.zeros((2, 6, 10, 3), "float32")
    for row in (0, 1):
        for column in (0, 1):
            first = (2 * row + column) * 3
            expected[:, row::2, column::2] = x[..., first : first + 3]
    np.testing.assert_array_equal(numpy(DepthToSpace(2)(x)), expected)
    assert DepthToSpace(2).compute_output_shape((None, None, 5, 12)) == (None, None, 10, 3)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        np.testing.assert_array_equal(expected, tf.nn.depth_to_space(x, 2))
    for block in (0, True, "2"):
        with pytest.raises(ValueError, match="DepthToSpace: expected block to be a positive integer, received"):
            DepthToSpace(block)
    with pytest.raises(ValueError, match=r"DepthToSpace: expected a multiple of 9 channels, received shape \(2, 3, 5"):
        DepthToSpace(3)(x)


@pytest.mark.parametrize("offset", [0, 2])
def test_crop(offset):
    x, like = draw((2, 7, 8, 3)), draw((2, 5, 4, 1))
    expected = x[:, offset : offset + 5, offset : offset + 4]
    np.testing.assert_array_equal(numpy(CropLike(offset)([x, like])), expected)
    inputs = [keras.Input((None, None, 3)), keras.Input((None, None, 1))]
    model = keras.Model(inputs, CropLike(offset)(inputs))
    assert model.output_shape == (None, None, None, 3)
    np.testing.assert_array_equal(model.predict([x, like], verbose=0), expected)
    again = CropLike.from_config(CropLike(offset).get_config())
    assert again.offset == offset and again.compute_output_shape([x.shape, like.shape]) == expected.shape


def test_crop_is_refused_where_it_cannot_be():
    with pytest.raises(ValueError, match="CropLike: expected maps of at least 8 pixels for an offset of 3, received"):
        CropLike(3)([draw((1, 7, 8, 1)), draw((1, 5, 5, 1))])
    for offset in (-1, True, 1.5):
        with pytest.raises(ValueError, match="CropLike: expected offset to be an integer of at least 0, received"):
            CropLike(offset)


@pytest.mark.parametrize("layer", [DepthToSpace(2), CropLike(1)])
def test_layers_come_back_in_a_fresh_process(layer, fresh_process, tmp_path):
    inputs = keras.Input((6, 6, 4))
    small = keras.layers.MaxPooling2D(2)(inputs)
    model = keras.Model(inputs, layer([inputs, small] if isinstance(layer, CropLike) else inputs))
    x = draw((2, 6, 6, 4))
    y, _ = fresh_process.predict(model, x, tmp_path)
    np.testing.assert_array_equal(y, model.predict(x, verbose=0))
