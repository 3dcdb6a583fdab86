import numpy as np
import pytest
from harness import check_layer, draw, numpy

from convcraft.layers import CeilMaxPooling2D


def caffe(x, pool=3, stride=2):
    """Caffe's max pooling written out: sizes rounded up, windows cut off at the edge."""
    height, width = (-(-(n - pool) // stride) + 1 for n in x.shape[1:3])
    rows = [slice(i * stride, i * stride + pool) for i in range(height)]
    columns = [slice(j * stride, j * stride + pool) for j in range(width)]
    return np.stack([np.stack([x[:, r, c].max(axis=(1, 2)) for c in columns], 1) for r in rows], 1)


check_layer(
    CeilMaxPooling2D,
    shapes=[(2, 7, 8, 3), (1, 6, 6, 2), (1, 3, 2, 1), (2, 9, 12, 1)],
    reference=caffe,
    bad=[({"padding": "same"}, "padding"), ({"pool_size": 2, "strides": 3}, "strides of at most")],
)


def test_channels_first():
    x = draw((1, 6, 9, 2))
    first = CeilMaxPooling2D(data_format="channels_first")
    np.testing.assert_allclose(np.moveaxis(caffe(x), -1, 1).shape, first.compute_output_shape((1, 2, 6, 9)))


def test_nothing_left_is_an_error():
    with pytest.raises(ValueError, match="at least 2 pixels"):
        numpy(CeilMaxPooling2D()(np.zeros((1, 1, 4, 2), "float32")))
