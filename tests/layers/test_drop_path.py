import keras
import numpy as np
import pytest
from harness import check_layer, numpy
from scipy.stats import binomtest

from convcraft.layers import DropPath

check_layer(
    lambda **k: DropPath(**{"rate": 0.5, **k}),
    shapes=[(8, 4, 4, 3), (8, 5)],
    random=True,
    reference=lambda x: x,
    bad=[
        ({"rate": 1}, "rate from 0 to below 1, received 1"),
        ({"rate": -0.1}, "received -0.1"),
        ({"rate": True}, "received True"),
        ({"per": "image"}, "'sample' or 'batch', received 'image'"),
        ({"seed": "a"}, "seed"),
    ],
)


def test_an_image_is_dropped_whole_or_scaled():
    y = numpy(DropPath(0.3, seed=1)(np.ones((4000, 3, 2), "float32"), training=True))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7], rtol=1e-6)
    assert binomtest(int((y[:, 0, 0] == 0).sum()), 4000, 0.3).pvalue > 1e-3


def test_per_batch_draws_once():
    layer = DropPath(0.5, per="batch", seed=1)
    draws = [np.unique(numpy(layer(np.ones((5, 2), "float32"), training=True))).tolist() for _ in range(40)]
    assert sorted(map(tuple, {tuple(draw) for draw in draws})) == [(0.0,), (2.0,)]


def test_rate_zero_is_the_identity():
    x = np.float32([[1, -2, np.inf, np.nan]])
    np.testing.assert_array_equal(numpy(DropPath(0.0)(x, training=True)), x)


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_what_is_dropped_leaves_nothing_behind(special):
    y = numpy(DropPath(0.5, seed=3)(np.full((64, 2), special, "float32"), training=True))
    assert (y == 0).any() and set(np.unique(np.isfinite(y))) == {True, False}


def test_expected_value_is_the_input():
    y = numpy(DropPath(0.2, seed=0)(np.ones((20_000, 1), "float32"), training=True))
    # four standard errors of a scaled Bernoulli draw
    assert abs(y.mean() - 1) < 4 * np.sqrt(0.2 / 0.8 / 20_000)


def test_empty_batch():
    assert DropPath(0.5)(np.zeros((0, 3), "float32"), training=True).shape == (0, 3)


def test_keras_has_none():
    """When Keras has the layer, use Keras's."""
    assert not hasattr(keras.layers, "DropPath") and not hasattr(keras.layers, "StochasticDepth")
