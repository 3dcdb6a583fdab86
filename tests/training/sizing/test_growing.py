"""`grow` stops where the data need no more, goes on where they do, and goes on where it was broken off."""

import math
import random

import keras
import numpy as np
import pytest

from convcraft import training, zoo
from convcraft.training.sizing import growing

RNG = np.random.default_rng(0)


def planted(kind, images=600, size=8):
    """Bright halves, which a linear model tells apart; or a blob that may lie anywhere, of two shapes."""
    x = RNG.integers(100, 130, (images, size, size, 1))
    y = np.arange(images) % 2
    for number, picture in enumerate(x):
        if kind == "linear":
            picture[: size // 2 if y[number] else size, : size // 2] += 60
        else:
            row, column = RNG.integers(0, size - 3, 2)
            sign = RNG.choice([-100, 100])
            if y[number]:
                picture[row : row + 4, column] += sign
            else:
                picture[row, column : column + 4] += sign
    return training.data.load((x.clip(0, 255).astype("uint8"), y.astype("int32")), validation=0.4, batch_size=32)


def test_a_linear_model_where_it_suffices():
    found = training.grow(planted("linear"), epochs=4, learning_rate=0.03, patience=1)
    assert found.chosen.name == "linear" and found.model.name == "linear" and found.chosen.accuracy > 0.99
    assert [step.name for step in found.steps] == ["linear", "depth 1, width 0.25"]
    assert [step.kept for step in found.steps] == [True, False]
    assert found.model.count_params() == 8 * 8 * 2 + 2 == found.chosen.parameters


def test_a_network_where_it_does_not():
    """Bars of either sign anywhere: the pixels' mean tells nothing."""
    found = training.grow(planted("bars"), epochs=8, learning_rate=1e-2, most=2)
    linear, network = found.steps
    assert linear.accuracy < 0.75 < network.accuracy and network.kept and found.chosen is network
    assert network.chance < 1e-3 and found.model.count_params() == network.parameters
    said = str(found)
    assert "linear" in said and "kept" in said and f"Chosen: {network.name}" in said


@pytest.mark.parametrize("won, lost", [(5, 0), (4, 0), (12, 3), (7, 7), (0, 0), (1, 9)])
def test_the_rule_is_mcnemars(won, lost):
    """By summing the coin's chances."""
    larger = np.array([1] * won + [0] * lost + [1, 0, 0, 1])
    smaller = np.array([0] * won + [1] * lost + [1, 0, 0, 1])
    n = won + lost
    expected = sum(math.comb(n, k) for k in range(won, n + 1)) / 2**n
    assert growing.chance(larger, smaller) == pytest.approx(expected)


class Told:
    """Models of one's own, whose answers are known: of the first so many images the label's class, else another."""

    def __init__(self, data, rights, units=2):
        self.data, self.rights, self.built, self.units = data, rights, [], units

    def __call__(self, step):
        if step == len(self.rights):
            return None
        self.built.append(step)
        net = keras.Sequential([keras.Input(self.data.image_shape), keras.layers.Flatten()])
        net.add(keras.layers.Dense(self.units))
        net.add(keras.layers.Dense(2))
        net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return net


@pytest.fixture
def told(monkeypatch):
    """`grow` on 40 validation images, of which step k gets the first `rights[k]` right; and which were trained."""
    data = planted("linear", images=100)

    def search(rights, units=2, **options):
        build = Told(data, rights, units)

        def score(model, data, split):
            assert split == "val"
            labels = np.arange(40) % 2
            guessed = np.where(np.arange(40) < rights[build.built[-1]], labels, 1 - labels)
            return {}, labels, np.eye(2)[guessed]

        monkeypatch.setattr(growing.evaluate, "score", score)
        return training.grow(data, build, epochs=1, **options), build.built

    return search


@pytest.mark.parametrize(
    "rights, options, chosen, tried",
    [
        ([20, 25, 30, 35], {}, 3, 4),
        ([20, 24, 24, 40], {}, 0, 3),  # 4 of 4 is a chance of 1 in 16
        ([20, 24, 24, 40], {"patience": 3}, 3, 4),
        ([20, 23, 25], {}, 2, 3),  # what counts is the gain over the kept one
        ([20, 24, 24, 40], {"level": 0.1}, 3, 4),  # 40 of 40: better than 24 by 16
        ([20, 25, 30, 35], {"most": 2}, 1, 2),
        ([30, 20, 10, 40], {}, 0, 3),
        ([30, 10, 20, 40], {}, 3, 4),  # it climbs, below the kept one
        ([30, 10, 20, 20, 20, 40], {}, 0, 5),
        ([20], {}, 0, 1),
    ],
)
def test_what_is_kept(told, rights, options, chosen, tried):
    found, built = told(rights, **options)
    assert found.chosen.name == f"step {chosen}" and built == list(range(tried)) == list(range(len(found.steps)))
    assert [step.accuracy for step in found.steps] == [right / 40 for right in rights[:tried]]


def test_goes_on_where_it_was_broken_off(told, tmp_path, monkeypatch):
    folder = tmp_path / "search"
    whole, _ = told([20, 30, 31, 32], directory=folder)
    assert sorted(path.name for path in folder.iterdir()) == ["model.keras", "steps.json"]
    again, built = told([20, 30, 31, 32], directory=folder)
    assert len(built) == 4 and str(again) == str(whole)  # built, to be compared, and not trained
    for one, other in zip(whole.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="another search"):
        told([20, 30], directory=folder, seed=1)
    with pytest.raises(
        ValueError, match=r"another build: .*step 0 has 136 parameters, build\(0\) now makes one of 203"
    ):
        told([20, 30, 31, 32], units=3, directory=folder)
    with pytest.raises(ValueError, match=r"build\(2\) now makes none"):
        told([20, 30], directory=folder)
    broken = tmp_path / "broken"
    trained = growing._Search._trained

    def dies(self, name, model):
        if name == "step 2":
            raise KeyboardInterrupt
        return trained(self, name, model)

    monkeypatch.setattr(growing._Search, "_trained", dies)
    with pytest.raises(KeyboardInterrupt):
        told([20, 30, 31, 32], directory=broken)
    monkeypatch.setattr(growing._Search, "_trained", trained)
    resumed, built = told([20, 30, 31, 32], directory=broken)
    assert built == [0, 1, 2, 3] and [vars(step)["accuracy"] for step in resumed.steps] == [0.5, 0.75, 0.775, 0.8]
    assert resumed.chosen.name == "step 1"
    for one, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_random_state_is_as_it_was():
    draws = []
    for grown in (False, True):
        keras.utils.set_random_seed(5)
        if grown:
            training.grow(planted("linear", 60), epochs=1, most=1)
        draws.append([random.random(), keras.layers.Dense(3).build((None, 2))])
        dense = keras.layers.Dense(3)
        dense.build((None, 2))
        draws[-1][1] = dense.get_weights()[0].tolist()
    assert draws[0] == draws[1]


def test_small_images_get_fewer_stages():
    search = growing._Search(planted("linear", 40, size=8), None, {"seed": 0}, None, False)
    assert search.after(None) == [(1, 0.25)] and search.after((2, 0.5)) == [(3, 0.5), (2, 1.0)]
    net = search._model((2, 0.25))
    assert zoo.cost(net).stride == (2, 2) and net.output_shape == (None, 2)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "epochs"),
        ({"patience": 1.5}, "patience"),
        ({"level": 1.0}, "level"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"most": 0}, "most"),
        ({"build": lambda step: None}, "build\\(0\\)"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        training.grow(planted("linear", 40), **options)


def test_data_without_validation_and_folders_of_something_else(tmp_path):
    x, y = np.zeros((20, 8, 8, 1), "uint8"), np.arange(20, dtype="int32") % 2
    with pytest.raises(ValueError, match="validation images"):
        training.grow(training.data.load((x, y), validation=0))
    (tmp_path / "other.txt").write_text("mine")
    with pytest.raises(ValueError, match="something else"):
        training.grow(planted("linear", 40), directory=tmp_path)
