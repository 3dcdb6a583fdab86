"""A weighted loss is what Keras's own `class_weight` makes of the plain one."""

import keras
import numpy as np
import pytest
from harness import draw, numpy

from convcraft.layers import BootstrappedCrossentropy, ClassWeighted
from convcraft.zoo import load_model

LABELS, LOGITS = np.array([0, 2, 1, 2, 0]), draw((5, 3), seed=1)
WEIGHTS = [0.5, 1.0, 3.0]


def crossentropy(labels, logits):
    """Of each image, by hand."""
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], np.eye(3, dtype="float32")[LABELS]])
def test_each_image_counts_as_its_class(labels):
    hot = labels.shape[-1] == 3 and labels.ndim == 2
    kind = keras.losses.CategoricalCrossentropy if hot else keras.losses.SparseCategoricalCrossentropy
    found = float(numpy(ClassWeighted(kind(from_logits=True), WEIGHTS)(labels, LOGITS)))
    assert found == pytest.approx((np.array(WEIGHTS)[LABELS] * crossentropy(LABELS, LOGITS)).mean(), rel=1e-5)


def test_it_trains_as_class_weight_of_keras():
    trained = []
    for loss, weights in (("sparse_categorical_crossentropy", dict(enumerate(WEIGHTS))), (None, None)):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
        plain = keras.losses.SparseCategoricalCrossentropy()
        model.compile(keras.optimizers.SGD(0.5), loss or ClassWeighted(plain, WEIGHTS), jit_compile=False)
        model.fit(LOGITS, LABELS, epochs=3, batch_size=5, verbose=0, class_weight=weights)
        trained.append(model.get_weights())
    for one, other in zip(*trained, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_of_bootstrapped_loss_and_through_a_file(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile("sgd", ClassWeighted(BootstrappedCrossentropy(beta=1.0), WEIGHTS))
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras").loss
    expected = (np.array(WEIGHTS)[LABELS] * crossentropy(LABELS, LOGITS)).mean()
    assert float(numpy(again(LABELS, LOGITS))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weights", [[], [1, -1], ["a"]])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="a weight of at least 0"):
        ClassWeighted(keras.losses.MeanSquaredError(), weights)


@pytest.mark.parametrize("name", ["binary_crossentropy", "BinaryCrossentropy"])
def test_a_loss_by_its_name(name):
    """The small names are those of Keras's functions, the others of its classes."""
    truth, said = np.array([0, 1]), np.array([[0.2], [0.9]], "float32")
    found = ClassWeighted(name, [1.0, 3.0])(truth[:, None], said)
    np.testing.assert_allclose(float(found), (-np.log(0.8) - 3 * np.log(0.9)) / 2, rtol=1e-5)
