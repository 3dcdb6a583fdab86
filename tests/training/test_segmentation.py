"""A class for each pixel: data with masks, their numbers, their report."""

import keras
import numpy as np
import pytest
from harness import draw
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, log_loss

from convcraft import layers
from convcraft.training import from_masks, report, requirements, rundir, segmentation
from convcraft.training.data import load

NAMES = ["land", "water", "ice"]


def scenes(n=30, size=8):
    """Images whose brightness tells the class of a pixel, more or less."""
    masks = np.random.default_rng(1).integers(0, 3, (n, size, size))
    images = np.clip(masks[..., None] * 90 + draw((n, size, size, 3), "float32", 0, 70), 0, 255).astype("uint8")
    return images, masks


def net(names=NAMES, size=8):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(len(names), 1)(keras.layers.Rescaling(1 / 255)(inputs))
    model = layers.Model(inputs, layers.ClassNames(names)(x), name="net")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.1), loss, weighted_metrics=["accuracy"], jit_compile=False)
    return model


def test_splits_are_apart_and_the_test_is_of_every_seed():
    images, masks = scenes()
    images[:, 0, 0, 0] = np.arange(30)  # tells them apart
    one, other = (from_masks(images, masks, NAMES, seed=seed) for seed in (0, 1))
    numbers = {split: one.arrays(split)[0][:, 0, 0, 0].astype(int).tolist() for split in one.sources}
    assert {split: len(rows) for split, rows in numbers.items()} == {"train": 22, "val": 2, "test": 6}
    assert sorted(sum(numbers.values(), [])) == list(range(30))
    assert other.arrays("test")[0][:, 0, 0, 0].tolist() == numbers["test"]
    assert other.arrays("val")[0][:, 0, 0, 0].tolist() != numbers["val"]
    for split, rows in numbers.items():
        np.testing.assert_array_equal(one.arrays(split)[1], masks[rows])


def test_fit_and_numbers_are_scikit_learn_s():
    images, masks = scenes()
    found = from_masks(images, masks, NAMES, batch_size=8)
    model = net()
    requirements.fits(model, found)
    history = model.fit(found.train, validation_data=found.val, epochs=3, verbose=0, shuffle=False).history
    assert history["loss"][-1] < history["loss"][0]
    metrics, arrays = segmentation.score(model, found.sources["test"], 4)
    x, y = found.arrays("test")
    shares = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(x, verbose=0))).astype("float64")
    truth, answer = y.ravel(), shares.argmax(-1).ravel()
    assert 0.4 < metrics["accuracy"] < 1, "some are wrong, most are right"
    assert metrics["accuracy"] == pytest.approx(accuracy_score(truth, answer))
    assert metrics["mean_iou"] == pytest.approx(jaccard_score(truth, answer, average="macro"), rel=1e-5)
    assert metrics["loss"] == pytest.approx(log_loss(truth, shares.reshape(-1, 3)), rel=1e-5)
    assert metrics["n"] == 6
    np.testing.assert_array_equal(arrays["confusion"], confusion_matrix(truth, answer))
    each = (shares.argmax(-1) == y).mean(axis=(1, 2))
    np.testing.assert_allclose(arrays["shares"], each)
    np.testing.assert_array_equal(arrays["index"], np.argsort(each, kind="stable"))
    np.testing.assert_array_equal(arrays["truth"], y[arrays["index"]])
    np.testing.assert_array_equal(arrays["images"], x[arrays["index"]])


def test_masks_are_mirrored_with_their_images():
    images = np.zeros((20, 4, 4, 3), "uint8")
    images[:, :, 0] = 200  # left is bright, and of class 1
    masks = (images[..., 0] > 100).astype(int)
    found = from_masks(images, masks, ["dark", "bright"], batch_size=7, alternate_flip=True)
    sides = []
    for epoch in range(2):
        feed = found.feed("train")
        feed.epoch = epoch
        pictures, labels = map(np.concatenate, zip(*feed.dataset(), strict=True))
        np.testing.assert_array_equal(labels, pictures[..., 0] > 100)
        sides.append(labels[:, 0, 0].mean())
    assert sides[0] + sides[1] == pytest.approx(1), "each image shows each side once"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"masks": np.zeros((30, 8, 7), int)}, "shapes"),
        ({"masks": np.full((30, 8, 8), 3)}, "integers from 0 to 2"),
        ({"masks": np.zeros((30, 8, 8))}, "integers from 0 to 2"),
        ({"images": np.zeros((30, 8, 8, 3))}, "dtype uint8"),
    ],
)
def test_bad_masks(change, message):
    images, masks = scenes()
    with pytest.raises(ValueError, match=message):
        from_masks(**{"images": images, "masks": masks, "class_names": NAMES, **change})


def test_models_and_data_of_different_kinds_are_refused():
    found = from_masks(*scenes(), NAMES)
    inputs = keras.Input((8, 8, 3))
    classifier = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(inputs)))
    with pytest.raises(ValueError, match="gives each image a class, the data have one for each pixel"):
        requirements.fits(classifier, found)
    whole = load((scenes()[0], np.arange(30) % 3))
    with pytest.raises(ValueError, match="gives each pixel a class, the data have one for each image"):
        requirements.fits(net(), whole)


def test_the_report_shows_image_truth_and_answer(tmp_path):
    found = from_masks(*scenes(), NAMES)
    metrics, arrays = segmentation.score(net(), found.sources["test"], 4)
    described = {"recipe": "r", "command": "c", "config": {"epochs": 1}, "model": {"name": "net"}}
    data = {"name": "scenes", "classes": NAMES, "counts": found.counts, "image_shape": [8, 8, 3], "sha256": "abc"}
    rundir.write_json(tmp_path / "config.json", {**described, "data": data})
    rundir.write_json(tmp_path / "metrics.json", {"test": metrics, "seconds": 1.0})
    np.savez(tmp_path / "predictions.npz", **arrays)
    page = report.write(tmp_path).read_text()
    assert "Test mean IoU" in page and f"{100 * metrics['mean_iou']:.1f} %" in page
    for kind in ("image", "truth", "answer"):
        assert page.count(f'title="{kind}"') == 6
    overlap = np.diag(arrays["confusion"])
    union = arrays["confusion"].sum(0) + arrays["confusion"].sum(1) - overlap
    for iou in overlap / union:
        assert f"{100 * iou:.1f} %" in page
    assert '<th scope="row">test</th><td class="n">6</td>' in page, "images are counted, not classes"
