import inspect
import json
import pathlib
import pickle
import pkgutil

import keras
import numpy as np
import pytest
from harness import SEGMENTATION, draw, numpy, python, unlisted

import convcraft
from convcraft import zoo
from convcraft.zoo import Design, index, registry, shipped

SMALL = {"input_shape": (16, 16, 3), "design": Design(width=0.25)}
SLOW = [
    *("resnet20_cifar_v2", "resnet_in_resnet", "wide_resnet16_4", "resnet18", "resnet50_v1", "resnet50_v2"),
    *("mobilenet_v1_cifar", "mobilenet_v2_cifar", "mobilenet_v3_small_cifar", "googlenet_cifar"),
    *("alexnet_cifar", "vgg_cifar", "nin_cifar", "all_cnn_c", "plain_cnn", "fractalnet20", "fof"),
    *("maxout_cifar", "competitive_cifar", "fcn8s", "water_unet"),
]
LARGE = {"inception_v3": 80}  # less than 75 pixels leave nothing
NEW = unlisted([*SLOW, *LARGE, "squeezenet_cifar", "resnet20_cifar"])
SLOW += [*LARGE, *NEW]
FAMILIES = ["squeezenet_cifar", "resnet20_cifar", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def small(name):
    """SMALL, or for what strides more the next size."""
    new = min(64, zoo.info(name).input_shape[0]) if name in NEW else 16
    size = LARGE.get(name, 32 if name.startswith(("alexnet", "vgg", "fof")) else new)
    return {**SMALL, "input_shape": (size, size, 3)}


# where no accuracy is known to us
UNPUBLISHED = {
    "squeezenet_cifar",
    "vgg_cifar",
    "nin",
    "all_cnn_a",
    "all_cnn_b",
    "plain_cnn",
    *(f"resnet{depth}_cifar_v2" for depth in (20, 32, 44, 56)),
}
UNPUBLISHED |= {"fractalnet40", "fof", "sbn", "tsn", "googlenet_cifar", "water_unet"}
UNPUBLISHED |= {f"mobilenet_{form}_cifar" for form in ("v1", "v2", "v3_small", "v3_large")}
BORN_SMALL = ("resnet_in_resnet", "wide_resnet", "all_cnn", "plain_cnn", "fractalnet", "fof", "sbn", "tsn")
OTHER_SIZES = {"alexnet_2012": 227, "inception_v3": 299, "water_unet": 512}
OTHER_CLASSES = {**dict.fromkeys(SEGMENTATION, 21), "water_unet": 1}


def is_small(name):
    return "_cifar" in name or name.startswith(BORN_SMALL)


def test_index_is_what_the_families_register():
    """The index is written by hand, so that it can be read without Keras."""
    for module in pkgutil.iter_modules(zoo.__path__):
        __import__(f"convcraft.zoo.{module.name}")
    assert sorted(registry._FACTS) == sorted(index.NAMES)
    for builder, module in index.BUILDERS.items():
        function = getattr(zoo, builder)
        assert (function.__name__, function.__module__) == (builder, f"convcraft.zoo.{module}")
        assert builder in zoo.__all__ and builder in dir(zoo)


def test_names_are_builders_in_lower_case():
    lower = [builder.lower() for builder in index.BUILDERS]
    assert len(set(lower)) == len(lower)
    assert list(index.NAMES) == lower == zoo.list_models()


def test_lists_without_keras():
    heavy = python(
        "import sys; from convcraft import zoo; zoo.list_models('res*')\n"
        "print([name for name in ('keras', 'tensorflow', 'jax', 'torch') if name in sys.modules])"
    )
    assert heavy.strip() == "[]"


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("squeeze*", ["squeezenet1_0", "squeezenet1_1", "squeezenet_cifar"]),
        ("*20_CIFAR", ["resnet20_cifar"]),
        ("resnet20_cifar", ["resnet20_cifar"]),
        ("resnet[12]?_*", ["resnet20_cifar", "resnet20_cifar_v2"]),
        ("vgg*_bn", ["vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"]),
        ("lenet*", []),
    ],
)
def test_list_models(pattern, expected):
    assert zoo.list_models(pattern) == expected


def test_models_with_published_weights():
    found = zoo.list_models(pretrained=True)
    assert {"vgg16", "resnet152_v2", "mobilenet_v3_small", "inception_v3", "squeezenet1_1"} <= set(found)
    assert "resnet50" not in found and zoo.list_models("squeeze*", pretrained=True) == ["squeezenet1_1"]
    files = sorted(pathlib.Path(shipped.FOLDER).glob("*.weights.h5"))
    ours = {tuple(file.name.removesuffix(".weights.h5").split("-")[:2]) for file in files}  # (model, weights)
    for name in zoo.list_models():
        known = zoo.info(name).weights
        assert bool(known) == (name in found)
        assert {weights for weights in known if weights != "imagenet"} == {own for model, own in ours if model == name}


@pytest.mark.parametrize("function", [zoo.create, zoo.info])
@pytest.mark.parametrize(
    "name, hint",
    [
        ("resnet_20_cifar", "did you mean 'resnet20_cifar'"),
        ("squeezenet11", "did you mean 'squeezenet1_1'"),
        ("SqueezeNet-CIFAR", "did you mean 'squeezenet_cifar'"),
        ("zzz", "Expected one of: .*resnet20_cifar.*squeezenet_cifar"),
        ("", "Expected one of"),
    ],
)
def test_unknown_names_suggest_the_nearest(function, name, hint):
    with pytest.raises(ValueError, match=f"There is no model named '{name}'.*{hint}"):
        function(name)


@pytest.mark.parametrize("name", zoo.list_models())
def test_info(name):
    info = zoo.info(name.upper())
    assert info.name == name
    assert info.source and 1980 <= info.year <= 2026
    assert set(info.knobs) <= set(Design.__dataclass_fields__)
    assert info.summary.endswith(".")
    assert info.input_shape == (info.input_shape[0], info.input_shape[0], 6 if name == "water_unet" else 3)
    if name in NEW:  # of the family's own file is known what it says itself
        return
    assert ("arXiv" in info.source or name == "water_unet") and info.year >= 2012
    assert info.classes == (10 if is_small(name) else OTHER_CLASSES.get(name, 1000))
    assert info.input_shape[0] == (32 if is_small(name) else OTHER_SIZES.get(name, 224))
    assert (info.published is None) == (name in UNPUBLISHED)
    assert info.deviations


@pytest.mark.parametrize("name", zoo.list_models())
def test_builders_say_what_they_take(name):
    builder = getattr(zoo, index.NAMES[name])
    parameters = inspect.signature(builder).parameters
    assert list(parameters) == ["classes", "input_shape", "weights", "head", "design", "name", "options"]
    info = zoo.info(name)
    assert parameters["classes"].default == info.classes and parameters["input_shape"].default == info.input_shape
    keywords = {p for p, value in parameters.items() if value.kind is value.KEYWORD_ONLY}
    assert keywords == {"weights", "head", "design", "name"}
    text = inspect.getdoc(builder)
    assert text.startswith(info.summary) and name in text and info.source in text
    for word in [*info.knobs, *registry.HEADS, *list(parameters)[:-1]]:
        assert word in text, word
    assert ("shortcut='A'" in text) == (name.startswith("resnet") and "_cifar" in name)
    assert pickle.loads(pickle.dumps(builder)) is builder


@pytest.mark.parametrize("name", FAMILIES)
def test_create_is_the_builder(name, randomize):
    one = zoo.create(name.upper(), classes=["a", "b"], name="mine", **small(name))
    other = getattr(zoo, index.NAMES[name])(["a", "b"], name="mine", **small(name))
    assert isinstance(one, convcraft.Model) and one.name == other.name == "mine"
    assert one.get_config() == other.get_config()
    assert zoo.class_names(one) == ["a", "b"] == zoo.class_names(zoo.create(name, classes=("a", "b"), **small(name)))


def test_class_names_of_other_models():
    inputs = keras.Input((3,))
    assert zoo.class_names(keras.Model(inputs, keras.layers.Dense(2)(inputs))) is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"classes": 0}, "classes to be at least 1, received 0"),
        ({"classes": -3}, "classes"),
        ({"classes": True}, "classes to be a number or a list of names, received True"),
        ({"classes": 2.0}, "classes"),
        ({"classes": "ant"}, "classes to be a number or a list of names, received 'ant'"),
        ({"classes": []}, "classes .*empty list"),
        ({"classes": ["ant", "bee", "ant"]}, "each name once, received .*ant"),
        ({"classes": [1, 2]}, "list of strings"),
        ({"head": "sigmoid"}, "head to be one of softmax, multilabel, regression, none, received 'sigmoid'"),
        ({"head": None}, "head"),
        ({"input_shape": (32, 32)}, r"input_shape to be \(height, width, channels\), .*received \(32, 32\)"),
        ({"input_shape": 32}, "input_shape .*received 32"),
        ({"input_shape": (32, 32, None)}, "input_shape"),
        ({"input_shape": (32, 0, 3)}, "input_shape"),
        ({"input_shape": (32, -1, 3)}, "input_shape"),
        ({"input_shape": (32.0, 32, 3)}, "input_shape"),
        ({"input_shape": (1, 32, 32, 3)}, "input_shape"),
        ({"design": {"width": 2}}, "design to be None or a zoo.Design, received {'width': 2}"),
        ({"weights": "imagenet"}, "resnet20_cifar: expected weights to be .*received 'imagenet'. There are .*vgg16"),
        ({"weights": "model.bmp"}, "file that ends in .weights.h5, .*received 'model.bmp'"),
        ({"shortcut": "C"}, "shortcut 'A' or 'B', received 'C'"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        zoo.create("resnet20_cifar", **arguments)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="colour"):
        zoo.create("resnet20_cifar", colour="red")
    with pytest.raises(TypeError, match="shortcut"):
        zoo.create("squeezenet_cifar", shortcut="B")


@pytest.mark.parametrize(
    "name, smallest",
    [
        ("squeezenet1_1", 17),
        ("squeezenet1_0", 21),
        ("squeezenet_cifar", 4),
        ("resnet20_cifar", 1),
        ("alexnet_cifar", 29),
        ("vgg_cifar", 32),
        ("nin", 39),
        ("nin_cifar", 2),
        ("all_cnn_c", 1),
        ("plain_cnn", 1),
    ],
)
def test_smallest_images(name, smallest):
    y = zoo.create(name, classes=2, input_shape=(smallest, smallest, 3))(draw((1, smallest, smallest, 3)))
    assert np.isfinite(numpy(y)).all()
    for size in {smallest - 1, 8, 1}:
        if 0 < size < smallest:
            message = rf"{name}: expected larger images, received input_shape=\({size}, 99, 3\).*documented size is"
            with pytest.raises(ValueError, match=message):
                zoo.create(name, classes=2, input_shape=(size, 99, 3))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere empty images give NaN")
@pytest.mark.parametrize("name", ["squeezenet1_1", "squeezenet1_0"])
def test_smaller_images_are_refused_where_the_size_is_open(name):
    with pytest.raises(Exception, match="CeilMaxPooling2D"):
        zoo.create(name, classes=2, input_shape=(None, None, 3))(np.zeros((1, 8, 8, 3), "float32"))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("compiled", [False, True])
def test_weights_come_back_exactly(name, compiled, randomize, tmp_path):
    model = randomize(zoo.create(name, classes=3, **small(name)))
    if compiled:  # the optimizer's state is in the file, and no concern of ours
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
    path = tmp_path / "w.weights.h5"
    model.save_weights(path)
    again = zoo.create(name, classes=3, weights=path, **small(name))
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # names of classes are not weights; a str is as good as a path
    assert zoo.class_names(zoo.create(name, classes=["a", "b", "c"], weights=str(path), **small(name))) == [
        "a",
        "b",
        "c",
    ]


OTHER = {
    "another family": ("squeezenet_cifar", {}),
    "a deeper one": ("resnet32_cifar", {}),
    "another shortcut": ("resnet20_cifar", {"shortcut": "B"}),
    "another width": ("resnet20_cifar", {"design": Design(width=0.5)}),
    "another normalization": ("resnet20_cifar", {"design": Design(width=0.25, normalization="group")}),
    "slopes besides": ("resnet20_cifar", {"design": Design(width=0.25, activation="prelu")}),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weights of a resnet20_cifar."""
    path = tmp_path_factory.mktemp("weights") / "ours.weights.h5"
    zoo.create("resnet20_cifar", classes=3, **SMALL).save_weights(path)
    return path


@pytest.mark.parametrize("case", OTHER)
def test_weights_do_not_go_into_another_model(case, weights):
    name, changed = OTHER[case]
    with pytest.raises(ValueError, match=f"ours.weights.h5' (has more|lacks what|does not fit).* {name}.*design"):
        zoo.create(name, **{"classes": 3, "weights": weights, **SMALL, **changed})


def test_weights_with_more_than_the_model_takes_are_refused(tmp_path):
    path = tmp_path / "w.weights.h5"
    zoo.create("resnet20_cifar", input_shape=(16, 16, 3), design=OTHER["slopes besides"][1]["design"]).save_weights(
        path
    )
    with pytest.raises(ValueError, match="w.weights.h5' has more than resnet20_cifar takes: stem_act, .* design"):
        zoo.create("resnet20_cifar", weights=path, **SMALL)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.weights.h5"):
        zoo.create("resnet20_cifar", weights=tmp_path / "nowhere.weights.h5")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_saved_model_is_whole(name, randomize, fresh_process, tmp_path):
    design = Design(width=0.25, activation="maxout", normalization="batch", preprocessing="standardize")
    model = randomize(
        zoo.create(name, classes=["ant", "bee", "sea lion"], input_shape=small(name)["input_shape"], design=design)
    )
    x = draw((4, *small(name)["input_shape"]), low=0, high=255)
    expected = model.predict(x, verbose=0)
    assert expected.std() > 1e-2
    y, configs = fresh_process.predict(model, x, tmp_path)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert configs[-1]["names"] == ["ant", "bee", "sea lion"]
    assert configs == json.loads(json.dumps([layer.get_config() for layer in model.layers[1:]], default=str))
    again = convcraft.load_model(tmp_path / "m.keras")
    assert type(again) is convcraft.Model and zoo.class_names(again) == ["ant", "bee", "sea lion"]
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("head", ["softmax", "multilabel", "regression"])
def test_replace_head(name, head, randomize):
    model = randomize(zoo.create(name, classes=4, head=head, **small(name)))
    first = next(layer for layer in model.layers if layer.weights).name
    model.get_layer(first).trainable = False
    fine = zoo.replace_head(model, ["ant", "bee"])
    assert type(fine) is convcraft.Model and fine.output_shape[-1] == 2 and model.output_shape[-1] == 4
    assert fine.output_shape[:-1] == model.output_shape[:-1]
    new = [la.name for la in model.layers if la.name in ("head", "head_norm") or la.name.startswith("score")]
    assert fine.get_layer(first) is model.get_layer(first) and not fine.get_layer(first).trainable
    assert new and all(fine.get_layer(n) is not model.get_layer(n) and fine.get_layer(n).trainable for n in new)
    assert [layer.name for layer in fine.layers] == [layer.name for layer in model.layers]
    if head != "regression":
        assert zoo.class_names(fine) == ["ant", "bee"] and zoo.class_names(model) == ["0", "1", "2", "3"]
    for layer in new:
        fine.get_layer(layer).set_weights([w[..., :2] for w in model.get_layer(layer).get_weights()])
    x = draw((2, *small(name)["input_shape"]), low=0, high=255)
    np.testing.assert_allclose(numpy(fine(x, training=False)), numpy(model(x, training=False))[..., :2], rtol=1e-5)


def test_replace_head_needs_a_head():
    with pytest.raises(ValueError, match="replace_head: expected a zoo model with a layer named 'head'"):
        zoo.replace_head(zoo.create("resnet20_cifar", head="none", **SMALL), 3)
