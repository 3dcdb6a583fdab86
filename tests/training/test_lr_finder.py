"""The range test finds where training breaks, and leaves everything as it was."""

import keras
import numpy as np
import pytest

from convcraft import layers, training
from convcraft.training import lr_finder

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32") * [3, 1, 1, 0.5]
Y = (X @ [1.0, -2, 0.5, 1]).astype("float32")[:, None]


def linear(optimizer="sgd", rate=0.01):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.0), keras.layers.Dense(1, use_bias=False)])
    kinds = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    model.compile(kinds[optimizer](rate), "mse", jit_compile=False)
    return model


def whole():
    """One batch, of everything: gradient descent without noise."""
    return [(X, Y)]


def test_gradient_descent_breaks_beyond_two_over_the_curvature():
    """Of a quadratic loss that is where it diverges, whatever the data."""
    limit = 2 / np.linalg.eigvalsh(2 * X.T @ X / len(X)).max()
    found = training.find_lr(linear(), whole(), start=limit / 1e4, stop=limit * 1e3, steps=120)
    assert found.rates[-1] < limit * 1e3, "it stops when training is broken"
    assert found.rates[np.argmin(found.losses)] > limit / 10
    assert limit / 100 < found.max_lr < limit * 1.5
    assert found.min_lr <= found.max_lr
    assert set(found.suggestions) == {"steep", "valley", "minimum/10"}
    assert all(limit / 1e4 <= rate < limit * 2 for rate in found.suggestions.values())


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_everything_is_as_it_was(optimizer):
    """A model that was examined trains on as one that was not."""
    trained = []
    for examined in (False, True):
        model = linear(optimizer)
        model.train_on_batch(X[:32], Y[:32])
        compiled = model.optimizer
        if examined:
            training.find_lr(model, whole(), steps=20)
        assert model.optimizer is compiled and float(keras.ops.convert_to_numpy(compiled.learning_rate)) == np.float32(
            0.01
        )
        model.train_on_batch(X[32:], Y[32:])
        trained.append([*model.get_weights(), *(keras.ops.convert_to_numpy(v) for v in model.optimizer.variables)])
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_first_batches_suggest_nothing():
    """A hard first batch is no fall of the loss: the steepest, the valley and the cycle lie where it falls for good."""
    rates = np.geomspace(1e-4, 10, 101)
    losses = 2.3 - 2 / (1 + np.exp(-4 * np.log(rates / 0.03)))  # falls fastest at 0.03
    losses[np.log(rates) > np.log(0.5)] += 3
    clean = lr_finder._judged(rates, losses, np.zeros(0))
    assert abs(np.log(clean.suggestions["steep"] / 0.03)) < 0.12
    losses[:2] += [0.9, 0.2]
    noisy = lr_finder._judged(rates, losses, np.zeros(0))
    assert noisy.suggestions == clean.suggestions and noisy.min_lr == clean.min_lr


def test_random_state_is_as_it_was():
    draws = []
    for examined in (False, True):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5, seed=3), keras.layers.Dense(1)])
        model.compile("sgd", "mse", jit_compile=False)
        if examined:
            training.find_lr(model, whole(), steps=12)
        model.train_on_batch(X, Y)
        draws.append(model.get_weights()[0])
    np.testing.assert_array_equal(*draws)


def test_schedules_and_groups_are_found_rates_for():
    model = linear()
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    model.compile(layers.GroupedRates(keras.optimizers.SGD(schedule), {"dense": 0.5}), "mse", jit_compile=False)
    assert training.find_lr(model, whole(), steps=20).max_lr > 0


def test_an_uncompiled_classifier_of_data_and_its_picture(tmp_path):
    data = training.data.load("digits", size=8, batch_size=64)
    model = keras.Sequential([keras.Input(data.image_shape), keras.layers.Flatten(), keras.layers.Dense(10)])
    found = training.find_lr(model, data, start=1e-7, stop=1.0, steps=40)
    assert not model.compiled
    found.plot().figure.savefig(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 5000
    assert repr(found).startswith("<LearningRates")


def test_each_loss_is_its_own_batchs():
    """At rates of nearly nothing, two batches in turn have their two losses in turn, and two accuracies."""
    batches = [(X[:32], np.zeros(32, "int32")), (X[32:], np.ones(32, "int32"))]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    logits = [np.asarray(keras.ops.convert_to_numpy(model(x))) for x, _ in batches]
    expected = [np.mean(np.log(np.exp(z).sum(axis=1)) - z[:, y[0]]) for z, (_, y) in zip(logits, batches, strict=True)]
    right = [np.mean(z.argmax(axis=1) == y) for z, (_, y) in zip(logits, batches, strict=True)]
    found = training.find_lr(model, batches, start=1e-12, stop=1e-11, steps=20)
    np.testing.assert_allclose(found.losses, expected * 10, rtol=1e-4)
    np.testing.assert_allclose(found.accuracies, right * 10, rtol=1e-6)


def test_a_cycle_is_where_accuracy_rises_and_peaks():
    """Of a curve that is written down: accuracy rises from step 3 on, is highest in step 6, then falls."""
    from convcraft.training import lr_finder

    rates = np.geomspace(1e-4, 1, 10)
    accuracies = np.array([0.1, 0.1, 0.1, 0.3, 0.5, 0.6, 0.7, 0.6, 0.3, 0.1])
    found = lr_finder._judged(rates, np.linspace(2, 1, 10), accuracies)
    assert (found.min_lr, found.max_lr) == (rates[3], rates[6])


def test_ramps_and_repeats():
    model, once = linear(), []
    found = training.find_lr(model, whole(), start=1e-4, stop=1e-2, steps=21, ramp="linear")
    np.testing.assert_allclose(found.rates, np.linspace(1e-4, 1e-2, 21)[: len(found.rates)])
    assert found.plot().get_xscale() == "linear"
    parts = [(X[:32], Y[:32])] * 20, [(X[32:], Y[32:])] * 20
    for part in parts:
        once.append(training.find_lr(model, part, start=1e-5, stop=1e-3, steps=20).losses)
    both = training.find_lr(model, [*parts[0], *parts[1]], start=1e-5, stop=1e-3, steps=20, repeats=2)
    np.testing.assert_allclose(both.losses, np.mean(once, axis=0), rtol=1e-4)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"start": 1.0, "stop": 0.1}, "0 < start < stop"),
        ({"start": 0}, "0 < start < stop"),
        ({"steps": 3}, "whole number from 10"),
        ({"ramp": "square"}, "received 'square' and 1"),
        ({"repeats": 0}, "received 'exponential' and 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        training.find_lr(linear(), whole(), **options)


def test_no_batches_and_no_numbers():
    with pytest.raises(ValueError, match="list has none"):
        training.find_lr(linear(), [])
    with pytest.raises(ValueError, match="no number"):
        training.find_lr(linear(), [(X * np.nan, Y)])


def branched(kind):
    """Two outputs, or a class of its own, for the same data."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    x = keras.layers.Dense(8, "relu")(inputs)
    named = {"one": keras.layers.Dense(1, name="one")(x), "other": keras.layers.Dense(2, name="other")(x)}
    if kind == "own":

        class Own(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(1)

            def call(self, x):
                return self.dense(x)

        model, labels = Own(), Y
        model(X)
        model.compile("sgd", "mse")
    else:
        labels = {"one": Y, "other": (Y[:, 0] > 0).astype("int32")}
        losses = {"one": "mse", "other": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
        if kind == "list":
            named, labels, losses = (list(each.values()) for each in (named, labels, losses))
        model = keras.Model(inputs, named)
        model.compile("sgd", losses, loss_weights=[0.5, 2.0] if kind == "list" else {"one": 0.5, "other": 2.0})
    return model, labels


@pytest.mark.parametrize("kind", ["list", "dict", "own"])
def test_several_outputs_and_classes_of_ones_own(kind):
    model, labels = branched(kind)
    before = model.get_weights()
    first = float(np.ravel(model.test_on_batch(X, labels))[0])
    found = training.find_lr(model, (X, labels), steps=40, start=1e-4)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not len(found.accuracies), "of all outputs together there is a loss, and no accuracy"
    assert not model.optimizer.built, "only a copy has trained"
    batch = [float(np.ravel(model.test_on_batch(X[rows], _of(labels, rows)))[0]) for rows in (slice(32), slice(32, 64))]
    assert min(batch) * 0.9 < found.losses[0] < max(batch) * 1.1 and first > 0


def _of(labels, rows):
    return keras.tree.map_structure(lambda each: each[rows], labels)


def test_what_has_no_falling_loss_suggests_nothing():
    model = linear()
    model.trainable = False
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="at every rate: nothing is learned"):
        training.find_lr(model, whole(), steps=20)


class Pages(keras.utils.PyDataset):
    """Batches by number, without an end of their own."""

    def __len__(self):
        return 2

    def __getitem__(self, number):
        np.random.rand()  # as one that augments draws
        rows = slice(32 * number, 32 * number + 32)
        return X[rows], Y[rows]


def test_a_dataset_by_number_and_draws():
    model = linear()
    np.random.seed(3)
    found = training.find_lr(model, Pages(), steps=20)
    assert len(found.losses) > 5
    after = np.random.rand()
    np.random.seed(3)
    assert after == np.random.rand()


def test_a_generator_that_ends():
    with pytest.raises(ValueError, match="generator ended after 1, and cannot be read again"):
        training.find_lr(linear(), (each for each in whole()), steps=20)
    with pytest.raises(ValueError, match="received text"):
        training.find_lr(linear(), (X, Y.astype(str)))
    with pytest.raises(ValueError, match="compiled without one"):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd")
        training.find_lr(model, whole())


def test_a_model_that_ends_in_softmax_is_not_asked_for_logits():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax")])
    labels = (Y[:, 0] > 0).astype("int32")
    found = training.find_lr(model, [(X, labels)], steps=20)
    shares = model.predict(X, verbose=0)[np.arange(64), labels]
    np.testing.assert_allclose(found.losses[0], -np.log(shares).mean(), rtol=1e-3)
