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


def difference(ours, theirs, expected, size):
    """Largest deviation of our logits, relative to the largest of theirs."""
    return np.abs(numpy(ours(images(size), training=False)) - expected).max() / np.abs(expected).max()


CASES = [
    pytest.param("resnet50_v1", (64, 64)),
    pytest.param("resnet50_v2", (64, 64)),
    *[pytest.param(name, size, marks=pytest.mark.slow) for name in THEIRS for size in ((224, 224), (97, 130))],
]


@pytest.mark.parametrize("name, size", CASES)
def test_same_logits(name, size):
    theirs = reference(name, size)
    expected = numpy(theirs(THEIRS[name][1](images(size)), training=False))
    assert expected.std(0).min() > 1e-3 * np.abs(expected).max(), "the reference tells images apart"
    ours = copied(name, theirs, size)
    found = difference(ours, theirs, expected, size)
    print(f"{name} {size}: largest relative difference {found:.1e}")
    assert found < 1e-4
    # each way of being wrong shows
    for layer in ("stem", "stage2_block1_conv1", "stage4_block2_conv2")[: 1 if size == (64, 64) else 3]:
        kernel, *rest = ours.get_layer(layer).get_weights()
        permuted = kernel[:, :, np.roll(np.arange(kernel.shape[2]), 1)]
        ours.get_layer(layer).set_weights([permuted, *rest])
        assert difference(ours, theirs, expected, size) > 1e-3, layer
        ours.get_layer(layer).set_weights([kernel, *rest])
