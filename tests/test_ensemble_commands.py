"""`convcraft ensemble` and `convcraft cross-validate`, with small networks and runs that were made by hand."""

import json

import keras
import numpy as np
import pytest
from scipy.special import softmax

from convcraft import cli, layers, training, zoo
from convcraft.training.ensembles import cross_validation, fusion

RECIPE = '''
"""Digits of 8x8 pixels."""
from dataclasses import dataclass
from convcraft import training

@dataclass
class Config(training.Common):
    image_size: int = 8
    epochs: int = 2

def data(config):
    return training.load(config)

def train(config, run):
    raise SystemExit("nothing is trained here")
'''
NAMES = [str(number) for number in range(10)]


def net(seed, units=8):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Dense(10)(keras.layers.Dense(units, "tanh")(x))
    return layers.Model(inputs, layers.ClassNames(NAMES)(x), name="net")


@pytest.fixture(scope="module")
def digits():
    return training.data.load("digits", size=8)


@pytest.fixture(scope="module")
def files(tmp_path_factory, digits):
    """Three models, the second trained a little, as files; and runs of theirs with the seeds 0, 0 and 1."""
    folder = tmp_path_factory.mktemp("files")
    for number in range(3):
        model = net(number)
        if number == 1:
            model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
            model.fit(digits.train, epochs=3, verbose=0, shuffle=False)
        model.save(folder / f"{number}.keras")
        run = folder / f"run{number}"
        run.mkdir()
        model.save(run / "model.keras")
        (run / "recipe.py").write_text(RECIPE)
        data = {"name": "digits", "sha256": digits.sha256, "image_shape": [8, 8, 1]}
        config = {"data": "digits", "image_size": 8, "seed": int(number == 2)}
        (run / "config.json").write_text(json.dumps({"recipe": "recipe", "config": config, "data": data}))
    return folder


def shares(folder, numbers, x):
    models = [zoo.load_model(folder / f"{number}.keras") for number in numbers]
    return np.array([softmax(model.predict(x, verbose=0).astype("float64"), axis=1) for model in models])


def test_the_file_answers_with_the_mean_and_is_evaluated_and_exported(files, digits, tmp_path, capsys):
    out = tmp_path / "both.keras"
    assert cli.main(["ensemble", str(files / "0.keras"), str(files / "run1"), "--output", str(out)]) == 0
    x, y = digits.arrays("test")
    expected = shares(files, (0, 1), x).mean(axis=0)
    found = zoo.load_model(out)
    np.testing.assert_allclose(softmax(found.predict(x, verbose=0), axis=1), expected, rtol=1e-4)
    assert cli.main(["evaluate", str(out), "--data", "digits"]) == 0
    assert f"test  accuracy {(expected.argmax(axis=1) == y).mean():.4f}" in capsys.readouterr().out
    if keras.backend.backend() == "tensorflow":
        assert cli.main(["export", str(out), str(tmp_path / "served")]) == 0


def test_weights_are_fitted_to_the_runs_validation_images(files, digits, tmp_path, capsys):
    out = tmp_path / "fitted.keras"
    words = ["ensemble", *(str(files / f"run{n}") for n in (0, 1)), "--weights", "fitted", "--output", str(out)]
    assert cli.main(words) == 0
    x, y = digits.arrays("val")
    weights = fusion.convex_weights(shares(files, (0, 1), x), y)
    said = capsys.readouterr().out
    assert f"Fitted to {len(y)} validation images" in said
    for number, weight in enumerate(weights):
        assert f"{weight:.3f}  {files / f'run{number}'}" in said
    expected = np.einsum("m,mnc->nc", weights, shares(files, (0, 1), x))
    np.testing.assert_allclose(softmax(zoo.load_model(out).predict(x, verbose=0), axis=1), expected, rtol=1e-3)


def test_a_second_level_from_data_that_are_named(files, tmp_path, capsys):
    out = tmp_path / "stacked.keras"
    words = ["ensemble", str(files / "0.keras"), str(files / "1.keras"), "--weights", "stacked", "--data", "digits"]
    assert cli.main([*words, "--output", str(out)]) == 0
    assert [layer.name for layer in zoo.load_model(out).layers][-2:] == ["head", "class_names"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["0.keras"], "two sources at least"),
        (["0.keras", "nothing.keras"], "There is no"),
        (["0.keras", "1.keras", "--weights", "fitted"], "Expected --data to fit to, for no source is a run"),
        (["run0", "run2", "--weights", "fitted"], "held out different images for validation"),
        (["run0", "run2", "--weights", "stacked", "--data", "digits"], "held out different images for validation"),
        (["0.keras", "1.keras", "--weights", "best"], "invalid choice"),
        (["0.keras", "1.keras", "--weights", "stacked", "--data", "digits", "--mirrors"], "--mirrors with"),
    ],
)
def test_what_cannot_be(words, message, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(files)
    assert cli.main(["ensemble", *words, "--output", str(tmp_path / "o.keras")]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "o.keras").exists()


@pytest.mark.parametrize(
    "output, message",
    [("0.keras", "exists already"), ("none/x.keras", "folder that exists"), ("x.h5", "to be a .keras file")],
)
def test_outputs_that_cannot_be(output, message, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    assert cli.main(["ensemble", "0.keras", "1.keras", "--output", output]) == 2
    assert message in capsys.readouterr().err


def test_runs_of_other_seeds_may_vote_alike(files, tmp_path):
    words = ["ensemble", str(files / "run0"), str(files / "run2"), "--output", str(tmp_path / "mean.keras")]
    assert cli.main(words) == 0


def test_cross_validate_takes_its_own_options_and_the_recipes(files, tmp_path, monkeypatch, capsys):
    asked = []

    def fake(module, grid, folds, config):
        asked.append((grid, folds, config))
        settings = [cross_validation.Setting({"epochs": 2}, [0.5, 0.75], [1.0, 2.0], [files / "run0", files / "run1"])]
        return cross_validation.CrossValidated(tmp_path, settings)

    monkeypatch.setattr(cross_validation, "cross_validate", fake)
    monkeypatch.setattr(training, "cross_validate", fake, raising=False)
    recipe = files / "recipe.py"
    recipe.write_text(RECIPE)
    words = ["cross-validate", str(recipe), "--grid", "learning-rate=0.1,0.01", "epochs=2", "--folds", "2"]
    assert cli.main([*words, "--batch-size", "16", "--output", str(tmp_path), "--ensemble", "3"]) == 0
    grid, folds, config = asked[0]
    assert grid == {"learning_rate": ["0.1", "0.01"], "epochs": ["2"]} and folds == 2
    assert config.batch_size == 16 and config.output == str(tmp_path)
    assert "epochs=2   62.50 ± 17.68 %    50.00   75.00" in capsys.readouterr().out
    assert zoo.load_model(tmp_path / "ensemble.keras").output_shape == (None, 10)


@pytest.mark.parametrize(
    "words, message",
    [
        (["squeezenet_digit"], "Did you mean 'squeezenet_digits'"),
        (["--grid", "epochs=1"], "a recipe's name before its options"),
        (["squeezenet_digits", "--grid", "epochs"], "--grid OPTION=VALUE,VALUE …, received 'epochs'"),
        (["squeezenet_digits", "--grid", "epochs=1,"], "received 'epochs=1,'"),
        (["squeezenet_digits", "--grid", "epoch=1"], "no option 'epoch'. Did you mean 'epochs'"),
        (["squeezenet_digits", "--folds", "1"], "folds to be an integer from 2 on"),
        (["squeezenet_digits", "--nothing"], "There is no option --nothing"),
        (["squeezenet_digits", "--seeds", "2"], "seeds=1 and a single worker"),
    ],
)
def test_cross_validations_that_cannot_be(words, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["cross-validate", *words]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())
