import itertools

import keras
import numpy as np
import pytest
from harness import check_layer, draw, numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import fractal
from scipy.stats import binomtest, chisquare

from convcraft.layers import FractalJoin, FractalPath

BAD = [
    ({"drop_path": 1.5}, "drop_path from 0 to 1, received 1.5"),
    ({"global_drop_path": "half"}, "global_drop_path"),
    ({"join": "concat"}, "mean, sum, max; received 'concat'"),
    ({"column": -1}, "column"),
    ({"per": "image"}, "per"),
    ({"seed": 1.0}, "seed"),
]
check_layer(
    lambda **k: FractalJoin(**{"per": "sample", **k}),  # so that images differ, as the contract's checks expect
    shapes=[(8, 4, 4, 3), (8, 5)],
    branches=(1, -0.5, 2),
    random=True,
    reference=lambda x: x * (1 - 0.5 + 2) / 3,
    bad=BAD,
)
X = draw((5, 3, 3, 2))


def path(column, bits=0, rows=1):
    return np.int32([[column, bits + i] for i in range(rows)])


@pytest.mark.parametrize("join, function", [("mean", np.mean), ("sum", np.sum), ("max", np.max)])
def test_inference_joins_all(join, function):
    inputs = [draw((2, 3, 3, 2), seed=i) for i in range(3)]
    np.testing.assert_allclose(numpy(FractalJoin(join=join)(inputs)), function(inputs, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(numpy(FractalJoin(join=join)(inputs[:1])), inputs[0])


@pytest.mark.parametrize("join", ["mean", "sum", "max"])
def test_a_column_passes_alone(join):
    """Global drop-path: the column's input as it is; a join that is not on its way passes its ordinary join."""
    inputs = [X, 2 * X, 3 * X]
    layer = FractalJoin(join=join)
    for column in range(3):
        np.testing.assert_array_equal(numpy(layer(inputs, path(column), training=True)), inputs[column])
    np.testing.assert_allclose(numpy(layer(inputs, path(3), training=True)), numpy(layer(inputs)), rtol=1e-6)


def test_local_drop_path_is_the_formula():
    """Each input is dropped with probability p; if all are, one is restored: the law of what survives of three."""
    layer, n, p = FractalJoin(0.3), 40_000, 0.3  # not a half, which dropping and keeping would share
    mask = np.asarray(numpy(layer.survivors(path(-1, rows=n), 3)), bool)
    expected = {m: p ** (3 - sum(m)) * (1 - p) ** sum(m) for m in itertools.product([False, True], repeat=3) if any(m)}
    for i in range(3):
        alone = tuple(i == j for j in range(3))
        expected[alone] += p**3 / 3
    counts = [int((mask == m).all(axis=1).sum()) for m in expected]
    assert sum(counts) == n, "at least one survives"
    assert chisquare(counts, [n * q for q in expected.values()]).pvalue > 1e-3


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**31 - 1), st.sampled_from([0.0, 0.15, 0.9, 1.0]))
def test_training_joins_the_survivors(count, bits, drop_path):
    inputs = [draw((3, 2, 2), seed=i) for i in range(count)]
    for join, function in (("mean", np.mean), ("sum", np.sum), ("max", np.max)):
        layer = FractalJoin(drop_path, join=join, name="same")
        mask = np.asarray(numpy(layer.survivors(path(-1, bits % 1000), count)), bool)[0]
        expected = function([x for x, kept in zip(inputs, mask, strict=True) if kept], axis=0)
        y = numpy(layer(inputs, path(-1, bits % 1000), training=True))
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_joins_drop_independently():
    one, two = (FractalJoin(0.5, name=name).survivors(path(-1, rows=4000), 2) for name in ("one", "two"))
    both = np.asarray(numpy(one), bool)[:, 0] & np.asarray(numpy(two), bool)[:, 0]
    assert binomtest(int(both.sum()), 4000, (5 / 8) ** 2).pvalue > 1e-3  # kept, or restored by half: .5 + .25 / 2


def test_what_is_dropped_leaves_nothing_behind():
    inputs = [X, np.full_like(X, np.nan)]
    for join in ("mean", "sum", "max"):
        np.testing.assert_array_equal(numpy(FractalJoin(join=join)(inputs, path(0), training=True)), X)


def test_column_extracts_a_plain_network():
    """With `column=k` in every join, the net is that column, in training and at inference."""
    net = fractal(3, norm=False)

    def extract(layer):
        return FractalJoin(column=1, name=layer.name) if isinstance(layer, FractalJoin) else layer

    plain = keras.models.clone_model(net, clone_function=extract)
    x = draw((4, 4, 4, 3))
    y = net.get_layer("stem")(x)
    for row in (2, 4):
        y = keras.ops.relu(net.get_layer(f"block0_row{row}_column1")(y))
    expected = numpy(net.get_layer("head")(net.get_layer("pool")(y)))
    np.testing.assert_allclose(numpy(plain(x, training=False)), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(plain(x, training=True)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_path_s_law(share):
    layer = FractalPath(3, share, seed=5)
    drawn = np.array([layer.foresee(5, n) for n in range(6000)])
    expected = np.array([1 - share, *[share / 3] * 3])
    counts = np.bincount(drawn, minlength=4)
    assert (counts[expected == 0] == 0).all()
    if share < 1:
        assert binomtest(int(counts[0]), 6000, 1 - share).pvalue > 1e-3
    if share:
        assert chisquare(counts[1:]).pvalue > 1e-3


def test_graph_and_python_draw_the_same_bits():
    """What `Model` foresees is what the graph draws; the same on every backend (facts: seed 0, 12 calls)."""
    layer = FractalPath(3, seed=0)
    drawn = [int(numpy(layer(X, training=True))[0, 0]) for _ in range(12)]
    assert drawn == [layer.foresee(0, n) - 1 for n in range(12)]
    assert drawn == [-1, -1, 1, 2, 2, 0, 1, -1, -1, -1, 0, -1]


def test_path_per_sample():
    layer = FractalPath(2, 0.5, per="sample", seed=1)
    drawn = np.asarray(keras.ops.convert_to_numpy(layer(np.zeros((6000, 1)), training=True)))
    counts = np.bincount(drawn[:, 0] + 1, minlength=3)
    assert drawn.shape == (6000, 2) and chisquare(counts, [3000, 1500, 1500]).pvalue > 1e-3
    assert len(np.unique(drawn[:, 1])) > 5990, "bits of its own for each image"
    again = np.asarray(keras.ops.convert_to_numpy(layer(np.zeros((6000, 1)), training=True)))
    assert (again[:, 0] != drawn[:, 0]).any(), "a second batch draws anew"
    at_rest = keras.ops.convert_to_numpy(layer(np.zeros((6, 1)), training=False))
    np.testing.assert_array_equal(at_rest, [[-1, 0]])


@pytest.mark.parametrize("arguments, message", [({"columns": 0}, "columns"), ({"columns": 2, "per": 1}, "per")])
def test_path_s_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"FractalPath: expected {message}"):
        FractalPath(**arguments)


@pytest.mark.parametrize("inputs", [X, [], [X, X[:, :2]], [X, X[..., 0]]])
def test_inputs_must_be_a_list_of_equal_shapes(inputs):
    with pytest.raises(ValueError, match="FractalJoin: expected"):
        FractalJoin()(inputs)


def test_net_in_a_fresh_process(fresh_process, tmp_path):
    net, x = fractal(), draw((3, 4, 4, 3))
    y, configs = fresh_process.predict(net, x, tmp_path)
    np.testing.assert_allclose(y, net.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    assert [c for c in configs if c["name"] == "path"][0]["columns"] == 2


@pytest.mark.parametrize("shape", [(0, 3), (0, 4, 4, 3)])
def test_empty_batch(shape):
    x = np.zeros(shape, "float32")
    for training in (False, True):
        assert tuple(FractalJoin()([x, x, x], training=training).shape) == shape
