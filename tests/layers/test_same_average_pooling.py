import numpy as np
import pytest
from harness import check_layer, draw, numpy

from convcraft.layers import SameAveragePooling2D


def make(pool_size=3, strides=2, **kwargs):
    return SameAveragePooling2D(pool_size, strides, **kwargs)


def formula(x, size=(3, 3), stride=(2, 2)):
    """The mean of the pixels in each window; TensorFlow puts the odd pixel of padding at the end."""
    starts = []
    for n, k, s in zip(x.shape[1:3], size, stride, strict=True):
        count = -(-n // s)
        starts.append(np.arange(count) * s - max((count - 1) * s + k - n, 0) // 2)
    rows = [[x[:, max(i, 0) : i + size[0], max(j, 0) : j + size[1]].mean((1, 2)) for j in starts[1]] for i in starts[0]]
    return np.stack([np.stack(row, 1) for row in rows], 1)


check_layer(
    make,
    [(2, 6, 8, 3), (2, 7, 6, 3), (1, 2, 1, 1), (2, 1, 1, 3)],
    reference=formula,
    bad=[({"padding": "valid"}, "SameAveragePooling2D: expected no padding argument")],
)


@pytest.mark.parametrize("size, stride", [((3, 3), (1, 1)), ((2, 2), (2, 2)), ((3, 2), (2, 1)), ((5, 4), (3, 4))])
@pytest.mark.parametrize("shape", [(2, 9, 8, 2), (1, 5, 12, 1)])
def test_windows_is_the_formula(size, stride, shape):
    x = draw(shape)
    y = formula(x.astype("float64"), size, stride)
    np.testing.assert_allclose(numpy(SameAveragePooling2D(size, stride)(x)), y, rtol=1e-5, atol=1e-6)
    assert SameAveragePooling2D(size, stride).compute_output_shape(shape) == y.shape
