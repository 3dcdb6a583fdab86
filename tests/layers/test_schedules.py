"""Oracles: the published table, NumPy in float64, PyTorch's OneCycleLR (kept, and live where torch is), and
tensorflow-addons (kept, and live in tests/test_oracle.py)."""

import json
import math

import keras
import numpy as np
import pytest
from harness import numpy, python
from hypothesis import given, settings
from hypothesis import strategies as st

import convcraft
from convcraft.layers import CyclicalLR, CyclicSGD, OneCycle, OneCycleMomentum

STEPS = [0, 1000, 2000, 3000, 4000, 6000, 8000, 10000]
# base .001, max .006, step size 2000: bckenstler/CLR's formula
TABLE = {
    ("triangular", 1.0): [0.001, 0.0035, 0.006, 0.0035, 0.001, 0.006, 0.001, 0.006],
    ("triangular2", 1.0): [0.001, 0.0035, 0.006, 0.0035, 0.001, 0.0035, 0.001, 0.00225],
    ("exp_range", 0.99994): [0.001, 0.00335441, 0.00543459, 0.00308816, 0.001, 0.00448834, 0.001, 0.00374401],
}


def clr(step, low, high, size, mode, gamma):
    """The formula of the paper and of bckenstler/CLR, in float64 and plain integers."""
    cycle = math.floor(1 + step / (2 * size))
    x = abs(step / size - 2 * cycle + 1)
    factor = {"triangular": 1.0, "triangular2": 0.5 ** (cycle - 1), "exp_range": gamma**step}[mode]
    return low + (high - low) * max(0.0, 1 - x) * factor


@pytest.mark.parametrize("mode, gamma", list(TABLE))
def test_cyclical_published_vectors(mode, gamma):
    made = CyclicalLR(0.001, 0.006, 2000, mode, gamma)
    np.testing.assert_allclose(numpy(made(np.array(STEPS))), TABLE[mode, gamma], rtol=2e-6)
    np.testing.assert_allclose([float(made(step)) for step in STEPS], TABLE[mode, gamma], rtol=2e-6)


def test_exp_range_is_tensorflow_addons():
    # make oracle: tfa.optimizers.ExponentialCyclicalLearningRate(.001, .006, 2000., gamma=.99994) at STEPS, under
    # tensorflow-addons 0.23.0
    kept = [0.001, 0.0033544074, 0.0054345862, 0.0030881641, 0.001, 0.0044883438, 0.001, 0.003744009]
    np.testing.assert_allclose(numpy(CyclicalLR(0.001, 0.006, 2000, "exp_range", 0.99994)(STEPS)), kept, rtol=2e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 3_000_000),
    st.integers(1, 50_000),
    st.sampled_from(["triangular", "triangular2", "exp_range"]),
    st.floats(0.9999, 1.0),
)
def test_cyclical_is_the_formula(step, size, mode, gamma):
    expected = clr(step, 0.01, 1.0, size, mode, gamma)
    assert float(CyclicalLR(0.01, 1.0, size, mode, gamma)(step)) == pytest.approx(expected, rel=3e-5)


@pytest.mark.parametrize("step", [2**24 + 1, 2**24 + 3, 2**30 + 1, 2**31 - 2])
def test_it_is_exact_where_float32_cannot_count(step):
    """2**24 + 1 is no float32: with Keras's own schedules a short cycle stands still there."""
    made = CyclicalLR(0.0, 1.0, 4)
    got = [float(made(np.array(step + n - 7))) for n in range(8)]
    assert got == [clr(step + n - 7, 0.0, 1.0, 4, "triangular", 1.0) for n in range(8)]
    assert sorted(got) == [0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1]


def test_an_int64_iteration_beyond_int32():
    if keras.backend.backend() == "jax":
        pytest.skip("JAX counts in int32")
    assert float(CyclicalLR(0.0, 1.0, 4)(np.int64(2**40 + 1))) == 0.25


def test_floating_steps_are_rounded_down():
    made = CyclicalLR(0.0, 1.0, 4)
    assert [float(made(np.float32(step))) for step in (0.9, 1.0, 4.5)] == [0, 0.25, 1]


# What this printed with torch 2.13.0:
# import torch
# from torch.optim.lr_scheduler import OneCycleLR
# for options in ({}, {'three_phase': True}, {'anneal_strategy': 'linear', 'pct_start': .25, 'div_factor': 10,
#                                            'final_div_factor': 100}):
#     optimizer = torch.optim.SGD([torch.zeros(1)], lr=1., momentum=.9)
#     schedule, rows = OneCycleLR(optimizer, max_lr=1., total_steps=20, **options), []
#     for n in range(20):
#         rows.append([float(f'{optimizer.param_groups[0][key]:.9g}') for key in ('lr', 'momentum')])
#         optimizer.step(), n < 19 and schedule.step()
#     print(*zip(*rows))
KEPT = {
    "default": (
        [
            0.04,
            0.131671843,
            0.371671843,
            0.668328157,
            0.908328157,
            1.0,
            0.987464006,
            0.950484632,
            0.890916178,
            0.811745654,
            0.716943002,
            0.611262022,
            0.500002,
            0.388741978,
            0.283060998,
            0.188258346,
            0.109087822,
            0.049519368,
            0.0125399938,
            4e-06,
        ],
        [
            0.95,
            0.94045085,
            0.91545085,
            0.88454915,
            0.85954915,
            0.85,
            0.851253604,
            0.854951557,
            0.860908426,
            0.86882551,
            0.878305813,
            0.888873953,
            0.9,
            0.911126047,
            0.921694187,
            0.93117449,
            0.939091574,
            0.945048443,
            0.948746396,
            0.95,
        ],
    ),
    "three": (
        [
            0.04,
            0.131671843,
            0.371671843,
            0.668328157,
            0.908328157,
            1.0,
            0.908328157,
            0.668328157,
            0.371671843,
            0.131671843,
            0.04,
            0.038793973,
            0.0353213568,
            0.030001,
            0.0234746163,
            0.0165293837,
            0.010003,
            0.00468264323,
            0.00121002697,
            4e-06,
        ],
        [
            0.95,
            0.94045085,
            0.91545085,
            0.88454915,
            0.85954915,
            0.85,
            0.85954915,
            0.88454915,
            0.91545085,
            0.94045085,
            0.95,
            0.95,
            0.95,
            0.95,
            0.95,
            0.95,
            0.95,
            0.95,
            0.95,
            0.95,
        ],
    ),
    "linear": (
        [
            0.1,
            0.325,
            0.55,
            0.775,
            1.0,
            0.9334,
            0.8668,
            0.8002,
            0.7336,
            0.667,
            0.6004,
            0.5338,
            0.4672,
            0.4006,
            0.334,
            0.2674,
            0.2008,
            0.1342,
            0.0676,
            0.001,
        ],
        [
            0.95,
            0.925,
            0.9,
            0.875,
            0.85,
            0.856666667,
            0.863333333,
            0.87,
            0.876666667,
            0.883333333,
            0.89,
            0.896666667,
            0.903333333,
            0.91,
            0.916666667,
            0.923333333,
            0.93,
            0.936666667,
            0.943333333,
            0.95,
        ],
    ),
}

ARGUMENTS = {
    "default": ({}, {}),
    "three": ({"three_phase": True}, {"three_phase": True}),
    "linear": (
        {"anneal": "linear", "pct_start": 0.25, "div_factor": 10, "final_div_factor": 100},
        {"anneal_strategy": "linear", "pct_start": 0.25, "div_factor": 10, "final_div_factor": 100},
    ),
}


@pytest.mark.parametrize("name", ["default", "three", "linear"])
def test_one_cycle_published_vectors(name):
    made = OneCycle(1.0, 20, **ARGUMENTS[name][0])
    rates, momenta = KEPT[name]
    np.testing.assert_allclose(numpy(made(np.arange(20))), rates, rtol=1e-5, atol=2e-7)
    np.testing.assert_allclose(numpy(made.momentum()(np.arange(20))), momenta, rtol=1e-6)


# in a process of its own: the LLVM of PyTorch's Triton and that of TensorFlow end one in which both are loaded
PYTORCH = """
import json, sys, torch
options, totals = json.loads(sys.argv[1])
curves = []
for total in totals:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=total, **options)
    curves.append([])
    for step in range(total):
        curves[-1].append([optimizer.param_groups[0][key] for key in ("lr", "momentum")])
        optimizer.step()
        if step < total - 1:
            scheduler.step()
print(json.dumps(curves))
"""


@pytest.mark.torch
@pytest.mark.parametrize("name", ["default", "three", "linear"])
def test_one_cycle_is_pytorchs(name):
    ours, theirs = ARGUMENTS[name]
    totals = [5, 7, 100, 1001]
    curves = json.loads(python(PYTORCH, json.dumps([theirs, totals])).splitlines()[-1])
    for total, curve in zip(totals, curves, strict=True):
        rates, momenta = np.transpose(curve)
        made = OneCycle(0.3, total, **ours)
        assert numpy(made(np.arange(total))) == pytest.approx(rates, rel=1e-5, abs=1e-7)
        assert numpy(made.momentum()(np.arange(total))) == pytest.approx(momenta, rel=1e-6)


def test_one_cycle_stays_at_its_end():
    made = OneCycle(1.0, 20)
    assert float(made(1000)) == float(made(19)) == pytest.approx(1 / 25 / 1e4)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.floats(0, 0.5), st.sampled_from(["cos", "linear"]), st.booleans())
def test_one_cycle_stays_within_its_bounds(total, start, anneal, three):
    made = OneCycle(0.5, total, start, anneal, three_phase=three)
    rates, momenta = numpy(made(np.arange(total + 2))), numpy(made.momentum(0.8, 0.9)(np.arange(total + 2)))
    assert np.isfinite(rates).all() and np.isfinite(momenta).all()
    assert rates.min() >= 0.5 / 25 / 1e4 * 0.99 - 1e-7 and rates.max() <= 0.5 * (1 + 1e-6)
    assert momenta.min() >= 0.8 - 1e-6 and momenta.max() <= 0.9 + 1e-6
    if total > 2:  # opposite ways while the rate rises
        rising = np.diff(rates) > 1e-6
        assert (np.diff(momenta)[rising] <= 1e-6).all()


@pytest.mark.parametrize(
    "cls, arguments",
    [
        (CyclicalLR, {"min_lr": 0.1, "max_lr": 1.0, "step_size": 3, "mode": "exp_range", "gamma": 0.9}),
        (OneCycle, {"max_lr": 0.1, "total_steps": 9, "anneal": "linear", "three_phase": True}),
        (OneCycleMomentum, {"total_steps": 9, "low": 0.5, "high": 0.6}),
    ],
)
def test_config(cls, arguments):
    made = cls(**arguments)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(made)))
    assert config["registered_name"] == f"convcraft>{cls.__name__}"
    again = keras.saving.deserialize_keras_object(config)
    assert arguments.items() <= again.get_config().items() and again.get_config() == made.get_config()
    np.testing.assert_array_equal(numpy(again(np.arange(20))), numpy(made(np.arange(20))))
    json.dumps(cls(**{k: np.float64(v) if isinstance(v, float) else v for k, v in arguments.items()}).get_config())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: CyclicalLR(0.1, 0.01, 10), "min_lr=0.1, max_lr=0.01"),
        (lambda: CyclicalLR(-0.1, 0.01, 10), "0 <= min_lr"),
        (lambda: CyclicalLR(0.1, float("nan"), 10), "max_lr=nan"),
        (lambda: CyclicalLR(0.1, 1, 2.5), "step_size to be a positive integer, received 2.5"),
        (lambda: CyclicalLR(0.1, 1, 0), "step_size"),
        (lambda: CyclicalLR(0.1, 1, float("inf")), "step_size .*received inf"),
        (lambda: OneCycle(1, float("nan")), "total_steps .*received nan"),
        (lambda: CyclicalLR(0.1, 1, 10, "square"), "one of triangular, triangular2, exp_range, received 'square'"),
        (lambda: CyclicalLR(0.1, 1, 10, "exp_range", 1.5), "gamma"),
        (lambda: OneCycle(0, 10), "max_lr"),
        (lambda: OneCycle(1, 0), "total_steps"),
        (lambda: OneCycle(1, 10, pct_start=0.6, three_phase=True), "pct_start from 0 to 0.5 with three_phase"),
        (lambda: OneCycle(1, 10, anneal="cosine"), "'cos' or 'linear', received 'cosine'"),
        (lambda: OneCycle(1, 10, div_factor=0.5), "div_factor"),
        (lambda: OneCycleMomentum(10, 0.95, 0.85), "low=0.95, high=0.85"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_plot_draws_the_values():
    made = CyclicalLR(0.0, 1.0, 10)
    line = made.plot(41).axes[0].lines[0]
    np.testing.assert_array_equal(line.get_xdata(), np.arange(41))
    np.testing.assert_array_equal(line.get_ydata(), numpy(made(np.arange(41))))
    assert len(made.plot(10**6).axes[0].lines[0].get_xdata()) == 5000
    assert OneCycleMomentum(10).plot(10).axes[0].get_ylabel() == "momentum"


def small(optimizer):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(inputs))
    model.compile(optimizer, "mse", jit_compile=keras.backend.backend() == "jax")
    return model


X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(8, 2)).astype("float32")


def test_training_follows_the_schedule():
    """Gradient of the mean squared error by hand, the rate by the formula."""
    model = small(keras.optimizers.SGD(CyclicalLR(0.01, 0.2, 2)))
    weights, bias = (np.float64(w) for w in model.get_weights())
    model.fit(X, Y, batch_size=8, epochs=6, verbose=0)
    for step in range(6):
        error = 2 * (X @ weights + bias - Y) / Y.size
        rate = clr(step, 0.01, 0.2, 2, "triangular", 1.0)
        weights, bias = weights - rate * X.T @ error, bias - rate * error.sum(0)
    np.testing.assert_allclose(model.get_weights()[0], weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], bias, rtol=1e-4, atol=1e-6)


FRESH = """
import sys, keras, numpy as np, convcraft
model = convcraft.load_model(sys.argv[1])
rate = model.optimizer._learning_rate
print(type(rate).__module__, type(rate).__name__, int(keras.ops.convert_to_numpy(model.optimizer.iterations)))
x, y = np.load(sys.argv[2]), np.load(sys.argv[3])
model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
np.savez(sys.argv[4], *model.get_weights())
"""


@pytest.mark.parametrize("kind", ["cyclical", "onecycle"])
def test_a_saved_model_goes_on_in_a_fresh_process(kind, tmp_path):
    """The schedule, its place in the cycle and the momentum are those of the model that was not interrupted."""
    schedule = CyclicalLR(0.01, 0.2, 3, "triangular2") if kind == "cyclical" else OneCycle(0.2, 12)
    optimizer = CyclicSGD(schedule, schedule.momentum()) if kind == "onecycle" else keras.optimizers.SGD(schedule)
    model = small(optimizer)
    model.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    model.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    out = python(FRESH, tmp_path / "m.keras", tmp_path / "x.npy", tmp_path / "y.npy", tmp_path / "out.npz")
    assert out.split() == ["convcraft.layers.schedules", type(schedule).__name__, "6"]
    with np.load(tmp_path / "out.npz") as after:
        for mine, theirs in zip(model.get_weights(), after.values(), strict=True):
            np.testing.assert_allclose(theirs, mine, rtol=1e-6)


def test_they_are_one_and_the_same_in_training():
    assert convcraft.training.CyclicalLR is CyclicalLR and convcraft.training.OneCycle is OneCycle
