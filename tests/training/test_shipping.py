"""From a run to weights of the package: half precision, a card without gaps, and `verify`, which believes neither."""

import json
import re

import h5py
import keras
import numpy as np
import pytest

from convcraft import training, zoo
from convcraft.cli import main
from convcraft.training import pretrained_card, shipping
from convcraft.zoo import shipped

RECIPE = """
from dataclasses import dataclass
from convcraft import training

@dataclass
class Config(training.Common):
    image_size: int = 16

def data(config):
    return training.load(config)

def train(config, run):
    raise NotImplementedError
"""
DESIGN = {"width": 0.125, "stem_stride": 1}
WHERE = {"commit": "abc", "keras": "3", "backend": "b", "b": "1", "devices": ["CPU"], "processor": "p", "cores": 2}


@pytest.fixture(scope="module")
def digits():
    return training.data.load("digits", size=16)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits):
    """The directory of a run, as if it had been trained: a net with random weights and statistics."""
    run = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(1)
    model = zoo.create("mobilenet_v1", digits.class_names, (16, 16, 1), design=zoo.Design(**DESIGN))
    model(digits.arrays("test")[0], training=True)  # moving averages other than their first values
    model.save(run / "model.keras")
    (run / "recipe.py").write_text(RECIPE)
    config = {
        "recipe": "tiny",
        "command": "convcraft train tiny",
        "convcraft": "0",
        "config": {"data": "digits", "image_size": 16, "seed": 3},
        "data": {"name": "digits", "classes": digits.class_names, "sha256": digits.sha256, "counts": digits.counts},
    }
    config["data"]["image_shape"] = [16, 16, 1]
    (run / "config.json").write_text(json.dumps(config))
    (run / "metrics.json").write_text(json.dumps({"seconds": 60.0}))
    lines = [{"event": "start", "environment": WHERE}, {"event": "epoch"}]
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An empty folder of shipped weights."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    monkeypatch.setitem(pretrained_card.DATA, "digits", ("Digits", "small", "scikit-learn", "BSD", "Easy."))
    shipped.cards.cache_clear()
    yield tmp_path
    shipped.cards.cache_clear()


@pytest.fixture
def card(package, finished):
    made = shipping.ship(finished, "mobilenet_v1:digits", DESIGN)
    shipped.cards.cache_clear()
    return made


def test_a_shipped_file_is_what_zoo_create_gives(card, finished, digits):
    model = zoo.create("mobilenet_v1", weights="digits")
    assert zoo.class_names(model) == digits.class_names and model.input_shape == (None, 16, 16, 1)
    images, labels = digits.arrays("test")
    before = zoo.load_model(finished / "model.keras").predict(images, verbose=0)
    after = model.predict(images, verbose=0)
    assert 0 < np.abs(before - after).max() < 0.02 * before.std()
    right = int((after.argmax(axis=1) == labels).sum())
    assert card["test"]["n"] == 360 and card["test"]["accuracy"] == pytest.approx(right / 360)
    assert card["test"]["low"] < right / 360 < card["test"]["high"]


def test_kernels_are_halved_and_statistics_are_not(card, package):
    found = []
    with h5py.File(package / card["file"]) as file:
        file.visititems(lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    kernels = [array for array in found if array.ndim > 1]
    assert {array.dtype.name for array in kernels} == {"float16"} and len(kernels) == 28
    assert {array.dtype.name for array in found if array.ndim == 1} == {"float32"}


def test_the_card_has_no_gap(card, package):
    text = (package / "mobilenet_v1-digits.md").read_text()
    assert json.loads((package / "mobilenet_v1-digits.json").read_text()) == json.loads(json.dumps(card))
    assert not re.findall(r"None|unknown|: *$|  +,|\(\)|\{|\}$", text.split("---")[2], re.M)
    for word in ("licence", "Seeds: 3", "Easy.", "`convcraft train tiny`", "0 to 255", card["sha256"], "BSD"):
        assert word in text


def test_verify_believes_neither_file_nor_card(card, package, capsys):
    verified = training.verify("mobilenet_v1:digits")
    assert verified.ok and verified.measured == card["test"]
    card["test"]["low"] = card["test"]["accuracy"] + 0.01
    pretrained_card.write(card)
    shipped.cards.cache_clear()
    assert main(["verify", "mobilenet_v1-digits"]) == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out
    assert main(["verify", "other"]) == 2


@pytest.mark.parametrize(
    "changed", ["accuracy", "interval", "loss", "parameters", "multiply_adds", "bytes", "classes", "counts", "text"]
)
def test_verify_sees_what_was_changed_in_a_card(card, package, changed):
    before = (package / "mobilenet_v1-digits.md").read_text()
    test = card["test"]
    if changed == "accuracy":  # and not its interval, within which the measured one still lies
        test["accuracy"] = (test["accuracy"] + test["high"]) / 2
    elif changed == "interval":  # that holds whatever is measured
        test["low"], test["high"] = 0.0, 1.0
    elif changed == "loss":
        test["loss"] *= 0.9
    elif changed in ("parameters", "multiply_adds", "bytes"):
        card[changed] += 1
    elif changed == "classes":  # which are what a user is told
        card["classes"] = card["classes"][::-1]
    elif changed == "counts":
        card["data"]["counts"]["train"] -= 1
    pretrained_card.write(card)
    if changed == "text":
        (package / "mobilenet_v1-digits.md").write_text(before.replace("Seeds: 3", "Seeds: 4"))
    shipped.cards.cache_clear()
    verified = training.verify("mobilenet_v1:digits")
    assert not verified.ok and len(verified.faults) == 1 and "DOES NOT HOLD; " in str(verified)


def test_other_data_than_the_cards_are_refused(card, digits, tmp_path):
    images, labels = digits.arrays("test")
    np.savez(tmp_path / "other.npz", x=images, y=labels)
    with pytest.raises(ValueError, match="measured on other data than these: SHA-256"):
        training.verify("mobilenet_v1:digits", tmp_path / "other.npz")


def test_a_design_that_the_run_has_not_is_refused(package, finished):
    with pytest.raises(ValueError, match="width"):
        shipping.ship(finished, "mobilenet_v1:digits", {"stem_stride": 1})
    with pytest.raises(ValueError, match="answers otherwise than the run's model"):
        shipping.ship(finished, "mobilenet_v1:digits", {**DESIGN, "activation": "tanh"})


@pytest.mark.parametrize("one", shipped.cards(), ids=shipped.stem)
def test_the_cards_of_the_package_hold(one, shared, unpacked):
    verified = training.verify(shipped.stem(one), unpacked(one["data"]["name"]))
    assert verified.ok, str(verified)
    text = (shipped.FOLDER / f"{shipped.stem(one)}.md").read_text()
    assert text == pretrained_card.markdown(one)
