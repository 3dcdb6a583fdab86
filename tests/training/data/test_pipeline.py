"""Order, padding, seeds and resuming, against NumPy's own permutations and a second feed."""

import os
import subprocess
import sys

import numpy as np
import pytest

from convcraft.training.data import Feed, image_seeds
from convcraft.training.data.stored import ArraySource


def source(n, side=4, classes=3):
    """Images whose every pixel is their index."""
    images = np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None, None], (n, side, side, 1))
    return ArraySource(images.copy(), (np.arange(n) % classes).astype(np.int32))


def shift(images, seeds):
    """An augmentation in arithmetic that NumPy and TensorFlow share."""
    import tensorflow as tf

    if isinstance(images, np.ndarray):
        return images + seeds[:, None, None, None].astype(np.float32) % 1000
    return images + tf.cast(seeds, tf.float32)[:, None, None, None] % 1000.0


def rows(batches):
    return [image[0, 0, 0] for batch in batches for image in np.asarray(batch[0])]


def test_training_order_is_the_documented_permutation_and_every_image_appears():
    feed = Feed(source(10), 4, seed=5)
    assert feed.steps == 3
    for epoch in (0, 3):
        order = np.random.default_rng([5, epoch]).permutation(10)
        expected = np.concatenate([order, order[:2]])  # the last batch goes round
        np.testing.assert_array_equal(np.concatenate(feed.indices(epoch)), expected)
        assert {len(batch) for batch in feed.indices(epoch)} == {4}
        assert rows(feed.numpy(epoch)) == expected.tolist()


def test_alternate_flip_shows_both_sides_in_any_two_epochs():
    images = np.zeros((40, 2, 4, 1), np.float32)
    images[:, :, 0] = np.arange(1, 41)[:, None, None]  # the left edge bears the index
    found = ArraySource(images, np.arange(40, dtype=np.int32))
    feed = Feed(found, 8, seed=3, alternate_flip=True)

    def mirrored(batches):
        """Indices of the images that are mirrored; every other is as it was."""
        pictures, labels = map(np.concatenate, zip(*batches, strict=True))
        turned = pictures[:, 0, 3, 0] > 0
        expected = np.where(turned[:, None, None, None], images[labels][:, :, ::-1], images[labels])
        np.testing.assert_array_equal(pictures, expected)
        return set(labels[turned].tolist())

    sides = [mirrored(feed.numpy(epoch)) for epoch in range(4)]
    assert sides[0] == sides[2] and sides[1] == sides[3] == set(range(40)) - sides[0]
    assert 8 < len(sides[0]) < 32, "about half of them begin mirrored"
    assert sides[0] != mirrored(Feed(found, 8, seed=4, alternate_flip=True).numpy(0))
    feed.epoch = 1
    assert mirrored([[np.asarray(part) for part in batch] for batch in feed.dataset()]) == sides[1]
    assert not mirrored(Feed(found, 8, shuffle=True).numpy(1))


def test_evaluation_is_in_order_and_ends_short():
    batches = list(Feed(source(10), 4, shuffle=False).numpy())
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert rows(batches) == list(range(10))
    images, labels = batches[0]
    assert images.dtype == np.float32 and labels.dtype == np.int32


def test_a_batch_is_at_most_the_set_and_never_none():
    feed = Feed(source(20), 128)
    assert (feed.batch_size, feed.steps) == (20, 1)
    assert sorted(rows(feed.numpy())) == list(range(20))


@pytest.mark.parametrize(
    ("n", "batch", "replicas", "size", "steps"), [(129, 64, 2, 64, 3), (5, 3, 4, 4, 2), (5, 128, 4, 8, 1)]
)
def test_replicas_get_equal_shares_in_training(n, batch, replicas, size, steps):
    feed = Feed(source(n), batch, multiple_of=replicas)
    assert [len(indices) for indices in feed.indices(0)] == [size] * steps
    assert set(rows(feed.numpy())) == set(range(n))


def test_padding_in_evaluation_weighs_nothing():
    batches = list(Feed(source(11), 6, shuffle=False, multiple_of=4).numpy())
    assert [len(batch[1]) for batch in batches] == [8, 4]
    assert batches[0][2].tolist() == [1] * 8
    assert batches[1][2].tolist() == [1, 1, 1, 0] and batches[1][2].dtype == np.float32
    assert rows(batches[1:]) == [8, 9, 10, 8]  # row 0 repeated


def test_image_seeds_are_splitmix64_and_depend_on_all_three():
    mask = 2**64 - 1

    def splitmix(x):  # with Python's own integers
        x = (x + 0x9E3779B97F4A7C15) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    seeds = image_seeds(7, 3, np.arange(1000))
    assert seeds.dtype == np.int32 and seeds.min() >= 0
    assert seeds[42] == splitmix(splitmix(splitmix(7) ^ 3) ^ 42) >> 33
    others = [image_seeds(8, 3, np.arange(1000)), image_seeds(7, 4, np.arange(1000))]
    assert len(set(np.concatenate([seeds, *others]).tolist())) > 2990
    assert abs(np.corrcoef(seeds[:-1], seeds[1:])[0, 1]) < 0.1


def test_augmented_values_do_not_depend_on_batches_or_place():
    small = Feed(source(30), 4, seed=1, augment=shift)
    large = Feed(source(30), 16, shuffle=False, seed=1, augment=shift)
    for epoch in (0, 1):
        value = dict(zip(np.concatenate(small.indices(epoch)).tolist(), rows(small.numpy(epoch)), strict=True))
        np.testing.assert_array_equal([value[i] for i in range(30)], rows(large.numpy(epoch)))
    assert rows(large.numpy(0)) != rows(large.numpy(1))


def test_tensorflow_yields_what_numpy_yields_and_resumes_mid_epoch():
    feed = Feed(source(43), 5, seed=2, augment=shift)
    dataset = feed.dataset()
    assert int(dataset.cardinality()) == feed.steps == 9
    assert dataset.element_spec[0].shape.as_list() == [5, 4, 4, 1]
    feed.epoch = 3  # after the set was made: fit makes one set for all epochs
    whole = rows(dataset.as_numpy_iterator())
    np.testing.assert_array_equal(whole, rows(feed.numpy(3)))
    resumed = Feed(source(43), 5, seed=2, augment=shift)
    resumed.epoch, resumed.start = 3, 5
    tail = resumed.dataset()
    assert int(tail.cardinality()) == 4
    np.testing.assert_array_equal(rows(tail.as_numpy_iterator()), whole[25:])
    np.testing.assert_array_equal(rows(resumed.numpy()), whole[25:])
    resumed.epoch, resumed.start, feed.epoch = 4, 0, 4
    np.testing.assert_array_equal(rows(resumed.dataset().as_numpy_iterator()), rows(dataset.as_numpy_iterator()))


def test_tensorflow_pads_and_weighs():
    batches = list(Feed(source(11), 6, shuffle=False, multiple_of=4).dataset().as_numpy_iterator())
    assert rows(batches) == [*range(11), 8]
    np.testing.assert_array_equal(np.concatenate([batch[2] for batch in batches]), [1] * 11 + [0])


def test_auto_epoch_reshuffles_each_pass_and_a_plain_feed_does_not():
    auto, plain = Feed(source(40), 8, auto_epoch=True).dataset(), Feed(source(40), 8).dataset()
    first, second = (rows(auto.as_numpy_iterator()) for _ in range(2))
    assert first != second and sorted(first) == sorted(second)
    assert rows(plain.as_numpy_iterator()) == rows(plain.as_numpy_iterator())


def test_fit_follows_the_epoch_that_a_callback_sets():
    import keras

    feed = Feed(source(12), 4, seed=9)
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, images):
            import tensorflow as tf

            tf.py_function(lambda x: seen.extend(x.numpy()[:, 0, 0, 0].tolist()), [images], [])
            return images

    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(Spy()(inputs))))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    follow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(feed, "epoch", epoch))
    model.fit(feed.dataset(), epochs=5, initial_epoch=3, shuffle=False, verbose=0, callbacks=[follow])
    orders = [np.random.default_rng([9, epoch]).permutation(12) for epoch in (3, 4)]
    assert seen == np.concatenate(orders).tolist()


def test_resizing_batch_by_batch_gives_the_values_of_resizing_at_once(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 7, 3), np.uint8)
    labels = np.arange(6, dtype=np.int32)
    at_once = ArraySource(images, labels, (9, 3))
    monkeypatch.setattr("convcraft.training.data.stored.MEMORY_LIMIT", 0)
    lazily = ArraySource(images, labels, (9, 3))
    assert at_once.images.shape[1:3] == (9, 3) and lazily.images.shape[1:3] == (5, 7)
    picked = np.array([4, 1])
    np.testing.assert_array_equal(lazily.batch(picked)[0], at_once.batch(picked)[0])
    np.testing.assert_array_equal(lazily.subset(picked).batch(np.array([0]))[0], at_once.batch(picked[:1])[0])


def test_start_beyond_the_epoch_is_refused():
    feed = Feed(source(4), 2)
    feed.start = 2
    with pytest.raises(ValueError, match="start within"):
        feed.dataset()


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"batch_size": 2, "multiple_of": 0}, {"batch_size": 2, "seed": -1}]
)
def test_nonsense_is_refused(options):
    with pytest.raises(ValueError, match="Expected"):
        Feed(source(4), **options)


def test_augment_by_name_or_layer():
    import keras

    from convcraft import layers, training

    x = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), np.uint8)
    arrays = (x, np.arange(24) % 2)

    def first(augment, **options):
        loaded = training.data.load(arrays, batch_size=4, seed=3, augment=augment, **options)
        return next(iter(loaded.feed("train").numpy()))[0]

    plain = first(None)
    named = first("standard")
    assert np.abs(named - plain).max() > 1
    np.testing.assert_array_equal(named, first(layers.RandomTransform("standard")))
    np.testing.assert_array_equal(named, first(layers.RandomTransform("standard").transform))
    pca = first(layers.FancyPCA(seed=9))
    np.testing.assert_allclose(pca - plain, np.broadcast_to((pca - plain)[:, :1, :1], plain.shape), atol=1e-3)
    foreign = first(keras.layers.RandomBrightness(0.5))
    assert np.abs(foreign - plain).max() > 1
    np.testing.assert_array_equal(foreign, first(keras.layers.RandomBrightness(0.5)))


@pytest.mark.parametrize("augment", ["standard", "modern"])
def test_named_pipelines_are_reproducible_in_tensorflow(augment):
    """In parallel, and resumed in the middle of an epoch."""
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    labels = np.zeros(20, np.int32)

    def feed(epoch, start=0):
        made = Feed(ArraySource(images, labels), 4, seed=2, augment=augment)
        made.epoch, made.start = epoch, start
        return np.concatenate([batch for batch, _ in made.dataset().as_numpy_iterator()])

    whole = feed(1)
    np.testing.assert_array_equal(whole, feed(1))
    np.testing.assert_array_equal(whole[12:], feed(1, start=3))
    assert (whole != feed(2)).any()


@pytest.mark.parametrize("augment", ["strong", 3, {"flip": 1}])
def test_what_is_no_augmentation_is_refused(augment):
    from convcraft import training

    with pytest.raises(
        ValueError, match="'light', 'standard', 'heavy', 'modern', a list of transformations, a layer, or a function"
    ):
        training.data.load("digits", augment=augment)


JAX = """
import sys
import keras
import numpy as np
from convcraft.training import data

def augment(images, seeds):
    return images + (seeds % 2)[:, None, None, None]

loaded = data.load("digits", batch_size=100, augment=augment)
model = keras.Sequential([keras.Input(loaded.image_shape), keras.layers.Flatten(), keras.layers.Dense(10)])
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(loaded.train, epochs=2, shuffle=False, validation_data=loaded.val, verbose=0)
model.evaluate(loaded.test, verbose=0)
feed = loaded.feed("train", seed=4)
batches = feed.dataset()
assert isinstance(batches, keras.utils.PyDataset) and len(batches) == feed.steps == 13
feed.epoch = 3
for left, right in zip([batches[i] for i in range(13)], feed.numpy(3), strict=True):
    assert isinstance(left[0], np.ndarray) and left[0].dtype == np.float32
    np.testing.assert_array_equal(left[0], right[0])
tail = loaded.feed("train", seed=4)
tail.epoch, tail.start = 3, 10
resumed = tail.dataset()
assert len(resumed) == 3
np.testing.assert_array_equal(resumed[0][1], batches[10][1])
first, second = ([labels.tolist() for _, labels in loaded.train] for _ in range(2))
assert first != second
named = data.load("digits", batch_size=100, augment="light").feed("train", seed=4)
assert np.abs(next(named.numpy())[0] - next(loaded.feed("train", seed=4, augment=None).numpy())[0]).max() > 1
assert "tensorflow" not in sys.modules
print("ok")
"""


def test_jax_without_tensorflow():
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, "-c", JAX],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith("ok"), done.stderr
