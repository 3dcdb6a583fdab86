"""What is frozen does not move by one bit, under any optimizer, and goes on from where it stood."""

import contextlib
import json
import pathlib

import keras
import numpy as np
import pytest
from harness import BACKEND, draw, python
from hypothesis import given, settings
from hypothesis import strategies as st

from convcraft.layers import CyclicSGD, Freezable, OneCycle

K = keras.optimizers
X, Y = draw((32, 4), seed=1), draw((32, 2), seed=2)

OPTIMIZERS = {
    "sgd": lambda: K.SGD(0.05, weight_decay=0.01),
    "momentum": lambda: K.SGD(0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda: K.SGD(0.05, momentum=0.9, nesterov=True, global_clipnorm=0.1),
    "adam": lambda: K.Adam(0.05, clipnorm=0.1, amsgrad=True),
    "adamw": lambda: K.AdamW(0.05, weight_decay=0.1),
    "average": lambda: K.Adam(0.05, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3),
    "accumulated": lambda: K.AdamW(0.05, gradient_accumulation_steps=3),
    "schedule": lambda: K.SGD(K.schedules.CosineDecay(0.05, 100), momentum=0.9),
    "cyclic": lambda: CyclicSGD(OneCycle(0.1, 50), OneCycle(0.1, 50).momentum(), weight_decay=0.01),
}
OTHERS = {
    "kept": lambda: K.AdamW(0.05, use_ema=True, ema_momentum=0.5),
    "rmsprop": lambda: K.RMSprop(0.05, momentum=0.5, centered=True),
    "adagrad": lambda: K.Adagrad(0.05),
    "adadelta": lambda: K.Adadelta(0.05),
    "adamax": lambda: K.Adamax(0.05),
    "nadam": lambda: K.Nadam(0.05),
    "ftrl": lambda: K.Ftrl(0.05),
    "lion": lambda: K.Lion(0.05),
    "adafactor": lambda: K.Adafactor(0.05),
    "muon": lambda: K.Muon(0.05),
    "schedule_free": lambda: K.ScheduleFreeAdamW(0.05),
}


def network(optimizer, **options):
    """Two dense layers, batch normalization, a constraint; always the same weights."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,))
    x = keras.layers.Dense(5, activation="tanh", name="one")(inputs)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.Dense(2, name="two", kernel_constraint=keras.constraints.MaxNorm(0.7))(x)
    model = keras.Model(inputs, x)
    model.compile(optimizer, "mse", **{"jit_compile": BACKEND == "jax", **options})
    return model


def train(model, epochs=1, **options):
    model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, **options)


def value(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


def belonging(model, name):
    """The layer's variables and their slots, whose names Keras makes from the variables' paths, and their values."""
    held = [v for v in model.optimizer.variables if f"{name}_kernel" in v.path or f"{name}_bias" in v.path]
    return [value(v) for v in [*model.get_layer(name).trainable_variables, *held]]


def moved(before, after):
    """For each pair of arrays, whether a bit of them differs."""
    return [a.tobytes() != b.tobytes() for a, b in zip(before, after, strict=True)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_same_bits(name):
    check_frozen(OPTIMIZERS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_frozen_same_bits_under_other_optimizers(name):
    check_frozen(OTHERS[name])


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX always compiles, PyTorch never does")
@pytest.mark.parametrize("options", [{"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 2}], ids=str)
@pytest.mark.parametrize("name", ["nesterov", "adamw", "average", "accumulated"])
def test_frozen_same_bits_however_it_is_compiled(name, options):
    check_frozen(OPTIMIZERS[name], **options)


def test_frozen_same_bits_with_xla():
    if BACKEND != "tensorflow":
        pytest.skip("JAX always compiles, PyTorch never does")
    check_frozen(OPTIMIZERS["adamw"], jit_compile=True)


def check_frozen(make, **options):
    model = network(Freezable(make()), **options)
    train(model)
    function = model.train_function
    assert model.optimizer.freeze("two/") == ["two/kernel", "two/bias"]
    assert model.optimizer.frozen == ["two/kernel", "two/bias"]
    one, two = belonging(model, "one"), belonging(model, "two")
    train(model, epochs=3)
    assert not any(moved(two, belonging(model, "two")))
    assert any(moved(one, belonging(model, "one"))), "the others go on"
    assert model.optimizer.thaw() == [v.path for v in model.trainable_variables]
    train(model)
    assert all(moved(two, belonging(model, "two"))[:2])
    assert model.train_function is function, "nothing was compiled anew"
    assert np.isfinite(model.get_weights()[0]).all()


@pytest.mark.parametrize("name", ["momentum", "adamw", "average", "accumulated"])
def test_frozen_from_the_first_step(name):
    model = network(Freezable(OPTIMIZERS[name](), freeze="two/kernel"))
    before = value(model.get_layer("two").kernel)
    train(model, epochs=3)
    assert model.optimizer.frozen == ["two/kernel"]
    assert not any(moved([before], [value(model.get_layer("two").kernel)]))
    model.optimizer.thaw()
    train(model)
    after = value(model.get_layer("two").kernel)
    assert any(moved([before], [after])) and np.linalg.norm(after) > 0.5, "not overwritten by an empty average"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_open_gates_change_nothing(name):
    """The wrapped optimizer takes the steps that it takes alone."""
    plain, wrapped = network(OPTIMIZERS[name]()), network(Freezable(OPTIMIZERS[name]()))
    train(plain, epochs=2)
    train(wrapped, epochs=2)
    for mine, own in zip(wrapped.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(mine, own, rtol=1e-6, atol=1e-7)


def steps(optimizer, variables, gradients):
    """Applies gradients, one array a step for all variables alike; returns the values after each step."""
    values = []
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for _ in variables], variables)
        values.append([value(v) for v in variables])
    return values


def variables(count=2):
    return [keras.Variable(np.ones(3, "float32") * (n + 1), name=f"v{n}") for n in range(count)]


G = [draw((3,), seed=n) for n in range(12)]


@pytest.mark.parametrize("nesterov", [False, True])
def test_thawed_momentum_goes_on_is_the_formula(nesterov):
    """Frozen for steps 4 to 7: as if these gradients had never been there. In float64, by hand."""
    optimizer = Freezable(K.SGD(0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.01))
    held = variables()
    optimizer.build(held)
    steps(optimizer, held, G[:4])
    optimizer.freeze("v1")
    steps(optimizer, held, G[4:8])
    optimizer.thaw()
    steps(optimizer, held, G[8:])
    w, v = np.full(3, 2.0), np.zeros(3)
    for g in [np.float64(g) for g in G[:4] + G[8:]]:
        w = w - w * 0.01 * 0.1
        v = 0.9 * v - 0.1 * g
        w = w + (0.9 * v - 0.1 * g if nesterov else v)
    np.testing.assert_allclose(value(held[1]), w, rtol=1e-5)


def test_thawed_adam_goes_on_is_the_formula():
    """Moments as they were kept, the correction of the step that it is: the optimizer counts for all alike."""
    optimizer = Freezable(K.AdamW(0.1, weight_decay=0.01))
    held = variables()
    optimizer.build(held)
    steps(optimizer, held, G[:4])
    optimizer.freeze("v1")
    steps(optimizer, held, G[4:8])
    optimizer.thaw()
    steps(optimizer, held, G[8:])
    w, m, s = np.full(3, 2.0), np.zeros(3), np.zeros(3)
    for t, g in [(t, np.float64(G[t])) for t in (0, 1, 2, 3, 8, 9, 10, 11)]:
        w = w - w * 0.01 * 0.1
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2
        w = w - 0.1 * np.sqrt(1 - 0.999 ** (t + 1)) / (1 - 0.9 ** (t + 1)) * m / (np.sqrt(s) + 1e-7)
    np.testing.assert_allclose(value(held[1]), w, rtol=1e-5)


def test_frozen_gradients_do_not_count_in_the_global_norm():
    optimizer = Freezable(K.SGD(1.0, global_clipnorm=1.0), freeze="v1")
    held = variables()
    optimizer.build(held)
    before = value(held[0])
    grads = [np.float32([0.6, 0, 0]), np.float32([1e6, np.inf, np.nan])]
    optimizer.apply([keras.ops.convert_to_tensor(g) for g in grads], held)
    np.testing.assert_allclose(value(held[0]), before - grads[0], rtol=1e-6)
    np.testing.assert_array_equal(value(held[1]), np.full(3, 2.0))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.sets(st.integers(0, 2)), st.integers(1, 2)), min_size=1, max_size=4))
def test_any_order_of_freezing_same_bits(plan):
    """Each variable is where it is when it sees only the gradients of the steps in which it was not frozen."""
    optimizer, held = Freezable(K.SGD(0.1, momentum=0.5)), variables(3)
    optimizer.build(held)
    taken, step = {n: [] for n in range(3)}, 0
    for frozen, count in plan:
        optimizer.thaw()
        if frozen:
            optimizer.freeze([f"v{n}" for n in frozen])
        for _ in range(count):
            steps(optimizer, held, [G[step]])
            for n in {0, 1, 2} - frozen:
                taken[n].append(G[step])
            step += 1
    for n in range(3):
        alone = K.SGD(0.1, momentum=0.5)
        one = keras.Variable(np.ones(3, "float32") * (n + 1))
        alone.build([one])
        steps(alone, [one], taken[n])
        np.testing.assert_array_equal(value(held[n]), value(one))


def test_the_average_of_a_variable_that_never_moved_is_itself():
    optimizer, held = Freezable(K.SGD(0.1, use_ema=True, ema_momentum=0.5), freeze="v1"), variables()
    optimizer.build(held)
    steps(optimizer, held, G[:3])
    optimizer.thaw()
    steps(optimizer, held, G[3:4])
    expected = 0.5 * np.full(3, 2.0) + 0.5 * value(held[1])
    optimizer.finalize_variable_values(held)
    np.testing.assert_allclose(value(held[1]), expected, rtol=1e-6)


class Switch(keras.callbacks.Callback):
    """Freezes or thaws when an epoch begins."""

    def __init__(self, plan):
        super().__init__()
        self.plan, self.kernels = plan, []

    def on_epoch_begin(self, epoch, logs=None):
        optimizer = getattr(self.model.optimizer, "inner_optimizer", None)
        optimizer = optimizer if isinstance(optimizer, Freezable) else self.model.optimizer
        optimizer.thaw()
        if self.plan[epoch]:
            optimizer.freeze(self.plan[epoch])

    def on_epoch_end(self, epoch, logs=None):
        self.kernels.append([value(self.model.get_layer(name).kernel) for name in ("one", "two")])


@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_a_callback_freezes_in_the_middle_of_fit(steps_per_execution):
    if BACKEND == "torch" and steps_per_execution > 1:
        pytest.skip("Keras on PyTorch takes one step at a time")
    model = network(Freezable("adam"), steps_per_execution=steps_per_execution)
    switch = Switch([None, "one/", "two/", None])
    train(model, epochs=4, callbacks=[switch])
    one, two = zip(*switch.kernels, strict=True)
    assert moved(one, one[1:] + one[:1])[:3] == [False, True, True]
    assert moved(two, two[1:] + two[:1])[:3] == [True, False, True]


def test_under_loss_scaling():
    """As "mixed_float16" wraps it."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network(Freezable(K.Adam(0.01)))
        assert isinstance(model.optimizer, K.LossScaleOptimizer)
        train(model)
        model.optimizer.inner_optimizer.freeze("two/")
        one, two = belonging(model, "one"), belonging(model, "two")
        train(model, epochs=2)
        assert not any(moved(two, belonging(model, "two"))) and any(moved(one, belonging(model, "one")))
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_fixed_loss_scale_is_the_inner_optimizers():
    plain, scaled = network(K.SGD(0.1, loss_scale_factor=64.0)), network(Freezable(K.SGD(0.1, loss_scale_factor=64.0)))
    train(plain)
    train(scaled)
    np.testing.assert_allclose(scaled.get_weights()[0], plain.get_weights()[0], rtol=1e-6)


def test_rates_can_be_set_by_callbacks():
    model = network(Freezable(K.SGD(0.1)))
    train(model, epochs=2, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch: 0.5 / (epoch + 1))])
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(0.25)
    assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 8
    history = model.fit(X, Y, verbose=0, callbacks=[keras.callbacks.ReduceLROnPlateau(monitor="loss")]).history
    assert history["learning_rate"] == [pytest.approx(0.25)]


def test_embeddings_with_sparse_gradients():
    inputs = keras.Input((3,), dtype="int32")
    x = keras.layers.Embedding(7, 4, name="words")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(keras.layers.Flatten()(x)))
    model.compile(Freezable(K.Adam(0.1)), "mse", jit_compile=BACKEND == "jax")
    words, targets = np.arange(12).reshape(4, 3) % 5, np.ones((4, 1))
    model.fit(words, targets, verbose=0)
    model.optimizer.freeze("words")
    before = value(model.get_layer("words").embeddings)
    model.fit(words, targets, verbose=0)
    assert not any(moved([before], [value(model.get_layer("words").embeddings)]))
    model.optimizer.thaw()
    model.fit(words, targets, verbose=0)
    after = value(model.get_layer("words").embeddings)
    assert (after[:5] != before[:5]).any()


FRESH = """
import sys, json, keras, numpy as np, convcraft
model = convcraft.load_model(sys.argv[1])
print(json.dumps([model.optimizer.frozen, model.optimizer.get_config()["freeze"]]))
with np.load(sys.argv[2]) as data:
    x, y = data["x"], data["y"]
model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
model.optimizer.thaw()
model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
np.savez(sys.argv[3], *model.get_weights())
"""


def test_a_saved_model_goes_on_in_a_fresh_process(tmp_path):
    """Gates, slots and rate are those of the model that was not interrupted."""
    model = network(Freezable(K.AdamW(0.05)))
    train(model)
    model.optimizer.freeze("two/")
    train(model)
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    train(model, epochs=2)
    model.optimizer.thaw()
    train(model, epochs=2)
    out = python(FRESH, tmp_path / "m.keras", tmp_path / "data.npz", tmp_path / "out.npz")
    assert json.loads(out.strip().split("\n")[-1]) == [["two/kernel", "two/bias"], []]
    with np.load(tmp_path / "out.npz") as file:
        for mine, theirs in zip(model.get_weights(), file.values(), strict=True):
            np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-7)


def test_the_gates_are_part_of_a_checkpoint(tmp_path):
    from convcraft.training import checkpoint

    model = network(Freezable(K.AdamW(0.05)))
    train(model)
    model.optimizer.freeze("two/")
    checkpoint.save(tmp_path / "c.npz", model, {})
    other = network(Freezable(K.AdamW(0.05)))
    checkpoint.restore_model(other, checkpoint.load(tmp_path / "c.npz"))
    assert other.optimizer.frozen == ["two/kernel", "two/bias"]
    train(model)
    train(other)
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-6)


def test_config():
    made = Freezable(K.SGD(OneCycle(0.1, 10), momentum=0.9), freeze=["one", "bias"], name="mine")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(made)))
    assert config["registered_name"] == "convcraft>Freezable"
    again = keras.saving.deserialize_keras_object(config)
    assert json.loads(json.dumps(keras.saving.serialize_keras_object(again))) == config
    assert again.inner_optimizer.momentum == 0.9 and again.name == "mine"


def test_several_optimizers_in_one():
    if not hasattr(K, "MultiOptimizer"):
        pytest.skip("this Keras has no MultiOptimizer")
    many = K.MultiOptimizer(K.OptimizerMap(K.SGD(0.1, momentum=0.9), {"two": K.Adam(0.1)}))
    model = network(Freezable(many))
    train(model)
    model.optimizer.freeze("two/")
    one, two = belonging(model, "one"), belonging(model, "two")
    train(model)
    assert not any(moved(two, belonging(model, "two"))) and any(moved(one, belonging(model, "one")))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute")
@pytest.mark.parametrize("names", [["kept", "cyclic"], pytest.param(["momentum", "adamw"], marks=pytest.mark.slow)])
def test_two_replicas(names):
    """Under MirroredStrategy: the same bits while frozen, and the losses of one device.

    In a process of its own: strategies of one process share the keys of their collective operations, and with them the
    shapes.
    """
    folder = pathlib.Path(__file__).parent
    code = f"import sys; sys.path[:0] = [{str(folder.parent)!r}, {str(folder)!r}]\n"
    assert python(code + f"import conftest, test_freezable; test_freezable.check_two_replicas({names})").endswith(
        "done\n"
    )


def check_two_replicas(names):
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name in names:
        losses = []
        for scope in (strategy.scope, contextlib.nullcontext):
            with scope():
                keras.utils.set_random_seed(3)
                inputs = keras.Input((4,))
                x = keras.layers.Dense(5, activation="tanh", name="one")(inputs)
                model = keras.Model(inputs, keras.layers.Dense(2, name="two")(x))
                model.compile(Freezable({**OPTIMIZERS, **OTHERS}[name]()), "mse", jit_compile=False)
            losses.append([])
            for pattern in (None, "two/", "one/kernel", None):
                model.optimizer.thaw()
                if pattern:
                    model.optimizer.freeze(pattern)
                words = [path.replace("/", "_") for path in model.optimizer.frozen]
                everything = [*model.trainable_variables, *model.optimizer.variables]
                held = [v for v in everything if any(word in v.path.replace("/", "_") for word in words)]
                before = [replicas(v) for v in held]
                losses[-1] += model.fit(X, Y, batch_size=16, shuffle=False, verbose=0).history["loss"]
                assert not pattern or len(held) > len(words)
                for variable, values in zip(held, before, strict=True):
                    assert not any(moved(values, replicas(variable))), variable.path
                for variable in model.trainable_variables:
                    first, *others = replicas(variable)
                    assert not any(moved([first] * len(others), others)), "replicas agree"
        np.testing.assert_allclose(*losses, rtol=1e-4)
        assert losses[0][-1] < losses[0][0]
    print("done")


def replicas(variable):
    """The values on each device."""
    held = variable.value
    return [v.numpy() for v in getattr(held, "values", None) or [held]]


def test_patterns():
    model = network(Freezable("sgd"))
    model.optimizer.build(model.trainable_variables)
    assert model.optimizer.freeze(["bias$", "^one/"]) == ["one/kernel", "one/bias", "two/bias"]
    assert model.optimizer.thaw("one/bias") == ["one/bias"]
    assert model.optimizer.frozen == ["one/kernel", "two/bias"]
    assert model.optimizer.freeze("") == [v.path for v in model.trainable_variables]
    model.optimizer.thaw()
    assert model.optimizer.frozen == []


def test_before_it_is_built_patterns_wait():
    model = network(Freezable("sgd"))
    assert model.optimizer.freeze("two/") == [] and model.optimizer.frozen == []
    train(model)
    assert model.optimizer.frozen == ["two/kernel", "two/bias"]
    model = network(Freezable("sgd", freeze="two"))
    model.optimizer.thaw()
    train(model)
    assert model.optimizer.frozen == []
    with pytest.raises(ValueError, match="'three'"):
        network(Freezable("sgd", freeze="three")).optimizer.build(model.trainable_variables)


@pytest.mark.parametrize(
    "patterns, message",
    [
        ("tow/kernel", r"received 'tow/kernel', which matches none of 6. Near it: two/kernel"),
        (["one", "nothing like it"], "nothing like it"),
        ("one(", "regular expression"),
        (3, "string or a list of strings, received 3"),
    ],
)
def test_bad_patterns(patterns, message):
    model = network(Freezable("sgd"))
    model.optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match=message):
        model.optimizer.freeze(patterns)
    assert model.optimizer.frozen == [], "nothing was frozen"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Freezable(3), "Keras optimizer or its name, received 3"),
        (lambda: Freezable(Freezable("sgd")), "received Freezable"),
        (lambda: Freezable(K.LossScaleOptimizer(K.SGD())), "LossScaleOptimizer"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_optimizer_that_cannot_be_understood_is_refused():
    class Hidden(K.SGD):
        def build(self, variables):
            super().build(variables)
            self.hidden = {v.path: self.add_variable_from_reference(v, "hidden") for v in variables}

    with pytest.raises(ValueError, match="cannot tell to which variables"):
        network(Freezable(Hidden())).optimizer.build(network("sgd").trainable_variables)


@pytest.mark.skipif(BACKEND != "jax", reason="JAX takes variables away during fit")
def test_the_optimizer_is_reached_through_the_callbacks_model():
    model = network(Freezable("sgd"))
    optimizer = model.optimizer
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: optimizer.freeze("two/"))
    with pytest.raises(RuntimeError, match="self.model.optimizer"):
        train(model, callbacks=[callback])
