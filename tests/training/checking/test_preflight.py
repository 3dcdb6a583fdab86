"""What would spoil a training is found before it, and nothing where all is well; everything stays as it was.

How often planted faults are found is measured by benchmarks/checks.py."""

import json
import random

import keras
import numpy as np
import pytest
from harness import BACKEND, python

from convcraft import cli, layers, training
from convcraft.training import common, loop
from convcraft.training.checking import data_faults, model_faults, overfitting, samples

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RNG = np.random.default_rng(0)
Y = np.arange(400) % 4
# four classes: which quarter of the image is bright
X = RNG.uniform(0, 60, (400, 8, 8, 1)).astype("float32")
for row, label in enumerate(Y):
    X[row, 4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 150


def net(
    loss=LOGITS, rescale=1 / 127.5, init="he_normal", last=None, units=4, optimizer=None, trainable=True, **options
):
    inputs = keras.Input(options.get("shape", (8, 8, 1)))
    x = keras.layers.Rescaling(rescale)(inputs)
    x = keras.layers.Conv2D(6, 3, padding="same", kernel_initializer=init, **options.get("conv", {}))(x)
    x = keras.layers.MaxPooling2D()(keras.layers.ReLU(name="relu")(x))
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Dense(units, last, kernel_initializer=init)(x))
    model.trainable = trainable
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss, metrics=["accuracy"], jit_compile=False)
    return model


def state(model):
    """Everything that a check could change."""
    variables = [*model.variables, *model.optimizer.variables]
    draws = random.getstate(), np.random.get_state()[1].tolist()
    return [np.asarray(keras.ops.convert_to_numpy(v)).copy() for v in variables], draws


def quick(model, x=X, y=Y, validation=(X[:40] + 1, Y[:40]), **options):
    return training.check(model, (x, y), validation, **{"steps": 0, **options})


def test_nothing_is_found_where_nothing_is_wrong():
    found = training.check(net(), (X, Y), (X[:40] + 1, Y[:40]), steps=60)
    assert found and found.ok and found.names == [] and found.fatal == [] and not found.unknown
    assert "Nothing wrong was found. 16 images were learned by heart in" in str(found)
    assert len(found.history["loss"]) == len(found.history["accuracy"]) <= 60
    assert found.history["accuracy"][-1] >= 0.9


@pytest.mark.parametrize(
    "expected, model, x, y",
    [
        ("labels look shuffled", {}, X, RNG.permutation(Y)),
        ("labels out of range", {}, X, Y + 1),
        ("labels out of range", {}, X, Y - 1),
        ("labels do not fit the loss", {}, X, np.eye(4)[Y]),
        ("labels do not fit the loss", {"loss": "categorical_crossentropy"}, X, Y),
        ("labels do not fit the loss", {"loss": keras.losses.CategoricalCrossentropy(True)}, X, 2 * np.eye(4)[Y]),
        ("class missing from a split", {}, X[Y != 2], Y[Y != 2]),
        ("one class", {}, X[Y == 2], Y[Y == 2]),
        ("no numbers in the images", {}, np.where(X[7, 3, 3] == X, np.nan, X), Y),
        ("blank images", {}, 0 * X, Y),
        ("some blank images", {}, X * (np.arange(400) % 10 > 0)[:, None, None, None], Y),
        ("images of another range", {}, X / 255, Y),
        ("images of another range", {}, X / 127.5 - 1, Y),
        ("image size does not divide", {"shape": (7, 7, 1)}, X[:, :7, :7], Y),
        ("everything is frozen", {"trainable": False}, X, Y),
        ("softmax twice", {"last": "softmax"}, X, Y),
        ("logits taken for probabilities", {"loss": "sparse_categorical_crossentropy"}, X, Y),
        ("dead units", {"conv": {"bias_initializer": keras.initializers.Constant(-9.0)}}, X, Y),
    ],
)
def test_planted_faults(expected, model, x, y):
    validation = (X[:40] + 1, Y[:40]) if y.ndim == 1 and model.get("loss") != "categorical_crossentropy" else None
    found = quick(net(**model), x, y, validation)
    assert found.names[0] == expected and not found and not found.ok
    finding = found.findings[0]
    assert any(sign.isdigit() for sign in finding.number) and finding.advice in str(found)
    assert (expected in found.fatal) == (expected in (*data_faults.FATAL, *model_faults.FATAL))


@pytest.mark.parametrize(
    "expected, model",
    [
        ("all units alike", {"init": "zeros"}),
        ("learning rate too high", {"optimizer": keras.optimizers.SGD(100.0)}),
        ("learning rate too low", {"optimizer": keras.optimizers.SGD(1e-5)}),
        ("loss at start too high", {"init": keras.initializers.RandomNormal(stddev=2.0)}),
        ("images are not scaled", {"rescale": 1.0}),
    ],
)
def test_faults_that_learning_by_heart_shows(expected, model):
    model = net(**model)
    before = state(model)
    found = training.check(model, (X, Y), (X[:40] + 1, Y[:40]), steps=40)
    assert found.names == [expected], str(found)
    unchanged(before, state(model))


def unchanged(before, after):
    for one, other in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert before[1] == after[1]


def test_copies_are_found_whole_and_counted():
    found = quick(net(), validation=(np.concatenate([X[:7], X[:33] + 1]), Y[:40]))
    assert found.names == ["the same images in two splits"]
    assert "7 of 40 images of val" in found.findings[0].number


def test_shuffled_labels_are_known_from_true_ones():
    """Neighbours of true labels agree far more often than by chance; dealt out anew, they agree as by chance."""
    deviations, share, chance = data_faults.agreement(X, Y)
    assert deviations > 50 and share > 0.9 and abs(chance - 0.25) < 0.02
    for seed in range(5):
        assert abs(data_faults.agreement(X, np.random.default_rng(seed).permutation(Y))[0]) < data_faults.LIKELY
    assert data_faults.agreement(X[:200], Y[:200]) is None, "too few to tell"


@pytest.mark.parametrize("count, batch, replicas, left", [(9, 4, 2, 1), (10, 4, 2, 0), (8, 4, 2, 0), (9, 4, 1, 0)])
def test_a_last_batch_smaller_than_the_devices(count, batch, replicas, left):
    found = data_faults.last_batch(count, batch, replicas)
    assert (found is not None) == bool(left) and (not left or f"has {left} of {batch}" in found.number)


def test_can_overfit():
    done = training.can_overfit(net(), (X, Y))
    assert done and done.ok and "16 images were learned by heart" in done.reason
    assert done.history["loss"][-1] < done.history["loss"][0]
    done = training.can_overfit(net(trainable=True, optimizer=keras.optimizers.SGD(1e-7)), (X, Y), steps=3, images=8)
    assert not done and "8 images were not learned by heart in 3 steps" in done.reason


def test_dropout_is_off_while_learning_by_heart_and_as_it_was_after_an_interruption(monkeypatch):
    model, seen = net(), []
    dropout = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dropout))

    def interrupt(self, epoch, logs=None):
        seen.append(dropout.rate)
        if epoch == 2:
            raise KeyboardInterrupt

    before = state(model)
    compiled = model.optimizer, model.loss, model.train_function
    monkeypatch.setattr(overfitting._Enough, "on_epoch_end", interrupt)
    for look in (training.can_overfit, training.check):
        with pytest.raises(KeyboardInterrupt):
            look(model, (X, Y))
        unchanged(before, state(model))
        assert (dropout.rate, seen[-1]) == (0.5, 0)
        assert (model.optimizer, model.loss, model.train_function) == compiled and not model.stop_training


def test_global_draws_are_as_before():
    """Of a model for images of any size, too: it is cloned for one size, and first weights are drawn."""
    drawn = []
    for checked in (False, True):
        keras.utils.set_random_seed(5)
        model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(4, 3)])
        model.add(keras.layers.GlobalAveragePooling2D())
        model.add(keras.layers.Dense(4))
        model.compile("adam", LOGITS, jit_compile=False)
        if checked:
            quick(model)
        images = keras.ops.convert_to_numpy(keras.random.uniform((3,))).tolist()
        drawn.append((random.random(), np.random.rand(), images))
    assert drawn[0] == drawn[1]


def test_few_of_each_class():
    x, y = overfitting.few(np.arange(8), np.array([2, 2, 2, 2, 0, 0, 1, 1]), 5)
    assert x.tolist() == [4, 6, 0, 5, 7] and y.tolist() == [0, 1, 2, 0, 1]


def test_other_models_and_losses():
    """What cannot be judged is said, and the rest is done."""
    one_hot = quick(net(keras.losses.CategoricalCrossentropy(from_logits=True)), X, np.eye(4)[Y], None)
    assert one_hot.names == []
    assert quick(net(last="softmax", loss="sparse_categorical_crossentropy")).names == []
    binary = keras.losses.BinaryCrossentropy(from_logits=True)
    assert quick(net(binary, units=1), X, Y % 2, None).names == []
    assert quick(net(binary, units=1), X, Y, None).names[0] == "labels out of range"
    ours = layers.BootstrappedCrossentropy("hard", ignore=-1)
    assert quick(net(ours), X, np.where(np.arange(400) % 5, Y, -1), None).names == []
    regression = quick(net("mse", units=1), X, Y.astype("float32"), None)
    assert regression.names == [] and any("none of classes" in what for what in regression.unknown)

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.flat, self.dense = keras.layers.Flatten(), keras.layers.Dense(4)

        def call(self, inputs):
            return self.dense(self.flat(inputs / 255))

    own = Own()
    own(X[:2])
    own.compile(keras.optimizers.Adam(0.02), LOGITS, jit_compile=False)
    found = training.check(own, (X, Y), steps=60)
    assert found.names == [] and any("no graph" in what for what in found.unknown) and found.history


@pytest.mark.parametrize(
    "model, data, message",
    [
        (keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]), (X, Y), "compiled model"),
        (None, (X, Y[:3]), "as many labels; received 400, 3"),
        (None, (X[:0], Y[:0]), "received 0, 0"),
        (None, iter([(X, Y)]), "can be read again"),
        (None, [], "the data are empty"),
        (None, [X], "batches"),
        (None, 3, "received int"),
    ],
)
def test_what_cannot_be_checked(model, data, message):
    with pytest.raises(ValueError, match=message):
        training.check(model or net(), data, steps=0)


@pytest.mark.parametrize("steps", [-1, 2, 19])
def test_too_few_steps_to_tell(steps):
    with pytest.raises(ValueError, match=f"expected steps to be 0 or at least 20, received {steps}"):
        training.check(net(), (X, Y), steps=steps)


def test_what_cannot_be_learned_by_heart():
    for options, message in (({"images": 1}, "images >= 2"), ({"steps": 0}, "steps >= 1")):
        with pytest.raises(ValueError, match=message):
            training.can_overfit(net(), (X, Y), **options)
    with pytest.raises(ValueError, match="two classes at least"):
        training.can_overfit(net(), (X, 0 * Y))


def test_batches_are_read_from_the_beginning():
    batches = [(X[start : start + 50], Y[start : start + 50]) for start in range(0, 400, 50)]
    found = samples.sampled(batches)
    np.testing.assert_array_equal(found.images["train"], X)
    assert training.check(net(), batches, steps=0).names == []


MIRRORED = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from convcraft import training
from convcraft.layers.base import to_numpy

rng = np.random.default_rng(0)
y = np.arange(401) % 4
x = rng.uniform(0, 60, (401, 8, 8, 1)).astype("float32") + 40 * y[:, None, None, None]
strategy = training.distribute.strategy("mirrored")
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
with strategy.scope():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 127.5), keras.layers.Flatten()])
    model.add(keras.layers.Dense(16, "relu"))
    model.add(keras.layers.Dense(4))
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"], jit_compile=False)

def state():
    return [to_numpy(v).copy() for v in [*model.variables, *model.optimizer.variables]]

model.fit(x[:32], y[:32], batch_size=32, verbose=0)
before = state()
found = training.check(model, (x, y), batch_size=200)
print(training.distribute.replicas(strategy), found.names, found.history["accuracy"][-1] >= 0.9)
training.find_lr(model, (x, y), steps=12)
print(all(np.array_equal(a, b) for a, b in zip(before, state(), strict=True)))
monitor = training.Monitor((x, y))
model.fit(x[:400], y[:400], batch_size=50, verbose=0, callbacks=[monitor])
one = keras.models.clone_model(model)
one.set_weights([to_numpy(v) for v in model.weights])
with tf.GradientTape() as tape:
    value = loss(y[:128], one(x[:128]))
grads = tape.gradient(value, [one.layers[-2].kernel, one.layers[-1].kernel])
print(np.allclose([v[-1] for v in monitor.gradients.values()], [np.sqrt(np.mean(g**2)) for g in grads], rtol=1e-3))
"""


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_on_two_devices():
    said = python(MIRRORED, timeout=600).splitlines()
    assert said[-3:] == ["2 ['last batch smaller than the devices'] True", "True", "True"]


def heads(kind):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 127.5)(inputs))
    outputs = {"quarter": keras.layers.Dense(4)(x), "left": keras.layers.Dense(2)(x)}
    labels = {"quarter": Y, "left": Y % 2}
    if kind == "list":
        outputs, labels = list(outputs.values()), list(labels.values())
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.01), keras.tree.map_structure(lambda _: LOGITS, labels), jit_compile=False)
    return model, labels


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_two_outputs(kind):
    model, labels = heads(kind)
    before = state(model)
    found = training.can_overfit(model, (X, labels))
    assert found and "each output by itself" in found.unknown[0] and found.history["loss"][-1] < 1
    checked = training.check(model, (X, labels), (X[:40], keras.tree.map_structure(lambda y: y[:40], labels)))
    assert checked.names == ["the same images in two splits"] and "several outputs" in checked.unknown[0]
    for one, other in zip(before[0], state(model)[0], strict=True):
        np.testing.assert_array_equal(one, other)


def two_inputs(rate=0.01, last=None, init="glorot_uniform"):
    one, other = keras.Input((8, 8, 1), name="image"), keras.Input((3,), name="more")
    x = keras.layers.Concatenate()([keras.layers.Flatten()(keras.layers.Rescaling(1 / 127.5)(one)), other])
    model = keras.Model({"image": one, "more": other}, keras.layers.Dense(4, last, kernel_initializer=init)(x))
    model.compile(keras.optimizers.Adam(rate), LOGITS, jit_compile=False)
    return model


MORE = np.random.default_rng(5).normal(size=(400, 3)).astype("float32")
BOTH = {"image": X, "more": MORE}
BROKEN = {"image": X, "more": np.where(np.arange(1200).reshape(400, 3) == 30, np.nan, MORE)}


OTHERS = {"image": X[:40] + 0.5, "more": MORE[:40]}, Y[:40]


@pytest.mark.parametrize(
    "options, data, validation, names",
    [
        ({}, (BOTH, Y), OTHERS, []),
        ({}, (BOTH, Y), ({"image": X[:40], "more": MORE[:40]}, Y[:40]), ["the same images in two splits"]),
        ({}, (BOTH, Y), ({"image": X[:40], "more": MORE[40:80]}, Y[:40]), []),  # another row in all
        ({}, (BROKEN, Y), None, ["no numbers in the images"]),
        ({}, (BOTH, Y + 1), None, ["labels out of range"]),
        ({"last": "softmax"}, (BOTH, Y), None, ["softmax twice"]),
        ({"rate": 1e-7}, (BOTH, Y), None, ["learning rate too low"]),
        ({"init": keras.initializers.RandomNormal(stddev=9)}, (BOTH, Y), None, ["loss at start too high"]),
    ],
)
def test_two_inputs(options, data, validation, names):
    model = two_inputs(**options)
    before = state(model)
    found = training.check(model, data, validation)
    assert found.names == names, str(found)
    assert "no numbers in the images" in names or "labels out of range" in names or "one input" in str(found.unknown)
    for mine, other in zip(before[0], state(model)[0], strict=True):
        np.testing.assert_array_equal(mine, other)


def test_two_inputs_in_a_list_or_in_batches():
    one, other = keras.Input((8, 8, 1)), keras.Input((3,))
    x = keras.layers.Concatenate()([keras.layers.Flatten()(keras.layers.Rescaling(1 / 127.5)(one)), other])
    model = keras.Model([one, other], keras.layers.Dense(4)(x))
    model.compile(keras.optimizers.Adam(0.01), LOGITS, jit_compile=False)
    assert training.can_overfit(model, ([X, MORE], Y))
    assert training.check(model, ([X, MORE], Y)), "arrays"
    batches = [
        ((X[start : start + 50], MORE[start : start + 50]), Y[start : start + 50]) for start in range(0, 400, 50)
    ]
    assert training.check(model, batches), "batches"


def test_a_sound_network_with_adams_own_rate_is_given_time():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(16, "relu"),
            keras.layers.Dense(4, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    found = training.can_overfit(model, [(X[:32], Y[:32])])  # batches will do, too
    assert found and len(found.history["loss"]) > 1, str(found)


RECIPE = """
from dataclasses import dataclass
import keras, numpy as np
from convcraft import training

@dataclass
class Config(training.Common):
    epochs: int = 1
    output: str = ""
    strategy: str = "none"
    shift: int = 0
    watch: bool = False

def data(config):
    rng = np.random.default_rng(0)
    y = np.arange(600) % 3
    x = rng.uniform(0, 60, (600, 8, 8, 1)) + 80 * y[:, None, None, None]
    y = rng.permutation(y) if config.shift else y
    return training.data.load((x.astype("uint8"), y), batch_size=32)

def train(config, run):
    images = data(config)
    with run.scope():
        net = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()])
        net.add(keras.layers.Dropout(0.2))
        net.add(keras.layers.Dense(3))
        net.trainable = config.shift < 2
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        net.compile(keras.optimizers.SGD(0.1), loss, weighted_metrics=["accuracy"], jit_compile=False)
    return run.fit(net, images, [training.Monitor(images)] if config.watch else [])
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(RECIPE)
    monkeypatch.setattr(loop, "_finish", lambda run, brief: {})  # measuring and reporting are other tests' affair
    return tmp_path / "mine.py"


def test_a_run_tells_keeps_and_refuses_and_trains_the_same(recipe, tmp_path, capsys):
    trained = []
    for number, check in enumerate((True, False)):
        done = training.run(recipe, {"check": check, "shift": 1}, tmp_path / str(number))
        trained.append(done.model.get_weights())
        said = capsys.readouterr().out
        assert ("Check: labels look shuffled: " in said) == check
        kept = json.loads((tmp_path / str(number) / "config.json").read_text())["checks"]
        assert kept[0].startswith("labels look shuffled") if check else kept is None
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="everything is frozen: .*--no-check trains all the same"):
        training.run(recipe, {"shift": 2}, tmp_path / "refused")
    assert common.Common().check


def test_the_report_shows_what_check_and_a_monitor_found(recipe, tmp_path):
    run = training.run(recipe, {"shift": 1, "watch": True, "epochs": 2}, tmp_path / "run")
    assert run.diagnosis["epochs"] == 2 and not any("Monitor" in what for what in run.diagnosis["unknown"])
    path = tmp_path / "run" / "config.json"

    def shown():
        html = training.report.write(tmp_path / "run").read_text()
        return html[html.index('id="diagnosis"') :].partition("</section>")[0]

    assert "labels look shuffled: images that look most alike" in shown() and "with a monitor" in shown()
    config = json.loads(path.read_text())
    seen = {"name": "dead units", "number": "90 % of a <layer>", "advice": "Another rate"}
    path.write_text(
        json.dumps(config | {"checks": None, "diagnosis": {"findings": [seen], "unknown": [], "epochs": 2}})
    )
    assert "dead units" in shown() and "90 % of a &lt;layer&gt;." in shown() and "Found before" not in shown()
    path.write_text(json.dumps(config | {"diagnosis": {"findings": [seen], "unknown": [], "epochs": 1}}))
    assert "dead units" in shown() and "A monitor saw 1 of 2 epochs" in shown()


def test_the_command(recipe, capsys):
    assert cli.main(["check", str(recipe), "--steps", "0"]) == 0
    assert "Nothing wrong was found." in capsys.readouterr().out
    assert cli.main(["check", str(recipe), "--steps", "0", "--shift", "2"]) == 1
    said = capsys.readouterr().out
    assert "everything is frozen (training is certain to fail)" in said and "labels look shuffled\n" in said
    assert cli.main(["check", str(recipe), "--steps", "-1"]) == 2
    assert "Expected --steps to be at least 0" in capsys.readouterr().err
