"""`--seeds N`: a run for each seed, in a process and a directory of its own, and what they say together."""

import json
import pathlib
import re
import statistics
import types

import keras
import pytest
from harness import python

from convcraft.training import evaluate, loop, report, rundir, seeds
from convcraft.training.common import Common

RECIPE = pathlib.Path(__file__).with_name("tiny_recipe.py")
TESTED, VALIDATED = {0: 0.9, 1: 0.95, 2: 0.91}, {0: 0.8, 1: 0.7, 2: 0.8}


def finish(directory, seed, val=True):
    """What a finished run of a seed leaves, made by hand."""
    part = pathlib.Path(directory, f"seed-{seed}")
    part.mkdir(parents=True)
    data = {"name": "digits", "sha256": "abc", "classes": ["0", "1"], "image_shape": [4, 4, 1]}
    counts = {"train": {"0": 5, "1": 5}, "test": {"0": 50, "1": 50}}
    model = {"name": "net", "parameters": 34, "trainable": 34, "multiply_adds": 32}
    config = {"recipe": "tiny", "convcraft": "0.1", "command": "c", "config": {"seed": seed, "seeds": 1, "epochs": 2}}
    rundir.write_json(part / "config.json", {**config, "model": model, "data": {**data, "counts": counts}})
    where = {"devices": ["CPU"], "processor": "p", "cores": 2, "backend": "b", "keras": "3", "commit": None}
    lines = [{"event": "start", "time": "2026-11-21T10:00:00+00:00", "environment": where}]
    for epoch in range(2 + (seed == 1)):
        values = {"loss": 1 / (epoch + 1 + seed), "val_loss": 1.5, "accuracy": 0.5 + 0.1 * epoch, "val_accuracy": 0.5}
        lines.append({"event": "epoch", "epoch": epoch, "steps": 3, "learning_rate": 0.1, "seconds": 1.0, **values})
    (part / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    metrics = {"test": {"accuracy": TESTED[seed], "loss": 0.1 * (seed + 1), "n": 100}}
    if val:
        metrics["val"] = {"accuracy": VALIDATED[seed], "loss": 0.2, "n": 10}
    facts = {"seconds": 10.0, "parameters": 34, "multiply_adds": 32, "data_sha256": "abc", "model_sha256": f"m{seed}"}
    rundir.write_json(part / "metrics.json", {**metrics, **facts})
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4, 4, 1))
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(inputs))
    keras.Model(inputs, outputs, name=f"net{seed}").save(part / "model.keras")


@pytest.fixture
def trained(monkeypatch):
    """The seeds that were trained, each by `finish`."""
    done = []

    def train(recipe, directory, seed, command):
        done.append(seed)
        finish(directory, seed)

    monkeypatch.setattr(seeds, "_train", train)
    return done


def whole(directory, **options):
    module = types.SimpleNamespace(__name__=__name__, __file__=__file__)
    return loop.execute(module, Common(strategy="none", **options), directory)


def test_mean_deviation_and_interval():
    found = seeds.together({seed: {"accuracy": value, "n": 100} for seed, value in TESTED.items()})
    values = list(TESTED.values())
    assert found["accuracy"] == pytest.approx(statistics.mean(values))
    assert found["accuracy_std"] == pytest.approx(statistics.stdev(values))
    half = 4.302653 * statistics.stdev(values) / 3**0.5  # Student's t, two degrees of freedom, from a table
    assert found["accuracy_interval"] == pytest.approx([statistics.mean(values) - half, statistics.mean(values) + half])
    assert found["n"] == 100 and found["seeds"] == [0, 1, 2]


def test_an_interval_ends_where_no_share_can_be():
    """Of two values Student's interval is 12.7 deviations wide to each side."""
    found = seeds.together({seed: {"accuracy": [0.8, 0.9][seed], "loss": [0.1, 2.9][seed], "n": 9} for seed in (0, 1)})
    assert found["accuracy_interval"] == [pytest.approx(0.85 - 12.706205 * 0.05), 1.0]
    assert found["loss_interval"] == [0.0, pytest.approx(1.5 + 12.706205 * 1.4)]


def test_the_whole_is_one_run(trained, tmp_path):
    done = whole(tmp_path / "run", seeds=3)
    assert trained == [0, 1, 2]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics == done.metrics
    assert metrics["test"]["accuracy"] == pytest.approx(0.92) and metrics["seconds"] == 30
    assert [run["test"]["accuracy"] for run in metrics["runs"]] == list(TESTED.values())
    assert [run["seed"] for run in metrics["runs"]] == [0, 1, 2]
    # the best on validation images, of equals the first; seed 1 was best on test images, which have no say
    assert metrics["chosen"] == 0 and done.model.name == "net0" and metrics["model_sha256"] == "m0"
    assert "--seeds 3" in json.loads((tmp_path / "run" / "config.json").read_text())["command"]


def test_finished_seeds_are_left_alone_and_more_may_follow(trained, tmp_path):
    whole(tmp_path / "run", seeds=2)
    whole(tmp_path / "run", seeds=2)
    assert trained == [0, 1]
    assert whole(tmp_path / "run", seeds=3).metrics["test"]["seeds"] == [0, 1, 2]
    assert trained == [0, 1, 2]
    with pytest.raises(ValueError, match="seeds=3 there, 1 here"):
        whole(tmp_path / "run")
    with pytest.raises(ValueError, match=r"epochs=10 there, 3 here"):
        whole(tmp_path / "run", seeds=3, epochs=3)


def test_without_validation_the_first_is_chosen(tmp_path):
    for seed in (1, 2):
        finish(tmp_path, seed, val=False)
    rundir.write_json(
        tmp_path / "config.json", {"recipe": "t", "convcraft": "", "command": "c", "config": {"seed": 1, "seeds": 2}}
    )
    found = seeds.combine(tmp_path)
    assert found["chosen"] == 1 and "val" not in found


def test_several_workers_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="seeds=1 with several workers, received 2"):
        loop.execute(types.SimpleNamespace(__name__="r", __file__=__file__), Common(strategy="multiworker", seeds=2))
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(ValueError, match="seeds=1 with several workers"):
        whole(tmp_path, seeds=2)


def test_report_and_card_show_all(trained, tmp_path):
    whole(tmp_path / "run", seeds=3)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "92.00 ± 2.65 %" in page  # stdev of .9, .95, .91
    for seed, value in TESTED.items():
        assert f'href="seed-{seed}/report.html"' in page and f"{100 * value:.1f} %" in page
    curves = re.findall(r'<path class="(val|train)( thin)?"', page)
    for kind in ("val", "train"):  # loss and accuracy
        assert curves.count((kind, " thin")) == 6 and curves.count((kind, "")) == 2
    assert "model.keras is that of seed 0" in page
    text = (tmp_path / "run" / "card.md").read_text()
    assert "accuracy 92.00 ± 2.65 %" in text and "3 seeds" in text and "7 epochs" in text


def test_an_unfinished_whole_is_reported_as_far_as_it_came(tmp_path):
    finish(tmp_path, 1)
    rundir.write_json(tmp_path / "config.json", {"recipe": "tiny", "command": "c", "config": {"seed": 0, "seeds": 3}})
    page = report.write(tmp_path).read_text()
    assert "Not all seeds have finished, 1 so far" in page and "seed-1/report.html" in page


def test_evaluation_measures_every_seed_again(trained, tmp_path, monkeypatch):
    whole(tmp_path / "run", seeds=2)
    again, real = [], evaluate.evaluate_run

    def measure(directory, seconds=None):
        if seeds.directories(directory):
            return real(directory, seconds)
        again.append((pathlib.Path(directory).name, seconds))

    monkeypatch.setattr(evaluate, "evaluate_run", measure)
    assert evaluate.evaluate_run(tmp_path / "run")["test"]["seeds"] == [0, 1]
    assert again == [("seed-0", 10.0), ("seed-1", 10.0)]


@pytest.mark.slow
def test_killed_and_resumed(tmp_path):
    """For real: seed 5 is killed in its second epoch, resumes, and is what a single run with seed 5 is."""
    code = (
        "import sys; from convcraft.training import run\n"
        "run(sys.argv[1], {'seed': 5, 'seeds': int(sys.argv[3]), 'epochs': 3}, sys.argv[2])"
    )
    killed = python(code, RECIPE, tmp_path / "run", 2, check=False, timeout=900, DIE_AT="9")
    assert killed.returncode == 1 and "The run with seed 5 failed" in killed.stderr
    assert not (tmp_path / "run" / "metrics.json").exists()
    python(code, RECIPE, tmp_path / "run", 2, timeout=900)
    starts, epochs = rundir.read_history(tmp_path / "run" / "seed-5" / "history.jsonl")
    assert len(starts) == 2 and starts[1]["resumed_at"] == {"epoch": 1, "step": 0}
    assert len(rundir.read_history(tmp_path / "run" / "seed-6" / "history.jsonl")[0]) == 1
    python(code, RECIPE, tmp_path / "single", 1)
    single = rundir.read_json(tmp_path / "single" / "metrics.json")["test"]
    assert rundir.read_json(tmp_path / "run" / "metrics.json")["runs"][0]["test"] == single
