"""The weights that a training passes by: kept, and averaged."""

import keras
import numpy as np
import pytest
from harness import draw, numpy, python

from convcraft import layers
from convcraft.training import Checkpoints, Snapshots, average_weights

IMAGES = draw((5, 6, 6, 1), "float32", 0, 255)


def net(seed=0, units=3):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6, 6, 1))
    x = layers.BatchNormalization()(keras.layers.Conv2D(2, 3)(keras.layers.Rescaling(1 / 255)(inputs)))
    return layers.Model(inputs, keras.layers.Dense(units)(keras.layers.Flatten()(x)), name="net")


class Watch(keras.callbacks.Callback):
    """The weights after each epoch."""

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append([weight.copy() for weight in self.model.get_weights()])


def trained(keeper, epochs=5):
    """A model that was trained, and its weights after each epoch."""
    model, watch = net(), Watch()
    model.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"], jit_compile=False
    )
    model.fit(IMAGES, np.arange(5) % 3, epochs=epochs, verbose=0, callbacks=[keeper, watch])
    return model, watch.seen


def assert_kept(keeper, model, seen, epochs):
    for kept, epoch in zip(keeper.models(model), epochs, strict=True):
        for ours, theirs in zip(kept.get_weights(), seen[epoch - 1], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_snapshots_are_the_weights_at_the_ends_of_the_cycles():
    keeper = Snapshots(epochs=5, cycles=2)
    model, seen = trained(keeper)
    assert keeper.ends == [2, 5]
    assert_kept(keeper, model, seen, [2, 5])
    assert not np.array_equal(seen[1][0], seen[4][0])


@pytest.mark.parametrize(
    "epochs, cycles, message",
    [
        (5, 6, "from 1 to 5 cycles in 5 epochs, received 6"),
        (5, 0, "cycles to be a positive integer, received 0"),
        (5, 2.5, "cycles to be a positive integer, received 2.5"),
        ("5", 2, "epochs to be a positive integer, received '5'"),
    ],
)
def test_as_many_cycles_as_epochs_at_most(epochs, cycles, message):
    with pytest.raises(ValueError, match=message):
        Snapshots(epochs, cycles)


class Own(keras.Model):
    """Which Keras cannot build again."""

    def __init__(self, units):
        super().__init__()
        self.dense = keras.layers.Dense(units)

    def call(self, images):
        return self.dense(keras.ops.reshape(images, (len(images), -1)))


def test_a_model_class_that_cannot_be_copied():
    model = Own(3)
    model(IMAGES)
    keeper = Snapshots(1, 1)
    keeper.set_model(model)
    keeper.on_epoch_end(0)
    for call in (lambda: keeper.models(model), lambda: average_weights([model, model], IMAGES)):
        with pytest.raises(ValueError, match="functional or sequential model.*is a Own. Give that class get_config"):
            call()


class Script(Checkpoints):
    """Whose measures are written down."""

    def __init__(self, values, **options):
        super().__init__(**options)
        self.script = dict(enumerate(values))

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, {self.monitor: self.script[epoch]})


def test_the_last_are_kept():
    keeper = Checkpoints(2)
    model, seen = trained(keeper)
    assert_kept(keeper, model, seen, [4, 5])
    keeper = Checkpoints(3, every=2)
    model, seen = trained(keeper)
    assert_kept(keeper, model, seen, [2, 4])


@pytest.mark.parametrize(
    "monitor, values, epochs",
    [
        ("val_accuracy", [0.5, 0.9, 0.2, 0.7, 0.1], [2, 4]),
        ("val_loss", [0.5, 0.9, 0.2, 0.7, 0.1], [3, 5]),
        ("val_accuracy", [0.5, 0.5, 0.5, 0.4, 0.5], [3, 5]),  # of equals the later
        ("val_loss", [0.5, float("nan"), float("inf"), 0.4, float("nan")], [1, 4]),
    ],
)
def test_the_best_are_kept(monitor, values, epochs):
    keeper = Script(values, count=2, monitor=monitor)
    model, seen = trained(keeper)
    assert [int(epoch) for epoch in keeper.epochs] == epochs
    assert_kept(keeper, model, seen, epochs)


def test_training_again_forgets():
    keeper = Checkpoints(2)
    trained(keeper)
    trained(keeper, epochs=1)
    assert [int(epoch) for epoch in keeper.epochs] == [1] and len(keeper.kept) == len(net().weights)


@pytest.mark.parametrize("options", [{"count": 0}, {"every": 0}, {"count": 1.5}, {"count": True}])
def test_bad_numbers(options):
    with pytest.raises(ValueError, match="to be a positive integer, received"):
        Checkpoints(**options)


def test_a_measure_that_there_is_not():
    with pytest.raises(ValueError, match="epoch's measures, accuracy, loss; received 'val_accuracy'"):
        trained(Checkpoints(2, monitor="val_accuracy"))


def test_the_mean_of_weights_and_statistics_of_its_own():
    models = [net(seed) for seed in range(3)]
    for number, model in enumerate(models):
        model.layers[3].moving_mean.assign(np.full(2, 100.0 * number))
    before = [model.get_weights() for model in models]
    mean = average_weights(models, IMAGES)
    names = [weight.path.split("/")[-1] for weight in mean.weights]
    for name, found, *values in zip(names, mean.get_weights(), *before, strict=True):
        if not name.startswith("moving"):
            np.testing.assert_allclose(found, np.mean(values, axis=0), rtol=1e-6)
    seen = numpy(keras.Model(mean.input, mean.layers[2].output)(IMAGES))  # what its normalization is given
    np.testing.assert_allclose(mean.layers[3].moving_mean, seen.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean.layers[3].moving_variance, seen.var(axis=(0, 1, 2)), rtol=1e-4, atol=1e-6)
    for model, values in zip(models, before, strict=True):
        for ours, theirs in zip(model.get_weights(), values, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_weights_that_have_no_mean():
    with pytest.raises(ValueError, match="models to be a list of models, received <"):
        average_weights(net(), IMAGES)
    with pytest.raises(ValueError, match="received an empty one"):
        average_weights([], IMAGES)
    with pytest.raises(ValueError, match="one architecture.*net has other weights than net"):
        average_weights([net(), net(units=4)], IMAGES)


RESUMED = """
import os, signal, sys
import keras, numpy as np
from convcraft import layers, training

class Die(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 3 and os.environ.get("DIE"):
            os.kill(os.getpid(), signal.SIGKILL)

config = training.Common(epochs=5, strategy="none")
run = training.Run(sys.argv[1], config, "r", "c")
keras.utils.set_random_seed(0)
pictures = np.random.default_rng(0).integers(0, 256, (60, 6, 6, 1)).astype("uint8")
images = training.data.load((pictures, np.arange(60) % 3), batch_size=16)
inputs = keras.Input((6, 6, 1))
x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
net = layers.Model(inputs, layers.ClassNames(images.class_names)(keras.layers.Dense(3)(x)))
net.compile(training.optimizer(config, run.steps(images)), training.loss(config), jit_compile=False)
keepers = [training.Checkpoints(3), training.Checkpoints(2, monitor="val_loss")]
run.fit(net, images, callbacks=[*keepers, Die()])
weights = [w for keeper in keepers for model in keeper.models(net) for w in model.get_weights()]
np.savez(sys.argv[2], *weights, epochs=[int(epoch) for keeper in keepers for epoch in keeper.epochs])
"""


@pytest.mark.slow
def test_what_is_kept_outlives_the_process(tmp_path):
    whole, parts = tmp_path / "whole.npz", tmp_path / "parts.npz"
    python(RESUMED, tmp_path / "a", whole)
    assert python(RESUMED, tmp_path / "b", parts, check=False, DIE="1").returncode == -9
    python(RESUMED, tmp_path / "b", parts)
    with np.load(whole) as one, np.load(parts) as other:
        assert one["epochs"].tolist()[:3] == [3, 4, 5] and set(one.files) == set(other.files)
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name])
