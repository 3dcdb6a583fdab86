"""What surrounds the training: checks before it, progress during it, numbers after it."""

import json
import re
import types

import keras
import numpy as np
import pytest
from harness import draw
from sklearn.metrics import balanced_accuracy_score, log_loss

from convcraft import layers, zoo
from convcraft.training import card, common, data, evaluate, requirements, rundir, runs
from convcraft.training.common import Common
from convcraft.training.progress import Progress


def images(classes=3, n=30, size=8):
    labels = np.arange(n) % classes
    pictures = draw((n, size, size, 1), "uint8", 0, 255)
    return data.load({"x_train": pictures, "y_train": labels, "x_test": pictures[:7], "y_test": labels[:7]})


def net(found, classes=None, compiled=True, shape=None):
    inputs = keras.Input(shape or found.image_shape)
    x = keras.layers.Dense(len(classes or found.class_names))(
        keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    )
    model = layers.Model(inputs, layers.ClassNames(classes or found.class_names)(x), name="net")
    if compiled:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, weighted_metrics=["accuracy"], jit_compile=False)
    return model


class TestChecks:
    def test_a_fitting_pair_passes(self):
        found = images()
        requirements.fits(net(found), found)

    def test_plain_numbers_as_class_names_pass(self):
        found = data.load((draw((30, 8, 8, 1), "uint8", 0, 255), np.array(["ant", "bee", "cow"] * 10)))
        requirements.fits(net(found, ["0", "1", "2"]), found)

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"shape": (9, 9, 1)}, "expects images of 9x9x1, the data are 8x8x1"),
            ({"shape": (8, 8, 3)}, "expects images of 8x8x3, the data are 8x8x1"),
            ({"classes": ["0", "1"]}, "2 outputs, the data 3 classes"),
            ({"classes": ["1", "0", "2"]}, "class 0 is '1', the data's is '0'"),
            ({"compiled": False}, "compiled"),
        ],
    )
    def test_others_are_refused(self, options, message):
        found = images()
        with pytest.raises(ValueError, match=re.escape(message)):
            requirements.fits(net(found, **options), found)

    def test_images_smaller_than_the_stride(self):
        found = images(size=4)
        design = zoo.Design(width=0.1, stem_stride=4)
        for model, message in (
            (zoo.create("resnet20_cifar", found.class_names, (4, 4, 1), design=design), "at least 16x16"),
            (zoo.create("resnet20_cifar", found.class_names, (None, None, 1), design=design), "at least 16x16"),
            (zoo.create("squeezenet1_1", found.class_names, (None, None, 1)), "nothing is left of 4x4x1"),
        ):
            model.compile("sgd", "sparse_categorical_crossentropy")
            with pytest.raises(ValueError, match=message):
                requirements.fits(model, found)


class TestNumbers:
    def test_score_is_scikit_learn_s(self):
        found = images(n=60)
        model = net(found)
        metrics, labels, probabilities = evaluate.score(model, found, "test")
        x, y = found.arrays("test")
        np.testing.assert_array_equal(labels, y)
        shares = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(x, verbose=0))).astype("float64")
        assert metrics["n"] == 7
        assert metrics["accuracy"] == pytest.approx((shares.argmax(1) == y).mean())
        assert metrics["loss"] == pytest.approx(log_loss(y, shares, labels=range(3)), rel=1e-5)
        np.testing.assert_allclose(probabilities, shares, atol=1e-6)

    def test_a_pipeline_that_reshuffles_is_read_once(self):
        """The user's own tf.data: labels and answers must come from one pass."""
        tf = pytest.importorskip("tensorflow")
        x = draw((40, 8, 8, 1), "float32", 0, 255)
        y = (x.mean(axis=(1, 2, 3)) > np.median(x.mean(axis=(1, 2, 3)))).astype("int32")
        found = data.load(tf.data.Dataset.from_tensor_slices((x, y)).shuffle(40).batch(8))
        model = net(found)
        metrics, labels, _ = evaluate.score(model, found, "train")
        expected = model.evaluate(x, y, verbose=0, return_dict=True)
        assert metrics["accuracy"] == pytest.approx(expected["accuracy"])
        assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-5)

    @pytest.mark.parametrize("sizes, told", [((20, 8, 2), True), ((10, 10, 8), False)])
    def test_classes_of_unequal_size_have_a_balanced_accuracy(self, sizes, told):
        labels = np.repeat(np.arange(3), sizes)
        pictures = draw((len(labels), 8, 8, 1), "uint8", 0, 255)
        found = images()
        metrics, kept = evaluate._with_pictures(net(found), data.stored.ArraySource(pictures, labels), 7)
        assert ("balanced_accuracy" in metrics) == told
        if told:
            expected = balanced_accuracy_score(labels, kept["probabilities"].argmax(axis=1))
            assert metrics["balanced_accuracy"] == pytest.approx(expected)

    def test_worst_are_mistakes_first_by_loss(self):
        probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.01, 0.99]])
        assert evaluate.worst(np.array([0, 0, 0, 0]), probabilities, 4).tolist() == [3, 1, 2, 0]
        assert evaluate.worst(np.array([0, 1, 1, 1]), probabilities, 3).tolist() == [2, 1, 0]


class TestProgress:
    def train(self, live, capsys, epochs=3):
        found = images(n=300)
        feed = found.feed("train", batch_size=8)
        model = net(found)
        model.fit(
            feed.dataset(), validation_data=found.val, epochs=epochs, verbose=0, shuffle=False,
            callbacks=[Progress(feed, feed.steps, epochs, live=live)],
        )  # fmt: skip
        return capsys.readouterr().out

    def test_one_line_an_epoch_in_a_log(self, capsys):
        lines = self.train(False, capsys).splitlines()
        epochs = [line for line in lines if line.startswith("epoch")]
        assert len(epochs) == 3 and len(lines) == 4
        assert re.search(r"^About .* to go, at \d+ images/s", lines[0]), "the expected total time, after a few steps"
        assert re.search(r"^epoch 1/3 .*loss .*val_accuracy .*rate 0.01 .*images/s .* left  best so far$", epochs[0])
        assert "left" not in epochs[-1]
        assert "\r" not in "".join(lines) and "\x1b" not in "".join(lines)

    def test_a_bar_in_a_terminal(self, capsys):
        out = self.train(True, capsys)
        assert len(re.findall(r"epoch \d/3  ", out)) >= 3


def test_a_torn_history_line_is_left_out(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"event": "start"}\n{"event": "epoch", "epoch": 0}\n{"event": "epo')
    assert rundir.read_history(path) == ([{"event": "start"}], [{"event": "epoch", "epoch": 0}])


def test_atomic_writing_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "file"
    rundir.write_atomically(path, lambda file: file.write(b"old"))

    def fails(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError):
        rundir.write_atomically(path, fails)
    assert path.read_bytes() == b"old"


class TestDirectories:
    def config(self, **changes):
        return Common(**changes)

    def finished(self, directory, config):
        rundir.write_json(directory / "config.json", {"recipe": "r", "config": vars(config)})
        rundir.write_json(directory / "metrics.json", {})

    def test_default_directories_are_numbered(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        config = self.config()
        assert rundir.choose("", "r", config) == tmp_path / "runs" / "r"
        self.finished(tmp_path / "runs" / "r", config)
        assert rundir.choose("", "r", config) == tmp_path / "runs" / "r-2"

    def test_an_unfinished_run_is_taken_up_again(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        self.finished(tmp_path / "runs" / "r", self.config())
        (tmp_path / "runs" / "r" / "metrics.json").unlink()
        assert rundir.choose("", "r", self.config()).name == "r"
        assert rundir.choose("", "r", self.config(seed=1)).name == "r-2"

    @pytest.mark.parametrize(
        "changes, recipe, message",
        [
            ({"seed": 3}, "r", "seed=0 there, 3 here"),
            ({}, "other", "the recipe r"),
        ],
    )
    def test_another_run_is_not_overwritten(self, tmp_path, changes, recipe, message):
        self.finished(tmp_path / "run", self.config())
        with pytest.raises(ValueError, match=message):
            rundir.choose(tmp_path / "run", recipe, self.config(**changes))

    def test_a_folder_of_something_else_is_not_touched(self, tmp_path):
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(ValueError, match="files of no run, such as thesis.tex"):
            rundir.choose(tmp_path, "r", self.config())
        with pytest.raises(ValueError, match="it is a file"):
            rundir.choose(tmp_path / "thesis.tex", "r", self.config())

    def test_time_limit_and_strategy_may_change(self, tmp_path):
        self.finished(tmp_path / "run", self.config())
        changed = self.config(time_limit=5.0, strategy="none")
        assert rundir.choose(tmp_path / "run", "r", changed) == tmp_path / "run"


def test_card_states_what_the_run_measured(tmp_path):
    described = {
        "recipe": "r", "convcraft": "0.1.0", "command": "convcraft train r", "config": {"epochs": 1},
        "model": {"name": "net", "parameters": 1234567},
        "data": {"name": "digits", "sha256": "abc", "classes": ["0", "1"], "image_shape": [8, 8, 1],
                 "counts": {"train": {"0": 3, "1": 4}, "test": {"0": 1, "1": 1}}},
    }  # fmt: skip
    environment = {"devices": ["CPU"], "processor": "p", "cores": 2, "backend": "b", "keras": "3", "commit": None}
    start = {"event": "start", "environment": environment}
    rundir.write_json(tmp_path / "config.json", described)
    test = {"accuracy": 0.98765, "loss": 0.5, "n": 2}
    rundir.write_json(tmp_path / "metrics.json", {"test": test, "seconds": 12.0, "model_sha256": "def"})
    (tmp_path / "history.jsonl").write_text(json.dumps(start) + "\n" + json.dumps({"event": "epoch"}) + "\n")
    text = card.write(tmp_path).read_text()
    for fact in ("98.77 %", "1,234,567", "7 train, 2 test", "convcraft train r", "12 s", "abc", "def", "8x8x1"):
        assert fact in text, fact
    assert "None" not in text and "TBD" not in text


@pytest.mark.parametrize("precision", common.PRECISIONS)
def test_precision_is_that_of_the_model_alone(precision, tmp_path):
    """Under `run.scope()` layers compute in it; augmentation, which is made outside, and later models do not."""
    run = runs.Run(tmp_path, Common(precision=precision, output=str(tmp_path)), "r", "command")
    with run.scope():
        model = net(images())
    dense = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    assert dense.compute_dtype == precision.removeprefix("mixed_")
    assert dense.variable_dtype == "float32" and keras.backend.standardize_dtype(model.output.dtype) == "float32"
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == (precision == "mixed_float16")
    assert keras.layers.Dense(1).compute_dtype == "float32", "the policy is as it was"


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision to be one of float32, mixed_bfloat16, mixed_float16; received"):
        common.check(Common(precision="half"))


def test_recipes_must_call_fit(tmp_path):
    from convcraft.training import loop

    module = types.SimpleNamespace(__name__=__name__, __file__=__file__, train=lambda config, run: None)
    with pytest.raises(ValueError, match="expected train"):
        loop.execute(module, Common(strategy="none"), tmp_path / "run")
