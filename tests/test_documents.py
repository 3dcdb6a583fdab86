"""The documents do what they say: their code runs, their links and pictures exist."""

import os
import pathlib
import re
import runpy
import subprocess
import sys
from dataclasses import dataclass
from urllib.parse import unquote

import numpy as np
import pytest
from harness import environment
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"^(?P<marks>```+)(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=marks) *$", re.M | re.S)
SKIP = re.compile(r"<!-- test: skip (?P<reason>[^\n]*?) *-->\s*\Z")


@dataclass
class Block:
    """A fenced block, the heading above it, and why it is not run (or an empty reason)."""

    language: str
    code: str
    heading: str
    skip: str


def blocks(text):
    """The fenced blocks of a Markdown text; `<!-- test: skip REASON -->` on the line before one keeps it from a run."""
    found = []
    for match in FENCE.finditer(text):
        before = FENCE.sub("", text[: match.start()])
        headings = re.findall(r"^#+ +(.*)$", before, re.M)
        skip = SKIP.search(text[: match.start()])
        reason = skip["reason"] if skip else ""
        found.append(Block(match["language"].strip(), match["code"], headings[-1] if headings else "", reason))
    return found


def test_the_reader_of_blocks():
    text = "# A\n```sh\n# no heading\n```\n## B\n<!-- test: skip needs a GPU -->\n```python\nx\n```\n````\n```\n````\n"
    assert blocks(text) == [
        Block("sh", "# no heading\n", "A", ""),
        Block("python", "x\n", "B", "needs a GPU"),
        Block("", "```\n", "B", ""),
    ]


def commands(block):
    """The commands of a shell block, without prompts and comments."""
    lines = [line.split("  #")[0].strip().removeprefix("$ ") for line in block.code.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_quick_start_is_two_commands():
    readme = blocks((ROOT / "README.md").read_text("utf-8"))
    (block,) = [block for block in readme if block.heading.lower() == "quick start"]
    assert block.language == "sh"
    lines = [line for line in commands(block) if not line.startswith(("git clone ", "cd "))]
    assert lines == ["make demo", "make test"]


def make_targets():
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_exist(document):
    named = re.findall(r"`make ([\w-]+)", document.read_text("utf-8"))
    for block in blocks(document.read_text("utf-8")):
        named += [line.split()[1] for line in commands(block) if line.startswith("make ")]
    assert set(named) <= make_targets()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links(document):
    """Every relative link and picture is a file of the checkout, every #anchor a heading."""
    text = FENCE.sub("", document.read_text("utf-8"))
    targets = re.findall(r"\]\(<?([^)\s>]+)", text) + re.findall(r"""(?:src|href)=["']([^"']+)""", text)
    targets += re.findall(r"^\[[^\]]+\]: *(\S+)", text, re.M)
    broken = []
    for target in targets:
        path, _, anchor = unquote(target).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = document.parent / path if path else document
        if not file.resolve().is_relative_to(ROOT) or not file.exists():
            broken.append(target)
        elif anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ +(.*)$", FENCE.sub("", file.read_text("utf-8")), re.M)
            if anchor not in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}:
                broken.append(target)
    assert not broken


def test_layers_page_names_every_layer():
    """And every transformation has its row in the picture, which docs/pictures.py draws from the same table."""
    from convcraft import layers

    text = (ROOT / "docs" / "layers.md").read_text("utf-8")
    named = set(re.findall(r"\w+", text))
    assert not {name for name in layers.__all__ if name not in ("activation_names", "draws", *named)}


@pytest.mark.slow
def test_pictures_are_made_by_their_command(tmp_path):
    script = ROOT / "docs" / "pictures.py"
    done = subprocess.run([sys.executable, script, tmp_path], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    made = {"checks.png", "imbalance.png", "labels.png"}  # by others, as the pages that show them say
    made |= {"recipes.svg", "grow.svg", "learning-rate.svg", "ensembles.svg"}  # by scripts of benchmarks/
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in (ROOT / "docs" / "pictures").iterdir()} - made


PYTHON = [(document, block) for document in ROOT.glob("docs/*.md") for block in blocks(document.read_text("utf-8"))]


@pytest.mark.parametrize("document, block", [(d, b) for d, b in PYTHON if b.language == "python"])
def test_code_of_the_pages_runs(document, block, tmp_path):
    if block.skip:
        pytest.skip(block.skip)
    done = subprocess.run([sys.executable, "-c", block.code], cwd=tmp_path, env=environment(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


README = blocks((ROOT / "README.md").read_text("utf-8")) if (ROOT / "README.md").exists() else []
RUN = [block for block in README if block.language in ("python", "sh") and block.heading.lower() != "quick start"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the blocks run, one after the other: `photos` holds two classes, `python` and `convcraft` are commands."""
    folder = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    for number, name in enumerate(("ants", "bees")):
        (folder / "photos" / name).mkdir(parents=True)
        for picture in range(12):
            pixels = rng.integers(0, 128, (40, 48, 3)) + 100 * number
            Image.fromarray(pixels.astype("uint8")).save(folder / "photos" / name / f"{picture}.png")
    (folder / "bin").mkdir()
    for command, arguments in (("python", ""), ("convcraft", " -m convcraft")):
        script = folder / "bin" / command
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{arguments} "$@"\n')
        script.chmod(0o755)
    return folder


@pytest.mark.parametrize("number", range(len(RUN)), ids=lambda number: f"{number}-{RUN[number].language}")
def test_readme_code_runs(number, folder):
    """In order, since a block may use what one before it has saved; each in a process of its own."""
    block = RUN[number]
    if block.skip:
        pytest.skip(block.skip)
    words = [sys.executable, "-c", block.code] if block.language == "python" else ["sh", "-e", "-c", block.code]
    env = environment(PATH=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{block.code}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


def test_readme_shows_the_three_ways():
    assert len([block for block in RUN if not block.skip]) >= 3
    picture = re.search(r"!\[[^\]]+\]\(docs/[^)]+\.png\)", (ROOT / "README.md").read_text("utf-8"))
    assert picture, "a picture of the report"


def test_tables_are_those_of_the_measurements(monkeypatch):
    """As the scripts make them, from benchmarks/results and the package's cards."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))  # as `python benchmarks/recipes.py` has it
    documents = runpy.run_path(str(ROOT / "benchmarks" / "recipes.py"))["documents"]
    for path, text in documents().items():
        assert path.read_text("utf-8") == text, f"python benchmarks/recipes.py draw makes another table in {path.name}"
    fused = runpy.run_path(str(ROOT / "benchmarks" / "ensembles.py"))
    page = fused["PAGE"].read_text("utf-8")
    assert page == fused["document"](), "python benchmarks/ensembles.py --draw makes another table"
    tuned = runpy.run_path(str(ROOT / "benchmarks" / "fine_tuning.py"))
    page = tuned["PAGE"].read_text("utf-8")
    assert page == tuned["document"](), "python benchmarks/fine_tuning.py --draw makes another table"
