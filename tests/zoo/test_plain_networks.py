"""NIN, All-CNN and the plain network against plain NumPy in double precision, and their counts."""

import numpy as np
import pytest
from harness import draw, numpy
from numpy_net import Net, pool

from convcraft import zoo
from convcraft.zoo import Design

MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)


def classified(x, net):
    return net.conv(x, "head").mean((1, 2))


def nin(x, net):
    """mavenlin's Caffe file, as far as facts.md 10.1 tells it: every pooling is rounded up."""
    x = net.conv(x - [123.68, 116.779, 103.939], "stem", stride=4, pad=0)
    for row in (1, 2, 3, 4):
        x = x if row == 1 else net.conv(x, f"stage{row}_conv1")
        x = net.conv(x, f"stage{row}_conv2")
        x = x if row == 4 else pool(net.conv(x, f"stage{row}_conv3"), 3, ceil=True)
    return classified(x, net)


def nin_cifar(x, net):
    x = net.conv(net.conv(net.conv((x - MEAN) / np.array(STD), "stem"), "stage1_conv2"), "stage1_conv3")
    x = pool(x, 3, ceil=True)
    x = net.conv(net.conv(net.conv(x, "stage2_conv1"), "stage2_conv2"), "stage2_conv3")
    x = pool(x, 3, reduce=np.mean, ceil=True)
    return classified(net.conv(net.conv(x, "stage3_conv1"), "stage3_conv2"), net)


def all_cnn(x, net, kernels, form):
    x = (x - MEAN) / np.array(STD)
    for row in (1, 2):
        for index in range(1, kernels + 1):
            last = index == kernels
            name = "stem" if row == index == 1 else f"stage{row}_conv{index}"
            x = net.conv(x, name, stride=2 if form == "strided" and last else 1)
        if form in ("all", "convpool"):
            x = net.conv(x, f"stage{row}_conv{kernels + 1}", stride=2 if form == "all" else 1)
        if form in ("base", "convpool"):
            x = pool(x, 3, ceil=True)
    return classified(net.conv(net.conv(x, "stage3_conv1"), "stage3_conv2"), net)


def plain_cnn(x, net, depth=1):
    x = (x - MEAN) / np.array(STD)
    for stage in (1, 2, 3, 4):
        for number in range(1, depth + 1):
            x = net.conv(x, "stem" if stage == number == 1 else f"stage{stage}_conv{number}")
        x = pool(x, 2)
    return net.dense(x.mean((1, 2)), "head")


def agrees(model, x, expected):
    assert expected.std() > 1e-3 * np.abs(expected).max() > 0
    scale = np.abs(expected).max()
    np.testing.assert_allclose(numpy(model(x, training=False)), expected, rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize("name, size, reference", [("nin", (91, 68), nin), ("nin_cifar", (16, 12), nin_cifar)])
def test_nin_is_the_formula(name, size, reference, randomize):
    model = randomize(zoo.create(name, classes=5, input_shape=(*size, 3), design=Design(width=0.25)))
    x = draw((2, *size, 3), low=0, high=255)
    agrees(model, x, reference(x.astype("float64"), Net(model)))


def test_nin_sizes():
    """54, 27, 13 and 6, of which the authors take the mean."""
    model = zoo.create("nin", head="none", design=Design(width=0.1))
    found = [model.get_layer(layer).output.shape[1] for layer in ("stem", "pool1", "pool2", "pool3")]
    assert found == [54, 27, 13, 6]


def test_nin_counts_of_a_hundred_classes():
    assert zoo.create("nin_cifar", classes=100).count_params() == 984_356  # facts.md 10.3


def test_dropout_stands_where_the_paper_has_it():
    def dropped(name, rate=None, **options):
        model = zoo.create(name, design=Design(width=0.1, dropout=rate), **options)
        names = [layer.name for layer in model.layers]
        found = [(names[i - 1], layer.rate) for i, layer in enumerate(model.layers) if "dropout" in layer.name]
        return [before for before, _ in found], [round(rate, 6) for _, rate in found]

    assert dropped("nin") == (["pool3"], [0.5])
    assert dropped("nin_cifar") == (["pool1", "pool2"], [0.5, 0.5])
    assert dropped("all_cnn_c") == (["preprocess", "stage1_conv3_act", "stage2_conv3_act"], [0.2, 0.5, 0.5])
    assert dropped("all_cnn_c", form="base")[0] == ["preprocess", "pool1", "pool2"]
    assert dropped("all_cnn_c", 0.25)[1] == [0.1, 0.25, 0.25]
    assert dropped("all_cnn_c", 0.0) == ([], []) == dropped("plain_cnn")


ROWS = {"a": (5,), "b": (5, 1), "c": (3, 3)}


def weights_of_all_cnn(row, form, classes=10):
    """Kernels and biases, layer by layer from the paper's tables 1 and 2."""
    total, channels = 0, 3
    for filters in (96, 192):
        for kernel in [*row, *([3] if form in ("all", "convpool") else [])]:
            total, channels = total + (kernel**2 * channels + 1) * filters, filters
    return total + (9 * 192 + 1) * 192 + (192 + 1) * 192 + (192 + 1) * classes


@pytest.mark.parametrize("form", ["all", "base", "strided", "convpool"])
@pytest.mark.parametrize("letter", ROWS)
def test_all_cnn_is_the_formula(letter, form, randomize):
    name = f"all_cnn_{letter}"
    counted = zoo.create(name, form=form).count_params()
    assert counted == weights_of_all_cnn(ROWS[letter], form)
    model = zoo.create(name, classes=4, input_shape=(12, 16, 3), form=form, design=Design(width=0.1))
    x = draw((2, 12, 16, 3), low=0, high=255)
    agrees(randomize(model), x, all_cnn(x.astype("float64"), Net(model), len(ROWS[letter]), form))


def test_the_pooled_twin_has_as_many_weights():
    assert weights_of_all_cnn((3, 3), "all") == weights_of_all_cnn((3, 3), "convpool") == 1_369_738  # facts.md 10.3
    with pytest.raises(ValueError, match="all_cnn: expected form to be one of all, base, .*received 'pooled'"):
        zoo.create("all_cnn_c", form="pooled")


@pytest.mark.parametrize("depth", [1, 2])
def test_the_plain_network_is_the_formula(depth, randomize):
    model = zoo.create("plain_cnn", classes=5, input_shape=(32, 16, 3), design=Design(depth=depth))
    widths = [layer.filters for layer in model.layers if hasattr(layer, "filters")]
    assert widths == [filters for filters in (32, 64, 128, 256) for _ in range(depth)]
    channels = [3, *widths]
    sizes = zip(channels, widths, strict=False)
    assert model.count_params() == sum((9 * i + 1) * o for i, o in sizes) + (256 + 1) * 5
    x = draw((2, 32, 16, 3), low=0, high=255)
    agrees(randomize(model), x, plain_cnn(x.astype("float64"), Net(model), depth))


def test_stages_and_filters_of_the_plain_network():
    model = zoo.create("plain_cnn", stages=2, filters=8)
    assert [layer.filters for layer in model.layers if hasattr(layer, "filters")] == [8, 16]
    for arguments in ({"stages": 0}, {"filters": True}, {"stages": 2.0}):
        with pytest.raises(ValueError, match="plain_cnn: expected (stages|filters) to be a positive integer, received"):
            zoo.create("plain_cnn", **arguments)
