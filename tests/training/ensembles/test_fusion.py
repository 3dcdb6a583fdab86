"""What is fitted to validation images: weights of members, a second level, and one head of several bodies."""

import random

import keras
import numpy as np
import pytest
from harness import numpy
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from convcraft import layers, training, zoo
from convcraft.training import Ensemble, fit_weights, fuse_features, stack
from convcraft.training.ensembles import fusion

RNG = np.random.default_rng(0)


def data(validation=True, classes=3, side=4, names=None):
    """Images whose mean tells the class, with noise; 90 to train on, 60 to validate, 30 to test."""
    labels = np.arange(180) % classes
    pictures = RNG.integers(0, 90, (180, side, side, 1)) + 60 * labels[:, None, None, None]
    arrays = {}
    cuts = {"train": slice(0, 90), "val": slice(90, 150), "test": slice(150, 180)}
    for split, rows in cuts.items():
        if split != "val" or validation:
            arrays |= {f"x_{split}": pictures[rows].astype("uint8"), f"y_{split}": labels[rows]}
    if names:
        arrays["names"] = np.array(names)
    return training.data.load(arrays, validation=0, batch_size=16)


def net(seed=0, classes=3, side=4, names=None):
    """A network with weights that were drawn; what it says has something to do with the image."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((side, side, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 127.5, -1)(inputs))
    x = keras.layers.Dense(classes)(keras.layers.Dense(8, "tanh")(x))
    return layers.Model(inputs, layers.ClassNames(names or [str(n) for n in range(classes)])(x), name="net")


def crossentropy(shares, labels):
    return -np.mean(np.log(shares[np.arange(len(labels)), labels]))


def test_weights_of_a_case_that_is_solved_by_hand():
    """Two members, of two images each sure of one: the product w (1 - w) is largest where both count alike.

    With three images of which the first member knows two, w² (1 - w): w = 2/3.
    """
    first, second = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]
    np.testing.assert_allclose(fusion.convex_weights(np.array([first, second]), np.array([0, 0])), [0.5, 0.5])
    both = np.array([[first[0], first[0], first[1]], [second[0], second[0], second[1]]])
    np.testing.assert_allclose(fusion.convex_weights(both, np.array([0, 0, 0])), [2 / 3, 1 / 3], atol=1e-4)


def test_a_member_that_is_better_everywhere_is_the_only_one():
    labels = np.arange(40) % 4
    good = np.where(np.eye(4)[labels] > 0, 0.85, 0.05)
    bad = np.full((40, 4), 0.25)
    assert fusion.convex_weights(np.array([bad, good, bad]), labels).tolist() == [0, 1, 0]
    np.testing.assert_allclose(fusion.convex_weights(np.array([good]), labels), [1])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sharpness", [0.3, 8.0])
def test_weights_are_never_worse_than_the_mean_nor_than_a_member(seed, sharpness):
    """And nowhere on a grid of other weights is the crossentropy smaller; probabilities of 0 are no trouble."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 50)
    shares = softmax(sharpness * (rng.normal(size=(3, 50, 5)) + rng.uniform(0, 2) * np.eye(5)[labels]), axis=2)
    shares[0, :3] = np.eye(5)[(labels[:3] + 1) % 5]
    weights = fusion.convex_weights(shares, labels)
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1)
    shares = np.maximum(shares, 1e-30)
    found = crossentropy(np.einsum("m,mnc->nc", weights, shares), labels)
    grid = [(a / 20, b / 20, 1 - a / 20 - b / 20) for a in range(21) for b in range(21 - a)]
    others = [crossentropy(np.einsum("m,mnc->nc", w, shares), labels) for w in grid]
    assert found <= min(others) + 1e-3
    assert found <= crossentropy(shares.mean(axis=0), labels) and found <= min(crossentropy(s, labels) for s in shares)


def test_a_member_that_gives_no_numbers():
    with pytest.raises(ValueError, match="training has diverged"):
        fusion.convex_weights(np.full((2, 3, 2), np.nan), np.zeros(3, "int64"))


def test_a_member_that_has_diverged_is_named():
    broken = net(1)
    broken.set_weights([weight * np.nan for weight in broken.get_weights()])
    for fit in (fit_weights, stack):
        with pytest.raises(ValueError, match=r"probabilities of member 2 .* that are numbers: training has diverged"):
            fit([net(0), broken], data())
    with pytest.raises(ValueError, match="features of the sources that are numbers"):
        fuse_features([broken], data())


def test_models_and_random_states_stay_as_they_were(monkeypatch):
    """Also where a tool is interrupted."""
    members, images = [net(0), net(1)], data()
    members[0].layers[2].trainable = False
    members[0].compile("adam", "sparse_categorical_crossentropy")

    def state():
        kept = [weight for member in members for weight in member.get_weights()]
        flags = [layer.trainable for member in members for layer in member.layers]
        return [*kept, flags, np.random.get_state()[1], random.getstate()[1], id(members[0].optimizer)]

    tools = [lambda: fuse_features(members, images), lambda: stack(members, images)]
    tools += [lambda: fit_weights(members, images), lambda: training.average_weights(members, images)]
    tools.append(lambda: training.suspicious_labels(images, members[0]))
    before = state()

    def unchanged():
        assert all(np.array_equal(one, other) for one, other in zip(before, state(), strict=True))

    for tool in tools:
        tool()
        unchanged()

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("convcraft.training.distribute.answers", interrupted)
    for tool in (*tools[:3], tools[4]):
        with pytest.raises(KeyboardInterrupt):
            tool()
        unchanged()


def test_what_is_no_list_and_no_data():
    for fit, what in ((fit_weights, "fit_weights"), (stack, "stack"), (fuse_features, "fuse_features")):
        with pytest.raises(ValueError, match=f"{what}: expected data to be a training.data.Data, received tuple"):
            fit([net(0)], (np.zeros((4, 4, 4, 1)), np.zeros(4)))
        with pytest.raises(ValueError, match="to be a list of models, received <"):
            fit(net(0), data())


def test_members_are_weighed_on_validation_images_alone():
    """The labels of the other splits are turned round: weights stay as they were."""
    images, members = data(), [net(0), net(1), net(2)]
    found = fit_weights(members, images)
    pictures, labels = images.arrays("val")
    shares = np.array([softmax(numpy(member(pictures)), axis=1) for member in members])
    np.testing.assert_allclose(found, fusion.convex_weights(shares, labels), atol=1e-3)
    for split in ("train", "test"):
        images.sources[split].labels = images.sources[split].labels[::-1]
    np.testing.assert_array_equal(fit_weights(members, images), found)
    assert not any(member.compiled for member in members)
    logits = numpy(Ensemble(members, weights=found)(pictures))
    losses = [crossentropy(share, labels) for share in (*shares, shares.mean(axis=0))]
    assert crossentropy(softmax(logits, axis=1), labels) <= min(losses) + 1e-6


def test_a_second_level_is_scikit_learns(fresh_process, tmp_path):
    images, members = data(), [net(0), net(1)]
    head = members[1].layers[-2]
    head.kernel.assign(20 * head.kernel)  # so sure that some of its probabilities are nearly 0
    whole = stack(members, images)
    pictures, labels = images.arrays("val")
    shares = [log_softmax(numpy(member(pictures)), axis=1) for member in members]
    seen = np.concatenate([np.maximum(share, np.log(1e-4)) for share in shares], axis=1)
    outputs, _ = fresh_process.predict(whole, pictures, tmp_path)
    agreements = []
    for strength in (0.001, 0.003, 0.01, 0.03, 0.1, 1.0):
        theirs = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(seen, labels)
        scores = theirs.decision_function(seen)
        # up to a factor, by which its probabilities are made honest, and what all classes have in common
        ours = outputs - outputs.mean(axis=1, keepdims=True)
        agreements.append(np.corrcoef(ours.ravel(), scores.ravel())[0, 1])
    assert max(agreements) > 0.99999
    assert zoo.class_names(whole) == ["0", "1", "2"]
    right = (outputs.argmax(axis=1) == labels).mean()
    assert right >= max((share.argmax(axis=1) == labels).mean() for share in shares)


def test_features_side_by_side_tell_what_neither_tells(fresh_process, tmp_path):
    """Four classes of two bits: one body sees the first, one the second. Both together know all."""
    labels = np.arange(120) % 4
    pictures = np.zeros((120, 4, 4, 1))
    pictures[:, 0] = (labels // 2)[:, None, None] * 200
    pictures[:, 3] = (labels % 2)[:, None, None] * 200
    pictures += RNG.integers(0, 30, pictures.shape)
    images = training.data.load((pictures.astype("uint8"), labels), validation=0.2)

    def body(row):
        inputs = keras.Input((4, 4, 1))
        x = keras.layers.Cropping2D(((row, 3 - row), (0, 0)))(keras.layers.Rescaling(1 / 255)(inputs))
        return keras.Model(inputs, keras.layers.Flatten()(x))

    both = fuse_features([body(0), body(3)], images)
    x, y = images.arrays("test")
    outputs, _ = fresh_process.predict(both, x, tmp_path)
    assert (outputs.argmax(axis=1) == y).mean() == 1.0
    alone = numpy(fuse_features([body(0)], images)(x))
    assert (alone.argmax(axis=1) == y).mean() < 0.7
    assert zoo.class_names(both) == images.class_names


def test_bodies_of_other_sizes_and_other_classes():
    """Their classifiers are left out; the images are made as each wants them."""
    images = data(side=8)
    small = net(1, classes=5, side=4)
    before = small.get_weights()
    colour = zoo.create("resnet20_cifar", classes=7, input_shape=(8, 8, 3), design=zoo.Design(width=0.25))
    fused = fuse_features([small, colour], images, split="val")
    x, y = images.arrays("test")
    assert fused.input_shape == (None, 8, 8, 1) and fused.output_shape == (None, 3)
    assert (numpy(fused(x)).argmax(axis=1) == y).mean() > 0.8
    for one, other in zip(before, small.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_there_must_be_something_to_fit_to():
    members = [net(0), net(1)]
    for fit in (fit_weights, stack):
        with pytest.raises(ValueError, match="Expected data with validation images.* validation=0.1"):
            fit(members, data(validation=False))
    with pytest.raises(ValueError, match="train or val, for the test is no place to fit; received 'test'"):
        fuse_features(members, data(), split="test")
    with pytest.raises(ValueError, match="list of models"):
        fuse_features(net(), data())
    with pytest.raises(ValueError, match="received an empty one"):
        fit_weights([], data())


def test_members_of_independent_labels_are_for_the_mean_alone():
    inputs = keras.Input((4, 4, 1))
    several = keras.Model(inputs, keras.layers.Dense(3, "sigmoid")(keras.layers.Flatten()(inputs)))
    for combine in (fit_weights, stack):
        with pytest.raises(ValueError, match="one class; of independent labels, Ensemble takes means"):
            combine([several], data())


def test_members_must_fit_the_data():
    with pytest.raises(ValueError, match="expects images of 4x4x1, the data are 6x6x1"):
        fit_weights([net()], data(side=6))
    with pytest.raises(ValueError, match="has 3 outputs, the data 4 classes"):
        fit_weights([net()], data(classes=4))
    with pytest.raises(ValueError, match="the labels would be mixed up"):
        fit_weights([net(names=("a", "b", "c"))], data(names=("c", "b", "a")))
    images = data()
    images.sources["val"].labels[:] = 0
    with pytest.raises(ValueError, match="every class, to learn from; there are none of 1, 2"):
        stack([net()], images)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data")
def test_a_stream_whose_validation_is_its_test():
    import tensorflow as tf

    x, y = data().arrays("train")
    parts = {split: tf.data.Dataset.from_tensor_slices((x, y)).batch(8) for split in ("train", "val")}
    with pytest.raises(ValueError, match="a test set apart from validation"):
        fit_weights([net()], training.data.load(parts))
