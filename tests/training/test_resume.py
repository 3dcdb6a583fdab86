"""A run that is killed, and started again with the same command, ends bit for bit where an uninterrupted one ends."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from harness import BACKEND, python

import convcraft

RECIPE = pathlib.Path(__file__).with_name("tiny_recipe.py")
TRAIN = "import sys; from convcraft.training import run; run(sys.argv[1], {'output': sys.argv[2]})"


def train(directory, die_at=0, minutes=5.0):
    """Runs the recipe; killed before step `die_at`, if that is not 0."""
    return python(TRAIN, RECIPE, directory, check=not die_at, DIE_AT=str(die_at), CHECKPOINT_MINUTES=str(minutes))


def lines(directory, event):
    rows = map(json.loads, (directory / "history.jsonl").read_text().splitlines())
    times = ("seconds", "images_per_second")
    return [{k: v for k, v in row.items() if k not in times} for row in rows if row["event"] == event]


def final_state(directory):
    """All variables as the last checkpoint holds them: weights, optimizer, random states, metrics."""
    with np.load(directory / "checkpoint" / "state.npz") as file:
        return {key: file[key] for key in file.files if key != "meta"}


def same_weights(*runs):
    """The saved models of two runs are equal bit for bit."""
    models = [convcraft.load_model(run / "model.keras").get_weights() for run in runs]
    assert len(models[0]) == len(models[1]) > 0
    assert all(np.array_equal(a, b) for a, b in zip(*models, strict=True))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "whole"
    train(directory)
    return directory


def test_a_run_has_all_its_files(uninterrupted):
    names = {path.name for path in uninterrupted.iterdir()}
    expected = "config.json recipe.py history.jsonl metrics.json checkpoint model.keras report.html card.md"
    assert set(expected.split()) <= names
    assert (uninterrupted / "recipe.py").read_bytes() == RECIPE.read_bytes()
    assert not [name for name in names if "tmp" in name], "no temporary files stay"


def test_early_stopping_did_stop(uninterrupted):
    """The recipe's callback has a state worth restoring: mode 'max' on a falling loss stops after patience + 1."""
    assert 2 <= len(lines(uninterrupted, "epoch")) < 4


@pytest.mark.parametrize(
    "deaths, minutes",
    [
        pytest.param([3, 8], 0.0, id="twice-within-epochs"),
        pytest.param([9], 5.0, id="in-the-second-epoch", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed(uninterrupted, tmp_path, deaths, minutes):
    directory = tmp_path / "run"
    for step in deaths:
        killed = train(directory, die_at=step, minutes=minutes)
        assert killed.returncode == -9
        assert not (directory / "model.keras").exists()
    train(directory, minutes=minutes)
    starts = lines(directory, "start")
    assert len(starts) == len(deaths) + 1, "each start adds an environment line"
    within = starts[-1]["resumed_at"]["step"] > 0
    assert within == (minutes == 0), "the test covers what it says"
    assert lines(directory, "epoch") == lines(uninterrupted, "epoch")
    ours, theirs = final_state(directory), final_state(uninterrupted)
    assert ours.keys() == theirs.keys()
    different = [key for key in ours if not np.array_equal(ours[key], theirs[key])]
    assert not different
    same_weights(directory, uninterrupted)
    numbers = [json.loads((run / "metrics.json").read_text())["test"] for run in (directory, uninterrupted)]
    assert numbers[0] == numbers[1]


def test_changed_data_are_not_trained_on(tmp_path):
    """Images held out before could be among the training images now; nothing of the run is lost."""
    python(TRAIN, RECIPE, tmp_path / "run", check=False, DIE_AT="8", CHECKPOINT_MINUTES="0")
    config = (tmp_path / "run" / "config.json").read_text()
    code = (
        "import sys; from convcraft.training import data, run\n"
        "load = data.load\n"
        "data.load = lambda arrays, **options: load(tuple(each[:-3] for each in arrays), **options)\n"
        "try: run(sys.argv[1], {'output': sys.argv[2]})\n"
        "except ValueError as error: print(error)\n"
    )
    assert "The data have changed since" in python(code, RECIPE, tmp_path / "run")
    assert (tmp_path / "run" / "config.json").read_text() == config
    assert "Resuming" in python(TRAIN, RECIPE, tmp_path / "run")


def test_killed_between_training_and_evaluation(uninterrupted, tmp_path):
    """What is left is done: early stopping had stopped, and restores its best weights again."""
    directory = tmp_path / "run"
    shutil.copytree(uninterrupted, directory)
    described = json.loads((directory / "config.json").read_text())
    for name in ("model.keras", "metrics.json", "report.html"):
        (directory / name).unlink()
    described["config"]["output"] = str(directory)
    (directory / "config.json").write_text(json.dumps(described))
    train(directory)
    assert lines(directory, "epoch") == lines(uninterrupted, "epoch")
    same_weights(directory, uninterrupted)


def test_finished_runs_are_left_alone_and_others_refused(uninterrupted):
    before = (uninterrupted / "model.keras").stat().st_mtime_ns
    code = (
        "import sys; from convcraft.training import run\n"
        "done = run(sys.argv[1], {'output': sys.argv[2]}); print(done.metrics['test']['n'])\n"
        "for change in ({'seed': 1}, {'learning_rate': .5}):\n"
        "    try: run(sys.argv[1], {'output': sys.argv[2], **change})\n"
        "    except ValueError as error: print(error)\n"
    )
    said = python(code, RECIPE, uninterrupted)
    assert "is finished" in said
    assert "seed=0 there, 1 here" in said and "learning_rate=0.05 there, 0.5 here" in said
    assert (uninterrupted / "model.keras").stat().st_mtime_ns == before


@pytest.mark.parametrize("kind", ["crops", pytest.param("two_stage", marks=pytest.mark.slow)])
def test_a_balanced_run_resumes_too(kind, tmp_path):
    """Killed within the second epoch, which shows copies, crops of them, or the second stage."""
    code = TRAIN.replace("{'output'", f"{{'epochs': 2, 'images': 90, 'balance': '{kind}', 'output'")
    for name, die_at in (("whole", 0), ("killed", 8 if kind == "crops" else 6), ("killed", 0)):
        env = {"DIE_AT": str(die_at), "CHECKPOINT_MINUTES": "0" if name == "killed" else "5"}
        python(code, RECIPE, tmp_path / name, check=not die_at, **env)
    ours, theirs = final_state(tmp_path / "killed"), final_state(tmp_path / "whole")
    assert [key for key in theirs if not np.array_equal(ours[key], theirs[key])] == []
    assert lines(tmp_path / "killed", "epoch") == lines(tmp_path / "whole", "epoch")
    resumed = lines(tmp_path / "killed", "start")[-1]["resumed_at"]
    assert resumed["epoch"] == 1 and resumed["step"] > 0
    same_weights(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="starts its own backends")
@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_other_backends_resume_too(backend, tmp_path):
    """Killed within an epoch, on JAX and PyTorch."""
    for name, die_at in (("whole", 0), ("killed", 9), ("killed", 0)):
        env = {"KERAS_BACKEND": backend, "DIE_AT": str(die_at), "CHECKPOINT_MINUTES": "0" if name == "killed" else "5"}
        python(TRAIN, RECIPE, tmp_path / name, check=not die_at, **env)
    ours, theirs = final_state(tmp_path / "killed"), final_state(tmp_path / "whole")
    assert [key for key in theirs if not np.array_equal(ours[key], theirs[key])] == []
    assert lines(tmp_path / "killed", "epoch") == lines(tmp_path / "whole", "epoch")
    assert lines(tmp_path / "killed", "start")[-1]["resumed_at"]["step"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_resumes_too(precision, tmp_path):
    """The optimizer's weights stay in float32, and what mixed_float16 scales its loss by is kept as well."""
    code = TRAIN.replace("{'output'", f"{{'precision': '{precision}', 'output'")
    for name, die_at in (("whole", 0), ("killed", 9), ("killed", 0)):
        env = {"DIE_AT": str(die_at), "CHECKPOINT_MINUTES": "0" if name == "killed" else "5"}
        python(code, RECIPE, tmp_path / name, check=not die_at, **env)
    ours, theirs = final_state(tmp_path / "killed"), final_state(tmp_path / "whole")
    assert [key for key in theirs if not np.array_equal(ours[key], theirs[key])] == []
    assert lines(tmp_path / "killed", "start")[-1]["resumed_at"]["step"] > 0


TWO_DEVICES = """
import sys
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from convcraft.training import run
run(sys.argv[1], {"output": sys.argv[2], "strategy": "mirrored"})
"""


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_mirrored_runs_resume_too(tmp_path):
    """Killed within an epoch on two devices; the optimizer's variables are made anew under the strategy."""
    for name, die_at in (("whole", 0), ("killed", 8), ("killed", 0)):
        env = {"DIE_AT": str(die_at), "CHECKPOINT_MINUTES": "0" if name == "killed" else "5"}
        python(TWO_DEVICES, RECIPE, tmp_path / name, check=not die_at, **env)
    ours, theirs = final_state(tmp_path / "killed"), final_state(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    assert [key for key in theirs if not np.array_equal(ours[key], theirs[key])] == []
    assert lines(tmp_path / "killed", "start")[-1]["resumed_at"]["step"] > 0
