"""`convcraft fine-tune`: a folder in, the directory of a run out, and one line for what is wrong."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from harness import environment
from PIL import Image

from convcraft import cli

FILES = "config.json recipe.py history.jsonl metrics.json model.keras report.html card.md predictions.npz"


def folder(path, per_class=12, size=40):
    """Red and green photographs, each of a class."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("green", "red")):
        (path / name).mkdir(parents=True)
        for n in range(per_class):
            image = rng.integers(0, 90, (size, size, 3), "uint8")
            image[..., 1 - number] += 120
            Image.fromarray(image).save(path / name / f"{n}.png")
    return path


def convcraft(*words, cwd):
    command = [sys.executable, "-m", "convcraft", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights of a small model of the zoo."""
    from convcraft import zoo

    path = tmp_path_factory.mktemp("weights") / "small.keras"
    zoo.create("squeezenet_cifar", input_shape=(None, None, 3), design=zoo.Design(width=0.25)).save(path)
    return path


def test_a_folder_becomes_a_run(tmp_path, weights):
    """One command; then predict, evaluate and report work on what it left."""
    photographs = folder(tmp_path / "photographs")
    for n in range(7):
        (photographs / "red" / f"torn{n}.jpg").write_bytes(b"half")
    done = convcraft("fine-tune", weights, photographs, "--policy", "linear", "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Plan: fine-tune" in done.stdout and "frozen" in done.stdout
    assert done.stdout.count("Unreadable and left out (7)") == 1 and done.stdout.count("torn") == 5
    assert set(FILES.split()) <= {path.name for path in (tmp_path / "out").iterdir()}
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] == 1.0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert sum("torn" in line for line in config["data"]["remarks"]) == 7, "all of them are named somewhere"
    assert config["data"]["classes"] == ["green", "red"] and config["config"]["policy"] == "linear"
    seen = convcraft("predict", "out", photographs / "red" / "3.png", cwd=tmp_path)
    assert seen.returncode == 0 and "red" in seen.stdout.split("\n")[0], seen.stdout + seen.stderr
    moved = weights.rename(weights.with_name("moved.keras"))
    measured = convcraft("evaluate", "out", cwd=tmp_path)
    assert measured.returncode == 0 and "accuracy 1.0000" in measured.stdout, "the run has its own model"
    moved.rename(weights)
    again = convcraft("fine-tune", weights, photographs, "--policy", "linear", "--output", "out", cwd=tmp_path)
    assert "is finished" in again.stdout


@pytest.mark.slow
def test_a_killed_run_ends_where_another_ends(tmp_path, weights):
    """Bit for bit; and what `auto` has chosen is not chosen again."""
    from convcraft import zoo

    photographs = folder(tmp_path / "photographs")
    options = ["--policy", "auto", "--epochs", "4", "--views", "0", "--learning-rate", "0.002", "--strategy", "none"]
    command = ["fine-tune", str(weights), str(photographs), *options]
    # the choice is forced, so that something is trained: the first start is killed once it has a checkpoint
    for name in ("one", "two"):
        (tmp_path / name / "checkpoint").mkdir(parents=True)
        (tmp_path / name / "checkpoint/plan.json").write_text(json.dumps({"policy": "deep", "why": "as before"}))
    first = [sys.executable, "-m", "convcraft", *command, "--output", "two"]
    started = subprocess.Popen(first, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL)
    while not (tmp_path / "two/checkpoint/state.npz").exists() and started.poll() is None:
        time.sleep(0.05)
    started.kill()
    started.wait()
    for name in ("one", "two"):
        done = convcraft(*command, "--output", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "Choosing a policy" not in done.stdout
    one, two = (zoo.load_model(tmp_path / name / "model.keras").get_weights() for name in ("one", "two"))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "words, message",
    [
        (["squeezenet1_1", "photographs"], "squeezenet1_1:imagenet"),
        (["squeezenet1_2:imagenet", "photographs"], "Did you mean"),
        (["no.keras", "photographs"], "no.keras"),
        (["squeezenet1_1:imagenet", "--policy"], "Expected: FOLDER"),
        (["squeezenet1_1:imagenet"], "FOLDER"),
        ([], "MODEL"),
    ],
)
def test_one_line_for_what_is_wrong(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["fine-tune", *words]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
