"""Dropped branches cost nothing, and change nothing: `Model` against masking in a plain `keras.Model`."""

import json

import keras
import numpy as np
import pytest
from harness import BACKEND, draw, python
from nets import fractal, stagewise

from convcraft.layers import FractalJoin, Model
from convcraft.layers.base import to_numpy

NETS = {
    "columns": fractal,
    "only_columns": lambda **k: fractal(global_drop_path=1.0, **k),
    "two_blocks": lambda **k: fractal(blocks=2, **k),
    "freeze": lambda **k: stagewise(3, **k),
    "freeze_cycle": lambda **k: stagewise(mode="cycle", steps_per_cycle=5, interval="reverse", **k),
}
X = draw((64, 4, 4, 3))
Y = np.random.default_rng(1).integers(0, 3, 64)
CHOOSERS = ("path", "freeze")
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def fit(model, epochs=3, optimizer=None, jit=BACKEND == "jax", **options):
    optimizer = optimizer or keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-3)
    model.compile(optimizer, LOSS, jit_compile=jit)
    return model.fit(X, Y, epochs=epochs, batch_size=8, shuffle=False, verbose=0, **options).history["loss"]


def values(model):
    """By path: weights and statistics; the choosers' states by their layers' names."""
    states = {layer.name: to_numpy(layer.seed_generator.state) for layer in model.layers if layer.name in CHOOSERS}
    return {v.path: to_numpy(v) for v in model.variables if "seed_generator" not in v.path} | states


def slots(model):
    return {v.path.split("/", 1)[-1]: to_numpy(v) for v in model.optimizer.variables}


def assert_same(one, other, but=()):
    assert one.keys() == other.keys()
    for path, value in one.items():
        if not any(word in path for word in but):
            np.testing.assert_allclose(value, other[path], rtol=1e-4, atol=2e-5, err_msg=path)


@pytest.mark.parametrize("name", NETS)
def test_same_numbers_as_masking(name):
    """With momentum and weight decay: losses, weights, optimizer slots, random states. 24 steps."""
    ours, plain = NETS[name](), NETS[name](make=keras.Model)
    losses, expected = fit(ours), fit(plain)
    assert ours._branches is not None, "it does choose"
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    # a branch that is not computed takes no statistics
    assert_same(values(ours), values(plain), but=["moving_"])
    assert_same(slots(ours), slots(plain))


def test_a_branch_that_is_not_computed_keeps_its_statistics():
    """Batch normalization of a column moves in the steps that compute it, by the momentum, and in no other."""
    model = fractal(columns=2, global_drop_path=1.0)
    fit(model, epochs=1, optimizer=keras.optimizers.SGD(0.0))
    state = int(to_numpy(model.get_layer("path").seed_generator.state)[1])
    path = model.get_layer("path")
    columns = [path.foresee(0, n) - 1 for n in range(state)]
    assert state == 8 and set(columns) == {0, 1}
    stem = [v.numpy() if hasattr(v, "numpy") else np.asarray(v) for v in model.get_layer("stem").get_weights()]
    for column, layer in ((0, "block0_row1_column0"), (1, "block0_row2_column1")):
        mean, kernel = np.zeros(4), model.get_layer(layer).get_weights()[0].astype("float64")
        for step, chosen in enumerate(columns):
            if chosen == column:
                x = X[8 * step : 8 * step + 8].astype("float64") @ stem[0][0, 0] + stem[1]
                padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
                patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
                batch = np.einsum("nhwcij,ijco->nhwo", patches, kernel).mean((0, 1, 2))
                mean = 0.9 * mean + 0.1 * batch
        moving = model.get_layer(f"{layer}_norm").get_weights()[2]
        np.testing.assert_allclose(moving, mean, rtol=1e-3, atol=1e-4)


def test_only_the_column_is_computed():
    """Measured in the graph that trains: the layers in it are one column's."""
    model = fractal(columns=3, global_drop_path=1.0)
    fit(model, epochs=2)
    convolutions = {
        choice: sorted(
            layer.name for layer in graph.model.layers if "_column" in layer.name and layer.name[-1].isdigit()
        )
        for choice, graph in model._branches._graphs.items()
    }
    assert convolutions[(1,)] == [f"block0_row{row}_column0" for row in (1, 2, 3, 4)]
    assert convolutions[(2,)] == [f"block0_row{row}_column1" for row in (2, 4)]
    assert convolutions[(3,)] == ["block0_row4_column2"]


def test_two_choosers_choose_independently():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4, 4, 3))
    branches = [keras.layers.Conv2D(2, 1, name=f"conv{i}")(inputs) for i in range(4)]
    one = FractalJoin(global_drop_path=1.0, seed=1)(branches[:2])
    other = FractalJoin(global_drop_path=1.0, seed=2)(branches[2:])
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([one, other]))
    model = Model(inputs, keras.layers.Dense(3)(x))
    fit(model)
    assert set(model._branches._graphs) >= {(1, 1), (1, 2), (2, 1), (2, 2)}


def test_saved_and_loaded_after_training(tmp_path):
    """What training builds on the side is not in the file."""
    model = fractal()
    fit(model)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert type(again) is Model and len(again.variables) == len(model.variables)
    np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5, atol=1e-6)
    assert json.loads(again.to_json()) == json.loads(model.to_json())


def test_a_second_fit_and_a_new_compile_go_on():
    """The choices are those of the state, whoever asks."""
    one, two = fractal(), fractal()
    fit(one, epochs=4)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-3)
    fit(two, epochs=2, optimizer=optimizer)
    fit(two, epochs=2, optimizer=optimizer)
    assert_same(values(one), values(two))


def test_train_on_batch():
    one, two = fractal(), fractal()
    fit(one, epochs=1)
    two.compile(keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-3), LOSS, jit_compile=BACKEND == "jax")
    for start in range(0, 64, 8):
        two.train_on_batch(X[start : start + 8], Y[start : start + 8])
    assert_same(values(one), values(two))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a checkpoint of TensorFlow's")
@pytest.mark.parametrize("name", ["columns", "freeze"])
def test_a_checkpoint_of_tensorflow_s_holds_the_choices(name, tmp_path):
    import tensorflow as tf

    model = NETS[name](seed=None)
    fit(model, epochs=1)
    path = tf.train.Checkpoint(model).write(str(tmp_path / "state"))
    go_on = {"x": X, "y": Y, "batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    losses, after = model.fit(**go_on).history["loss"], values(model)
    other = NETS[name](seed=None)
    other.compile(keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-3), LOSS)
    other.optimizer.build(other.trainable_variables)
    tf.train.Checkpoint(other).read(path).assert_existing_objects_matched()
    assert other.fit(**go_on).history["loss"] == losses
    assert_same(values(other), after)


def test_evaluation_computes_everything():
    model = fractal()
    fit(model)
    whole = keras.Model(model.input, model.output).predict(X, verbose=0)
    np.testing.assert_allclose(model.predict(X, verbose=0), whole, rtol=1e-5, atol=1e-6)
    q = np.exp(whole - whole.max(1, keepdims=True))
    expected = -np.log((q / q.sum(1, keepdims=True))[np.arange(64), Y]).mean()
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), expected, rtol=1e-4)


def test_per_sample_masks():
    """A choice for each image leaves nothing out."""
    model = fractal(per="sample")
    assert np.isfinite(fit(model)).all()
    assert model._branches is None


@pytest.mark.skipif(BACKEND != "tensorflow", reason="XLA by an option of TensorFlow's compile")
def test_under_xla():
    np.testing.assert_allclose(fit(fractal(norm=False), jit=True), fit(fractal(norm=False)), rtol=1e-4)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras's steps_per_execution must be 1 on PyTorch")
def test_steps_per_execution():
    """One choice a call; the random state counts the steps."""
    model = fractal(global_drop_path=1.0)
    model.compile("sgd", LOSS, steps_per_execution=3, jit_compile=BACKEND == "jax")
    model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    assert int(to_numpy(model.get_layer("path").seed_generator.state)[1]) == 16


MIRRORED = """
import json, sys
import numpy as np, keras, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, sys.argv[1])
from nets import fractal, stagewise
x = np.random.default_rng(0).uniform(-3, 3, (64, 4, 4, 3)).astype("float32")
y = np.random.default_rng(1).integers(0, 3, 64)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
results = {}
# one strategy for both nets: a second on the same devices would use the keys of the first's collectives again
strategies = [tf.distribute.MirroredStrategy(devices) for devices in (["CPU:0"], ["CPU:0", "CPU:1"])]
for make in (fractal, stagewise):
    for devices, strategy in enumerate(strategies, 1):
        with strategy.scope():
            model = make(2, width=2, size=4)
            model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
        history = model.fit(data, epochs=2, verbose=0).history["loss"]
        results[f"{make.__name__}{devices}"] = (history, len(model._branches._graphs))
print(json.dumps(results))
"""


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_every_replica_takes_the_same_choice():
    """Two replicas train as one does: with different choices they could not."""
    import pathlib

    results = json.loads(python(MIRRORED, pathlib.Path(__file__).parents[1]).splitlines()[-1])
    for name in ("fractal", "stagewise"):
        (one, graphs), (two, others) = results[f"{name}1"], results[f"{name}2"]
        np.testing.assert_allclose(one, two, rtol=1e-4)
        assert graphs == others > 1


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's warning")
def test_steps_that_are_meant_to_be_compiled_are_not_warned_of(caplog, monkeypatch):
    import logging

    monkeypatch.setattr(logging.getLogger("tensorflow"), "propagate", True)  # to caplog
    fit(NETS["freeze"](), epochs=2)
    logging.getLogger("tensorflow").warning("5 out of the last 5 calls to %r triggered tf.function retracing.", fit)
    logging.getLogger("tensorflow").warning("something else")
    assert [record.message for record in caplog.records if record.name == "tensorflow"] == ["something else"]
