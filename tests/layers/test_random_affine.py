import numpy as np
import pytest
from harness import check_layer, draw, numpy
from scipy import ndimage

from convcraft.layers import RandomAffine

check_layer(
    lambda rotation=20, shift=0.1, zoom=0.2, **options: RandomAffine(rotation, zoom, shift, **options),
    shapes=[(4, 9, 7, 3), (2, 8, 8, 1)],
    random=True,
    augmentation=True,
    reference=lambda x: x,
    bad=[
        ({"rotation": -1}, "rotation"),
        ({"rotation": (-10, 10)}, r"rotation .*received \(-10, 10\)"),
        ({"zoom": float("nan")}, "zoom"),
        ({"shift": -0.1}, "shift"),
        ({"flip": "horizontal"}, "flip"),
        ({"fill_mode": "zero"}, "fill_mode"),
        ({"fill_value": None}, "fill_value"),
        ({"interpolation": "cubic"}, "interpolation .*'cubic'"),
    ],
)


def test_nothing_to_do_is_the_identity():
    x = draw((2, 6, 5, 3))
    np.testing.assert_array_equal(numpy(RandomAffine().transform(x, 1)), x)


def test_interpolation_is_scipy_s():
    """The drawn matrices, applied by scipy: the same pixels."""
    x = draw((3, 12, 10, 1), low=0, high=255)
    layer, seeds = RandomAffine(25, 0.3, 0.1, flip=True, fill_mode="constant"), np.int32([1, 2, 3])
    ours = numpy(layer.transform(x, seeds))
    for image, matrix, expected in zip(x, numpy(layer.matrices(seeds, 12, 10)), ours, strict=True):
        a, b, right, c, d, down = matrix[:6]
        theirs = ndimage.affine_transform(
            image[..., 0], [[d, c], [b, a]], offset=[down, right], order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(expected[..., 0], theirs, atol=0.05)


@pytest.mark.parametrize("flip", [False, True])
def test_shifts_alone_are_of_whole_pixels(flip):
    """Every pixel is one of the image's, moved as NumPy pads and cuts; nothing is blurred."""
    x = np.random.default_rng(0).permutation(2000 * 8 * 8).reshape(2000, 8, 8, 1).astype("float32")
    y = numpy(RandomAffine(shift=0.25, flip=flip).transform(x, 1))
    seen = set()
    for before, after in zip(x, y, strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)), mode="edge")
        cuts = {(i, j, 1): padded[i : i + 8, j : j + 8] for i in range(5) for j in range(5)}
        if flip:
            cuts |= {(i, j, -1): cut[:, ::-1] for (i, j, _), cut in cuts.items()}
        found = [where for where, cut in cuts.items() if np.array_equal(cut, after)]
        assert len(found) == 1
        seen |= set(found)
    assert len(seen) == (50 if flip else 25)


def test_interpolation_can_be_chosen():
    x = draw((20, 8, 8, 1))
    blurred = numpy(RandomAffine(shift=0.25, interpolation="bilinear").transform(x, 1))
    assert len(np.setdiff1d(blurred, x)) > blurred.size / 2
    turned = numpy(RandomAffine(rotation=20, interpolation="nearest").transform(x, 1))
    assert not len(np.setdiff1d(turned, x))
    assert RandomAffine(rotation=20, shift=0.1).interpolation == RandomAffine(zoom=0.1).interpolation == "bilinear"


def test_draws_stay_within_their_bounds():
    layer = RandomAffine(rotation=10, zoom=0.25, shift=0.1, flip=True)
    m = numpy(layer.matrices(np.arange(20_000, dtype="int32"), 32, 32)).astype("float64")
    factor = 1 / np.sqrt(np.abs(m[:, 0] * m[:, 4] - m[:, 1] * m[:, 3]))
    angle = np.degrees(np.arctan2(m[:, 3], m[:, 4]))
    centre = np.full(2, 15.5)
    moved = np.stack([m[:, 0] * 15.5 + m[:, 1] * 15.5 + m[:, 2], m[:, 3] * 15.5 + m[:, 4] * 15.5 + m[:, 5]], 1) - centre
    for values, bound in ((angle, 10), (np.log(factor), np.log(1.25)), (moved / 32, 0.1)):
        assert np.abs(values).max() <= bound * 1.0001
        assert np.abs(values).max() > 0.99 * bound
        assert abs(values.mean()) < 4 * bound / np.sqrt(3 * len(values))
    mirrored = (m[:, 0] * m[:, 4] - m[:, 1] * m[:, 3] < 0).mean()
    assert abs(mirrored - 0.5) < 4 * 0.5 / np.sqrt(len(m))


def test_mirroring_is_exact():
    x = draw((40, 6, 6, 2))
    y = numpy(RandomAffine(flip=True).transform(x, 1))
    mirrored = [np.allclose(b, a[:, ::-1], atol=1e-5) for a, b in zip(x, y, strict=True)]
    same = [np.allclose(b, a, atol=1e-5) for a, b in zip(x, y, strict=True)]
    assert all(m != s for m, s in zip(mirrored, same, strict=True))
    assert 5 < sum(mirrored) < 35


def test_channels_first_equals_channels_last():
    x = draw((2, 8, 6, 3))
    last = numpy(RandomAffine(15, 0.1, 0.1).transform(x, 3))
    first = numpy(RandomAffine(15, 0.1, 0.1, data_format="channels_first").transform(np.moveaxis(x, -1, 1), 3))
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), last, atol=1e-5)


def test_outside_is_filled():
    x = np.full((50, 8, 8, 1), 9, "float32")
    assert numpy(RandomAffine(shift=0.5, fill_mode="constant").transform(x, 1)).min() == 0
    np.testing.assert_allclose(numpy(RandomAffine(shift=0.5).transform(x, 1)), x, rtol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 7)])
def test_tiny_images(size):
    assert RandomAffine(30, 0.2, 0.2)(np.zeros((2, *size, 3), "float32")).shape == (2, *size, 3)
