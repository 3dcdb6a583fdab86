import keras
import numpy as np
import pytest
from harness import BACKEND, SEGMENTATION, draw, numpy, unlisted
from tools.pin_layers import pin, read

import convcraft
from convcraft import zoo

LAYERS = read()
# facts.md 10.1 and 10.3: trainable parameters; batch normalization adds two statistics a channel to the total
PARAMETERS = {
    "alexnet_2012": 60_965_224,
    "alexnet": 61_100_840,
    "alexnet_cifar": 2_472_266,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "vgg_cifar": 14_728_266,
    "nin": 7_595_176,
    "nin_cifar": 966_986,
    "all_cnn_a": 1_254_250,  # those of A and B and of the plain network: added up from the layers, see their tests
    "all_cnn_b": 1_300_618,
    "all_cnn_c": 1_369_738,
    "plain_cnn": 390_986,
    "googlenet": 6_998_552,
    "googlenet_bn": 7_005_832,
    "googlenet_cifar": 5_983_402,  # of googlenet_bn, less 40 x 3 x 64 in the stem and 990 classes
    "inception_v3": 23_817_352,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v1_cifar": 3_217_226,  # those of the small forms: less 990 classes
    "mobilenet_v2": 3_504_872,
    "mobilenet_v2_cifar": 2_236_682,
    "mobilenet_v3_small": 2_542_856,
    "mobilenet_v3_small_cifar": 1_528_106,
    "mobilenet_v3_large": 5_483_032,
    "mobilenet_v3_large_cifar": 4_214_842,
    "fractalnet20": 33_724_618,
    "fractalnet40": 76_106_634,
    "fof": 38_519_370,
    "sbn": 38_519_370,
    "tsn": 38_519_370,
    "maxout_cifar": 16_247_830,  # this one and the next: added up from the layers, see their tests
    "competitive_cifar": 4_480_424,
    "fcn32s": 134_346_581,
    "fcn16s": 134_357_354,
    "fcn8s": 134_362_751,
    "water_unet": 37_200_150,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
    "squeezenet_cifar": 727_626,
    "resnet20_cifar": 269_722,
    "resnet32_cifar": 464_154,
    "resnet44_cifar": 658_586,
    "resnet56_cifar": 853_018,
    "resnet110_cifar": 1_727_962,
    "resnet20_cifar_v2": 269_722,
    "resnet32_cifar_v2": 464_154,
    "resnet44_cifar_v2": 658_586,
    "resnet56_cifar_v2": 853_018,
    "resnet110_cifar_v2": 1_727_962,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet50_v1": 25_583_592,
    "resnet101_v1": 44_601_832,
    "resnet152_v1": 60_268_520,
    "resnet50_v2": 25_568_360,
    "resnet101_v2": 44_577_896,
    "resnet152_v2": 60_236_904,
    "resnet_in_resnet": 9_492_980,
    "wide_resnet28_10": 36_479_194,
    "wide_resnet16_4": 2_748_890,
}
PROJECTED = {
    "resnet20_cifar": 272_474,
    "resnet32_cifar": 466_906,
    "resnet44_cifar": 661_338,
    "resnet56_cifar": 855_770,
    "resnet110_cifar": 1_730_714,
}
SIX_N_PLUS_TWO = [f"resnet{depth}_cifar{version}" for depth in (20, 32, 44, 56, 110) for version in ("", "_v2")]
DEEP = ("resnet32_cifar", "resnet44_cifar", "resnet56_cifar", "resnet110_cifar")
# One model a family and its side of the image, for what takes training; the others' turn comes in the slow run.
SMALL = {
    "squeezenet_cifar": 16,
    "resnet20_cifar": 16,
    "alexnet_cifar": 32,
    "vgg_cifar": 32,
    "nin_cifar": 16,
    "all_cnn_c": 16,
    "plain_cnn": 16,
    "mobilenet_v1_cifar": 16,
    "competitive_cifar": 16,
}
# The same, in the slow run only.
LARGER = {
    "resnet20_cifar_v2": 16,
    "resnet_in_resnet": 16,
    "wide_resnet16_4": 16,
    "resnet18": 64,
    "resnet50": 64,
    "resnet50_v1": 64,
    "resnet50_v2": 64,
    "mobilenet_v2_cifar": 16,
    "mobilenet_v3_small_cifar": 16,
    "mobilenet_v3_large_cifar": 16,
    "googlenet": 64,
    "googlenet_cifar": 16,
    "inception_v3": 139,
    "maxout_cifar": 32,
}
QUICK = {
    *SMALL,
    "resnet20_cifar_v2",
    "wide_resnet16_4",
    "squeezenet1_0",
    "squeezenet1_1",
    "all_cnn_a",
    "all_cnn_b",
    "nin",
}


LARGER |= {name: min(64, zoo.info(name).input_shape[0]) for name in unlisted({**SMALL, **LARGER})}
SIZES = {**SMALL, **LARGER}
one_a_family = pytest.mark.parametrize("name", [*SMALL, *(pytest.param(n, marks=pytest.mark.slow) for n in LARGER)])


def every_model(but=(), leave=()):
    """All models but those to `leave`; those that are neither quick nor in `but` run in the slow run only."""
    slow = [name for name in zoo.list_models() if name not in QUICK and name not in but]
    names = [name for name in zoo.list_models() if name not in leave]
    return pytest.mark.parametrize(
        "name", [pytest.param(n, marks=[pytest.mark.slow] if n in slow else []) for n in names]
    )


# of the channels of all convolutions
STATISTICS = {"vgg11_bn": 5_504, "vgg13_bn": 5_888, "vgg16_bn": 8_448, "vgg19_bn": 11_008, "vgg_cifar": 8_448}
# facts.md: Keras's total less what is trainable
STATISTICS |= {"googlenet_bn": 14_560, "googlenet_cifar": 14_560, "inception_v3": 34_432}
STATISTICS |= {"competitive_cifar": 7_592, "water_unet": 10_906}
STATISTICS |= {f"mobilenet_v1{form}": 21_888 for form in ("", "_cifar")}
STATISTICS |= {f"mobilenet_v2{form}": 34_112 for form in ("", "_cifar")}
STATISTICS |= {f"mobilenet_v3_{form}": 12_112 for form in ("small", "small_cifar")}
STATISTICS |= {f"mobilenet_v3_{form}": 24_400 for form in ("large", "large_cifar")}


def statistics(name, projected=False):
    """Moving means and variances: of a CIFAR ResNet one normalization a convolution. None: tested elsewhere."""
    if name.startswith(("resnet", "wide", "fractalnet", "fof", "sbn", "tsn")) and name not in SIX_N_PLUS_TWO:
        return None
    if not name.startswith("resnet"):
        return STATISTICS.get(name, 0)
    blocks = (int(name.removeprefix("resnet").partition("_")[0]) - 2) // 6
    channels = 16 + 2 * blocks * (16 + 32 + 64) + (32 + 64 if projected else 0)
    return 2 * channels


def test_published_counts_are_of_our_models():
    assert set(PARAMETERS) <= set(zoo.list_models())


@every_model(but=(*DEEP, "alexnet_2012", "vgg16", "water_unet"))
def test_parameter_counts(name):
    if name not in PARAMETERS:
        pytest.skip("no count to compare with: put the published one into PARAMETERS")
    info = zoo.info(name)
    assert info.parameters == PARAMETERS[name]
    if statistics(name) is not None:
        assert info.total == PARAMETERS[name] + statistics(name)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in DEEP else []) for n in PROJECTED])
def test_parameter_counts_with_projections(name):
    model = zoo.create(name, shortcut="B")
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == PROJECTED[name]
    assert model.count_params() == PROJECTED[name] + statistics(name, projected=True)


@pytest.mark.parametrize("name, count", [("squeezenet1_1", 727_626), ("squeezenet1_0", 740_554)])
def test_ten_classes(name, count):
    assert zoo.create(name, classes=10).count_params() == count


@every_model(leave=SEGMENTATION)
def test_layers(name):
    model = zoo.create(name)
    info = zoo.info(name)
    assert type(model) is convcraft.Model
    assert model.name == name
    assert model.input_shape == (None, *info.input_shape) and model.output_shape == (None, info.classes)
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)
    assert names == [layer.name for layer in zoo.create(name).layers], "a second model has the same names"
    assert names[0] == "images" and "preprocess" in names[1:3]
    assert "stem" in names[2] or name in zoo.list_models("fractalnet*") + ["fof", "sbn", "tsn"]  # which have none
    assert names[-1] == "class_names" and "head" in names
    assert zoo.class_names(model) == [str(number) for number in range(info.classes)]
    if name in LAYERS:  # weights are found by these names: a change breaks files that users have
        assert pin(model) == LAYERS[name], names


@every_model(leave=SEGMENTATION)
def test_unknown_size_gives_the_same_at_the_documented_size(name, randomize):
    size = zoo.info(name).input_shape[0]
    fixed = randomize(zoo.create(name, classes=7))
    free = zoo.create(name, classes=7, input_shape=(None, None, 3))
    assert free.input_shape == (None, None, None, 3)
    # where the network flattens, its dense layers' matrices become kernels
    free.set_weights([w.reshape(v.shape) for w, v in zip(fixed.get_weights(), free.weights, strict=True)])
    x = draw((2, size, size, 3), low=0, high=255)
    y = numpy(fixed(x, training=False))
    assert y.std() > 1e-2
    np.testing.assert_allclose(numpy(free(x, training=False)), y, rtol=1e-5, atol=1e-5 * max(1, np.abs(y).max()))
    larger = numpy(free(draw((1, size + 9, size + 4, 3), low=0, high=255), training=False))
    assert larger.shape == (1, 7) and np.isfinite(larger).all()


@one_a_family
def test_images_are_raw_integers(name, randomize):
    size = max(32, SIZES[name])
    model = randomize(zoo.create(name, input_shape=(size, size, 3)))
    x = draw((2, size, size, 3), "uint8", 0, 255)
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(x.astype("float32"), verbose=0))
    if name not in PARAMETERS:
        return  # what the paper subtracts is not known here
    features = keras.Model(model.input, model.get_layer("preprocess").output)
    range_of = numpy(features(np.float32([0, 255]).reshape(2, 1, 1, 1) * np.ones((1, size, size, 3), "float32")))
    mean, std = {
        "squeezenet_cifar": ([123, 117, 104], 1),
        "resnet18": ([123.675, 116.28, 103.53], np.array([58.395, 57.12, 57.375])),
        "resnet50": ([123.675, 116.28, 103.53], np.array([58.395, 57.12, 57.375])),
        "resnet50_v1": ([123.68, 116.779, 103.939], 1),
        "resnet50_v2": ([127.5, 127.5, 127.5], 127.5),
        "inception_v3": ([127.5, 127.5, 127.5], 127.5),
        "googlenet": ([123, 117, 104], 1),
        "googlenet_cifar": ([123, 117, 104], 1),
        **{n: ([127.5, 127.5, 127.5], 127.5) for n in zoo.list_models("mobilenet*")},
    }.get(name, ([125.3, 123.0, 113.9], np.array([63.0, 62.1, 66.7])))
    np.testing.assert_allclose(range_of[0, 0, 0], -np.array(mean) / std, rtol=1e-5)
    np.testing.assert_allclose(range_of[1, 0, 0], (255 - np.array(mean)) / std, rtol=1e-5)


@pytest.mark.parametrize(
    "name, size, expected",
    [  # as the authors' Caffe files compute them: rounded up, without padding at the start
        ("squeezenet1_1", 227, [113, 56, 28, 14]),
        ("squeezenet1_1", 224, [111, 55, 27, 13]),
        ("squeezenet1_0", 227, [111, 55, 27, 13]),
        ("squeezenet1_0", 224, [109, 54, 27, 13]),
    ],
)
def test_squeezenet_sizes(name, size, expected):
    model = zoo.create(name, input_shape=(size, size, 3))
    found = [model.get_layer(layer).output.shape[1] for layer in ("stem", "pool1", "pool2", "pool3")]
    assert found == expected


# where .01 is too much for the first steps
RATES = {"nin_cifar": 1e-3, "fof": 1e-4, "inception_v3": 1e-4, "googlenet": 1e-3, "googlenet_cifar": 1e-3}
RATES |= {"resnet50": 3e-4, "resnet50_v1": 3e-4, "resnet50_v2": 3e-4}
RATES |= {f"mobilenet_{form}_cifar": 1e-3 for form in ("v1", "v2", "v3_small", "v3_large")}


@one_a_family
def test_a_step_of_training_moves_every_variable_and_lowers_the_loss(name):
    keras.utils.set_random_seed(0)
    knobs = {"dropout": 0.0, "drop_path": 0.0, "width": 0.5}  # nothing is left out
    design = zoo.Design(**{knob: value for knob, value in knobs.items() if knob in zoo.info(name).knobs})
    whole = {"global_drop_path": 0.0} if name.startswith("fractalnet") else {}
    model = zoo.create(name, classes=3, input_shape=(SIZES[name], SIZES[name], 3), design=design, **whole)
    x, y = draw((12, SIZES[name], SIZES[name], 3), low=0, high=255), np.arange(12) % 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATES.get(name, 1e-2)), loss, jit_compile=BACKEND == "jax")
    before = [numpy(v) for v in model.trainable_variables]
    losses = [float(model.train_on_batch(x, y)) for _ in range(2)]
    still = [v.path for v, old in zip(model.trainable_variables, before, strict=True) if np.array_equal(numpy(v), old)]
    assert not still
    assert losses[1] < losses[0]


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = zoo.create("resnet20_cifar", input_shape=(8, 8, 3), design=zoo.Design(width=0.25))
    finally:
        keras.config.set_dtype_policy("float32")
    y = model(draw((2, 8, 8, 3), low=0, high=255), training=False)
    assert keras.backend.standardize_dtype(y.dtype) == "float32", "logits keep their digits"
    assert {layer.compute_dtype for layer in model.layers if layer.weights} == {"bfloat16"}
    assert {str(v.dtype) for v in model.weights} == {"float32"}
    assert np.isfinite(numpy(y)).all()
