import keras
import numpy as np
import pytest
from harness import BACKEND, draw, numpy, python

import convcraft
from convcraft import zoo
from convcraft.layers import AuxiliaryClassifier


def parts():
    """The layers of a small net, and of its side network."""
    keras.utils.set_random_seed(1)
    dense = keras.layers.Dense
    side = keras.Sequential([keras.Input((8,)), dense(4, "tanh"), dense(3)], name="side")
    return keras.Input((6,)), dense(8, "tanh"), dense(5, "tanh"), dense(3), side


def ours(weight=0.3, model=convcraft.Model):
    inputs, first, second, last, side = parts()
    aux = AuxiliaryClassifier(side, weight, name="aux")
    return model(inputs, last(second(aux(first(inputs)))))


def theirs():
    """The same as a net of two outputs."""
    inputs, first, second, last, side = parts()
    hidden = first(inputs)
    return keras.Model(inputs, [last(second(hidden)), side(hidden)])


X, Y = draw((16, 6)), np.arange(16) % 3
WEIGHTS = draw((16,), low=0, high=1)


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def by_shape(model):
    return sorted((numpy(v) for v in model.trainable_variables), key=lambda w: (w.shape, w.ravel()[0]))


def test_training_is_the_formula():
    """Plain `fit` with one loss does what Keras does with two outputs, two losses and loss weights of 1 and .3."""
    one, two = ours(), theirs()
    one.compile(keras.optimizers.SGD(0.5), loss(), metrics=["accuracy"])
    two.compile(keras.optimizers.SGD(0.5), [loss(), loss()], loss_weights=[1, 0.3])
    shared = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0}
    found = one.fit(X, Y, sample_weight=WEIGHTS, **shared).history
    expected = two.fit(X, (Y, Y), sample_weight=(WEIGHTS, WEIGHTS), **shared).history
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-5)
    for a, b in zip(by_shape(one), by_shape(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    logits = one.predict(X, verbose=0)
    assert logits.shape == (16, 3)
    # evaluation knows the main loss only
    plain = float(loss()(Y, logits))
    assert one.evaluate(X, Y, verbose=0)[0] == pytest.approx(plain, rel=1e-5)


def test_without_weight_or_in_a_foreign_model_it_does_nothing():
    plain = ours(0)
    plain.compile(keras.optimizers.SGD(0.5), loss())
    side = [numpy(v) for v in plain.get_layer("aux").trainable_variables]
    plain.train_on_batch(X, Y)
    foreign = ours(model=keras.Model)
    foreign.compile(keras.optimizers.SGD(0.5), loss())
    foreign.train_on_batch(X, Y)
    for model in (plain, foreign):
        for before, after in zip(side, model.get_layer("aux").trainable_variables, strict=True):
            np.testing.assert_array_equal(before, numpy(after))
    for a, b in zip(plain.get_weights(), foreign.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_penalties_count_once():
    inputs = keras.Input((6,))
    side = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1))])
    body = AuxiliaryClassifier(side, 2.0)(inputs)
    model = convcraft.Model(inputs, keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1))(body))
    model.compile(keras.optimizers.SGD(0.0), loss())
    main, aux = numpy(model(X)), numpy(side(X))
    penalty = 0.1 * sum((numpy(layer.kernel) ** 2).sum() for layer in (side.layers[-1], model.layers[-1]))
    expected = float(loss()(Y, main)) + 2 * float(loss()(Y, aux)) + penalty
    assert float(model.train_on_batch(X, Y)) == pytest.approx(expected, rel=1e-5)


def test_models_inside_models():
    inner = ours()
    inputs = keras.Input((6,))
    outer = convcraft.Model(inputs, inner(inputs))
    outer.compile(keras.optimizers.SGD(0.5), loss())
    alone = ours()
    alone.compile(keras.optimizers.SGD(0.5), loss())
    assert float(outer.train_on_batch(X, Y)) == pytest.approx(float(alone.train_on_batch(X, Y)), rel=1e-5)


def test_identity_and_configuration(fresh_process, tmp_path):
    model = ours(0.7)
    layer = model.get_layer("aux")
    x = draw((2, 8))
    for training in (None, False, True):
        np.testing.assert_array_equal(numpy(layer(x, training=training)), x)
    assert layer.take() is not None and layer.take() is None, "the outputs of the training call, once"
    assert layer.compute_output_shape((None, 8)) == (None, 8)
    y, _ = fresh_process.predict(model, X, tmp_path)
    np.testing.assert_allclose(y, model.predict(X, verbose=0), rtol=1e-5)
    again = convcraft.load_model(tmp_path / "m.keras")
    assert again.get_layer("aux").weight == 0.7
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for one in (model, again):
        one.compile(keras.optimizers.SGD(0.5), loss())
    assert float(model.train_on_batch(X, Y)) == pytest.approx(float(again.train_on_batch(X, Y)), rel=1e-6)


def test_without_auxiliary():
    model = ours()
    model.layers[1].trainable = False
    bare = zoo.without_auxiliary(model)
    assert type(bare) is convcraft.Model and "aux" not in [layer.name for layer in bare.layers]
    assert bare.layers[1] is not model.layers[1] and len(bare.weights) == len(model.weights) - 4
    assert [layer.name for layer in bare.layers[1:]] == [lay.name for lay in model.layers[1:] if lay.name != "aux"]
    np.testing.assert_array_equal(numpy(bare(X)), numpy(model(X)))
    assert [layer.trainable for layer in bare.layers[1:]] == [False, True, True]
    keras.Model(bare.input, bare.layers[2].output)  # a whole graph of its own
    assert zoo.without_auxiliary(bare) is bare


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"body": None}, "body to be a built keras.Model, received None"),
        ({"body": keras.Sequential([keras.layers.Dense(2)])}, "body to be a built"),
        ({"weight": -1}, "weight to be at least 0, received -1"),
        ({"weight": True}, "weight"),
        ({"weight": "x"}, "weight"),
        ({"weight": float("inf")}, "weight"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=f"AuxiliaryClassifier: expected {message}"):
        AuxiliaryClassifier(**{"body": parts()[-1], **arguments})


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute")
def test_replicas_keep_their_outputs_apart():
    """With synchronized batch normalization, replicas take turns between the side network and the loss."""
    code = """
import numpy as np, tensorflow as tf, keras, convcraft
from convcraft.layers import AuxiliaryClassifier, BatchNormalization
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
def net():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    side = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    x = AuxiliaryClassifier(side, 1.0)(keras.layers.Dense(8, "tanh")(inputs))
    x = BatchNormalization()(keras.layers.Dense(5)(x))
    model = convcraft.Model(inputs, keras.layers.Dense(3)(x))
    model.compile(keras.optimizers.SGD(.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model
x = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
y = (x[:, 0] > 0) + 2 * (np.arange(32) > 15) * (x[:, 0] < 0)
y = y % 3
def fit(model):
    return model.fit(x, y, batch_size=32, epochs=4, shuffle=False, verbose=0).history["loss"]
one = fit(net())
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = net()
two = fit(model)
np.testing.assert_allclose(one, two, rtol=1e-4)
print("equal")
"""
    assert python(code).strip().endswith("equal")
