"""The report, on runs made up from scikit-learn's digits and the probabilities of a logistic regression."""

import math
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.stats
from reports import (
    EPOCHS,
    NAMES,
    Page,
    check_structure,
    digits,
    diverged,
    history,
    hundred,
    made_hostile,
    make,
    many,
    measured,
    page,
    predictions,
    seeing,
    two,
    worst,
)

from convcraft.training import report
from convcraft.training.report import charts as report_charts
from convcraft.training.report import format as report_format
from convcraft.training.report import lines as report_lines
from convcraft.training.report import network as report_network
from convcraft.training.report import statistics as report_statistics
from convcraft.training.report import style as report_style


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return make(tmp_path_factory.mktemp("runs") / "finished")


@pytest.fixture(scope="module")
def digits_page(finished):
    return page(finished)


def test_the_parser_of_these_tests_notices_unbalanced_tags():
    for broken in ("<p><b>x</p></b>", "<div><p>x</p>", "</p>"):
        with pytest.raises(AssertionError):
            Page(broken)


def test_returns_the_path_and_leaves_nothing_else(finished):
    before = {path.name for path in finished.iterdir()}
    assert report.write(str(finished)) == finished / "report.html"
    assert {path.name for path in finished.iterdir()} == before | {"report.html"}
    assert (finished / "report.html").stat().st_size < 1_000_000


def test_same_run_same_bytes(finished):
    assert report.write(finished).read_bytes() == report.write(finished).read_bytes()


def test_needs_neither_keras_nor_tensorflow():
    slow = {"keras", "tensorflow", "sklearn", "scipy", "matplotlib"}
    code = f"import sys, convcraft.training.report; print({slow} & {{*sys.modules}})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def check_nothing_from_elsewhere(page, source):
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {e["tag"] for e in page.elements}
    assert not re.search(r"https?://|url\(|@import|javascript:", source.split("<header>")[0])
    for element in page.elements:
        assert not [key for key in element["attrs"] if key.startswith("on")]
        for key in ("src", "href", "srcset", "data", "poster", "action", "xlink:href"):
            if value := element["attrs"].get(key):
                assert value.startswith(("data:", "#")), value


def test_structure_and_no_network(finished, digits_page):
    source = (finished / "report.html").read_text("utf-8")
    check_structure(digits_page)
    check_nothing_from_elsewhere(digits_page, source)
    assert not re.search(r"https?://", source)


def test_sections(digits_page):
    titles = [e["text"] for e in digits_page.all("h2")]
    assert titles == [
        "Learning curves",
        "Diagnosis",
        "Confusion",
        "Each class",
        "Worst mistakes",
        "Most uncertain",
        "Calibration",
        "Data",
        "Configuration",
        "Environment",
    ]


def test_headline(digits_page):
    from scipy.stats import binomtest

    labels, probabilities, _ = digits()
    right = int((probabilities.argmax(1) == labels).sum())
    low, high = binomtest(right, len(labels)).proportion_ci(method="wilson")
    tiles = digits_page.all("dl", class_="tiles")[0]["text"]
    assert f"{100 * right / 360:.1f} %" in tiles
    assert f"95 % interval {100 * low:.1f} to {100 * high:.1f} %, n = 360" in tiles
    assert "729,876" in tiles and "4,864 not trained" in tiles and "12.3 million" in tiles and "35 s" in tiles
    command = "convcraft train squeezenet_digits --output runs/squeezenet_digits"
    assert [e["text"] for e in digits_page.all("code") if "pre" in e["parents"]] == [command]


@pytest.mark.parametrize(("right", "n"), [(0, 10), (1, 1), (357, 360), (360, 360), (5, 9), (99_999, 100_000)])
def test_wilson_is_scipys(right, n):
    from scipy.stats import binomtest

    expected = binomtest(right, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert report_statistics.wilson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_confusion_matrix_is_scikit_learns(digits_page):
    from sklearn.metrics import confusion_matrix

    labels, probabilities, _ = digits()
    head, *rows = digits_page.rows("Confusion matrix")
    assert head == ["actual", *map(str, range(10)), "n"]
    assert [row[0] for row in rows] == [str(i) for i in range(10)]
    counts = np.array([[int(cell or 0) for cell in row[1:-1]] for row in rows])
    assert (counts == confusion_matrix(labels, probabilities.argmax(1))).all()
    assert [int(row[-1]) for row in rows] == np.bincount(labels).tolist()


def test_scores_of_the_classes_are_scikit_learns(digits_page):
    from sklearn.metrics import precision_recall_fscore_support

    labels, probabilities, _ = digits()
    scores = precision_recall_fscore_support(labels, probabilities.argmax(1))
    macro = precision_recall_fscore_support(labels, probabilities.argmax(1), average="macro")
    _, *rows, mean = digits_page.rows("Each class")
    for i, row in enumerate(rows):
        assert row == [str(i), str(scores[3][i]), *(f"{100 * scores[j][i]:.1f} %" for j in range(3))]
    assert mean == ["mean of classes", "360", *(f"{100 * macro[j]:.1f} %" for j in range(3))]


def test_pairs_and_mistakes(digits_page):
    labels, probabilities, images = digits()
    predicted = probabilities.argmax(1)
    pairs = {}
    for a, p in zip(labels.tolist(), predicted.tolist(), strict=True):
        if a != p:
            pairs[a, p] = pairs.get((a, p), 0) + 1
    _, *rows = digits_page.rows("Most confused pairs")
    listed = {(int(a), int(p)): int(n) for a, p, n, _ in rows}
    assert listed.items() <= pairs.items() and len(rows) == min(10, len(pairs))
    assert sorted(listed.values()) == sorted(pairs.values())[-len(rows) :]

    captions = [e["text"] for e in digits_page.all("figcaption") if "li" in e["parents"]]
    spread = scipy.stats.entropy(probabilities, axis=1)
    rows = worst(labels, probabilities)
    assert (predicted[rows] != labels[rows]).all()  # else they would not all be among the mistakes
    unsure = [row for row in np.argsort(-spread)[:12] if row in rows]
    assert f"{sum(predicted[unsure] == labels[unsure])} of these {len(unsure)} are right" in digits_page.text
    assert len(unsure) > 1 and len(captions) == len(rows) + len(unsure)
    for caption, row, picture in zip(captions, [*rows, *unsure], digits_page.all("img"), strict=True):
        loss = -math.log(probabilities[row, labels[row]])
        share = 100 * probabilities[row].max()
        assert caption == f"answer{predicted[row]}truth{labels[row]}sure{share:.1f} %loss{loss:.2f}"
        assert (decode(picture["attrs"]["src"]) == images[row, :, :, 0]).all()
        assert picture["attrs"]["class"] == "tiny"


def decode(uri):
    """Pixels of a data URI."""
    import base64
    import io

    from PIL import Image

    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_calibration_error(digits_page):
    labels, probabilities, _ = digits()
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    error = sum(
        inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
        for b in range(10)
        if (inside := (confidence >= b / 10) & (confidence < (b + 1) / 10 + (b == 9))).any()
    )
    assert f"Expected calibration error: {100 * error:.1f} %" in digits_page.text


def test_curves_show_the_history(digits_page):
    lines = [line for line in history() if line["event"] == "epoch"]
    best = min(lines, key=lambda line: line["val_loss"])
    assert f"lowest validation: {best['val_loss']:.3g}, epoch {best['epoch'] + 1}" in digits_page.text
    assert best is not lines[-1]  # else the marker would prove little
    described = [e["attrs"]["aria-label"] for e in digits_page.all("svg")]
    assert f"Loss over 15 epochs: train {lines[-1]['loss']:.3g}; validation {lines[-1]['val_loss']:.3g}." in described
    assert "resumed" in digits_page.text
    _, *rows = digits_page.rows("Every epoch")
    assert [row[0] for row in rows] == [str(i + 1) for i in range(EPOCHS)]
    assert [row[2] for row in rows] == [f"{line['loss']:.3g}" for line in lines]


def test_points_lie_where_their_values_are():
    line = report_lines.Line("val", "validation", [4.0, 1.0, float("nan"), 2.0, None, 3.0])
    drawn = report_charts.curves("Loss", [line])
    path = re.search(r'<path class="val" d="([^"]+)"', drawn)[1]
    moves, places = re.findall("[ML]", path), re.findall(r"[ML]([\d.]+) ([\d.]+)", path)
    assert moves == ["M", "L", "M", "M"]  # a gap at what is missing
    x, y = np.array(places, float).T
    assert np.allclose(np.diff(x) / (x[1] - x[0]), [1, 2, 2], atol=0.01)
    assert np.allclose((y - y[0]) / (y[1] - y[0]), [0, 1, 2 / 3, 1 / 3], atol=0.01) and y[1] > y[0]


@pytest.mark.parametrize("values", [[0.0], [1.0, 1.0], [0.5] * 3, [0, 0], [-1, 2], [1e-30, 1e30], [5, 5 + 1e-9]])
@pytest.mark.parametrize("share", [False, True])
def test_odd_curves_stay_inside_their_frame(values, share):
    drawn = report_charts.curves("x", [report_lines.Line("val", "validation", values)], share=share, resumed=[0.5])
    path = re.search(r'<path class="val" d="([^"]+)"', drawn)[1]
    for x, y in re.findall(r"[ML](\S+?) ([^ML]+)", path):
        assert report_charts.LEFT <= float(x) <= report_charts.WIDTH - report_charts.RIGHT
        assert 0 <= float(y) <= 210 - report_charts.BOTTOM


def test_end_labels_keep_their_distance():
    for wanted in ([50.0, 50.0], [10.0, 12.0], [150.0, 149.0], [20.0, 120.0]):
        placed = sorted(report_charts.spread(wanted, 29, 14, 160))
        assert placed[1] - placed[0] >= 29 and placed[0] >= 14 and placed[1] <= 160


@pytest.mark.parametrize("theme", [report_style.LIGHT, report_style.DARK], ids=["light", "dark"])
def test_contrast(theme):
    for ground in ("paper", "panel"):
        for ink in ("ink", "muted", "train", "val"):
            assert report_style.contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground)
    for kind in ("right", "wrong"):
        levels = report_style.ramp(theme, kind)
        assert len({background for background, _ in levels}) == report_style.LEVELS
        assert all(report_style.contrast(*pair) >= 4.5 for pair in levels)
    assert report_style.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert report_style.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


SIMULATED = {  # Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(colour, kind):
    """CIE L*a*b* of a colour as a colour-blind reader sees it."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(SIMULATED[kind]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    x, y, z = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", SIMULATED)
def test_the_colour_blind_tell_the_colours_apart(kind):
    def apart(one, other):
        return np.linalg.norm(lab(one, kind) - lab(other, kind))

    for theme in (report_style.LIGHT, report_style.DARK):
        assert apart(theme["train"], theme["val"]) > 30
        for level in (4, 9):  # the faintest shades are told by being on the diagonal or off it
            assert apart(*(report_style.ramp(theme, which)[level][0] for which in ("right", "wrong"))) > 20
    lightness = [lab("#" + "".join(f"{int(c):02x}" for c in colour), kind)[0] for colour in report_network.HEAT]
    assert (np.diff(lightness) > 10).all()
    if kind == "deutan":
        assert apart("#a05a2c", "#5a7d2c") < 20  # a control: a brown and a green that are no good


def test_ten_thousand_images_are_small_and_quick(tmp_path):
    """As CIFAR-10; the pictures are noise, which compresses worst. benchmarks/report.py times real runs."""
    run = make(tmp_path, arrays=seeing(many(10, 10_000, None, size=32)), lines=history(200))
    before = time.process_time()
    path = report.write(run)
    assert time.process_time() - before < 3
    assert path.stat().st_size < 5_000_000


def test_what_was_seen_in_the_network(tmp_path):
    arrays = seeing(predictions(*digits()))
    shown = page(make(tmp_path, arrays=arrays))
    check_structure(shown)
    gradients = arrays["gradients"]
    rows = shown.rows("Gradients")
    assert [row[1] for row in rows[1:]] == [f"block{i}/conv" for i in range(21)]
    assert [row[2] for row in rows[1:]] == [report_format.number(each) for each in gradients]
    assert f"The first layer's is {report_format.number(gradients[0] / gradients[-1])} times the last's" in shown.text
    sheet = next(e for e in shown.all("img", class_="filters"))
    pixels = decode(sheet["attrs"]["src"])
    assert pixels.shape == (3 * 4 - 1, 8 * 4 - 1, 4)  # three rows of eight, a pixel apart
    kernel = arrays["filters"][..., 0, 9]
    tile = np.rint(127.5 + 127.5 * kernel / np.abs(kernel).max())
    assert (pixels[4:7, 4:7, 0] == tile).all() and (pixels[3] == 0).all()
    maps = [e["attrs"]["alt"] for e in shown.all("img") if "evidence" in e["attrs"]["alt"]]
    assert len(maps) == 24  # of twelve mistakes, for the answer and for the truth
    row = worst(*digits()[:2])[0]
    assert maps[0].endswith(f"evidence for {digits()[1][row].argmax()}") and f"{row}:" in maps[0]


def test_a_network_that_diverged_has_no_filters(tmp_path):
    arrays = seeing(predictions(*digits()))
    arrays["filters"][..., 3], arrays["gradients"] = np.nan, np.full(21, np.nan)
    found = page(make(tmp_path / "run", arrays=arrays))
    assert "stem_conv are no numbers any more: the network diverged" in found.text
    assert "None of them is a number: the network diverged" in found.text
    assert not found.all("img", class_="filters")


def test_what_could_not_be_seen_is_said(tmp_path):
    arrays = {**predictions(*digits()), "unseen": np.array("ValueError: <odd>")}
    shown = page(make(tmp_path, arrays=arrays))
    assert "Not all could be looked at. ValueError: <odd>" in shown.text


def test_temperature(tmp_path):
    labels, probabilities, images = digits()
    arrays = predictions(labels, probabilities, images)
    shown = page(make(tmp_path, arrays=arrays, metrics={**measured(arrays), "temperature": 0.5}))
    squared = probabilities.astype("float64") ** 2  # logits divided by a half
    squared /= squared.sum(1, keepdims=True)
    loss = -np.log(squared[np.arange(len(labels)), labels]).mean()
    assert shown.rows("Temperature")[2][1:] == ["0.5", *shown.rows("Temperature")[2][2:3], f"{loss:.3g}"]
    assert "not sure enough" in shown.text
    shown = page(make(tmp_path, arrays=arrays, metrics={**measured(arrays), "temperature": None}))
    assert "No temperature is best" in shown.text


def test_long_runs_are_smoothed_and_the_numbers_are_not(tmp_path):
    lines = history(100)
    shown = page(make(tmp_path, lines=lines))
    assert "Thick: the mean over 9 epochs" in shown.text
    last = lines[-1]
    assert any(f"validation {last['val_loss']:.3g}." in e["attrs"]["aria-label"] for e in shown.all("svg"))
    assert len([e for e in shown.all("path") if e["attrs"]["class"].endswith("thin")]) == 4


def test_smoothing_keeps_lines_straight_and_gaps_open():
    assert report_lines.smooth([1.0, 2.0, 3.0, 4.0, 5.0], 2) == [1, 2, 3, 4, 5]
    assert report_lines.smooth([0.0, 3.0, 0.0], 5) == [0, 1, 0]
    assert report_lines.smooth([1.0, None, 3.0], 1) == [1, None, 3]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (report_format.percent(0.99166), "99.2 %"),
        (report_format.percent(1.0), "100.0 %"),
        (report_format.percent(0.9999), "99.99 %"),
        (report_format.percent(0.9999999), "> 99.999 %"),
        (report_format.percent(0.0), "0.0 %"),
        (report_format.percent(0.0001), "0.01 %"),
        (report_format.duration(2.13), "2.1 s"),
        (report_format.duration(9.96), "10 s"),
        (report_format.duration(35.2), "35 s"),
        (report_format.duration(59.7), "1 min 00 s"),
        (report_format.duration(130), "2 min 10 s"),
        (report_format.duration(3599.6), "1 h 00 min"),
        (report_format.duration(100_000), "1 d 4 h"),
        (report_format.integer(729876), "729,876"),
        (report_format.large(4089184256), "4.09 billion"),
        (report_format.number(0.0311), "0.0311"),
        (report_format.number(4.12e-5), "4.12×10⁻⁵"),
        (report_format.number(1e-30), "10⁻³⁰"),
        (report_format.number(12345.6), "12,346"),
        (report_format.number(math.nan), "not a number"),
        (report_format.number(math.inf), "infinite"),
        (report_format.moment("2026-11-20T18:00:00+01:00"), "20 November 2026, 17:00 UTC"),
        (report_format.moment("yesterday"), "yesterday"),
        (report_format.plain([1, None, True]), "1, –, yes"),
    ],
)
def test_numbers_for_people(said, expected):
    assert said == expected


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return made_hostile(tmp_path_factory.mktemp("runs") / "hostile")


def test_everything_is_escaped(hostile):
    source = report.write(hostile).read_text("utf-8")
    shown = Page(source)
    check_structure(shown)
    check_nothing_from_elsewhere(shown, source)
    assert "<script" not in source and "\x00" not in source
    heads = shown.rows("Confusion matrix")[0]
    shown_as = {NAMES[5]: "?broken", NAMES[6]: "nul\ufffd", " ": "(no name)"}
    assert heads[1:-1] == [shown_as.get(name, name) for name in NAMES]
    assert shown.text.count("alert(") > 20
    assert "characters)" in shown.text  # the monster of the configuration is cut


def test_a_hundred_classes(tmp_path):
    shown = page(hundred(tmp_path))
    check_structure(shown)
    assert not [e for e in shown.all("div") if e["attrs"].get("aria-label") == "Confusion matrix"]
    assert any("100 classes" in e["attrs"]["aria-label"] for e in shown.all("svg"))
    _, *rows, mean = shown.rows("Each class")
    scores = [float(row[4].split()[0]) for row in rows if row[4] != "–"]
    assert scores == sorted(scores) and len(rows) == 100
    assert len(shown.rows("Most confused pairs")) == 21
    assert decode(shown.all("img")[0]["attrs"]["src"]).shape == (96, 128, 3)
    assert "120 epochs" in shown.text


def test_large_pictures_are_reduced(tmp_path):
    labels, probabilities, _ = digits()
    shown = page(make(tmp_path, arrays=predictions(labels, probabilities, np.zeros((360, 300, 200, 3), "uint8"))))
    assert max(decode(shown.all("img")[0]["attrs"]["src"]).shape[:2]) == 128
    assert "class" not in shown.all("img")[0]["attrs"]


def test_two_classes_one_epoch_no_mistake(tmp_path):
    shown = page(two(tmp_path))
    check_structure(shown)
    assert "There are none: all 72 test images were classified correctly." in shown.text
    assert "95 % interval 94.9 to 100.0 %, n = 72" in shown.text
    assert "Most confused pairs" not in shown.text
    assert "are right all the same" in shown.text
    assert shown.rows("Confusion matrix")[1:] == [["cat", "36", "", "36"], ["dog", "", "36", "36"]]
    assert shown.all("dl", class_="tiles")[0]["text"].endswith("1 epoch")


def test_unfinished_diverged_without_validation(tmp_path):
    shown = page(diverged(tmp_path))
    check_structure(shown)
    assert "This run has not finished (11 of 15 epochs): there is no final result yet." in shown.text
    assert "The loss (train) was not a finite number in 5 epochs, first in epoch 7." in shown.text
    assert "There was no validation set" in shown.text
    assert "could not be read, and were left out: 2." in shown.text
    titles = [e["text"] for e in shown.all("h2")]
    assert titles == ["Learning curves", "Diagnosis", "Data", "Configuration", "Environment"]
    assert "learning rate too high" in shown.text and "the loss is no number after epoch 7." in shown.text
    assert "Not judged: overfitting, for there is no validation loss" in shown.text
    assert "lowest" not in shown.text


def test_every_loss_nan(tmp_path):
    lines = [{**line, "loss": math.nan, "val_loss": None} if "loss" in line else line for line in history()]
    metrics = {"test": {"accuracy": 0.1, "loss": math.nan, "n": 360}, "seconds": 1.0}
    labels, probabilities, images = digits()
    arrays = predictions(labels, np.full_like(probabilities, np.nan), images)
    shown = page(make(tmp_path, lines=lines, metrics=metrics, arrays=arrays))
    check_structure(shown)
    assert "not a number" in shown.all("dl", class_="tiles")[0]["text"]
    assert "probabilities are not numbers, left out of the tables: 360 of 360" in shown.text
    assert not any("Loss over" in e["attrs"]["aria-label"] for e in shown.all("svg"))


def test_labels_that_are_missing_are_left_out(tmp_path):
    labels, probabilities, images = digits()
    arrays = predictions(labels, probabilities, images)
    floats = labels.astype("float32")
    floats[arrays["index"][0]] = np.nan
    floats[[i for i in range(9) if i not in arrays["index"]][:2]] = -1
    shown = page(make(tmp_path, arrays={**arrays, "labels": floats}, metrics=measured(arrays)))
    assert "Images without a label, left out of the tables: 3 of 360." in shown.text
    assert sum(int(row[-1]) for row in shown.rows("Confusion matrix")[1:]) == 357
    captions = [e["text"] for e in shown.all("figcaption") if "li" in e["parents"]]
    assert len({e["attrs"]["title"] for e in shown.all("img")}) == len(arrays["index"]) - 1
    row = arrays["index"][1]
    assert captions[0].startswith(f"answer{probabilities[row].argmax()}truth{labels[row]}sure")
    assert (decode(shown.all("img")[0]["attrs"]["src"]) == images[row, :, :, 0]).all()


def test_a_class_never_predicted_or_never_there(tmp_path):
    from sklearn.metrics import f1_score, precision_score

    labels, probabilities, images = digits()
    probabilities = probabilities.copy()
    probabilities[:, 3] = 0
    kept = labels != 4
    arrays = predictions(labels[kept], probabilities[kept], images[kept])
    shown = page(make(tmp_path, arrays=arrays))
    _, *rows, mean = shown.rows("Each class")
    assert rows[3][2:] == ["–", "0.0 %", "0.0 %"] and rows[4][3] == "–"
    answers = probabilities[kept].argmax(1)
    assert mean[2] == f"{100 * precision_score(labels[kept], answers, average='macro', zero_division=0):.1f} %"
    assert mean[4] == f"{100 * f1_score(labels[kept], answers, average='macro', zero_division=0):.1f} %"
    assert "≥ 16.12" in shown.text  # a probability of 0 has no finite loss


@pytest.mark.parametrize("absent", [("predictions",), ("history",), ("history", "metrics", "predictions")])
def test_files_may_be_absent(tmp_path, absent):
    shown = page(make(tmp_path, absent=absent))
    check_structure(shown)
    if "history" in absent:
        assert "No epoch has finished yet." in shown.text
    if absent == ("predictions",):
        assert "predictions.npz is missing" in shown.text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", None])
def test_predictions_that_cannot_be_read(tmp_path, content):
    make(tmp_path)
    if content is None:
        np.savez(tmp_path / "predictions.npz", labels=np.zeros(3), probabilities=np.zeros((2, 10)))
    else:
        (tmp_path / "predictions.npz").write_bytes(content)
    shown = page(tmp_path)
    check_structure(shown)
    assert "predictions.npz could not be used" in shown.text


def test_least_config(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    shown = page(tmp_path)
    check_structure(shown)
    assert shown.all("h1")[0]["text"] == tmp_path.name


def test_not_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected a run directory with config.json"):
        report.write(tmp_path)
    for content in ("{", "[]"):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match="Expected .*JSON"):
            report.write(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_repeated_epochs_and_several_starts(tmp_path):
    lines = history()
    again = {**lines[4], "resumed_at": {"epoch": 5, "step": 0}}
    repeated = {**lines[6], "loss": 0.777}
    shown = page(make(tmp_path, lines=[*lines, again, repeated]))
    assert [row[2] for row in shown.rows("Every epoch")].count("0.777") == 1
    assert len(shown.rows("Every epoch")) == EPOCHS + 1
    assert "resumed 2 times" in shown.text and "The run was started 3 times" in shown.text
    changed = [e["text"] for e in shown.all("td", class_="changed")]
    assert changed == ["AMD EPYC 7B13", "8"]
