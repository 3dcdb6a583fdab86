"""GoogLeNet and Inception V3: what concerns their auxiliary classifiers."""

import keras
import numpy as np
import pytest
from harness import BACKEND, draw, numpy

import convcraft
from convcraft import zoo
from convcraft.zoo import Design

slow = pytest.mark.slow


def trainable(model):
    return int(sum(np.prod(v.shape) for v in model.trainable_variables))


@pytest.mark.parametrize(
    "name, expected",
    [  # facts.md 10.1; Inception V3: torchvision's 27,161,264 less a factor for each normalized channel
        pytest.param("googlenet", 13_378_280),
        pytest.param("googlenet_bn", 13_385_816, marks=slow),
        pytest.param("inception_v3", 27_161_264 - 34_432 // 2 - 128 - 768, marks=slow),
    ],
)
def test_counts_with_auxiliary_classifiers(name, expected):
    assert trainable(zoo.create(name, auxiliary=True)) == expected
    free = zoo.create(name, auxiliary=True, input_shape=(None, None, 3))
    assert trainable(free) == expected
    assert trainable(zoo.without_auxiliary(free)) == zoo.info(name).parameters


@pytest.mark.parametrize("name, size", [("googlenet_cifar", 32), pytest.param("googlenet", 64, marks=slow)])
def test_auxiliary_classifiers_train_and_vanish(name, size):
    keras.utils.set_random_seed(1)
    design = Design(width=0.125, dropout=0.0)
    plain = zoo.create(name, classes=3, input_shape=(size, size, 3), design=design)
    model = zoo.create(name, classes=3, input_shape=(size, size, 3), design=design, auxiliary=True)
    assert model.output_shape == plain.output_shape and zoo.class_names(model) == ["0", "1", "2"]
    assert zoo.cost(model).multiply_adds == zoo.cost(plain).multiply_adds
    bare = zoo.without_auxiliary(model)
    assert [layer.name for layer in bare.layers] == [layer.name for layer in plain.layers]
    x, y = draw((6, size, size, 3), low=0, high=255), np.arange(6) % 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = float(loss(y, numpy(bare(x, training=True))))
    for number, module in ((1, "inception4a"), (2, "inception4d")):
        features = keras.Model(bare.input, bare.get_layer(module).output)(x, training=True)
        side = model.get_layer(f"auxiliary{number}").body
        expected += 0.3 * float(loss(y, numpy(side(features, training=True))))
    model.compile(keras.optimizers.SGD(1e-3), loss, run_eagerly=BACKEND == "tensorflow")
    watched = [v for v in model.trainable_variables if "auxiliary" in v.path or "stem" in v.path]
    before = [numpy(v) for v in watched]
    assert len(watched) > 12
    assert float(model.train_on_batch(x, y)) == pytest.approx(expected, rel=1e-3)
    for variable, old in zip(watched, before, strict=True):
        assert not np.array_equal(numpy(variable), old), variable.path
    logits = numpy(zoo.without_auxiliary(model)(x, training=False))
    assert float(model.test_on_batch(x, y)) == pytest.approx(float(loss(y, logits)), rel=1e-4)


def test_weight_of_the_auxiliary_losses():
    small = {"classes": 3, "input_shape": (16, 16, 3), "design": Design(width=0.125)}
    model = zoo.create("googlenet_cifar", auxiliary=0.5, **small)
    assert [model.get_layer(f"auxiliary{number}").weight for number in (1, 2)] == [0.5, 0.5]
    assert zoo.create("googlenet_cifar", auxiliary=True, **small).get_layer("auxiliary1").weight == 0.3
    assert "auxiliary1" not in [layer.name for layer in zoo.create("googlenet_cifar", auxiliary=0, **small).layers]
    assert _dropout(small, None) == 0.7 and _dropout(small, 0.2) == 0.2
    numbers = zoo.create("googlenet_cifar", head="regression", auxiliary=True, **small)
    assert numbers.get_layer("auxiliary1").body.output_shape == (None, 3)
    for wrong in (-1, "yes", None, float("nan")):
        with pytest.raises(ValueError, match="googlenet: expected auxiliary to be True, False or the weight"):
            zoo.create("googlenet_cifar", auxiliary=wrong, **small)
    with pytest.raises(ValueError, match="expected auxiliary=False for head='none'"):
        zoo.create("googlenet_cifar", auxiliary=True, head="none", **small)


def _dropout(arguments, rate):
    arguments = {**arguments, "design": Design(width=0.125, dropout=rate)}
    model = zoo.create("googlenet_cifar", auxiliary=True, **arguments)
    return model.get_layer("auxiliary1").body.get_layer("auxiliary1_dense_dropout").rate


def test_a_new_head_has_no_auxiliary_classifiers():
    """Theirs would be of the old classes."""
    small = {"classes": 3, "input_shape": (16, 16, 3), "design": Design(width=0.125)}
    model = zoo.create("googlenet_cifar", auxiliary=True, **small)
    fine = zoo.replace_head(model, ["ant", "bee"])
    assert fine.output_shape == (None, 2)
    np.testing.assert_array_equal(*(numpy(net.get_layer("stem").kernel) for net in (fine, model)))
    assert "auxiliary1" not in [layer.name for layer in fine.layers]


def test_saved_with_auxiliary_classifiers(fresh_process, tmp_path):
    small = {"classes": ["a", "b", "c"], "input_shape": (16, 16, 3), "design": Design(width=0.125)}
    model = zoo.create("googlenet_cifar", auxiliary=True, **small)
    x = draw((2, 16, 16, 3), low=0, high=255)
    y, _ = fresh_process.predict(model, x, tmp_path)
    np.testing.assert_allclose(y, model.predict(x, verbose=0), rtol=1e-4, atol=1e-6)
    again = convcraft.load_model(tmp_path / "m.keras")
    assert trainable(again) == trainable(model)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
