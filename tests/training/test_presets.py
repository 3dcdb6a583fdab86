"""The preset "modern": what it changes in data, loss and optimizer; a run with it, resumed; and the plain losses."""

import math

import keras
import numpy as np
import pytest

from convcraft import training
from convcraft.layers.base import to_numpy
from convcraft.training import Common

MODERN = Common(data="digits", preset="modern", epochs=4, learning_rate=0.2)


def test_mixed_labels_are_shares_and_evaluation_is_plain():
    data = training.load(MODERN)
    images, labels = next(data.feed("train").numpy(epoch=1))
    assert labels.shape == (64, 10)
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-5)
    assert ((labels > 0).sum(axis=1) == 2).any()
    _, plain = next(data.feed("val").numpy())
    assert set(np.unique(plain)) == {0.0, 1.0}
    np.testing.assert_array_equal(data.arrays("val")[1][:64], plain.argmax(axis=1))
    again = next(data.feed("train").numpy(epoch=1))
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(labels, again[1])
    assert (labels != next(data.feed("train").numpy(epoch=2))[1]).any()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data")
def test_the_graph_mixes_as_numpy_does():
    feed = training.load(MODERN).feed("train")
    graph = next(iter(feed.dataset().as_numpy_iterator()))
    eager = next(feed.numpy())
    np.testing.assert_allclose(graph[1], eager[1], atol=1e-6)
    np.testing.assert_allclose(graph[0], eager[0], atol=0.51)  # RandAugment rounds


def test_digits_are_never_mirrored():
    assert not training.can_mirror("digits") and not training.can_mirror("/data/mnist.npz")
    assert training.can_mirror("cifar10") and training.can_mirror("photos/")
    names = [name for name, _ in training.load(MODERN).augment.__self__.transforms]
    assert names == ["rand_augment", "random_erasing"]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("name", ["light", "standard", "modern"])
def test_no_flip_holds_for_pipelines_and_the_preset(name, flip):
    """Images that are dark on the left stay so: for hands, text, and whatever else means another thing mirrored."""
    from convcraft.training import data

    images = np.zeros((48, 16, 16, 3), "float32")
    images[:, :, 8:] = 200
    shown = to_numpy(data.draws.augmentation(name, flip)(images, np.arange(48, dtype="int32")))
    mirrored = shown[:, :, :4].mean((1, 2, 3)) > shown[:, :, -4:].mean((1, 2, 3)) + 20
    # RandAugment inverts some batches, and so changes sides of none or of all: other seeds, the same names
    names = [each for group in ("transforms", "always") for each, _ in getattr(_layer(name, flip), group)]
    assert ("flip" in names) == flip
    assert name == "modern" or (10 < mirrored.sum() < 38) == flip and (mirrored.sum() == 0) == (not flip)


def _layer(name, flip):
    """The `RandomTransform` behind an augmentation, on JAX within `jit`."""
    from convcraft.training import data

    made = data.draws.augmentation(name, flip)
    return getattr(made, "__wrapped__", made).__self__


@pytest.mark.parametrize("options", [{}, {"flip": False}, {"alternate_flip": True}])
def test_the_preset_mirrors_where_the_recipe_does(options):
    x, y = np.zeros((40, 8, 8, 3), "uint8"), np.arange(40) % 2
    np_options = {key: value for key, value in options.items() if key == "alternate_flip"}
    config = Common(preset="modern")
    config.flip = options.get("flip", True)
    config.data = {"x": x, "y": y}
    names = [name for name, _ in training.load(config, **np_options).augment.__self__.transforms]
    assert ("flip" in names) == (not options), "alternating flips mirror by themselves"


def test_the_rate_rises_for_a_twentieth_and_falls_along_a_cosine():
    rate = training.optimizer(MODERN, steps=200)._learning_rate
    found = [float(rate(step)) for step in (0, 5, 10, 105, 200)]
    expected = [0.02, 0.11, 0.2, 0.2 * 0.5 * (1 + math.cos(math.pi / 2)), 0.0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_average_reaches_back_a_fiftieth_of_the_steps():
    optimizer = training.optimizer(MODERN, steps=1000)
    assert optimizer.use_ema and optimizer.ema_momentum == pytest.approx(0.95)
    assert not training.optimizer(Common(), steps=1000).use_ema


def test_losses_equal_the_formula():
    logits = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    labels = np.array([0, 1, 2, 3, 4, 0], "int32")
    log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    hot = np.eye(5)[labels]
    plain = -(hot * log).sum(axis=1).mean()
    smooth = -((0.9 * hot + 0.1 / 5) * log).sum(axis=1).mean()
    assert float(training.loss(Common())(labels, logits)) == pytest.approx(plain, rel=1e-5)
    assert float(training.loss(Common(), 0.1)(labels, logits)) == pytest.approx(smooth, rel=1e-5)
    assert float(training.loss(MODERN, 0.1)(hot, logits)) == pytest.approx(smooth, rel=1e-5)


class Recorder(keras.callbacks.Callback):
    """The weights after each step, for an average of one's own."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append([np.array(to_numpy(w)) for w in self.model.trainable_weights])


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="fit on JAX shows no weights within an epoch")
def test_the_saved_model_has_the_averaged_weights(tmp_path):
    config = Common(data="digits", preset="modern", epochs=2, image_size=8, batch_size=256, strategy="none")
    data = training.load(config)
    run = training.Run(tmp_path, config, "test", "none")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    optimizer = training.optimizer(config, run.steps(data))
    optimizer.ema_momentum = 0.5
    model.compile(optimizer, training.loss(config), weighted_metrics=["accuracy"], jit_compile=run.jit)
    recorder = Recorder()
    run.fit(model, data, callbacks=[recorder])
    average = recorder.seen[0]
    for weights in recorder.seen[1:]:
        average = [0.5 * a + 0.5 * w for a, w in zip(average, weights, strict=True)]
    saved = keras.saving.load_model(tmp_path / "model.keras")
    for mine, theirs in zip(average, saved.trainable_weights, strict=True):
        np.testing.assert_allclose(to_numpy(theirs), mine, atol=1e-4)


@pytest.mark.parametrize(("name", "value"), [("preset", "new"), ("seeds", 0)])
def test_bad_values_are_refused(name, value):
    with pytest.raises(ValueError, match=f"Expected {name}"):
        training.optimizer(Common(**{name: value}), steps=10)
