"""Against NumPy in float64 and scipy.ndimage, one image at a time."""

import keras
import numpy as np
import pytest
from harness import draw, numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from convcraft.layers import draws
from convcraft.layers import pixel_transforms as pixels

X = draw((3, 9, 7, 3), low=0, high=255)
SEEDS = np.arange(5, 8, dtype="int32")


def tensors(function):
    """The function on tensors of the backend in use, where NumPy arrays are given."""

    def call(*arguments):
        made = [keras.ops.convert_to_tensor(a) if isinstance(a, np.ndarray) else a for a in arguments]
        return function(*made)

    return call


def per_image(*values):
    return np.array(values, "float32")


def test_colour_moments_is_the_formula():
    mean, covariance = map(numpy, tensors(pixels.colour_moments)(X))
    for image, m, c in zip(X.astype("float64"), mean, covariance, strict=True):
        np.testing.assert_allclose(m, image.reshape(-1, 3).mean(0), rtol=1e-5)
        np.testing.assert_allclose(c, np.cov(image.reshape(-1, 3), rowvar=False, bias=True), rtol=1e-4, atol=1e-2)


def test_map_colours_is_the_formula():
    matrix, offset = draw((3, 3, 3), seed=1), draw((3, 3), seed=2)
    expected = np.einsum("nij,nhwj->nhwi", matrix, X) + offset[:, None, None]
    np.testing.assert_allclose(numpy(tensors(pixels.map_colours)(X, matrix, offset)), expected, rtol=1e-4, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.floats(1e-3, 1e3), st.integers(0, 99))
def test_whitening_matrix_is_the_formula(channels, scale, seed):
    """ZCA by eigenvectors, in float64."""
    colours = np.random.default_rng(seed).normal(size=(50, channels)) @ draw((channels, channels), seed=seed)
    covariance = scale * np.cov(colours, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors / np.sqrt(values + pixels.SMOOTHING * values.mean()) @ vectors.T
    expected = root * np.sqrt(np.trace(covariance) / np.trace(root @ covariance @ root))
    ours = numpy(tensors(pixels.whitening_matrix)(covariance.astype("float32")[None]))[0]
    np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_whitening_of_constant_and_grey_images_is_finite_and_changes_nothing():
    for image in (np.full((1, 4, 4, 3), 7.0, "float32"), np.repeat(X[:1, ..., :1], 3, axis=-1)):
        mean, covariance = tensors(pixels.colour_moments)(image)
        matrix = tensors(pixels.whitening_matrix)(covariance)
        whitened = numpy(
            tensors(pixels.map_colours)(image - numpy(mean)[:, None, None], numpy(matrix), np.zeros((1, 3), "float32"))
        )
        np.testing.assert_allclose(whitened + numpy(mean)[:, None, None], image, atol=0.02)


@pytest.mark.parametrize("size", [(9, 7), (1, 1), (2, 5)])
def test_blur_is_the_formula(size):
    """scipy's Gaussian, truncated at the same radius, with repeated borders."""
    x, sigma, radius = draw((3, *size, 2), low=0, high=255), per_image(0.4, 1.0, 1.3), 4
    blurred = numpy(tensors(pixels.blur)(x, sigma, radius))
    for image, s, ours in zip(x, sigma, blurred, strict=True):
        expected = ndimage.gaussian_filter(image.astype("float64"), s, mode="nearest", radius=radius, axes=(0, 1))
        np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_gaussian_noise_is_the_formula():
    std = per_image(0, 1, 30)
    noise = numpy(draws.normal(SEEDS, 9 * 7 * 3)).reshape(X.shape)
    np.testing.assert_allclose(
        numpy(tensors(pixels.gaussian_noise)(X, SEEDS, std)), X + std[:, None, None, None] * noise, atol=1e-3
    )


def test_replaced_pixels_are_the_formula():
    share = per_image(0, 0.3, 0.9)
    u = numpy(draws.uniform(SEEDS, 63)).reshape(3, 9, 7, 1)
    p = share[:, None, None, None]
    np.testing.assert_array_equal(numpy(tensors(pixels.pixel_dropout)(X, SEEDS, share, -1.0)), np.where(u < p, -1, X))
    expected = np.where(u < p / 2, 3, np.where(u < p, 200, X))
    np.testing.assert_array_equal(numpy(tensors(pixels.salt_and_pepper)(X, SEEDS, share, 3.0, 200.0)), expected)


def test_shares_of_replaced_pixels():
    """Binomial counts, within four standard errors; as many black as white; all channels alike."""
    x, n, p = np.full((1, 200, 200, 3), 100.0, "float32"), 40_000, 0.2
    for seed in (1, 2):
        seeds = np.int32([seed])
        dropped = numpy(tensors(pixels.pixel_dropout)(x, seeds, per_image(p), 0.0)) == 0
        noisy = numpy(tensors(pixels.salt_and_pepper)(x, seeds, per_image(p), 0.0, 255.0))
        assert (dropped == dropped[..., :1]).all() and (noisy == noisy[..., :1]).all()
        assert abs(dropped[..., 0].mean() - p) < 4 * np.sqrt(p * (1 - p) / n)
        for value in (0, 255):
            assert abs((noisy[..., 0] == value).mean() - p / 2) < 4 * np.sqrt(p / 2 / n)


def test_cutout_is_the_formula():
    down, right, side = per_image(0.5, 0.1, 0.9), per_image(0.5, 1.0, 0.2), per_image(0.4, 0.5, 0)
    ours = numpy(tensors(pixels.cutout)(X, down, right, side, 127.5))
    expected = X.copy()
    for image, y, x, s in zip(expected, down, right, side, strict=True):
        for i in range(9):
            for j in range(7):
                if abs((i + 0.5) / 9 - y) < s / 2 and abs((j + 0.5) / 7 - x) < s / 2:
                    image[i, j] = 127.5
    np.testing.assert_array_equal(ours, expected)
    assert (ours[0] != X[0]).any() and (ours[1] != X[1]).any() and (ours[2] == X[2]).all()


def test_posterize_and_solarize_are_the_formula():
    x = np.round(X)
    step, threshold = per_image(1, 7.5, 32), per_image(np.inf, 100, 0)
    s = step[:, None, None, None]
    np.testing.assert_allclose(numpy(tensors(pixels.posterize)(x, step, 0.0)), np.round(x / s) * s, atol=1e-4)
    expected = np.where(x >= threshold[:, None, None, None], 260 - x, x)
    np.testing.assert_array_equal(numpy(tensors(pixels.solarize)(x, threshold, 5.0, 255.0)), expected)


IDENTITIES = {
    "blur": lambda x: tensors(pixels.blur)(x, np.zeros(3, "float32"), 3),
    "gaussian_noise": lambda x: tensors(pixels.gaussian_noise)(x, SEEDS, np.zeros(3, "float32")),
    "salt_and_pepper": lambda x: tensors(pixels.salt_and_pepper)(x, SEEDS, np.zeros(3, "float32"), 0.0, 255.0),
    "pixel_dropout": lambda x: tensors(pixels.pixel_dropout)(x, SEEDS, np.zeros(3, "float32"), 0.0),
    "cutout": lambda x: tensors(pixels.cutout)(x, *np.zeros((3, 3), "float32"), 0.0),
    "solarize": lambda x: tensors(pixels.solarize)(x, np.full(3, np.inf, "float32"), 0.0, 255.0),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_documented_identities_are_exact(name):
    np.testing.assert_array_equal(numpy(IDENTITIES[name](keras.ops.convert_to_tensor(X))), X)


def test_gradients_by_finite_differences():
    """Of blur, whitening and the colour map, with respect to the image."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("one backend's gradients are enough")
    import tensorflow as tf

    weight = draw((1, 4, 4, 3), seed=3)

    def loss(x):
        mean, covariance = pixels.colour_moments(x)
        y = pixels.map_colours(x, pixels.whitening_matrix(covariance), mean)
        return tf.reduce_sum(pixels.blur(y, tf.constant([0.8]), 3) * weight)

    x = draw((1, 4, 4, 3), low=0, high=1)
    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        value = loss(variable)
    gradient = tape.gradient(value, variable).numpy()
    assert np.isfinite(gradient).all()
    for index in [(0, 0, 0, 0), (0, 2, 1, 2), (0, 3, 3, 1)]:
        step = np.zeros_like(x)
        step[index] = 5e-3
        slope = float(loss(tf.constant(x + step)) - loss(tf.constant(x - step))) / 1e-2
        assert slope == pytest.approx(gradient[index], rel=0.03, abs=0.03)
