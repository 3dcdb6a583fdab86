"""Labels that were made wrong on purpose are found, by classifiers that have not seen them."""

import csv
import html
import re

import keras
import numpy as np
import pytest
from PIL import Image

from convcraft import cli, training
from convcraft.training.labels.confident_learning import judge
from convcraft.training.labels.held_out import out_of_sample
from convcraft.training.report.labels import page

COLOURS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]])
NAMES = ["red", "green", "<b>&blue"]


def pictures(count=90, size=8):
    """Noise around the colour of the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = COLOURS[labels][:, None, None] + rng.normal(0, 25, (count, size, size, 3))
    return np.clip(images, 0, 255).astype("uint8"), labels


def colours(channels=3, size=8):
    """A network that sees the mean colour; it takes raw images."""
    inputs = keras.Input((size, size, channels))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(6, 1, name="conv")(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="colours")


def load(**options):
    x, y = pictures()
    arrays = {"x_train": x, "y_train": y, "x_test": x[:30], "y_test": y[:30], "names": np.array(NAMES)}
    return training.data.load(arrays, validation=0, **options)


def planted(rate=0.1, kind="uniform", clean=None):
    clean = clean or load()
    noisy = training.inject_label_noise(clean, rate, kind)
    return noisy, np.flatnonzero(noisy.sources["train"].labels != clean.sources["train"].labels)


def test_judged_as_by_cleanlab():
    """The vectors: cleanlab 2.9.0's find_label_issues(filter_by="confident_learning"), ranked by normalized_margin, and
    compute_confident_joint(calibrate=False), on these labels and probabilities."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 4, 60)
    labels = np.where(rng.random(60) < 0.25, rng.integers(0, 4, 60), truth)
    chances = np.exp(2.2 * np.eye(4)[truth] + rng.normal(0, 1, (60, 4)))
    chances = np.round(chances / chances.sum(1, keepdims=True), 6)
    chances[:, -1] = 1 - chances[:, :-1].sum(1)
    found = judge(labels, chances)
    suspects = np.flatnonzero(found.suspect)
    assert suspects[np.argsort(found.margin[suspects])].tolist() == [27, 32, 1, 12, 16, 39, 58, 4, 17]
    joint = np.array([[9, 2, 0, 0], [2, 12, 0, 0], [1, 1, 9, 2], [0, 0, 1, 9]])
    expected = joint / joint.sum(1, keepdims=True) * np.array([14, 18, 14, 14])[:, None]
    np.testing.assert_allclose(found.joint, expected)
    assert found.share == pytest.approx(1 - np.trace(expected) / 60)


def test_judged_by_the_papers_formula():
    """Image by image, class by class, as the paper writes it."""
    rng = np.random.default_rng(1)
    labels, chances = rng.integers(0, 3, 40), rng.dirichlet(np.ones(3), 40)
    found = judge(labels, chances)
    thresholds = [np.mean([p[k] for p, y in zip(chances, labels, strict=True) if y == k]) for k in range(3)]
    for i, (p, y) in enumerate(zip(chances, labels, strict=True)):
        above = [k for k in range(3) if p[k] >= thresholds[k]]
        counted = max(above, key=lambda k: p[k]) if above else None
        assert found.suspect[i] == (counted is not None and counted != y and p.argmax() != y)
        assert not found.suspect[i] or found.guess[i] == counted
        assert found.margin[i] == pytest.approx(p[y] - max(p[k] for k in range(3) if k != y))
    np.testing.assert_allclose(found.joint.sum(axis=1), np.bincount(labels))


def test_who_agrees_with_the_label_does_not_accuse():
    """Thresholds .783 and .4: the third image is counted for the second class, but more probably of its own."""
    found = judge(np.array([0, 0, 0, 1, 1]), np.array([[0.9, 0.1], [0.9, 0.1], [0.55, 0.45], [0.6, 0.4], [0.6, 0.4]]))
    assert found.joint.tolist() == [[2, 1], [0, 2]] and not found.suspect.any()


def test_who_knows_nothing_accuses_nobody():
    found = judge(np.arange(9) % 3, np.full((9, 3), 1 / 3))
    assert not found.suspect.any() and found.share == 0


def test_what_was_learned_by_heart_does_not_count():
    """Each image has a feature of its own: fitted to it, a regression is sure of any label; held out, of none."""
    labels = np.random.default_rng(0).permutation(np.arange(60) % 3)
    chances = out_of_sample(np.eye(60), labels)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert chances[np.arange(60), labels].mean() < 0.36
    same = out_of_sample(np.eye(60), labels)
    np.testing.assert_array_equal(chances, same)


@pytest.mark.parametrize("kind", ["uniform", "pairs"])
def test_planted_labels_are_found(kind):
    noisy, wrong = planted(kind=kind)
    model = colours()
    before = [weight.copy() for weight in model.get_weights()]
    found = training.suspicious_labels(noisy, model, splits=("train",))
    assert sorted(row.index for row in found.rows) == wrong.tolist()
    truth = load().sources["train"].labels
    for rank, row in enumerate(found.rows, 1):
        assert row.rank == rank and row.split == "train" and row.file == ""
        assert row.given == NAMES[noisy.sources["train"].labels[row.index]]
        assert row.suggested == NAMES[truth[row.index]]
        assert row.confidence > row.given_confidence
    assert found.share == pytest.approx(0.1, abs=0.03) and found.agreement == pytest.approx(0.9, abs=0.02)
    assert set(np.argsort(found.margins["train"])[: len(wrong)]) == set(wrong.tolist())
    ranked = [found.margins["train"][row.index] for row in found.rows]
    assert ranked == sorted(ranked), "the most suspicious first"
    assert "9 of 90 images" in repr(found)
    assert model.trainable and not model.compiled
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_all_splits_and_missing_labels():
    noisy, _ = planted(0.2, "missing")
    found = training.suspicious_labels(noisy, colours(), folds=3)
    assert (found.images, found.without) == (102, 18) and set(found.margins) == {"train", "test"}
    np.testing.assert_array_equal(np.isnan(found.margins["train"]), noisy.sources["train"].labels < 0)
    assert not found.rows and "No label is suspicious" in page(found, [])


def test_rows_are_counted_in_the_split_where_labels_are_missing():
    noisy, wrong = planted()
    partly = training.inject_label_noise(noisy, 0.2, "missing", seed=1)
    known = np.flatnonzero(partly.sources["train"].labels >= 0)
    found = training.suspicious_labels(partly, colours(), splits=("train",))
    assert {row.index for row in found.rows} == set(wrong.tolist()) & set(known.tolist())


def test_grey_images_of_another_size_fit_a_colour_model():
    y = np.arange(90) % 3
    images = (y[:, None, None, None] * 90 + np.random.default_rng(0).integers(0, 9, (90, 5, 5, 1))).astype("uint8")
    noisy, wrong = planted(clean=training.data.load((images, y), validation=0))
    found = training.suspicious_labels(noisy, colours(3, 8), splits=("train",))
    assert {row.index for row in found.rows} == set(wrong.tolist())


def test_your_own_probabilities():
    noisy, wrong = planted()
    chances = 0.1 + 0.7 * np.eye(3)[load().sources["train"].labels]
    found = training.suspicious_labels(noisy, probabilities={"train": chances})
    assert {row.index for row in found.rows} == set(wrong.tolist()) and set(found.margins) == {"train"}
    assert {(round(row.confidence, 3), round(row.given_confidence, 3)) for row in found.rows} == {(0.8, 0.1)}


def test_table_and_page(tmp_path):
    noisy, wrong = planted()
    found = training.suspicious_labels(noisy, colours(), splits=("train",))
    with open(found.to_csv(tmp_path / "found.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == [row.index for row in found.rows]
    assert [row["given"] for row in rows] == [row.given for row in found.rows] and {*rows[0]} >= {"file", "suggested"}
    text = found.to_html(tmp_path / "found.html", pictures=5).read_text()
    assert text.count("<img") == 5 and "5 of 9, the most suspicious first" in text
    assert "<script" not in text and not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert "<b>&blue" not in text and html.escape("<b>&blue") in text
    with pytest.raises(FileNotFoundError, match="no folder"):
        found.to_csv(tmp_path / "nowhere" / "found.csv")
    with pytest.raises(ValueError, match="pictures to be at least 1"):
        found.to_html(tmp_path / "found.html", pictures=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.csv", "found.html"]


def test_files_on_the_command_line(tmp_path, capsys):
    """Pictures that lie in a wrong folder are named."""
    images, labels = pictures(60)
    misplaced = {4: 2, 30: 1}  # image to folder
    for i, image in enumerate(images):
        folder = tmp_path / "photos" / ["red", "green", "blue"][misplaced.get(i, labels[i])]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i:02}.png")
    colours().save(tmp_path / "colours.keras")
    target = tmp_path / "found.html"
    words = [
        "check-labels",
        str(tmp_path / "photos"),
        "--model",
        str(tmp_path / "colours.keras"),
        "--output",
        str(target),
    ]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "2 of 60 labels are suspicious" in said and "green: perhaps red" in said
    rows = list(csv.DictReader((tmp_path / "found.csv").open()))
    assert {row["file"].removeprefix(f"{tmp_path}/photos/") for row in rows} == {"blue/04.png", "green/30.png"}
    assert "04.png" in target.read_text()


@pytest.mark.parametrize(
    "words, message",
    [
        (["--output", "found.txt"], "--output to end in .html"),
        (["--output", "nowhere/found.html"], "There is no folder nowhere"),
        (["--folds", "1"], "--folds to be at least 2"),
        (["--model", "squeezenet1_1"], "has learned nothing"),
    ],
)
def test_bad_options(words, message, capsys):
    assert cli.main(["check-labels", "digits", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"folds": 1}, "folds to be a whole number, at least 2"),
        ({"folds": "5"}, "folds to be a whole number, at least 2; received '5'"),
        ({"probabilities": np.ones((90, 3)) / 3}, "a dictionary, split to an array .*; received ndarray"),
        ({"probabilities": {"trian": np.ones((90, 3)) / 3}}, r"among train, test; received \['trian'\]"),
        ({"model": keras.Model()}, "MODEL:WEIGHTS, a .keras file, or a functional model of images"),
        ({"splits": ("tarin",)}, "splits among train, val and test"),
        ({"splits": ("val",)}, "a split among train, test"),
        ({"probabilities": {"train": np.ones((90, 2)) / 2}}, r"shape \(90, 3\); received \(90, 2\)"),
        ({"probabilities": {"train": np.ones((90, 3))}}, "take the softmax"),
        ({"probabilities": {"train": np.full((90, 3), np.nan)}}, "take the softmax"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        training.suspicious_labels(load(), **options)


def test_masks_and_single_images_are_refused():
    masks = training.from_masks(np.zeros((10, 4, 4, 3), "uint8"), np.zeros((10, 4, 4), int), ["land", "water"])
    with pytest.raises(ValueError, match="received masks"):
        training.suspicious_labels(masks)
    x, _ = pictures(10)
    alone = training.data.load({"x_train": x, "y_train": [0] * 9 + [1], "x_test": x[:1], "y_test": [0]}, validation=0)
    with pytest.raises(ValueError, match="at least 2 labelled images of each class.*received 1 of '1'"):
        training.suspicious_labels(alone, colours())
