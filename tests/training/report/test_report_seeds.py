"""The report of several seeds: what all networks answered, together."""

import json

import numpy as np
import pytest
from reports import Page, config, digits, history, make, measured, predictions, seeing
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from convcraft.training import report

LABELS, SHARES, IMAGES = digits()


def answers(seed):
    """What a network of another seed might have said."""
    noisy = SHARES + np.random.default_rng(seed).uniform(0, 0.1 * seed, SHARES.shape)
    return (noisy / noisy.sum(axis=1, keepdims=True)).astype("float32")


def seeds(directory, finished=3, cut=0, config=config):
    """A run of three seeds, of which the last `cut` images are missing in the last."""
    about = config()
    about["config"] = {**about["config"], "seeds": 3, "seed": 0}
    for seed in range(3):
        rows = slice(None, -cut if cut and seed == 2 else None)
        arrays = predictions(LABELS[rows], answers(seed)[rows], IMAGES[rows])
        make(directory / f"seed-{seed}", arrays=arrays, absent=() if seed < finished else ("metrics", "predictions"))
    test = measured(predictions(LABELS, SHARES, IMAGES))["test"]
    test |= {"accuracy_std": 0.01, "accuracy_interval": [0.8, 0.9], "loss_std": 0.1, "seeds": [0, 1, 2]}
    metrics = {"test": test, "seconds": 60.0, "chosen": 0, "runs": []}
    absent = ("history", "predictions") if finished == 3 else ("history", "predictions", "metrics")
    return make(directory, config=about, metrics=metrics, absent=absent)


def cells(page, rows):
    """Counts of the confusion matrix."""
    return [[int(cell or 0) for cell in row[1:-1]] for row in page.rows("Confusion matrix")[1:rows]]


def test_answers_of_all_seeds_are_counted_together(tmp_path):
    page = Page(report.write(seeds(tmp_path / "run")).read_text("utf-8"))
    truth, said = np.tile(LABELS, 3), np.concatenate([answers(seed).argmax(axis=1) for seed in range(3)])
    assert cells(page, 11) == confusion_matrix(truth, said).tolist()
    wrong = int((truth != said).sum())
    assert f"{wrong} of 1,080 answers of 3 seeds to test images were mistaken" in page.text
    scores = precision_recall_fscore_support(truth, said, zero_division=np.nan)
    for number, row in enumerate(page.rows("Each class")[1:11]):
        assert row[2:] == [f"{100 * column[number]:.1f} %" for column in scores[:3]]
    sure = np.concatenate([answers(seed).max(axis=1) for seed in range(3)])
    assert f"the networks of all seeds were {100 * sure.mean():.1f} % sure of their answers" in page.text
    assert {"Confusion", "Each class", "Worst mistakes", "Most uncertain", "Calibration"} <= {
        e["text"] for e in page.all("h2")
    }


def test_pictures_are_judged_by_the_mean_of_the_probabilities(tmp_path):
    page = Page(report.write(seeds(tmp_path / "run")).read_text("utf-8"))
    mean = np.mean([answers(seed) for seed in range(3)], axis=0, dtype="float64")
    wrong = np.flatnonzero(mean.argmax(axis=1) != LABELS)
    kept = np.unique(np.concatenate([predictions(LABELS, answers(seed), IMAGES)["index"] for seed in range(3)]))
    losses = [log_loss([LABELS[i]], mean[i : i + 1], labels=range(10)) for i in wrong if i in kept]
    shown = [e["text"] for e in page.all("dd")]
    assert f"{max(losses):.2f}" in shown
    said = "Every mistake" if len(losses) == len(wrong) else f"{len(losses)} of {len(wrong)} mistakes"
    assert f"{said}, the highest loss first. Probabilities are the mean of 3 seeds." in page.text


@pytest.mark.parametrize("finished", [0, 1, 2])
def test_what_has_finished_is_shown(tmp_path, finished):
    page = Page(report.write(seeds(tmp_path / "run", finished)).read_text("utf-8"))
    assert f"Not all seeds have finished, {finished} so far" in page.text
    assert ("answers of" in page.text) == bool(finished)
    if finished:
        count = f"{finished} seed{'s' if finished > 1 else ''}"
        assert f"of {360 * finished:,} answers of {count} to evaluated images" in page.text


def test_other_test_images_of_a_seed_have_no_mean(tmp_path):
    page = Page(report.write(seeds(tmp_path / "run", cut=5)).read_text("utf-8"))
    assert "of 1,075 answers of 3 seeds" in page.text
    assert "Worst mistakes" not in page.text


def test_images_whose_pixels_have_classes(tmp_path):
    """Intersection over union of the sum of the counts, by hand."""
    directory = seeds(tmp_path / "run", config=lambda: config(["land", "sea"]))
    for seed, confusion in enumerate(([[8, 2], [1, 9]], [[6, 4], [3, 7]], [[10, 0], [0, 10]])):
        none = np.zeros((0, 4, 4), "uint8")
        arrays = {"confusion": np.array(confusion), "shares": np.ones(2), "index": np.zeros(0, int), "images": none}
        np.savez(directory / f"seed-{seed}" / "predictions.npz", **arrays, truth=none, answer=none)
    about = json.loads((directory / "config.json").read_text())
    assert about["config"]["seeds"] == 3
    rows = Page(report.write(directory).read_text("utf-8")).rows("Each class")
    assert [row[2] for row in rows[1:3]] == [f"{100 * 24 / (30 + 4):.1f} %", f"{100 * 26 / (30 + 6):.1f} %"]


def test_what_is_wrong_with_how_many_seeds(tmp_path):
    """Two of three got a loss that is no number; their epochs and the third's are judged one by one."""
    directory = seeds(tmp_path / "run")
    for seed in (1, 2):
        lines = [{**line, "loss": float("nan")} if line.get("epoch", 0) > seed else line for line in history()]
        (directory / f"seed-{seed}" / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = Page(report.write(directory).read_text("utf-8"))
    rows = {row[0]: row[1:] for row in page.rows("Diagnosis")[1:]}
    assert rows["learning rate too high"][0] == "2 of 3"
    assert rows["learning rate too high"][1].startswith("seed 1: the loss is no number after epoch")
    assert "Divide the rate by 10" in rows["learning rate too high"][2]


def test_inside_the_chosen_network(tmp_path):
    """Maps, filters and gradients are those of the seed that is kept, and say so."""
    directory = seeds(tmp_path / "run")
    plain = Page(report.write(directory).read_text("utf-8"))
    assert not {"Inside the network", "Where the evidence lies"} & {e["text"] for e in plain.all("h2")}
    (directory / "metrics.json").write_text(
        json.dumps({**json.loads((directory / "metrics.json").read_text()), "chosen": 1})
    )
    for seed in (0, 1):
        arrays = seeing(predictions(LABELS, answers(seed), IMAGES), seed=seed)
        if seed == 0:
            arrays["filters_layer"] = np.array("another")
        np.savez(directory / f"seed-{seed}" / "predictions.npz", **arrays)
    page = Page(report.write(directory).read_text("utf-8"))
    assert {"Inside the network", "Where the evidence lies"} <= {e["text"] for e in page.all("h2")}
    assert page.text.count("Of seed 1, whose network model.keras is.") == 2
    assert "stem_conv" in page.text and "another" not in page.text
