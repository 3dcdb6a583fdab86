"""The recipes have in them what their docstrings promise, and their switches switch."""

import dataclasses
import importlib
import importlib.util
import pathlib
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from harness import draw, numpy
from PIL import Image

from convcraft import catalog, training, zoo
from convcraft.recipes import fractalnet_cifar10_freeze, googlenet_tinyimagenet, resnet50_imagenet, squeezenet_cifar10

ROOT = pathlib.Path(__file__).parents[2]
# The layers that a recipe promises, and how many at least; beside the options that make its model small
PROMISED = {
    "alexnet_tinyimagenet": ({"LocalResponseNormalization": 2, "Dropout": 2, "MaxPooling2D": 3}, {"units": 16}),
    "allcnn_cifar10": ({"Conv2D": 9, "Dropout": 3}, {"width": 0.06}),
    "competitive_cifar10": ({"Maximum": 9, "BatchNormalization": 21}, {"width": 0.06}),
    "fof_cifar10": ({"FractalJoin": 2 + 7 * 2, "Conv2D": 49}, {"width": 0.06}),
    "fractalnet_cifar10": ({"FractalJoin": 10, "FractalPath": 1, "Conv2D": 35}, {"width": 0.06}),
    "fractalnet_cifar10_freeze": ({"FreezeDropPath": 10, "Conv2D": 35}, {"width": 0.06}),
    "googlenet_tinyimagenet": ({"AuxiliaryClassifier": 2, "LocalResponseNormalization": 2}, {"width": 0.06}),
    "maxout_cifar10_elu": ({"Maxout": 1, "Dropout": 4}, {"width": 0.06}),
    "mobilenet_cifar10": ({"DepthwiseConv2D": 13}, {"width": 0.06}),
    "mobilenet_v2_imagenet": ({"DepthwiseConv2D": 17, "Add": 10}, {"width": 0.06}),
    "nin_cifar10_rrelu": ({"RReLU": 9, "Dropout": 2}, {"width": 0.06}),
    "resnet20_cifar10": ({"Add": 9, "BatchNormalization": 19}, {}),
    "resnet50_imagenet": ({"Add": 16, "Conv2D": 53}, {}),
    "resnet_in_resnet_cifar10": ({"Add": 32, "BatchNormalization": 34}, {"width": 0.06}),
    "sbn_cifar10": ({"FreezeDropPath": 1, "FractalJoin": 16}, {"width": 0.06}),
    "squeezenet_cifar10": ({"PReLU": 26, "BatchNormalization": 25, "Dropout": 1}, {}),
    "tsn_cifar10": ({"FreezeDropPath": 1, "Multiply": 1}, {"width": 0.06}),
    "vgg_cifar10": ({"Conv2D": 13, "BatchNormalization": 13, "MaxPooling2D": 5}, {"width": 0.06}),
    "wide_resnet_cifar10": ({"Add": 6, "Conv2D": 16}, {"widen": 0.25}),
}


def module(name):
    return importlib.import_module(f"convcraft.recipes.{name}")


def images(side=32, channels=3):
    return SimpleNamespace(class_names=[f"class {i}" for i in range(10)], image_shape=(side, side, channels))


def built(recipe, side=32, **options):
    return recipe.model(recipe.Config(**options), images(side))


def kinds(model):
    found: dict[str, int] = {}
    for layer in model._flatten_layers():
        found[type(layer).__name__] = found.get(type(layer).__name__, 0) + 1
    return found


@pytest.mark.parametrize("name", PROMISED)
def test_what_the_docstring_promises_is_in_the_model(name):
    layers, small = PROMISED[name]
    recipe = module(name)
    model = built(recipe, recipe.Config().image_size or 32, **small)
    found = kinds(model)
    assert {kind: min(found.get(kind, 0), least) for kind, least in layers.items()} == layers
    assert model.output_shape == (None, 10)
    assert zoo.class_names(model) == images().class_names, "the file knows its classes"
    logits = numpy(model(draw((4, *model.input_shape[1:]), low=0, high=255), training=True))
    # AlexNet with He's weights on colours of which only the mean was taken off: 400, and no loss after ten steps
    assert np.abs(logits).max() < 25, "the first loss is near that of a guess"


@pytest.mark.parametrize("name", PROMISED)
def test_defaults_hold_together(name):
    """Options have help, and a recipe of the papers' time falls back on the embedded digits."""
    recipe = module(name)
    source = pathlib.Path(recipe.__file__).read_text()
    config = recipe.Config()
    training.common.check(config)
    assert config.data.endswith(" or digits") and config.preset == "recipe"
    assert len(source.splitlines()) <= 150
    own = {f.name for f in dataclasses.fields(recipe.Config)} - {f.name for f in dataclasses.fields(training.Common)}
    lines = source.splitlines()
    for option in own:
        line = next(i for i, text in enumerate(lines) if text.startswith(f"    {option}: "))
        assert lines[line - 1].startswith("    # "), f"{option} has no help"


# Which layer each switch of squeezenet_cifar10 takes out or brings in
SWITCHES = {
    "prelu": lambda off: "PReLU" not in kinds(off),
    "batch_norm": lambda off: "BatchNormalization" not in kinds(off),
    "pool_first": lambda off: [x.name for x in off.layers if "pool" in x.name] == ["pool2", "pool3", "pool"],
    "squeeze_inputs": lambda off: not np.allclose(off.get_layer("preprocess")(np.float32([[[[255, 255, 255]]]])), 1),
    "dropout": lambda off: "Dropout" not in kinds(off),
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_tip_of_squeezenet_is_a_switch(switch):
    assert not SWITCHES[switch](built(squeezenet_cifar10)) and SWITCHES[switch](
        built(squeezenet_cifar10, **{switch: False})
    )


def test_transforms_are_a_switch():
    on, off = (
        squeezenet_cifar10.data(squeezenet_cifar10.Config(data="digits", transforms=yes)) for yes in (True, False)
    )
    plain = training.data.load("digits").sources["train"]
    for data, changed in ((on, True), (off, False)):
        x, _ = next(iter(data.feed("train", batch_size=64).numpy(0)))
        original, _ = plain.batch(data.feed("train", batch_size=64).indices(0)[0])
        assert bool(np.abs(x - original).max() > 1) == changed


def test_activation_after_pooling_is_the_same_for_less():
    """Max pooling and an activation that rises commute; the activation sees a quarter of the values."""
    keras.utils.set_random_seed(0)
    first, last = (built(squeezenet_cifar10, pool_first=early) for early in (True, False))
    shapes = {weight.path: numpy(weight) for weight in last.weights}
    assert {weight.path for weight in first.weights} == set(shapes)
    for weight in first.weights:
        value = shapes[weight.path] + (0.3 if "alpha" in weight.path else 0)  # slopes of .4
        weight.assign(value)
        next(other for other in last.weights if other.path == weight.path).assign(value)
    x = draw((2, 32, 32, 3), low=0, high=255)
    np.testing.assert_allclose(numpy(first(x)), numpy(last(x)), rtol=1e-4, atol=1e-5)

    def seen(model):
        return sum(np.prod(x.input.shape[1:]) for x in model.layers if type(x).__name__ == "PReLU")

    assert seen(first) < 0.95 * seen(last)


def test_auxiliary_heads_learn_and_are_gone_at_inference():
    config = googlenet_tinyimagenet.Config(width=0.06, auxiliary=0.5)
    keras.utils.set_random_seed(0)
    model = googlenet_tinyimagenet.model(config, images(32))
    model.compile(keras.optimizers.SGD(0.1), training.loss(config), run_eagerly=True)
    x, y = draw((8, 32, 32, 3), low=0, high=255), np.arange(8) % 10
    head = model.get_layer("auxiliary1")
    before, answers = [numpy(w) for w in head.weights], numpy(model(x, training=False))
    for weight in head.weights:
        weight.assign(numpy(weight) + 1)
    np.testing.assert_array_equal(numpy(model(x, training=False)), answers)
    for weight, value in zip(head.weights, before, strict=True):
        weight.assign(value)
    loss = float(model.train_on_batch(x, y))
    assert loss > 1.5 * np.log(10), "three losses near log(10), two of which count half"
    assert any((numpy(w) != value).any() for w, value in zip(head.weights, before, strict=True))
    plain = googlenet_tinyimagenet.model(dataclasses.replace(config, auxiliary=0.0), images(32))
    assert "AuxiliaryClassifier" not in kinds(plain)
    assert zoo.cost(plain).multiply_adds == zoo.cost(model).multiply_adds


def test_freeze_drop_path_trains_one_branch_of_each_join():
    """Of the last join's three columns one gets a gradient in a step; dropped ones are as they were."""
    recipe = fractalnet_cifar10_freeze
    config = recipe.Config(width=0.06, dropout=0.0)
    keras.utils.set_random_seed(1)
    model = recipe.model(config, images(32))
    assert {layer.interval for layer in model.layers if type(layer).__name__ == "FreezeDropPath"} == {"square"}
    model.compile(keras.optimizers.SGD(0.1), training.loss(config), run_eagerly=True)
    ends = [model.get_layer(f"block5_row{row}_column{column}") for row, column in ((4, 0), (4, 1), (4, 2))]
    x, y = draw((4, 32, 32, 3), low=0, high=255), np.arange(4)
    for _ in range(2):
        before = [numpy(layer.kernel) for layer in ends]
        model.fit(x, y, verbose=0, batch_size=4)
        moved = [bool((numpy(layer.kernel) != old).any()) for layer, old in zip(ends, before, strict=True)]
        assert sum(moved) == 1
    other = built(recipe, width=0.06, freeze="reverse")
    assert {layer.interval for layer in other.layers if type(layer).__name__ == "FreezeDropPath"} == {"reverse"}


def test_taylor_series_without_freezing_is_a_mean_of_powers():
    tsn = module("tsn_cifar10")
    found = kinds(built(tsn, width=0.06, freeze="none"))
    assert "FreezeDropPath" not in found and found["Multiply"] == 2


def test_class_folders_as_imagenet_has_them(tmp_path):
    """train/CLASS and val/CLASS, images of several sizes; crops and smoothed labels by one option each."""
    for split, count in (("train", 6), ("val", 2)):
        for label, colour in enumerate(("red", "green", "blue")):
            folder = tmp_path / split / f"n0{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (70 + 9 * i, 90 - 7 * i), colour).save(folder / f"{i}.JPEG")
    config = resnet50_imagenet.Config(data=str(tmp_path), image_size=64, batch_size=5, label_smoothing=0.1)
    data = resnet50_imagenet.data(config)
    assert data.image_shape == (64, 64, 3) and data.class_names == ["n00", "n01", "n02"]
    assert sum(data.counts["test"].values()) == 6  # val is ImageNet's test set
    x, y = next(iter(data.feed("train").numpy()))
    assert x.shape == (5, 64, 64, 3) and (x[:, 32, 32].argmax(-1) == y).all()
    logits = np.float32([[2, 0.5, -1]])
    q = np.exp(logits) / np.exp(logits).sum()
    expected = -(np.float32([[0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3]]) * np.log(q)).sum()
    found = float(training.loss(config, label_smoothing=config.label_smoothing)(np.array([0]), logits))
    assert abs(found - expected) < 1e-5
    assert resnet50_imagenet.data(resnet50_imagenet.Config(data="digits")).image_shape == (32, 32, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROMISED)
def test_the_modern_preset_trains_each(name):
    """Mixed labels, averaged weights and the cosine: two steps of each recipe, small."""
    recipe = module(name)
    config = recipe.Config(data="digits", preset="modern", batch_size=8, **PROMISED[name][1])
    data = recipe.data(config)
    model = recipe.model(config, data)
    optimizer = training.optimizer(config, steps=2)
    assert optimizer.use_ema
    model.compile(optimizer, training.loss(config), weighted_metrics=["accuracy"])
    history = model.fit(data.train, steps_per_epoch=2, epochs=1, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"][0])


def documents():
    spec = importlib.util.spec_from_file_location("recipes_page", ROOT / "docs/recipes.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_page_names_every_recipe_and_its_layers():
    """`python docs/recipes.py` makes docs/recipes.md anew."""
    script = documents()
    rows = {row.split("`")[1]: row for row in script.PAGE.read_text().splitlines() if row.startswith("| [`")}
    assert set(rows) == set(catalog.entries("recipe"))
    for name, row in rows.items():
        missing = [layer for layer in script.named_layers(name) if f"`{layer}`" not in row]
        assert not missing and script.field(name, "Teaches") in row


@pytest.mark.slow
def test_the_page_is_what_its_script_writes():
    script = documents()
    assert script.page() == script.PAGE.read_text()
