"""Each finding from numbers that were written down for it; how often real trainings are judged right is measured by
benchmarks/diagnoses.py."""

import importlib.util
import pathlib
import sys

import keras
import numpy as np
import pytest

from convcraft import training
from convcraft.training.diagnosis import symptoms
from convcraft.training.diagnosis.curves import Curves

GOOD = {
    "loss": [1.9, 1.0, 0.5, 0.3, 0.2, 0.15, 0.12, 0.1],
    "val_loss": [1.8, 1.1, 0.6, 0.4, 0.3, 0.26, 0.24, 0.23],
    "accuracy": [0.3, 0.6, 0.8, 0.88, 0.92, 0.94, 0.96, 0.97],
    "val_accuracy": [0.35, 0.55, 0.75, 0.85, 0.88, 0.9, 0.91, 0.92],
}


def history(**changed):
    return {name: values for name, values in (GOOD | changed).items() if values is not None}


@pytest.mark.parametrize(
    "expected, changed",
    [
        ("", {}),
        ("learning rate too high", {"loss": [1.9, 5.0, float("nan"), float("nan")]}),
        ("learning rate too high", {"loss": [60.0, 9.0, 4.0, 2.4, 2.35, 2.31, 2.31, 2.31]}),
        ("learning rate too high", {"loss": [1.9, 0.9, 0.6, 0.7, 0.9, 1.0, 1.2, 1.1]}),
        ("learning rate too low", {"loss": [2.30, 2.28, 2.26, 2.24, 2.22, 2.20, 2.18, 2.16], "accuracy": [0.1] * 8}),
        ("overfitting", {"val_accuracy": [0.35, 0.5, 0.6, 0.65, 0.66, 0.66, 0.66, 0.66]}),
        ("overfitting", {"val_loss": [1.8, 1.1, 0.6, 0.5, 0.6, 0.7, 0.9, 1.1], "val_accuracy": None}),
        ("underfitting", {"loss": [2.2, 1.8, 1.6, 1.52, 1.51, 1.5, 1.5, 1.5], "accuracy": [0.3] * 8}),
        (
            "capacity reached",
            {
                "loss": [1.9, 1.2, 0.9, 0.8, 0.76, 0.75, 0.74, 0.74],
                "val_loss": [1.9, 1.2, 1.0, 0.9, 0.86, 0.85, 0.85, 0.84],
                "accuracy": [0.3, 0.5, 0.6, 0.7, 0.7, 0.71, 0.71, 0.71],
                "val_accuracy": [0.3, 0.5, 0.6, 0.68, 0.68, 0.69, 0.69, 0.69],
            },
        ),
    ],
)
def test_plain_histories(expected, changed):
    found = training.diagnose(history(**changed), classes=10)
    assert found.names == [expected] * bool(expected) and bool(found) == bool(expected)
    assert any("Monitor" in what for what in found.unknown)
    for finding in found.findings:
        assert any(sign.isdigit() for sign in finding.number) and finding.advice in str(found)


def test_a_single_bad_epoch_is_no_overfitting():
    values = [*GOOD["val_loss"][:-1], 0.5]
    assert not training.diagnose(history(val_loss=values, val_accuracy=None), classes=10)


def test_it_says_what_it_cannot_know():
    said = "\n".join(training.diagnose({"loss": [2.0, 1.0]}).unknown)
    for word in ("2 epochs", "validation_data", "metrics=", "classes", "Monitor"):
        assert word in said


@pytest.mark.parametrize(
    "given, message",
    [
        ({}, "received nothing"),
        ({"accuracy": [1.0]}, "received accuracy"),
        ({"loss": []}, "received loss"),
        ([1], "list"),
        ({"loss": 0.5}, "loss of at least one epoch"),
    ],
)
def test_what_is_no_history(given, message):
    with pytest.raises(ValueError, match=message):
        training.diagnose(given)


def watched(**numbers):
    """A monitor that saw these numbers, and else a good training of 10 classes."""
    monitor = training.Monitor()
    monitor._model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(10)])
    monitor._model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    curves = {**GOOD, **numbers.pop("curves", {})}
    monitor.epochs = [dict(zip(curves, values, strict=True)) for values in zip(*curves.values(), strict=True)]
    monitor.losses = list(np.repeat(curves["loss"], 30))
    monitor.steps = list(range(30, 241, 30))
    monitor.gradients = {f"layer{n}": [0.1] * 8 for n in range(6)}
    monitor.changes = {f"layer{n}": [1e-2] * 8 for n in range(6)}
    for name, value in numbers.items():
        setattr(monitor, name, value)
    return monitor


STUCK = {"loss": [2.3, 2.29, 2.28, 2.28, 2.28, 2.27, 2.27, 2.27], "accuracy": [0.1] * 8, "val_accuracy": [0.1] * 8}
NOISE = np.tile([0.5, 3.0], 120)


@pytest.mark.parametrize(
    "expected, numbers",
    [
        ("", {}),
        ("vanishing gradients", {"gradients": {f"l{n}": [10.0 ** (n - 8)] * 8 for n in range(8)}, "curves": STUCK}),
        ("exploding gradients", {"gradients": {f"l{n}": [10.0 ** (2 - n)] * 8 for n in range(8)}, "curves": STUCK}),
        ("exploding gradients", {"losses": [5e4, *np.repeat(2.3, 239)], "curves": STUCK}),
        ("dead units", {"dead": {"a": [0.1] * 8, "b": [0.6] * 8}, "curves": STUCK}),
        ("saturated units", {"saturated": {"tanh": [0.9] * 8}, "curves": STUCK}),
        ("", {"saturated": {"tanh": [0.1, 0.5, *[0.9] * 6]}}),
        ("learning rate too low", {"changes": {"l": [1e-5] * 8}, "curves": STUCK}),
        ("batch too small", {"losses": list(NOISE)}),
        (
            "batch too large",
            {
                "steps": list(range(1, 9)),
                "losses": [2.3 - 0.1 * n for n in range(8)],
                "curves": {**STUCK, "loss": [2.3 - 0.1 * n for n in range(8)]},
            },
        ),
    ],
)
def test_monitored_trainings(expected, numbers):
    found = training.diagnose(watched(**numbers))
    assert found.names[:1] == [expected] * bool(expected), str(found)
    assert not found.unknown


def test_what_fit_returns_is_read():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    net.compile(keras.optimizers.SGD(1e6), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    done = net.fit(x + 5, y, epochs=4, verbose=0)
    assert training.diagnose(done).names == ["learning rate too high"]


@pytest.mark.slow
def test_nine_in_ten_are_right(monkeypatch):
    """Of the runs that benchmarks/diagnoses.py makes wrong on purpose, one seed."""
    path = pathlib.Path(__file__).parents[3] / "benchmarks" / "diagnoses.py"
    monkeypatch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location("diagnoses", path)
    benchmark = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "diagnoses", benchmark)
    spec.loader.exec_module(benchmark)
    data = training.data.load("digits", size=16, seed=7)
    rows = [benchmark.judged(kind, *each, data, 7, False) for kind, each in benchmark.KINDS.items()]
    right = [row["found"].split("; ")[0] == row["expected"] for row in rows]
    assert len({row["expected"] for row in rows}) > 10 and np.mean(right) >= 0.9


def test_one_finding_of_a_name():
    """Two signs of exploding gradients, the first loss and the depth: told once, by the first."""
    empty = np.zeros(0)
    gradients = np.array([[1e6, 1e6, 1.0, 1.0, 1e-3, 1e-3]])
    loss, batches = np.array([2.0]), np.array([500.0, 2.0])
    curves = Curves(loss, empty, empty, empty, np.log(10), batches, [2], np.zeros((0, 0)), gradients, {}, {})
    names = [finding.name for finding in symptoms.findings(curves)]
    assert names.count("exploding gradients") == 1
    assert "before the first step" in symptoms.findings(curves)[0].number


@pytest.mark.parametrize("loss, units, known", [("mse", 5, False), ("binary_crossentropy", 1, True)])
def test_guessing_is_of_classes_only(loss, units, known):
    monitor = watched()
    monitor._model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units)])
    monitor._model.compile("sgd", loss)
    assert any("number of classes" in what for what in training.diagnose(monitor).unknown) != known
