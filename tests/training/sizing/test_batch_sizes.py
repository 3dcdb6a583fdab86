"""`--batch-size auto`: halved until a step fits, as if that number had been given."""

import json
import pathlib
import textwrap

import keras
import numpy as np
import pytest
from harness import python

from convcraft import options, training
from convcraft.training import common, loop, rundir
from convcraft.training.sizing import batch_sizes

HERE = pathlib.Path(__file__).parents[1]
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# a layer that runs out of memory on batches above a size, in the middle of a step
PLANT = """
import keras, numpy as np

def exhaust(count, most):
    if count > most:
        raise MemoryError("RESOURCE_EXHAUSTED: planted")
    return np.float32(1)

class Greedy(keras.layers.Layer):
    def __init__(self, most, **kwargs):
        super().__init__(**kwargs)
        self.most = most

    def get_config(self):
        return {**super().get_config(), "most": self.most}

    def call(self, x, training=None):
        if not training:
            return x
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            one = tf.numpy_function(lambda count: exhaust(count, self.most), [tf.shape(x)[0]], tf.float32)
            return x * tf.stop_gradient(tf.ensure_shape(one, ()))
        return x * exhaust(x.shape[0] or 0, self.most)
"""
exec(PLANT)  # Greedy, here and in the recipe's file


def net(most):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4,)), keras.layers.Dense(8), Greedy(most), keras.layers.Dropout(0.5), keras.layers.Dense(3)]  # noqa: F821
    model = keras.Sequential(layers)
    model.compile("adam", LOSS, run_eagerly=True)  # nothing to compile for each size
    return model


X = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
Y = (np.arange(50) % 3).astype("int32")


@pytest.mark.parametrize("most, start, expected", [(100, 64, 64), (64, 64, 64), (63, 64, 32), (9, 64, 8), (1, 48, 1)])
def test_halves_until_a_step_fits(most, start, expected):
    assert training.fit_batch_size(net(most), (X, Y), start) == expected


def state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def test_a_model_that_has_not_trained_is_no_further():
    model = net(20)
    assert training.fit_batch_size(model, (X, Y), 64) == 16
    assert not model.optimizer.built and model.train_function is None


def test_batches_and_several_outputs():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, {"a": keras.layers.Dense(3)(inputs), "b": keras.layers.Dense(3)(inputs)})
    model.compile("adam", {"a": LOSS, "b": LOSS})
    assert training.fit_batch_size(model, [(X, {"a": Y, "b": Y})], 8) == 8
    with pytest.raises(ValueError, match="the data are empty"):
        training.fit_batch_size(model, [], 8)


def test_the_model_is_as_it_was():
    trained = []
    for sized in (False, True):
        model = net(20)
        model.fit(X, Y, batch_size=10, shuffle=False, verbose=0)
        if sized:
            history = model.history
            assert training.fit_batch_size(model, (X, Y), 64) == 16 and model.history is history
        model.fit(X, Y, batch_size=10, shuffle=False, verbose=0)
        trained.append(state(model))
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_also_where_it_is_broken_off(error, monkeypatch):
    model = net(100)
    model.fit(X, Y, verbose=0)
    before, apart = state(model), batch_sizes.apart

    def broken(model):
        trial = apart(model)
        fit = trial.fit

        def breaks(*args, **options):
            fit(*args, **options)
            raise error

        trial.fit = breaks
        return trial

    monkeypatch.setattr(batch_sizes, "apart", broken)
    with pytest.raises(error):
        training.fit_batch_size(model, (X, Y), 16)
    for one, other in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(one, other)


def named(name, base=Exception):
    return type(name, (base,), {})("no words")


@pytest.mark.parametrize(
    "error, expected",
    [
        (MemoryError(), True),
        (named("ResourceExhaustedError"), True),
        (named("OutOfMemoryError", RuntimeError), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1099511627776 bytes."), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you …"), True),
        (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY"), True),
        (ValueError("Expected images of 32x32"), False),
        (RuntimeError("INVALID_ARGUMENT"), False),
    ],
)
def test_errors_of_all_backends(error, expected):
    assert batch_sizes.is_out_of_memory(error) is expected


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_real_errors_of_all_backends(backend):
    """More than any machine's address space."""
    code = """
import keras, numpy as np
from convcraft.training.sizing.batch_sizes import is_out_of_memory
try:
    x = keras.random.uniform((2**24, 2**24, 4), seed=1)
    print(float(x[0, 0, 0]))
except Exception as error:
    print(is_out_of_memory(error), type(error).__name__, str(error)[:200])
"""
    assert python(code, KERAS_BACKEND=backend).startswith("True"), backend


def test_what_is_refused():
    uncompiled = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    for model, data, start, message in [
        (net(9), (X, Y), 0, "start"),
        (net(9), (X, Y), 2.5, "start"),
        (uncompiled, (X, Y), 8, "compiled"),
        (net(9), (X[:0], Y[:0]), 8, "received 0"),
        (net(9), (X, Y[:3]), 8, "received 50, 3"),
        (net(9), 3, 8, "expected a training.data.Data"),
        (net(0), (X, Y), 8, "Not even one image"),
    ]:
        with pytest.raises(ValueError, match=message):
            training.fit_batch_size(model, data, start)


RECIPE = PLANT + textwrap.dedent(
    """
    from dataclasses import dataclass
    from convcraft import layers, training

    @dataclass
    class Config(training.Common):
        epochs: int = 2
        batch_size: int = 64
        strategy: str = "none"
        most: int = 20

    def data(config):
        rng = np.random.default_rng(config.seed)
        labels = np.arange(90) % 3
        pictures = (rng.uniform(0, 120, (90, 8, 8, 1)) + 60 * labels[:, None, None, None]).astype("uint8")
        return training.data.load((pictures, labels), batch_size=config.batch_size, seed=config.seed)

    def train(config, run):
        images = data(config)
        with run.scope():
            inputs = keras.Input(images.image_shape)
            x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
            if run.epochs:
                x = Greedy(config.most)(keras.layers.Dense(16, "relu")(x))
            x = keras.layers.Dense(3)(keras.layers.Dropout(0.3)(x))
            net = layers.Model(inputs, layers.ClassNames(images.class_names)(x))
            net.compile(
                training.optimizer(config, run.steps(images)),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                weighted_metrics=["accuracy"],
                jit_compile=run.jit,
            )
        return run.fit(net, images)
    """
)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Trains the recipe with a planted error, without the process that measures its file."""
    (tmp_path / "greedy_net.py").write_text(RECIPE)
    module = loop.load_recipe(tmp_path / "greedy_net.py")
    monkeypatch.setattr(loop, "_finish", lambda run, brief: {})

    def run(output, **options):
        return loop.execute(module, module.Config(**options), tmp_path / output)

    return run


def test_a_run_is_that_with_the_number_found(trained, tmp_path, capsys):
    found = trained("auto", batch_size="auto")
    assert found.config.batch_size == 16
    assert "of 64 images do not fit" in (said := capsys.readouterr().out) and "Batch size 16:" in said
    given = trained("number", batch_size=16)
    for one, other in zip(state(found.model), state(given.model), strict=True):
        np.testing.assert_array_equal(one, other)
    described = rundir.read_json(tmp_path / "auto" / "config.json")
    assert described["config"]["batch_size"] == 16 and "--batch-size 16" in described["command"]


def test_a_resumed_run_keeps_its_number(trained, tmp_path, monkeypatch):
    trained("one", batch_size=8)
    monkeypatch.setattr(batch_sizes, "_fits", lambda recipe, config: pytest.fail("it has a number"))
    again = trained("one", batch_size="auto")
    assert again.config.batch_size == 8
    with pytest.raises(ValueError, match="batch_size=8 there, 4 here"):
        trained("one", batch_size=4)


def test_not_even_one_image(trained, monkeypatch):
    tried = []
    monkeypatch.setattr(batch_sizes, "_fits", lambda recipe, config: tried.append(config.batch_size))
    with pytest.raises(ValueError, match="Not even one image"):
        trained("none", batch_size="auto")
    assert tried == [64, 32, 16, 8, 4, 2, 1]


@pytest.mark.parametrize("status, fits", [(0, True), (1, True), (86, False), (-9, False), (137, False)])
def test_a_process_that_the_system_ended_had_no_memory(status, fits, monkeypatch):
    """Any other failure is for the run itself to show."""
    ended = type("Done", (), {"returncode": status})
    monkeypatch.setattr(batch_sizes.subprocess, "run", lambda *args, **options: ended)
    assert batch_sizes._fits("squeezenet_digits", common.Common()) is fits


def test_several_workers_need_a_number(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["localhost:1", "localhost:2"]}}))
    with pytest.raises(ValueError, match="Expected a number as batch_size"):
        batch_sizes.settled(batch_sizes, common.Common(batch_size="auto"), None)


def test_on_the_command_line():
    config = options.recipe_options(common.Common, ["--batch-size", "auto"], prog="x")
    assert config.batch_size == "auto"
    assert options.recipe_options(common.Common, ["--batch-size", "7"], prog="x").batch_size == 7
    with pytest.raises(ValueError, match="batch-size to be a whole number"):
        options.recipe_options(common.Common, ["--batch-size", "large"], prog="x")
    with pytest.raises(ValueError, match="batch_size to be at least 1; received 'large'"):
        common.check(common.Common(batch_size="large"))
