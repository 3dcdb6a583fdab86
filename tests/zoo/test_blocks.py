import dataclasses

import keras
import numpy as np
import pytest
from harness import draw, numpy

from convcraft import zoo
from convcraft.layers import BatchNormalization, CeilMaxPooling2D
from convcraft.zoo import Design, blocks
from convcraft.zoo.design import ACTIVATIONS

PLAIN = Design(activation="relu", normalization="none", norm_position="before", pool_position="after", conv="plain")


def model_of(build, shape=(8, 8, 4)):
    """A model of what `build` makes of an input."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, build(inputs))


def kinds(model):
    return [type(layer).__name__ for layer in model.layers[1:]]


def design(**knobs):
    return Design(**knobs).over(PLAIN)


def test_activations_follow_their_formulas():
    x = 3 * draw((4, 6))
    negative = np.minimum(x, 0)
    expected = {
        "relu": np.maximum(x, 0),
        "relu6": np.clip(x, 0, 6),
        "leaky": np.where(x > 0, x, 0.01 * x),
        "very_leaky": np.where(x > 0, x, x / 3),
        "prelu": np.where(x > 0, x, 0.25 * x),
        "prelu0.1": np.where(x > 0, x, 0.1 * x),
        "rrelu": np.where(x > 0, x, 11 / 48 * x),
        "rrelu_paper": np.where(x > 0, x, 2 / 11 * x),
        "elu": np.where(x > 0, x, np.expm1(negative)),
        "selu": 1.05070098 * np.where(x > 0, x, 1.67326324 * np.expm1(negative)),
        "gelu": None,
        "silu": x / (1 + np.exp(-x)),
        "hard_silu": x * np.clip(x + 3, 0, 6) / 6,
        "softplus": np.log1p(np.exp(x)),
        "softplus_log2": np.log1p(np.exp(x)) - np.log(2),
        "sigmoid": 1 / (1 + np.exp(-x)),
        "tanh": np.tanh(x),
        "scaled_tanh": 1.73 * np.tanh(2 * x / 3),
        "maxout": np.maximum(x[:, :3], x[:, 3:]),
        "linear": x,
    }
    assert set(expected) == set(ACTIVATIONS)
    for kind, y in expected.items():
        model = model_of(lambda inputs, kind=kind: blocks.activate(inputs, kind, "act"), (6,))
        if y is None:  # GELU: x times the normal distribution function
            from scipy.stats import norm

            y = x * norm.cdf(x)
        np.testing.assert_allclose(numpy(model(x, training=False)), y, rtol=1e-4, atol=1e-5, err_msg=kind)


def test_activations_with_numbers():
    """Maxout of three pieces triples what comes before it; slopes are what the name says."""
    knobs = design(activation="maxout3", head_activation="maxout3", head_layers=(5,))
    model = model_of(
        lambda x: blocks.head(blocks.after_join(blocks.conv(x, 6, 3, 1, knobs, "c"), knobs, "a"), ["x", "y"], knobs)
    )
    widths = {layer.name: layer.output.shape[-1] for layer in model.layers[1:]}
    expected = {"c": 18, "c_act": 6, "a_pieces": 18, "a": 6, "head_dense1": 15, "head_dense1_act": 5}
    assert expected.items() <= widths.items()
    model = model_of(lambda x: blocks.conv(x, 6, 3, 1, design(activation="prelu0.05"), "c"))
    np.testing.assert_allclose(numpy(model.get_layer("c_act").alpha), 0.05)
    with pytest.raises(ValueError, match="activation"):
        Design(activation="prelu0.05x")


def test_prelu_has_one_slope_a_channel():
    model = model_of(lambda x: blocks.activate(x, "prelu", "act"), (None, None, 5))
    assert [tuple(v.shape) for v in model.trainable_variables] == [(1, 1, 5)]


@pytest.mark.parametrize(
    "kind, axes, shape",
    [("layer", (1, 2, 3), None), ("instance", (1, 2), None), ("group", (1, 2, 4), (2, 8, 8, 2, 8)), ("none", (), None)],
)
def test_normalizations_have_the_axes_of_their_names(kind, axes, shape):
    x = 3 + 2 * draw((2, 8, 8, 16))
    y = numpy(model_of(lambda inputs: blocks.normalize(inputs, kind, "norm"), (8, 8, 16))(x))
    grouped = x.reshape(shape) if shape else x
    expected = grouped
    if axes:
        mean, std = grouped.mean(axes, keepdims=True), grouped.std(axes, keepdims=True)
        expected = (grouped - mean) / np.sqrt(std**2 + 1e-3)
    np.testing.assert_allclose(y, expected.reshape(x.shape), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind, bias, alpha", [("lrn", 2, 1e-4), ("lrn_caffe", 1, 1e-4 / 5)])
def test_local_response_normalization_is_the_formula(kind, bias, alpha):
    """x / (k + alpha sum)^.75 over five neighbouring channels; facts.md 10.2 has the constants."""
    x = 100 * draw((2, 3, 3, 9))
    squares = np.pad(x.astype("float64") ** 2, [(0, 0)] * 3 + [(2, 2)])
    sums = sum(squares[..., shift : shift + 9] for shift in range(5))
    y = numpy(model_of(lambda inputs: blocks.normalize(inputs, kind, "norm"), (3, 3, 9))(x))
    np.testing.assert_allclose(y, x / (bias + alpha * sums) ** 0.75, rtol=1e-4, atol=1e-5)


def test_local_response_normalization_has_no_offset_and_is_left_out_where_the_paper_has_none():
    for kind, there in (("lrn", False), ("lrn_caffe", False), ("batch", True), ("none", False)):
        knobs = design(normalization=kind)
        assert model_of(lambda x, k=knobs: blocks.conv(x, 4, 3, 1, k, "c")).get_layer("c").use_bias == (kind != "batch")
        bare = blocks.without_lrn(knobs)
        assert (bare.normalization == kind) == (kind in ("batch", "none"))
        names = [layer.name for layer in model_of(lambda x, k=bare: blocks.conv(x, 4, 3, 1, k, "c")).layers]
        assert ("c_norm" in names) == there


def test_group_normalization_of_any_number_of_channels():
    for channels in (1, 3, 8, 12, 20, 23):
        y = model_of(lambda x: blocks.normalize(x, "group", "norm"), (4, 4, channels))(draw((1, 4, 4, channels)))
        assert np.isfinite(numpy(y)).all()


def test_batch_normalization_is_ours():
    layer = model_of(lambda x: blocks.normalize(x, "batch", "norm")).get_layer("norm")
    assert type(layer) is BatchNormalization
    # PyTorch's, in Keras's terms: with Keras's .99 inference is wrong for hundreds of steps
    assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)


@pytest.mark.parametrize(
    "knobs, options, order",
    [
        ({}, {}, "Conv2D ReLU"),
        ({"normalization": "batch"}, {}, "Conv2D BatchNormalization ReLU"),
        ({"normalization": "batch", "norm_position": "after"}, {}, "Conv2D ReLU BatchNormalization"),
        ({"normalization": "batch"}, {"act": False}, "Conv2D BatchNormalization"),
        ({"normalization": "batch", "norm_position": "after"}, {"act": False}, "Conv2D BatchNormalization"),
        ({}, {"pool": True}, "Conv2D ReLU MaxPooling2D"),
        ({"pool_position": "before"}, {"pool": True}, "Conv2D MaxPooling2D ReLU"),
        ({"pool_position": "before"}, {"pool": True, "act": False}, "Conv2D MaxPooling2D"),
        (
            {"normalization": "batch", "pool_position": "before"},
            {"pool": True},
            "Conv2D BatchNormalization MaxPooling2D ReLU",
        ),
        (
            {"normalization": "batch", "pool_position": "before"},
            {"pool": True, "act": False},
            "Conv2D BatchNormalization MaxPooling2D",
        ),
        (
            {"normalization": "batch", "norm_position": "after", "pool_position": "before"},
            {"pool": True},
            "Conv2D MaxPooling2D ReLU BatchNormalization",
        ),
        (
            {"normalization": "batch", "norm_position": "after"},
            {"pool": True},
            "Conv2D ReLU BatchNormalization MaxPooling2D",
        ),
    ],
)
def test_order_in_a_block(knobs, options, order):
    options = {**options, "pool": {"name": "pool"}} if "pool" in options else options
    model = model_of(lambda x: blocks.conv(x, 6, 3, 1, design(**knobs), "c", **options))
    assert [kind.replace("Activation", "ReLU") for kind in kinds(model)] == order.split()
    # the offset of a normalization that follows at once does what a bias would
    assert model.get_layer("c").use_bias == ("Conv2D BatchNormalization" not in order)


@pytest.mark.parametrize("activation", ["relu", "leaky", "elu", "sigmoid", "maxout", "prelu0.1"])
@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_max_pooling_before_a_rising_activation_gives_the_same(activation, normalization, randomize):
    x, outputs = draw((2, 9, 8, 4)), []
    for position in ("before", "after"):
        knobs = design(activation=activation, normalization=normalization, pool_position=position)
        pool = {"name": "pool", "size": 3, "stride": 2, "ceil": True}
        model = randomize(model_of(lambda x, k=knobs, p=pool: blocks.conv(x, 6, 3, 1, k, "c", pool=p), (9, 8, 4)))
        outputs.append(numpy(model(x, training=False)))
    assert outputs[0].shape == (2, 4, 4, 6) and outputs[0].std() > 0.01
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 11])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [11, 12])
def test_padding_is_alike_on_both_sides(kernel, stride, size):
    """A symmetric kernel of ones then gives a mirrored image for a mirrored image, where the stride allows it."""
    model = model_of(lambda x: blocks.conv(x, 1, kernel, stride, PLAIN, "c"), (size, size, 1))
    model.get_layer("c").set_weights([np.ones((kernel, kernel, 1, 1)), np.zeros(1)])
    x = draw((1, size, size, 1), low=0)
    padded = np.pad(x[0, :, :, 0], kernel // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel))[::stride, ::stride]
    np.testing.assert_allclose(numpy(model(x))[0, :, :, 0], windows.sum((-1, -2)), rtol=1e-4)


@pytest.mark.parametrize(
    "kind, parameters, shapes",
    [
        ("plain", 3 * 3 * 8 * 16 + 16, {"c": (3, 3, 8, 16)}),
        ("separable", 3 * 3 * 8 + 8 * 16 + 16, {"c_depthwise": (3, 3, 8, 1), "c": (1, 1, 8, 16)}),
        ("factored", 3 * 8 * 16 + 3 * 16 * 16 + 16, {"c_row": (1, 3, 8, 16), "c": (3, 1, 16, 16)}),
        ("grouped", 3 * 3 * 4 * 16 + 16, {"c": (3, 3, 4, 16)}),
    ],
)
@pytest.mark.parametrize("stride", [1, 2])
def test_kinds_of_convolution(kind, parameters, shapes, stride):
    model = model_of(lambda x: blocks.conv(x, 16, 3, stride, design(conv=kind), "c"), (9, 9, 8))
    assert model.count_params() == parameters
    assert {name: tuple(model.get_layer(name).kernel.shape) for name in shapes} == shapes
    assert model.output_shape == (None, -(-9 // stride), -(-9 // stride), 16)
    # a 1x1 kernel has nothing to take apart
    assert kinds(model_of(lambda x: blocks.conv(x, 16, 1, 1, design(conv=kind), "c")))[0] == "Conv2D"


def test_groups_that_the_architecture_asks_for_stay():
    for kind in ("plain", "grouped"):
        model = model_of(lambda x, kind=kind: blocks.conv(x, 16, 3, 1, design(conv=kind), "c", groups=4), (8, 8, 8))
        assert model.get_layer("c").groups == 4
    # channels that cannot be halved stay together, as the three colours
    model = model_of(lambda x: blocks.conv(x, 16, 3, 1, design(conv="grouped"), "c"), (8, 8, 3))
    assert model.get_layer("c").groups == 1


def test_kernel_size_replaces_three_only():
    for kernel, expected in ((3, 5), (1, 1), (7, 7)):
        model = model_of(lambda x, k=kernel: blocks.conv(x, 4, k, 2, design(kernel_size=5), "c"), (9, 9, 2))
        assert model.get_layer("c").kernel_size == (expected, expected)
        assert model.output_shape == (None, 5, 5, 4)


def test_width_scales_all_and_leaves_one_channel_at_least():
    for width, expected in ((None, 16), (0.5, 8), (1.5, 24), (0.01, 1)):
        model = model_of(lambda x, w=width: blocks.conv(x, 16, 3, 1, design(width=w), "c"))
        assert model.output_shape[-1] == expected


def test_kernels_are_regularized_and_constrained_everywhere():
    knobs = {"kernel_regularizer": "l2", "kernel_constraint": "non_neg"}
    for name in ("squeezenet_cifar", "resnet20_cifar"):
        for kind in ("separable", "factored"):
            more = {"head_layers": (8,)} if name == "resnet20_cifar" else {"transition": "stride"}
            chosen = Design(**knobs, **more, conv=kind, activation="maxout", width=0.25)
            model = zoo.create(name, input_shape=(16, 16, 3), design=chosen)
            kernels = [v for v in model.trainable_variables if len(v.shape) in (2, 4) and min(v.shape[-2:]) > 0]
            kernels = [v for v in kernels if "norm" not in v.path]
            assert len(kernels) > 20
            for v in kernels:
                assert v.regularizer is not None and v.constraint is not None, v.path


BATCH = design(normalization="batch")


def cost_of(build, shape=(32, 32, 256)):
    return zoo.cost(model_of(build, shape))


def test_bottleneck_costs_a_third():
    """facts.md, section 14: 16.8 + 75.5 = 92 million multiply-adds in place of 302."""
    direct = cost_of(lambda x: blocks.conv(x, 128, 3, 1, BATCH, "c"))
    found = cost_of(lambda x: blocks.bottleneck(x, 64, 128, 1, BATCH, "b"))
    each = {row.name: row.multiply_adds for row in found.layers if row.multiply_adds}
    assert each == {"b_conv1": 16_777_216, "b_conv2": 75_497_472}
    assert (found.multiply_adds, direct.multiply_adds) == (92_274_688, 301_989_888)


def test_bottleneck_that_widens_again():
    model = model_of(lambda x: blocks.bottleneck(x, 4, 6, 2, BATCH, "b", widen=16, act=False), (8, 8, 16))
    assert model.output_shape == (None, 4, 4, 16)
    names = "b_conv1 b_conv1_norm b_conv1_act b_conv2_pad b_conv2 b_conv2_norm b_conv2_act b_conv3 b_conv3_norm"
    assert [layer.name for layer in model.layers[1:]] == names.split()
    assert model.get_layer("b_conv2").strides == (2, 2)  # where it sees every pixel
    last = model_of(lambda x: blocks.bottleneck(x, 4, 6, 1, BATCH, "b", act=False))
    assert [layer.name for layer in last.layers][-1] == "b_conv2_norm"


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [9, 10])
@pytest.mark.parametrize("padding", ["same", "keras", "end"])
def test_padding_of_depthwise_convolutions(kernel, size, padding):
    """The window that the first output sees starts so many pixels before the image."""
    model = model_of(lambda x: blocks.depthwise(x, kernel, 2, PLAIN, "d", padding=padding), (size, size, 1))
    model.get_layer("d").set_weights([np.ones((kernel, kernel, 1, 1)), np.zeros(1)])
    x = draw((1, size, size, 1), low=0)
    total = {"same": kernel - 1, "end": kernel - 2, "keras": kernel - 2 + size % 2}[padding]
    start = (total + 1) // 2 if padding == "same" else total // 2
    padded = np.pad(x, [(0, 0), (start, total - start), (start, total - start), (0, 0)])
    expected = block(padded, kernel, 2).sum((-1, -2))
    np.testing.assert_allclose(numpy(model(x)), expected, rtol=1e-4)
    assert ("d_pad" in [layer.name for layer in model.layers]) == (padding != "keras")
    if padding == "keras":  # as of full convolutions
        full = model_of(lambda x: blocks.conv(x, 1, kernel, 2, PLAIN, "c", padding="keras"), (size, size, 1))
        full.set_weights(model.get_weights())
        np.testing.assert_allclose(numpy(full(x)), expected, rtol=1e-4)


@pytest.mark.parametrize("knobs", [{}, {"norm_position": "after"}, {"activation": "maxout"}])
def test_order_of_depthwise_blocks(knobs):
    model = model_of(lambda x: blocks.depthwise(x, 3, 1, design(normalization="batch", **knobs), "d"))
    order = {"norm_position": ["d", "d_act", "d_norm"], "activation": ["d", "d_norm"]}
    assert [layer.name for layer in model.layers[1:]] == order.get(next(iter(knobs), None), ["d", "d_norm", "d_act"])
    assert model.get_layer("d").use_bias == ("norm_position" in knobs)


def test_kernels_of_height_and_width():
    shapes = {}
    for kind in ("plain", "separable", "factored", "grouped"):
        model = model_of(lambda x, kind=kind: blocks.conv(x, 6, (1, 7), 1, design(conv=kind), "c"))
        shapes[kind] = {layer.name: tuple(layer.kernel.shape) for layer in model.layers if hasattr(layer, "kernel")}
        assert model.output_shape == (None, 8, 8, 6)
    assert shapes["plain"] == shapes["factored"] == {"c": (1, 7, 4, 6)}
    assert shapes["separable"] == {"c_depthwise": (1, 7, 4, 1), "c": (1, 1, 4, 6)}
    assert shapes["grouped"] == {"c": (1, 7, 2, 6)}


def test_separable_has_an_eighth_of_the_weights():
    """facts.md, section 14: 2,304 + 32,768 = 35,072 weights in place of 294,912."""
    model = model_of(lambda x: blocks.separable(x, 128, 3, 1, BATCH, "s"), (32, 32, 256))
    weights = {layer.name: layer.count_params() for layer in model.layers if "conv" in type(layer).__name__.lower()}
    assert weights == {"s_depthwise": 2304, "s": 32_768} and sum(weights.values()) == 35_072
    direct = model_of(lambda x: blocks.conv(x, 128, 3, 1, BATCH, "c"), (32, 32, 256))
    assert direct.get_layer("c").count_params() == 294_912
    assert zoo.cost(model).multiply_adds == 32 * 32 * 35_072


def test_separable_is_the_formula(randomize):
    """One kernel a channel, ReLU, then a matrix product, ReLU."""
    x = draw((2, 8, 8, 4))
    model = randomize(model_of(lambda x: blocks.separable(x, 6, 3, 2, design(), "s")))
    kernel, bias = model.get_layer("s_depthwise").get_weights()
    windows = block(np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]), 3, 2)
    y = np.maximum(np.einsum("bhwcij,ijcm->bhwc", windows, kernel) + bias, 0)
    kernel, bias = model.get_layer("s").get_weights()
    np.testing.assert_allclose(numpy(model(x)), np.maximum(y @ kernel[0, 0] + bias, 0), rtol=1e-4, atol=1e-5)
    for knobs in (design(activation="maxout", normalization="batch"), design(kernel_size=5, width=0.5)):
        model = model_of(lambda x, knobs=knobs: blocks.separable(x, 6, 3, 1, knobs, "s", act=False))
        assert model.output_shape == (None, 8, 8, 6 if knobs.width is None else 3)
        assert model.get_layer("s_depthwise").kernel_size[0] == (knobs.kernel_size or 3)


def test_fire():
    model = model_of(lambda x: blocks.fire(x, 2, 8, PLAIN, "f"))
    assert model.output_shape == (None, 8, 8, 16)
    assert model.count_params() == (4 * 2 + 2) + (2 * 8 + 8) + (9 * 2 * 8 + 8)
    expected = ["f_squeeze", "f_expand1x1", "f_expand3x3"]
    assert [layer.name for layer in model.layers if hasattr(layer, "kernel")] == expected


def block(x, size, stride):
    """The windows of an image as a list, without those that hang over the edge."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
    return windows[:, ::stride, ::stride]


def test_transitions(randomize):
    x = draw((2, 8, 8, 4))
    tiles = block(x, 2, 2)
    largest, mean = tiles.max((-1, -2)), tiles.mean((-1, -2))
    found = {}
    for kind in ("max", "avg", "max+avg", "stride", "concat"):
        model = randomize(model_of(lambda x, k=kind: blocks.downsample(x, design(transition=k), "pool")))
        assert "pool" in [layer.name for layer in model.layers]
        found[kind] = numpy(model(x)), model
    np.testing.assert_allclose(found["max"][0], largest, rtol=1e-6)
    np.testing.assert_allclose(found["avg"][0], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["max+avg"][0], largest + mean, rtol=1e-5, atol=1e-5)
    kernel, bias = found["stride"][1].get_layer("pool").get_weights()
    np.testing.assert_allclose(found["stride"][0], np.einsum("bhwcij,ijco->bhwo", tiles, kernel) + bias, atol=1e-4)
    both, model = found["concat"]
    kernel, bias = model.get_layer("pool_conv").get_weights()
    np.testing.assert_allclose(both[..., :4], largest, rtol=1e-6)
    np.testing.assert_allclose(both[..., 4:], np.einsum("bhwcij,ijco->bhwo", tiles, kernel) + bias, atol=1e-4)
    assert both.shape[-1] == 4 + 2


@pytest.mark.parametrize("transition", [None, "max"])
def test_pooling_rounds_up_where_caffe_does(transition):
    def sizes(ceil):
        knobs = Design(transition=transition)
        model = model_of(lambda x: blocks.downsample(x, knobs, "pool", size=3, stride=2, ceil=ceil), (113, 112, 1))
        assert isinstance(model.get_layer("pool"), CeilMaxPooling2D) == ceil
        return model.output_shape[1:3]

    assert sizes(ceil=True) == (56, 56)
    assert sizes(ceil=False) == (57, 56)


@pytest.mark.parametrize("transition", ["max", "avg", "max+avg", "stride", "concat"])
@pytest.mark.parametrize("size", [31, 32, 33])
def test_every_transition_takes_every_size(transition, size):
    knobs = design(transition=transition)
    model = model_of(lambda x: blocks.downsample(x, knobs, "pool", size=3, stride=2, ceil=True), (size, size, 4))
    assert model.output_shape[1] in (size // 2, -(-size // 2))
    assert numpy(model(draw((1, size, size, 4)))).shape == (1, *model.output_shape[1:])


def test_joins():
    one, other = draw((2, 3, 3, 4)), draw((2, 3, 3, 4), seed=1)
    expected = {
        None: one + other,
        "sum": one + other,
        "mean": (one + other) / 2,
        "max": np.maximum(one, other),
        "concat": np.concatenate([one, other], -1),
    }
    for kind, y in expected.items():
        inputs = [keras.Input((3, 3, 4)), keras.Input((3, 3, 4))]
        model = keras.Model(inputs, blocks.join(inputs, Design(join=kind), "join"))
        np.testing.assert_allclose(numpy(model([one, other])), y, rtol=1e-6, atol=1e-6)


def test_after_join_makes_the_pieces_of_maxout():
    model = model_of(lambda x: blocks.after_join(x, design(activation="maxout"), "act"))
    assert [layer.name for layer in model.layers[1:]] == ["act_pieces", "act"]
    assert model.output_shape == (None, 8, 8, 4)
    assert kinds(model_of(lambda x: blocks.after_join(x, PLAIN, "act"))) == ["Activation"]


@pytest.mark.parametrize("name", ["squeezenet_cifar", "resnet20_cifar"])
@pytest.mark.parametrize("head", ["softmax", "multilabel", "regression", "none"])
def test_heads(name, head, randomize):
    names = ["ant", "bee", "cat"]
    small = Design(width=0.25)
    model = randomize(zoo.create(name, classes=names, input_shape=(16, 16, 3), head=head, design=small))
    x = draw((16, 16, 16, 3), low=0, high=255)
    y = numpy(model(x, training=False))
    if head == "none":
        assert y.shape == (16, {"squeezenet_cifar": 128, "resnet20_cifar": 16}[name])
        assert model.layers[-1].name == "pool"
    else:
        assert y.shape == (16, 3)
    assert zoo.class_names(model) == (names if head in ("softmax", "multilabel") else None)
    if head in ("multilabel", "regression"):  # a logit below zero must be possible: a probability below one half
        layer = model.get_layer("head")
        layer.set_weights([-w for w in layer.get_weights()])
        np.testing.assert_allclose(numpy(model(x, training=False)), -y, rtol=1e-4, atol=1e-4 * np.abs(y).max())
    if head == "regression":
        assert zoo.create(name, classes=2, head=head, design=small).output_shape == (None, 2)


def test_head_layers():
    knobs = design(head_layers=(12, 6), head_activation="maxout", dropout=0.4, dropout_min_units=10)
    model = model_of(lambda x: blocks.head(x, ["a", "b"], knobs))
    names = "pool head_dense1 head_dense1_act head_dense1_dropout head_dense2 head_dense2_act head class_names"
    assert [layer.name for layer in model.layers[1:]] == names.split()
    assert [model.get_layer(f"head_dense1{end}").output.shape[-1] for end in ("", "_act")] == [24, 12]
    assert model.get_layer("head_dense1_dropout").rate == 0.4


@pytest.mark.parametrize(
    "knobs, dropped",
    [
        ({}, False),
        ({"dropout": 0.5}, True),
        ({"dropout": 0.5, "dropout_min_units": 4}, True),
        ({"dropout": 0.5, "dropout_min_units": 5}, False),
        ({"dropout": 0.0}, False),
    ],
)
def test_dropout_without_head_layers_is_on_the_pooled_features(knobs, dropped):
    model = model_of(lambda x: blocks.head(x, ["a", "b"], design(**knobs)))  # four channels
    assert ("head_dropout" in [layer.name for layer in model.layers]) == dropped


@pytest.mark.parametrize("kind, expected", [("gap", (4,)), ("flatten", (8 * 6 * 4,)), ("adaptive", (2 * 2 * 4,))])
def test_pooling_before_the_head(kind, expected):
    x = draw((2, 8, 6, 4))
    y = numpy(model_of(lambda inputs: blocks.pooled(inputs, Design(pooling=kind)), (8, 6, 4))(x))
    assert y.shape == (2, *expected)
    values = {
        "gap": x.mean((1, 2)),
        "flatten": x.reshape(2, -1),
        "adaptive": x.reshape(2, 2, 4, 2, 3, 4).mean((2, 4)).reshape(2, -1),
    }
    np.testing.assert_allclose(y, values[kind], rtol=1e-5, atol=1e-6)


FLAT = design(pooling="flatten", head_layers=(7, 5), head_activation="prelu", dropout=0.5)


@pytest.mark.parametrize("knobs", [{}, {"head_layers": ()}, {"head_activation": "maxout"}])
@pytest.mark.parametrize("kind", ["softmax", "regression"])
def test_flattening_heads_slide_over_images_of_any_size(knobs, kind, randomize):
    """The same weights by reshape; on larger features the mean of what each window of the documented size gives."""
    knobs = dataclasses.replace(FLAT, **knobs)

    def build(size):
        return model_of(lambda x: blocks.head(x, ["a", "b", "c"], knobs, kind, grid=(3, 2)), (*size, 4))

    fixed, free = randomize(build((3, 2))), build((None, None))
    assert free.get_layer("head_dense1" if knobs.head_layers else "head").kernel_size == (3, 2)
    assert [layer.name for layer in free.layers if layer.weights] == [la.name for la in fixed.layers if la.weights]
    free.set_weights([w.reshape(v.shape) for w, v in zip(fixed.get_weights(), free.weights, strict=True)])
    x = draw((2, 5, 4, 4))
    windows = [x[:, i : i + 3, j : j + 2] for i in range(3) for j in range(3)]
    expected = np.mean([numpy(fixed(window)) for window in windows], axis=0)
    np.testing.assert_allclose(numpy(free(windows[0])), numpy(fixed(windows[0])), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(free(x)), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="SlidingDense: expected features of at least 3x2"):
        free(x[:, :2])


def test_flattening_heads_without_a_classifier_average_to_the_documented_size():
    def build(size):
        return model_of(lambda x: blocks.head(x, 3, FLAT, "none", grid=2), (*size, 4))

    x = draw((2, 6, 4, 4))
    np.testing.assert_allclose(numpy(build((None, None))(x[:, :2, :2])), x[:, :2, :2].reshape(2, -1), rtol=1e-6)
    tiles = x.reshape(2, 2, 3, 2, 2, 4).mean((2, 4)).reshape(2, -1)
    np.testing.assert_allclose(numpy(build((None, None))(x)), tiles, rtol=1e-4, atol=1e-5)
    assert build((6, 4)).output_shape == (None, 96)


def test_heads_leave_dropout_to_the_body_where_that_has_places_for_it():
    for options in ({}, {"kernel": 1}):
        for drop in (True, False):
            model = model_of(lambda x, o=options, d=drop: blocks.head(x, ["a"], design(dropout=0.5), drop=d, **o))
            assert ("head_dropout" in [layer.name for layer in model.layers]) == drop


MEAN, STD = (120.0, 100.0, 80.0), (60.0, 50.0, 40.0)


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("divide", [True, False])
@pytest.mark.parametrize("kind", ["paper", "standardize", "squeeze", "none", None])
def test_preprocess(kind, divide, channels):
    model = model_of(lambda x: blocks.preprocess(x, Design(preprocessing=kind), MEAN, STD, divide), (4, 4, channels))
    x = draw((2, 4, 4, channels), low=0, high=255)
    mean, std = (np.array(MEAN), np.array(STD)) if channels == 3 else (100.0, 50.0)
    if kind == "squeeze":
        expected = x / 127.5 - 1
        ends = numpy(model(np.float32([0, 255]).reshape(2, 1, 1, 1) * np.ones((1, 4, 4, channels), "float32")))
        np.testing.assert_allclose([ends[0].max(), ends[1].min()], [-1, 1], atol=1e-6)
    elif kind == "none":
        expected = x
    else:
        expected = (x - mean) / (std if divide or kind == "standardize" else 1)
    np.testing.assert_allclose(numpy(model(x)), expected, rtol=1e-4, atol=1e-4)
    assert [layer.name for layer in model.layers[1:]] == ([] if kind == "none" else ["preprocess"])


@pytest.mark.parametrize("name", ["squeezenet_cifar", "resnet20_cifar"])
def test_grey_images(name):
    model = zoo.create(name, input_shape=(16, 16, 1), design=Design(width=0.25))
    assert model.get_layer("stem").kernel.shape[2] == 1
    assert np.isfinite(numpy(model(draw((1, 16, 16, 1), low=0, high=255)))).all()
