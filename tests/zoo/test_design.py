import dataclasses

import keras
import numpy as np
import pytest
from harness import BACKEND, SEGMENTATION, draw, numpy, unlisted

from convcraft import zoo
from convcraft.zoo import Design
from convcraft.zoo.design import ACTIVATIONS, NORMALIZATIONS

# Every value of every knob, beside what else the knob needs to be seen: knob: (values, other knobs)
VALUES: dict[str, tuple] = {
    "activation": (ACTIVATIONS, {}),
    "head_activation": (ACTIVATIONS, {"head_layers": (48,)}),
    "normalization": (NORMALIZATIONS, {}),
    "norm_position": (("before", "after"), {"normalization": "batch"}),
    "pool_position": (("before", "after"), {"transition": "avg"}),  # after max pooling it is a matter of cost only
    "transition": (("max", "avg", "max+avg", "stride", "concat"), {}),
    "join": (("sum", "mean", "max", "concat"), {}),
    "conv": (("plain", "separable", "factored", "grouped"), {}),
    "kernel_size": ((3, 5, 7), {}),
    "conv_init": (("orthogonal", keras.initializers.RandomNormal(stddev=0.2)), {}),
    "dense_init": (("he_normal", keras.initializers.RandomNormal(stddev=0.2)), {}),
    "kernel_regularizer": (("l2", keras.regularizers.L1(0.1)), {}),
    "kernel_constraint": (("unit_norm", keras.constraints.MaxNorm(0.5)), {}),
    "dropout": ((0.0, 0.3), {}),
    "dropout_min_units": ((8, 13), {"dropout": 0.5, "head_layers": (12,)}),
    "width": ((0.5, 0.11, 1), {}),
    "width_schedule": (("pyramid", "flat", "inverse"), {}),
    "stem_width": ((24, 48), {}),
    "stem_stride": ((1, 2, 4), {}),
    "head_layers": (((12,), (12, 9)), {}),
    "pooling": (("gap", "flatten", "adaptive"), {}),
    "preprocessing": (("paper", "standardize", "squeeze", "none"), {}),
    "drop_path": ((0.0, 0.3), {}),
    "freeze": (("square", "uniform", "reverse"), {}),
    "depth": ((1, 2), {}),
    "skip_length": ((1, 2, 4), {"depth": 2}),
}
# What keeps a model small, beside a quarter of its width; and the size of its images where that is not 16.
IMAGENET = ("resnet18", "resnet50", "resnet50_v1", "resnet50_v2")
BASE = {name: {"depth": 1} for name in ("resnet20_cifar_v2", "resnet_in_resnet", "wide_resnet16_4", *IMAGENET)}
SIZES = dict.fromkeys(IMAGENET, 64)  # of which 2x2 features are left
# Values that are the paper's own, or as good as: nothing may change.
SAME = {
    "squeezenet_cifar": {
        ("activation", "relu"),
        ("normalization", "none"),
        ("norm_position", "before"),
        ("pool_position", "after"),
        ("transition", "max"),
        ("conv", "plain"),
        ("kernel_size", 3),
        ("stem_stride", 1),
        ("preprocessing", "paper"),
    },
    "resnet20_cifar": {
        ("activation", "relu"),
        ("head_activation", "relu"),
        ("normalization", "batch"),
        ("norm_position", "before"),
        ("join", "sum"),
        ("conv", "plain"),
        ("kernel_size", 3),
        ("dropout", 0.0),
        ("dropout_min_units", 8),
        ("stem_stride", 1),
        ("pooling", "gap"),
        ("preprocessing", "paper"),
        ("preprocessing", "standardize"),
        ("drop_path", 0.0),
        ("skip_length", 2),
    },
}
_SMALL = {*SAME["resnet20_cifar"], ("depth", 1)}
_LARGE = {*_SMALL, ("transition", "max"), ("stem_stride", 2)} - {("stem_stride", 1)}
SAME |= {
    "resnet20_cifar_v2": _SMALL,
    "resnet_in_resnet": _SMALL | {("stem_width", 48)},
    "wide_resnet16_4": _SMALL,
    "resnet18": _LARGE,
    "resnet50": _LARGE,
    "resnet50_v1": _LARGE - {("preprocessing", "standardize")},
    "resnet50_v2": (_LARGE - {("preprocessing", "standardize")}) | {("preprocessing", "squeeze")},
}
_BODY = {
    ("activation", "relu"),
    ("normalization", "none"),
    ("norm_position", "before"),
    ("conv", "plain"),
    ("kernel_size", 3),
    ("stem_stride", 1),
    ("preprocessing", "paper"),
}
_POOLS = {("pool_position", "after"), ("transition", "max")}
_DENSE = {("head_activation", "relu"), ("dropout_min_units", 8)}
_CIFAR = {("preprocessing", "standardize")}
_STEM = {("stem_stride", 4)}
_GAP = {("pooling", "gap"), ("dropout", 0.0)}
SAME |= {
    "alexnet_2012": (_BODY | _POOLS | _DENSE | _STEM | {("pooling", "flatten"), ("normalization", "lrn")})
    - {("normalization", "none"), ("norm_position", "before"), ("stem_stride", 1)}
    | {("norm_position", "after")},
    "alexnet_cifar": (_BODY | _POOLS | _DENSE | _STEM | _GAP | _CIFAR) - {("stem_stride", 1)},
    "vgg11": _BODY | _POOLS | _DENSE | {("pooling", "flatten"), ("width_schedule", "pyramid")},
    "vgg_cifar": (_BODY | _POOLS | _DENSE | _GAP | _CIFAR | {("normalization", "batch"), ("width_schedule", "pyramid")})
    - {("normalization", "none")},
    "nin": (_BODY | _POOLS | _STEM) - {("stem_stride", 1)},
    "nin_cifar": (_BODY | _POOLS | _CIFAR) - {("transition", "max")},  # its second pooling is average
    "all_cnn_c": _BODY | _CIFAR,
    "plain_cnn": _BODY | _POOLS | _DENSE | _GAP | _CIFAR | {("width_schedule", "pyramid"), ("depth", 1)},
}
# three pixels or more must be left, for flatten, gap and adaptive to differ
# not the paper's inputs: where they are large, and nothing is normalized, all activations that end in x look alike
BASE |= dict.fromkeys(("alexnet_2012", "vgg11"), {"head_layers": (24, 16), "preprocessing": "standardize"})
for name in ("alexnet_2012", "vgg11"):
    SAME[name] = SAME[name] - {("preprocessing", "paper")} | _CIFAR
SIZES |= {"alexnet_2012": 131, "alexnet_cifar": 131, "vgg11": 128, "vgg_cifar": 128, "nin": 67, "plain_cnn": 48}
# Of the families that have their turn in the slow run, what the quick one tries.
SAMPLE = {
    ("alexnet_2012", "norm_position", "before"),
    ("alexnet_cifar", "head_layers", (12,)),
    ("vgg11", "pool_position", "before"),
    ("vgg11", "width_schedule", "flat"),
    ("nin_cifar", "transition", "max"),
    ("all_cnn_c", "dropout", 0.0),
    ("plain_cnn", "depth", 2),
    ("competitive_cifar", "join", "sum"),
    ("fcn8s", "head_layers", (12,)),
    ("water_unet", "join", "concat"),
}
_COMMON = {("normalization", "batch"), ("norm_position", "before"), ("kernel_size", 3), ("pooling", "gap")}
_COMMON |= {("dropout_min_units", 8), ("preprocessing", "paper")}
_MOBILE = _COMMON | {("preprocessing", "squeeze"), ("stem_stride", 1)}
_INVERTED = _MOBILE | {("join", "sum"), ("drop_path", 0.0)}
_INCEPTION = _COMMON | {("activation", "relu"), ("head_activation", "relu"), ("transition", "max"), ("conv", "plain")}
SAME |= {
    "mobilenet_v1_cifar": _MOBILE | {("activation", "relu6"), ("head_activation", "relu")},
    "mobilenet_v2_cifar": _INVERTED | {("activation", "relu6"), ("head_activation", "relu"), ("dropout", 0.0)},
    "mobilenet_v3_small_cifar": _INVERTED | {("activation", "hard_silu"), ("head_activation", "hard_silu")},
    "googlenet_cifar": _INCEPTION | {("stem_stride", 1)},
    "inception_v3": _INCEPTION | {("stem_stride", 2), ("preprocessing", "squeeze"), ("dropout", 0.0)},
}
# a ReLU, so that each kind of join and of activation shows; images large enough for what is open to be tiled or cut
BASE |= {
    "competitive_cifar": {"activation": "relu"},
    "fcn8s": {"head_layers": (24, 16)},
    # or nothing would reach six, where relu6 differs
    "water_unet": {"normalization": "none", "preprocessing": "none"},
}
SIZES |= {"maxout_cifar": 32, "fcn8s": 32}
_MAXOUT = {("activation", "maxout"), ("head_activation", "maxout"), ("stem_stride", 1), ("pooling", "flatten")}
SAME |= {
    "maxout_cifar": (_BODY | _POOLS | _CIFAR | _MAXOUT | {("dropout_min_units", 8)})
    - {("activation", "relu"), ("head_activation", "maxout")},
    "competitive_cifar": {("activation", "relu"), ("normalization", "batch"), ("join", "max"), ("transition", "max")}
    | {("conv", "plain"), ("preprocessing", "paper"), ("preprocessing", "standardize")},
    "fcn8s": _BODY | _POOLS | _DENSE | {("width_schedule", "pyramid")},
    "water_unet": {("activation", "relu"), ("normalization", "none"), ("norm_position", "before"), ("join", "sum")}
    | {("conv", "plain"), ("kernel_size", 3), ("preprocessing", "none"), ("drop_path", 0.0)}
    | {("dropout", 0.0), ("width", 0.11)},  # .11 and .25 of four channels are one
}
SIZES |= {"inception_v3": 155, "mobilenet_v1_cifar": 32}
SAME["mobilenet_v2_cifar"].add(("stem_width", 24))  # a quarter of 24 or of 32 is rounded to eight
NEW = unlisted([*SAME, "fractalnet20", "fof"])  # those two have a table of their own
# Of long lists, what differs in kind; test_blocks.py holds every activation and normalization to its formula.
QUICK = {
    "activation": ("relu", "rrelu", "maxout"),
    "head_activation": ("relu", "maxout"),
    "normalization": ("none", "batch", "instance"),
    "kernel_size": (3, 5),
    "width": (0.5,),
    "stem_width": (24,),
    "stem_stride": (1, 2),
    "transition": ("max", "avg", "concat"),
    "head_layers": ((12,),),
    "conv_init": ("orthogonal",),
    "dense_init": ("he_normal",),
    "kernel_regularizer": ("l2",),
    "kernel_constraint": ("unit_norm",),
}


def _slow(name, knob, value):
    """What one backend and one family have shown, the others repeat in the slow run only."""
    if name not in ("squeezenet_cifar", "resnet20_cifar"):
        return BACKEND != "tensorflow" or (name, knob, value) not in SAMPLE
    if BACKEND != "tensorflow" and (name, knob) not in {("squeezenet_cifar", "conv"), ("resnet20_cifar", "pooling")}:
        return True
    shared = knob in zoo.info("squeezenet_cifar").knobs and knob not in ("dropout", "norm_position")
    return value not in QUICK.get(knob, VALUES[knob][0]) or (name != "squeezenet_cifar" and shared)


CASES = [
    pytest.param(
        name,
        knob,
        value,
        id=f"{name}-{knob}-{value if isinstance(value, str | int | float | tuple) else 'instance'}",
        marks=[pytest.mark.slow] if _slow(name, knob, value) else [],
    )
    for name in [*SAME, *NEW]
    for knob in zoo.info(name).knobs
    for value in VALUES[knob][0]
]


def build(name, knobs):
    keras.utils.set_random_seed(1)  # so that two models of one shape start alike
    documented = min(64, zoo.info(name).input_shape[0]) if name in NEW else 16
    size, base = SIZES.get(name, documented), BASE.get(name, {})
    return zoo.create(name, classes=3, input_shape=(size, size, 3), design=Design(**{"width": 0.25, **base, **knobs}))


def observed(name, knobs, randomize, seen={}):  # noqa: B006 - the default is a cache
    """Shapes, initial weights, outputs, and weights after a step of training: whatever a knob could change."""
    key = (name, repr(knobs))
    if key not in seen:
        model = build(name, knobs)
        initial = [numpy(v) for v in model.weights]
        randomize(model)
        for layer in model.layers:  # far from zero, where all activations that end in a bound show it
            if layer.name.startswith("head_dense") and layer.weights:
                layer.set_weights([8 * weight for weight in layer.get_weights()])
        x = draw((8, *model.input_shape[1:]), low=0, high=255)
        outputs = numpy(model(x, training=False))
        model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
        wanted = np.eye(3, dtype="float32")[np.arange(8) % 3].reshape(8, *[1] * (outputs.ndim - 2), 3)
        loss = float(model.train_on_batch(x, np.broadcast_to(wanted, outputs.shape)))
        seen[key] = initial, outputs, [numpy(v) for v in model.weights], loss
    return seen[key]


def same(one, other):
    return len(one) == len(other) and all(
        a.shape == b.shape and np.allclose(a, b, 1e-4, 1e-5) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name, knob, value", CASES)
def test_each_value_of_each_knob_trains_and_shows(name, knob, value, randomize):
    others = VALUES[knob][1]
    if name in NEW and build(name, {**others, knob: value}).get_config() == build(name, others).get_config():
        changed = [build(name, {**others, knob: v}).get_config() for v in VALUES[knob][0] if v != value]
        assert any(config != build(name, others).get_config() for config in changed), "no value changes anything"
        return  # it is the paper's own
    if (knob, value) in SAME.get(name, ()):
        assert build(name, {**others, knob: value}).get_config() == build(name, others).get_config()
        return
    initial, outputs, trained, loss = observed(name, {**others, knob: value}, randomize)
    assert outputs.shape == (8, *([SIZES.get(name, 16)] * 2 if name in SEGMENTATION else []), 3)
    assert np.isfinite(loss) and all(np.isfinite(w).all() for w in trained)
    before = observed(name, others, randomize)
    drawn = knob.endswith("_init")  # the weights are replaced before the outputs are looked at
    unchanged = same(initial, before[0]) and (
        drawn or (same([outputs], [before[1]]) and same(trained, before[2]) and np.isclose(loss, before[3], 1e-4))
    )
    assert not unchanged


def test_every_declared_knob_is_tried():
    declared = {knob for name in zoo.list_models() for knob in zoo.info(name).knobs}
    assert declared <= set(VALUES)
    for knob, (values, _) in VALUES.items():
        allowed = next(f.metadata["values"] for f in dataclasses.fields(Design) if f.name == knob)
        assert set(allowed) - {"whitening"} <= set(values), knob


@pytest.mark.parametrize("name", [*SAME, *NEW])
def test_undeclared_knobs_say_why(name):
    declared = zoo.info(name).knobs
    reasons = set()
    undeclared = {"padding": "valid", "drop_path": 0.1, "freeze": "square", "depth": 3, "skip_length": 2}
    undeclared |= {"width_schedule": "flat", "pool_position": "before"}
    undeclared = {knob: value for knob, value in undeclared.items() if knob not in declared}
    undeclared |= {knob: values[-1] for knob, (values, _) in VALUES.items() if knob not in declared}
    assert set(undeclared) | set(declared) == {f.name for f in dataclasses.fields(Design)}
    for knob, value in undeclared.items():
        with pytest.raises(ValueError, match=f"{name}: the knob {knob}=.* cannot apply: this family has no ") as error:
            zoo.create(name, design=Design(**{knob: value}))
        reasons.add(str(error.value).partition("has no ")[2].partition(". Its")[0])
        assert declared[0] in str(error.value)
    assert len(reasons) >= len(undeclared) / 2, "the reasons are not all one phrase"


@pytest.mark.parametrize(
    "name, knobs, needed",
    [
        ("squeezenet_cifar", {"norm_position": "after"}, "normalization"),
        ("resnet20_cifar", {"norm_position": "after", "normalization": "none"}, "normalization"),
        ("resnet20_cifar", {"head_activation": "elu"}, "head_layers"),
        ("resnet20_cifar", {"head_activation": "elu", "head_layers": ()}, "head_layers"),
        ("resnet20_cifar", {"dropout_min_units": 256, "dropout": 0.0}, "dropout"),
    ],
)
def test_a_knob_that_another_leaves_idle_is_refused(name, knobs, needed):
    with pytest.raises(ValueError, match=f"{name}: the knob .* has no effect without {needed}, "):
        zoo.create(name, design=Design(**knobs))


def test_a_dense_layer_that_the_family_makes_itself_takes_an_activation():
    model = build("mobilenet_v3_small_cifar", {"head_activation": "elu"})
    assert model.get_layer("head_dense1_act").activation is keras.activations.elu


@pytest.mark.parametrize(
    "knobs, message",
    [
        ({"activation": "rleu"}, "activation to be None or one of relu, relu6, leaky, .*; received 'rleu'"),
        ({"normalization": "brn"}, "normalization .*batch, .*, lrn, lrn_caffe, none; received 'brn'"),
        ({"norm_position": "middle"}, "norm_position"),
        ({"pool_position": 1}, "pool_position"),
        ({"transition": "min"}, "transition"),
        ({"join": "add"}, "join"),
        ({"conv": "depthwise"}, "conv"),
        ({"kernel_size": 4}, "one of 3, 5, 7; received 4"),
        ({"kernel_size": (3, 3)}, "kernel_size"),
        ({"padding": "full"}, "padding"),
        ({"dropout": 1}, "dropout from 0 to below 1, received 1"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"dropout": "0.5"}, "dropout"),
        ({"dropout": True}, "dropout"),
        ({"drop_path": 1.5}, "drop_path"),
        ({"freeze": "circle"}, "freeze"),
        ({"width": 0}, "width to be a positive number, received 0"),
        ({"width": float("nan")}, "width"),
        ({"width": float("inf")}, "width"),
        ({"width": "wide"}, "width"),
        ({"width_schedule": "up"}, "width_schedule"),
        ({"stem_width": 0}, "stem_width to be a positive integer"),
        ({"stem_width": 2.5}, "stem_width"),
        ({"stem_stride": 3}, "stem_stride"),
        ({"dropout_min_units": -1}, "dropout_min_units"),
        ({"depth": 0}, "depth"),
        ({"skip_length": 3}, "skip_length"),
        ({"head_layers": 512}, "head_layers to be a tuple of positive integers, received 512"),
        ({"head_layers": (512, 0)}, "head_layers"),
        ({"head_layers": ("512",)}, "head_layers"),
        ({"pooling": "max"}, "pooling"),
        ({"preprocessing": "zca"}, "preprocessing"),
    ],
)
def test_values_are_checked(knobs, message):
    with pytest.raises(ValueError, match=f"^Design: expected .*{message}"):
        Design(**knobs)


def test_unknown_knobs_are_refused():
    with pytest.raises(TypeError, match="colour"):
        Design(colour="red")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Design().width = 2


def test_every_knob_is_none_by_default():
    assert dataclasses.asdict(Design()) == {f.name: None for f in dataclasses.fields(Design)}
    assert Design().changed() == {}


def test_changed_and_over():
    paper = Design(activation="relu", dropout=0.5, join="sum")
    mine = Design(dropout=0.0, join="max", head_layers=[8])
    assert mine.changed() == {"dropout": 0.0, "join": "max", "head_layers": (8,)}
    assert mine.over(paper) == Design(activation="relu", dropout=0.0, join="max", head_layers=(8,))
    assert Design().over(paper) == paper
    hash(mine)  # as a frozen dataclass should


@pytest.mark.parametrize("channels", [3, 1])
def test_whitening_is_adapted_to_the_data_before_use(channels):
    """The network then sees uncorrelated colours of unit variance; without the data it refuses."""
    design = Design(preprocessing="whitening", width=0.25)
    model = zoo.create("resnet20_cifar", classes=3, input_shape=(16, 16, channels), design=design)
    x = draw((20, 16, 16, 1), low=0, high=255) * [[[[0.5, 0.3, 1][:channels]]]]
    x = (x + draw((20, 16, 16, channels), low=0, high=20, seed=1)).astype("float32")
    with pytest.raises(ValueError, match="never adapted: call adapt"):
        model(x)
    layer = model.get_layer("preprocess")
    layer.adapt(x)
    colours = numpy(keras.Model(model.input, layer.output)(x)).reshape(-1, channels)
    np.testing.assert_allclose(np.cov(colours.T, bias=True), np.eye(channels), atol=1e-3)
    assert np.isfinite(model.predict(x, verbose=0)).all()
    assert zoo.cost(model).stride == zoo.cost(zoo.create("resnet20_cifar", input_shape=(16, 16, channels))).stride


def test_flatten_and_adaptive_say_which_images_they_need():
    with pytest.raises(ValueError, match="flatten.*fixed size"):
        zoo.create("resnet20_cifar", input_shape=(None, None, 3), design=Design(pooling="flatten"))
    with pytest.raises(ValueError, match="adaptive.*2x2"):
        zoo.create("resnet20_cifar", input_shape=(4, 4, 3), design=Design(pooling="adaptive"))
    free = zoo.create("resnet20_cifar", input_shape=(None, None, 3), design=Design(pooling="adaptive", width=0.25))
    assert numpy(free(draw((1, 24, 16, 3)), training=False)).shape == (1, 10)


def test_an_initializer_instance_draws_anew_for_every_kernel():
    model = zoo.create("squeezenet_cifar", design=Design(conv_init=keras.initializers.HeNormal()))
    one, other = (model.get_layer(f"fire{n}_expand1x1").get_weights()[0] for n in (2, 3))
    assert one.shape == other.shape and (one != other).any()


def test_several_knobs_at_once():
    design = Design(
        activation="maxout",
        normalization="group",
        norm_position="after",
        join="concat",
        conv="separable",
        head_layers=(16,),
        head_activation="maxout",
        dropout=0.2,
        width=0.5,
        stem_stride=2,
        pooling="adaptive",
        preprocessing="squeeze",
    )
    model = zoo.create("resnet20_cifar", classes=2, input_shape=(32, 32, 1), design=design)
    model.compile("sgd", "mse", run_eagerly=BACKEND == "tensorflow")
    model.train_on_batch(draw((4, 32, 32, 1), low=0, high=255), np.ones((4, 2)))
    assert all(np.isfinite(numpy(v)).all() for v in model.weights)
