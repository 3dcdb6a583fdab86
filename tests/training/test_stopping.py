"""Stopping by training accuracy: when, why, and what is left."""

import keras
import numpy as np
import pytest

from convcraft import training

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")


def net(rate=0.1):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"], jit_compile=False)
    return model


def stopped_after(callback, accuracies):
    """Number of the epoch after which it stops, or None; the accuracies are given."""
    callback.set_model(net())
    callback.model.stop_training = False
    callback.on_train_begin()
    for epoch, accuracy in enumerate(accuracies):
        callback.on_epoch_end(epoch, {"accuracy": accuracy})
        if callback.model.stop_training:
            return epoch + 1
    return None


@pytest.mark.parametrize(
    "options, accuracies, expected",
    [
        ({}, [0.5, 0.99, 1.0, 1.0], 3),
        ({}, [0.5, 0.9999998], 2),  # 1 in single precision
        ({}, [0.5, 0.999], None),
        ({"patience": 1}, [1.0, 0.9, 1.0, 1.0], 4),
        ({"threshold": 0.9}, [0.5, 0.9], 2),
        ({}, [float("nan")], None),
    ],
)
def test_perfect(options, accuracies, expected):
    assert stopped_after(training.StopAtPerfectTrainAccuracy(**options), accuracies) == expected


@pytest.mark.parametrize(
    "delta, accuracies, expected",
    [
        (0.1, [0.5, 0.8, 0.71, 0.69], 4),
        (0.1, [0.5, 0.45, 0.41, 0.9, 0.85], None),
        (0.05, [0.5, 0.44], 2),
        (0.1, [0.5, float("nan")], 2),
    ],
)
def test_drop(delta, accuracies, expected):
    assert stopped_after(training.StopAtTrainAccuracyDrop(delta), accuracies) == expected


def test_in_fit_it_stops_at_the_first_perfect_epoch(capsys):
    done = net(1.0).fit(X, Y, epochs=200, verbose=0, callbacks=[training.StopAtPerfectTrainAccuracy()])
    reached = done.history["accuracy"]
    assert len(reached) < 200 and reached[-1] == 1.0 and max(reached[:-1]) < 1.0
    assert f"Stopped after epoch {len(reached)}: accuracy is 1.0000." in capsys.readouterr().out


def test_after_a_breakdown_the_best_weights_are_back():
    """A rate that becomes absurd in the sixth epoch turns the labels around."""

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 4:
                self.kept = self.model.get_weights()
            if epoch == 5:
                self.model.set_weights([-1000 * weight for weight in self.model.get_weights()])
                self.model.optimizer.learning_rate = 0.0

    spoil = Spoil()
    model = net(0.5)
    stopper = training.StopAtTrainAccuracyDrop(0.3, restore_best_weights=True)
    done = model.fit(X, Y, epochs=20, verbose=0, callbacks=[spoil, stopper])
    assert len(done.history["loss"]) == 6
    best = int(np.argmax(done.history["accuracy"]))
    assert done.history["accuracy"][best] - done.history["accuracy"][-1] > 0.3
    assert model.evaluate(X, Y, verbose=0)[1] >= done.history["accuracy"][best]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: training.StopAtPerfectTrainAccuracy(threshold=1.5), "threshold above 0, at most 1; received 1.5"),
        (lambda: training.StopAtPerfectTrainAccuracy(patience=-1), "patience"),
        (lambda: training.StopAtTrainAccuracyDrop(0), "delta between 0 and 1; received 0"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_number_that_is_not_measured_is_named():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", jit_compile=False)
    with pytest.raises(ValueError, match="epoch 1, loss; received 'accuracy'"):
        model.fit(X, X[:, :2], epochs=2, verbose=0, callbacks=[training.StopAtTrainAccuracyDrop(0.1)])
