import keras
import numpy as np
import pytest

from convcraft.training import Common, common
from convcraft.training.optimize import learning_rate, optimizer, schedule

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
