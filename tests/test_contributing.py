"""CONTRIBUTING's architecture, put where it says, is tested by the zoo's tests as all others are."""

import re
import shutil
import subprocess
import sys

import pytest
from harness import environment

# What takes up a model that no table names, by a part of the test's name.
TAKEN_UP = """each_value_of_each_knob undeclared_knobs_say_why unknown_size raw_integers a_step_of_training
weights_come_back_exactly a_saved_model_is_whole replace_head test_layers create_is_the_builder"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, request):
    """A copy of the repository with LeNet-5 in it."""
    root = request.config.rootpath
    if not (root / "CONTRIBUTING.md").exists():
        pytest.skip("there is no CONTRIBUTING.md beside these tests")
    copy = tmp_path_factory.mktemp("checkout") / "convcraft"
    ignored = shutil.ignore_patterns(".git", ".venv*", "build", "runs", "*.egg-info", "__pycache__", ".*_cache", "docs")
    shutil.copytree(root, copy, symlinks=True, ignore=ignored)
    text = (root / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (line,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    (copy / "zoo" / "lenet.py").write_text(code)
    index = copy / "zoo" / "index.py"
    index.write_text(index.read_text().replace("= {\n", "= {\n" + line, 1))
    return copy


def run(checkout, *arguments):
    """Pytest in the copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, cwd=checkout, env=environment(PYTHONPATH=str(checkout)), capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_a_new_architecture_is_taken_up(checkout):
    found = run(checkout, "tests/zoo", "-k", "lenet5", "--collect-only")
    for part in TAKEN_UP.split():
        assert re.search(rf"{part}.*lenet5", found), part


def test_a_new_architecture_passes_a_sample(checkout):
    printed = run(checkout, "tests/zoo", "-k", "lenet5 and (test_layers or test_info or stem_width or unknown_size)")
    assert re.search(r"\d+ passed", printed) and "failed" not in printed and "error" not in printed.lower(), printed


@pytest.mark.slow
def test_a_new_architecture_passes_all(checkout):
    printed = run(checkout, "tests/zoo", "-k", "lenet5")
    assert re.search(r"\d{2,} passed", printed) and "failed" not in printed, printed[-5000:]
