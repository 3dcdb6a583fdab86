"""The hash behind the augmentation: its moments, its independence, and the same bits on every backend."""

import keras
import numpy as np
import pytest
from harness import numpy
from scipy.stats import chisquare, kstest

from convcraft.layers import DropPath, FreezeDropPath, draws


def test_same_bits_on_every_backend():
    """Values pinned from this test's first run; the JAX and PyTorch runs of this file must give them, too."""
    seeds = keras.ops.convert_to_numpy(draws.image_seeds(7, 3))
    assert seeds.tolist() == [415870660, -2069513281, 1571354464]
    expected = [[0.54043365, 0.3535511], [0.6677008, 0.6912946]]
    np.testing.assert_allclose(numpy(draws.uniform(draws.image_seeds(7, 5), 2))[:2], expected, atol=1e-7)


def test_mixing_is_murmur3_s_finalizer():
    """Appleby's fmix32, in NumPy's unsigned arithmetic."""

    def fmix32(h):
        h = h ^ (h >> np.uint32(16))
        h = h * np.uint32(0x85EBCA6B)
        h = h ^ (h >> np.uint32(13))
        h = h * np.uint32(0xC2B2AE35)
        return h ^ (h >> np.uint32(16))

    x = np.random.default_rng(0).integers(0, 2**32, 1000, dtype="uint32")
    ours = keras.ops.convert_to_numpy(draws.mix(keras.ops.convert_to_tensor(x.view("int32"))))
    np.testing.assert_array_equal(ours.view("uint32"), fmix32(x))


@pytest.mark.parametrize("seeds", [np.arange(50_000), 2**20 * np.arange(2000), -np.arange(1, 50_000)])
def test_uniform_also_for_regular_seeds(seeds):
    drawn = numpy(draws.uniform(seeds.astype("int32"), 4))
    assert (drawn >= 0).all() and (drawn < 1).all()
    for column in drawn.T:
        assert chisquare(np.histogram(column, 20, (0, 1))[0]).pvalue > 1e-4
    correlations = np.corrcoef(np.concatenate([drawn[:-1], drawn[1:]], axis=1), rowvar=False)
    off_diagonal = correlations[~np.eye(8, dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(len(seeds)), "draws and neighbouring seeds are uncorrelated"


def test_normal():
    drawn = numpy(draws.normal(draws.image_seeds(3, 30_000), 2, std=0.5))
    assert kstest(drawn.ravel() / 0.5, "norm").pvalue > 1e-3


@pytest.mark.parametrize("seed", [-1, 2**31, 2**40])
def test_any_integer_is_a_seed(seed):
    """JAX's generators refuse negative ones, PyTorch's those of more than 31 bits."""
    x = np.ones((50, 2), "float32")
    one, other = (numpy(DropPath(0.5, seed=seed)(x, training=True)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert FreezeDropPath(seed=seed)([x, x], training=True).shape == (50, 2)


def test_seeds():
    vector = np.int32([5, 6])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(draws.image_seeds(vector, 2)), vector)
    generator = keras.random.SeedGenerator(1)
    first, second = (keras.ops.convert_to_numpy(draws.image_seeds(generator, 100)) for _ in range(2))
    assert len(set(first) & set(second)) == 0
    for big in (2**31, 2**32 - 1, -1):
        assert draws.image_seeds(big, 2).shape == (2,)
    with pytest.raises(ValueError, match="seed"):
        draws.image_seeds(1.5, 3)
