import numpy as np
import pytest
from harness import check_layer, numpy
from scipy.stats import kstest, uniform

from convcraft.layers import RReLU

check_layer(
    RReLU,
    shapes=[(2, 4, 4, 3), (2, 5), (3, 7, 2)],
    random=True,
    reference=lambda x: np.where(x >= 0, x, x * 11 / 48),
    bad=[
        ({"lower": 0.5, "upper": 0.2}, "lower=0.5, upper=0.2"),
        ({"lower": -1}, "0 <= lower"),
        ({"lower": 0, "upper": 8, "divide": True}, "0 < lower"),
        ({"upper": "large"}, "upper='large'"),
        ({"upper": float("inf")}, "upper=inf"),
        ({"seed": 1.5}, "seed"),
    ],
)


def test_inference_slope_is_that_of_tensorflow_addons():
    # make oracle: tfa.activations.rrelu([-1.], training=False) under tensorflow-addons 0.23.0
    np.testing.assert_allclose(numpy(RReLU()(np.float32([-1]))), [-0.22916667], atol=1e-8)


def test_paper_divides_by_five_and_a_half_at_inference():
    # Xu et al. 2015, section 2.4: y = x / ((l + u) / 2) with l = 3, u = 8
    np.testing.assert_allclose(numpy(RReLU.paper()(np.float32([-11, 0, 3]))), [-2, 0, 3], rtol=1e-6)


@pytest.mark.parametrize("layer, divisor", [(RReLU(seed=0), False), (RReLU.paper(3, 8, seed=0), True)])
def test_training_draws_are_uniform(layer, divisor):
    slopes = -numpy(layer(-np.ones((1000, 100), "float32"), training=True)).ravel()
    drawn, low, high = (1 / slopes, 3, 8) if divisor else (slopes, 1 / 8, 1 / 3)
    assert kstest(drawn, uniform(low, high - low).cdf).pvalue > 1e-3


def test_one_draw_an_element():
    slopes = numpy(RReLU(seed=0)(-np.ones((4, 8, 8, 16), "float32"), training=True))
    # 4,096 draws from 32,768 values: some 3,850 differ
    assert len(np.unique(slopes)) > 0.9 * slopes.size
    first, second = slopes[..., :8].ravel(), slopes[..., 8:].ravel()  # they share random integers, not draws
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(first))


def test_odd_and_unknown_channels_draw_alike():
    for shape in ((50_000, 1), (33_333, 3)):
        slopes = -numpy(RReLU(seed=0)(-np.ones(shape, "float32"), training=True)).ravel()
        assert kstest(slopes, uniform(1 / 8, 1 / 3 - 1 / 8).cdf).pvalue > 1e-3


def test_positive_and_special_values_pass():
    y = numpy(RReLU(seed=0)(np.float32([0, 5, np.inf, np.nan, -np.inf]), training=True))
    np.testing.assert_array_equal(y[[0, 1, 2, 4]], [0, 5, np.inf, -np.inf])
    assert np.isnan(y[3])
