"""Class activation maps add up to logits, gradients are those of the formula, and nothing in the model changes."""

import keras
import numpy as np
import pytest
import scipy.stats

from convcraft import zoo
from convcraft.layers import ClassNames
from convcraft.training import class_activation_maps, evaluate, fit_temperature, insight, loop, rundir

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (6, 16, 16, 3)).astype("float32")
CLASSES = np.array([[0, 1], [2, 0], [1, 1], [0, 2], [2, 1], [1, 0]])


def net(*ends):
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((16, 16, 3))
    for layer in (keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(5, 3, 2, "same", activation="relu"), *ends):
        x = layer(x)
    return keras.Model(inputs, x)


def weighed():
    kinds = keras.layers
    return net(
        kinds.GlobalAveragePooling2D(),
        kinds.Dropout(0.5),
        kinds.Dense(3, bias_initializer="ones"),
        ClassNames(list("abc")),
    )


def logits(model):
    return keras.ops.convert_to_numpy(model(IMAGES, training=False))


def test_the_mean_of_a_map_and_the_offset_are_the_logit():
    model = weighed()
    maps = class_activation_maps(model, IMAGES, CLASSES)
    assert maps.shape == (6, 2, 8, 8)
    expected = np.take_along_axis(logits(model), CLASSES, axis=1)
    np.testing.assert_allclose(maps.mean(axis=(2, 3)) + 1, expected, rtol=1e-4, atol=1e-5)


def test_each_place_is_weighed_as_the_formula_says():
    model = weighed()
    features = keras.Model(model.input, model.layers[2].output)
    there = keras.ops.convert_to_numpy(features(IMAGES))[4, 3, 5]
    kernel = keras.ops.convert_to_numpy(model.layers[-2].kernel)
    found = class_activation_maps(model, IMAGES, CLASSES)[4, 0, 3, 5]
    assert found == pytest.approx(sum(there[c] * kernel[c, 2] for c in range(5)), rel=1e-4, abs=1e-6)


def test_a_map_for_each_class_is_its_own_evidence():
    model = net(keras.layers.Conv2D(3, 1), keras.layers.GlobalAveragePooling2D(), keras.layers.Activation("softmax"))
    maps = class_activation_maps(model, IMAGES, CLASSES)
    scores = maps.mean(axis=(2, 3))  # in the order of the probabilities
    ahead = np.take_along_axis(logits(model), CLASSES, axis=1)
    assert (np.sign(scores[:, 0] - scores[:, 1]) == np.sign(ahead[:, 0] - ahead[:, 1])).all()


def test_networks_that_flatten_are_weighed_by_their_kernel():
    """Where the rest is linear, the gradient is the kernel: each place has weights of its own, and all add up."""
    kinds = keras.layers
    model = net(kinds.Flatten(), kinds.Dropout(0.5), kinds.Dense(3, bias_initializer="ones"), ClassNames(list("abc")))
    maps = class_activation_maps(model, IMAGES, CLASSES)
    assert maps.shape == (6, 2, 8, 8)
    features = keras.Model(model.inputs[0], model.layers[2].output)
    there = keras.ops.convert_to_numpy(features(IMAGES))
    kernel = keras.ops.convert_to_numpy(model.layers[-2].kernel).reshape(8, 8, 5, 3)
    expected = np.einsum("nhwc,hwcnk->nkhw", there, kernel[..., CLASSES]) * 64
    np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-4)
    chosen = np.take_along_axis(logits(model), CLASSES, axis=1)
    np.testing.assert_allclose(maps.mean(axis=(2, 3)) + 1, chosen, rtol=1e-3, atol=1e-4)


def test_hidden_layers_are_differentiated():
    """As the kernels of those units that are not silent."""
    kinds = keras.layers
    model = net(kinds.GlobalAveragePooling2D(), kinds.Dense(4, "relu"), kinds.Dense(3))
    means, units = (
        keras.ops.convert_to_numpy(keras.Model(model.inputs[0], model.layers[place].output)(IMAGES)) for place in (3, 4)
    )
    first, second = (keras.ops.convert_to_numpy(layer.kernel) for layer in model.layers[4:])
    assert 0 < (units > 0).mean() < 1
    slopes = np.einsum("cu,nu,uk->nck", first, units > 0, second)
    expected = np.take_along_axis(np.einsum("nc,nck->nk", means, slopes), CLASSES, axis=1)
    found = class_activation_maps(model, IMAGES, CLASSES)
    np.testing.assert_allclose(found.mean(axis=(2, 3)), expected, rtol=1e-3, atol=1e-5)


def test_gradients_of_probabilities_are_those_of_their_logarithms():
    """They differ from those of the logits by the mean over the classes, weighed by the probabilities."""
    kinds = keras.layers
    linear, bent = (net(kinds.Flatten(), kinds.Dense(3, kind)) for kind in (None, "softmax"))
    bent.set_weights(linear.get_weights())
    every = class_activation_maps(linear, IMAGES, np.tile(np.arange(3), (6, 1)))
    shares = keras.ops.convert_to_numpy(bent(IMAGES))
    expected = every - np.einsum("nkhw,nk->nhw", every, shares)[:, None]
    found = class_activation_maps(bent, IMAGES, np.tile(np.arange(3), (6, 1)))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)


def test_several_models_in_one_have_no_last_map():
    kinds = keras.layers
    inner = net(kinds.Flatten(), kinds.Dense(3))
    images = keras.Input((16, 16, 3))
    assert class_activation_maps(keras.Model(images, inner(images)), IMAGES, CLASSES) is None
    both = keras.Model(images, kinds.Add()([inner(images), kinds.Dense(3)(kinds.Flatten()(images))]))
    assert class_activation_maps(both, IMAGES, CLASSES) is None


def test_squeezenet_and_resnet_of_the_zoo_have_maps():
    for name in ("squeezenet_cifar", "resnet20_cifar"):
        found = class_activation_maps(zoo.create(name, classes=3), np.zeros((1, 32, 32, 3)), CLASSES[:1])
        assert found is not None and found.shape[:2] == (1, 2), name


def test_first_filters_are_the_kernels_that_see_the_image():
    model = net(keras.layers.Conv2D(3, 3))
    name, kernels = insight.first_filters(model)
    assert name == model.layers[2].name
    np.testing.assert_array_equal(kernels, keras.ops.convert_to_numpy(model.layers[2].kernel))
    inputs = keras.Input((8, 8, 3))
    assert insight.first_filters(keras.Model(inputs, keras.layers.Conv2D(4, 1)(inputs))) is None


class Few:
    """As many images as are looked at, so that all of them are."""

    x = RNG.normal(0, 1, (insight.PROBE, 2, 2, 1)).astype("float32")
    y = RNG.integers(0, 3, insight.PROBE)
    image_shape = (2, 2, 1)

    def __len__(self):
        return len(self.y)

    def batch(self, rows):
        return self.x[rows], self.y[rows]


def linear():
    keras.utils.set_random_seed(2)
    inputs = keras.Input((2, 2, 1))
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(keras.layers.Flatten()(inputs)))


def test_gradients_are_those_of_the_formula():
    model = linear()
    before = [weight.copy() for weight in model.get_weights()]
    found = insight._gradients(model, Few())
    kernel, offset = before
    flat = Few.x.reshape(len(Few.x), -1)
    scores = flat @ kernel + offset
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    gradient = flat.T @ (shares - np.eye(3)[Few.y]) / len(flat)
    assert list(found) == ["head"]
    assert found["head"] == pytest.approx(np.sqrt((gradient**2).mean()), rel=1e-4)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_fewer_of_large_images_are_looked_at(monkeypatch):
    seen = []
    monkeypatch.setattr(insight, "gradient_norms", lambda trial, x, y: seen.append(len(y)) or {})
    large = Few()
    for side in (2, 224, 4000):
        large.image_shape = (side, side, 3)
        insight._gradients(linear(), large)
    assert seen == [64, 64 * 96 * 96 // 224**2, 8]


def test_a_network_that_learns_nothing_has_no_gradients():
    class Data:
        sources = {"train": Few()}

    model = linear()
    assert "gradients" in insight.look(model, Data(), IMAGES, None)
    model.trainable = False
    assert insight.look(model, Data(), IMAGES, None) == {}


def test_an_interrupt_leaves_the_model_as_it_was(monkeypatch):
    model = linear()
    before = [weight.copy() for weight in model.get_weights()]

    def interrupted(self, x, y):
        for variable in self.trainable_variables:
            variable.assign(variable + 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "train_on_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        insight._gradients(model, Few())
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_goes_wrong_costs_a_section_and_not_the_run(monkeypatch):
    class Data:
        sources = None

    monkeypatch.delenv("CONVCRAFT_DEBUG", raising=False)
    monkeypatch.setattr(insight, "first_filters", lambda model: 1 / 0)
    assert "ZeroDivisionError" in str(insight.look(linear(), Data(), IMAGES, None)["unseen"])
    monkeypatch.setenv("CONVCRAFT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        insight.look(linear(), Data(), IMAGES, None)


RECIPE = """
from dataclasses import dataclass
import numpy as np
from convcraft import training

@dataclass
class Config(training.Common):
    pass

def data(config):
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 3
    images = rng.uniform(0, 160, (400, 8, 8, 1)) + 12 * labels[:, None, None, None]
    return training.data.load((images.astype("uint8"), labels), batch_size=50, validation=0.25)

def train(config, run):
    pass
"""


def test_a_run_is_measured_with_all_that_the_report_shows(tmp_path):
    """The temperature is of validation images, never of those that it is judged by."""
    (tmp_path / "recipe.py").write_text(RECIPE)
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="first")(keras.layers.Rescaling(1 / 255)(x))
    outputs = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    options = {"data": "digits", "epochs": 1}
    data = loop.load_recipe(tmp_path / "recipe.py").data(None)
    about = {"sha256": data.sha256, "name": "d"}
    described = {"recipe": "r", "config": options, "data": about, "model": {"multiply_adds": 1}}
    rundir.write_json(tmp_path / "config.json", described)
    centres = (80 + 12 * np.arange(3)) / 255  # the nearest mean brightness wins
    weights = np.tile(300 * 2 * centres / 4, (4, 1)), -300 * centres**2
    model.set_weights([np.full((3, 3, 1, 4), 1 / 9), np.zeros(4), *weights])
    model.save(tmp_path / "model.keras")
    metrics = evaluate.evaluate_run(tmp_path)
    found = {split: evaluate.score(model, data, split) for split in ("val", "test")}
    heats = {split: fit_temperature(labels, shares) for split, (_, labels, shares) in found.items()}
    assert abs(heats["val"] - heats["test"]) > 1e-3  # else the next line would prove little
    assert metrics["temperature"] == pytest.approx(heats["val"], rel=1e-3)
    with np.load(tmp_path / "predictions.npz") as kept:
        assert "unseen" not in kept.files
        assert str(kept["filters_layer"]) == "first" and kept["filters"].shape == (3, 3, 1, 4)
        assert len(kept["gradients"]) == 2 and kept["maps"].shape[1:] == (2, 6, 6)
        shares, rows = kept["probabilities"], kept["index"]
        np.testing.assert_array_equal(kept["map_classes"][:, 0], shares.argmax(axis=1)[rows])
        np.testing.assert_array_equal(kept["map_classes"][:, 1], kept["labels"][rows])
        entropies = scipy.stats.entropy(shares, axis=1)
        assert set(np.argsort(-entropies, kind="stable")[:12]) <= set(rows) and len(set(rows)) == len(rows)
