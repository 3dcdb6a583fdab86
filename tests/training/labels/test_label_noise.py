"""Labels that are wrong on purpose."""

import keras
import numpy as np
import pytest
from harness import draw

from convcraft.layers import BootstrappedCrossentropy
from convcraft.training import data, from_masks, inject_label_noise

CLEAN = data.load((draw((500, 4, 4, 1), "uint8", 0, 255), np.arange(500) % 5))


@pytest.mark.parametrize("kind", ["uniform", "pairs", "permutation"])
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


def test_a_permutation_is_one_for_all_splits():
    noisy = inject_label_noise(CLEAN, 1.0, "permutation", seed=2)
    pairs = set()
    for split in ("train", "val"):
        pairs |= set(zip(CLEAN.sources[split].labels.tolist(), noisy.sources[split].labels.tolist(), strict=True))
    assert sorted(before for before, _ in pairs) == sorted(after for _, after in pairs) == list(range(5))
    assert all(before != after for before, after in pairs)


def test_each_class_has_its_own_share():
    noisy = inject_label_noise(CLEAN, {"1": 0.5, "3": 1.0})
    before, after = CLEAN.sources["train"].labels, noisy.sources["train"].labels
    wrong = [(after != before)[before == label].mean() for label in range(5)]
    size = (before == 1).sum()
    np.testing.assert_allclose(wrong, [0, round(0.5 * size) / size, 0, 1, 0])


def test_missing_labels_are_trained_around():
    """A network learns from images without a label what it would have learned without these images."""
    noisy = inject_label_noise(CLEAN, 0.4, "missing")
    labels = noisy.sources["train"].labels
    assert (labels == -1).mean() == pytest.approx(0.4, abs=0.5 / len(labels))
    assert sum(noisy.counts["train"].values()) == (labels >= 0).sum()
    assert noisy.sources["val"] is CLEAN.sources["val"], "nothing can be measured on images without a label"
    logits = draw((len(labels), 5))
    loss = BootstrappedCrossentropy(beta=1.0, ignore=-1)(labels, logits)
    known = labels >= 0
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels[known], logits[known])
    assert float(loss) == pytest.approx(float(plain) * known.mean(), rel=1e-5)


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
        ({"rate": float("nan")}, "rate from 0 to 1, received nan"),
        ({"rate": "0.3"}, "rate from 0 to 1, received '0.3'"),
        ({"rate": None}, "rate from 0 to 1, received None"),
        ({"rate": {"2": -0.1}}, "received -0.1 of '2'"),
        ({"rate": {"two": 0.1}}, "among 0, 1, 2, 3, 4; received 'two'"),
        ({"rate": 0.1, "kind": "some"}, "uniform, pairs"),
        ({"rate": 0.1, "splits": ("train", "tset")}, "received 'tset'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        inject_label_noise(CLEAN, **arguments)


def test_noise_leaves_missing_labels_missing():
    missing = inject_label_noise(CLEAN, 0.2, "missing")
    before = missing.sources["train"].labels
    for kind in ("uniform", "pairs", "permutation"):
        after = inject_label_noise(missing, 0.5, kind).sources["train"].labels
        np.testing.assert_array_equal(after < 0, before < 0)
        known = before >= 0
        assert (after != before)[known].mean() == pytest.approx(0.5, abs=0.5 / known.sum())


def test_a_split_by_its_name_and_what_is_no_data():
    noisy = inject_label_noise(CLEAN, 0.5, splits="val")
    assert noisy.sources["train"] is CLEAN.sources["train"] and noisy.sources["val"] is not CLEAN.sources["val"]
    with pytest.raises(
        ValueError, match="inject_label_noise: expected data to be a training.data.Data, received tuple"
    ):
        inject_label_noise((np.zeros((4, 4, 4, 1)), np.zeros(4)), 0.5)


def test_masks_are_refused():
    found = from_masks(np.zeros((10, 4, 4, 3), "uint8"), np.zeros((10, 4, 4), int), ["land", "water"])
    with pytest.raises(ValueError, match="a label for each image"):
        inject_label_noise(found, 0.1)
