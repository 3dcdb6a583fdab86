"""`convcraft predict`, `evaluate` and `export`: what a trained model says of pictures, measured against other tools."""

import argparse
import csv
import hashlib
import json
import pathlib
import statistics

import keras
import numpy as np
import pytest
from harness import BACKEND, draw
from PIL import Image
from scipy import special, stats

import convcraft
from convcraft import cli, layers, sources, training, use_commands, zoo
from convcraft.training import evaluate, exporting, heads, imagenet_names, monte_carlo, predict
from convcraft.training.tuning.preprocessing import INPUTS

tensorflow_only = pytest.mark.skipif(BACKEND != "tensorflow", reason="exports from TensorFlow")


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, "uint8")).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    """Six pictures in folders within folders, one of them broken, and what is no picture."""
    for number, name in enumerate(("b.png", "a/c.JPG", "a/deep/d.webp", "z.bmp", "e.gif")):
        save(tmp_path / "photos" / name, draw((20 + number, 30, 3), high=255, seed=number))
    folder = tmp_path / "photos"
    (folder / "a" / "cut.png").write_bytes((folder / "b.png").read_bytes()[:200])
    (folder / "a" / "notes.txt").write_text("no picture")
    save(folder / ".thumbnails" / "t.png", np.zeros((4, 4, 3)))
    save(folder / ".hidden.png", np.zeros((4, 4, 3)))
    return folder


def linear(outputs=3, activation=None, shape=(8, 8, 3), extra=()):
    """Images' means through a dense layer of drawn weights."""
    x = inputs = keras.Input(shape)
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    for layer in extra:
        x = layer(x)
    x = keras.layers.Dense(outputs, activation=activation, name="head")(x)
    model = keras.Model(inputs, x, name="means")
    model.get_layer("head").set_weights([draw((shape[-1], outputs), low=-5, high=5), draw((outputs,), low=-1, high=1)])
    return model


def by_hand(model, path):
    """The outputs before the last activation, of NumPy."""
    picture = np.asarray(Image.open(path).convert("RGB"), "float64")
    kernel, bias = (np.asarray(w, "float64") for w in model.get_layer("head").get_weights())
    return picture.mean((0, 1)) / 255 @ kernel + bias


# which pictures


def test_folders_are_walked(photos):
    found = use_commands.picture_files([str(photos), str(photos / "a" / "notes.txt")])
    names = [path.relative_to(photos).as_posix() for path in found]
    assert names == ["b.png", "e.gif", "z.bmp", "a/c.JPG", "a/cut.png", "a/deep/d.webp", "a/notes.txt"]


def test_patterns_that_no_shell_has_expanded(photos):
    found = [use_commands.picture_files([str(photos / pattern)]) for pattern in ("*.gif", "**/*.png", "a*")]
    names = [[path.relative_to(photos).as_posix() for path in paths] for paths in found]
    assert names == [["e.gif"], ["a/cut.png", "b.png"], ["a/c.JPG", "a/cut.png", "a/deep/d.webp"]]
    with pytest.raises(FileNotFoundError, match="no picture or folder"):
        use_commands.picture_files([str(photos / "*.xyz")])


def test_evaluate_tells_what_it_leaves_out(photos, tmp_path, capsys):
    for name in ("b", "a"):
        for number in range(5):
            save(tmp_path / "labelled" / name / f"{number}.png", draw((8, 8, 3), high=255, seed=number))
    (tmp_path / "labelled" / "a" / "cut.png").write_bytes((photos / "a" / "cut.png").read_bytes())
    linear(2, "softmax").save(tmp_path / "m.keras")
    assert cli.main(["evaluate", str(tmp_path / "m.keras"), "--data", str(tmp_path / "labelled")]) == 0
    said = capsys.readouterr()
    assert "a/cut.png: " in said.err and "--all measures them, too" in said.err and "train" not in said.out


# what outputs mean


HEADS = [
    ("softmax", None, "softmax", special.softmax),
    ("sigmoid", None, "multilabel", special.expit),
    (None, "sparse_categorical_crossentropy", "softmax", special.softmax),
    (None, keras.losses.CategoricalCrossentropy(from_logits=True), "softmax", special.softmax),
    (None, keras.losses.BinaryCrossentropy(from_logits=True), "multilabel", special.expit),
    (None, "mse", "regression", np.asarray),
    (None, keras.losses.Huber(), "regression", np.asarray),
]


@pytest.mark.parametrize("activation, loss, kind, function", HEADS, ids=lambda value: str(value)[:20])
def test_heads(activation, loss, kind, function, tmp_path):
    model = linear(activation=activation)
    if loss is not None:
        model.compile(loss=loss)
    path = save(tmp_path / "a.png", draw((8, 8, 3), high=255))
    assert heads.find(model).kind == kind
    (found,) = predict.pictures(model, [path])
    assert found.shares == (kind != "regression") and found.entropy is None
    expected = function(by_hand(model, path))
    values = {guess.index: guess.value for guess in found.guesses}
    np.testing.assert_allclose([values[number] for number in range(3)], expected, rtol=1e-4)
    if kind != "regression":
        assert [guess.index for guess in found.guesses] == np.argsort(-expected).tolist()


def test_heads_of_the_zoo():
    small = zoo.Design(width=0.125)
    options = {"classes": ["ant", "bee"], "design": small}
    assert heads.find(zoo.create("resnet20_cifar", **options)) == heads.Head("softmax", True)
    labels = zoo.create("resnet20_cifar", head="multilabel", **options)
    assert heads.find(labels, "multilabel") == heads.Head("multilabel", True)
    labels.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    assert heads.find(labels).kind == "multilabel"
    for model in (zoo.create("resnet20_cifar", head=head, **options) for head in ("none", "regression")):
        with pytest.raises(ValueError, match="Nothing tells what .* Add --head softmax"):
            heads.find(model)
    with pytest.raises(ValueError, match="gives a map of classes"):
        heads.find(zoo.create("water_unet", classes=2, input_shape=(32, 32, 3), design=small))
    first, second = (zoo.create("resnet20_cifar", name=name, **options) for name in ("first", "second"))
    both = keras.ops.softmax(first(first.input)) + keras.ops.softmax(second(first.input))
    vote = keras.Model(first.input, layers.ClassNames(["ant", "bee"])(keras.ops.log(both / 2)))
    assert heads.find(vote) == heads.Head("softmax", True)
    shares = keras.Model(first.input, layers.ClassNames(["ant", "bee"])(keras.ops.softmax(first(first.input))))
    assert heads.find(shares) == heads.Head("softmax", False)
    inner = linear(activation="softmax")
    assert heads.find(keras.Sequential([keras.Input((8, 8, 3)), inner])) == heads.Head("softmax", False)


# reading


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_batches_broken_files_and_order(photos, batch_size):
    model = linear(shape=(None, None, 3), activation="softmax")
    paths = use_commands.picture_files([str(photos)])
    found = list(predict.pictures(model, paths, 1, batch_size=batch_size))
    assert [each.path for each in found] == paths
    assert [each.path.name for each in found if each.error] == ["cut.png"]
    for each in found:
        if not each.error and each.path.suffix != ".gif":
            expected = special.softmax(by_hand(model, each.path))
            assert each.guesses[0].index == expected.argmax()
            np.testing.assert_allclose(each.guesses[0].value, expected.max(), rtol=1e-4)


def test_grey_and_other_channels(tmp_path):
    path = save(tmp_path / "a.png", np.full((9, 7, 3), (250, 10, 40)))
    model = linear(shape=(8, 8, 1), activation="softmax")
    (found,) = predict.pictures(model, [path], 3)
    luma = 0.299 * 250 + 0.587 * 10 + 0.114 * 40
    kernel, bias = model.get_layer("head").get_weights()
    expected = special.softmax(round(luma) / 255 * kernel[0] + bias)
    np.testing.assert_allclose(sorted(guess.value for guess in found.guesses), np.sort(expected), rtol=1e-4)
    with pytest.raises(ValueError, match="takes 2 channels"):
        list(predict.pictures(linear(shape=(8, 8, 2), activation="softmax"), [path]))


def test_sizes(tmp_path):
    small = save(tmp_path / "small.png", draw((6, 6, 3), high=255))
    large = save(tmp_path / "large.png", draw((40, 48, 3), high=255))
    model = zoo.create("vgg11", ["a", "b"], (None, None, 3), design=zoo.Design(width=0.02, head_layers=(4,)))
    found = list(predict.pictures(model, [small, save(tmp_path / "fits.png", draw((230, 224, 3), high=255)), large]))
    assert [bool(each.error) for each in found] == [True, False, True]
    assert found[0].error.startswith("vgg11 cannot take 6x6 pixels (")
    assert not list(predict.pictures(model, [small], size=(224, 224)))[0].error
    with pytest.raises(ValueError, match="takes 8x8 only"):
        list(predict.pictures(linear(activation="softmax"), [small], size=(9, 9)))


def test_outputs_that_are_no_numbers(tmp_path):
    model = linear(activation="softmax")
    model.get_layer("head").set_weights([np.full((3, 3), np.nan), np.zeros(3)])
    with pytest.raises(ValueError, match="diverged"):
        list(predict.pictures(model, [save(tmp_path / "a.png", draw((8, 8, 3), high=255))]))


# dropout at inference


def test_samples_have_the_statistics_of_dropout(tmp_path):
    """Each mean is kept (and doubled) by a toss: mean x, deviation x. Normalization must stay as at inference."""
    norm = keras.layers.BatchNormalization(epsilon=0.0, name="norm")
    model = linear(extra=[norm, keras.layers.Dropout(0.5)])
    norm.set_weights([np.ones(3), np.zeros(3), np.full(3, 0.1), np.full(3, 4.0)])
    model.get_layer("head").set_weights([np.eye(3), np.zeros(3)])
    before = [weight.copy() for weight in model.get_weights()]
    path = save(tmp_path / "a.png", np.full((8, 8, 3), (51, 102, 204)))
    x = (np.array([0.2, 0.4, 0.8]) - 0.1) / 2
    keras.utils.set_random_seed(0)
    outputs = keras.ops.convert_to_numpy(
        monte_carlo.with_dropout(model)(np.full((200, 8, 8, 3), (51, 102, 204), "float32"), training=False)
    )
    assert np.isclose(outputs[..., None], [0 * x[0], *2 * x], atol=1e-5).any(-1).all(), "kept or dropped, nothing else"
    (found,) = predict.pictures(model, [path], head="regression", samples=400)
    for guess in found.guesses:
        assert abs(guess.value - x[guess.index]) < 4 * x[guess.index] / 400**0.5
        assert abs(guess.std - x[guess.index]) < 0.1 * x[guess.index]
    assert all((one == other).all() for one, other in zip(before, model.get_weights(), strict=True))
    (plain,) = predict.pictures(model, [path], head="regression")
    np.testing.assert_allclose([guess.value for guess in plain.guesses], x, rtol=1e-5)


def test_deviation_of_two_samples(tmp_path, monkeypatch):
    """Of the sample, with n - 1, as the standard library has it."""

    class Scripted:
        outputs = iter([[[1.0, 5.0, 2.0]], [[4.0, 5.0, 0.0]]])

        def predict_on_batch(self, images):
            return np.array(next(self.outputs))

    monkeypatch.setattr(predict, "with_dropout", lambda model: Scripted())
    path = save(tmp_path / "a.png", draw((8, 8, 3), high=255))
    (found,) = predict.pictures(linear(), [path], head="regression", samples=2)
    assert [guess.value for guess in found.guesses] == [2.5, 5.0, 1.0]
    expected = [statistics.stdev(pair) for pair in ((1, 4), (5, 5), (2, 0))]
    np.testing.assert_allclose([guess.std for guess in found.guesses], expected)


def test_samples_of_shares(tmp_path):
    """Mean probabilities add up to 1; the entropy is theirs, as SciPy has it."""
    model = zoo.create("squeezenet_cifar", ["a", "b", "c"], design=zoo.Design(width=0.25, normalization="batch"))
    model.get_layer("head").set_weights([draw(w.shape, low=-9, high=9) for w in model.get_layer("head").get_weights()])
    path = save(tmp_path / "a.png", draw((32, 32, 3), high=255))
    (found,) = predict.pictures(model, [path], 3, samples=10)
    shares = [guess.value for guess in found.guesses]
    assert abs(sum(shares) - 1) < 1e-6 and max(guess.std for guess in found.guesses) > 0
    np.testing.assert_allclose(found.entropy, stats.entropy(shares), rtol=1e-6)
    with pytest.raises(ValueError, match="has neither, and each sample would be the same"):
        list(predict.pictures(linear(activation="softmax"), [path], samples=3))


def test_entropy_of_labels():
    shares = np.array([0.5, 0.1])
    expected = sum(stats.entropy([p, 1 - p]) for p in shares)
    assert np.isclose(heads.Head("multilabel", False).entropy(shares), expected)
    assert heads.Head("softmax", False).entropy(np.array([1.0, 0.0])) == 0


def test_samples_reach_nested_models(tmp_path):
    inner = linear(extra=[keras.layers.Dropout(0.5)], activation="softmax")
    model = keras.Sequential([keras.Input((8, 8, 3)), inner])
    (found,) = predict.pictures(model, [save(tmp_path / "a.png", draw((8, 8, 3), high=255))], samples=5)
    assert found.guesses[0].std > 0


# the command line


@pytest.fixture
def file(tmp_path):
    model = zoo.create("squeezenet_cifar", ["ant, red", "bee"], design=zoo.Design(width=0.125))
    model.save(tmp_path / "net.keras")
    return tmp_path / "net.keras"


def test_predict_command(file, photos, capsys):
    assert cli.main(["predict", str(file), str(photos / "b.png"), "--top", "1"]) == 0
    assert capsys.readouterr().out.startswith(f"{photos / 'b.png'}  ")
    assert cli.main(["predict", str(file), str(photos), "--format", "json"]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and said.err.startswith(f"convcraft: {photos / 'a' / 'cut.png'}: ")
    rows = json.loads(said.out)
    assert len(rows) == 5 and {row["class"] for row in rows[0]["predictions"]} == {"ant, red", "bee"}
    assert abs(sum(row["probability"] for row in rows[0]["predictions"]) - 1) < 1e-6
    words = ["predict", str(file), str(photos), "--format", "csv", "--samples", "2", "--output", f"{file.parent}/o.csv"]
    assert cli.main(words) == 1
    with open(file.parent / "o.csv", newline="") as table:
        lines = list(csv.DictReader(table))
    assert len(lines) == 10 and list(lines[0]) == ["file", "rank", "class", "index", "probability", "std", "entropy"]
    assert lines[0]["class"] in ("ant, red", "bee") and lines[0]["rank"] == "1"


def test_numbers_are_not_names(tmp_path, photos, capsys):
    """Of a file whose classes have numbers only, "class 1" is said, and no name in JSON."""
    zoo.create("squeezenet_cifar", 2, design=zoo.Design(width=0.125)).save(tmp_path / "n.keras")
    cli.main(["predict", str(tmp_path / "n.keras"), str(photos / "b.png"), "--top", "1"])
    assert "  class " in capsys.readouterr().out
    cli.main(["predict", str(tmp_path / "n.keras"), str(photos / "b.png"), "--format", "json"])
    assert [row["class"] for row in json.loads(capsys.readouterr().out)[0]["predictions"]] == [None, None]


def test_names_of_imagenet(tmp_path, monkeypatch, capsys):
    index = {"0": ["n01", "tench"], "1": ["n02", "great_shark"], "2": ["n03", "crane"], "3": ["n04", "crane"]}
    text = json.dumps(index).encode()
    home = tmp_path / "weights"
    home.mkdir()
    (home / "imagenet_class_index.json").write_bytes(text)
    monkeypatch.setenv("CONVCRAFT_HOME", str(tmp_path))
    published = imagenet_names.Published(imagenet_names.INDEX.url, f"md5:{hashlib.md5(text).hexdigest()}")
    monkeypatch.setattr(imagenet_names, "INDEX", published)
    names = ["tench", "great shark", "crane (n03)", "crane (n04)"]
    assert imagenet_names.imagenet_names() == names
    built = []
    monkeypatch.setattr(zoo, "create", lambda *words, **options: built.append((words, options)))
    sources.load(sources.find("squeezenet1_1:imagenet"))
    monkeypatch.setenv("CONVCRAFT_WEIGHTS_URL", "http://127.0.0.1:9")
    (home / "imagenet_class_index.json").unlink()
    sources.load(sources.find("SqueezeNet1_1:imagenet"))
    options = {"weights": "imagenet"}
    assert built == [(("squeezenet1_1", names), options), (("squeezenet1_1", None), options)]
    assert "The classes have numbers in place of names. http://127.0.0.1:9" in capsys.readouterr().err


def test_names_index_is_that_of_keras():
    source = pathlib.Path(keras.applications.imagenet_utils.__file__).parents[2]
    text = (source / "src" / "applications" / "imagenet_utils.py").read_text().replace('"\n    "', "")
    assert imagenet_names.INDEX.url in text and imagenet_names.INDEX.digest.removeprefix("md5:") in text


def test_weights_of_a_file(tmp_path, photos, capsys):
    """All of them, also the classifier's: the answers are the model's own."""
    model = zoo.create("squeezenet_cifar", 4, weights=None)
    for layer in model.layers:
        layer.set_weights([w + draw(w.shape, low=-0.2, high=0.2, seed=len(w.shape)) for w in layer.get_weights()])
    model.save_weights(tmp_path / "w.weights.h5")
    model.save(tmp_path / "w.keras")
    picture = str(photos / "b.png")
    (expected,) = predict.pictures(model, [photos / "b.png"], 4)
    for file in ("w.weights.h5", "w.keras"):
        words = ["predict", f"squeezenet_cifar:{tmp_path / file}", picture, "--top", "4", "--format", "json"]
        assert cli.main(words) == 0
        (found,) = json.loads(capsys.readouterr().out)
        assert [each["index"] for each in found["predictions"]] == [each.index for each in expected.guesses]
        shares = [each["probability"] for each in found["predictions"]]
        np.testing.assert_allclose(shares, [each.value for each in expected.guesses], rtol=1e-5)


def test_weights_without_a_classifier_are_refused(tmp_path, photos, capsys):
    """It would be drawn at random, and answer all the same."""
    body = zoo.create("squeezenet_cifar", head="none")
    body.save(tmp_path / "body.keras")
    assert cli.main(["predict", f"squeezenet_cifar:{tmp_path}/body.keras", str(photos / "b.png")]) == 2
    said = capsys.readouterr()
    assert not said.out and "lacks weights of squeezenet_cifar: head. What" in said.err


def test_a_real_photograph(shared, capsys):
    """SqueezeNet 1.1 with ImageNet's weights sees a tench, class 0, in one."""
    weights = shared / "weights" / "squeezenet_v1.1" / "squeezenet_v1.1_from_ncnn_fp16.npz"
    photo = shared / "data" / "imagenet_sample" / "n01440764_tench.JPEG"
    assert cli.main(["predict", f"squeezenet1_1:{weights}", str(photo), "--top", "1"]) == 0
    assert "class 0 " in capsys.readouterr().out


# evaluate


def test_evaluate_any_model(tmp_path, capsys):
    """The same numbers for logits and for probabilities, and those of NumPy."""
    data = training.data.load("digits", size=8)
    x, y = data.arrays("test")
    model = linear(10, "softmax", (8, 8, 1))
    flat = keras.Model(model.inputs, model.get_layer("head")(model.layers[-2].output))
    flat.get_layer("head").activation = keras.activations.softmax
    shares = special.softmax(
        x.mean((1, 2), dtype="float64") / 255 @ model.get_layer("head").get_weights()[0].astype("float64")
        + model.get_layer("head").get_weights()[1],
        axis=1,
    )
    found = evaluate.on_data(model, "digits")["test"]
    assert found["n"] == 360 and found["accuracy"] == (shares.argmax(1) == y).mean()
    np.testing.assert_allclose(found["loss"], -np.log(shares[np.arange(360), y]).mean(), rtol=1e-4)
    model.save(tmp_path / "m.keras")
    assert cli.main(["evaluate", str(tmp_path / "m.keras"), "--data", "digits", "--all"]) == 0
    said = capsys.readouterr().out
    assert "train accuracy" in said and f"test  accuracy {found['accuracy']:.4f}" in said
    everything = list(evaluate.on_data(model, "digits", ("train", "val", "test")).values())
    assert len(everything) == 2, "digits bring no validation images, and a model may have been trained on any others"
    right = sum(round(part["accuracy"] * part["n"]) for part in everything)
    assert f"all   accuracy {right / 1797:.4f}" in said and said.endswith("n 1797\n")
    logits = linear(10, None, (None, None, 1))
    logits.compile(loss="sparse_categorical_crossentropy")
    again = evaluate.on_data(logits, "digits", size=8)["test"]
    np.testing.assert_allclose([again["accuracy"], again["loss"]], [found["accuracy"], found["loss"]], rtol=1e-4)
    with pytest.raises(ValueError, match="is for multilabel"):
        evaluate.on_data(linear(10, "sigmoid", (8, 8, 1)), "digits")


def test_a_diverged_model_recognizes_nothing(tmp_path):
    model = linear(10, None, (8, 8, 1))
    model.get_layer("head").kernel.assign(np.full((1, 10), np.nan))
    model.compile(loss="sparse_categorical_crossentropy")
    found = evaluate.on_data(model, "digits", size=0)["test"]
    assert found["accuracy"] == 0 and np.isnan(found["loss"]), "NaN's largest is class 0, which is none"


@pytest.mark.parametrize("classes", ["cba", "ca", "bd"])
def test_evaluate_on_some_of_the_classes_in_any_order(classes, tmp_path):
    """By their names: a folder's labels are its own, and a class that it lacks is a wrong answer like others."""
    shades = {"a": 10, "b": 90, "c": 200, "d": 40}
    x = np.concatenate([np.full((9, 4, 4, 3), shades[each], "uint8") for each in classes])
    x[::3] = 90  # which the model takes for a b
    y = np.repeat(np.arange(len(classes)), 9)
    np.savez(tmp_path / "some.npz", x_train=x, y_train=y, x_test=x, y_test=y, names=[*classes])
    image = keras.Input((4, 4, 3))
    near = keras.ops.mean(image, axis=(1, 2))[:, :1] - np.float32([[10, 90, 200]])
    model = keras.Model(image, keras.ops.softmax(-keras.ops.abs(near)))
    model = keras.Model(image, layers.ClassNames([*"abc"])(model.output))
    said = []
    if "d" in classes:
        with pytest.raises(ValueError, match="has 3 outputs, the data 2 classes"):
            evaluate.on_data(model, tmp_path / "some.npz")
        return
    found = evaluate.on_data(model, tmp_path / "some.npz", ["test"], say=said.append)["test"]
    expected = [np.abs(np.array([10, 90, 200]) - shade).argmin() for shade in x[:, 0, 0, 0]]
    right = np.mean([each == "abc".index(classes[label]) for each, label in zip(expected, y, strict=True)])
    assert found["accuracy"] == pytest.approx(right) and 0.5 < right < 1
    assert ("2 of the model's 3 classes are in the data; it may answer any of them." in said) == (len(classes) == 2)


@pytest.mark.parametrize("known", [False, True], ids=["own", "keras.applications"])
def test_models_without_preprocessing(known, tmp_path, photos, capsys):
    """What keras.applications expects is known by name; of other models the user says it, or is told."""
    if known:
        model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=3)
    else:
        image = x = keras.Input((32, 32, 3))
        x = keras.layers.Concatenate()([keras.layers.Conv2D(4, 3, padding="same")(x), x])  # the image in a list, too
        x = keras.layers.Dense(3)(keras.layers.GlobalMaxPooling2D()(x))
        model = keras.Model(image, x)
        model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for layer in model.layers:
        layer.set_weights([w + draw(w.shape, low=-0.1, high=0.1, seed=len(w.shape)) for w in layer.get_weights()])
    model.save(tmp_path / "m.keras")
    words = ["predict", str(tmp_path / "m.keras"), str(photos / "b.png"), "--format", "json"]
    read = predict.reader(model, None)(photos / "b.png")[None]
    outputs = model.predict(read / 127.5 - 1, verbose=0)[0]
    expected = outputs if known else special.softmax(outputs)
    assert cli.main([*words, *([] if known else ["--preprocessing", "tf"])]) == 0
    said = capsys.readouterr()
    found = {each["index"]: each["probability"] for each in json.loads(said.out)[0]["predictions"]}
    np.testing.assert_allclose([found[index] for index in range(3)], expected, rtol=1e-4)
    assert "'tf' preprocessing added" in said.err
    if not known:
        assert cli.main(words) == 0
        assert "it is fed raw ones, 0-255" in capsys.readouterr().err


@pytest.mark.parametrize("logits", [False, True])
def test_one_output_of_two_classes(logits, tmp_path, photos, capsys):
    """Keras's cats and dogs: the output is how likely the second class is."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(1, None if logits else "sigmoid")(x))
    model.layers[-1].set_weights([np.float32([[9], [0], [0]]), np.float32([-4])])
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=logits))
    model.save(tmp_path / "m.keras")
    for number in range(20):
        red = (number % 2) * 200 + number
        save(tmp_path / "pets" / ("cat", "dog")[number % 2] / f"{number}.png", np.full((8, 8, 3), (red, 60, 60)))
    file = tmp_path / "pets" / "dog" / "19.png"
    share = special.expit(9 * 219 / 255 - 4)
    assert cli.main(["predict", str(tmp_path / "m.keras"), str(file), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)[0]["predictions"]
    assert [each["index"] for each in found] == [1, 0]
    np.testing.assert_allclose([each["probability"] for each in found], [share, 1 - share], rtol=1e-4)
    assert cli.main(["evaluate", str(tmp_path / "m.keras"), "--data", str(tmp_path / "pets"), "--all"]) == 0
    assert "all   accuracy 1.0000" in capsys.readouterr().out


def test_probabilities_are_not_made_probabilities_again():
    """Behind the last softmax may stand layers that change nothing; and the loss tells, too."""
    image = keras.Input((4, 4, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    one, two = (keras.layers.Dense(3, "softmax")(x) for _ in range(2))
    mean = keras.Model(image, keras.layers.Average()([one, two]))
    assert heads.find(mean) == heads.Head("softmax", False)
    shaped = keras.Model(image, keras.layers.Reshape((3,))(keras.layers.Softmax()(keras.layers.Dense(3)(x))))
    assert heads.find(shaped) == heads.Head("softmax", False)
    own = keras.Model(image, keras.layers.Maximum()([one, two]))
    own.compile(loss="sparse_categorical_crossentropy")
    assert heads.find(own) == heads.Head("softmax", False)
    own.compile(loss=layers.BootstrappedCrossentropy())
    assert heads.find(own) == heads.Head("softmax", True)


def test_the_command_line_offers_the_preprocessing_that_there_is():
    """It names them itself, for its help needs no Keras."""
    parser = argparse.ArgumentParser()
    use_commands.export_arguments(parser)
    assert parser._option_string_actions["--preprocessing"].choices == INPUTS


def test_evaluate_where_numbers_stand_for_names(tmp_path):
    """Folders "0", "1", "10", "11", "2" … are sorted as text: a model that was built for 12 classes learned them so."""
    for label in range(12):
        for number in range(2):
            save(tmp_path / "numbers" / str(label) / f"{number}.png", np.full((4, 4, 3), 20 * label))
    numbers = [str(number) for number in range(12)]
    image = keras.Input((4, 4, 3))
    for order, named in ((sorted(numbers), False), (numbers, True)):  # those of a run are names
        near = keras.ops.mean(image, axis=(1, 2))[:, :1] - np.float32([[20 * int(each) for each in order]])
        model = keras.Model(image, layers.ClassNames(numbers)(keras.ops.softmax(-keras.ops.abs(near))))
        assert evaluate.on_data(model, tmp_path / "numbers", named=named)["test"]["accuracy"] == 1.0
        assert evaluate.on_data(model, tmp_path / "numbers", named=not named)["test"]["accuracy"] < 0.5


# export


@tensorflow_only
@pytest.mark.parametrize("name", ["m", pytest.param("m.onnx", marks=pytest.mark.slow), "m.tflite"])
def test_export(name, tmp_path, capsys):
    if name.endswith(".onnx"):
        pytest.importorskip("tf2onnx"), pytest.importorskip("onnxruntime")
        model = zoo.create("squeezenet_cifar", ["ant", "bee"], design=zoo.Design(width=0.25, normalization="batch"))
    else:
        tiny = linear(2, shape=(32, 32, 3))
        model = keras.Model(tiny.inputs, layers.ClassNames(["ant", "bee"])(tiny.outputs[0]))
    model.save(tmp_path / "m.keras")
    assert cli.main(["export", str(tmp_path / "m.keras"), str(tmp_path / name)]) == 0
    assert "On 4 pictures its outputs differ" in capsys.readouterr().out
    x = draw((3, 32, 32, 3), high=255, seed=1)
    runtime = {"m": "savedmodel", "m.onnx": "onnx", "m.tflite": "tflite"}[name]
    y = model.predict(x, verbose=0)
    np.testing.assert_allclose(exporting.RUNTIMES[runtime](tmp_path / name, x), y, atol=1e-4 * np.abs(y).max())
    beside = tmp_path / name / "classes.txt" if name == "m" else tmp_path / f"{name}.classes.txt"
    assert beside.read_text() == "ant\nbee\n"
    with pytest.raises(FileExistsError):
        exporting.export(model, tmp_path / name)


@tensorflow_only
@pytest.mark.parametrize("wrong", [lambda y: y + 0.01 * np.abs(y).max(), lambda y: y * np.nan, lambda y: 1 / 0])
def test_an_export_that_is_off_leaves_nothing(wrong, tmp_path, monkeypatch):
    right = exporting.RUNTIMES["savedmodel"]
    monkeypatch.setitem(exporting.RUNTIMES, "savedmodel", lambda path, images: wrong(right(path, images)))
    with pytest.raises(ValueError, match=r"is not written"):
        exporting.export(linear(activation="softmax"), tmp_path / "m")
    assert not list(tmp_path.iterdir())


@tensorflow_only
def test_a_picture_to_compare_on_that_is_broken_is_named(tmp_path, capsys):
    linear(activation="softmax").save(tmp_path / "m.keras")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    words = ["export", str(tmp_path / "m.keras"), str(tmp_path / "m")]
    assert cli.main([*words, "--pictures", str(tmp_path / "broken.jpg")]) == 2
    assert "broken.jpg: not an image" in capsys.readouterr().err
    assert cli.main([*words, "--tolerance", "nan"]) == 2
    assert "Expected --tolerance to be at least 0; received nan." in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_photographs_are_real(tmp_path):
    for shape in ((32, 24, 3), (None, None, 1), (16, 16, 2)):
        found = exporting.photographs(linear(shape=shape))
        assert found.shape == (4, shape[0] or 224, shape[1] or 224, shape[2])
        assert found.std() > 20 and found.min() >= 0 and found.max() <= 255
        assert not np.allclose(found[0], found[1])


def test_formats_and_backends(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="exports tflite from tensorflow, not from jax"):
        exporting.kind_of(pathlib.Path("a.tflite"), None)


def test_public_name():
    assert convcraft.training.export is exporting.export
