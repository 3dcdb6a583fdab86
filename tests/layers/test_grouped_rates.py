"""Each group of variables moves at its own rate, whatever the optimizer and whoever sets the rate."""

import keras
import numpy as np
import pytest
from harness import BACKEND, draw, numpy

from convcraft.layers import GroupedRates
from convcraft.zoo import load_model

K = keras.optimizers
X, Y = draw((16, 3), seed=1), draw((16, 2), seed=2)


def network(optimizer):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    x = keras.layers.Dense(2, name="body", use_bias=False)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="head", use_bias=False)(x))
    model.compile(optimizer, "mse", jit_compile=BACKEND == "jax")
    return model


def gradients(body, head):
    """Of the mean squared error of a linear net of two layers, by hand."""
    error = 2 * (X @ body @ head - Y) / Y.size
    return X.T @ error @ head.T, (X @ body).T @ error


def test_a_step_of_sgd_is_the_groups_rate_times_the_gradient():
    model = network(GroupedRates(K.SGD(0.5), {"body/": 0.1}))
    body, head = (w.copy() for w in model.get_weights())
    to_body, to_head = gradients(body, head)
    model.train_on_batch(X, Y)
    found = model.get_weights()
    np.testing.assert_allclose(found[0], body - 0.05 * to_body, atol=1e-6)
    np.testing.assert_allclose(found[1], head - 0.5 * to_head, atol=1e-6)


def test_adam_obeys_though_it_would_undo_a_scaled_gradient():
    """Its first step is the rate in the direction of the gradient's sign."""
    model = network(GroupedRates(K.Adam(0.01, epsilon=1e-12), {"body/": 0.25}))
    before = [w.copy() for w in model.get_weights()]
    signs = [np.sign(g) for g in gradients(*before)]
    model.train_on_batch(X, Y)
    for rate, old, new, sign in zip((0.0025, 0.01), before, model.get_weights(), signs, strict=True):
        np.testing.assert_allclose(new - old, -rate * sign, rtol=1e-3)


def test_decoupled_decay_follows_the_groups_rate():
    model = network(GroupedRates(K.SGD(0.5, weight_decay=0.1), {"body/": 0.1}))
    body, head = (w.copy() for w in model.get_weights())
    to_body, to_head = gradients(0.95 * body, 0.95 * head)
    plain = gradients(body, head)
    model.train_on_batch(X, Y)
    # decay and gradient are of the weights before the step, both times the group's rate
    np.testing.assert_allclose(model.get_weights()[0], body - 0.05 * plain[0] - 0.1 * 0.5 * 0.1 * body, atol=1e-5)
    assert np.abs(to_body - plain[0]).max() > 1e-6


def test_a_callback_that_sets_the_rate_keeps_the_proportions():
    """Keras's MultiOptimizer gives every group the same rate then."""
    moved = []
    for rate in (0.1, 0.4):
        model = network(GroupedRates(K.SGD(1.0), {"body/": 0.5}))
        before = [w.copy() for w in model.get_weights()]
        schedule = keras.callbacks.LearningRateScheduler(lambda _, __, wanted=rate: wanted)
        model.fit(X, Y, batch_size=16, epochs=1, verbose=0, shuffle=False, callbacks=[schedule])
        to = gradients(*before)
        moved.append(
            [
                float(np.abs(new - old).max() / np.abs(g).max())
                for old, new, g in zip(before, model.get_weights(), to, strict=True)
            ]
        )
    np.testing.assert_allclose(moved, [[0.05, 0.1], [0.2, 0.4]], rtol=1e-3)


def test_saved_and_loaded_it_goes_on(tmp_path):
    model = network(GroupedRates(K.Adam(0.01), {"body/": 0.25}))
    model.train_on_batch(X, Y)
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    for each in (model, again):
        each.train_on_batch(X, Y)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_frozen_stays_frozen():
    model = network(GroupedRates(K.Adam(0.01), {"head/": 0.5}, freeze="body/"))
    before = model.get_weights()[0].copy()
    model.train_on_batch(X, Y)
    np.testing.assert_array_equal(model.get_weights()[0], before)
    assert numpy(model.optimizer.learning_rate) == np.float32(0.01)


@pytest.mark.parametrize(
    "optimizer, factors, message",
    [
        (K.SGD(), {"body/": -1}, "factors of at least 0"),
        (K.SGD(), {"(": 1}, "regular expression"),
        (K.SGD(use_ema=True), {"body/": 0.5}, "use_ema"),
    ],
)
def test_bad_arguments(optimizer, factors, message):
    with pytest.raises(ValueError, match=message):
        GroupedRates(optimizer, factors)
