"""Folds of the training images, runs on each of them with each setting, and what they say."""

import json
import pathlib
import types

import keras
import numpy as np
import pytest
from harness import numpy, python
from scipy.special import softmax
from sklearn.model_selection import StratifiedKFold

from convcraft import zoo
from convcraft.training import common, cross_validate, data, loop, presets, processes
from convcraft.training.data import splits
from convcraft.training.data.arrays import read_arrays
from convcraft.training.data.splits import fold_of
from convcraft.training.ensembles import cross_validation, grids
from convcraft.training.ensembles.cross_validation import CrossValidated, Setting

TINY = pathlib.Path(__file__).parents[1] / "tiny_recipe.py"
RECIPE = '''
"""A line that is fitted to digits of 8x8 pixels, unless its process is killed."""
import os, signal
from dataclasses import dataclass
import keras
from convcraft import layers, training

@dataclass
class Config(training.Common):
    epochs: int = 4
    image_size: int = 8
    batch_size: int = 128
    strategy: str = "none"

def data(config):
    return training.load(config)

class Die(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 and os.environ.get("DIE") in ("", self.where):
            os.kill(os.getpid(), signal.SIGKILL)

def train(config, run):
    images, die = data(config), Die()
    die.where = f"{config.learning_rate} {config.data}"
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    net = layers.Model(inputs, layers.ClassNames(images.class_names)(keras.layers.Dense(10)(x)))
    net.compile(training.optimizer(config, run.steps(images)), training.loss(config),
                weighted_metrics=["accuracy"], jit_compile=False)
    return run.fit(net, images, callbacks=[die])
'''


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe's file."""
    path = tmp_path_factory.mktemp("recipe") / "small.py"
    path.write_text(RECIPE)
    return path


def test_folds_are_scikit_learns_and_the_test_images_stay_apart():
    whole = data.load("digits", size=8, validation=0)
    x, y = whole.arrays("train")
    seen = []
    for number, (rest, held) in enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(y, y), 1):
        fold = data.load(f"digits@{number}/5", size=8, seed=number)  # whatever the seed
        for split, rows in (("train", rest), ("val", held)):
            images, labels = fold.arrays(split)
            np.testing.assert_array_equal(images, x[rows])
            np.testing.assert_array_equal(labels, y[rows])
        np.testing.assert_array_equal(fold.arrays("test")[0], whole.arrays("test")[0])
        assert fold.sha256 == whole.sha256
        seen += held.tolist()
    assert sorted(seen) == list(range(len(y)))
    assert "val: fold 5 of 5" in str(fold.report)


def test_what_names_a_fold(tmp_path):
    assert fold_of("photos@2/5") == ("photos", (2, 5)) and fold_of("photos") == ("photos", None)
    assert fold_of(3) == (3, None)
    (tmp_path / "p@1" / "2").mkdir(parents=True)
    assert fold_of(f"{tmp_path}/p@1/2")[1] is None  # a folder that is called so
    for bad in ("a@0/5", "a@6/5", "a@1/1"):
        with pytest.raises(ValueError, match="DATA@NUMBER/FOLDS"):
            fold_of(bad)
    assert not presets.can_mirror("digits@1/5") and presets.can_mirror("cifar10@1/5")


def test_a_path_with_a_fold_holds_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("mine.npz").write_bytes(b"")
    assert common.resolve(common.Common(data="mine.npz@1/3")).data == f"{tmp_path / 'mine.npz'}@1/3"
    assert common.resolve(common.Common(data="digits@1/3")).data == "digits@1/3"


def test_classes_that_are_too_small_for_folds():
    images, labels = np.zeros((20, 4, 4, 1), "uint8"), np.repeat([0, 1], [17, 3])
    arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    loaded = read_arrays(arrays, None, None)
    with pytest.raises(ValueError, match="at least 4 training images of each class for 4 folds, received 3 of '1'"):
        splits.complete(loaded, 0.1, 0, (1, 4))
    splits.complete(loaded, 0.1, 0, (1, 3))
    assert np.bincount(loaded.sources["val"].labels).tolist() == [6, 1]


def model(seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(2)]
    )


# validation accuracy by rate and fold
SCORES = {0.1: [0.7, 0.9, 0.8], 0.01: [0.9, 0.8, 0.9], 0.001: [0.2, 0.3, 0.1]}


@pytest.fixture
def trained(monkeypatch):
    """What was trained; each run leaves what a run leaves, by hand. `dies` counts down to a run that fails."""
    done, dies = [], [-1]

    def train(recipe, config, command, failed):
        dies[0] -= 1
        if dies[0] == 0:
            raise ChildProcessError(f"{failed} failed; its message stands above. The same command resumes.")
        rate, fold = config["learning_rate"], int(config["data"].partition("@")[2].partition("/")[0])
        done.append((rate, fold))
        where = pathlib.Path(config["output"])
        where.mkdir(parents=True, exist_ok=True)
        described = {"recipe": pathlib.Path(recipe).stem, "config": config}
        (where / "config.json").write_text(json.dumps(described))
        loss = 1 - SCORES[rate][fold - 1]
        metrics = {"val": {"accuracy": SCORES[rate][fold - 1], "loss": loss}, "test": {"accuracy": 1 - rate}}
        (where / "metrics.json").write_text(json.dumps(metrics))
        model(len(done)).save(where / "model.keras")

    monkeypatch.setattr(processes, "train", train)
    return types.SimpleNamespace(done=done, dies=dies)


def test_the_best_settings_by_what_was_held_out(recipe, trained, tmp_path):
    found = cross_validate(recipe, {"learning_rate": [0.1, "0.01", 0.001]}, 3, tmp_path / "out", config={"epochs": 2})
    assert trained.done == [(rate, fold) for rate in SCORES for fold in (1, 2, 3)]
    assert [setting.values for setting in found.settings] == [
        {"learning_rate": 0.01},
        {"learning_rate": 0.1},
        {"learning_rate": 0.001},
    ]
    best = found.settings[0]
    assert best.accuracies == SCORES[0.01] and best.accuracy == pytest.approx(2.6 / 3)
    assert best.deviation == pytest.approx(np.std(SCORES[0.01], ddof=1))
    assert "learning_rate=0.01    86.67 ± 5.77 %    90.00   80.00   90.00" in str(found)
    rows = json.loads((tmp_path / "out" / "cross-validation.json").read_text())
    assert [row["accuracy"] for row in rows] == pytest.approx([2.6 / 3, 0.8, 0.2])
    assert rows[0]["runs"][2] == "learning_rate=0.01/fold-3"
    config = json.loads((tmp_path / "out" / rows[0]["runs"][2] / "config.json").read_text())["config"]
    assert config["data"] == "digits@3/3" and config["epochs"] == 2 and config["learning_rate"] == 0.01


def test_the_top_models_are_an_ensemble(recipe, trained, tmp_path):
    found = cross_validate(recipe, {"learning_rate": [0.1, 0.01]}, 3, tmp_path / "out")
    images = np.random.default_rng(0).uniform(0, 255, (5, 4, 4, 1)).astype("float32")
    # trained as 1 to 3 with a rate of 0.1, then 4 to 6 with 0.01, which was better
    for top, seeds in ((1, [4, 5, 6]), (2, [4, 5, 6, 1, 2, 3])):
        expected = np.mean([softmax(numpy(model(seed)(images)), axis=1) for seed in seeds], axis=0)
        np.testing.assert_allclose(softmax(numpy(found.ensemble(top)(images)), axis=1), expected, rtol=1e-5)
    for top in (0, 3, True):
        with pytest.raises(ValueError, match="top from 1 to 2 settings"):
            found.models(top)
    with pytest.raises(ValueError, match="mean or fitted; received 'best'"):
        found.ensemble(weights="best")


def test_weights_are_fitted_to_what_was_not_seen(recipe, trained, tmp_path, monkeypatch):
    """One weight for each setting, shared by its folds; answers of all folds are put together."""
    found = cross_validate(recipe, {"learning_rate": [0.1, 0.01]}, 3, tmp_path / "out")
    labels = np.array([0, 1])

    def score(net, data, split):
        assert split == "val"
        run = pathlib.Path(data)
        good = run.parent.name == "learning_rate=0.01"
        return {}, labels, np.array([[0.9, 0.1], [0.1, 0.9]] if good else [[0.4, 0.6], [0.6, 0.4]], "float32")

    monkeypatch.setattr(cross_validation, "score", score)
    monkeypatch.setattr(cross_validation, "data_of", lambda run: run)
    shares, together = found.out_of_fold(2)
    assert shares.shape == (2, 6, 2) and together.tolist() == [0, 1] * 3
    assert shares[0, :, 0] == pytest.approx([0.9, 0.1] * 3)
    whole = found.ensemble(2, "fitted")
    assert whole.count_params() == 3 * model(0).count_params()  # the worse setting has no weight at all
    images = np.random.default_rng(0).uniform(0, 255, (5, 4, 4, 1)).astype("float32")
    expected = np.mean([softmax(numpy(model(seed)(images)), axis=1) for seed in (4, 5, 6)], axis=0)
    np.testing.assert_allclose(softmax(numpy(whole(images)), axis=1), expected, rtol=1e-5)


def test_it_goes_on_where_it_was(recipe, trained, tmp_path):
    arguments = (recipe, {"learning_rate": [0.1, 0.01]}, 3, tmp_path / "out")
    trained.dies[0] = 5
    with pytest.raises(ChildProcessError, match="learning_rate=0.01, fold 2 of 3 failed"):
        cross_validate(*arguments)
    assert len(trained.done) == 4
    found = cross_validate(*arguments)
    assert trained.done == [(rate, fold) for rate in (0.1, 0.01) for fold in (1, 2, 3)]
    cross_validate(*arguments)
    larger = cross_validate(recipe, {"learning_rate": [0.1, 0.01, 0.001]}, 3, tmp_path / "out")
    assert len(trained.done) == 9 and len(larger.settings) == 3
    assert [setting.accuracies for setting in larger.settings[:2]] == [each.accuracies for each in found.settings]
    with pytest.raises(ValueError, match="epochs=4 there, 3 here"):
        cross_validate(*arguments, config={"epochs": 3})
    with pytest.raises(ValueError, match="digits@1/3.* there, .*digits@1/2.* here"):
        cross_validate(recipe, {"learning_rate": [0.1]}, 2, tmp_path / "out")
    assert len(trained.done) == 9


@pytest.mark.parametrize(
    "grid, message",
    [
        ({"learning_rat": [1]}, "no option 'learning_rat'. Did you mean 'learning_rate'"),
        ({"data": ["digits"]}, "no option 'data'. "),
        ({"learning_rate": []}, "a list of values for learning_rate"),
        ({"learning_rate": "0.1"}, "a list of values for learning_rate"),
        ({"learning_rate": ["fast"]}, "learning_rate in the grid to be a number, received 'fast'"),
        ({"learning_rate": [-1.0]}, "learning_rate to be positive"),
        ({"epochs": [1.5]}, "epochs in the grid to be a whole number, received 1.5"),
        ({"smoke": ["maybe"]}, "smoke in the grid to be true or false"),
        ({"optimizer": ["magic"]}, "optimizer to be one of"),
        (["epochs"], "dictionary of options to lists"),
    ],
)
def test_grids_that_are_none(grid, message, recipe, trained, tmp_path):
    with pytest.raises(ValueError, match=message):
        cross_validate(recipe, grid, 3, tmp_path / "out")
    assert not trained.done and not (tmp_path / "out").exists()


def test_a_recipe_with_images_of_its_own_has_no_folds(trained, tmp_path):
    with pytest.raises(ValueError, match=r"data\(config\) to load config.data, here 'digits@1/3'"):
        cross_validate(TINY, None, 3, tmp_path / "out")
    assert not trained.done


@pytest.mark.parametrize(
    "options, message",
    [
        ({"folds": 1}, "folds to be an integer from 2 on"),
        ({"config": {"seeds": 2}}, "seeds=1 and a single worker"),
        ({"config": {"data": "digits@1/3"}}, "data without a fold"),
        ({"recipe": "squeezenet_digit"}, "Did you mean"),
    ],
)
def test_arguments_that_are_none(options, message, recipe, trained, tmp_path):
    arguments = {"recipe": recipe, "output": tmp_path / "out", **options}
    with pytest.raises(ValueError, match=message):
        cross_validate(**arguments)
    assert not trained.done


def test_several_grids_and_types(recipe):
    options = loop.load_recipe(recipe).Config()
    found = grids.combinations([{"epochs": ["2", 3], "smoke": ["true"]}, {"optimizer": ["adam"]}], options)
    assert found == [{"epochs": 2, "smoke": True}, {"epochs": 3, "smoke": True}, {"optimizer": "adam"}]
    assert grids.combinations(None, options) == [{}]


def test_settings_of_equal_accuracy_are_ranked_by_loss_and_a_broken_one_is_last():
    def setting(name, losses):
        return Setting({"rate": name}, [0.5, 0.5], losses, [])

    settings = [setting(1, [2.0, 2.0]), setting(2, [float("nan")] * 2), setting(3, [1.0, 1.0])]
    ranked = sorted(settings, key=cross_validation.rank)
    assert [each.values["rate"] for each in ranked] == [3, 1, 2]
    assert "rate=3" in str(CrossValidated(pathlib.Path(), ranked)).splitlines()[0]


KILLED = """
import sys
from convcraft.training import cross_validate
found = cross_validate(sys.argv[1], {"learning_rate": [0.05]}, 2, sys.argv[2])
found.ensemble(1, "fitted").save(sys.argv[2] + "/ensemble.keras")
print([setting.accuracies for setting in found.settings], [setting.losses for setting in found.settings])
"""


@pytest.mark.slow
def test_killed_in_a_run_it_ends_as_if_it_had_not_been(recipe, tmp_path):
    whole = python(KILLED, recipe, tmp_path / "whole", timeout=1800).splitlines()[-1]
    killed = python(KILLED, recipe, tmp_path / "run", check=False, timeout=1800, DIE="0.05 digits@2/2")
    assert killed.returncode and "learning_rate=0.05, fold 2 of 2 failed" in killed.stderr
    again = python(KILLED, recipe, tmp_path / "run", timeout=1800)
    assert "learning_rate=0.05, fold 1 of 2: finished before" in again and "Resuming after 1 of 4 epochs" in again
    assert again.splitlines()[-1] == whole
    one, other = (zoo.load_model(tmp_path / name / "ensemble.keras").get_weights() for name in ("whole", "run"))
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)
