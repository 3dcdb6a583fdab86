"""FractalNet and the fractals of it, against the papers' layouts, the published counts and a loop in NumPy's words."""

import keras
import numpy as np
import pytest
from harness import draw, numpy

from convcraft import zoo
from convcraft.layers import FractalJoin, FractalPath, FreezeDropPath

X = draw((6, 16, 16, 3), low=0, high=255)
Y = np.arange(6) % 3
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def convolutions(model):
    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


@pytest.mark.parametrize(
    "name, options, count",
    [  # facts.md 2.3, without convolution biases, and 1.3
        ("fractalnet20", {"classes": 10}, 33_724_618),
        ("fractalnet20", {"classes": 100}, 33_770_788),
        ("fractalnet20", {"columns": 1}, 3_917_386),
        ("fractalnet20", {"columns": 2}, 13_325_322),
        pytest.param("fractalnet40", {}, 76_106_634, marks=pytest.mark.slow),
        ("fof", {}, 38_519_370),
    ],
)
def test_published_counts(name, options, count):
    assert trainable(zoo.create(name, **options)) == count


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sbn", "tsn"])
def test_published_counts_of_the_others(name):
    """The same seven blocks and classifier: what joins them has no parameters."""
    assert trainable(zoo.create(name)) == 38_519_370


def test_published_cost_of_fof():
    """facts.md 1.3: 49 convolutions, 11.82 billion multiply-adds, of which B7 is 9.71."""
    model = zoo.create("fof")
    cost = zoo.cost(model)
    assert len(convolutions(model)) == 49
    assert round(cost.multiply_adds / 1e9, 2) == 11.82
    last = sum(layer.multiply_adds for layer in cost.layers if layer.name.startswith("block7_"))
    assert round(last / 1e9, 2) == 9.71


@pytest.mark.parametrize("name", ["fof", "sbn", "tsn"])
def test_a_narrow_entry_is_cheaper_and_ends_as_wide(name):
    """B7 with 8 channels in place of 64: its convolutions cost an eighth (of the image) to a 64th of what they did."""
    whole, narrow = (zoo.create(name, entry=entry, design=zoo.Design(width=0.125)) for entry in (512, 64))
    assert narrow.get_layer("block7_widen").output.shape[1:] == (2, 2, 64)
    cost = [{x.name: x.multiply_adds for x in zoo.cost(net).layers} for net in (whole, narrow)]
    assert cost[0]["block7_row2_column0"] == 64 * cost[1]["block7_row2_column0"]
    assert "block7_widen" not in cost[0]


def test_layout_is_that_of_the_authors_generator():
    """Row l has a convolution in column k where l is a multiple of 2^k; 2^C - 1 convolutions a block, 2^(C-1) deep."""
    for columns in (1, 2, 3, 4):
        names = convolutions(zoo.create("fractalnet20", columns=columns, filters=(2,)))
        expected = {
            f"block1_row{row}_column{k}"
            for row in range(1, 2 ** (columns - 1) + 1)
            for k in range(columns)
            if row % 2**k == 0
        }
        assert set(names) == expected and len(names) == 2**columns - 1
        depth = [name for name in names if name.endswith("column0")]
        assert len(depth) == 2 ** (columns - 1)


def test_each_column_is_pooled_before_the_join():
    """As the authors do: the maximum and the mean do not commute."""
    model = zoo.create("fractalnet20", columns=2, filters=(3,), input_shape=(8, 8, 3))
    join = model.get_layer("block1_join2")
    assert [tensor.shape[1] for tensor in join.input[:2]] == [4, 4]


def test_forward_is_the_recursion():
    """f_1(z) = conv(z); f_{C+1}(z) = mean(f_C(f_C(z)), conv(z)), written out for three columns."""
    design = zoo.Design(normalization="none", preprocessing="none", drop_path=0.0, dropout=0.0)
    model = zoo.create("fractalnet20", classes=2, filters=(3,), input_shape=(8, 8, 3), head="none", design=design)

    def unit(x, row, column):
        return np.maximum(numpy(model.get_layer(f"block1_row{row}_column{column}")(x)), 0)

    def pool(x):
        return x.reshape(len(x), 4, 2, 4, 2, 3).max((2, 4))

    x = X[:2, :8, :8] / 255
    first = np.mean([unit(unit(x, 1, 0), 2, 0), unit(x, 2, 1)], axis=0)
    last = np.mean([pool(unit(unit(first, 3, 0), 4, 0)), pool(unit(first, 4, 1)), pool(unit(x, 4, 2))], axis=0)
    np.testing.assert_allclose(numpy(model(x, training=False)), last.mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_a_column_is_a_plain_net_on_the_same_weights():
    """It predicts what the net computes when its path keeps that column."""
    net = zoo.create("fractalnet20", classes=3, input_shape=(16, 16, 3), filters=(4, 4), global_drop_path=1.0)
    for column, depth in enumerate((4, 2, 1)):
        plain = zoo.extract_column(net, column)
        assert len(convolutions(plain)) == 2 * depth
        assert not [layer for layer in plain.layers if isinstance(layer, FractalJoin | FractalPath)]
        names = convolutions(plain)
        assert all(name.endswith(f"column{column}") for name in names)
        assert plain.get_layer(names[0]) is net.get_layer(names[0])
        assert zoo.class_names(plain) == zoo.class_names(net)
    with pytest.raises(ValueError, match="column from 0 to below 3, received 3"):
        zoo.extract_column(net, 3)
    with pytest.raises(ValueError, match="below 0"):
        zoo.extract_column(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), 0)


@pytest.mark.parametrize(
    "name, freeze, choices",
    [("fractalnet20", None, 4), ("fof", None, 0), ("sbn", None, 2), ("tsn", None, 0), ("tsn", "uniform", 2)],
)
def test_what_a_batch_can_leave_out(name, freeze, choices):
    """A column of FractalNet; the correction of a stagewise net. Local drop-path computes everything."""
    small = {"filters": (4, 4)} if name.startswith("fractalnet") else {"columns": 1}
    design = zoo.Design(width=1 / 64 if choices <= 2 else 1.0, freeze=freeze)
    model = zoo.create(name, classes=3, input_shape=(16, 16, 3), design=design, **small)
    model.compile("sgd", LOSS, jit_compile=keras.backend.backend() == "jax")
    assert np.isfinite(model.fit(X, Y, batch_size=3, verbose=0).history["loss"]).all()
    choosers = model._branches.choosers if model._branches else []
    assert [len(chooser.odds) for chooser in choosers] == ([choices] if choices else [])


def test_series_are_powers():
    """facts.md 1.4: B6 squared, B5 cubed, no factors: the mean of B7, B6^2 and B5^3."""
    design = zoo.Design(width=1 / 64)
    model = zoo.create("tsn", classes=3, input_shape=(16, 16, 3), columns=1, design=design)
    outputs = {name: model.get_layer(name).output for name in ("half_squared", "deep_cubed", "end")}
    shallow, half, deep = (model.get_layer("end").input[0], *(model.get_layer(n).input[0] for n in list(outputs)[:2]))
    values = keras.Model(model.input, [shallow, half, deep, outputs["end"]])(X, training=False)
    one, two, three, end = map(numpy, values)
    np.testing.assert_allclose(end, (one + two**2 + three**3) / 3, rtol=1e-4, atol=1e-6)


def test_boosting_sums_the_shallow_branch_and_its_correction():
    design = zoo.Design(width=1 / 64)
    model = zoo.create("sbn", classes=3, input_shape=(16, 16, 3), columns=1, design=design)
    end = model.get_layer("end")
    assert isinstance(end, FreezeDropPath) and end.interval == "square"
    shallow, correction = end.input
    assert "block7" in shallow._keras_history.operation.name
    assert correction._keras_history.operation.name == "correction"
    norm = model.get_layer("end_norm")
    assert not norm.center and not norm.scale


def test_anytime_gives_each_column_and_the_whole(randomize):
    model = randomize(zoo.create("fractalnet20", classes=3, input_shape=(16, 16, 3), filters=(4, 4)))
    found = zoo.anytime(model)(X, training=False)
    np.testing.assert_allclose(numpy(found.pop("all")), numpy(model(X, training=False)), rtol=1e-5, atol=1e-5)
    costs = []
    for name, y in found.items():
        plain = zoo.extract_column(model, int(name[-1]))
        np.testing.assert_allclose(numpy(y), numpy(plain(X, training=False)), rtol=1e-5, atol=1e-5)
        costs.append(zoo.cost(plain).multiply_adds)
    assert costs == sorted(costs) and len(set(costs)) == 3
    with pytest.raises(ValueError, match="anytime: expected a model with FractalJoin layers"):
        zoo.anytime(zoo.create("plain_cnn", design=zoo.Design(width=0.25)))


KNOBS = {
    "activation": ["elu", "maxout", "rrelu"],
    "normalization": ["none", "group"],
    "norm_position": ["after"],
    "transition": ["avg", "stride"],
    "join": ["sum", "max"],
    "conv": ["separable", "factored"],
    "kernel_size": [5],
    "conv_init": ["he_normal"],
    "dense_init": ["he_normal"],
    "kernel_regularizer": ["l2"],
    "kernel_constraint": ["unit_norm"],
    "dropout": [0.0],
    "drop_path": [0.0],
    "freeze": ["square", "reverse"],
    "width": [0.5],
    "head_layers": [(6,)],
    "head_activation": ["elu"],
    "pooling": ["adaptive"],
    "preprocessing": ["squeeze", "none"],
}
SAMPLE = {("fractalnet20", "join", "max"), ("fractalnet20", "freeze", "square"), ("fof", "conv", "separable")}
CASES = [(name, knob, value) for name in ("fractalnet20", "fof") for knob, values in KNOBS.items() for value in values]


@pytest.mark.parametrize(
    "name, knob, value", [pytest.param(*c, marks=[] if c in SAMPLE else [pytest.mark.slow]) for c in CASES]
)
def test_each_knob_changes_the_model_and_trains(name, knob, value):
    assert set(KNOBS) == set(zoo.info(name).knobs)
    size = 64 if knob in ("pooling", "kernel_size") else 16
    options = {"filters": (4, 4), "columns": 2} if name == "fractalnet20" else {"columns": 1}
    base = {"head_layers": (5,)} if knob == "head_activation" else {}
    base |= {"width": 1.0 if name == "fractalnet20" else 1 / 64} if knob != "width" else {}
    options |= {"classes": 3, "input_shape": (size, size, 3)}
    before = zoo.create(name, design=zoo.Design(**base), **options)
    model = zoo.create(name, design=zoo.Design(**{**base, knob: value}), **options)
    assert before.to_json() != model.to_json()
    model.compile("sgd", LOSS, jit_compile=False)
    x = draw((6, size, size, 3), low=0, high=255)
    assert np.isfinite(model.fit(x, Y, verbose=0).history["loss"]).all()


def test_a_join_that_cannot_be():
    with pytest.raises(ValueError, match="mean, sum, max; received 'concat'"):
        zoo.create("fractalnet20", design=zoo.Design(join="concat"))
