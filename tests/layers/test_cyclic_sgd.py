"""Oracles: Keras's SGD at constant momentum, NumPy in float64, and PyTorch's SGD with its momentum changed by hand."""

import json

import keras
import numpy as np
import pytest
from harness import BACKEND, draw, numpy, python
from hypothesis import given, settings
from hypothesis import strategies as st

from convcraft.layers import CyclicalLR, CyclicSGD, OneCycle, OneCycleMomentum

START = np.float32([1.0, -2.0, 0.5])
SLOPES = np.float32([1.0, 2.0, -3.0])


def path(optimizer, gradients, start=START):
    """The values of one variable after each step."""
    variable, values = keras.Variable(start, name="w"), []
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(np.float32(gradient))], [variable])
        values.append(numpy(variable))
    return np.array(values)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_constant_momentum_is_kerass_sgd_same_bits(momentum, nesterov):
    gradients = draw((6, 3))
    options = {"weight_decay": 0.01, "clipnorm": 2.0}
    ours = path(CyclicSGD(0.1, momentum, nesterov, **options), gradients)
    theirs = path(keras.optimizers.SGD(0.1, momentum, nesterov, **options), gradients)
    if BACKEND == "tensorflow":
        np.testing.assert_array_equal(ours, theirs)
    else:  # PyTorch's is another function, which adds in another order
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.booleans(), st.sampled_from(["cos", "linear"]))
def test_it_is_the_formula(total, nesterov, anneal):
    cycle = OneCycle(0.3, total, anneal=anneal)
    gradients = draw((total, 3), seed=total)
    w, v = np.float64(START), np.zeros(3)
    expected = []
    for step, g in enumerate(np.float64(gradients)):
        rate, m = float(cycle(step)), float(cycle.momentum(0.5, 0.9)(step))
        v = m * v - rate * g
        w = w + (m * v - rate * g if nesterov else v)
        expected.append(w)
    values = path(CyclicSGD(cycle, cycle.momentum(0.5, 0.9), nesterov), gradients)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


# What this printed with torch 2.13.0:
# import torch
# for nesterov in (False, True):
#     w = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
#     optimizer, rows = torch.optim.SGD([w], lr=0.1, momentum=0.9, nesterov=nesterov), []
#     for momentum in (0.9, 0.7, 0.5, 0.7, 0.9):
#         optimizer.param_groups[0]["momentum"] = momentum
#         optimizer.zero_grad(); (w**2 / 2 * torch.tensor([1.0, 2.0, -3.0])).sum().backward(); optimizer.step()
#         rows.append([float(f"{x:.7g}") for x in w])
#     print(rows)
KEPT = {
    False: [
        [0.9, -1.6, 0.65],
        [0.74, -1.0, 0.95],
        [0.586, -0.5, 1.385],
        [0.4196, -0.04999999, 2.105],
        [0.22788, 0.365, 3.3845],
    ],
    True: [
        [0.81, -1.24, 0.785],
        [0.6233, -0.6224, 1.25885],
        [0.492055, -0.30368, 1.910457],
        [0.340869, -0.01007363, 3.153264],
        [0.1580978, 0.2632186, 5.725528],
    ],
}
MOMENTA = [0.9, 0.7, 0.5, 0.7, 0.9]


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_changed_momentum_published_vectors(nesterov):
    """At a constant rate, where PyTorch's rule and Keras's are one."""
    schedule = Reversed(CyclicalLR(0.5, 0.9, 2))
    assert [round(float(schedule(step)), 6) for step in range(5)] == MOMENTA
    variable, optimizer = keras.Variable(START, name="w"), CyclicSGD(0.1, schedule, nesterov)
    optimizer.build([variable])
    for expected in KEPT[nesterov]:
        optimizer.apply([keras.ops.convert_to_tensor(numpy(variable) * SLOPES)], [variable])
        np.testing.assert_allclose(numpy(variable), expected, rtol=1e-5)


class Reversed(keras.optimizers.schedules.LearningRateSchedule):
    """High where the other is low."""

    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, step):
        return 1.4 - self.schedule(step)


# in a process of its own: the LLVM of PyTorch's Triton and that of TensorFlow end one in which both are loaded
PYTORCH = """
import json, sys, torch
start, gradients, momenta, nesterov = json.loads(sys.argv[1])
w = torch.tensor(start, requires_grad=True)
optimizer, values = torch.optim.SGD([w], lr=0.1, momentum=0.9, nesterov=nesterov), []
for gradient, momentum in zip(gradients, momenta):
    optimizer.param_groups[0]["momentum"] = momentum
    w.grad = torch.tensor(gradient)
    optimizer.step()
    values.append(w.tolist())
print(json.dumps(values))
"""


@pytest.mark.torch
@pytest.mark.parametrize("nesterov", [False, True])
def test_it_is_pytorchs_at_a_constant_rate(nesterov):
    schedule, gradients = OneCycleMomentum(20), draw((20, 3))
    momenta = [float(schedule(step)) for step in range(20)]
    said = python(PYTORCH, json.dumps([START.tolist(), gradients.tolist(), momenta, nesterov]))
    expected = json.loads(said.splitlines()[-1])
    values = path(CyclicSGD(0.1, schedule, nesterov), gradients)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_momentum_can_be_read():
    optimizer = CyclicSGD(0.1, OneCycleMomentum(10))
    seen = []
    variable = keras.Variable(START)
    optimizer.build([variable])
    for _ in range(10):
        seen.append(float(keras.ops.convert_to_numpy(optimizer.momentum)))
        optimizer.apply([keras.ops.zeros(3)], [variable])
    np.testing.assert_allclose(seen, numpy(OneCycleMomentum(10)(np.arange(10))), rtol=1e-6)


@pytest.mark.parametrize("jit", [True, False])
def test_in_a_compiled_step(jit):
    """The momentum is no constant of the trace."""
    if BACKEND == "torch" and jit:
        pytest.skip("PyTorch does not compile")
    results = []
    for eager in (True, False):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
        cycle = OneCycle(0.3, 12)
        model.compile(
            CyclicSGD(cycle, cycle.momentum(0.1, 0.9)), "mse", run_eagerly=eager, jit_compile=jit and not eager
        )
        model.fit(draw((8, 3)), draw((8, 2), seed=1), batch_size=2, epochs=3, shuffle=False, verbose=0)
        results.append(model.get_weights()[0])
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)


def test_config():
    cycle = OneCycle(0.3, 12)
    for made in (CyclicSGD(cycle, cycle.momentum(), True, weight_decay=0.1, name="mine"), CyclicSGD(0.1, 0.5)):
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(made)))
        assert config["registered_name"] == "convcraft>CyclicSGD"
        again = keras.saving.deserialize_keras_object(config)
        assert json.loads(json.dumps(keras.saving.serialize_keras_object(again))) == config
        assert again.nesterov == made.nesterov and again.weight_decay == made.weight_decay
        gradients = draw((5, 3))
        np.testing.assert_array_equal(path(again, gradients), path(made, gradients))


@pytest.mark.parametrize("momentum", [-0.1, 1.5, "high", None, True, float("nan")])
def test_bad_arguments(momentum):
    with pytest.raises(ValueError, match="momentum_schedule to be a number from 0 to 1 or a LearningRateSchedule"):
        CyclicSGD(0.1, momentum)
