"""Batch normalization's statistics are those of the network as it predicts, by NumPy."""

import keras
import numpy as np
import pytest

from convcraft import training, zoo
from convcraft.layers.base import to_numpy

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, (96, 5)).astype("float32")


def two_layers(nested=False):
    """Dense, BN, ReLU, dropout, dense, BN; nested: the first three within a model of their own."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((5,))
    x = inputs
    parts = [keras.layers.Dense(4, name="one"), keras.layers.BatchNormalization(name="norm1"), keras.layers.ReLU()]
    if nested:
        within = y = keras.Input((5,))
        for part in parts:
            y = part(y)
        x = keras.Model(within, y, name="within")(x)
    else:
        for part in parts:
            x = part(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Dense(3, name="two")(x)
    model = keras.Model(inputs, keras.layers.BatchNormalization(name="norm2")(x))
    return model, parts[0], parts[1]


@pytest.mark.parametrize("nested", [False, True])
def test_statistics_are_those_of_prediction(nested):
    model, one, norm1 = two_layers(nested)
    assert training.recalibrate(model, X, batch_size=96) == 2
    kernel, bias = one.get_weights()
    hidden = X.astype("float64") @ kernel + bias
    np.testing.assert_allclose(to_numpy(norm1.moving_mean), hidden.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(to_numpy(norm1.moving_variance), hidden.var(axis=0), rtol=1e-4)
    active = np.maximum((hidden - hidden.mean(axis=0)) / np.sqrt(hidden.var(axis=0) + norm1.epsilon), 0)
    kernel, bias = model.get_layer("two").get_weights()  # nothing is dropped
    last = model.get_layer("norm2")
    np.testing.assert_allclose(to_numpy(last.moving_variance), (active @ kernel + bias).var(axis=0), rtol=1e-3)


def test_batches_are_put_together():
    """The first layer's statistics are those of all images, whatever the batches; a last one of 1 is left out."""
    model, one, norm1 = two_layers()
    for count, batch_size, used in ((96, 32, 96), (70, 32, 70), (65, 32, 64)):
        training.recalibrate(model, X[:count], batch_size=batch_size)
        kernel, bias = one.get_weights()
        hidden = X[:used].astype("float64") @ kernel + bias
        np.testing.assert_allclose(to_numpy(norm1.moving_variance), hidden.var(axis=0), rtol=1e-4)


def test_weights_stay_and_frozen_statistics_too():
    model, _, norm1 = two_layers()
    norm1.trainable = False
    before = [to_numpy(weight).copy() for weight in model.trainable_variables]
    assert training.recalibrate(model, X) == 1
    assert not to_numpy(norm1.moving_mean).any()
    for one, other in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, to_numpy(other))
    assert training.recalibrate(keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)]), X) == 0
    with pytest.raises(ValueError, match="at least 2 images, received 1"):
        training.recalibrate(model, X[:1])


def test_a_callback_recalibrates_before_validation_and_changes_no_training():
    trained = []
    for callbacks in ([], [training.PreciseNormalization(X)]):
        model, *_ = two_layers()
        loss = keras.losses.MeanSquaredError()
        model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=False)
        options = {"validation_data": (X, X[:, :3]), "batch_size": 32, "epochs": 2, "shuffle": False, "verbose": 0}
        history = model.fit(X, X[:, :3], callbacks=callbacks, **options)
        trained.append((history.history, [to_numpy(each) for each in model.trainable_variables]))
    (plain, weights), (precise, same) = trained
    np.testing.assert_allclose(precise["loss"], plain["loss"], rtol=1e-6)
    for one, other in zip(weights, same, strict=True):
        np.testing.assert_array_equal(one, other)
    assert abs(precise["val_loss"][-1] - plain["val_loss"][-1]) > 0.01


def test_a_fractal_net_predicts_as_it_is():
    """With moving averages of drop-path it does not; and a column has statistics of its own."""
    data = training.data.load("digits", size=16, batch_size=64)
    design = zoo.Design(width=0.125, dropout=0.0)
    net = zoo.create("fractalnet20", data.class_names, data.image_shape, filters=(64, 128), design=design)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, weighted_metrics=["accuracy"], jit_compile=False)
    net.fit(data.train, epochs=4, verbose=0)
    x, y = data.arrays("val")
    before = net.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    assert training.recalibrate(net, data) > 10
    assert net.evaluate(x, y, verbose=0, return_dict=True)["loss"] < before
