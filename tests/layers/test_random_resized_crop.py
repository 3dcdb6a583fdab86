import numpy as np
from harness import check_layer, draw, numpy
from PIL import Image

from convcraft.layers import RandomResizedCrop

check_layer(
    lambda area=(0.1, 1.0), aspect=(0.75, 1.33), **options: RandomResizedCrop(area, aspect, **options),
    shapes=[(4, 9, 7, 3), (2, 8, 8, 1)],
    random=True,
    augmentation=True,
    reference=lambda x: x,
    bad=[
        ({"area": 0.5}, "area .*received 0.5"),
        ({"area": (0, 1)}, "area"),
        ({"area": (0.5, 1.1)}, "area .*at most 1"),
        ({"aspect": (2, 1)}, "aspect"),
        ({"flip": "horizontal"}, "flip"),
    ],
)


def boxes(matrices, height, width):
    """(left, top, width, height) of the crops in pixels, width negative where mirrored."""
    m = numpy(matrices).astype("float64")
    wide, tall = m[:, 0] * width, m[:, 4] * height
    left = m[:, 2] + (-0.5) * m[:, 0] + 0.5  # what the output's left border shows
    top = m[:, 5] + (-0.5) * m[:, 4] + 0.5
    return left, top, wide, tall


def test_interpolation_is_pillow_s():
    """The drawn boxes, enlarged by Pillow: the same pixels."""
    x = draw((6, 24, 20, 1), low=0, high=255)
    layer, seeds = RandomResizedCrop((0.1, 0.6), flip=True), np.arange(6, dtype="int32")
    ours = numpy(layer.transform(x, seeds))
    for image, y, left, top, wide, tall in zip(x, ours, *boxes(layer.matrices(seeds, 24, 20), 24, 20), strict=True):
        box = (min(left, left + wide), top, max(left, left + wide), top + tall)
        box = (max(box[0], 0), max(box[1], 0), min(box[2], 20), min(box[3], 24))  # rounding
        theirs = np.asarray(Image.fromarray(image[..., 0]).resize((20, 24), Image.Resampling.BILINEAR, box=box))
        np.testing.assert_allclose(y[..., 0], theirs[:, ::-1] if wide < 0 else theirs, atol=0.1)


def test_draws_stay_within_their_bounds():
    layer = RandomResizedCrop((0.2, 0.5), (0.5, 2.0), flip=True)
    left, top, wide, tall = boxes(layer.matrices(np.arange(20_000, dtype="int32"), 30, 40), 30, 40)
    mirrored = wide < 0
    assert abs(mirrored.mean() - 0.5) < 0.015
    left, wide = np.minimum(left, left + wide), np.abs(wide)
    for begin, length, size in ((left, wide, 40), (top, tall, 30)):
        assert begin.min() > -1e-3 and (begin + length).max() < size + 1e-3
        place = begin[length < 0.9 * size] / (size - length[length < 0.9 * size])
        assert abs(place.mean() - 0.5) < 0.01 and place.min() < 0.01 and place.max() > 0.99
    area, aspect = wide * tall / 1200, np.log((wide / 40) / (tall / 30))
    assert 0.2 - 1e-4 < area.min() < 0.205 and 0.495 < area.max() < 0.5 + 1e-4
    assert abs(area.mean() - 0.35) < 0.003 and abs(np.median(aspect)) < 0.02
    assert np.abs(aspect).max() < np.log(2) + 1e-4


def test_the_whole_image_is_the_identity():
    x = draw((3, 8, 6, 2))
    np.testing.assert_allclose(numpy(RandomResizedCrop((1, 1), (1, 1)).transform(x, 1)), x, atol=1e-5)
