"""Classes of unequal size: what an epoch shows, counted by hand, in every epoch and after a restart."""

import dataclasses
import pathlib
import re

import keras
import numpy as np
import pytest

from convcraft import training
from convcraft.training.data import image_seeds
from convcraft.training.data.images import resize

SIZES = [40, 10, 4]
LABELS = np.repeat([0, 1, 2], SIZES)


def load(sizes=SIZES, side=8, **options):
    """Images whose every pixel is their index."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = np.arange(len(labels), dtype="uint8")[:, None, None, None] * np.ones((1, side, side, 1), "uint8")
    arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    return training.data.load(arrays, validation=0, **options)


def shown(data, epoch=0, **options):
    """Index of each image that an epoch shows, in order, and the batches of labels."""
    batches = list(data.feed("train", **options).numpy(epoch))
    return np.concatenate([x[:, 0, 0, 0] for x, *_ in batches]).astype(int), [y for _, y, *_ in batches]


@pytest.mark.parametrize(
    "kind, strength, expected",
    [
        ("oversample", 1.0, [40, 40, 40]),
        ("oversample", 0.0, SIZES),
        ("oversample", 0.5, [40, 20, 13]),  # sqrt(40 * 10), sqrt(40 * 4)
        ("crops", 1.0, [40, 40, 40]),
        ("undersample", 1.0, [4, 4, 4]),
        ("undersample", 0.0, SIZES),
        ("undersample", 0.5, [13, 6, 4]),
    ],
)
def test_an_epoch_shows_so_many_of_each_class(kind, strength, expected):
    balanced = training.balance(load(), kind, strength=strength)
    feed = balanced.feed("train", batch_size=1)
    assert feed.size == feed.steps == sum(expected)
    for epoch in range(3):
        rows, _ = shown(balanced, epoch, batch_size=1)
        assert np.bincount(LABELS[rows], minlength=3).tolist() == expected
        times = np.bincount(rows, minlength=54)
        for label in range(3):
            own = times[label == LABELS]
            assert own.max() - own.min() <= 1, "each image of a class about as often"


@pytest.mark.parametrize("kind, epochs", [("oversample", 3), ("undersample", 10), ("batches", 9)])
def test_over_the_epochs_no_image_is_left_out(kind, epochs):
    balanced = training.balance(load(), kind)
    times = sum(np.bincount(shown(balanced, epoch, batch_size=3)[0], minlength=54) for epoch in range(epochs))
    assert times.min() >= 1
    for label in range(3):
        own = times[label == LABELS]
        assert own.max() - own.min() <= (1 if kind != "batches" else 2)


@pytest.mark.parametrize("batch", [2, 3, 7, 9, 20])
def test_every_batch_has_equally_many_of_each_class(batch):
    balanced = training.balance(load(), "batches")
    feed = balanced.feed("train", batch_size=batch)
    assert feed.steps == -(-54 // batch), "as long as without"
    for epoch in range(3):
        rows, batches = shown(balanced, epoch, batch_size=batch)
        for labels in batches:
            counts = np.bincount(labels, minlength=3)
            assert counts.max() - counts.min() <= 1, counts
        assert np.ptp(np.bincount(LABELS[rows], minlength=3)) <= 1


def test_the_one_more_goes_to_every_class_in_turn():
    feed = training.balance(load(), "batches").feed("train", batch_size=20)  # 7, 7 and 6
    fewest = {int(np.bincount(LABELS[feed.indices(epoch)[0] % 54]).argmin()) for epoch in range(20)}
    assert fewest == {0, 1, 2}


def test_order_follows_from_seed_and_epoch_alone():
    for kind in ("oversample", "undersample", "batches"):
        one, same, other = (training.balance(load(seed=seed), kind) for seed in (1, 1, 2))
        assert shown(one, 2)[0].tolist() == shown(same, 2)[0].tolist() != shown(other, 2)[0].tolist()
        assert shown(one, 2)[0].tolist() != shown(one, 3)[0].tolist()
        feed = one.feed("train", batch_size=3)
        whole = [y.tolist() for _, y in feed.numpy(5)]
        feed.epoch, feed.start = 5, 2  # a run that was killed
        resumed = [np.asarray(y).tolist() for _, y in feed.dataset()]
        assert resumed == whole[2:]


def test_copies_are_augmented_by_draws_of_their_own():
    seen = []
    data = load(augment=lambda images, seeds: seen.append(np.stack([images[:, 0, 0, 0], seeds], 1)) or images)
    shown(training.balance(data), batch_size=10)
    rows, seeds = np.concatenate(seen).astype(int).T
    assert np.bincount(rows).tolist()[50:] == [10, 10, 10, 10]
    assert len(set(seeds.tolist())) == 120


def test_only_copies_are_crops_and_each_is_another():
    images = np.random.default_rng(0).integers(0, 255, (12, 16, 16, 3), dtype="uint8")
    data = training.data.load(
        {"x_train": images, "y_train": np.repeat([0, 1], [9, 3]), "x_test": images, "y_test": np.arange(12) % 2},
        validation=0,
    )
    feed = training.balance(data, "crops").feed("train", batch_size=18)
    ((pictures, labels),) = feed.numpy(4)
    indices = feed.indices(4)[0]
    seeds = image_seeds(0, 4, indices)
    whole = 0
    for picture, label, index, seed in zip(pictures, labels, indices, seeds, strict=True):
        if index < 12:
            np.testing.assert_array_equal(picture, images[index])
            whole += 1
            continue
        assert label == 1
        rng = np.random.default_rng([int(seed), 0x5BD1E995])
        side = np.sqrt(rng.uniform(0.5, 1))
        top, left = rng.uniform(0, 1 - side, 2) * 16
        box = (left, top, left + 16 * side, top + 16 * side)
        np.testing.assert_allclose(picture, resize(images[index % 12].astype("float32"), (16, 16), box), atol=1e-3)
    assert whole == 12
    of_one = pictures[(indices % 12 == 10) & (indices >= 12)]
    assert len(of_one) == 2 and np.abs(of_one[0] - of_one[1]).max() > 1
    ((later, _),) = feed.numpy(5)
    both = [set(map(bytes, each)) for each in (pictures, later)]
    assert len(both[0] & both[1]) == 12, "other crops in another epoch"


def test_what_is_not_trained_on_stays():
    data = load()
    for changed in (*(training.balance(data, kind) for kind in ("oversample", "crops")), training.two_stage(data, 1)):
        assert changed.counts == data.counts and changed.sources is data.sources
        np.testing.assert_array_equal(changed.arrays("train")[1], LABELS)
        assert changed.feed("test").size == 54 and changed.feed("test").sampling is None


STAGES = {"all": SIZES, "balanced": [18, 18, 18], "head": [54, 0, 0]}


@pytest.mark.parametrize("first, second", [("all", "balanced"), ("balanced", "all"), ("head", "tail")])
def test_two_stages(first, second):
    staged = training.two_stage(load(), 3, first, second)
    for epoch, kind in ((0, first), (2, first), (3, second), (9, second)):
        rows, _ = shown(staged, epoch, batch_size=1)
        found = np.bincount(LABELS[rows], minlength=3)
        if kind == "tail":  # 10 and 4 images fill the epoch in turn
            assert found[0] == 0 and found.sum() == 54 and np.bincount(rows).max() == 4
        else:
            assert found.tolist() == STAGES[kind]


def test_a_stage_holds_in_plain_fit():
    """One call of `fit` goes through both stages: a network that counts its labels tells."""
    data = load()
    feed = training.two_stage(data, 2, "head", "tail").feed("train", batch_size=18, auto_epoch=True)
    net = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    share = keras.metrics.MeanMetricWrapper(lambda y, p: keras.ops.cast(keras.ops.equal(y, 0), "float32"), name="share")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile("sgd", loss, metrics=[share])
    history = net.fit(feed.dataset(), epochs=4, verbose=0, shuffle=False)
    again = net.fit(feed.dataset(), epochs=1, verbose=0, shuffle=False)
    assert history.history["share"] + again.history["share"] == [1, 1, 0, 0, 0]
    assert feed.epoch == 5


def test_masks_streams_and_missing_labels_are_refused():
    masks = training.from_masks(np.zeros((10, 4, 4, 3), "uint8"), np.zeros((10, 4, 4), int), ["land", "water"])
    missing = training.inject_label_noise(load(), 0.5, "missing")
    streamed = dataclasses.replace(load(), streams={"train": None})
    with pytest.raises(ValueError, match="class_weights: expected a label for each image, received masks"):
        training.class_weights(masks)
    for function in (training.balance, lambda data: training.two_stage(data, 1)):
        for data, message in ((masks, "received masks"), (missing, "received 27 without"), (streamed, "tf.data")):
            with pytest.raises(ValueError, match=message):
                function(data)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda data: training.balance(data, "more"), "kind to be one of oversample, undersample, batches, crops"),
        (lambda data: training.balance(data, "weights"), "class_weight=training.class_weights"),
        (lambda data: training.balance(data, strength=1.5), "strength from 0 to 1"),
        (lambda data: training.balance(data, strength="1"), "strength from 0 to 1, received '1'"),
        (lambda data: training.balance((1, 2)), "balance: expected data to be a training.data.Data, received tuple"),
        (lambda data: training.two_stage((1, 2), 1), "two_stage: expected data to be a training.data.Data"),
        (lambda data: training.class_weights([1, 2]), "class_weights: expected data to be a .*, received list"),
        (lambda data: training.balance(data, "batches", strength=0.5), "strength 1 with batches"),
        (lambda data: training.two_stage(data, 0), "switch to be a number of epochs, at least 1; received 0"),
        (lambda data: training.two_stage(data, 2, "some"), "first to be one of all, balanced, head, tail"),
        (lambda data: training.two_stage(load([5, 5]), 2, "head"), "classes of unequal size"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(load())


@pytest.mark.slow
@pytest.mark.parametrize("page", ["imbalance", "label-noise"])
def test_code_of_the_pages_runs(page, tmp_path, monkeypatch, capsys):
    file = pathlib.Path(__file__).parents[2] / "docs" / f"{page}.md"
    if not file.exists():
        pytest.skip("there are no docs beside these tests")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", file.read_text("utf-8"), re.S | re.M)
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 2 and capsys.readouterr().out
