"""Feature maps and embeddings: channels as published, values as the network's own layers compute them."""

import keras
import numpy as np
import pytest
from harness import SEGMENTATION, draw, numpy, unlisted

import convcraft
from convcraft import zoo
from convcraft.zoo import Design

# channels of levels 1, 2, …: of the FPN paper's backbones (C2 to C5), VGG's table 1, SqueezeNet's table 1, GoogLeNet's
# table 1, Inception V3's modules, MobileNet V2's table 2 (the expanded 6 x 24, 6 x 32, 6 x 96 before each halving)
CHANNELS = {
    "resnet18": [64, 64, 128, 256, 512],
    "resnet50": [64, 256, 512, 1024, 2048],
    "vgg16": [128, 256, 512, 512, 512],
    "squeezenet1_0": [96, 256, 512, 512],
    "googlenet": [64, 192, 480, 832, 1024],
    "inception_v3": [64, 192, 288, 768, 2048],
    "mobilenet_v2": [96, 144, 192, 576, 1280],
    "fractalnet20": [64, 128, 256, 512, 512],
    "fcn8s": [128, 256, 512, 512, 512],
}
# one model a family and the side of its image
QUICK = {"squeezenet_cifar": 16, "resnet20_cifar": 16, "vgg_cifar": 32, "nin_cifar": 16}
OTHERS = {
    "mobilenet_v3_small_cifar": 16,
    "alexnet": 224,
    "vgg11": 64,
    "googlenet_cifar": 16,
    "inception_v3": 139,
    "fractalnet20": 32,
    "fof": 32,
}
OTHERS |= {
    name: min(64, zoo.info(name).input_shape[0]) for name in unlisted({**QUICK, **OTHERS, "competitive_cifar": 0})
}
SIDES = {**QUICK, **OTHERS}
# whose borders shrink, or grow; CONTRIBUTING.md's example is the last
BORDERS = ("inception_v3", "alexnet", "maxout_cifar", "lenet5")
one_a_family = pytest.mark.parametrize("name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)])
FAST = ("resnet18", "vgg16", "squeezenet1_0")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in FAST else [pytest.mark.slow]) for n in CHANNELS])
@pytest.mark.parametrize("free", [False, True])
def test_channels_are_published_ones(name, free):
    shape = (None, None, 3) if free else (128, 128, 3)
    found = zoo.feature_levels(zoo.create(name, input_shape=(139, 139, 3) if name == "inception_v3" else shape))
    found = [level for level in found if level.level]
    assert [level.channels for level in found] == CHANNELS[name]
    assert [level.level for level in found] == list(range(1, len(found) + 1))
    assert [level.stride for level in found] == [2**level.level for level in found]


def test_the_decoder_gives_the_maps_of_an_encoder_decoder():
    layers = [level.layer for level in zoo.feature_levels(zoo.create("water_unet", input_shape=(64, 64, 3)))]
    assert layers == ["last_skip", "up1_skip", "up2_skip", "up3_skip", "up4_skip"]


@one_a_family
def test_features_are_the_networks_own_maps(name, randomize):
    side = SIDES[name]
    options = {"auxiliary": True} if name == "googlenet_cifar" else {}
    model = zoo.create(name, classes=3, input_shape=(side, side, 3), design=Design(width=0.25), **options)
    pyramid = zoo.features(model)
    assert type(pyramid) is convcraft.Model
    randomize(model)  # now: the weights are shared
    images = draw((2, side, side, 3), low=0, high=255)
    maps = {key: numpy(value) for key, value in pyramid(images, training=False).items()}
    for level in zoo.feature_levels(model):
        own = keras.Model(model.input, model.get_layer(level.layer).output)
        expected = numpy(own(images, training=False))
        np.testing.assert_array_equal(maps[f"P{level.level}"], expected)
        assert expected.std() > 1e-3 and expected.shape[-1] == level.channels
        if name not in BORDERS:
            assert expected.shape[1] == -(-side // level.stride)
    assert len(maps) == len(zoo.feature_levels(model)) > 1


@pytest.mark.slow
def test_a_pyramid_trains_and_is_saved(tmp_path):
    """An auxiliary classifier would miss its labels."""
    model = zoo.create("googlenet_cifar", input_shape=(16, 16, 3), design=Design(width=0.125), auxiliary=True)
    pyramid = zoo.features(model, [1, 2])
    x = keras.layers.GlobalAveragePooling2D()(pyramid.output["P2"])
    detector = convcraft.Model(pyramid.input, keras.layers.Dense(4)(x))
    detector.compile("sgd", "mse")
    images = draw((2, 16, 16, 3), low=0, high=255)
    detector.fit(images, np.ones((2, 4)), verbose=0)
    pyramid.save(tmp_path / "p.keras")
    again = convcraft.load_model(tmp_path / "p.keras")
    for key, value in again.predict(images, verbose=0).items():
        np.testing.assert_allclose(value, pyramid.predict(images, verbose=0)[key], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("levels", [[3], [0, 7], [], "P2", [-1]])
def test_levels_that_are_not_there_are_named(levels):
    model = zoo.create("resnet20_cifar", input_shape=(16, 16, 3))
    with pytest.raises(ValueError, match=r"features: expected levels of resnet20_cifar .* 0 \(1/1\), 1 \(1/2\), 2"):
        zoo.features(model, levels)


def test_a_model_without_maps_is_refused():
    inputs = keras.Input((4,))
    with pytest.raises(ValueError, match="features: expected a model with maps"):
        zoo.features(convcraft.Model(inputs, keras.layers.Dense(2)(inputs), name="flat"))


@one_a_family
@pytest.mark.parametrize("free", [False, True])
def test_an_embedding_times_the_classifiers_weights_is_the_output(name, free, randomize):
    """Of the regression head, where nothing lies between the classifier and the mean."""
    side = SIDES[name]
    shape = (None, None, 3) if free else (side, side, 3)
    options = {"classes": 3, "input_shape": shape, "design": Design(width=0.25)}
    if free and name in ("vgg11", "alexnet"):
        side = 224
    model = randomize(zoo.create(name, head="regression", **options))
    images = draw((3, side, side, 3), low=0, high=255)
    vectors = zoo.embed(model, images, batch_size=2)
    assert vectors.shape == (3, vectors.shape[1]) and vectors.dtype == np.float32
    kernel, *bias = model.get_layer("head").get_weights()
    expected = model.predict(images, verbose=0)
    found = vectors @ kernel.reshape(-1, 3) + (bias[0] if bias else 0)
    if not bias:  # ResNet in ResNet normalizes its logits
        gamma, beta, mean, variance = model.get_layer("head_norm").get_weights()
        found = (found - mean) / np.sqrt(variance + model.get_layer("head_norm").epsilon) * gamma + beta
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(vectors, zoo.embed(model, images.astype("float64"), batch_size=2))
    assert zoo.embed(model, images[:0]).shape == (0, vectors.shape[1])
    bare = zoo.create(name, head="none", **options)
    # a network without its head lacks the dense layers before it, too
    if not any(isinstance(layer, keras.layers.Dense) and layer.name != "head" for layer in model.layers) and (
        not name.startswith(("mobilenet_v3", "maxout"))  # whose are 1x1 convolutions, and layers of our own
    ):
        bare.set_weights(model.get_weights()[: len(bare.get_weights())])
        np.testing.assert_allclose(
            zoo.embed(bare, images), vectors, rtol=1e-4, atol=1e-4 * np.abs(vectors).max(), err_msg="head='none'"
        )


@pytest.mark.parametrize("name", [*SEGMENTATION, "competitive_cifar"])
@pytest.mark.parametrize("head", ["softmax", "none"])
def test_the_mean_of_the_last_map(name, head, randomize):
    design = Design(width=0.125, head_layers=(8, 6)) if name.startswith("fcn") else Design(width=0.25)
    model = randomize(zoo.create(name, classes=3, input_shape=(32, 32, 3), design=design, head=head))
    last = {"water_unet": "last_skip", "competitive_cifar": "block3_module2"}.get(name, "head_dense2_act")
    images = draw((2, 32, 32, 3), low=0, high=255)
    maps = keras.Model(model.input, model.get_layer(last).output).predict(images, verbose=0)
    np.testing.assert_allclose(zoo.embed(model, images), maps.mean((1, 2)), rtol=1e-4, atol=1e-4)


def test_embeddings_of_half_precision_are_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = zoo.create("resnet20_cifar", input_shape=(16, 16, 3))
    finally:
        keras.config.set_dtype_policy("float32")
    assert zoo.embed(model, np.zeros((1, 16, 16, 3), "uint8")).dtype == np.float32


@pytest.mark.parametrize("shape", [(16, 16, 3), (2, 16, 16, 1), (2, 8, 16, 3)])
def test_embed_takes_an_array_of_images(shape):
    model = zoo.create("resnet20_cifar", input_shape=(16, 16, 3))
    with pytest.raises(ValueError, match=r"embed: expected images for resnet20_cifar of shape \(n, 16, 16, 3\), rec"):
        zoo.embed(model, np.zeros(shape))
