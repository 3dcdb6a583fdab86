"""The monitor sees what happened, by formulas in NumPy, and changes nothing."""

import keras
import numpy as np
import pytest

from convcraft import training

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 5)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")


def net(activation="relu", optimizer=None):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(6, activation, name="first"), keras.layers.Dense(2, name="last")]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss, metrics=["accuracy"], jit_compile=False)
    return model


def fit(model, *callbacks, epochs=2, batch_size=16):
    return model.fit(X, Y, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))


def test_losses_are_those_of_single_batches():
    expected, model = [], net()
    for _ in range(2):
        for start in range(0, 64, 16):
            logs = model.train_on_batch(X[start : start + 16], Y[start : start + 16], return_dict=True)
            expected.append(logs["loss"])
            model.reset_metrics()
    monitor = training.Monitor()
    model = net()
    model.fit(X[:64], Y[:64], batch_size=16, epochs=2, shuffle=False, verbose=0, callbacks=[monitor])
    np.testing.assert_allclose(monitor.losses, expected, rtol=1e-4)
    assert monitor.steps == [4, 8] and not monitor.gradients


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="not known within an epoch")
def test_a_smaller_last_batch_counts_as_what_it_is():
    model, alone = net(), net()
    alone.optimizer.learning_rate = model.optimizer.learning_rate = 0.0
    monitor = training.Monitor()
    model.fit(X[:35], Y[:35], batch_size=16, shuffle=False, verbose=0, callbacks=[monitor])
    expected = [
        np.ravel(alone.test_on_batch(X[rows], Y[rows]))[0]
        for rows in (slice(16), slice(16, 32), slice(32, 35))
        if alone.reset_metrics() is None
    ]
    np.testing.assert_allclose(monitor.losses, expected, rtol=1e-4)


def test_gradients_are_those_of_the_probe():
    monitor, model = training.Monitor((X, Y), images=70), net()
    fit(model, monitor, epochs=1)
    (w1, b1), (w2, b2) = (layer.get_weights() for layer in model.layers)
    hidden = X @ w1 + b1
    active = np.maximum(hidden, 0)
    logits = active @ w2 + b2
    q = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    back = (q - np.eye(2)[Y]) / len(X)
    g2 = active.T @ back
    g1 = X.T @ (back @ w2.T * (hidden > 0))
    found = [values[-1] for values in monitor.gradients.values()]
    np.testing.assert_allclose(found, [np.sqrt(np.mean(g**2)) for g in (g1, g2)], rtol=1e-3)


def test_layers_of_a_nested_model_stand_in_the_order_of_the_signal():
    dense = keras.layers.Dense
    body = keras.Sequential(
        [keras.Input((4,)), dense(5, name="a"), dense(6, name="b"), dense(7, name="c")], name="body"
    )
    model = keras.Sequential([keras.Input((X.shape[1],)), dense(4, name="first"), body, dense(2, name="last")])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    monitor = training.Monitor((X, Y))
    fit(model, monitor, epochs=1)
    order = [name.rpartition("/")[2] for name in monitor.gradients]
    assert order == ["first", "a", "b", "c", "last"] == [name.rpartition("/")[2] for name in monitor.changes]


def test_two_outputs_are_watched():
    inputs = keras.Input((X.shape[1],))
    outputs = {"one": keras.layers.Dense(2)(inputs), "other": keras.layers.Dense(2)(inputs)}
    model = keras.Model(inputs, outputs)
    model.compile("sgd", {name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in outputs})
    labels = {"one": Y, "other": 1 - Y}
    monitor = training.Monitor((X, labels))
    model.fit(X, labels, epochs=2, verbose=0, callbacks=[monitor])
    assert len(monitor.gradients) == 2 and training.diagnose(monitor).names == []


def test_changes_are_relative_and_of_a_step():
    monitor, model = training.Monitor((X, Y)), net()
    before = model.layers[0].get_weights()[0]
    fit(model, monitor, epochs=1, batch_size=35)
    after = model.layers[0].get_weights()[0]
    expected = np.linalg.norm(after - before) / np.linalg.norm(before) / 2
    assert next(iter(monitor.changes.values())) == [pytest.approx(expected, rel=1e-5)]


def test_dead_units_are_counted():
    class Kill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            kernel, bias = self.model.layers[0].get_weights()
            bias[:2], kernel[:, :2] = -1, 0
            self.model.layers[0].set_weights([kernel, bias])

    monitor = training.Monitor((X, Y))
    fit(net(), Kill(), monitor, epochs=1)
    alive = monitor.dead["first"][-1]
    assert alive >= 2 / 6 and set(monitor.dead) == {"first"}


@pytest.mark.parametrize(
    "activation, scale, expected", [("tanh", 1000.0, 1.0), ("tanh", 0.01, 0.0), ("sigmoid", 1000.0, 1.0)]
)
def test_saturation(activation, scale, expected):
    model = net(activation, keras.optimizers.SGD(0.0))
    model.layers[0].set_weights([scale * each for each in model.layers[0].get_weights()])
    monitor = training.Monitor((X, Y))
    fit(model, monitor, epochs=1)
    assert monitor.saturated["first"][-1] == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_it_changes_nothing(optimizer):
    weights = []
    for watched in (False, True):
        model = net(optimizer=optimizer)
        fit(model, *([training.Monitor((X, Y))] if watched else []), epochs=3)
        weights.append(model.get_weights() + [np.asarray(v) for v in model.optimizer.variables])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_network_of_the_zoo_on_data():
    from convcraft import zoo

    data = training.data.load("digits", size=16, batch_size=64)
    design = zoo.Design(width=0.25, activation="relu6")
    model = zoo.create("resnet20_cifar", data.class_names, data.image_shape, design=design)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, weighted_metrics=["accuracy"], jit_compile=False)
    monitor = training.Monitor(data, images=32)
    model.fit(data.train, epochs=1, steps_per_epoch=2, verbose=0, callbacks=[monitor])
    assert len(monitor.gradients) == 20 and all(values[0] > 0 for values in monitor.gradients.values())
    assert set(monitor.epochs[0]) >= {"loss", "accuracy", "learning_rate"}


@pytest.mark.parametrize(
    "probe, message",
    [((X, Y[:3]), "as many labels; received"), (X, "a pair"), ((X[:0], Y[:0]), "received 0, 0")],
)
def test_bad_probes(probe, message):
    with pytest.raises(ValueError, match=message):
        training.Monitor(probe)
