"""Labels that are wrong on purpose."""

import numpy as np
import pytest
from harness import draw

from convcraft.training import data, from_masks, inject_label_noise

CLEAN = data.load((draw((500, 4, 4, 1), "uint8", 0, 255), np.arange(500) % 5))


@pytest.mark.parametrize("kind", ["uniform", "pairs"])
@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_the_share_is_exact_and_the_test_stays_right(rate, kind):
    noisy = inject_label_noise(CLEAN, rate, kind)
    for split in ("train", "val"):
        before, after = CLEAN.sources[split].labels, noisy.sources[split].labels
        assert (before != after).mean() == pytest.approx(rate, abs=0.5 / len(before))
        assert noisy.counts[split] == {str(c): int((after == c).sum()) for c in range(5)}
        if kind == "pairs":
            wrong = before != after
            np.testing.assert_array_equal(after[wrong], (before[wrong] + 1) % 5)
    assert noisy.sources["test"] is CLEAN.sources["test"]


def test_uniform_takes_every_other_class_alike():
    many = data.load((np.zeros((20000, 1, 1, 1), "uint8"), np.zeros(20000, int) + np.arange(20000) % 4), validation=0)
    noisy = inject_label_noise(many, 1.0)
    before, after = many.sources["train"].labels, noisy.sources["train"].labels
    found = np.bincount(after[before == 2], minlength=4)
    assert found[2] == 0
    assert np.all(np.abs(found[[0, 1, 3]] / found.sum() - 1 / 3) < 0.03)  # five standard deviations at 4,000


def test_images_and_order_are_the_same():
    noisy = inject_label_noise(CLEAN, 0.5, seed=3)
    (x, y), (images, labels) = CLEAN.arrays("train"), noisy.arrays("train")
    np.testing.assert_array_equal(x, images)
    assert 0.4 < (y != labels).mean() < 0.6
    np.testing.assert_array_equal(inject_label_noise(CLEAN, 0.5, seed=3).arrays("train")[1], labels)
    assert not np.array_equal(inject_label_noise(CLEAN, 0.5, seed=4).arrays("train")[1], labels)
    few = noisy.sources["train"].subset(np.array([4, 2]))
    np.testing.assert_array_equal(few.labels, labels[[4, 2]])
    np.testing.assert_array_equal(few.batch(np.array([1]))[0], images[[2]])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rate": 1.1}, "rate from 0 to 1"),
        ({"rate": 0.1, "kind": "some"}, "uniform, pairs"),
        ({"rate": 0.1, "splits": ("train", "tset")}, "received 'tset'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        inject_label_noise(CLEAN, **arguments)


def test_masks_are_refused():
    found = from_masks(np.zeros((10, 4, 4, 3), "uint8"), np.zeros((10, 4, 4), int), ["land", "water"])
    with pytest.raises(ValueError, match="a label for each image"):
        inject_label_noise(found, 0.1)
