"""What is found in models that people bring: where the classifier begins, what preprocesses, what is within blocks."""

import keras
import numpy as np
import pytest
from harness import draw

from convcraft import training
from convcraft.training.ensembles import snapshots
from convcraft.training.tuning import bodies, frozen_features, policies
from convcraft.training.tuning import linear as linear_heads

SIDE = 32
X = draw((4, SIDE, SIDE, 3), low=0, high=255)
kinds = keras.layers


def sequential(*layers, name="mine"):
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), kinds.Rescaling(1 / 255), *layers], name=name)


def agree(model, expected):
    """A body gives what the model has at `expected`, a tensor of it."""
    found = bodies.find(model, (SIDE, SIDE, 3))
    wanted = keras.Model(model.inputs[0], expected).predict(X, verbose=0)
    np.testing.assert_allclose(found.model.predict(X, verbose=0), wanted, rtol=1e-4, atol=1e-5)
    return found


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """A convolution and its normalization in one layer, as people write them."""

    def __init__(self, filters, **options):
        super().__init__(**options)
        self.filters = filters
        self.conv = kinds.Conv2D(filters, 3, padding="same")
        self.norm = kinds.BatchNormalization()

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.norm.build((*input_shape[:-1], self.filters))

    def call(self, inputs, training=None):
        return keras.ops.relu(self.norm(self.conv(inputs), training=training))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


class TestClassifier:
    def test_within_a_network_behind_preprocessing(self):
        """Its shares of other classes are no features."""
        whole = keras.applications.MobileNetV2((SIDE, SIDE, 3), 0.35, classes=7, weights=None)
        found = bodies.find(sequential(whole), (SIDE, SIDE, 3))
        assert found.head == "predictions" and found.model.output_shape == (None, 1280)
        features = keras.Model(whole.input, whole.layers[-2].output).predict(X / 255, verbose=0)
        np.testing.assert_allclose(found.model.predict(X, verbose=0), features, rtol=1e-4, atol=1e-5)

    def test_a_convolution_on_a_map_under_a_softmax(self):
        """As SqueezeNet and network in network have it."""
        model = sequential(
            kinds.Conv2D(6, 3, strides=8, name="features"),
            kinds.Conv2D(5, 1, activation="relu"),
            kinds.GlobalAveragePooling2D(),
            kinds.Softmax(),
        )
        found = bodies.find(model, (SIDE, SIDE, 3))
        assert found.head == model.layers[2].name and found.model.output_shape == (None, 6)

    def test_a_dense_layer_that_is_cut_off_at_0_is_none(self):
        layers = [kinds.Conv2D(6, 3), kinds.GlobalAveragePooling2D(), kinds.Dense(12, activation="relu")]
        model = sequential(*layers)
        assert agree(model, model.outputs[0]).head is None
        split = sequential(*layers[:2], kinds.Dense(12), kinds.ReLU())
        found = agree(split, split.outputs[0])
        assert found.head is None and "its 12 outputs are the features" in found.said[0]
        assert bodies.find(sequential(*layers, kinds.Dense(3)), (SIDE, SIDE, 3)).model.output_shape == (None, 12)

    def test_shares_that_nothing_known_makes(self):
        model = sequential(kinds.Conv2D(6, 3), kinds.GlobalAveragePooling2D(), kinds.UnitNormalization())
        unknown = keras.Model(model.inputs[0], kinds.Softmax()(model.outputs[0]))
        with pytest.raises(ValueError, match="ends in shares of classes, and the layer that makes them is none"):
            bodies.find(unknown, (SIDE, SIDE, 3))

    def test_models_without_inputs(self):
        unbuilt = keras.Sequential([kinds.Rescaling(1 / 255), kinds.GlobalAveragePooling2D(), kinds.Dense(3)])

        class Own(keras.Model):
            inputs = None

        for model, message in ((unbuilt, "does not know its images yet"), (Own(), "pass its functional body")):
            with pytest.raises(ValueError, match=message):
                bodies.input_shape(model)

    def test_files_that_cannot_be_begun_with(self, tmp_path):
        with pytest.warns(UserWarning, match="not yet been built"):
            keras.Sequential([kinds.Rescaling(1 / 255), kinds.Dense(3)]).save(tmp_path / "unbuilt.keras")
        with pytest.raises(ValueError, match="Expected a model of images.*unbuilt.keras is none"):
            bodies.documented_shape(str(tmp_path / "unbuilt.keras"))

        class Unknown(Block):
            pass

        sequential(Unknown(4), kinds.GlobalAveragePooling2D(), kinds.Dense(3)).save(tmp_path / "own.keras")
        with pytest.raises(ValueError, match="own.keras: it holds Unknown, which is neither Keras's nor"):
            bodies.documented_shape(str(tmp_path / "own.keras"))

    def test_files_of_images_have_one_or_three_channels(self):
        for shape in ((SIDE, None, 3), (SIDE, SIDE, 1), (None, None, 3)):
            given = keras.Input(shape)
            assert bodies.shape_of_files(keras.Model(given, kinds.Rescaling(1 / 255)(given))) == shape
        four = keras.Input((SIDE, SIDE, 4))
        with pytest.raises(ValueError, match="grey or colour images; .* takes 4 channels"):
            bodies.shape_of_files(keras.Model(four, kinds.Rescaling(1 / 255)(four)))


class TestPreprocessing:
    def model(self):
        normalization = kinds.Normalization()
        normalization.adapt(X)
        inputs = keras.Input((SIDE, SIDE, 3))
        x = kinds.GlobalAveragePooling2D(name="mean")(kinds.Conv2D(6, 3, name="conv")(normalization(inputs)))
        return keras.Model(inputs, kinds.Dense(3)(x))

    def test_adapted_statistics_count(self):
        """`set_weights` leaves a copy with the mean 0 and the variance 1: EfficientNet would see other images."""
        model = self.model()
        agree(model, model.get_layer("mean").output)

    def test_new_weights_are_behind_the_same_statistics(self):
        model = self.model()
        found = bodies.find(model, (SIDE, SIDE, 3), pretrained=False).model
        old, new = (keras.Model(net.input, net.get_layer("conv").input).predict(X, verbose=0) for net in (model, found))
        np.testing.assert_array_equal(old, new)
        assert np.abs(old).max() < 3 and np.any(found.get_layer("conv").kernel != model.get_layer("conv").kernel)

    def test_averages_of_weights_have_them_too(self):
        model = self.model()
        made = snapshots.average_weights([model, model], (X, np.zeros(4, "int32")))
        np.testing.assert_allclose(made.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5)


class TestAgain:
    """What was fine-tuned once can be fine-tuned again, as `convcraft fine-tune RUN FOLDER` says."""

    @pytest.mark.parametrize("policy", ["linear", "svm"])
    def test_a_result_is_a_beginning(self, policy):
        labels = np.arange(12) % 2
        images = np.clip(draw((12, SIDE, SIDE, 3), low=0, high=200) + 50 * labels[:, None, None, None], 0, 255)
        layers = [kinds.Conv2D(4, 3, strides=2), kinds.Conv2D(6, 3, strides=2), kinds.Conv2D(8, 3, strides=2)]
        model = sequential(*layers, kinds.GlobalAveragePooling2D(), kinds.Dense(5))
        for _ in range(3):
            tuned = training.fine_tune(model, (images, labels), policy=policy, verbose=False)
            model = tuned.model
        assert sum(isinstance(layer, kinds.Dropout) for layer in model.layers) == 1
        body = bodies.find(model, (SIDE, SIDE, 3))
        tiles = [frozen_features.tiled(body, level) for level in body.levels]
        assert keras.Model(body.model.inputs[0], [body.model.outputs[0], *tiles]), "names are free"

    def test_its_preprocessing_is_not_added_twice(self):
        model = keras.applications.VGG16(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
        for pretrained in (True, False):
            once = bodies.find(model, (SIDE, SIDE, 3), pretrained=pretrained)
            assert once.said[-1] == "raw 0-255 images; 'caffe' preprocessing added"
            twice = bodies.find(once.model, (SIDE, SIDE, 3), pretrained=pretrained)
            assert "its layer 'preprocess' preprocesses" in twice.said[-1]
            before, after = (body.model.get_layer("preprocess").get_weights() for body in (once, twice))
            assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def test_new_weights_are_of_a_network_as_wide():
    """Else a policy would be compared with another, larger network."""
    for source in ("mobilenet_v1:tinyimagenet80", "resnet18:tinyimagenet80"):
        old, new = (bodies.find(source, (64, 64, 3), pretrained=pretrained).model for pretrained in (True, False))
        assert [layer.name for layer in new.layers] == [layer.name for layer in old.layers]
        assert [w.shape for w in new.weights] == [w.shape for w in old.weights]
        kernels = [(a, b) for a, b in zip(old.get_weights(), new.get_weights(), strict=True) if a.ndim == 4]
        assert kernels and not any(np.array_equal(a, b) for a, b in kernels)


class TestBlocks:
    def body(self):
        model = sequential(Block(4), Block(6), Block(8), kinds.GlobalAveragePooling2D(), kinds.Dense(5))
        return bodies.find(model, (SIDE, SIDE, 3))

    def test_normalization_within_a_layer_stays(self):
        body = self.body()
        net = policies.with_head(body, ["a", "b"])
        policies.prepare(net, body, "deep", 1e-3)
        assert policies.frozen_normalization(net) == 3 and len(net.trainable_variables) == 8
        blocks = [layer for layer in body.layers() if isinstance(layer, Block)]
        before = [weight.copy() for weight in blocks[0].norm.get_weights()]
        both = [keras.ops.convert_to_numpy(net(X, training=training)) for training in (True, False)]
        np.testing.assert_array_equal(*both)  # the new head is zero: only statistics could differ
        assert all(np.array_equal(a, b) for a, b in zip(before, blocks[0].norm.get_weights(), strict=True))
        policies.prepare(net, body, "scratch", 1e-3)
        assert policies.frozen_normalization(net) == 0 and all(block.norm.momentum <= 0.9 for block in blocks)

    def test_each_third_has_one(self):
        body = self.body()
        parts = [[layer for layer in part if isinstance(layer, Block)] for part in policies.thirds(body)]
        assert [len(part) for part in parts] == [1, 1, 1]

    @pytest.mark.parametrize("count", [1, 2])
    def test_of_few_convolutions_the_last_is_late(self, count):
        convs = [kinds.Conv2D(4, 3) for _ in range(count)]
        body = bodies.find(sequential(*convs, kinds.GlobalAveragePooling2D(), kinds.Dense(5)), (SIDE, SIDE, 3))
        found = [sum(isinstance(layer, kinds.Conv2D) for layer in part) for part in policies.thirds(body)]
        assert found == [0, count - 1, 1]


@pytest.mark.parametrize("fit", [linear_heads.logistic, linear_heads.support_vectors])
def test_strengths_of_many_images_are_compared_on_some(fit, monkeypatch):
    """The classifier itself is fitted to all: the same as with the strength that was found, and all classes stay."""
    rng = np.random.default_rng(0)
    labels = (np.arange(300) % 30 == 0).astype("int32") + 2 * (np.arange(300) % 2).astype("int32") * (
        np.arange(300) % 30 != 0
    )
    vectors = rng.normal(size=(300, 20)).astype("float32") + labels[:, None]
    features = frozen_features.Features({"": vectors, "early": vectors}, {}, labels)
    monkeypatch.setattr(linear_heads, "LEAST", 60)
    monkeypatch.setattr(linear_heads, "VALUES", 1200)
    assert linear_heads.searched(features, "") is features
    some = linear_heads.searched(features, "early")
    assert 57 <= len(some.labels) <= 63 and set(some.labels) == set(labels)
    found = fit(features, "early")
    assert len(found.right) == len(some.labels) and found.right.mean() > 0.8
    assert ((vectors @ found.kernel + found.bias).argmax(axis=1) == labels).mean() > 0.9
    if fit is linear_heads.support_vectors:
        again = fit(features, "early", strength=found.strength)
        np.testing.assert_allclose(again.kernel, found.kernel, rtol=1e-4)
