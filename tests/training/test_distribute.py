"""Strategies: two logical CPU devices stand in for GPUs, two processes on the loopback interface for machines."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
from harness import BACKEND, environment, python

from convcraft import layers, zoo
from convcraft.layers.base import to_numpy
from convcraft.training import data, distribute, find_lr, requirements

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
FOLDERS = json.dumps([str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1])])
WORKER = pathlib.Path(__file__).with_name("worker.py")


def images(n=40, batch_size=16, **options):
    rng = np.random.default_rng(0)
    pictures = rng.uniform(0, 255, (n, 8, 8, 3)).astype("uint8")
    labels = np.arange(n) % 4
    splits = {"x_train": pictures, "y_train": labels, "x_val": pictures[:10], "y_val": labels[:10]}
    return data.load(splits | {"x_test": pictures, "y_test": labels}, batch_size=batch_size, **options)


def build(found, rate=0.05):
    keras.utils.set_random_seed(0)
    model = zoo.create(
        "resnet20_cifar", found.class_names, found.image_shape, design=zoo.Design(width=0.25, kernel_regularizer="l2")
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss, weighted_metrics=["accuracy"], jit_compile=False)
    return model


def mirrored():
    strategy = distribute.strategy("mirrored")
    assert distribute.replicas(strategy) == 2
    return strategy


def losses_and_first_gradients(strategy, found, steps=5):
    """The loss of each of the first steps, and the first step's gradients, read off plain SGD's first update."""
    with distribute.scope(strategy):
        model = build(found)
        model.optimizer = keras.optimizers.SGD(1e-3)
        model.compile(model.optimizer, model.loss, jit_compile=False)
    feed = found.feed("train", multiple_of=distribute.replicas(strategy))
    before = [to_numpy(v).astype("float64") for v in model.trainable_variables]
    seen, gradients = [], []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"] * (batch + 1) - sum(seen))  # logs hold the running mean
            if not gradients:
                after = [to_numpy(v).astype("float64") for v in model.trainable_variables]
                gradients.extend((b - a) / 1e-3 for a, b in zip(after, before, strict=True))

    model.fit(feed.dataset().take(steps), epochs=1, verbose=0, callbacks=[Look()], shuffle=False)
    return np.array(seen), np.concatenate([g.ravel() for g in gradients])


def test_two_devices_equal_one():
    """With synchronized batch normalization and no noise: losses of five steps, gradients of the first, to 1e-5."""
    found = images(80)
    one_loss, one_gradient = losses_and_first_gradients(None, found)
    two_loss, two_gradient = losses_and_first_gradients(mirrored(), found)
    assert len(one_loss) == 5
    np.testing.assert_allclose(two_loss, one_loss, rtol=1e-5)
    # a gradient is read from the difference of float32 weights: its error is theirs
    error = np.abs(two_gradient - one_gradient).max() / np.abs(one_gradient).max()
    assert error < 1e-3, error


def test_gradients_are_equal_to_1e_5():
    """The gradients themselves, from the strategy's replicas, summed as Keras sums them."""
    import tensorflow as tf

    found = images(16)
    pictures, labels = next(iter(found.feed("train").dataset()))

    def gradients(model, x, y):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True), training=True)
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    alone = gradients(build(found), pictures, labels)
    strategy = mirrored()
    with strategy.scope():
        model = build(found)

    @tf.function
    def step():
        def replica():
            i = tf.distribute.get_replica_context().replica_id_in_sync_group
            with tf.GradientTape() as tape:
                x, y = pictures[i * 8 : i * 8 + 8], labels[i * 8 : i * 8 + 8]
                loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True), training=True)
            return tape.gradient(loss, model.trainable_weights)

        return [strategy.reduce("SUM", g, axis=None) for g in strategy.run(replica)]

    largest = max(np.abs(g).max() for g in alone)
    for one, two in zip(alone, step(), strict=True):
        assert np.abs(one - two).max() <= 1e-5 * largest


def test_padded_evaluation_equals_the_unpadded():
    """10 images in batches of 8: loss (with its penalty) and accuracy to 1e-6; also where a replica is empty."""
    for n in (10, 9):
        found = images(40)
        found.sources["val"] = found.sources["val"].subset(np.arange(n))
        alone = build(found)
        expected = alone.evaluate(found.feed("val", batch_size=8).dataset(), verbose=0, return_dict=True)
        strategy = mirrored()
        with strategy.scope():
            model = build(found)
        feed = found.feed("val", batch_size=8, multiple_of=2)
        result = model.evaluate(feed.dataset(), verbose=0, return_dict=True)
        for name, value in expected.items():
            assert result[name] == pytest.approx(value, rel=1e-6, abs=1e-7), (n, name)


def test_padding_without_a_strategy():
    """Weight-zero rows do not count on one device either; Keras's own model counts them."""
    found = images(40)
    model = build(found)
    x, y = found.arrays("val")
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    x, y = np.concatenate([x, x[:6]]), np.concatenate([y, y[:6]])
    weights = np.repeat([1.0, 0.0], [10, 6]).astype("float32")
    result = model.evaluate(x, y, sample_weight=weights, batch_size=16, verbose=0, return_dict=True)
    assert result == pytest.approx(expected, rel=1e-6)
    keras_model = keras.Model(model.inputs, model.outputs)
    keras_model.compile(loss=model.loss)
    wrong = keras_model.evaluate(x, y, sample_weight=weights, batch_size=16, verbose=0)
    assert abs(wrong - expected["loss"]) > 0.1 * expected["loss"], "then this override is no longer needed"


@pytest.mark.parametrize("n, batch_size", [(33, 16), (20, 128), (3, 2)])
def test_no_image_is_lost_and_no_replica_starves(n, batch_size):
    import tensorflow as tf

    strategy = mirrored()
    pictures = np.zeros((n, 8, 8, 1), "float32") + 2 * np.arange(n)[:, None, None, None]
    splits = {"x_train": pictures, "y_train": np.arange(n) % 2, "x_test": pictures, "y_test": np.arange(n) % 2}
    found = data.load(splits, validation=0, batch_size=batch_size)
    feed = found.feed("train", multiple_of=2)
    for epoch in range(2):
        feed.epoch = epoch
        seen, sizes = set(), set()
        for x, _ in strategy.experimental_distribute_dataset(feed.dataset()):
            for part in strategy.experimental_local_results(x):
                sizes.add(len(part))
                seen |= set(tf.reshape(part[:, 0, 0, 0], [-1]).numpy().tolist())
        assert seen == set((2.0 * np.arange(n)).tolist())
        assert len(sizes) == 1 and min(sizes) > 0


def test_fit_under_the_strategy_trains_and_saves(tmp_path):
    strategy = mirrored()
    found = images(33)
    with strategy.scope():
        model = build(found)
    feed, val = found.feed("train", multiple_of=2), found.feed("val", multiple_of=2)
    history = model.fit(feed.dataset(), validation_data=val.dataset(), epochs=3, verbose=0, shuffle=False).history
    assert history["loss"][-1] < history["loss"][0]
    assert np.isfinite(history["val_loss"]).all()
    model.save(tmp_path / "m.keras")
    alone = zoo.load_model(tmp_path / "m.keras").evaluate(found.val, verbose=0, return_dict=True)
    assert alone["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-4)


def test_answers_of_a_batch_come_once():
    """Keras's `predict_on_batch` gives those of all replicas, each of which has seen the whole batch."""
    found = images(10)
    pictures, _ = found.arrays("train")
    with mirrored().scope():
        model = build(found)
    assert len(model.predict_on_batch(pictures)) == 20
    np.testing.assert_allclose(distribute.answers(model, pictures), to_numpy(model(pictures)), rtol=1e-4, atol=1e-5)


def test_range_test_under_the_strategy():
    """Each step sees what one device would see, so the curve is the same."""
    found, strategy = images(80), mirrored()
    with strategy.scope():
        model = build(found)
    two = find_lr(model, found, start=1e-5, stop=1e-2, steps=12)
    one = find_lr(build(found), found, start=1e-5, stop=1e-2, steps=12)
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-3)


# in a process of its own: TensorFlow numbers the collective operations of all trainings of a process
FINE_TUNING = """
import sys, json
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path[:0] = json.loads(sys.argv[1])
import test_distribute as t
from convcraft.training import fine_tune
found = t.images(40)
options = {"policy": sys.argv[2], "epochs": 1, "views": 0, "augment": "none", "verbose": False}
one = fine_tune(t.build(found), found, **options)
with t.mirrored().scope():
    two = fine_tune(t.build(found), found, **options)
assert t.distribute.replicas(t.distribute.strategy_of(two.model)) == 2 and two.policy == one.policy
for ours, theirs in zip(two.model.weights, one.model.weights, strict=True):
    t.np.testing.assert_allclose(t.to_numpy(ours), t.to_numpy(theirs), rtol=1e-2, atol=2e-3)
"""


@pytest.mark.parametrize("policy", ["linear", "deep", pytest.param("auto", marks=pytest.mark.slow)])
def test_fine_tuning_under_the_strategy(policy):
    """Features are those of one device, and what is trained is trained on both, to the same weights."""
    python(FINE_TUNING, FOLDERS, policy)


def test_a_model_built_outside_the_scope_is_refused():
    found = images()
    model = build(found)
    strategy = mirrored()
    with strategy.scope(), pytest.raises(RuntimeError, match="built inside the scope of MirroredStrategy"):
        model.fit(found.train, verbose=0)
    with pytest.raises(ValueError, match="with run.scope"):
        requirements.fits_strategy(model, strategy)
    requirements.fits_strategy(model, None)


def test_keras_distribution_is_refused_on_tensorflow(monkeypatch):
    model = build(images())
    monkeypatch.setattr(keras.distribution, "distribution", lambda: object())
    with pytest.raises(RuntimeError, match="does nothing on the TensorFlow backend"):
        model.fit(np.zeros((2, 8, 8, 3)), np.zeros(2), verbose=0)


def test_choices(monkeypatch):
    assert distribute.strategy(None) is distribute.strategy("none") is None
    assert type(distribute.strategy("auto")).__name__ == "MirroredStrategy", "there are two devices here"
    with pytest.raises(ValueError, match="one of auto, mirrored, multiworker, none; received 'horovod'"):
        distribute.strategy("horovod")
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="TF_CONFIG"):
        distribute.strategy("multiworker")
    for broken in ("{", "[]", '"x"'):
        monkeypatch.setenv("TF_CONFIG", broken)
        with pytest.raises(ValueError, match="JSON object"):
            distribute.strategy("auto")


ONE_DEVICE = """
import sys, json
sys.path[:0] = json.loads(sys.argv[1])
import test_distribute as t
assert t.distribute.strategy("auto") is None, "no strategy on one device"
found, results = t.images(), []
for kind in (None, "mirrored"):
    strategy = t.distribute.strategy(kind)
    with t.distribute.scope(strategy):
        model = t.build(found)
    feed = found.feed("train")
    class Epoch(t.keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            feed.epoch = epoch
    options = {"validation_data": found.val, "epochs": 2, "verbose": 0, "shuffle": False}
    fitted = model.fit(feed.dataset(), callbacks=[Epoch()], **options)
    results.append(fitted.history)
print("RESULT" + json.dumps([type(strategy).__name__, *results]))
"""


def test_mirrored_on_one_device_equals_none():
    kind, none, forced = json.loads(python(ONE_DEVICE, FOLDERS).split("RESULT")[1])
    assert kind == "MirroredStrategy"
    assert none.keys() == forced.keys()
    for name, values in none.items():
        np.testing.assert_allclose(forced[name], values, rtol=1e-6, err_msg=name)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def workers(*arguments, count=2, timeout=300):
    """Runs worker.py in `count` processes on the loopback interface; returns what each printed as JSON."""
    ports = [f"127.0.0.1:{port}" for port in free_ports(count)]
    started = []
    for index in range(count):
        cluster = {"cluster": {"worker": ports}, "task": {"type": "worker", "index": index}}
        env = environment(**({"TF_CONFIG": json.dumps(cluster)} if count > 1 else {}))
        env["PYTHONPATH"] += os.pathsep + str(pathlib.Path(__file__).parent)
        command = [sys.executable, str(WORKER), *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env))
    outputs = []
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    for process, output in zip(started, outputs, strict=True):
        assert process.returncode == 0, output[-4000:]
    return [json.loads(output.split("RESULT")[1]) for output in outputs]


def test_two_workers_equal_one_process(tmp_path):
    """fit with validation, evaluate and predict under MultiWorkerMirroredStrategy, to 1e-5."""
    (alone,) = workers("fit", count=1)
    first, second = workers("fit")
    assert alone["replicas"] == 1 and first["replicas"] == second["replicas"] == 2
    for key in ("history", "evaluate"):
        for name, expected in alone[key].items():
            np.testing.assert_allclose(first[key][name], expected, rtol=1e-5, err_msg=f"{key} {name}")
            np.testing.assert_allclose(second[key][name], first[key][name], rtol=1e-7, err_msg=f"{key} {name}")
    np.testing.assert_allclose(first["predict"], alone["predict"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(second["predict"], first["predict"], rtol=1e-6)


def test_only_the_chief_writes(tmp_path):
    """A whole run by two workers: one directory, written by the first; its numbers are those of the saved file."""
    first, second = workers("run", tmp_path / "run")
    assert first["chief"] and not second["chief"]
    assert first["metrics"]["test"]["n"] == 360 and second["metrics"] is None
    assert {"model.keras", "metrics.json", "report.html", "history.jsonl"} <= {
        p.name for p in (tmp_path / "run").iterdir()
    }
    starts = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert starts[0]["environment"]["replicas"] == 2
    assert sum(row["event"] == "start" for row in starts) == 1
    assert not pathlib.Path(second["directory"]).exists(), "the other worker's temporary folder is gone"


def test_batch_normalization_is_synchronized_only_under_several_replicas():
    layer = layers.BatchNormalization()
    assert not layer.synchronized
    with mirrored().scope():
        assert layer.synchronized
    assert layer.get_config()["synchronized"] == "auto"
