"""Several models as one."""

import json

import keras
import numpy as np
import pytest
from harness import draw, numpy, python
from scipy.special import expit, logsumexp, softmax

import convcraft
from convcraft import layers, zoo
from convcraft.training import Ensemble, column_models, run


def net(seed=0, names=("ant", "bee", "cow"), side=6, channels=1, activation=None):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((side, side, channels))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Dense(len(names), activation)(x)
    return layers.Model(inputs, layers.ClassNames(names)(x), name="net")


def regression():
    model = net()
    model.compile("sgd", "mse")
    return model


NET = net()
IMAGES = draw((5, 6, 6, 1), "float32", 0, 255)


@pytest.mark.parametrize("mirrors", [False, True])
def test_probabilities_are_the_mean_of_the_members(mirrors):
    members = [net(0), net(1)]
    seen = [IMAGES, IMAGES[:, :, ::-1]] if mirrors else [IMAGES]
    expected = np.mean([softmax(numpy(m(x)), axis=1) for m in members for x in seen], axis=0)
    logits = numpy(Ensemble(members, mirrors=mirrors)(IMAGES))
    np.testing.assert_allclose(softmax(logits, axis=1), expected, rtol=1e-5)
    np.testing.assert_allclose(logsumexp(logits, axis=1), 0, atol=1e-5)  # the logarithm of probabilities


@pytest.mark.parametrize("weights", [None, [0.25, 0.75]])
@pytest.mark.parametrize("names", [("ant", "bee", "cow"), ("sick",)])
def test_sigmoids_are_averaged_label_by_label(names, weights, tmp_path):
    """Of independent labels, and of two classes in one output; a loss tells what logits are."""
    first, second = net(0, names, activation="sigmoid"), net(1, names)
    second.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    both = Ensemble([first, second], weights=weights)
    shares = [numpy(first(IMAGES)), expit(numpy(second(IMAGES)))]
    expected = np.average(shares, axis=0, weights=weights)
    np.testing.assert_allclose(numpy(both(IMAGES)), expected, rtol=1e-5)
    both.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(numpy(again(IMAGES)), expected, rtol=1e-5)
    whole = Ensemble([again])  # an ensemble is a member, and still known as one of sigmoids
    np.testing.assert_allclose(numpy(whole(IMAGES)), expected, rtol=1e-5)
    both.compile("sgd", "binary_crossentropy", metrics=["binary_accuracy"])
    right = ((expected > 0.5) == 1).mean()
    measured = both.evaluate(IMAGES, np.ones((len(IMAGES), len(names))), verbose=0, return_dict=True)
    np.testing.assert_allclose(measured["binary_accuracy"], right, rtol=1e-5)


def test_one_member_and_its_mirror():
    logits = numpy(Ensemble([net()])(IMAGES))
    np.testing.assert_allclose(softmax(logits, axis=1), softmax(numpy(net()(IMAGES)), axis=1), rtol=1e-5)


def test_it_is_saved_as_one_model_with_the_cost_of_all(tmp_path):
    both = Ensemble([net(0), net(1)], mirrors=True)
    both.save(tmp_path / "m.keras")
    again = convcraft.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(numpy(again(IMAGES)), numpy(both(IMAGES)), rtol=1e-6)
    assert zoo.class_names(again) == ["ant", "bee", "cow"]
    spent = zoo.cost(both)
    assert spent.parameters == 2 * (36 * 3 + 3) and spent.multiply_adds == 4 * 36 * 3


@pytest.mark.parametrize(
    "members, message",
    [
        ([], "received an empty one"),
        (NET, "members to be a list of models, received <"),
        (None, "members to be a list of models, received None"),
        ([net(names=("ant",))], "an output for each class, received net, with one output in all"),
        ([net(), net(names=("ant", "bee"))], "one output_shape"),
        ([NET, NET], r"members 1 and 2 \(net\) have .*kernel in common"),
        ([keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(3, 1)])], "from images to logits"),
        ([keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])], "models of images"),
        ([net(activation="sigmoid"), net()], r"members of one kind, received multilabel and softmax \(net\)"),
        ([regression()], "probabilities; net is for regression"),
        ([net(), net(channels=2)], "grey and colour"),
        ([net(), net(names=("bee", "ant", "cow"))], "the same classes"),
    ],
)
def test_members_that_do_not_fit(members, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(members)


def test_weights_are_those_of_a_weighted_mean(fresh_process, tmp_path):
    """Also in the file, which leaves out a member of weight 0."""
    members, weights = [net(0), net(1), net(2)], [0.7, 0.0, 0.3]
    both = Ensemble(members, weights=weights)
    expected = 0.7 * softmax(numpy(members[0](IMAGES)), axis=1) + 0.3 * softmax(numpy(members[2](IMAGES)), axis=1)
    assert both.count_params() == 2 * (36 * 3 + 3)
    outputs, configs = fresh_process.predict(both, IMAGES, tmp_path)
    np.testing.assert_allclose(softmax(outputs, axis=1), expected, rtol=1e-5)
    np.testing.assert_allclose(logsumexp(outputs, axis=1), 0, atol=1e-5)
    kept = {config["name"]: config["scale"] for config in configs if config["name"].endswith("_weight")}
    assert kept == {"member1_weight": 0.7, "member3_weight": 0.3}


@pytest.mark.parametrize("weights", [[0.5], [0.5, 0.6], [1.5, -0.5], [float("nan"), 1], ["a", "b"], "mean"])
def test_weights_that_are_none(weights):
    with pytest.raises(ValueError, match="2 numbers from 0 on with a sum of 1"):
        Ensemble([net(0), net(1)], weights=weights)


def test_members_of_other_sizes_and_colours_see_the_same_image(fresh_process, tmp_path):
    """A grey member of 3x3 images sees the means of 2x2 blocks, by which bilinear, antialiased halving is defined here:
    of an image whose blocks are of one value."""
    big, small = net(0, side=6, channels=3), net(1, side=3)
    blocks = draw((4, 3, 3, 1), "float32", 0, 255)
    images = np.repeat(np.repeat(np.repeat(blocks, 2, 1), 2, 2), 3, 3)
    both = Ensemble([big, small])
    assert both.input_shape == (None, 6, 6, 3)
    outputs, _ = fresh_process.predict(both, images, tmp_path)
    # weights of the triangle of width 4 around a block's middle: 3/8 for each of its own two pixels, 1/8 beside them
    matrix = np.zeros((3, 6))
    for row in range(3):
        for column, weight in zip(range(2 * row - 1, 2 * row + 3), (1, 3, 3, 1), strict=True):
            if 0 <= column < 6:
                matrix[row, column] = weight
    matrix /= matrix.sum(axis=1, keepdims=True)
    shrunk = np.einsum("ij,njkc,lk->nilc", matrix, images[..., :1], matrix)
    expected = np.mean(
        [softmax(numpy(big(images)), axis=1), softmax(numpy(small(shrunk.astype("float32"))), axis=1)], axis=0
    )
    np.testing.assert_allclose(softmax(outputs, axis=1), expected, rtol=1e-3)


def test_members_that_are_shown_smaller_images_predict_as_at_inference():
    """Behind Keras's layer Resizing, batch normalization would train with each call."""
    layers_ = [keras.layers.BatchNormalization(), keras.layers.Flatten(), keras.layers.Dense(3)]
    small = keras.Sequential([keras.Input((3, 3, 1)), *layers_])
    both = Ensemble([small, keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])])
    all_at_once, one_by_one = numpy(both(IMAGES)), [numpy(both(image[None]))[0] for image in IMAGES]
    np.testing.assert_allclose(all_at_once, one_by_one, rtol=1e-5)
    np.testing.assert_array_equal(layers_[0].moving_mean, [0])


def test_grey_images_are_grey_to_members_of_colour():
    """And where no member takes grey ones, colours are weighed as everywhere (ITU-R 601)."""
    open_size = keras.Sequential(
        [keras.Input((None, None, 1)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    )
    colour = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    image = draw((1, 4, 4, 3), "float32", 0, 255)
    grey = image @ np.array([0.299, 0.587, 0.114], "float32")
    expected = np.mean(
        [softmax(numpy(m(x) * 1.0), axis=1) for m, x in ((open_size, grey[..., None]), (colour, image))], axis=0
    )
    found = softmax(numpy(Ensemble([open_size, colour])(image)), axis=1)
    np.testing.assert_allclose(found, expected, rtol=2e-2)


def test_members_that_end_in_a_softmax_and_ensembles_as_members():
    """Their probabilities are taken as they are, not through another softmax."""
    logits = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()])
    shares = keras.Sequential([*logits.layers, keras.layers.Dense(3, "softmax")])
    other = keras.Sequential(
        [keras.Input((6, 6, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    expected = (numpy(shares(IMAGES)) + softmax(numpy(other(IMAGES)), axis=1)) / 2
    both = Ensemble([Ensemble([shares]), other])
    np.testing.assert_allclose(softmax(numpy(both(IMAGES)), axis=1), expected, rtol=1e-5)


def test_columns_of_a_fractal_net_are_networks_of_their_own(tmp_path):
    """Each is what `extract_column` gives, measured anew on copies: the whole stays as it was."""
    design = zoo.Design(dropout=0.0)
    whole = zoo.create("fractalnet20", classes=3, input_shape=(16, 16, 1), filters=(4, 4), design=design)
    images = draw((24, 16, 16, 1), "float32", 0, 255)
    before = whole.get_weights()
    columns = column_models(whole)
    for number, column in enumerate(columns):
        expected = numpy(zoo.extract_column(whole, number)(images))
        np.testing.assert_allclose(numpy(column(images)), expected, rtol=1e-5, atol=1e-6)
    measured = column_models(whole, images)
    assert not np.allclose(numpy(measured[2](images)), numpy(columns[2](images)), atol=1e-4)
    for old, new in zip(before, whole.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    both = Ensemble([*measured, whole], weights=[0.25] * 4)
    both.save(tmp_path / "m.keras")
    again = convcraft.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(numpy(again(images)), numpy(both(images)), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="with FractalJoin layers"):
        column_models(net())
    with pytest.raises(ValueError, match="column_models makes copies"):
        Ensemble([zoo.extract_column(whole, 0), zoo.extract_column(whole, 1)])


RECIPE = '''
"""Two members, and what is left of them when the second is killed."""
import os, signal
from dataclasses import dataclass
import keras, numpy as np
from convcraft import layers, training

@dataclass
class Config(training.Common):
    epochs: int = 2
    strategy: str = "none"

def data(config):
    pictures = np.random.default_rng(0).integers(0, 256, (60, 6, 6, 1)).astype("uint8")
    return training.data.load((pictures, np.arange(60) % 3), batch_size=16, seed=config.seed)

class Die(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 and os.environ.get("DIE"):
            os.kill(os.getpid(), signal.SIGKILL)

def train(config, run):
    images, members = data(config), []
    for number in range(2):
        part = run.part("second") if number else run
        keras.utils.set_random_seed(number)
        inputs = keras.Input((6, 6, 1))
        x = keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
        net = layers.Model(inputs, layers.ClassNames(images.class_names)(x))
        net.compile(training.optimizer(config, part.steps(images)), training.loss(config), jit_compile=False)
        members.append(part.fit(net, images, callbacks=[Die()] if number else []))
    return run.save(training.Ensemble(members))
'''


@pytest.mark.slow
def test_a_run_of_two_models_resumes_in_the_second(tmp_path):
    (tmp_path / "pair.py").write_text(RECIPE)
    whole = run(tmp_path / "pair.py", {}, tmp_path / "whole")
    code = "import sys; from convcraft.training import run; run(sys.argv[1], {}, sys.argv[2])"
    killed = python(code, tmp_path / "pair.py", tmp_path / "run", check=False, DIE="1")
    assert killed.returncode == -9
    python(code, tmp_path / "pair.py", tmp_path / "run")
    weights = [convcraft.load_model(tmp_path / name / "model.keras").get_weights() for name in ("whole", "run")]
    assert len(weights[0]) == 4
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    assert whole.metrics["parameters"] == 2 * (36 * 3 + 3)
    starts = (tmp_path / "run" / "second" / "history.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["event"] == "start" for line in starts) == 2
