"""What is advised fits, costs what it says, and rests on rows that were measured."""

import csv
import pathlib

import numpy as np
import pytest
from PIL import Image

from convcraft import cli, training, zoo
from convcraft.training.sizing import advising, known, widths

ROOT = pathlib.Path(__file__).parents[3]


def measured_rows():
    with (known.TABLES / "measured.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_costs_are_those_of_the_models():
    """By building them: of the table's sizes and of others, colour and grey, any number of classes."""
    for size, classes, channels, batch in [(32, 7, 3, 32), (40, 7, 1, 8)]:
        advice = training.advise(size, classes, 300, channels=channels, parameters=1e6, batch_size=batch, most=2)
        assert len(advice) == 2
        for row in advice:
            shape = (size, size, channels)
            if row.recipe:
                recipe, _, options = row.recipe.partition(" ")
                built = known.recipe_model(recipe, options, shape, classes)
            else:
                built = zoo.create(row.model, classes, shape)
            spent = zoo.cost(built)
            assert (row.parameters, row.multiply_adds) == (spent.parameters, spent.multiply_adds), row.model
            assert row.memory == 16 * spent.parameters + batch * spent.activation_bytes, row.model


@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet", "vgg_cifar", "nin_cifar", "mobilenet_v3_small"])
def test_the_table_is_exact_at_its_sizes(name):
    """With classifiers that are dense or convolutions, with and without auxiliary ones."""
    (candidate,) = [each for each in known.candidates() if each.model == name and not each.recipe]
    size = 64
    task = known.Task(size, 5, 100.0, 3, 16, None)
    assert candidate.exact(task)
    spent, counted = candidate.spent(task), zoo.cost(zoo.create(name, 5, (size, size, 3)))
    assert spent["parameters"] == counted.parameters and spent["multiply_adds"] == counted.multiply_adds
    assert spent["memory"] == widths.training_memory(counted.parameters, counted.activation_bytes, 16)


def test_every_classifier_of_the_zoo_is_known():
    segment = [name for name in zoo.list_models() if name.startswith(("fcn", "water_unet"))]
    models = {each.model for each in known.candidates()}
    assert models == set(zoo.list_models()) - set(segment)


@pytest.mark.parametrize("budget", [{"parameters": 3e5}, {"multiply_adds": 2e7}, {"memory": 1e8}])
def test_budgets_hold(budget):
    ((name, most),) = budget.items()
    advice = training.advise(32, 10, 4500, **budget)
    assert len(advice) and all(getattr(row, name) <= most for row in advice)
    assert len({row.model for row in advice}) == len(advice)


def test_measured_ones_come_first_the_better_before_the_worse():
    """As the rows of the table are, read here by other means."""
    rows = [row for row in measured_rows() if row["data"] == "cifar10_jpeg"]
    expected = sorted(rows, key=lambda row: -float(row["accuracy"]))
    advice = training.advise(32, 10, 5000, most=len(rows) + 3)
    for row, best in zip(advice, expected, strict=False):
        assert row.model == best["model"] and row.measured.accuracy == float(best["accuracy"])
        assert f"{100 * float(best['accuracy']):.1f} %" in row.reason and "cifar10_jpeg" in row.reason
    others = advice[len(rows) :]
    assert all(row.measured is None and "Not measured" in row.reason for row in others)
    shares = [advising._share(row.published) for row in others]
    assert shares == sorted(shares, reverse=True)


def test_of_those_that_reach_what_is_wanted_the_cheapest():
    advice = training.advise(32, 10, 5000, accuracy=0.84)
    reached = [row for row in advice if row.measured and row.measured.accuracy >= 0.84]
    assert reached and advice[: len(reached)] == reached
    costs = [row.multiply_adds for row in reached]
    assert costs == sorted(costs)
    high = training.advise(32, 10, 5000, accuracy=0.93)
    assert high[0].measured is None and "published" in high[0].reason
    assert any("promise" in note for note in high.notes)


def test_what_is_wanted_makes_the_cheaper_one_the_better():
    free, wanted = (known.Task(32, 10, 100.0, 3, 32, accuracy) for accuracy in (None, 0.8))
    better, cheaper, short = (0.9, 10.0), (0.85, 5.0), (0.7, 1.0)
    assert sorted([cheaper, short, better], key=lambda pair: advising._by(free, *pair)) == [better, cheaper, short]
    assert sorted([better, short, cheaper], key=lambda pair: advising._by(wanted, *pair)) == [cheaper, better, short]


def test_few_photographs_are_for_fine_tuning():
    advice = training.advise(128, 2, 100)
    assert advice[0].measured.weights and "fine-tune" in advice[0].command
    best = max(
        (row for row in measured_rows() if row["data"] == advice[0].measured.data and row["weights"]),
        key=lambda row: float(row["accuracy"]),
    )
    assert advice[0].model == best["model"] and advice[0].measured.accuracy == float(best["accuracy"])
    assert advice.start.startswith("Start from pretrained weights")
    many = training.advise(128, 2, 100_000)
    assert not many[0].measured.weights and "not measured" in many.start


def test_nothing_is_said_of_what_was_not_measured():
    advice = training.advise(224, 1000, 1200)
    assert all(row.measured is None and row.step_seconds is None for row in advice)
    said = str(advice)
    assert "not measured" in said and "not asked" in said and "made for images 32" not in advice[0].reason


def test_steps_are_measured_where_they_are_asked_for(monkeypatch):
    taken = []
    monkeypatch.setattr(widths, "step_seconds", lambda net, batch: taken.append((net.name, batch)) or len(taken) * 0.1)
    advice = training.advise(32, 10, 100, parameters=1e6, step_seconds=0.35, batch_size=4, most=3)
    assert [row.step_seconds for row in advice] == pytest.approx([0.1, 0.2, 0.3])
    assert all(batch == 4 for _, batch in taken) and "300 ms" in str(advice)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"image_size": 0}, "image_size"),
        ({"classes": 1}, "classes"),
        ({"images_per_class": -3}, "images_per_class"),
        ({"channels": 4}, "channels"),
        ({"parameters": 0}, "parameters to be positive"),
        ({"accuracy": 90}, "as 0.9"),
        ({"most": 0}, "most"),
        ({"parameters": 1000}, "takes .* times as much.*fit_width"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        training.advise(**{"image_size": 32, "classes": 10, "images_per_class": 100, **options})


def test_on_the_command_line(capsys, tmp_path):
    words = "advise --image-size 32 --classes 10 --images-per-class 4.5k --parameters 1M --most 2"
    assert cli.main(words.split()) == 0
    said = capsys.readouterr().out
    assert "images per class 4500" in said and "resnet20_cifar" in said and "271,098" in said
    for number, name in enumerate(("ants", "bees")):
        (tmp_path / name).mkdir()
        for picture in range(10):
            pixels = np.random.default_rng(picture).integers(0, 255, (70, 66 + number, 3))
            Image.fromarray(pixels.astype("uint8")).save(tmp_path / name / f"{picture}.png")
    assert cli.main(["advise", str(tmp_path), "--most", "1"]) == 0
    said = capsys.readouterr().out
    assert "image size 64, classes 2, images per class" in said
    for words, message in [
        ("advise --image-size 32", "Expected DATA, or --classes, --images-per-class"),
        ("advise --image-size 32 --classes 10 --images-per-class many", "received 'many'"),
        ("fit-width resnet20_cifar", "Expected a budget: --parameters"),
        ("fit-width resnet21 --parameters 1M", "no model named"),
    ]:
        assert cli.main(words.split()) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["fit-width", "resnet20_cifar", "--parameters", "100k", "--classes", "7"]) == 0
    said = capsys.readouterr().out
    assert "zoo.create('resnet20_cifar', 7, (32, 32, 3), design=zoo.Design(width=" in said


def test_the_rows_are_those_of_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import advice

    assert (known.TABLES / "measured.csv").read_text("utf-8") == advice.measured(), "python benchmarks/advice.py rows"
