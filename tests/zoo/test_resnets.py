"""The residual families against plain NumPy in double precision, their knobs and their options."""

import json

import keras
import numpy as np
import pytest
from harness import BACKEND, draw, numpy

from convcraft import layers, zoo
from convcraft.zoo import Design, residual

slow = pytest.mark.slow
# facts.md 10.1: all parameters, where keras.applications has the model
TOTALS = {
    "resnet50_v1": 25_636_712,
    "resnet101_v1": 44_707_176,
    "resnet152_v1": 60_419_944,
    "resnet50_v2": 25_613_800,
    "resnet101_v2": 44_675_560,
    "resnet152_v2": 60_380_648,
}
# facts.md 10.3: WRN-depth-widen, trainable
WIDE = {
    (16, 4): 2_748_890,
    (40, 4): 8_949_210,
    (16, 8): 10_961_370,
    (22, 8): 17_158_106,
    (40, 2): 2_243_546,
    (28, 10): 36_479_194,
}


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == "resnet50_v2" else slow) for n in TOTALS])
def test_totals(name):
    assert zoo.info(name).total == TOTALS[name]


@pytest.mark.parametrize("depth, widen", [pytest.param(*k, marks=[] if k == (40, 2) else slow) for k in WIDE])
def test_wide_resnets_of_any_depth_and_width(depth, widen):
    assert trainable(zoo.create("wide_resnet16_4", depth=depth, widen=widen)) == WIDE[depth, widen]


@slow
def test_wide_resnet_of_a_hundred_classes():
    assert trainable(zoo.create("wide_resnet28_10", classes=100)) == 36_536_884


@slow
def test_multiply_adds_of_resnet50():
    """torchvision gives 4.09 billion for v1.5; He et al., table 1, 3.8 for the paper's."""
    assert zoo.info("resnet50").multiply_adds == pytest.approx(4.09e9, rel=0.01)
    assert zoo.info("resnet50_v1").multiply_adds == pytest.approx(3.86e9, rel=0.01)


SIZES = {
    "resnet18": [(56, 64), (28, 128), (14, 256), (7, 512)],
    "resnet50": [(56, 256), (28, 512), (14, 1024), (7, 2048)],
    "resnet50_v1": [(56, 256), (28, 512), (14, 1024), (7, 2048)],
    "resnet50_v2": [(28, 256), (14, 512), (7, 1024), (7, 2048)],
    "resnet20_cifar_v2": [(32, 16), (16, 32), (8, 64)],
    "resnet_in_resnet": [(32, 48), (16, 96), (8, 192)],
    "wide_resnet16_4": [(32, 64), (16, 128), (8, 256)],
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=slow if n.startswith("resnet50") else []) for n in SIZES])
def test_sizes_of_the_stages(name):
    model = zoo.create(name)
    for stage, (size, channels) in enumerate(SIZES[name], 1):
        last = [layer for layer in model.layers if layer.name.startswith(f"stage{stage}_")][-1]
        assert last.output.shape == (None, size, size, channels)


# ---- forward passes


def convolve(x, kernel, stride):
    """Cross-correlation with symmetric zero padding; kernel is HWIO."""
    pad = kernel.shape[0] // 2
    x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], (1, 2))[:, ::stride, ::stride]
    return np.einsum("bhwcij,ijco->bhwo", windows, kernel, optimize=True)


def relu(x):
    return np.maximum(x, 0)


class Net:
    """A model's weights by layer, in double precision, and what can be computed with them."""

    def __init__(self, model):
        self.weights = {la.name: [w.astype("float64") for w in la.get_weights()] for la in model.layers if la.weights}
        self.epsilon = {la.name: la.epsilon for la in model.layers if hasattr(la, "epsilon")}
        self.used = set()

    def get(self, name):
        self.used.add(name)
        return self.weights[name]

    def norm(self, x, name):
        gamma, beta, mean, variance = self.get(f"{name}_norm")
        return (x - mean) / np.sqrt(variance + self.epsilon[f"{name}_norm"]) * gamma + beta

    def conv(self, x, name, stride=1):
        kernel, *bias = self.get(name)
        return convolve(x, kernel, stride) + (bias[0] if bias else 0)

    def post(self, x, name, strides, shortcut="B"):
        """A block of the first paper."""
        y, stride = x, int(np.prod(strides))
        for number, step in enumerate(strides, 1):
            y = self.norm(self.conv(y, f"{name}_conv{number}", step), f"{name}_conv{number}")
            y = relu(y) if number < len(strides) else y
        if stride == 1 and x.shape == y.shape:
            return relu(x + y)
        if shortcut == "A":
            extra = (y.shape[-1] - x.shape[-1]) // 2
            return relu(np.pad(x[:, ::stride, ::stride], [(0, 0)] * 3 + [(extra, extra)]) + y)
        return relu(self.norm(self.conv(x, f"{name}_shortcut", stride), f"{name}_shortcut") + y)

    def pre(self, x, name, strides, shortcut="B"):
        """A block of the second paper."""
        start = y = relu(self.norm(x, f"{name}_pre"))
        for number, step in enumerate(strides, 1):
            y = self.conv(y, f"{name}_conv{number}", step)
            y = relu(self.norm(y, f"{name}_conv{number}")) if number < len(strides) else y
        stride, extra = int(np.prod(strides)), (y.shape[-1] - x.shape[-1]) // 2
        if extra and shortcut == "B":
            return self.conv(start, f"{name}_shortcut", stride) + y
        return np.pad(x[:, ::stride, ::stride], [(0, 0)] * 3 + [(extra, extra)]) + y

    def end(self, x):
        kernel, bias = self.get("head")
        return x.mean((1, 2)) @ kernel + bias


def pool(x):
    """3x3, stride 2, on images padded by a row of zeros."""
    x = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max((-1, -2))


def imagenet(net, x, blocks, strides):
    x = (x - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    x = pool(relu(net.norm(net.conv(x, "stem", 2), "stem")))
    for stage, count in enumerate(blocks, 1):
        for block in range(1, count + 1):
            x = net.post(x, f"stage{stage}_block{block}", strides(2 if stage > 1 and block == 1 else 1))
    return net.end(x)


def cifar(net, x, convs, block, start, shortcut):
    """`convs`: of each block of each stage; `block`: Net.post or Net.pre."""
    x = net.conv((x - [125.3, 123.0, 113.9]) / [63.0, 62.1, 66.7], "stem")
    x = relu(net.norm(x, "stem")) if start else x
    for stage, lengths in enumerate(convs, 1):
        for number, length in enumerate(lengths, 1):
            strides = [2 if stage > 1 and number == 1 else 1] + [1] * (length - 1)
            x = getattr(net, block)(x, f"stage{stage}_block{number}", strides, shortcut)
    return net.end(x if start else relu(net.norm(x, "post")))


def rir(net, x, units):
    x = (x - [125.3, 123.0, 113.9]) / [63.0, 62.1, 66.7]
    r, t = (relu(net.norm(net.conv(x, name), name)) for name in ("stem", "stem_transient"))
    for stage, count in enumerate(units, 1):
        for number in range(1, count + 1):
            name, stride = f"stage{stage}_block{number}", 2 if stage > 1 and number == 1 else 1
            skip = net.conv(r, f"{name}_shortcut", stride) if f"{name}_shortcut" in net.weights else r
            new = net.conv(r, f"{name}_rr", stride) + skip + net.conv(t, f"{name}_tr", stride)
            t = net.conv(t, f"{name}_tt", stride) + net.conv(r, f"{name}_rt", stride)
            r, t = relu(net.norm(new, f"{name}_r")), relu(net.norm(t, f"{name}_t"))
    return net.norm(net.conv(np.concatenate([r, t], -1), "head"), "head").mean((1, 2))


def check(model, formula, randomize, size):
    """The model computes what `formula(Net, images)` does, with each of its weights."""
    randomize(model)
    for layer in model.layers:
        if layer.name.endswith("_norm"):  # else the sums of forty blocks are all that is left
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta, mean, 3 * variance])
    x, net = draw((2, *size, 3), low=0, high=255), Net(model)
    expected = formula(net, x.astype("float64"))
    assert net.used == set(net.weights)
    assert expected.std() > 1e-2
    found = numpy(model(x, training=False))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    "name, blocks, strides",
    [
        ("resnet18", (2, 2, 2, 2), lambda step: (step, 1)),
        pytest.param("resnet34", (3, 4, 6, 3), lambda step: (step, 1), marks=slow),
        pytest.param("resnet50", (3, 4, 6, 3), lambda step: (1, step, 1), marks=slow),
    ],
)
def test_resnet_is_the_formula(name, blocks, strides, randomize):
    size = (40, 33)
    model = zoo.create(name, classes=5, input_shape=(*size, 3), design=Design(width=0.25))
    check(model, lambda net, x: imagenet(net, x, blocks, strides), randomize, size)


BLOCKS = {None: [2, 2, 2], 1: [1] * 6, 2: [2, 2, 2], 4: [4, 2]}  # of six convolutions; shortcuts of each length


@pytest.mark.parametrize("name, block", [("resnet20_cifar", "post"), ("resnet20_cifar_v2", "pre")])
@pytest.mark.parametrize(
    "shortcut, skip",
    [
        pytest.param(shortcut, skip, marks=[] if (shortcut, skip) in {("A", 1), ("B", None), ("A", 4)} else slow)
        for shortcut in "AB"
        for skip in BLOCKS
    ],
)
def test_small_resnets_are_the_formula(name, block, shortcut, skip, randomize):
    size = (17, 22)
    model = zoo.create(name, classes=5, input_shape=(*size, 3), shortcut=shortcut, design=Design(skip_length=skip))
    convs = sum("conv" in layer.name and not layer.name.endswith(("_norm", "_act", "_pad")) for layer in model.layers)
    assert convs == 18, "as deep whatever the length of the shortcuts"
    check(model, lambda net, x: cifar(net, x, [BLOCKS[skip]] * 3, block, block == "post", shortcut), randomize, size)


def test_wide_resnet_is_the_formula(randomize):
    model = zoo.create("wide_resnet16_4", classes=5, input_shape=(17, 22, 3), widen=1.5)
    assert [model.get_layer(f"stage{stage}_block1_conv1").filters for stage in (1, 2, 3)] == [24, 48, 96]
    check(model, lambda net, x: cifar(net, x, [[2, 2]] * 3, "pre", False, "B"), randomize, (17, 22))


def test_resnet_in_resnet_is_the_formula(randomize):
    model = zoo.create("resnet_in_resnet", classes=5, input_shape=(17, 22, 3), design=Design(width=0.25))
    check(model, lambda net, x: rir(net, x, (4, 6, 6)), randomize, (17, 22))


# ---- knobs and options


def blocks_of(model):
    """Names of the blocks, in order, by their joins."""
    return [
        layer.name.removesuffix("_join").removesuffix("_r")
        for layer in model.layers
        if layer.name.endswith("_r_join" if model.name == "resnet_in_resnet" else "_join")
    ]


@pytest.mark.parametrize(
    "name", ["resnet20_cifar", "resnet20_cifar_v2", "wide_resnet16_4", "resnet_in_resnet", "resnet18", "resnet50_v2"]
)
@pytest.mark.parametrize("depth", [1, 3])
def test_depth_is_the_number_of_blocks_in_each_stage(name, depth):
    model = zoo.create(name, design=Design(depth=depth, width=0.25))
    stages = 4 if name in ("resnet18", "resnet50_v2") else 3
    expected = [f"stage{stage}_block{block}" for stage in range(1, stages + 1) for block in range(1, depth + 1)]
    assert blocks_of(model) == expected
    documented = zoo.cost(zoo.create(name, design=Design(width=0.25))).stride
    assert zoo.cost(model).stride == documented, "the resolution falls as before"


def test_depth_gives_the_paper_s_other_nets():
    for depth, name in ((5, "resnet32_cifar"), (5, "resnet32_cifar_v2")):
        one, other = zoo.create(name.replace("32", "20"), design=Design(depth=depth), name=name), zoo.create(name)
        assert json.dumps(one.get_config()) == json.dumps(other.get_config())


@pytest.mark.parametrize("name", ["resnet20_cifar", "resnet20_cifar_v2", "resnet_in_resnet", "resnet18"])
def test_drop_path_rises_linearly_from_the_input(name):
    model = zoo.create(name, design=Design(drop_path=0.4, width=0.25))
    blocks = blocks_of(model)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, layers.DropPath)}
    branches = ("rr_drop", "tr_drop") if name == "resnet_in_resnet" else ("drop",)
    assert set(rates) == {f"{block}_{branch}" for block in blocks for branch in branches}
    for number, block in enumerate(blocks, 1):
        for branch in branches:
            assert rates[f"{block}_{branch}"] == pytest.approx(0.4 * number / len(blocks))
            join = model.get_layer(f"{block}_r_join" if name == "resnet_in_resnet" else f"{block}_join")
            assert any(t is model.get_layer(f"{block}_{branch}").output for t in join.input), "last on its branch"
    without = zoo.create(name, design=Design(drop_path=0.0, width=0.25))
    assert not any(isinstance(layer, layers.DropPath) for layer in without.layers)


@pytest.mark.parametrize("name, end", [("resnet20_cifar", "act"), ("resnet20_cifar_v2", "join")])
def test_drop_path_leaves_the_shortcut_and_inference_alone(name, end, randomize):
    """With nearly every branch dropped, the last block of most images is its shortcut."""
    plain = randomize(zoo.create(name, input_shape=(8, 8, 3)))
    model = zoo.create(name, input_shape=(8, 8, 3), design=Design(drop_path=0.999))
    model.set_weights(plain.get_weights())
    x = draw((64, 8, 8, 3), low=0, high=255)
    np.testing.assert_array_equal(numpy(model(x, training=False)), numpy(plain(x, training=False)))
    ends = keras.Model(model.input, [model.get_layer(f"stage3_block{n}_{end}").output for n in (2, 3)])
    before, after = (numpy(y) for y in ends(x, training=True))
    assert (before == after).reshape(64, -1).all(1).sum() >= 60
    assert before.any()


def test_zero_gamma_starts_each_block_as_its_shortcut():
    model = zoo.create("resnet20_cifar", input_shape=(8, 8, 3), zero_gamma=True)
    zeros = [layer.name for layer in model.layers if layer.name.endswith("_norm") and not numpy(layer.gamma).any()]
    assert zeros == [f"stage{stage}_block{block}_conv2_norm" for stage in (1, 2, 3) for block in (1, 2, 3)]
    stem = keras.Model(model.input, [model.get_layer(name).output for name in ("stem_act", "stage1_block3_act")])
    np.testing.assert_allclose(*(numpy(y) for y in stem(draw((2, 8, 8, 3)), training=True)), atol=1e-6)
    deep = zoo.create("resnet50", zero_gamma=True, design=Design(width=0.25))
    zeros = [layer.name for layer in deep.layers if layer.name.endswith("_norm") and not numpy(layer.gamma).any()]
    assert len(zeros) == 16 and all(name.endswith("conv3_norm") for name in zeros)


def test_dropout_of_a_wide_resnet_is_between_its_convolutions():
    model = zoo.create("wide_resnet16_4", design=Design(dropout=0.3, width=0.25))
    found = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert found == [f"stage{stage}_block{block}_dropout1" for stage in (1, 2, 3) for block in (1, 2)]
    for name in found:
        after = [node.operation.name for node in model.get_layer(name)._outbound_nodes]
        assert after in ([name.replace("dropout1", "conv2")], [name.replace("dropout1", "conv2_pad")])


@pytest.mark.parametrize("normalization", ["batch", "none"])
@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("name", ["resnet20_cifar_v2", "resnet_in_resnet"])
def test_biases_are_where_no_normalization_follows(name, position, normalization):
    if normalization == "none" and position == "after":
        return
    design = Design(normalization=normalization, norm_position=position, width=0.25)
    model = zoo.create(name, design=design)
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D) and layer.name != "head"]
    assert {layer.use_bias for layer in convs} == {normalization == "none" or position == "after"}


def test_plan():
    rows = list(residual.plan((1, 2), Design(skip_length=4), convs=3))
    assert [(row.name, row.convs, row.first, row.last, row.depth) for row in rows] == [
        ("stage1_block1", 3, True, True, 1 / 3),
        ("stage2_block1", 4, True, False, 2 / 3),
        ("stage2_block2", 2, False, True, 1.0),
    ]
    assert [row.last for row in residual.plan((1, 2), Design())] == [True, False, True]


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("resnet20_cifar_v2", {"shortcut": "C"}, "shortcut 'A' or 'B', received 'C'"),
        ("wide_resnet28_10", {"depth": 29}, "depth to be 6n \\+ 4: .*received 29"),
        ("wide_resnet28_10", {"depth": 4}, "depth"),
        ("wide_resnet28_10", {"depth": 28.0}, "depth"),
        ("wide_resnet28_10", {"depth": True}, "depth"),
        ("wide_resnet28_10", {"widen": -1}, "widen to be a positive number, received -1"),
        ("wide_resnet28_10", {"widen": float("nan")}, "widen"),
        ("wide_resnet28_10", {"widen": "wide"}, "widen"),
        ("resnet18", {"zero_gamma": True, "design": Design(normalization="none")}, "a scale .*received 'none'"),
        ("resnet50", {"design": Design(skip_length=2)}, "no shortcuts of variable length"),
        ("resnet_in_resnet", {"design": Design(pooling="flatten")}, "no pooling before its head"),
        ("wide_resnet16_4", {"design": Design(freeze="square")}, "no branches that can be frozen"),
    ],
)
def test_options_are_checked(name, options, message):
    with pytest.raises(ValueError, match=message):
        zoo.create(name, **options)


HEADS = {"softmax": (2,), "multilabel": (2,), "regression": (2,), "none": None}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ["resnet_in_resnet", "wide_resnet16_4", "resnet18", "resnet20_cifar_v2"])
def test_heads(name, head):
    model = zoo.create(name, classes=2, input_shape=(32, 32, 1), head=head, design=Design(width=0.25, depth=1))
    found = model.output_shape[1:]
    assert found == HEADS[head] or head == "none" and len(found) == 1 and found[0] > 2
    assert zoo.class_names(model) == (["0", "1"] if head in ("softmax", "multilabel") else None)


FAMILIES = ["resnet18", "resnet50", "resnet50_v1", "resnet50_v2", "resnet20_cifar_v2", "wide_resnet16_4"]


@pytest.mark.parametrize("name", [*(pytest.param(n, marks=slow) for n in FAMILIES), "resnet_in_resnet"])
def test_every_kind_of_knob_at_once(name):
    knobs = {
        "activation": "maxout",
        "normalization": "group",
        "norm_position": "after",
        "join": "concat",
        "conv": "separable",
        "dropout": 0.2,
        "drop_path": 0.2,
        "skip_length": 1,
        "depth": 2,
        "transition": "concat",
        "head_layers": (6,),
        "width": 0.1,
        "stem_width": 24,
        "preprocessing": "standardize",
    }
    design = Design(**{knob: value for knob, value in knobs.items() if knob in zoo.info(name).knobs})
    model = zoo.create(name, classes=2, input_shape=(32, 32, 1), design=design)
    model.compile("sgd", "mse", run_eagerly=BACKEND == "tensorflow")
    before = [numpy(v) for v in model.trainable_variables]
    model.train_on_batch(draw((4, 32, 32, 1), low=0, high=255), np.ones((4, 2)))
    assert all(np.isfinite(numpy(v)).all() for v in model.weights)
    assert any((numpy(v) != old).any() for v, old in zip(model.trainable_variables, before, strict=True))
