"""Two runs on one page: the intervals are those of the literature, the verdict follows them."""

import json
import math

import numpy as np
import pytest
import scipy.stats
from reports import Page, check_structure, config, digits, history, make, measured, predictions

from convcraft.cli import main
from convcraft.training import report
from convcraft.training.report import statistics


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (10, 2), (606, 474), (1, 9), (0, 5)])
def test_mcnemar_is_scipys_binomial_test(first, second):
    expected = scipy.stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert statistics.mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_newcombe_is_that_of_his_paper():
    low, high = statistics.newcombe(56 / 70, 70, 48 / 80, 80)  # Newcombe 1998, table II (a), method 10
    assert (low, high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_paired_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = rng.multinomial(300, [0.12, 0.07, 0.81], 4000)
    held = [low <= 0.05 <= high for low, high in (statistics.paired(a, b, 300) for a, b, _ in draws.tolist())]
    assert 0.94 <= np.mean(held) <= 0.965


def test_welch_is_the_formula():
    one, other = [0.91, 0.93, 0.92, 0.95], [0.90, 0.89, 0.94]
    squares = [np.var(values, ddof=1) / len(values) for values in (one, other)]
    freedom = sum(squares) ** 2 / (squares[0] ** 2 / 3 + squares[1] ** 2 / 2)
    half = scipy.stats.t.ppf(0.975, freedom) * math.sqrt(sum(squares))
    middle = np.mean(one) - np.mean(other)
    assert statistics.welch(one, other) == pytest.approx((middle - half, middle + half))


def worse(share=2.0, seed=1):
    """Labels, probabilities and images of the digits as a worse network sees them."""
    labels, probabilities, images = digits()
    noisy = probabilities + np.random.default_rng(seed).uniform(0, share, probabilities.shape)
    return labels, (noisy / noisy.sum(1, keepdims=True)).astype("float32"), images


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    about = config()
    about["config"] = {**about["config"], "optimizer": "adam"}
    arrays = predictions(*worse())
    return make(folder / "good"), make(folder / "bad", config=about, arrays=arrays, lines=history(20))


def test_the_page_says_who_is_better_and_by_how_much(runs):
    good, bad = runs
    path = report.compare(good, bad)
    assert path == good / "against-bad.html"
    shown = Page(path.read_text("utf-8"))
    check_structure(shown, links=False)
    labels, probabilities, _ = digits()
    right, wrong = (found.argmax(1) == labels for found in (probabilities, worse()[1]))
    only, other = int((right & ~wrong).sum()), int((~right & wrong).sum())
    assert only > other + 10  # else the verdict would prove little
    assert "A is better." in shown.text
    assert f"{only} images are right only in A, {other} only in B." in shown.text
    points = 100 * (right.mean() - wrong.mean())
    assert f"+{points:.2f} points" in shown.all("dl", class_="tiles")[0]["text"]
    titles = [e["text"] for e in shown.all("h2")]
    wanted = ["Results", "Learning curves", "Each class", "Mistakes", "Where they disagree", "Calibration"]
    assert titles == [*wanted, "What was different"]
    assert shown.rows("Options")[1:] == [["optimizer", "momentum", "adam"]]
    backwards = Page(report.compare(bad, good).read_text("utf-8"))
    assert "B is better." in backwards.text and f"−{points:.2f} points" in backwards.text


def test_recall_of_each_class_is_scikit_learns(runs):
    from sklearn.metrics import recall_score

    shown = Page(report.compare(*runs).read_text("utf-8"))
    labels, probabilities, _ = digits()
    a, b = (recall_score(labels, found.argmax(1), average=None) for found in (probabilities, worse()[1]))
    rows = {row[0]: row[2:] for row in shown.rows("Each class")[1:]}
    for i in range(10):
        change = f"{100 * (a[i] - b[i]):+.2f}".replace("-", "−")
        assert rows[str(i)] == [f"{100 * a[i]:.1f} %", f"{100 * b[i]:.1f} %", change]


def test_pictures_are_of_images_that_one_of_them_has_right(runs):
    shown = Page(report.compare(*runs).read_text("utf-8"))
    captions = [e["text"] for e in shown.all("figcaption") if "li" in e["parents"]]
    assert captions
    for caption in captions:  # truth3A5 60.0 %B3 40.0 %
        truth, a, b = caption[5], caption[7], caption[caption.index("%B") + 2]
        assert (a == truth) != (b == truth)


def test_chance_can_explain_a_small_difference(tmp_path):
    good = make(tmp_path / "good")
    near = make(tmp_path / "near", arrays=predictions(*worse(0.02)))
    assert "Chance can explain it." in Page(report.compare(good, near).read_text("utf-8")).text


def test_other_data_are_said_and_not_paired(tmp_path):
    about = config()
    about["data"] = {**about["data"], "sha256": "other"}
    pair = make(tmp_path / "one"), make(tmp_path / "two", config=about, arrays=predictions(*worse()))
    shown = Page(report.compare(*pair).read_text("utf-8"))
    assert "The data differ" in shown.text and "on 360 and 360 images" in shown.text
    assert "McNemar" not in shown.text and "Where they disagree" not in shown.text


def seeds(directory, values):
    about = config()
    about["config"] = {**about["config"], "seeds": len(values), "seed": 0}
    for seed in range(len(values)):
        make(directory / f"seed-{seed}")
    test = {**measured(predictions(*digits()))["test"], "accuracy": float(np.mean(values)), "seeds": [0, 1, 2]}
    test |= {"accuracy_std": float(np.std(values, ddof=1)), "accuracy_interval": [0.8, 0.9], "loss_std": 0.1}
    of_each = [{"seed": seed, "test": {"accuracy": value}} for seed, value in enumerate(values)]
    metrics = {"test": test, "seconds": 60.0, "chosen": 0, "runs": of_each}
    return make(directory, config=about, metrics=metrics, absent=("history", "predictions"))


def test_several_seeds_are_compared_by_their_means(tmp_path):
    pair = seeds(tmp_path / "a", [0.91, 0.92, 0.93]), seeds(tmp_path / "b", [0.80, 0.81, 0.83])
    shown = Page(report.compare(*pair).read_text("utf-8"))
    interval = scipy.stats.ttest_ind([0.91, 0.92, 0.93], [0.80, 0.81, 0.83], equal_var=False).confidence_interval()
    said = f"95 % interval +{100 * interval.low:.2f} to +{100 * interval.high:.2f}, Welch's, of 3 and 3 seeds"
    assert said in shown.text and "A is better." in shown.text and "another seed" not in shown.text
    assert sum(e["attrs"]["class"].startswith("band") for e in shown.all("path")) >= 4


def test_runs_that_are_not_finished_and_odd_ones(tmp_path):
    whole, unfinished = make(tmp_path / "whole"), make(tmp_path / "part", absent=("metrics", "predictions"))
    assert "B has not finished" in Page(report.compare(whole, unfinished).read_text("utf-8")).text
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text("{}")
    Page(report.compare(tmp_path / "bare", whole).read_text("utf-8"))
    with pytest.raises(ValueError, match="Expected two runs"):
        report.compare(whole, tmp_path / "part" / ".." / "whole")
    with pytest.raises(FileNotFoundError, match="Expected a run directory"):
        report.compare(whole, tmp_path / "nothing")


def test_the_command(runs, capsys, tmp_path):
    for run in runs:
        (run / "model.keras").write_bytes(b"PK\x05\x06" + bytes(18))  # an empty archive: reports need no model
    assert main(["report", *map(str, runs)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(runs[0] / "report.html"), str(runs[0] / "against-bad.html")]
    assert main(["report", str(runs[0]), str(tmp_path / "no")]) == 2
    assert "no" in capsys.readouterr().err
    assert json.loads((runs[0] / "config.json").read_text())  # still a run
