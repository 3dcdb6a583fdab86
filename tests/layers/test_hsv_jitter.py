import colorsys

import keras
import numpy as np
import pytest
from harness import BACKEND, check_layer, draw, numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, uniform

from convcraft.layers import HSVJitter
from convcraft.layers.hsv_jitter import adjust_hsv

check_layer(
    HSVJitter,
    shapes=[(4, 6, 6, 3), (1, 5, 8, 3), (2, 1, 1, 3)],
    random=True,
    augmentation=True,
    reference=lambda x: x,
    bad=[
        ({"power": (0, 4)}, r"power to be \(low, high\), 0 < low <= high, received \(0, 4\)"),
        ({"power": 2}, "power"),
        ({"power": ("a", "b")}, "power"),
        ({"factor": (1.4, 0.7)}, "factor"),
        ({"factor": (1, float("inf"))}, "factor"),
        ({"shift": -0.1}, "shift from 0 to 1, received -0.1"),
        ({"shift": float("nan")}, "shift"),
        ({"shift": (-0.1, 0.1)}, "shift"),
        ({"hue": "any"}, "hue .*received 'any'"),
        ({"hue": 0.6}, "hue from 0 to .5 .*, received 0.6"),
        ({"value_range": (1, 0)}, "value_range"),
        ({"value_range": (0, float("inf"))}, "value_range"),
        ({"data_format": "nchw"}, "data_format"),
        ({"seed": "1"}, "seed"),
    ],
)


def colorsys_jitter(images, power, factor, shift, hue):
    """facts.md 3.2 by the standard library, pixel by pixel, in float64, for images in [0, 1]."""
    out = np.empty(images.shape)
    for i in np.ndindex(images.shape[:3]):
        n = i[0]
        h, s, v = colorsys.rgb_to_hsv(*images[i])
        s = min(max(s ** power[0, n] * factor[0, n] + shift[0, n], 0), 1)
        v = min(max(v ** power[1, n] * factor[1, n] + shift[1, n], 0), 1)
        out[i] = colorsys.hsv_to_rgb((h + hue[n]) % 1, s, v)
    return out


def parameters(n, seed=0):
    rng = np.random.default_rng(seed)
    return (
        np.exp(rng.uniform(np.log(0.25), np.log(4), (2, n))),
        np.exp(rng.uniform(np.log(0.7), np.log(1.4), (2, n))),
        rng.uniform(-0.1, 0.1, (2, n)),
        rng.uniform(-0.5, 0.5, n),
    )


# every corner, edge and the grey diagonal of the colour cube, where maxima tie and hue or saturation are undefined
CUBE = np.stack(np.meshgrid(*[[0, 64, 128, 254, 255]] * 3), -1).reshape(1, 25, 5, 3)


def test_it_is_the_formula_on_the_whole_colour_cube():
    images = np.repeat(CUBE, 6, axis=0).astype("float64")
    drawn = parameters(6)
    y = numpy(adjust_hsv(images.astype("float32"), *(p.astype("float32") for p in drawn)))
    np.testing.assert_allclose(y / 255, colorsys_jitter(images / 255, *drawn), atol=1e-5)


@pytest.mark.parametrize(
    "name, value",
    [("power", 3.0), ("factor", 0.8), ("shift", 0.05), ("shift", -0.05), ("hue", 0.4), ("hue", -0.4), ("hue", 1.0)],
)
@pytest.mark.parametrize("row", [0, 1])
def test_each_part_alone_is_the_formula(name, value, row):
    """Saturation is row 0, value row 1, and neither takes the other's numbers."""
    same = {"power": np.ones((2, 1)), "factor": np.ones((2, 1)), "shift": np.zeros((2, 1)), "hue": np.zeros(1)}
    if name == "hue":
        same["hue"][:] = value
    else:
        same[name][row] = value
    y = numpy(adjust_hsv(CUBE.astype("float32"), *(p.astype("float32") for p in same.values())))
    np.testing.assert_allclose(y / 255, colorsys_jitter(CUBE / 255, *same.values()), atol=1e-5)


def test_nothing_drawn_changes_nothing():
    layer = HSVJitter(power=(1, 1), factor=(1, 1), shift=0, hue=0)
    np.testing.assert_allclose(numpy(layer(CUBE.astype("uint8"))), CUBE, atol=1e-3)


def drawn_by(seeds, monkeypatch, **options):
    """What the layer draws for its images."""
    seen = []
    monkeypatch.setattr("convcraft.layers.hsv_jitter.adjust_hsv", lambda images, *args: seen.append(args) or images)
    HSVJitter(**options).transform(np.zeros((len(seeds), 1, 1, 3), "float32"), seeds)
    return [numpy(p).astype("float64") for p in seen[0][:4]]


def test_draws_have_the_stated_distributions(monkeypatch):
    """Kolmogorov and Smirnov's test at 1e-3 for each, 20,000 draws; correlations within four standard errors."""
    n = 20_000
    options = {"power": (0.5, 3), "factor": (0.8, 1.1), "shift": 0.2, "hue": 0.05}
    power, factor, shift, hue = drawn_by(np.arange(n, dtype="int32"), monkeypatch, **options)
    assert power.shape == factor.shape == shift.shape == (2, n) and hue.shape == (n,)
    rows = [
        *((np.log(row), np.log(0.5), np.log(3)) for row in power),
        *((np.log(row), np.log(0.8), np.log(1.1)) for row in factor),
        *((row, -0.2, 0.2) for row in shift),
        (hue, -0.05, 0.05),
    ]
    for values, low, high in rows:
        assert kstest(values, uniform(low, high - low).cdf).pvalue > 1e-3
    correlations = np.corrcoef([values for values, _, _ in rows]) - np.eye(7)
    assert np.abs(correlations).max() < 4 / np.sqrt(n), "all seven are independent"


def test_defaults_are_those_of_the_list_of_tricks(monkeypatch):
    power, factor, shift, hue = drawn_by(np.arange(5000, dtype="int32"), monkeypatch)
    for values, low, high in ((power, 0.25, 4), (factor, 0.7, 1.4), (shift, -0.1, 0.1), (hue, -0.1, 0.1)):
        assert low <= values.min() < low + 0.02 and high - 0.02 < values.max() <= high


def test_one_draw_for_all_pixels_of_an_image():
    x = np.repeat(draw((5, 1, 1, 3), low=0, high=255), 12, axis=1).reshape(5, 4, 3, 3)
    y = numpy(HSVJitter(seed=1)(x))
    np.testing.assert_allclose(y, np.broadcast_to(y[:, :1, :1], y.shape), rtol=1e-5, atol=1e-3)
    assert np.abs(y - x).max() > 1


@pytest.mark.parametrize("value_range", [(0, 1), (-1, 1), (16, 235)])
def test_value_range(value_range):
    low, high = value_range
    unit = draw((3, 4, 4, 3), low=0, high=1)
    seeds = np.arange(3, dtype="int32")
    expected = numpy(HSVJitter().transform(unit * 255, seeds)) / 255
    y = numpy(HSVJitter(value_range=value_range).transform(unit * (high - low) + low, seeds))
    np.testing.assert_allclose((y - low) / (high - low), expected, atol=2e-5)


def test_channels_first_equals_channels_last():
    x = draw((4, 5, 6, 3), low=0, high=255)
    last = numpy(HSVJitter().transform(x, 3))
    first = numpy(HSVJitter(data_format="channels_first").transform(np.moveaxis(x, -1, 1), 3))
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), last, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 4, 4, 1), (2, 4, 4, 4)])
def test_other_channels_are_refused(shape):
    with pytest.raises(ValueError, match=r"3 channels.*received shape \(2, 4, 4, [14]\)") as error:
        HSVJitter()(np.zeros(shape, "float32"))
    assert ("Grey" in str(error.value)) == (shape[-1] == 1)


@settings(max_examples=20 if BACKEND != "jax" else 5, deadline=None)  # JAX compiles for each shape
@given(
    dtype=st.sampled_from(["uint8", "int32", "float16", "float32", "float64"]),
    size=st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5)),
    first=st.booleans(),
    seed=st.integers(0, 2**31 - 1),
    fill=st.sampled_from([None, 0, 255, 7]),
)
def test_any_image_stays_within_the_range(dtype, size, first, seed, fill):
    """Black, white and grey included: no NaN, nothing outside, the same shape."""
    x = draw((*size, 3), low=0, high=255, seed=seed % 1000)
    x = (x if fill is None else np.full_like(x, fill)).astype(dtype)
    layer = HSVJitter(data_format="channels_first" if first else "channels_last")
    y = numpy(layer.transform(np.moveaxis(x, -1, 1) if first else x, seed))
    assert y.shape == ((size[0], 3, *size[1:]) if first else x.shape)
    assert ((y >= 0) & (y <= 255.001)).all()
    if fill is not None and y.size:
        flat = (np.moveaxis(y, 1, -1) if first else y).reshape(len(y), -1, 3)
        # vectorized and remaining pixels differ in the last bit
        np.testing.assert_allclose(flat, np.broadcast_to(flat[:, :1], flat.shape), rtol=1e-5, atol=1e-3)


def test_extreme_values_stay_in_their_image():
    x = draw((4, 4, 4, 3), low=0, high=255)
    seeds = np.arange(4, dtype="int32")
    expected = numpy(HSVJitter().transform(x, seeds))
    broken = x.copy()
    broken[1, 0, 0] = np.nan
    broken[2, 0, 0] = np.inf, -np.inf, 1e30
    y = numpy(HSVJitter().transform(broken, seeds))
    np.testing.assert_array_equal(y[[0, 3]], expected[[0, 3]])
    np.testing.assert_array_equal(y[1:3, 1:], expected[1:3, 1:])
    clipped = broken[2].copy()
    clipped[0, 0] = 255, 0, 255
    np.testing.assert_allclose(y[2], numpy(HSVJitter().transform(clipped[None], seeds[2:3]))[0], rtol=1e-5, atol=1e-3)


def gradient(function, x):
    """The gradient of `function` at `x`, by the backend."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return numpy(tape.gradient(y, x))
    if BACKEND == "jax":
        import jax

        return numpy(jax.grad(function)(x))
    import torch

    x = torch.tensor(x, requires_grad=True)
    function(x).backward()
    return numpy(x.grad)


def test_gradients_are_those_of_finite_differences():
    """Away from ties, against colorsys in float64; on black, white and grey they are finite."""
    x = np.random.default_rng(3).permutation(np.linspace(0.1, 0.9, 24)).reshape(2, 2, 2, 3)
    drawn = parameters(2, seed=4)
    drawn[2][:] = 0
    weights = draw(x.shape, "float64")

    def function(images):
        y = adjust_hsv(images, *(p.astype("float32") for p in drawn), value_range=(0, 1))
        return keras.ops.sum(keras.ops.multiply(y, keras.ops.convert_to_tensor(weights.astype("float32"))))

    found, step = gradient(function, x.astype("float32")), 1e-6
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        slope = ((colorsys_jitter(up, *drawn) - colorsys_jitter(down, *drawn)) * weights).sum() / (2 * step)
        np.testing.assert_allclose(found[i], slope, rtol=2e-3, atol=2e-3)
    for fill in (0, 0.5, 1):
        assert np.isfinite(gradient(function, np.full((2, 2, 2, 3), fill, "float32"))).all()
