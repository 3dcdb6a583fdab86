"""The command line, as its users meet it: what it answers, how fast, and what it says of bad use."""

import importlib
import io
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest
from harness import environment, python
from PIL import Image

import convcraft
from convcraft import catalog, cli, guarding, options, training

# `convcraft` itself, saying at its end which of the slow packages it has imported
LIGHT = """
import atexit, sys
heavy = ("keras", "tensorflow", "jax", "torch", "sklearn", "matplotlib", "numpy")
atexit.register(lambda: print("heavy:", *[name for name in heavy if name in sys.modules], file=sys.stderr))
from convcraft import cli
sys.exit(cli.main(sys.argv[1:]))
"""
RUN = {
    "config.json",
    "recipe.py",
    "history.jsonl",
    "metrics.json",
    "checkpoint",
    "model.keras",
    "report.html",
    "card.md",
}


def convcraft_process(*words, cwd=None, **env):
    """`convcraft …` in a process of its own: (exit status, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, "-m", "convcraft", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env=environment(**env),
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def refused(capfd, monkeypatch):
    """Runs `convcraft …` here; it must refuse with status 2 and one line on stderr. Returns that line."""
    monkeypatch.delenv("CONVCRAFT_DEBUG", raising=False)

    def run(*words):
        capfd.readouterr()
        status = cli.main([str(word) for word in words])
        said = capfd.readouterr()
        assert status == 2, said
        lines = said.err.splitlines()
        assert len(lines) == 1, said.err
        assert lines[0].startswith("convcraft: ") and lines[0][-1] in ".?`)", lines[0]
        assert "Traceback" not in said.err and "Errno" not in said.err
        return lines[0].removeprefix("convcraft: ")

    return run


# what answers without Keras


LIGHT_COMMANDS = [
    ([], 0, "examples:"),
    (["--help"], 0, "examples:"),
    (["--version"], 0, convcraft.__version__),
    (["train", "--help"], 0, "RECIPE [options]"),
    (["evaluate", "--help"], 0, "--data"),
    (["list"], 0, "squeezenet_digits"),
    (["list", "models"], 0, "squeezenet1_1"),
    (["list", "layers"], 0, "RReLU"),
    (["list", "recipes"], 0, "resnet20_cifar10"),
    (["info", "squeezenet_digits"], 0, "Teaches"),
    (["info", "rrelu"], 0, "convcraft.layers.RReLU"),
    (["lsit"], 2, "Did you mean 'list'?"),
    (["frobnicate"], 2, "Expected one of list, info, explain"),
    (["list", "modles"], 2, "nvalid choice: 'modles'"),
    (["train", "squeezenet_digit"], 2, "Did you mean 'squeezenet_digits'?"),
    (["copy", "resnt20_cifar10", "a.py"], 2, "Did you mean 'resnet20_cifar10'?"),
    (["info", "squeezenet1_11"], 2, "Did you mean 'squeezenet1_1'?"),
    (["info", "fancy_pca"], 0, "convcraft.layers.FancyPCA"),
    (["explain", "rrelu"], 2, "There is no model named 'rrelu'"),
    (["draw", "squeezenet1_1", "a.png"], 2, "Expected OUT to end in .svg"),
    (["lr-find", "squeezenet_digits", "--help"], 0, "--ramp"),
    (["lr-find", "squeezenet_digit"], 2, "Did you mean 'squeezenet_digits'?"),
    (["info", "maxuot"], 2, "Did you mean 'Maxout'?"),
    (["info", "zzzzzz"], 2, "`convcraft list` shows what there is."),
]


@pytest.mark.parametrize("words, status, expected", LIGHT_COMMANDS, ids=[" ".join(c[0]) or "-" for c in LIGHT_COMMANDS])
def test_light(words, status, expected, tmp_path):
    """Without Keras, in under half a second of processor time (a busy machine stretches the clock on the wall)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = python(LIGHT, *words, check=False, cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == status
    *said, heavy = done.stderr.splitlines()
    assert heavy == "heavy:"
    assert expected in (said[0] if status else done.stdout)
    assert len(said) == (1 if status else 0)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_light_can_fail(tmp_path):
    """The check above sees an import of Keras where there is one."""
    done = python("import numpy\n" + LIGHT, "--version", check=False, cwd=tmp_path)
    assert done.stderr.splitlines()[-1] == "heavy: numpy"


def test_list_has_everything(capsys):
    assert cli.main(["list"]) == 0
    said = capsys.readouterr().out
    for kind in catalog.KINDS:
        entries = catalog.entries(kind)
        assert entries
        for name, summary in entries.items():
            assert f"  {name} " in said and summary, (name, "has no summary")
    assert set(catalog.entries("model")) == set(convcraft.zoo.list_models())
    assert set(catalog.entries("recipe")) == set(convcraft.recipes.__all__)


def test_list_one_kind(capsys):
    cli.main(["list", "layers"])
    said = capsys.readouterr().out
    assert "RReLU" in said and "squeezenet" not in said


def test_info_of_every_name(capsys):
    for kind in ("recipe", "layer"):
        for name in catalog.entries(kind):
            assert cli.main(["info", name]) == 0
            assert name in capsys.readouterr().out


def test_info_model(capsys):
    assert cli.main(["info", "SqueezeNet1_1"]) == 0
    said = capsys.readouterr().out
    assert "1,235,496" in said, "the parameters that facts.md and torchvision state"
    for word in ("source", "arXiv", "multiply-adds", "deviations", "zoo.create('squeezenet1_1'"):
        assert word in said


def test_explain_and_draw(capsys, tmp_path):
    assert cli.main(["explain", "SqueezeNet_CIFAR"]) == 0
    assert "section 3.2" in capsys.readouterr().out
    assert cli.main(["draw", "squeezenet_cifar", str(tmp_path / "a.svg")]) == 0
    assert (tmp_path / "a.svg").read_text("utf-8").startswith("<svg")


def test_broken_pipe(tmp_path):
    """`convcraft list | head -1` ends quietly."""
    script = f"'{sys.executable}' -m convcraft list | head -1"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, env=environment(PYTHONUNBUFFERED=""), cwd=tmp_path
    )
    assert done.stdout == "recipes\n" and done.stderr == ""
    closed = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'convcraft', 'list'], stdout=-1, "
    closed += "stderr=-1); p.stdout.close(); print(p.stderr.read().decode(), p.wait())"
    assert python(closed, cwd=tmp_path, PYTHONUNBUFFERED="").split() == ["141"]


def test_narrow_terminal_encoding(monkeypatch):
    """Letters that a terminal cannot show do not end a command."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert guarding.guarded(lambda: print("PICTURE …")) == 0
    assert terminal.buffer.getvalue() == b"PICTURE ?\n"


def test_interrupted(monkeypatch, capsys):
    def stop(options):
        raise KeyboardInterrupt

    for name, expected in (("train", "goes on from the last checkpoint"), ("list", "interrupted.")):
        monkeypatch.setitem(cli.COMMANDS, name, (stop, *cli.COMMANDS[name][1:]))
        assert cli.main([name, *["squeezenet_digits"][: name == "train"]]) == 130
        assert expected in capsys.readouterr().err


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("CONVCRAFT_DEBUG", "1")
    with pytest.raises(ValueError, match="no recipe, model or layer"):
        cli.main(["info", "nope"])


def test_bugs_keep_their_traceback(monkeypatch):
    """Only what is the user's own doing becomes one sentence."""
    monkeypatch.setitem(cli.COMMANDS, "list", (lambda options: {}["key"], *cli.COMMANDS["list"][1:]))
    with pytest.raises(KeyError):
        cli.main(["list"])


# bad use


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--nope"], "See `convcraft --help`."),
        (["info"], "Expected: NAME. See `convcraft info --help`."),
        (["draw", "nin_cifar", "nowhere/a.svg"], "There is no folder nowhere."),
        (["info", "a", "b"], "Unrecognized arguments: b"),
        (["train"], "Expected: RECIPE"),
        (["train", "--epochs", "3"], "Expected a recipe's name before its options, received '--epochs'"),
        (["train", "nope.py"], "There is no recipe file"),
        (["evaluate"], "Expected: SOURCE"),
        (["evaluate", "nope"], "There is no nope."),
        (["evaluate", "empty"], "empty is no run: it has no config.json."),
        (["evaluate", "unfinished"], "its training is not finished"),
        (["evaluate", "torn"], "Expected JSON in torn/config.json"),
        (["evaluate", "text.txt", "--data", "digits"], "Expected a run's directory, a .keras file, or MODEL:WEIGHTS"),
        (["evaluate", "cut.keras", "--data", "digits"], "cut.keras is no Keras model, or is cut short"),
        (["evaluate", "zero.keras", "--data", "digits"], "zero.keras is no Keras model, or is cut short"),
        (["evaluate", "zip.keras", "--data", "digits"], "Keras cannot load zip.keras"),
        (["evaluate", "zip.keras"], "does not say what it was trained on: add --data"),
        (["evaluate", "zip.keras", "--data"], "expected one argument"),
        (["predict", "nope", "a.png"], "There is no nope."),
        (["predict", "zip.keras"], "Expected: PICTURE"),
        (["predict", "zip.keras", "a.png"], "There is no picture or folder 'a.png'."),
        (["predict", "zip.keras", "empty"], "There are no pictures in 'empty'."),
        (["predict", "zip.keras", "text.txt", "--top", "0"], "Expected --top to be at least 1; received 0."),
        (["predict", "zip.keras", "text.txt", "--top", "two"], "invalid int value: 'two'"),
        (["predict", "zip.keras", "text.txt", "--samples", "1"], "Expected --samples to be at least 2"),
        (["predict", "zip.keras", "text.txt", "--format", "xml"], "nvalid choice: 'xml'"),
        (["predict", "zip.keras", "text.txt", "--output", "nofolder/a.csv"], "There is no folder nofolder."),
        (["predict", "squeezenet1_1", "text.txt"], "alone has learned nothing: squeezenet1_1:imagenet."),
        (["predict", "squeezenet1_1:imagenot", "text.txt"], "expected squeezenet1_1:imagenet, or"),
        (["predict", "squeezenet1_1:nofile.npz", "text.txt"], "There is no file of weights 'nofile.npz'."),
        (["predict", "squeezenet1_2:imagenet", "text.txt"], "Did you mean 'squeezenet1_1'?"),
        (["export", "zip.keras"], "Expected: FILE"),
        (["export", "zip.keras", "a.pt"], "Expected FILE to end in .onnx or .tflite, or a format; received 'a.pt'."),
        (["export", "zip.keras", "a.onnx", "--format", "tflite"], "Expected .tflite for tflite; received 'a.onnx'."),
        (["export", "zip.keras", "nofolder/a.onnx"], "There is no folder nofolder."),
        (["export", "zip.keras", "text.txt"], "text.txt exists already"),
        (["export", "zip.keras", "a.tflite"], "Keras cannot load zip.keras"),
        (["copy", "squeezenet_digits"], "Expected: FILE"),
        (["copy", "squeezenet_digits", "a.txt"], "Expected FILE to end in .py, received 'a.txt'."),
        (["copy", "squeezenet_digits", "mine.py"], "mine.py exists already: choose another name, or add --force."),
        (["copy", "squeezenet_digits", "nofolder/a.py"], "There is no folder nofolder."),
        (["copy", "squeezenet_digits", "text.txt/a.py"], "There is no folder text.txt."),
        (["copy", "squeezenet_digits", "folder.py", "--force"], "folder.py"),
        (["lr-find"], "Expected: RECIPE"),
        (["lr-find", "--steps", "20"], "Expected a recipe's name before its options, received '--steps'"),
        (["lr-find", "squeezenet_digits", "--steps", "ten"], "invalid int value: 'ten'"),
        (["lr-find", "squeezenet_digits", "--stop", "1e-9", "--strategy", "none"], "0 < start < stop"),
        (["lr-find", "squeezenet_digits", "--plot", "nofolder/a.png"], "Expected --plot in a folder that exists"),
        (["lr-find", "squeezenet_digits", "--zzz"], "There is no option --zzz."),
        (["report", "nope"], "There is no nope."),
        (["report", "zip.keras"], "Expected RUN to be a run's directory, received 'zip.keras'."),
        (["report", "empty"], "no config.json"),
        (["train", "mine.py"], "Expected a recipe, with Config, data and train; mine.py has no Config."),
        (["train", "needs.py"], "There is no module 'no_such_module'"),
        (
            ["train", "squeezenet_digits", "--epoch", "3"],
            "There is no option --epoch. Did you mean --epochs? See `conv",
        ),
        (["train", "squeezenet_digits", "--no-smok"], "Did you mean --no-smoke?"),
        (["train", "squeezenet_digits", "--zzz"], "There is no option --zzz. See `convcraft train squeezenet_digits -"),
        (
            ["train", "squeezenet_digits", "--epochs", "many"],
            "Expected --epochs to be a whole number; received 'many'.",
        ),
        (["train", "squeezenet_digits", "--epochs=1.5"], "Expected --epochs to be a whole number; received '1.5'."),
        (["train", "squeezenet_digits", "--epochs"], "Expected a whole number after --epochs."),
        (["train", "squeezenet_digits", "--output", "--smoke"], "Expected a value after --output."),
        (
            ["train", "squeezenet_digits", "--learning_rate", "x"],
            "Expected --learning-rate to be a number; received 'x'",
        ),
        (["train", "squeezenet_digits", "--smoke", "yes"], "received 'yes'."),
        (["train", "squeezenet_digits", "--smoke=yes"], "received 'yes'."),
        (["train", "squeezenet_digits", "extra"], "received 'extra'."),
        (["train", "squeezenet_digits", "--epochs", "0"], "Expected epochs to be at least 1; received 0."),
        (["train", "squeezenet_digits", "--batch-size", "-1"], "Expected batch_size to be at least 1; received -1."),
        (
            ["train", "squeezenet_digits", "--learning-rate", "nan"],
            "Expected learning_rate to be positive; received nan",
        ),
        (["train", "squeezenet_digits", "--optimizer", "adma"], "Expected optimizer to be one of sgd, momentum"),
        (["train", "squeezenet_digits", "--schedule", "x"], "Expected schedule to be one of constant"),
        (["train", "squeezenet_digits", "--strategy", "x"], "Expected strategy to be one of auto"),
        (["train", "squeezenet_digits", "--seed", "-1"], "Expected seed from 0"),
        (["train", "squeezenet_digits", "--output", "text.txt"], "it is a file"),
        (["train", "squeezenet_digits", "--output", "text.txt/run"], "text.txt"),
        (["train", "squeezenet_digits", "--output", "full"], "files of no run, such as letter.txt"),
        (["train", "squeezenet_digits", "--smoke", "--data", "nope", "--output", "new"], "received 'nope'"),
        (["train", "squeezenet_digits", "--smoke", "--activation", "rleu", "--output", "new2"], "'rleu'"),
        (
            ["train", "fof_cifar10", "--entry", "0", "--smoke", "--output", "new"],
            "expected entry, a number",
        ),
        (["train", "wide_resnet_cifar10", "--depth", "0", "--smoke", "--output", "new"], "received 0"),
        (["train", "wide_resnet_cifar10", "--widen", "0", "--smoke", "--output", "new"], "received 0.0"),
        (
            ["train", "alexnet_tinyimagenet", "--units", "0", "--smoke", "--output", "new"],
            "Expected units to be at",
        ),
        (["train", "alexnet_tinyimagenet", "--fancy-pca", "nan"], "Expected fancy_pca to be a finite number"),
        (["train", "fast_cifar10", "--width", "0", "--smoke", "--output", "new"], "Expected width to be a positive"),
        (["train", "segment_shapes", "--images", "-1", "--output", "new"], "Expected images, the number of scenes"),
        (["train", "ensemble_cifar10", "--members", "0", "--output", "new"], "Expected members to be at least 1"),
        (["train", "noisy_labels_mnist", "--noise", "2", "--smoke", "--output", "new"], "Expected noise, a share"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_use(refused, words, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if words[0] == "train":
        words = [*words, "--strategy", "none"] if len(words) > 2 and "--strategy" not in words else words
    for folder in ("empty", "unfinished", "torn", "full", "folder.py"):
        os.mkdir(folder)
    contents = {
        "unfinished/config.json": "{}",
        "torn/config.json": "{",
        "full/letter.txt": "x",
        "text.txt": "no picture",
        "mine.py": "",
        "needs.py": "import no_such_module",
        "cut.keras": "PK\x03\x04",
        "zero.keras": "",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    with zipfile.ZipFile("zip.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    assert expected in refused(*words)
    assert not [path for path in tmp_path.iterdir() if path.name in ("runs", "new", "new2")], "nothing came of it"


def test_bad_use_in_a_real_process(tmp_path):
    """The same from outside: status 2, one line, nothing on stdout."""
    status, out, err = convcraft_process("train", "squeezenet_digits", "--epochs", "many", cwd=tmp_path)
    assert (status, out) == (2, "")
    expected = (
        "convcraft: Expected --epochs to be a whole number; received 'many'. See `convcraft train squeezenet_digits"
    )
    assert err == f"{expected} --help`.\n"


def test_only_tensorflow_is_silenced(tmp_path):
    """Its greetings at import are held back; what anything else says on stderr is not."""
    (tmp_path / "keras.py").write_text(
        "import os, sys; os.write(2, b'I0000 00:00:1 1 port.cc:153] oneDNN\\nE0000 cuda\\nmind the step\\n')"
    )
    code = "import sys; sys.path.insert(0, '.'); from convcraft.quiet import import_keras; import_keras()"
    done = python(code, check=False, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr.startswith("mind the step\n")
    assert "oneDNN" not in done.stderr and "cuda" not in done.stderr
    (tmp_path / "keras.py").write_text("import no_such_backend")
    assert "No module named 'no_such_backend'" in python(code, check=False, cwd=tmp_path).stderr


# options


@dataclass
class Other(training.Common):
    # how deep
    depth: int = 3
    epochs: int = 7
    learning_rate: float = 0.1  # the paper's
    sizes: tuple[int, int] = (1, 2)
    note: str | None = None


def test_options():
    config = options.recipe_options(Other, ["--depth", "4", "--batch_size=8", "--smoke", "--sizes", "3", "4"], "x")
    assert isinstance(config, Other)
    assert config == Other(depth=4, batch_size=8, smoke=True, sizes=(3, 4))


def test_comments_are_help(capsys):
    """Also those of a field whose default a recipe changes."""
    comments = options.comments(Other)
    assert comments["depth"] == "how deep"
    assert comments["epochs"] == options.comments(training.Common)["epochs"]
    assert comments["learning_rate"].startswith("the largest learning rate")
    assert comments["learning_rate"].endswith("; the paper's")
    with pytest.raises(SystemExit) as leaving:
        options.recipe_options(Other, ["--help"], "convcraft train other")
    assert not leaving.value.code
    said = capsys.readouterr().out
    assert "convcraft train other" in said and "how deep" in said and "passes over the training images" in said
    assert "(default: 7)" in said


@pytest.mark.parametrize("recipe", sorted(convcraft.recipes.__all__))
def test_every_option_of_a_recipe_is_explained(recipe):
    config = importlib.import_module(f"convcraft.recipes.{recipe}").Config
    comments = options.comments(config)
    assert not [name for name in config.__dataclass_fields__ if not comments.get(name)]


def test_options_of_other_types_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^[^\n]*--sizes[^\n]*$"):
        options.recipe_options(Other, ["--sizes", "3", "x"], "x")


# a run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a small finished run in `run`, made by the command line, and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    status, out, err = convcraft_process("train", "squeezenet_digits", "--smoke", "--output", "run", cwd=folder)
    assert status == 0, err
    (folder / "printed").write_text(out)
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 9), dtype="uint8")
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_run_has_its_files(trained):
    directory = trained / "run"
    assert set(os.listdir(directory)) >= RUN
    metrics = json.loads((directory / "metrics.json").read_text())
    assert set(metrics["test"]) == {"accuracy", "loss", "n"} and metrics["test"]["n"] == 360
    source = pathlib.Path(convcraft.recipes.__file__).parent / "squeezenet_digits.py"
    assert (directory / "recipe.py").read_bytes() == source.read_bytes()
    printed = (trained / "printed").read_text()
    assert "report.html" in printed and "Try next" in printed and "epoch 1/1" in printed


def test_train_again_says_finished(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    before = (trained / "run" / "history.jsonl").read_bytes()
    assert cli.main(["train", "squeezenet_digits", "--smoke", "--output", "run", "--strategy", "none"]) == 0
    assert "is finished" in capsys.readouterr().out
    assert (trained / "run" / "history.jsonl").read_bytes() == before


def test_another_config_is_refused(trained, monkeypatch, refused):
    monkeypatch.chdir(trained)
    words = ["train", "squeezenet_digits", "--smoke", "--output", "run", "--strategy", "none"]
    assert "there, 3 here" in refused(*words, "--epochs", "3")
    assert "holds another run (the recipe squeezenet_digits)" in refused(words[0], "resnet20_cifar10", *words[2:])


def test_learning_rates(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    options = ["--steps", "12", "--batch-size", "16", "--plot", "a.png", "--strategy", "none"]
    assert cli.main(["lr-find", "squeezenet_digits", *options]) == 0
    said = capsys.readouterr().out
    rates = [float(line.split()[1]) for line in said.splitlines() if line.startswith(("  steep", "  valley"))]
    assert len(rates) == 2 and all(1e-6 <= rate <= 10 for rate in rates)
    assert "The recipe's own is 0.04." in said
    assert os.listdir() == ["a.png"], "nothing of a run is left"


def test_evaluate(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    before = json.loads((trained / "run" / "metrics.json").read_text())
    assert cli.main(["evaluate", "run"]) == 0
    said = capsys.readouterr().out
    accuracy, loss = before["test"]["accuracy"], before["test"]["loss"]
    assert f"test  accuracy {accuracy:.4f}  loss {loss:.4f}  n 360" in said
    assert f"val   accuracy {before['val']['accuracy']:.4f}" in said
    after = json.loads((trained / "run" / "metrics.json").read_text())
    assert after["seconds"] == before["seconds"]
    assert cli.main(["evaluate", "run/model.keras", "--data", "digits"]) == 0
    assert f"test  accuracy {accuracy:.4f}  loss {loss:.4f}  n 360" in capsys.readouterr().out


def test_evaluate_refuses(trained, monkeypatch, refused, tmp_path):
    monkeypatch.chdir(trained)
    assert "received 'nope'" in refused("evaluate", "run", "--data", "nope")
    for split in ("cats", "dogs", "owls"):
        (tmp_path / "photos" / split).mkdir(parents=True)
        for number in range(4):
            shutil.copy(f"{number % 2}.png", tmp_path / "photos" / split / f"{split}{number}.png")
    refused("evaluate", "run", "--data", tmp_path / "photos")  # other classes than the model's


def test_predict(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    assert cli.main(["predict", "run", "0.png", "1.png", "--top", "2"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("0.png  ") and second.startswith("1.png  ")
    label, share, percent = first.split("  ")[1].split()
    assert label in "0123456789" and 10 <= float(share) <= 100 and percent == "%"
    assert len(first.split("  ")) == 3


def test_report(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    page = trained / "run" / "report.html"
    page.unlink()
    assert cli.main(["report", "run"]) == 0
    assert capsys.readouterr().out.strip() == os.path.join("run", "report.html")
    assert "<html" in page.read_text()


def test_copied_recipe_runs_elsewhere(trained, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["copy", "squeezenet_digits", "my.py"]) == 0
    assert "python my.py" in capsys.readouterr().out
    assert cli.main(["copy", "squeezenet_digits", "my.py", "--force"]) == 0
    command = [sys.executable, "my.py", "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment())
    assert done.returncode == 0, done.stderr
    assert set(os.listdir(tmp_path / "runs" / "my")) >= RUN
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (trained / "run", tmp_path / "runs" / "my")]
    assert metrics[0]["test"] == metrics[1]["test"], "the copy is the recipe"
