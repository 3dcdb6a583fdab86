"""`zoo.load_weights`: what goes where, what it says, and that a mismatch changes nothing."""

import h5py
import keras
import numpy as np
import pytest
from harness import draw, numpy

from convcraft import zoo
from convcraft.zoo import Design, LoadReport

TINY = {"input_shape": (32, 32, 3), "design": Design(width=0.125, head_layers=(6, 5))}


def equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def weighty(model):
    return [layer.name for layer in model.layers if layer.weights]


def test_a_shallower_net_into_a_deeper_one(randomize):
    """Simonyan and Zisserman, section 3.1: VGG-11's layers, where VGG-16 has them, and its dense layers."""
    shallow = randomize(zoo.create("vgg11", classes=4, **TINY))
    deep = zoo.create("vgg16", classes=4, **TINY)
    before = {layer.name: layer.get_weights() for layer in deep.layers}
    report = zoo.load_weights(deep, shallow)
    new = ("stage1_conv2", "stage2_conv2", "stage3_conv3", "stage4_conv3", "stage5_conv3")
    assert report == LoadReport(tuple(weighty(shallow)), (), new)
    for layer in deep.layers:
        if layer.weights:
            kept = before[layer.name] if layer.name in new else shallow.get_layer(layer.name).get_weights()
            equal(layer.get_weights(), kept)
    # and back: what it has not is left out, and said
    assert zoo.load_weights(shallow, deep) == LoadReport(tuple(weighty(shallow)), new, ())
    with pytest.raises(ValueError, match="the model 'vgg11' lacks what vgg16 needs: stage1_conv2, stage2_conv2, … .5"):
        zoo.load_weights(deep, shallow, partial=False)
    with pytest.raises(ValueError, match="the model 'vgg16' has more than vgg11 takes: stage1_conv2"):
        zoo.load_weights(shallow, deep, partial=False)


def test_the_report_is_readable():
    report = LoadReport(("a", "b"), ("c",), ("head",), ("epsilon",))
    assert str(report).splitlines() == [
        "Weights: 2 layers loaded, 1 of the source's skipped, 1 initialized anew.",
        "  skipped: c",
        "  initialized anew: head",
        "  set: epsilon",
    ]
    assert str(LoadReport(("a",))) == "Weights: 1 layers loaded, 0 of the source's skipped, 0 initialized anew."
    assert "c, c, c, c, c, c, c, c, … (20 in all)" in str(LoadReport(("a",), ("c",) * 20))


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_files_that_keras_writes(suffix, randomize, tmp_path, capsys):
    model = randomize(zoo.create("resnet20_cifar", classes=3, shortcut="B", design=Design(width=0.25)))
    path = tmp_path / f"w{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    options = {"shortcut": "B", "design": Design(width=0.25)}
    same = zoo.create("resnet20_cifar", classes=3, weights=path, **options)
    equal(same.get_weights(), model.get_weights())
    assert capsys.readouterr().out == ""  # all is in its place
    more = zoo.create("resnet20_cifar", classes=["a", "b"], weights=str(path), name="mine", **options)
    out = capsys.readouterr().out
    assert out == (
        f"Weights: {len(weighty(model)) - 1} layers loaded, 0 of the source's skipped, 1 initialized anew.\n"
        "  initialized anew: head\n"
    )
    for name in weighty(model)[:-1]:
        equal(more.get_layer(name).get_weights(), model.get_layer(name).get_weights())
    body = zoo.create("resnet20_cifar", head="none", weights=path, **options)
    assert "  skipped: head\n" in capsys.readouterr().out and "head" not in weighty(body)
    with pytest.raises(ValueError, match=rf"{path.name}' does not fit layer 'stem' .*expected \(3, 3, 3, 8\).*width"):
        zoo.create("resnet20_cifar", classes=3, weights=path, shortcut="B", design=Design(width=0.5))


MISFITS = {
    "channels of images": ({"input_shape": (32, 32, 1)}, "layer 'stem' .* it has .3, 3, 3, 8., .* `input_shape`"),
    "width": ({"design": Design(width=0.25, head_layers=(6, 5))}, "layer 'stem' .* `width`"),
    "kernel_size": ({"design": Design(width=0.125, head_layers=(6, 5), kernel_size=5)}, "'stem' .* `kernel_size`"),
    "size of images": ({"input_shape": (64, 64, 3)}, r"layer 'head_dense1' .* \(64, 6\).*\(256, 6\).*`input_shape`"),
    "normalization": ({"design": Design(width=0.125, head_layers=(6, 5), normalization="batch")}, "lacks .* stem_norm"),
    "head_layers": ({"design": Design(width=0.125, head_layers=(6,))}, "'head' .*expected .6, 4."),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_mismatch_names_layer_shapes_and_knob(case, randomize):
    changed, message = MISFITS[case]
    source = randomize(zoo.create("vgg11", classes=4, **TINY))
    model = zoo.create("vgg11", classes=4, **{**TINY, **changed})
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        zoo.load_weights(model, source, partial=False)
    equal(before, model.get_weights())  # not even the layers that fit


def test_dense_layers_as_convolutions_and_back(randomize, tmp_path):
    """Of VGG at a fixed size, in one of open size; the FCN's, too, are the same weights."""
    design = Design(width=0.125, head_layers=(6, 5))
    fixed = randomize(zoo.create("vgg11", classes=4, design=design))
    fixed.save_weights(tmp_path / "w.weights.h5")
    free = zoo.create("vgg11", classes=4, input_shape=(None, None, 3), design=design, weights=tmp_path / "w.weights.h5")
    assert free.get_layer("head_dense1").kernel.shape == (7, 7, 64, 6)
    x = draw((2, 224, 224, 3), low=0, high=255)
    np.testing.assert_allclose(numpy(free(x)), numpy(fixed(x)), rtol=1e-4, atol=1e-4)
    deep = randomize(zoo.create("vgg16", classes=4, design=design))
    fcn = zoo.create("fcn16s", classes=2, input_shape=(64, 64, 3), design=design)
    report = zoo.load_weights(fcn, deep)
    assert report.skipped == ("head",) and report.reinitialized == ("score", "score_pool4")
    kernel = deep.get_layer("head_dense1").get_weights()[0]
    np.testing.assert_array_equal(fcn.get_layer("head_dense1").get_weights()[0], kernel.reshape(7, 7, 64, 6))
    again = zoo.create("vgg11", classes=4, design=design)
    zoo.load_weights(again, free)
    equal(again.get_weights(), fixed.get_weights())


def test_settings_travel_with_a_model(randomize, tmp_path):
    """A converted network's colours and epsilon are in no array."""
    source = randomize(zoo.create("resnet20_cifar", design=Design(width=0.25)))
    source.get_layer("preprocess").scale, source.get_layer("preprocess").offset = [0.1, 0.2, 0.3], [1.0, 2.0, 3.0]
    for layer in source.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = 0.1
    source.save(tmp_path / "m.keras")
    x = draw((2, 32, 32, 3), low=0, high=9)
    for origin in (source, tmp_path / "m.keras"):
        model = zoo.create("resnet20_cifar", design=Design(width=0.25))
        assert np.abs(model.predict(x, verbose=0) - numpy(source(x, training=False))).max() > 1e-2
        report = zoo.load_weights(model, origin)
        assert report.settings[0].startswith("preprocess to images * (0.1, 0.2, 0.3) + (1, 2, 3)")
        assert report.settings[1] == "epsilon of the normalizations to 0.1"
        np.testing.assert_allclose(model.predict(x, verbose=0), numpy(source(x, training=False)), rtol=1e-4, atol=1e-5)
    bare = zoo.create("resnet20_cifar", design=Design(width=0.25, preprocessing="none"))
    assert "nothing before the stem: feed it images * (0.1" in str(zoo.load_weights(bare, source))


def test_models_of_keras_applications(randomize):
    """By order, without its classifier; VGG and ResNet v1 read blue, green, red."""
    theirs = randomize(
        keras.applications.MobileNet(weights=None, alpha=0.25, input_shape=(32, 32, 3), include_top=False)
    )
    ours = zoo.create("mobilenet_v1", classes=2, input_shape=(32, 32, 3), design=Design(width=0.25))
    assert zoo.load_weights(ours, theirs).reinitialized == ("head",)
    x = draw((2, 32, 32, 3), low=0, high=255)
    expected = numpy(theirs(x / 127.5 - 1, training=False))
    body = keras.Model(ours.input, ours.get_layer("pool").input)
    np.testing.assert_allclose(numpy(body(x, training=False)), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    theirs = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), include_top=False)
    ours = zoo.create("vgg16", input_shape=(32, 32, 3), head="none")
    zoo.load_weights(ours, theirs)
    kernel = theirs.get_layer("block1_conv1").get_weights()[0]
    np.testing.assert_array_equal(ours.get_layer("stem").get_weights()[0], kernel[:, :, ::-1])
    last = theirs.get_layer("block5_conv3").get_weights()
    equal(ours.get_layer("stage5_conv3").get_weights(), last)
    zoo.load_weights(ours, theirs, bgr=False)
    np.testing.assert_array_equal(ours.get_layer("stem").get_weights()[0], kernel)
    with pytest.raises(ValueError, match="has 13 layers with arrays, vgg19 16 and 0 in its head"):
        zoo.load_weights(zoo.create("vgg19", input_shape=(32, 32, 3), head="none"), theirs)


def test_files_by_the_alphabet_of_others_are_refused(tmp_path):
    theirs = keras.applications.MobileNet(weights=None, alpha=0.25, input_shape=(32, 32, 3))
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours = zoo.create("mobilenet_v1", input_shape=(32, 32, 3), design=Design(width=0.25))
    with pytest.raises(
        ValueError, match="by the alphabet, .* load it into its own model with Keras, and pass that model"
    ):
        zoo.load_weights(ours, tmp_path / "theirs.weights.h5")
    theirs.save(tmp_path / "theirs.keras")  # says their order
    zoo.load_weights(ours, tmp_path / "theirs.keras")
    equal(ours.get_layer("block13").get_weights(), theirs.get_layer("conv_pw_13").get_weights())


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize(
    "suffix", [".weights.h5", *[pytest.param(s, marks=pytest.mark.slow) for s in (".keras", ".h5")]]
)
def test_layers_inside_a_layer(suffix, randomize, tmp_path):
    options = {"auxiliary": True, "design": Design(width=0.125)}
    source = randomize(zoo.create("googlenet_cifar", classes=3, **options))
    path = tmp_path / f"w{suffix}"
    (source.save_weights if suffix == ".weights.h5" else source.save)(path)
    model = zoo.create("googlenet_cifar", classes=3, weights=path, **options)
    if suffix == ".h5":  # which keeps no names inside a layer
        report = zoo.load_weights(model, path)
        assert report.skipped == ("auxiliary1", "auxiliary2") and len(report.reinitialized) == 8
    else:
        equal(model.get_weights(), source.get_weights())
        other = zoo.load_weights(zoo.create("googlenet_cifar", classes=4, **options), path)
        assert other.reinitialized == ("auxiliary1/auxiliary1_logits", "auxiliary2/auxiliary2_logits", "head")


@pytest.mark.parametrize("auxiliary", [pytest.param(False, marks=pytest.mark.slow), True])
def test_auxiliary_classifiers(auxiliary, randomize, tmp_path):
    """They may be on one side only."""
    options = {"classes": 3, "design": Design(width=0.125)}
    source = randomize(zoo.create("googlenet_cifar", auxiliary=auxiliary, **options))
    source.save_weights(tmp_path / "w.weights.h5")
    model = zoo.create("googlenet_cifar", auxiliary=not auxiliary, **options)
    report = zoo.load_weights(model, tmp_path / "w.weights.h5")
    names = report.skipped if auxiliary else report.reinitialized
    assert len(names) == 8 and all(name.startswith("auxiliary") for name in names)
    assert not (report.reinitialized if auxiliary else report.skipped)


@pytest.mark.parametrize(
    "name, message",
    [
        (
            "resnet50",
            "received 'imagenet'. resnet50: use resnet50_v1, or convert PyTorch's: `convcraft convert`. There",
        ),
        ("nin", "nin: expected weights to be None, a file that ends in .*There are 'imagenet' for vgg16, vgg19"),
    ],
)
def test_models_without_published_weights(name, message):
    with pytest.raises(ValueError, match=message):
        zoo.create(name, weights="imagenet")


def test_another_name_needs_the_architecture(randomize):
    theirs = randomize(keras.applications.MobileNet(weights=None, alpha=0.25, input_shape=(32, 32, 3)))
    ours = zoo.create("mobilenet_v1", input_shape=(32, 32, 3), design=Design(width=0.25), name="mine")
    with pytest.raises(ValueError, match="are not those of mine"):
        zoo.load_weights(ours, theirs)
    assert not zoo.load_weights(ours, theirs, architecture="mobilenet_v1").reinitialized


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".h5", ".npz", ".safetensors"])
def test_files_that_are_none(suffix, tmp_path):
    model, path = zoo.create("resnet20_cifar", design=Design(width=0.25)), tmp_path / f"a{suffix}"
    with pytest.raises(FileNotFoundError, match=f"There is no file of weights .*a{suffix}"):
        zoo.load_weights(model, path)
    path.write_bytes(b"PK nothing of the kind" * 9)
    before = model.get_weights()
    with pytest.raises(ValueError, match=rf"a{suffix}'"):
        zoo.load_weights(model, path)
    equal(before, model.get_weights())
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(ValueError, match="empty.h5' is no whole .h5 file of weights: .*no layers"):
        zoo.load_weights(model, tmp_path / "empty.h5")


@pytest.mark.parametrize("source", [7, None, ["a"]])
def test_what_is_no_source(source):
    with pytest.raises(ValueError, match="resnet20_cifar: expected weights to be a path, a name or a model; received"):
        zoo.load_weights(zoo.create("resnet20_cifar", design=Design(width=0.25)), source)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in zoo.list_models() if not name.endswith(("152", "101", "_v1", "_v2"))]
)
def test_other_classes_than_the_files(name):
    """Of every network only the head depends on them."""
    try:
        one, other = (zoo.create(name, classes=number, design=Design(width=0.125)) for number in (3, 4))
    except ValueError:  # its width is fixed
        one, other = (zoo.create(name, classes=number) for number in (3, 4))
    report = zoo.load_weights(other, one, partial=False)
    assert report.reinitialized and not report.skipped
