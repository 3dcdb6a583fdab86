"""The maxout network and the competitive multi-scale network against plain NumPy in double precision."""

import keras
import numpy as np
import pytest
from harness import draw, numpy
from numpy_net import Net, convolve, pool

from convcraft import zoo
from convcraft.layers import CompetitiveConv2D, MaxNorm
from convcraft.zoo import Design

MEAN, STD = np.array((125.3, 123.0, 113.9)), np.array((63.0, 62.1, 66.7))


def agrees(model, x, expected):
    scale = np.abs(expected).max()
    assert expected.std() > 1e-3 * scale > 0
    np.testing.assert_allclose(numpy(model(x, training=False)), expected, rtol=1e-4, atol=1e-4 * scale)


# Maxout --------------------------------------------------------------------------------------------------------------


def largest(x, pieces):
    """Over channels u, u + units, u + 2 * units, …, as tensorflow-addons groups them."""
    return x.reshape(*x.shape[:-1], pieces, x.shape[-1] // pieces).max(-2)


def maxout(x, net):
    """pylearn2's cifar10.yaml: padding 4, 3, 3; pooling 4, 4, 2 with stride 2; poolings round up, as cuda-convnet's."""
    x = (x - MEAN) / STD
    for name, pad, window in (("stem", 4, 4), ("conv2", 3, 4), ("conv3", 3, 2)):
        kernel, bias = net.weights[name]
        x = pool(largest(convolve(x, kernel, pad=pad) + bias, 2), window, ceil=True)
    return net.dense(largest(net.dense(x, "head_dense1"), 5), "head")


@pytest.mark.parametrize("size", [(32, 32), (36, 29)])
def test_maxout_is_the_formula(size, randomize):
    model = randomize(zoo.create("maxout_cifar", classes=5, input_shape=(*size, 3), design=Design(width=0.1)))
    x = draw((2, *size, 3), low=0, high=255)
    agrees(model, x, maxout(x.astype("float64"), Net(model)))


def test_maxout_sizes_and_counts():
    """33, 16, 15, 7, 9 and 5 pixels: 15 is also what the authors' partial_sum, a divisor of 15 times 15, asks for."""
    model = zoo.create("maxout_cifar")
    names = ("stem", "pool1", "conv2", "pool2", "conv3", "pool3")
    assert [model.get_layer(name).output.shape[1] for name in names] == [33, 16, 15, 7, 9, 5]
    convolutions = (64 * 3 + 1) * 96 * 2 + (64 * 96 + 1) * 192 * 2 + (25 * 192 + 1) * 192 * 2
    assert model.count_params() == convolutions + (25 * 192 + 1) * 500 * 5 + (500 + 1) * 10 == 16_247_830


def test_maxout_drops_and_bounds_everywhere():
    model = zoo.create("maxout_cifar")
    dropped = [(layer.name, layer.rate) for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    names = ["stem_dropout", "dropout1", "dropout2", "dropout3", "head_dense1_dropout"]
    assert dropped == list(zip(names, [0.2, 0.5, 0.5, 0.5, 0.5], strict=True))
    bounds = {la.name: la.kernel_constraint.max_value for la in model.layers if la.weights}
    assert bounds == {"stem": 0.9, **dict.fromkeys(("conv2", "conv3", "head_dense1", "head"), 1.9365)}
    own = zoo.create("maxout_cifar", design=Design(kernel_constraint=MaxNorm(3), width=0.1))
    assert {la.kernel_constraint.max_value for la in own.layers if la.weights} == {3}
    kernels = [la.get_weights()[0] for la in model.layers if la.weights]
    assert all(0.0045 < np.abs(kernel).max() <= 0.005 for kernel in kernels)


# Competitive ---------------------------------------------------------------------------------------------------------

BLOCKS = [
    [("stem", (1, 3, 5, 7)), ("block1_module2", (1, 3)), ("block1_module3", (1, 3))],
    [("block2_module1", (1, 3, 5, 7)), ("block2_module2", (1, 3)), ("block2_module3", (1, 3))],
    [("block3_module1", (1, 3, 5)), ("block3_module2", (1, 3)), ("score", (1, 3))],
]
JOINS = {
    "max": lambda branches: np.max(branches, 0),
    "sum": lambda branches: np.sum(branches, 0),
    "mean": lambda branches: np.mean(branches, 0),
    "concat": lambda branches: np.concatenate(branches, -1),
}


def branch(x, net, name):
    (kernel,) = net.weights[name]
    gamma, beta, mean, variance = net.weights[f"{name}_norm"]
    x = convolve(x, kernel, pad=kernel.shape[0] // 2)
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def competitive(x, net, join="max", pooled=False):
    x = (x - MEAN) / STD
    for number, modules in enumerate(BLOCKS):
        if number:
            x = pool(x, 3, ceil=True)
        for name, kernels in modules:
            branches = [branch(x, net, f"{name}_{k}x{k}") for k in kernels]
            if pooled and name != "score":
                padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
                branches.append(branch(pool(padded, 3, 1), net, f"{name}_pooled"))
            last = name == "score"
            x = JOINS["max" if last and join == "concat" else join](branches)
            x = x if last or join == "max" else np.maximum(x, 0)
    return x.mean((1, 2))


@pytest.mark.parametrize(
    "join, pooled", [("max", False), ("max", True), ("sum", False), ("mean", False), ("concat", True)]
)
def test_competitive_is_the_formula(join, pooled, randomize):
    """Another join is followed by a ReLU, as the inception module is; a maximum is the activation itself."""
    design = Design(width=0.05, join=join)
    model = zoo.create("competitive_cifar", classes=5, input_shape=(16, 13, 3), design=design, pool=pooled)
    x = draw((2, 16, 13, 3), low=0, high=255)
    agrees(model, x, competitive(x.astype("float64"), Net(randomize(model)), join, pooled))


def test_a_module_is_the_layer(randomize):
    """`layers.CompetitiveConv2D` with the same weights gives the same."""
    model = randomize(zoo.create("competitive_cifar", design=Design(width=0.1)))
    layer = CompetitiveConv2D(19, (1, 3, 5, 7))
    features = keras.Model(model.get_layer("preprocess").output, model.get_layer("stem").output)
    x = draw((2, 32, 32, 3))
    layer.build(x.shape)
    names = [f"stem_{k}x{k}" for k in (1, 3, 5, 7)]
    for name, convolution, norm in zip(names, layer.convolutions, layer.norms, strict=True):
        convolution.set_weights(model.get_layer(name).get_weights())
        norm.set_weights(model.get_layer(f"{name}_norm").get_weights())
        assert norm.epsilon == model.get_layer(f"{name}_norm").epsilon
    np.testing.assert_allclose(numpy(features(x)), numpy(layer(x)), rtol=1e-5, atol=1e-5)


def test_competitive_counts():
    """A kernel's pixels for each pair of channels, and a scale and an offset for each branch's channels."""
    widths = [[192, 160, 96], [192, 192, 192], [192, 192, 10]]
    total, channels = 0, 3
    for modules, filters in zip(BLOCKS, widths, strict=True):
        for (_, kernels), wide in zip(modules, filters, strict=True):
            total += sum((k * k * channels + 2) * wide for k in kernels)
            channels = wide
    assert zoo.info("competitive_cifar").parameters == total == 4_480_424


def test_competitive_drops_after_its_poolings_and_its_head_keeps_its_width():
    model = zoo.create("competitive_cifar", classes=7, design=Design(width=2.0, join="concat"))
    dropped = [(layer.name, layer.rate) for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropped == [("dropout1", 0.5), ("dropout2", 0.5)]
    assert model.output_shape == (None, 7) and model.get_layer("stem_3x3").filters == 384
    with pytest.raises(ValueError, match="competitive_cifar: expected pool to be True or False, received 1"):
        zoo.create("competitive_cifar", pool=1)
