"""The widest network within a budget: within it, and nothing wider is."""

import math

import keras
import numpy as np
import pytest

from convcraft import training, zoo
from convcraft.training.sizing import widths


def dense(width):
    """Its cost is known: 10 x inputs, one image of 4x4."""
    units = max(1, round(1000 * width))
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Dense(units, use_bias=False)(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(x))


def test_it_is_the_widest_within_the_budget():
    """18 parameters a unit: 16 in, 2 out."""
    found = training.fit_width(dense, parameters=9000)
    assert found.spent == {"parameters": found.model.count_params()} and found.limit == "parameters"
    assert 9000 / widths.FINE - 18 <= found.model.count_params() <= 9000
    assert dense(found.width).count_params() == found.model.count_params()


def test_of_several_budgets_the_tightest_holds():
    both = training.fit_width(dense, parameters=9000, multiply_adds=4500)
    assert both.limit == "multiply_adds"
    assert both.spent["multiply_adds"] == zoo.cost(both.model).multiply_adds <= 4500 < both.spent["parameters"] * 1.02


def test_memory_counts_weights_and_outputs_of_a_batch():
    few, many = (training.fit_width(dense, memory=1e6, batch_size=batch) for batch in (1, 64))
    for found, batch in ((few, 1), (many, 64)):
        cost = zoo.cost(found.model)
        assert found.spent["memory"] == 16 * cost.parameters + batch * cost.activation_bytes <= 1e6
    assert many.width < few.width


def test_of_the_zoo_with_a_design():
    options = {"input_shape": (32, 32, 3), "classes": 7, "design": zoo.Design(activation="elu")}
    found = training.fit_width("resnet20_cifar", parameters=100_000, **options)
    assert 90_000 < found.model.count_params() <= 100_000
    assert found.model.output_shape == (None, 7) and "elu" in repr([layer.get_config() for layer in found.model.layers])
    assert "resnet20_cifar at width" in repr(found)


def test_step_time_grows_with_width_and_is_kept(monkeypatch):
    monkeypatch.setattr(widths, "step_seconds", lambda model, batch: 1e-6 * model.count_params() * batch)
    found = training.fit_width(dense, step_seconds=0.1, batch_size=10)
    assert found.limit == "step_seconds" and 0.095 < found.spent["step_seconds"] <= 0.1


def test_timing_leaves_the_model_as_it_was():
    model = dense(0.01)
    before = model.get_weights()
    assert 0 < widths.step_seconds(model, 8) < math.inf
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not model.compiled


def test_the_widest_where_nothing_limits():
    found = training.fit_width(dense, parameters=1e9, widest=0.5)
    assert found.width == 0.5 and found.limit == "widest"


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "expected a budget"),
        ({"parameters": -1}, "parameters to be positive"),
        ({"parameters": 100}, "takes 1,116 parameters at width 0.0625"),
        ({"parameters": 1e6, "narrowest": 2, "widest": 1}, "narrowest < widest"),
        ({"memory": 1e6, "batch_size": 0}, "batch_size"),
        ({"parameters": 1e6, "design": zoo.Design(width=0.5)}, "without a width"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        training.fit_width(dense, **options)
