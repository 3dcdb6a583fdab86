"""Forward passes against plain NumPy in double precision, written from the authors' files."""

import numpy as np
import pytest
from harness import draw, numpy

from convcraft import zoo


def convolve(x, kernel, stride=1, pad=0):
    """Cross-correlation with symmetric zero padding; kernel is HWIO."""
    x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], (1, 2))[:, ::stride, ::stride]
    return np.einsum("bhwcij,ijco->bhwo", windows, kernel, optimize=True)


def pool_of_caffe(x, size=3, stride=2):
    """Maximum; the last window may hang over the edge."""
    height, width = (int(np.ceil((n - size) / stride)) + 1 for n in x.shape[1:3])
    tiles = [
        [x[:, i * stride : i * stride + size, j * stride : j * stride + size].max((1, 2)) for j in range(width)]
        for i in range(height)
    ]
    return np.stack([np.stack(row, 1) for row in tiles], 1)


def relu(x):
    return np.maximum(x, 0)


def squeezenet(x, weights, pools, bypass="none"):
    """squeezenet_v1.x's deploy.prototxt; `pools` names the layers that a pooling follows. Bypasses: figure 2."""

    def layer(x, name, **options):
        return relu(convolve(x, weights[name][0], **options) + weights[name][1])

    x = layer(x - [123, 117, 104], "stem", stride=2)
    x = pool_of_caffe(x)
    for number in range(2, 10):
        s, before = layer(x, f"fire{number}_squeeze"), x
        x = np.concatenate([layer(s, f"fire{number}_expand1x1"), layer(s, f"fire{number}_expand3x3", pad=1)], -1)
        if bypass != "none" and number in (3, 5, 7, 9):
            x = x + before
        elif bypass == "complex":
            x = x + convolve(before, weights[f"fire{number}_bypass_conv"][0]) + weights[f"fire{number}_bypass_conv"][1]
        x = pool_of_caffe(x) if number in pools else x
    return layer(x, "head").mean((1, 2))


def resnet(x, weights, blocks=3, projected=False):
    """akamaster/pytorch_resnet_cifar10, resnet.py; its option A pads a quarter of the channels on both sides."""

    def layer(x, name, stride=1, pad=1):
        gamma, beta, mean, variance = weights[f"{name}_norm"]
        x = convolve(x, weights[name][0], stride, pad)
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    x = relu(layer((x - [125.3, 123.0, 113.9]) / [63.0, 62.1, 66.7], "stem"))
    for stage in (1, 2, 3):
        for block in range(1, blocks + 1):
            name, stride = f"stage{stage}_block{block}", 2 if stage > 1 and block == 1 else 1
            y = layer(relu(layer(x, f"{name}_conv1", stride)), f"{name}_conv2")
            if stride == 2 and projected:
                x = layer(x, f"{name}_shortcut", 2, pad=0)
            elif stride == 2:
                quarter = y.shape[-1] // 4
                x = np.pad(x[:, ::2, ::2], [(0, 0)] * 3 + [(quarter, quarter)])
            x = relu(x + y)
    return x.mean((1, 2)) @ weights["head"][0] + weights["head"][1]


def weights_of(model):
    return {layer.name: [w.astype("float64") for w in layer.get_weights()] for layer in model.layers}


@pytest.mark.parametrize("name, pools", [("squeezenet1_1", (3, 5)), ("squeezenet1_0", (4, 8))])
@pytest.mark.parametrize("size", [(67, 72), (57, 64)])
def test_squeezenet(name, pools, size, randomize):
    model = randomize(zoo.create(name, classes=5, input_shape=(*size, 3)))
    x = draw((2, *size, 3), low=0, high=255)
    expected = squeezenet(x.astype("float64"), weights_of(model), pools)
    assert expected.std() > 1e-2
    np.testing.assert_allclose(numpy(model(x, training=False)), expected, rtol=1e-4, atol=1e-4 * expected.max())


@pytest.mark.parametrize(
    "name, pools, bypass, more",  # the 1x1 convolutions of fires 2, 4, 6 and 8
    [
        ("squeezenet1_0", (4, 8), "simple", 0),
        ("squeezenet1_1", (3, 5), "complex", 65 * 128 + 129 * 256 + 257 * 384 + 385 * 512),
    ],
)
def test_squeezenet_with_bypasses(name, pools, bypass, more, randomize):
    assert zoo.create(name, bypass=bypass).count_params() == zoo.info(name).parameters + more
    model = randomize(zoo.create(name, classes=5, input_shape=(67, 67, 3), bypass=bypass))
    x = draw((2, 67, 67, 3), low=0, high=255)
    expected = squeezenet(x.astype("float64"), weights_of(model), pools, bypass)
    np.testing.assert_allclose(numpy(model(x, training=False)), expected, rtol=1e-4, atol=1e-4 * expected.max())
    blocks = [block.name for block in zoo.residual_blocks(model)]
    assert blocks == [f"fire{number}" for number in range(2, 10) if number % 2 or bypass == "complex"]


def test_bypasses_of_any_width_and_no_other_kind():
    zoo.create("squeezenet_cifar", design=zoo.Design(width=0.37, normalization="batch"), bypass="complex")
    with pytest.raises(ValueError, match="bypass to be 'none', 'simple' or 'complex', received 'all'"):
        zoo.create("squeezenet_cifar", bypass="all")


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize("size", [(32, 32), (17, 22)])
def test_resnet(shortcut, size, randomize):
    model = randomize(zoo.create("resnet20_cifar", classes=5, input_shape=(*size, 3), shortcut=shortcut))
    x = draw((2, *size, 3), low=0, high=255)
    expected = resnet(x.astype("float64"), weights_of(model), projected=shortcut == "B")
    assert expected.std() > 1e-2
    scale = np.abs(expected).max()
    np.testing.assert_allclose(numpy(model(x, training=False)), expected, rtol=1e-4, atol=1e-4 * scale)


def neighbours(x, n=5, alpha=1e-4, beta=0.75):
    """Caffe's LRN across channels."""
    padded = np.pad(x**2, [(0, 0)] * 3 + [(n // 2, n // 2)])
    return x / (1 + alpha / n * np.lib.stride_tricks.sliding_window_view(padded, n, -1).sum(-1)) ** beta


def googlenet(x, weights):
    """bvlc_googlenet/deploy.prototxt: the logits, and the features that the first auxiliary classifier sees."""

    def layer(x, name, **options):
        return relu(convolve(x, weights[name][0], **options) + weights[name][1])

    x = neighbours(pool_of_caffe(layer(x - [123, 117, 104], "stem", stride=2, pad=3)))
    x = early = pool_of_caffe(neighbours(layer(layer(x, "conv2_reduce"), "conv2", pad=1)))
    for number in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        name = f"inception{number}"
        high = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
        branches = [
            layer(x, f"{name}_1x1"),
            layer(layer(x, f"{name}_3x3_reduce"), f"{name}_3x3", pad=1),
            layer(layer(x, f"{name}_5x5_reduce"), f"{name}_5x5", pad=2),
            layer(np.lib.stride_tricks.sliding_window_view(high, (3, 3), (1, 2)).max((-2, -1)), f"{name}_pool_1x1"),
        ]
        x = np.concatenate(branches, -1)
        early = x if number <= "4a" else early
        x = pool_of_caffe(x) if number in ("3b", "4e") else x
    return x.mean((1, 2)) @ weights["head"][0] + weights["head"][1], early


def auxiliary(x, weights):
    """bvlc_googlenet/train_val.prototxt, loss1."""
    x = np.lib.stride_tricks.sliding_window_view(x, (5, 5), (1, 2))[:, ::3, ::3].mean((-2, -1))
    x = relu(convolve(x, weights["auxiliary1_conv"][0]) + weights["auxiliary1_conv"][1])
    kernel, bias = weights["auxiliary1_dense"]
    x = relu(x.reshape(len(x), -1) @ kernel.reshape(-1, kernel.shape[-1]) + bias)
    return x @ weights["auxiliary1_logits"][0] + weights["auxiliary1_logits"][1]


@pytest.mark.parametrize("size", [(67, 90), pytest.param((224, 224), marks=pytest.mark.slow)])
def test_googlenet(size, randomize):
    design = zoo.Design(width=0.25)
    model = randomize(zoo.create("googlenet", classes=5, input_shape=(*size, 3), design=design, auxiliary=True))
    x = draw((2, *size, 3), low=0, high=255)
    expected, early = googlenet(x.astype("float64"), weights_of(model))
    assert expected.std() > 1e-2
    scale = np.abs(expected).max()
    np.testing.assert_allclose(numpy(model(x, training=False)), expected, rtol=1e-4, atol=1e-4 * scale)
    if size == (224, 224):  # for which the auxiliary classifiers are made
        side = randomize(model.get_layer("auxiliary1").body)
        expected, found = auxiliary(early, weights_of(side)), numpy(side(early.astype("float32"), training=False))
        assert expected.std() > 1e-2
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
