import pathlib

import keras
import numpy as np
import pytest

from convcraft import training
from convcraft.layers import CyclicalLR, CyclicSGD, Freezable, OneCycle
from convcraft.training import (
    Common,
    common,
    exponential_decay,
    linear_scaled,
    optimize,
    requirements,
    sqrt_scaled,
    step_decay,
)
from convcraft.training.optimize import innermost, learning_rate, optimizer, schedule

STEPS = 100


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("constant", lambda t: 0.1),
        ("linear", lambda t: 0.1 * (1 - t)),
        ("cosine", lambda t: 0.05 * (1 + np.cos(np.pi * t))),
        ("step", lambda t: 0.1 if t <= 0.5 else 0.01 if t <= 0.75 else 0.001),
        ("exponential", lambda t: 0.1 * 0.01**t),
    ],
)
def test_schedules_are_their_formulas(kind, expected):
    made = schedule(Common(learning_rate=0.1, schedule=kind), STEPS)
    for step in range(0, STEPS + 1, 5):
        rate = made if kind == "constant" else float(made(step))
        assert rate == pytest.approx(expected(step / STEPS), rel=1e-5, abs=1e-8), step


@pytest.mark.parametrize(
    "kind, cls, settings",
    [
        ("sgd", "SGD", {"momentum": 0.0}),
        ("momentum", "SGD", {"momentum": 0.9, "nesterov": False}),
        ("nesterov", "SGD", {"momentum": 0.9, "nesterov": True}),
        ("adam", "Adam", {}),
        ("adamw", "AdamW", {}),
        ("rmsprop", "RMSprop", {}),
        ("adagrad", "Adagrad", {}),
    ],
)
def test_optimizers_by_name(kind, cls, settings):
    made = optimizer(Common(optimizer=kind), STEPS)
    assert type(made).__name__ == cls
    assert settings.items() <= made.get_config().items()


def test_weight_decay_spares_biases_normalization_and_slopes():
    """One step without gradients: w (1 - rate * decay) for kernels, nothing for the rest."""
    inputs = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(3, 1)(inputs)
    x = keras.layers.PReLU(shared_axes=[1, 2])(keras.layers.BatchNormalization()(x))
    model = keras.Model(inputs, x)
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones(variable.shape))
    made = optimizer(Common(optimizer="sgd", schedule="constant", learning_rate=0.5, weight_decay=0.1), STEPS)
    made.build(model.trainable_variables)
    made.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    values = {v.path.split("/")[-1]: float(keras.ops.convert_to_numpy(v).ravel()[0]) for v in model.trainable_variables}
    assert values == {"kernel": pytest.approx(0.95), "bias": 1, "gamma": 1, "beta": 1, "alpha": 1}


def test_learning_rate_follows_the_iterations():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer(Common(learning_rate=0.1, schedule="linear"), 10), "mse", jit_compile=False)
    assert learning_rate(model) == pytest.approx(0.1)
    model.fit(np.zeros((4, 2)), np.zeros((4, 1)), batch_size=1, verbose=0)
    assert learning_rate(model) == pytest.approx(0.06)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"optimizer": "sdg"}, "optimizer to be one of sgd"),
        ({"schedule": "plateau"}, "schedule to be one of constant"),
        ({"strategy": "ddp"}, "strategy to be one of auto"),
        ({"epochs": 0}, "epochs to be at least 1; received 0"),
        ({"batch_size": -1}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate to be positive"),
        ({"learning_rate": float("nan")}, "learning_rate to be positive"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"weight_decay": float("nan")}, "weight_decay"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_options_are_refused_before_training(wrong, message):
    with pytest.raises(ValueError, match=message):
        common.check(Common(**wrong))


def test_the_first_data_set_at_hand_is_taken(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("CONVCRAFT_DATA", str(tmp_path))
    config = Common(data="cifar10 or digits")
    assert common.resolve(config).data == "digits"
    assert "--data cifar10" in capsys.readouterr().out
    (tmp_path / "cifar10.npz").touch()
    assert common.resolve(config).data == "cifar10"
    assert common.resolve(Common(data="cifar10 or digits", smoke=True)).data == "digits"
    assert common.resolve(Common(data="cifar10")).data == "cifar10", "a single name is taken as it is"
    (tmp_path / "here" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert common.resolve(Common(data="photos")).data == str(tmp_path / "here" / "photos"), "paths become absolute"
    (tmp_path / "photos").mkdir()
    assert common.resolve(Common(data="photos")).data == "photos", "in CONVCRAFT_DATA it is a name"


def triangle(t, cycles):
    """Of height 1: up and down `cycles` times while t goes from 0 to 1."""
    return 1 - abs(2 * ((t * cycles) % 1) - 1)


@pytest.mark.parametrize(
    "kind, height",
    [
        ("triangular", lambda t: 1.0),
        ("triangular2", lambda t: 0.5 ** int(t * 3)),
        ("exp_range", lambda t: 0.01**t),
    ],
)
def test_cyclical_schedules_end_with_a_cycle(kind, height):
    """24 epochs are three cycles, from a quarter of the rate to the rate."""
    made = schedule(Common(learning_rate=0.1, schedule=kind, epochs=24), 600)
    assert isinstance(made, CyclicalLR) and made.step_size == 100
    for step in range(0, 600, 7):
        expected = 0.025 + 0.075 * triangle(step / 600, 3) * height(step / 600)
        assert float(made(step)) == pytest.approx(expected, rel=1e-5), step
    assert float(made(600)) == pytest.approx(0.025)


@pytest.mark.parametrize("epochs, steps", [(1, 1), (1, 7), (3, 100), (10, 211), (90, 90 * 17), (200, 78200)])
def test_no_cycle_begins_within_the_last_steps(epochs, steps):
    made = schedule(Common(schedule="triangular", epochs=epochs), steps)
    cycles = max(1, round(epochs / 8))
    assert 2 * made.step_size * cycles >= steps > 2 * (made.step_size - 1) * cycles
    if epochs >= 4:
        assert 2 <= epochs / (2 * cycles) <= 10, "the paper's 2 to 10 epochs"


def test_onecycle_is_ours():
    made = schedule(Common(learning_rate=0.1, schedule="onecycle"), 100)
    assert isinstance(made, OneCycle)
    assert [round(float(made(step)), 6) for step in (0, 29, 99)] == [0.004, 0.1, 0.0]


@pytest.mark.parametrize("kind", ["momentum", "nesterov"])
def test_onecycle_cycles_the_momentum(kind):
    made = optimizer(Common(optimizer=kind, schedule="onecycle", weight_decay=0.1), 100)
    assert isinstance(made, CyclicSGD)
    assert made.nesterov == (kind == "nesterov") and made.weight_decay == 0.1
    assert [round(float(made.momentum_schedule(step)), 4) for step in (0, 29, 99)] == [0.95, 0.85, 0.95]


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw", "rmsprop", "adagrad"])
def test_onecycle_with_optimizers_without_a_momentum_to_cycle(kind):
    made = optimizer(Common(optimizer=kind, schedule="onecycle"), 100)
    assert not isinstance(made, CyclicSGD) and isinstance(made._learning_rate, OneCycle)


def dense(made):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(made, "mse", jit_compile=False)
    return model


@pytest.mark.parametrize("wrap", [Freezable, lambda made: keras.optimizers.LossScaleOptimizer(Freezable(made))])
def test_the_rate_is_the_innermost_optimizers(wrap):
    plain = keras.optimizers.SGD(0.25)
    model = dense(wrap(plain))
    assert innermost(model.optimizer) is plain
    assert learning_rate(model) == 0.25


PLATEAU = keras.callbacks.ReduceLROnPlateau()


@pytest.mark.parametrize("callback", [PLATEAU, keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)])
@pytest.mark.parametrize("wrap", [lambda made: made, Freezable])
def test_a_callback_that_sets_the_rate_needs_a_plain_one(callback, wrap):
    """Keras raises at the end of the first plateau, in the middle of training."""
    model = dense(wrap(keras.optimizers.SGD(CyclicalLR(0.1, 0.2, 5))))
    with pytest.raises(ValueError, match=f"either a schedule or {type(callback).__name__}.*follows CyclicalLR"):
        requirements.fits_schedule(model, [keras.callbacks.History(), callback])
    requirements.fits_schedule(model, [keras.callbacks.History()])
    requirements.fits_schedule(dense(wrap(keras.optimizers.SGD(0.1))), [callback])


@pytest.mark.parametrize("divide_by", [2, 5, 10])
def test_step_decay_is_the_formula(divide_by):
    made = step_decay(0.01, steps_per_epoch=30, every=10, divide_by=divide_by)
    for step in range(0, 1500, 50):
        assert float(made(step)) == pytest.approx(0.01 / divide_by ** (step // 300), rel=1e-5), step
    assert type(made) is keras.optimizers.schedules.ExponentialDecay


def test_exponential_decay_is_the_formula():
    made = exponential_decay(0.1, 200, final=0.05)
    for step in range(0, 400, 30):
        assert float(made(step)) == pytest.approx(0.1 * 0.05 ** (step / 200), rel=1e-5), step


def test_scaling_by_batch_size_is_printed(capsys):
    assert linear_scaled(0.1, 64) == pytest.approx(0.025)
    assert sqrt_scaled(0.1, 64) == pytest.approx(0.05)
    assert linear_scaled(0.1, 64, base=32) == pytest.approx(0.2)
    assert capsys.readouterr().out.splitlines() == [
        "Learning rate 0.1 at batch size 256, scaled linearly to 0.025 at 64.",
        "Learning rate 0.1 at batch size 256, scaled by the square root to 0.05 at 64.",
        "Learning rate 0.1 at batch size 32, scaled linearly to 0.2 at 64.",
    ]
    assert learning_rate(dense(optimizer(Common(batch_size=4096, schedule="constant", learning_rate=0.1), 10))) == (
        pytest.approx(0.1)
    ), "off by default"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: step_decay(0.1, 0), "step_decay: expected steps_per_epoch to be positive, received 0"),
        (lambda: step_decay(0.1, 10, divide_by=0.5), "divide_by above 1"),
        (lambda: exponential_decay(0.1, 10, final=1.0), "final above 0 and below 1"),
        (lambda: linear_scaled(0.1, 0), "linear_scaled: expected batch_size"),
        (lambda: sqrt_scaled(float("nan"), 1), "sqrt_scaled: expected learning_rate"),
    ],
)
def test_bad_schedules(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_run_refuses_a_schedule_beside_a_callback_that_sets_the_rate(tmp_path):
    """Before training, and before anything is written over."""
    text = pathlib.Path(__file__).with_name("tiny_recipe.py").read_text("utf-8")
    recipe = tmp_path / "both_rates.py"
    recipe.write_text(text.replace("[DieAt(), stopper]", "[keras.callbacks.ReduceLROnPlateau()]"), "utf-8")
    with pytest.raises(ValueError, match="either a schedule or ReduceLROnPlateau"):
        training.run(recipe, {"output": str(tmp_path / "run")})
    assert not (tmp_path / "run" / "checkpoint" / "state.npz").exists()


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine", "step", "onecycle", "triangular"])
@pytest.mark.parametrize("preset", ["recipe", "modern"])
def test_a_plain_rate_in_place_of_a_schedule(kind, preset):
    """Of the same settings; and the largest rate that the schedule comes to."""
    made = optimizer(Common(schedule=kind, preset=preset, learning_rate=0.2, weight_decay=0.01), 700)
    assert optimize.largest_rate(made) == pytest.approx(0.2, rel=0.05)
    copy = optimize.at_rate(made, 0.3)
    assert float(keras.ops.convert_to_numpy(copy.learning_rate)) == np.float32(0.3)
    assert type(copy) is type(made) and copy.weight_decay == 0.01
    kept = keras.Variable(np.ones(3), name="bias")
    assert not copy._use_weight_decay(kept) and not made._use_weight_decay(kept)
