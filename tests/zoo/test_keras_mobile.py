"""MobileNets and Inception against keras.applications: the same weights give the same logits.

Their freshly built nets give logits near zero, and any two nets agree; so weights are drawn by role, and the statistics
of the normalizations are those of images that went through.
"""

import keras
import numpy as np
import pytest
from harness import draw, numpy

from convcraft import zoo
from convcraft.zoo import Design
from convcraft.zoo.mobile import divisible, squeeze_excite

THEIRS = {
    "mobilenet_v1": keras.applications.MobileNet,
    "mobilenet_v2": keras.applications.MobileNetV2,
    "mobilenet_v3_small": keras.applications.MobileNetV3Small,
    "mobilenet_v3_large": keras.applications.MobileNetV3Large,
    "inception_v3": keras.applications.InceptionV3,
}


def weighty(model):
    """The layers that have weights, in the order of the graph."""
    return [layer for layer in model.layers if layer.weights]


def reference(name, size, width, classes=10):
    """The net of keras.applications, made informative."""
    keras.utils.set_random_seed(0)
    options = {} if name == "inception_v3" else {"alpha": width}
    net = THEIRS[name](input_shape=(*size, 3), weights=None, classes=classes, classifier_activation=None, **options)
    drawn = np.random.default_rng(1)
    for layer in weighty(net):
        normalization = isinstance(layer, keras.layers.BatchNormalization)
        if normalization:
            layer.momentum = 0.0  # the statistics are those of one batch
        for variable in layer.weights:
            shape = tuple(variable.shape)
            if variable.name == "gamma":
                value = drawn.uniform(0.5, 1.5, shape)
            elif len(shape) == 4 and isinstance(layer, keras.layers.DepthwiseConv2D):
                value = drawn.normal(0, np.sqrt(2 / np.prod(shape[:2])), shape)
            elif len(shape) > 1:
                value = drawn.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
            else:
                value = drawn.normal(0, 0.3, shape)
            variable.assign(value)
    net(images(name, size, seed=3, number=8), training=True)
    return net


def images(name, size, seed=0, number=4):
    """What keras.applications takes: MobileNet V3 squeezes by itself."""
    raw = draw((number, *size, 3), low=0, high=255, seed=seed)
    return raw if "v3_" in name else raw * np.float32(1 / 127.5) - 1


def difference(name, size, width=None, permuted=None):
    """Largest deviation of our logits from theirs, relative to the largest of theirs."""
    theirs = reference(name, size, width)
    ours = zoo.create(name, classes=10, input_shape=(*size, 3), design=Design(width=width))
    one, other = weighty(theirs), weighty(ours)
    assert len(one) == len(other)
    for source, target in zip(one, other, strict=True):
        values = [w.reshape(t.shape) for w, t in zip(source.get_weights(), target.weights, strict=True)]
        if target.name == permuted:
            values[0] = values[0][:, :, ::-1]
        target.set_weights(values)
    expected = numpy(theirs(images(name, size), training=False))
    found = numpy(ours(draw((4, *size, 3), low=0, high=255), training=False))
    assert expected.std(0).min() > 1e-3 * np.abs(expected).max(), "the reference tells images apart"
    return np.abs(found - expected).max() / np.abs(expected).max()


slow = pytest.mark.slow
CASES = [
    pytest.param("mobilenet_v1", (64, 64), 0.25),
    pytest.param("mobilenet_v2", (64, 64), 0.35, marks=slow),
    pytest.param("mobilenet_v3_small", (75, 50), 1.0),
    pytest.param("inception_v3", (75, 91), 1.0, marks=slow),
    *[
        pytest.param(name, size, width, marks=slow)
        for name in THEIRS
        for size in ((299, 299) if name == "inception_v3" else (224, 224), (97, 130))
        for width in ((1.0,) if name == "inception_v3" else (1.0, 0.5, 0.37, 1.3))
    ],
]


@pytest.mark.parametrize("name, size, width", CASES)
def test_same_logits(name, size, width):
    found = difference(name, size, width)
    print(name, size, width, found)
    assert found < 1e-4


@pytest.mark.parametrize(
    "name, layer",
    [
        ("mobilenet_v1", "block7_depthwise"),
        pytest.param("mobilenet_v2", "block9_expand", marks=slow),
        pytest.param("mobilenet_v3_small", "block7_excite_gate", marks=slow),
        pytest.param("inception_v3", "mixed6_branch2_conv2", marks=slow),
    ],
)
def test_a_permuted_kernel_shows(name, layer):
    assert difference(name, (75, 75), 1.0, permuted=layer) > 1e-3


# facts.md 10.1: all parameters as Keras counts them, by width
TOTALS = {
    "mobilenet_v1": {1: 4_253_864, 0.75: 2_601_976, 0.5: 1_342_536, 0.25: 475_544},
    "mobilenet_v2": {1: 3_538_984, 0.75: 2_663_064, 0.5: 1_987_224, 0.35: 1_691_208, 1.3: 5_431_048, 1.4: 6_156_712},
    "mobilenet_v3_small": {1: 2_554_968},
    "mobilenet_v3_large": {1: 5_507_432},
    "inception_v3": {1: 23_851_784},
}


@pytest.mark.parametrize(
    "name, width, total",
    [
        pytest.param(name, width, total, marks=[] if width in (0.25, 1.3) else slow)
        for name, totals in TOTALS.items()
        for width, total in totals.items()
    ],
)
def test_totals(name, width, total):
    assert zoo.create(name, design=Design(width=width)).count_params() == total


def test_multiples_of_eight():
    """The nearest, at least 8, and not less than nine tenths: 11 goes up to 16, 12 to 16, 35 down to 32."""
    channels = [1, 8, 8.9, 11, 12, 16.8, 20, 35, 36, 320]
    assert [divisible(number) for number in channels] == [8, 8, 16, 16, 16, 16, 24, 32, 40, 320]


def test_squeeze_and_excitation(randomize):
    inputs = keras.Input((5, 4, 6))
    model = randomize(keras.Model(inputs, squeeze_excite(inputs, 3, Design(conv="plain"), "e")))
    x = draw((2, 5, 4, 6)).astype("float64")
    (a, c), (b, d) = (model.get_layer(f"e_{name}").get_weights() for name in ("reduce", "gate"))
    factor = np.maximum(x.mean((1, 2)) @ a[0, 0] + c, 0) @ b[0, 0] + d
    expected = x * np.clip(factor / 6 + 0.5, 0, 1)[:, None, None]
    assert np.std(factor) > 0.1
    np.testing.assert_allclose(numpy(model(x)), expected, rtol=1e-4, atol=1e-5)


def test_shortcuts_where_shapes_agree():
    """A join in all blocks but the first of each row of the paper's table 2."""
    joins = [layer.name for layer in zoo.create("mobilenet_v2_cifar").layers if layer.name.endswith("_join")]
    assert joins == [f"block{number}_join" for number in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)]
