import keras
import numpy as np
import pytest
from harness import BACKEND, check_layer, draw, numpy
from scipy.stats import chisquare

from convcraft.layers import FreezeDropPath

check_layer(
    FreezeDropPath,
    shapes=[(2, 4, 4, 3), (2, 5)],
    branches=(1, -0.5, 2),
    reference=lambda x: x * (1 - 0.5 + 2),
    bad=[
        ({"interval": "cube"}, "square, uniform, reverse; received 'cube'"),
        ({"mode": "anneal"}, "'random' or 'cycle', received 'anneal'"),
        ({"mode": "cycle"}, "steps_per_cycle=None with mode='cycle'"),
        ({"mode": "cycle", "steps_per_cycle": 0}, "steps_per_cycle=0"),
        ({"steps_per_cycle": 10}, "steps_per_cycle=10 with mode='random'"),
        ({"seed": 0.5}, "seed"),
    ],
)

INPUTS = [draw((2, 3), seed=i) for i in range(3)]


def only(branch):
    """A layer whose next choice among three is `branch`."""
    layer = FreezeDropPath("uniform", mode="cycle", steps_per_cycle=3)
    for _ in range(branch):
        layer(INPUTS, training=True)
    return layer


def gradients(layer, inputs):
    """Of the sum of the output in training, by each input."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        inputs = [tf.constant(x) for x in inputs]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = tf.reduce_sum(layer(inputs, training=True))
        return [g.numpy() for g in tape.gradient(total, inputs, unconnected_gradients="zero")]
    if BACKEND == "jax":
        import jax

        layer.build([x.shape for x in inputs])
        values = [v.value for v in layer.non_trainable_variables]

        def call(inputs):
            return layer.stateless_call([], values, inputs, training=True)[0].sum()

        return [np.asarray(g) for g in jax.grad(call)(inputs)]
    import torch

    inputs = [torch.tensor(x, requires_grad=True) for x in inputs]
    layer(inputs, training=True).sum().backward()
    return [np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in inputs]


@pytest.mark.parametrize("branch", [0, 1, 2])
def test_forward_is_the_formula(branch):
    """facts.md 1.2: the sum of branches 0 to b, coefficient 1 each."""
    y = numpy(only(branch)(INPUTS, training=True))
    np.testing.assert_allclose(y, np.sum(INPUTS[: branch + 1], axis=0), rtol=1e-6)


@pytest.mark.parametrize("branch", [0, 1, 2])
def test_gradient_goes_to_the_branch_alone(branch):
    for index, gradient in enumerate(gradients(only(branch), INPUTS)):
        np.testing.assert_array_equal(gradient, np.full((2, 3), float(index == branch)))


def test_inference_sums_all():
    np.testing.assert_allclose(numpy(FreezeDropPath()(INPUTS)), np.sum(INPUTS, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(numpy(FreezeDropPath()(INPUTS[:1])), INPUTS[0])


@pytest.mark.parametrize(
    "interval, count, shares",
    [  # facts.md 1.2, from the authors' code
        ("square", 2, [0.2, 0.8]),
        ("square", 3, [1 / 14, 4 / 14, 9 / 14]),
        ("square", 5, [1 / 55, 4 / 55, 9 / 55, 16 / 55, 25 / 55]),
        ("uniform", 3, [1 / 3, 1 / 3, 1 / 3]),
        ("reverse", 3, [9 / 14, 4 / 14, 1 / 14]),
    ],
)
def test_how_often_is_the_formula(interval, count, shares):
    layer = FreezeDropPath(interval, seed=1)
    layer.compute_output_spec([keras.KerasTensor((2, 3))] * count)
    counts = np.bincount([layer.foresee(1, n) for n in range(10_000)], minlength=count)
    assert chisquare(counts, 10_000 * np.array(shares)).pvalue > 1e-3


def test_cycle_trains_the_branches_in_order():
    """Spans in the proportions 1:4:9, over and over: of 28 steps 2, 8 and 18."""
    layer = FreezeDropPath(mode="cycle", steps_per_cycle=28)
    sums = {round(float(np.sum(INPUTS[: b + 1], axis=0)[0, 0]), 4): b for b in range(3)}
    seen = [sums[round(float(numpy(layer(INPUTS, training=True))[0, 0]), 4)] for _ in range(30)]
    assert seen == [0] * 2 + [1] * 8 + [2] * 18 + [0] * 2
    assert seen == [layer.foresee(0, n) for n in range(30)]


def test_what_is_dropped_leaves_nothing_behind():
    inputs = [INPUTS[0], np.full_like(INPUTS[0], np.inf), np.full_like(INPUTS[0], np.nan)]
    np.testing.assert_array_equal(numpy(only(0)(inputs, training=True)), INPUTS[0])


def test_same_on_every_replica():
    """It is Keras's generator: under a strategy every replica draws alike (tests/layers/test_branches.py)."""
    assert type(FreezeDropPath().seed_generator) is keras.random.SeedGenerator


@pytest.mark.parametrize("inputs", [INPUTS[0], [], [INPUTS[0], INPUTS[0][:, :2]]])
def test_inputs_must_be_a_list_of_equal_shapes(inputs):
    with pytest.raises(ValueError, match="FreezeDropPath: expected"):
        FreezeDropPath()(inputs)


@pytest.mark.parametrize("shape", [(0, 3), (0, 4, 4, 3)])
def test_empty_batch(shape):
    x = np.zeros(shape, "float32")
    for training in (False, True):
        assert tuple(FreezeDropPath()([x, x, x], training=training).shape) == shape
