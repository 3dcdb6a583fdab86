"""AlexNet against plain NumPy in double precision, written from the paper and from facts.md 10.2."""

import dataclasses
import functools

import numpy as np
import pytest
from harness import draw, numpy
from numpy_net import Net, pool, relu, respond

from convcraft import zoo
from convcraft.zoo import Design

slow = pytest.mark.slow
SMALL = Design(width=0.25)
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def alexnet_2012(x, net, k=2.0, alpha=1e-4):
    x = net.conv(x - MEAN, "stem", stride=4, pad=0)
    x = pool(respond(x, k, alpha), 3)
    x = pool(respond(net.conv(x, "conv2", groups=2), k, alpha), 3)
    x = net.conv(net.conv(net.conv(x, "conv3"), "conv4", groups=2), "conv5", groups=2)
    x = pool(x, 3)
    return net.dense(relu(net.dense(relu(net.dense(x, "head_dense1")), "head_dense2")), "head")


def one_tower(x, net, pad=2, size=3):
    x = pool(net.conv(x, "stem", stride=4, pad=pad), size)
    x = pool(net.conv(x, "conv2"), size)
    return pool(net.conv(net.conv(net.conv(x, "conv3"), "conv4"), "conv5"), size)


def alexnet(x, net):
    x = one_tower(x - MEAN, net)
    return net.dense(relu(net.dense(relu(net.dense(x, "head_dense1")), "head_dense2")), "head")


def alexnet_cifar(x, net):
    x = one_tower((x - [125.3, 123.0, 113.9]) / [63.0, 62.1, 66.7], net, pad=5, size=2)
    return net.dense(x.mean((1, 2)), "head")


@pytest.mark.parametrize(
    "name, knobs, size, reference",
    [
        ("alexnet_2012", {}, (99, 104), alexnet_2012),
        (
            "alexnet_2012",
            {"normalization": "lrn_caffe"},
            (67, 70),
            functools.partial(alexnet_2012, k=1.0, alpha=1e-4 / 5),
        ),
        ("alexnet", {}, (95, 70), alexnet),
        ("alexnet_cifar", {}, (32, 32), alexnet_cifar),
        ("alexnet_cifar", {}, (75, 52), alexnet_cifar),
    ],
)
def test_the_network_is_the_formula(name, knobs, size, reference, randomize):
    model = zoo.create(name, classes=5, input_shape=(*size, 3), design=dataclasses.replace(SMALL, **knobs))
    randomize(model)
    x = draw((2, *size, 3), low=0, high=255)
    expected = reference(x.astype("float64"), Net(model))
    assert expected.std() > 1e-2
    scale = np.abs(expected).max()
    np.testing.assert_allclose(numpy(model(x, training=False)), expected, rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize("name, stem", [("alexnet_2012", 55), ("alexnet", 55)])
def test_sizes_are_the_papers(name, stem):
    """55, 27, 13 and 6 pixels: at 227 without padding, at 224 with two."""
    size = zoo.info(name).input_shape[0]
    model = zoo.create(name, head="none", input_shape=(size, size, 3), design=SMALL)
    found = [model.get_layer(layer).output.shape[1] for layer in ("stem", "pool1", "pool2", "pool5")]
    assert found == [stem, 27, 13, 6] and model.output_shape == (None, 6 * 6 * 64)


@pytest.mark.parametrize("name", ["alexnet_2012", "alexnet"])
def test_layer_names(name):
    """Weights are found by these names: a change breaks files that users have."""
    model = zoo.create(name, input_shape=(67, 67, 3), design=Design(width=0.1))
    expected = "stem conv2 conv3 conv4 conv5 head_dense1 head_dense2 head"
    assert [layer.name for layer in model.layers if layer.weights] == expected.split()


def test_groups_are_the_papers():
    def groups(name, **knobs):
        model = zoo.create(name, head="none", input_shape=(67, 67, 3), design=Design(**{"width": 0.25, **knobs}))
        return [model.get_layer(layer).groups for layer in ("stem", "conv2", "conv3", "conv4", "conv5")]

    assert groups("alexnet_2012") == [1, 2, 1, 2, 2]
    assert groups("alexnet") == [1, 1, 1, 1, 1]
    assert groups("alexnet_2012", width=0.11) == [1, 1, 1, 2, 2]  # eleven channels cannot be halved


def test_normalization_stands_where_the_paper_has_it_or_everywhere():
    def normalized(name, **knobs):
        model = zoo.create(name, head="none", input_shape=(67, 67, 3), design=Design(width=0.1, **knobs))
        return [layer.name for layer in model.layers if layer.name.endswith("_norm")]

    everywhere = ["stem_norm", "conv2_norm", "conv3_norm", "conv4_norm", "conv5_norm"]
    assert normalized("alexnet_2012") == everywhere[:2] == normalized("alexnet", normalization="lrn")
    assert normalized("alexnet_2012", normalization="batch") == everywhere
    assert normalized("alexnet") == []


def test_the_two_dense_layers_follow_the_width():
    model = zoo.create("alexnet", input_shape=(67, 67, 3), design=Design(width=0.1))
    assert [model.get_layer(f"head_dense{n}").units for n in (1, 2)] == [410, 410]
    mine = zoo.create("alexnet", input_shape=(67, 67, 3), design=Design(width=0.1, head_layers=(9,)))
    assert mine.get_layer("head_dense1").units == 9  # asked for by number


@pytest.mark.filterwarnings("ignore:Skipping")
def test_weights_of_one_size_of_images_load_for_all(randomize, tmp_path):
    """Files of the fixed form go into the open one, and the open one's own, too; others do not."""
    design = Design(width=0.1, head_layers=(20, 10))
    fixed = randomize(zoo.create("alexnet", classes=3, design=design))
    fixed.save_weights(path := tmp_path / "fixed.weights.h5")
    free = zoo.create("alexnet", classes=3, input_shape=(None, None, 3), design=design, weights=path)
    x = draw((1, 224, 224, 3), low=0, high=255)
    np.testing.assert_allclose(numpy(free(x)), numpy(fixed(x)), rtol=1e-4, atol=1e-4 * numpy(fixed(x)).max())
    free.save_weights(path := tmp_path / "free.weights.h5")
    again = zoo.create("alexnet", classes=3, input_shape=(None, None, 3), design=design, weights=path)
    np.testing.assert_array_equal(numpy(again(x)), numpy(free(x)))
    other = Design(width=0.2, head_layers=(20, 10))
    with pytest.raises(ValueError, match=r"free.weights.h5' does not fit layer 'stem' of alexnet"):
        zoo.create("alexnet", classes=3, input_shape=(None, None, 3), design=other, weights=path)


@pytest.mark.parametrize("name", ["alexnet_2012", "alexnet"])
def test_images_below_the_documented_size_are_refused_where_the_size_is_open(name):
    free = zoo.create(name, classes=3, input_shape=(None, None, 3), design=Design(width=0.1))
    with pytest.raises(ValueError, match="SlidingDense: expected features of at least 6x6"):
        free(draw((1, 180, 227, 3)))
    assert zoo.create(name, input_shape=(None, None, 3), head="none", design=SMALL).output_shape == (None, 36 * 64)
