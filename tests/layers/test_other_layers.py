"""Layers with little to say beyond their contract."""

import keras
import numpy as np
import pytest
from harness import draw, numpy

from convcraft.layers import BatchNormalization, ClassNames, Model, PadShortcut, as_model


def test_shortcut_is_the_formula():
    x = draw((2, 5, 6, 3))
    y = numpy(PadShortcut(7, 2)(x))
    expected = np.zeros((2, 3, 3, 7), "float32")
    expected[..., 2:5] = x[:, ::2, ::2]
    np.testing.assert_array_equal(y, expected)
    assert PadShortcut(7, 2).compute_output_shape((2, 5, 6, 3)) == (2, 3, 3, 7)
    with pytest.raises(ValueError, match="at most 2 channels, received 3"):
        PadShortcut(2)(x)
    for arguments, message in (((0,), "filters .*received 0"), ((4, "2"), "stride .*received '2'")):
        with pytest.raises(ValueError, match=message):
            PadShortcut(*arguments)


def test_shortcut_and_class_names_in_a_fresh_process(fresh_process, tmp_path):
    inputs = keras.Input((5, 5, 2))
    x = keras.layers.GlobalAveragePooling2D()(BatchNormalization()(PadShortcut(4, 2)(inputs)))
    model = Model(inputs, ClassNames(["ä", "b", "c", "d"])(x))
    images = draw((3, 5, 5, 2))
    outputs, configs = fresh_process.predict(model, images, tmp_path)
    np.testing.assert_allclose(outputs, model.predict(images, verbose=0), rtol=1e-6)
    assert configs[-1]["names"] == ["ä", "b", "c", "d"]


def test_class_names_are_checked():
    for names, message in ((["a", 1], "strings"), (["a", "a"], "once"), ("cat", "received 'cat'"), (3, "received 3")):
        with pytest.raises(ValueError, match=message):
            ClassNames(names)
    with pytest.raises(ValueError, match="expected 3 names, received 2"):
        ClassNames(["a", "b"])(np.zeros((1, 3), "float32"))


def test_batch_normalization_is_keras_s():
    x = draw((4, 3, 3, 2))
    ours, theirs = BatchNormalization(), keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    np.testing.assert_allclose(numpy(ours(x, training=True)), numpy(theirs(x, training=True)), rtol=1e-6)
    np.testing.assert_allclose(numpy(ours(x)), numpy(theirs(x)), rtol=1e-6)
    with pytest.raises(ValueError, match="synchronized"):
        BatchNormalization(synchronized="yes")


def test_as_model_shares_weights_and_forgets_no_output():
    inputs = keras.Input((4,))
    theirs = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="theirs")
    ours = as_model(theirs)
    assert isinstance(ours, Model) and ours.name == "theirs" and as_model(ours) is ours
    assert ours.layers[-1] is theirs.layers[-1]
    sequential = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    ours, x = as_model(sequential), draw((2, 4))
    np.testing.assert_array_equal(ours.predict(x, verbose=0), sequential.predict(x, verbose=0))
    assert ours.layers[-1] is sequential.layers[-1]
    with pytest.raises(ValueError, match="functional or built sequential"):
        as_model(keras.Sequential([keras.layers.Dense(2)]))


def test_a_second_fit_after_a_resumed_one_trains_again():
    """Keras 3.15 keeps the epoch that BackupAndRestore resumed at: a later fit may run no epoch at all."""
    inputs = keras.Input((2,))
    model = Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse", jit_compile=False)
    model._initial_epoch = 3  # what BackupAndRestore leaves behind
    data = np.zeros((4, 2)), np.zeros((4, 1))
    model.fit(*data, epochs=4, verbose=0)
    assert len(model.fit(*data, epochs=2, verbose=0).epoch) == 2
