"""Weights that come with the package: found by name, built as they were trained, nothing else passed off as them."""

import hashlib
import json

import keras
import numpy as np
import pytest

from convcraft import zoo
from convcraft.zoo import shipped

CLASSES = ["ant", "bee", "wasp"]
SHAPE = (32, 32, 3)


@pytest.fixture(scope="module")
def flies(tmp_path_factory):
    """(folder, models): two widths of a small MobileNet with their cards."""
    folder = tmp_path_factory.mktemp("flies")
    models = {}
    for width in (0.25, 0.125):
        model = zoo.create(
            "mobilenet_v1", CLASSES, SHAPE, design=zoo.Design(width=width, stem_stride=1, normalization="batch")
        )
        file = folder / f"mobilenet_v1-flies-{width}.weights.h5"
        model.save_weights(file)
        card = {
            "model": "mobilenet_v1",
            "weights": "flies",
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "design": {"width": width, "stem_stride": 1},
            "input_shape": SHAPE,
            "classes": CLASSES,
            "parameters": model.count_params(),
        }
        (folder / f"mobilenet_v1-flies-{width}.json").write_text(json.dumps(card))
        models[width] = model
    return folder, models


@pytest.fixture
def pretrained(flies, monkeypatch):
    """The two, in place of what the package has."""
    folder, models = flies
    monkeypatch.setattr(shipped, "FOLDER", folder)
    shipped.cards.cache_clear()
    yield models
    shipped.cards.cache_clear()


IMAGES = np.random.default_rng(0).uniform(0, 255, (2, *SHAPE)).astype("float32")


def same(one, other):
    np.testing.assert_allclose(one.predict(IMAGES, verbose=0), other.predict(IMAGES, verbose=0), atol=1e-5)


@pytest.mark.parametrize(("design", "width"), [(None, 0.25), (zoo.Design(width=0.125), 0.125)])
def test_the_name_alone_gives_size_classes_and_design(pretrained, design, width):
    model = zoo.create("mobilenet_v1", weights="flies", design=design)
    assert model.input_shape == (None, *SHAPE)
    assert zoo.class_names(model) == CLASSES
    same(model, pretrained[width])


def test_other_classes_and_sizes_get_a_new_head(pretrained, capsys):
    model = zoo.create("mobilenet_v1", ["x", "y"], (48, 48, 3), weights="flies")
    assert model.output_shape == (None, 2)
    assert "initialized anew: head" in capsys.readouterr().out
    np.testing.assert_array_equal(model.get_layer("stem").kernel, pretrained[0.25].get_layer("stem").kernel)


def test_into_a_model_that_is_there_by_its_width(pretrained):
    model = zoo.create("mobilenet_v1", CLASSES, SHAPE, design=zoo.Design(width=0.125, stem_stride=1))
    assert not zoo.load_weights(model, "flies").reinitialized
    same(model, pretrained[0.125])


def test_without_weights_the_documented_size_holds():
    assert zoo.create("squeezenet_cifar").input_shape == (None, 32, 32, 3)


def test_a_changed_file_is_refused(pretrained):
    path = shipped.FOLDER / "mobilenet_v1-flies-0.25.weights.h5"
    whole = path.read_bytes()
    path.write_bytes(whole + b"x")
    with pytest.raises(ValueError, match="is not the file that its card describes"):
        zoo.create("mobilenet_v1", weights="flies")
    path.write_bytes(whole)


def test_other_widths_and_designs_are_refused(pretrained):
    with pytest.raises(ValueError, match=r"no 'flies' weights of width 0.5; expected .* one of 0.25, 0.125"):
        zoo.create("mobilenet_v1", weights="flies", design=zoo.Design(width=0.5))
    with pytest.raises(ValueError, match="normalization"):
        zoo.create("mobilenet_v1", weights="flies", design=zoo.Design(normalization="none"))


def test_they_are_listed(pretrained):
    assert zoo.info("mobilenet_v1").weights == ("imagenet", "flies")
    with pytest.raises(ValueError, match="'flies' for mobilenet_v1"):
        zoo.create("mobilenet_v2", weights="flies")
    with pytest.raises(ValueError, match=r"no weights named 'x' .* mobilenet_v1-flies-0.25, mobilenet_v1-flies-0.125"):
        shipped.named("x")


@pytest.mark.parametrize("card", shipped.cards(), ids=shipped.stem)
def test_what_the_package_has(card):
    """Every file is its card's, small, in half precision, and gives a model that answers."""
    file = shipped.path(card)
    assert file.stat().st_size == card["bytes"] <= 5_000_000
    model = zoo.create(card["model"], weights=card["weights"], design=shipped.design(card))
    assert zoo.class_names(model) == card["classes"]
    assert model.input_shape == (None, *card["input_shape"])
    assert model.count_params() == card["parameters"]
    kernels = [weight for weight in model.weights if len(weight.shape) == 4]
    assert kernels
    for kernel in map(keras.ops.convert_to_numpy, kernels):
        np.testing.assert_array_equal(kernel, kernel.astype("float16"))
    assert np.isfinite(model.predict(np.zeros((1, *card["input_shape"])), verbose=0)).all()


@pytest.mark.parametrize("by", ["name", "file"])
def test_classes_keep_their_weights_in_any_order(by, pretrained, capsys):
    """The head belongs to the classes, not to their places; of other classes it is new, and that is said."""
    source = pretrained[0.25]
    weights = "flies" if by == "name" else shipped.FOLDER / "mobilenet_v1-flies-0.25.weights.h5"
    design = zoo.Design(width=0.25, stem_stride=1, normalization="batch")
    kernel, bias = source.get_layer("head").get_weights()
    for classes, order in ((CLASSES[::-1], [2, 1, 0]), (["bee", "ant", "wasp"], [1, 0, 2]), (3, [0, 1, 2])):
        head = zoo.create("mobilenet_v1", classes, SHAPE, weights=weights, design=design).get_layer("head")
        np.testing.assert_array_equal(head.get_weights()[0], kernel[..., order])
        np.testing.assert_array_equal(head.get_weights()[1], bias[order])
    assert not capsys.readouterr().out
    other = zoo.create("mobilenet_v1", ["ant", "bee", "moth"], SHAPE, weights=weights, design=design)
    assert "initialized anew: head" in capsys.readouterr().out
    assert not np.any(np.isclose(other.get_layer("head").get_weights()[0], kernel))
    np.testing.assert_array_equal(other.get_layer("stem").get_weights()[0], source.get_layer("stem").get_weights()[0])


def test_all_of_them_together_are_small():
    assert sum(card["bytes"] for card in shipped.cards()) <= 25_000_000
