"""What is read from a loss, in each of the ways in which Keras takes one."""

import keras
import pytest

from convcraft import layers
from convcraft.training import losses

K = keras.losses


def own(y, p):
    return p


@pytest.mark.parametrize(
    "loss, kind",
    [
        ("sparse_categorical_crossentropy", "sparse"),
        (K.sparse_categorical_crossentropy, "sparse"),
        (K.SparseCategoricalCrossentropy(name="mine"), "sparse"),
        ("categorical_crossentropy", "categorical"),
        (K.CategoricalFocalCrossentropy(), "categorical"),
        ("bce", "binary"),
        ("BinaryCrossentropy", "binary"),
        (K.BinaryFocalCrossentropy(), "binary"),
        (layers.BootstrappedCrossentropy(name="mine"), "any"),
        (layers.ClassWeighted("sparse_categorical_crossentropy", [1, 2]), "sparse"),
        ("mse", None),
        (K.Huber(), None),
        (own, None),
        (None, None),
    ],
)
def test_kinds(loss, kind):
    assert losses.crossentropy(loss) == kind


@pytest.mark.parametrize(
    "loss, expected",
    [
        ("mse", True),
        ("mean_absolute_error", True),
        (K.MeanSquaredError(name="a"), True),
        (K.huber, True),
        ("bce", False),
    ],
)
def test_regressions(loss, expected):
    assert losses.is_regression(loss) is expected


def test_logits():
    inner = K.SparseCategoricalCrossentropy(from_logits=True)
    assert losses.from_logits(inner) and losses.from_logits(layers.ClassWeighted(inner, [1, 1]))
    assert not losses.from_logits("sparse_categorical_crossentropy") and not losses.from_logits(own)
