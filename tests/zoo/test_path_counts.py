from math import comb

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from convcraft import zoo
from convcraft.layers import CompetitiveConv2D, ConcatDownsample
from convcraft.zoo import Design, paths

NARROW = Design(width=0.1)


def binomial(blocks, convs, others):
    """Veit et al., section 3: each of the blocks is taken or not; `others` stand in series with all of them."""
    return {others + convs * taken: comb(blocks, taken) for taken in range(blocks + 1)}


@pytest.mark.parametrize(
    "name, blocks, convs",
    [("resnet20_cifar", 9, 2), ("resnet20_cifar_v2", 9, 2), ("wide_resnet16_4", 6, 2), ("resnet110_cifar", 54, 2)],
)
def test_a_residual_network_has_as_many_paths_as_subsets_of_blocks(name, blocks, convs):
    # ResNet's shortcut A has no convolution; wide ResNet's projections, three of them, make shortcuts longer
    counted = paths(zoo.create(name, design=NARROW))
    assert sum(counted.values()) == 2**blocks
    if not name.startswith("wide"):
        assert counted == binomial(blocks, convs, 2)


def test_projections_lengthen_the_short_way():
    # four stages, each begun by a block whose shortcut convolves once: (z + z^3) in place of (1 + z^3)
    counted = paths(zoo.create("resnet50", input_shape=(32, 32, 3), design=NARROW))
    series = np.array([1], dtype=object)
    for factor, times in (([0, 1, 0, 1], 4), ([1, 0, 0, 1], 12)):
        for _ in range(times):
            series = np.convolve(series, np.array(factor, dtype=object))
    expected = {length + 2: number for length, number in enumerate(series) if number}
    assert counted == expected and sum(counted.values()) == 2**16


def fractal(columns):
    """The paper's rule, f1 = one convolution and f(C+1) = f(C) twice beside one: counts by length."""
    counts = np.array([0, 1], dtype=object)
    for _ in range(columns - 1):
        counts = np.convolve(counts, counts)
        counts[1] += 1
    return counts


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_a_fractal_networks_paths(columns):
    counted = paths(zoo.create("fractalnet20", columns=columns, design=NARROW))
    series = np.array([1], dtype=object)
    for _ in range(5):
        series = np.convolve(series, fractal(columns))
    assert counted == {length + 1: number for length, number in enumerate(series) if number}
    assert max(counted) == 5 * 2 ** (columns - 1) + 1  # facts 2.1: the deepest path
    assert sum(counted.values()) == {1: 1, 2: 2, 3: 5, 4: 26}[columns] ** 5


def test_squeezenets_paths():
    # eight fires, each a squeeze and one of two expansions, between the stem and the classifier
    assert paths(zoo.create("squeezenet1_1", design=NARROW)) == {1 + 2 * 8 + 1: 2**8}


def test_googlenets_paths():
    # a module's branches have 1, 2, 2 and 1 convolutions; three before the modules, one dense layer after
    counted = paths(zoo.create("googlenet", design=NARROW))
    assert counted == {4 + 9 + long: comb(9, long) * 2**9 for long in range(10)}
    assert counted == paths(zoo.create("googlenet", design=NARROW, auxiliary=True)), "its classifiers are for training"


@pytest.mark.parametrize("name, expected", [("vgg16", {16: 1}), ("fcn32s", {16: 1}), ("mobilenet_v1", {28: 1})])
def test_plain_networks_have_one_path(name, expected):
    assert paths(zoo.create(name, design=NARROW)) == expected


def test_a_skip_from_the_image_that_only_crops_is_no_path():
    counted = paths(zoo.create("fcn8s", design=NARROW))
    # the scores of pool3 after 7 + 1 convolutions, of pool4 after 10 + 1, of the dense layers after 16
    assert counted == {8: 1, 11: 1, 16: 1}


def test_shared_layers_models_inside_and_layers_with_branches():
    shared = layers.Conv2D(3, 1)
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(3, 1), layers.ReLU(), layers.SeparableConv2D(3, 1)])
    images = keras.Input((8, 8, 3))
    x = shared(layers.Add()([shared(images), images]))  # 1 and 2
    x = layers.Add()([inner(x), x, x])  # 3 more once, 0 more twice
    assert paths(keras.Model(images, x)) == {1: 2, 2: 2, 4: 1, 5: 1}
    x = layers.Dense(2)(CompetitiveConv2D(4, [1, 3], pool=True)(ConcatDownsample()(images)))
    assert paths(keras.Model(images, x)) == {2: 3, 3: 3}
    two = keras.Model(images, [shared(images), layers.ReLU()(images)])
    y = layers.Concatenate()(two(inner(images)))
    assert paths(keras.Model(images, y)) == {3: 1, 4: 1}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 30), min_size=1, max_size=3)), min_size=1, max_size=9))
def test_every_path_of_a_small_graph_is_counted(plan):
    """Against walking along each of them."""
    tensors, edges = [keras.Input((4,))], [(0, [])]  # of each tensor: its layer's length, and where it comes from
    for convolves, chosen in plan:
        sources = sorted({source % len(tensors) for source in chosen})
        x = tensors[sources[0]] if len(sources) == 1 else layers.Add()([tensors[source] for source in sources])
        tensors.append(layers.Dense(4)(x) if convolves else layers.ReLU()(x))
        edges.append((int(convolves), sources))

    def lengths(tensor):
        own, sources = edges[tensor]
        return [own + length for source in sources for length in lengths(source)] if sources else [0]

    expected: dict[int, int] = {}
    for length in lengths(len(tensors) - 1):
        expected[length] = expected.get(length, 0) + 1
    assert paths(keras.Model(tensors[0], tensors[-1])) == expected


def test_only_functional_models():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="paths: expected a functional or sequential keras.Model, received"):
        paths(Own())
