"""Every recipe: copied out of the package, it runs; what its docstring promises is there."""

import ast
import json
import pathlib
import re
import subprocess
import sys

import pytest
from harness import environment

from convcraft import catalog, copying, recipes, zoo
from convcraft.training.sizing import known

# each is a process of its own, and that of its evaluation: a quarter to half a minute. One stands for them in the
# normal run; `pytest -m slow tests/recipes` copies and runs them all
NAMES = [
    name if name == "squeezenet_digits" else pytest.param(name, marks=pytest.mark.slow)
    for name in catalog.entries("recipe")
]
FILES = "config.json recipe.py history.jsonl metrics.json checkpoint model.keras report.html card.md predictions.npz"


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_runs_in_another_folder(name, tmp_path):
    """In a fresh process, without data, for a few steps."""
    (tmp_path / "mine.py").write_text(copying.written(name), encoding="utf-8")
    command = [sys.executable, "mine.py", "--smoke", "--strategy", "none"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    run = tmp_path / "runs" / "mine"
    assert set(FILES.split()) <= {path.name for path in run.iterdir()}
    test = json.loads((run / "metrics.json").read_text())["test"]
    if name == "segment_shapes":  # draws its data itself
        assert set(test) == {"mean_iou", "accuracy", "loss", "n"} and test["n"] == 40
    else:
        assert set(test) == {"accuracy", "loss", "n", *({"mean_iou"} if name.startswith("segment") else ())}
    assert test["n"] == 360 or name.startswith("segment")  # all of the embedded test images
    assert "python mine.py" in json.loads((run / "config.json").read_text())["command"]


def promised():
    """(recipe, options, multiply-adds, the last digit's worth) of what docstrings say."""
    found = []
    for name in catalog.entries("recipe"):
        file = pathlib.Path(recipes.__file__).parent / f"{name}.py"
        said = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split())
        said = " ".join(re.findall(r"[\d.]+ \w+ multiply-adds an image.*?(?= Command )", said))
        pattern = r"([\d.]+)(?: (million|billion))?(?: multiply-adds an image| at ((?:--\w+ [\d.]+\d ?|--\w+ \d+ ?)+))"
        for number, unit, options in re.findall(pattern, said):
            scale = {"billion": 1e9}.get(unit, 1e6)
            worth = scale / 10 ** len(number.partition(".")[2])
            marks = [pytest.mark.slow] if options else []
            found.append(pytest.param(name, options.strip(), float(number) * scale, worth, marks=marks))
    return found


@pytest.mark.parametrize("name, options, expected, worth", promised())
def test_multiply_adds_are_those_of_the_network(name, options, expected, worth):
    """Of photographs: the embedded digits, of one channel, take fewer."""
    size = 224 if name.endswith("imagenet") and "tiny" not in name else 64 if "tiny" in name else 32
    classes = 10 if "cifar" in name else 80 if "tiny" in name else 1000
    model = known.recipe_model(name, options, (size, size, 3), classes)
    assert abs(zoo.cost(model).multiply_adds - expected) <= 0.51 * worth


def test_multiply_adds_were_found():
    assert len(promised()) > 25


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_squeezenet_digits_keeps_its_promise(seed, tmp_path):
    """At least 97.5 % each; the mean of three is quoted in the recipe (`make verify-demo`)."""
    from convcraft.training import run

    done = run("squeezenet_digits", {"seed": seed, "strategy": "none"}, tmp_path / "run")
    assert done.metrics["test"]["accuracy"] >= 0.975
