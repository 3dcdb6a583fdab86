import hashlib

import keras
import numpy as np
import pytest
from harness import BACKEND, draw, numpy

import convcraft
from convcraft import zoo

# facts.md 10.1 and 10.3: trainable parameters; batch normalization adds two statistics a channel to the total
PARAMETERS = {
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
    "squeezenet_cifar": 727_626,
    "resnet20_cifar": 269_722,
    "resnet32_cifar": 464_154,
    "resnet44_cifar": 658_586,
    "resnet56_cifar": 853_018,
    "resnet110_cifar": 1_727_962,
}
PROJECTED = {
    "resnet20_cifar": 272_474,
    "resnet32_cifar": 466_906,
    "resnet44_cifar": 661_338,
    "resnet56_cifar": 855_770,
    "resnet110_cifar": 1_730_714,
}
DEEP = ("resnet32_cifar", "resnet44_cifar", "resnet56_cifar", "resnet110_cifar")
SMALL = {"squeezenet_cifar": 16, "resnet20_cifar": 16}  # one model a family, for what takes training


def every_model(deep_is_slow=True):
    marks = [pytest.mark.slow]
    names = zoo.list_models()
    return pytest.mark.parametrize(
        "name", [pytest.param(n, marks=marks if deep_is_slow and n in DEEP else []) for n in names]
    )


def statistics(name, projected=False):
    """Moving means and variances of a CIFAR ResNet: one normalization a convolution."""
    if not name.startswith("resnet"):
        return 0
    blocks = (int(name.removeprefix("resnet").removesuffix("_cifar")) - 2) // 6
    channels = 16 + 2 * blocks * (16 + 32 + 64) + (32 + 64 if projected else 0)
    return 2 * channels


def test_every_model_has_a_published_count():
    assert set(PARAMETERS) == set(zoo.list_models())


@every_model(deep_is_slow=False)
def test_parameter_counts(name):
    info = zoo.info(name)
    assert info.parameters == PARAMETERS[name]
    assert info.total == PARAMETERS[name] + statistics(name)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in DEEP else []) for n in PROJECTED])
def test_parameter_counts_with_projections(name):
    model = zoo.create(name, shortcut="B")
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == PROJECTED[name]
    assert model.count_params() == PROJECTED[name] + statistics(name, projected=True)


@pytest.mark.parametrize("name, count", [("squeezenet1_1", 727_626), ("squeezenet1_0", 740_554)])
def test_ten_classes(name, count):
    assert zoo.create(name, classes=10).count_params() == count


@every_model()
def test_layers(name):
    model = zoo.create(name)
    info = zoo.info(name)
    assert type(model) is convcraft.Model
    assert model.name == name
    assert model.input_shape == (None, *info.input_shape) and model.output_shape == (None, info.classes)
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)
    assert names == [layer.name for layer in zoo.create(name).layers], "a second model has the same names"
    assert names[:2] == ["images", "preprocess"] and names[2].startswith("stem")
    assert names[-1] == "class_names" and "head" in names
    assert zoo.class_names(model) == [str(number) for number in range(info.classes)]


# Weights are found by these names: a change breaks files that users have.
PINNED = {
    "squeezenet_cifar": (
        67,
        "8f32c08c1bd3d229",
        ["stem", "stem_act", "fire2_squeeze"],
        ["head", "head_act", "pool", "class_names"],
    ),
    "resnet20_cifar": (
        75,
        "5bb9bab829c5ff34",
        ["stem", "stem_norm", "stem_act"],
        ["stage3_block3_act", "pool", "head", "class_names"],
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_layer_names_are_pinned(name):
    names = [layer.name for layer in zoo.create(name).layers]
    count, digest, first, last = PINNED[name]
    assert names[2:5] == first and names[-4:] == last
    assert (len(names), hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]) == (count, digest), names


@every_model()
def test_unknown_size_gives_the_same_at_the_documented_size(name, randomize):
    size = zoo.info(name).input_shape[0]
    fixed = randomize(zoo.create(name, classes=7))
    free = zoo.create(name, classes=7, input_shape=(None, None, 3))
    assert free.input_shape == (None, None, None, 3)
    free.set_weights(fixed.get_weights())
    x = draw((2, size, size, 3), low=0, high=255)
    y = numpy(fixed(x, training=False))
    assert y.std() > 1e-2
    np.testing.assert_allclose(numpy(free(x, training=False)), y, rtol=1e-5, atol=1e-5)
    larger = numpy(free(draw((1, size + 9, size + 4, 3), low=0, high=255), training=False))
    assert larger.shape == (1, 7) and np.isfinite(larger).all()


@pytest.mark.parametrize("name", SMALL)
def test_images_are_raw_integers(name, randomize):
    model = randomize(zoo.create(name))
    x = draw((2, 32, 32, 3), "uint8", 0, 255)
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(x.astype("float32"), verbose=0))
    features = keras.Model(model.input, model.get_layer("preprocess").output)
    range_of = numpy(features(np.float32([0, 255]).reshape(2, 1, 1, 1) * np.ones((1, 32, 32, 3), "float32")))
    mean, std = {
        "squeezenet_cifar": ([123, 117, 104], 1),
        "resnet20_cifar": ([125.3, 123.0, 113.9], np.array([63.0, 62.1, 66.7])),
    }[name]
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


@pytest.mark.parametrize("name", SMALL)
def test_a_step_of_training_moves_every_variable_and_lowers_the_loss(name):
    design = zoo.Design(dropout=0.0, width=0.5)
    model = zoo.create(name, classes=3, input_shape=(SMALL[name], SMALL[name], 3), design=design)
    x, y = draw((12, SMALL[name], SMALL[name], 3), low=0, high=255), np.arange(12) % 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-2), loss, jit_compile=BACKEND == "jax")
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
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert {str(v.dtype) for v in model.weights} == {"float32"}
    assert np.isfinite(numpy(y)).all()
