"""ResNet v1 and v2 against keras.applications: the same weights give the same logits.

Their freshly built nets tell images hardly apart; so weights are drawn by role, and the statistics of the
normalizations are those of images that went through.
"""

import re

import keras
import numpy as np
import pytest
from harness import draw, numpy

from convcraft import zoo

THEIRS = {
    "resnet50_v1": (keras.applications.ResNet50, keras.applications.resnet.preprocess_input),
    "resnet101_v1": (keras.applications.ResNet101, keras.applications.resnet.preprocess_input),
    "resnet152_v1": (keras.applications.ResNet152, keras.applications.resnet.preprocess_input),
    "resnet50_v2": (keras.applications.ResNet50V2, keras.applications.resnet_v2.preprocess_input),
    "resnet101_v2": (keras.applications.ResNet101V2, keras.applications.resnet_v2.preprocess_input),
    "resnet152_v2": (keras.applications.ResNet152V2, keras.applications.resnet_v2.preprocess_input),
}
CLASSES = 10
SIZES = ((224, 224), (97, 130))


def reference(name, size):
    """The net of keras.applications, made informative."""
    build, prepare = THEIRS[name]
    net = build(weights=None, input_shape=(*size, 3), classes=CLASSES, classifier_activation=None)
    drawn = np.random.default_rng(1)
    for layer in net.layers:
        values = []
        for variable in layer.weights:
            shape = tuple(variable.shape)
            if variable.name == "gamma":
                values.append(drawn.uniform(0.5, 1.5, shape))
            elif variable.name == "kernel":
                values.append(drawn.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape))
            else:
                values.append(drawn.normal(0, 0.3, shape))
        layer.set_weights(values)
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics are those of one batch
    net(prepare(images(size, 8, seed=3)), training=True)
    return net


def images(size, number=4, seed=0):
    """Raw, of four kinds of brightness."""
    return (
        draw((number, *size, 3), low=0, high=255, seed=seed)
        * np.float32([0.4, 0.6, 0.8, 1] * (number // 4))[:, None, None, None]
    )


def their_name(layer):
    """What keras.applications calls one of our layers."""
    fixed = {"stem": "conv1_conv", "stem_norm": "conv1_bn", "post_norm": "post_bn", "head": "predictions"}
    if layer in fixed:
        return fixed[layer]
    stage, block, part, norm = re.fullmatch(r"stage(\d)_block(\d+)_(conv\d|shortcut|pre)(_norm)?", layer).groups()
    part = {"shortcut": "0", "pre": "preact"}.get(part, part[-1])
    return f"conv{int(stage) + 1}_block{block}_{part}_{'bn' if norm else 'conv'}"


def copied(name, theirs, size):
    """Our net with the weights of theirs."""
    ours, taken = zoo.create(name, classes=CLASSES, input_shape=(*size, 3)), set()
    for layer in ours.layers:
        if layer.weights:
            source = their_name(layer.name)
            values = theirs.get_layer(source).get_weights()
            if layer.name == "stem" and name.endswith("_v1"):
                values[0] = values[0][:, :, ::-1]  # ours takes RGB, theirs BGR
            layer.set_weights(values)
            taken.add(source)
    assert taken == {layer.name for layer in theirs.layers if layer.weights}
    return ours


def difference(ours, expected, size):
    """Largest deviation of our logits, relative to the largest of theirs."""
    return (
        np.abs(keras.ops.convert_to_numpy(ours(images(size), training=False)) - expected).max() / np.abs(expected).max()
    )


slow = pytest.mark.slow
CASES = [
    pytest.param("resnet50_v1", (64, 64)),
    pytest.param("resnet50_v2", (64, 64)),
    *[pytest.param(name, size, marks=slow) for name in THEIRS if "152" not in name for size in SIZES],
]


def permute(layer):
    """Shifts the input channels of a kernel by one; returns the weights as they were."""
    kernel, *rest = before = layer.get_weights()
    layer.set_weights([np.roll(kernel, 1, axis=2), *rest])
    return before


@pytest.mark.parametrize("name, size", CASES)
def test_same_logits(name, size):
    theirs = reference(name, size)
    expected = numpy(theirs(THEIRS[name][1](images(size)), training=False))
    assert expected.std(0).min() > 1e-3 * np.abs(expected).max(), "the reference tells images apart"
    ours = copied(name, theirs, size)
    found = difference(ours, expected, size)
    print(f"{name} {size}: largest relative difference {found:.1e}")
    assert found < 1e-4
    # each way of being wrong shows
    for place in ("stem", "stage2_block1_conv1", "stage4_block2_conv2")[: 1 if size == (64, 64) else 3]:
        before = permute(ours.get_layer(place))
        assert difference(ours, expected, size) > 1e-3, place
        ours.get_layer(place).set_weights(before)


@slow
@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("size", SIZES)
def test_same_logits_in_double_precision(name, size):
    """Random nets amplify rounding with depth: the 152 layers of keras.applications, given the same images, are by more
    than 1e-4 off from themselves in double precision. There, where nothing else is to be seen, ours are the same.
    """
    keras.config.set_floatx("float64")  # of inputs, too
    keras.config.set_dtype_policy("float64")
    try:
        theirs = reference(name, size)
        ours = copied(name, theirs, size)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    x = images(size)
    seen = keras.ops.convert_to_numpy(keras.Model(ours.input, ours.get_layer("preprocess").output)(x))
    seen = seen[..., ::-1] if name.endswith("_v1") else seen
    np.testing.assert_allclose(seen, THEIRS[name][1](images(size)), atol=1e-4)  # float32 there
    expected = keras.ops.convert_to_numpy(theirs(seen, training=False))
    assert expected.dtype == "float64"
    found = difference(ours, expected, size)
    print(f"{name} {size}: largest relative difference {found:.1e} in double precision")
    assert found < 1e-10
    permute(ours.get_layer("stage4_block2_conv2"))
    assert difference(ours, expected, size) > 1e-3
