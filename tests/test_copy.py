"""`convcraft copy`: recipes as files of one's own; with their models; and what has changed upstream since."""

import argparse
import ast
import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from harness import draw, environment
from PIL import Image

import convcraft
from convcraft import catalog, cli, copying, flat_code, inlining, layers, standalone, zoo

FEW = ["squeezenet_digits"]  # built and trained in the normal run; the others, half a minute each, in the slow one
WITHOUT = ("ensemble", "finetune", "segment")  # recipes that have no single classifier of their own

# stands before a script and makes convcraft something that is not installed
BLOCK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "convcraft":
            raise ModuleNotFoundError("No module named 'convcraft'", name="convcraft")

sys.meta_path.insert(0, Absent())
"""
# builds the model of each file, gives it the weights that lie beside it, and saves what it answers; then runs the file
BUILD = """
import importlib, json, os
import numpy as np, keras
sys.path.insert(0, ".")
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    module.keras.utils.set_random_seed(0)
    net = module.build(["a", "b", "c", "d"], module.SHAPE)
    with np.load(f"{name}.npz") as arrays:
        found = {layer.name: [list(w.shape) for w in layer.weights] for layer in net.layers}
        for layer in net.layers:
            layer.set_weights([arrays[f"{layer.name}/{i}"] for i in range(len(layer.weights))])
        x = arrays["images"]
    np.save(f"{name}.npy", net.predict(x, verbose=0))
    net.save(f"{name}.keras")
    dropped = [np.asarray(keras.ops.convert_to_numpy(net(x, training=True))).tolist() for _ in range(2)]
    names = module.__dict__.keys() & {"convcraft"}
    with open(f"{name}.json", "w") as file:
        json.dump({"layers": found, "random": dropped[0] != dropped[1], "names": sorted(names)}, file)
    sys.argv = [f"{name}.py", "--smoke", "--output", f"{name}_trained.keras"]
    module.main()
assert "convcraft" not in sys.modules
"""


def original(name):
    """The recipe's own model, for four classes, with weights that are no zeros and ones."""
    recipe = __import__(f"convcraft.recipes.{name}", fromlist=["model"])
    config = recipe.Config()
    images = type("Images", (), {"class_names": list("abcd"), "image_shape": standalone._shape(config)})
    images.counts = {"train": {}, "val": {}, "test": {}}
    keras.utils.clear_session()  # names that Keras gives count from 1
    keras.utils.set_random_seed(1)
    model = zoo.without_auxiliary(recipe.model(config, images))
    for layer in model.layers:
        layer.set_weights([w + 0.05 * draw(w.shape, low=-1, high=1, seed=len(w.shape)) for w in layer.get_weights()])
    return model, images.image_shape


def check_alone(names, folder):
    """The files of `names`, in a process without convcraft: the same models, which train, and load here."""
    models = {}
    for name in names:
        keras.utils.clear_session()
        (folder / f"{name}.py").write_text(copying.written(name, True), encoding="utf-8")
        model, shape = original(name)
        arrays = {f"{each.name}/{i}": w for each in model.layers for i, w in enumerate(each.get_weights())}
        np.savez(folder / f"{name}.npz", images=draw((2, *shape), low=0, high=255), **arrays)
        models[name] = model
    env = environment(PYTHONPATH="")
    words = [sys.executable, "-c", BLOCK + BUILD, *names]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=120 + 120 * len(names))
    assert done.returncode == 0, done.stderr[-3000:]
    for name, model in models.items():
        found = json.loads((folder / f"{name}.json").read_text())
        assert found["layers"] == {each.name: [list(w.shape) for w in each.weights] for each in model.layers}
        x = np.load(folder / f"{name}.npz")["images"]
        y, answered = model.predict(x, verbose=0), np.load(folder / f"{name}.npy")
        np.testing.assert_allclose(answered, y, rtol=0, atol=2e-4 * np.abs(y).max())
        assert y.std() > 1e-3 * np.abs(y).max()
        drops = any("Drop" in type(each).__name__ and getattr(each, "rate", 1) for each in model.layers)
        assert found["random"] or not drops, "dropout is off in training"
        loaded = zoo.load_model(folder / f"{name}.keras")  # the file's classes are ours
        assert zoo.class_names(loaded) == list("abcd")
        np.testing.assert_allclose(loaded.predict(x, verbose=0), y, rtol=0, atol=2e-4 * np.abs(y).max())
    assert done.stdout.count("_trained.keras: accuracy ") == len(names)


def test_models_alone(tmp_path):
    check_alone(FEW, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in catalog.entries("recipe") if n not in FEW and not n.startswith(WITHOUT)])
def test_every_model_alone(name, tmp_path):
    check_alone([name], tmp_path)


def test_normalization_of_the_file():
    """Nets that train with some of their paths: the file measures batch normalization for what predicts."""
    space = {"keras": keras, "layers": keras.layers}
    exec(standalone.PRECISE, space)
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3)(inputs)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.Dropout(0.8)(x)
    outputs = keras.layers.BatchNormalization()(x)
    net = keras.Model(inputs, outputs)
    images = draw((256, 6, 6, 3), low=0, high=255).astype("uint8")
    space["recalibrate"](net, images)
    first, second = net.layers[2], net.layers[4]
    seen = keras.Model(inputs, [first.input, second.input])
    # the mean over two batches of 128: of the first's input exactly, of the second's as the batches normalize it
    one = np.asarray(seen.predict(images, verbose=0)[0])
    np.testing.assert_allclose(first.moving_mean, one.mean((0, 1, 2)), rtol=1e-4)
    halves = np.stack([half.var((0, 1, 2)) for half in np.split(one, 2)])
    np.testing.assert_allclose(first.moving_variance, halves.mean(0), rtol=1e-4)
    np.testing.assert_allclose(second.moving_mean, 0, atol=1e-5)
    np.testing.assert_allclose(second.moving_variance, 1, rtol=1e-3)  # dropout would have made it 5
    assert (first.momentum, second.momentum) == (0.9, 0.99)
    assert "recalibrate(net, x_train" in standalone.text("fractalnet_cifar10")


def test_data_of_the_file(tmp_path):
    """Pictures and arrays come as they are meant: each with its own label, in the model's shape, as bytes."""
    words = {"epochs": 1, "batch_size": 8, "learning_rate": 0.1, "optimizer": "None", "decay": ""}
    words["precise"] = ""
    space = {"argparse": argparse, "keras": keras, "np": np, "pathlib": pathlib, "__name__": "my"}
    exec(standalone.LOOP.format(shape=(12, 16, 3), **words), space)
    colours = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
    for name, colour in colours.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(5):
            pixels = np.full((20 + number, 30, 3), colour, "uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "red" / ".DS_Store").write_bytes(b"no picture")
    train, test, names = space["load"](str(tmp_path / "photos"))
    assert names == list(colours) and len(train[0]) == 12 and len(test[0]) == 3
    for images, labels in (train, test):
        assert images.dtype == "uint8" and images.shape[1:] == (12, 16, 3)
        assert (images[:, 6, 8] == [colours[names[label]] for label in labels]).all()
    shutil.copytree(tmp_path / "photos", tmp_path / "layout" / "train")
    for number in range(1, 5):  # ImageNet's layout: its own split is kept
        (tmp_path / "photos" / "green" / f"{number}.png").unlink()
    shutil.copytree(tmp_path / "photos", tmp_path / "layout" / "val")
    train, test, names = space["load"](str(tmp_path / "layout"))
    assert names == list(colours) and len(train[0]) == 15 and test[1].tolist() == [0] * 5 + [1] + [2] * 5
    assert (test[0][:, 6, 8] == [colours[names[label]] for label in test[1]]).all()
    x = draw((9, 12, 16, 3), low=0, high=255).astype("uint8")
    y = np.arange(9)[:, None] % 3
    np.savez(tmp_path / "a.npz", x_train=x[:6], y_train=y[:6], x_test=x[6:], y_test=y[6:])
    train, test, names = space["load"](str(tmp_path / "a.npz"))
    assert (train[0] == x[:6]).all() and (test[0] == x[6:]).all() and names == ["0", "1", "2"]
    assert train[1].tolist() == [0, 1, 2] * 2 and test[1].tolist() == [0, 1, 2]
    train, test, names = space["load"]("digits")
    assert train[0].shape == (1438, 12, 16, 3) and len(test[0]) == 359 and names == list("0123456789")
    assert train[0].max() > 230 and set(train[1]) == set(range(10))


def tidy(path):
    """What ruff says of a file, checked and formatted as this repository is."""
    beside = os.path.dirname(sys.executable)  # of an environment that is not activated
    ruff = shutil.which("ruff") or shutil.which("ruff", path=beside) or pytest.skip("needs ruff")
    rules = ["--isolated", "--line-length", "120"]
    done = [
        subprocess.run([ruff, *words, str(path)], capture_output=True, text=True)
        for words in (["check", "--select", "E,F,I,UP,B", *rules], ["format", "--check", *rules])
    ]
    return "".join(each.stdout for each in done if each.returncode)


@pytest.mark.parametrize("name", [*FEW, "fractalnet_cifar10"])
def test_the_file_is_tidy(name, tmp_path):
    (tmp_path / "my.py").write_text(copying.written(name, True), encoding="utf-8")
    assert not tidy(tmp_path / "my.py")
    tree = ast.parse((tmp_path / "my.py").read_text())
    assert "convcraft" not in {name.split(".")[0] for name in modules(tree)}
    assert modules(tree) <= {*sys.stdlib_module_names, "keras", "numpy", "sklearn", "tensorflow"}
    defined = [each.name for each in tree.body if isinstance(each, ast.ClassDef | ast.FunctionDef)]
    assert len(set(defined)) == len(defined)
    used = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
    assert not set(defined) - used - {"ClassNames"}, "what nobody uses is left out"


def modules(tree):
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("name", ["finetune_folder", "segment_shapes", "ensemble_cifar10"])
def test_recipes_without_a_classifier_are_refused(name):
    if name not in catalog.entries("recipe"):
        pytest.skip("no such recipe")
    with pytest.raises(ValueError, match="copy it without --with-model"):
        standalone.text(name)


# the code of a model


CODE = [
    (
        lambda x: keras.layers.MaxPooling2D(3, 2, name="p")(x),
        'x = layers.MaxPooling2D(pool_size=3, strides=2, name="p")',
    ),
    (lambda x: keras.layers.MaxPooling2D(3, name="p")(x), 'x = layers.MaxPooling2D(pool_size=3, name="p")'),
    (lambda x: layers.PReLU(0.1, name="p")(x), 'x = PReLU(slope=0.1, name="p")(x)'),
    (lambda x: layers.RReLU.paper(name="p")(x), "RReLU(lower=3"),
    (lambda x: layers.Maxout(pieces=3, name="p")(x), 'Maxout(pieces=3, name="p")'),
    (lambda x: keras.layers.Activation(layers.activation("softplus_log2").activation, name="p")(x), "(softplus_log2, "),
    (
        lambda x: keras.layers.Conv2D(6, 1, kernel_initializer=keras.initializers.HeNormal(), name="p")(x),
        'layers.Conv2D(6, 1, kernel_initializer="he_normal", name="p")',
    ),
    (
        lambda x: keras.layers.Conv2D(6, 1, kernel_regularizer=keras.regularizers.L2(0.5), name="p")(x),
        "kernel_regularizer=keras.regularizers.L2(",
    ),
    (lambda x: keras.layers.Dropout(0.5, name="p")(x, training=False), 'x = layers.Dropout(0.5, name="p")(x)'),
]


def classifier(change):
    x = inputs = keras.Input((8, 8, 6), name="images")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(change(x))
    return keras.Model(inputs, keras.layers.Dense(13, name="head")(x), name="net")


@pytest.mark.parametrize("change, expected", CODE, ids=[expected[:30] for _, expected in CODE])
def test_code_of_layers(change, expected):
    writer = flat_code.Writer(13)
    writer.write(classifier(change), "build", "Doc.")
    assert expected in writer.functions[0]
    assert "layers.Dense(len(classes), " in writer.functions[0]
    space = {"keras": keras, "layers": keras.layers, **writer.needs}
    exec(writer.functions[0], space)
    again = space["build"](list("ab"), (8, 8, 6))
    assert [each.name for each in again.layers] == ["images", "p", "pool", "head"]
    assert again.get_layer("p").get_config() == classifier(change).get_layer("p").get_config()


def test_code_of_branches_and_shared_layers():
    """Nothing is lost where a tensor is read twice, a layer called twice, a call given keywords."""

    def change(x):
        shared = keras.layers.Conv2D(6, 3, padding="same", name="twice")
        y = shared(x)
        z = shared(y)
        z = keras.layers.Add(name="sum")([z, x, y])
        return keras.layers.Concatenate(name="all")([x, z, y])

    writer = flat_code.Writer(13)
    model = classifier(change)
    writer.write(model, "build", "Doc.")
    space = {"keras": keras, "layers": keras.layers}
    exec(writer.functions[0], space)
    again = space["build"](list(range(13)), (8, 8, 6))
    again.set_weights(model.get_weights())
    x = draw((2, 8, 8, 6))
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_written_is_refused():
    with pytest.raises(ValueError, match="which is no layer"):
        flat_code.Writer(13).write(classifier(lambda x: keras.ops.abs(x)), "build", "Doc.")


def test_inlined_definitions_follow_what_they_use():
    found = inlining.collect([layers.FractalJoin])
    text = "\n\n".join([*sorted(found.imports), *found.definitions])
    order = [each.name for each in ast.parse(text).body if isinstance(each, ast.ClassDef | ast.FunctionDef)]
    assert order.index("Chooser") < order.index("FractalPath") < order.index("FractalJoin")
    assert "from .base" not in text and "convcraft." not in text.replace("`convcraft.", "")
    assert "Example" not in text and ">>>" not in text
    exec(text, {"__name__": "alone"})


# what has changed since


@pytest.fixture
def copied(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["copy", "squeezenet_digits", "my.py"]) == 0
    return tmp_path / "my.py"


def upstream(monkeypatch, old, new):
    """A later version, whose recipe reads otherwise."""
    text = copying.present("squeezenet_digits", False)
    assert old in text
    monkeypatch.setattr(copying, "present", lambda *_: text.replace(old, new))
    monkeypatch.setattr(copying, "__version__", "9.9")


def test_copy_is_the_recipe_and_says_whence(copied, capsys):
    first, rest = copied.read_text().split("\n", 1)
    assert first == f"# Copied from the recipe squeezenet_digits of convcraft {convcraft.__version__}."
    source = os.path.join(os.path.dirname(convcraft.recipes.__file__), "squeezenet_digits.py")
    with open(source, encoding="utf-8") as file:
        assert rest.startswith(file.read())
    assert not tidy(copied)
    capsys.readouterr()
    assert cli.main(["copy", "--diff", "my.py"]) == 0
    assert "as it was when my.py was copied" in capsys.readouterr().out


def test_own_changes_are_not_upstream_s(copied, monkeypatch, capsys):
    copied.write_text(copied.read_text().replace("epochs: int = 12", "epochs: int = 99"))
    capsys.readouterr()
    assert cli.main(["copy", "--diff", "my.py"]) == 0
    said = capsys.readouterr().out
    assert "as it was when my.py was copied" in said and "2 lines of my.py are new or gone" in said
    upstream(monkeypatch, "learning_rate: float = 0.04", "learning_rate: float = 0.05")
    assert cli.main(["copy", "--diff", "my.py"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        f"--- squeezenet_digits of convcraft {convcraft.__version__}, as my.py has it",
        "+++ squeezenet_digits of convcraft 9.9",
    ]
    changed = [line[:32] for line in lines[2:] if line[0] in "+-"]
    assert changed == ["-    learning_rate: float = 0.04", "+    learning_rate: float = 0.05"]


def test_without_its_last_lines(copied, monkeypatch, capsys):
    """The difference is then to the file as it is, and says so."""
    text = copied.read_text().split(copying.FOOTER)[0].rstrip("\n") + "\n"
    copied.write_text(text.replace("epochs: int = 12", "epochs: int = 99"))
    capsys.readouterr()
    assert cli.main(["copy", "--diff", "my.py"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("my.py holds no more what was copied") and "-    epochs: int = 99" in said
    assert [line for line in said.splitlines() if line[:2] == "+ "] == ["+    epochs: int = 12"]


def test_own_lines_at_the_end(copied, capsys):
    copied.write_text(copied.read_text() + "print(1)\n")
    capsys.readouterr()
    assert cli.main(["copy", "--diff", "my.py"]) == 0
    assert "1 lines of my.py are new or gone" in capsys.readouterr().out


def test_line_ends_of_windows(copied, capsys):
    copied.write_bytes(copied.read_bytes().replace(b"\n", b"\r\n"))
    capsys.readouterr()
    assert cli.main(["copy", "--diff", "my.py"]) == 0
    assert "are new or gone" not in capsys.readouterr().out


def test_a_copy_without_its_last_lines_is_compared_as_it_is(copied, capsys):
    lines = copied.read_text().splitlines(keepends=True)
    copied.write_text("".join(line for line in lines if not line.startswith("#: ")))  # what introduces them stays
    cli.main(["copy", "--diff", "my.py"])
    assert "my.py holds no more what was copied" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda text: "print(1)\n", "is no copy of a recipe"),
        (lambda text: text.replace("squeezenet_digits of", "squeezenet_digit of"), "Did you mean 'squeezenet_digits'?"),
        (lambda text: text[:-40] + "\n", "which hold what was copied, are damaged"),
    ],
)
def test_files_that_are_no_copies(change, expected, copied, capsys):
    copied.write_text(change(copied.read_text()))
    assert cli.main(["copy", "--diff", "my.py"]) == 2
    assert expected in capsys.readouterr().err


def test_copy_with_model_remembers_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["copy", "squeezenet_digits", "my.py", "--with-model"]) == 0
    assert "convcraft no more" in capsys.readouterr().out
    assert cli.main(["copy", "--diff", "my.py"]) == 0
    first = (tmp_path / "my.py").read_text().split("\n", 1)[0]
    assert first == f"# Copied from the recipe squeezenet_digits of convcraft {convcraft.__version__}, with its model."
    assert cli.main(["copy", "squeezenet_digits", "--diff", "my.py"]) == 2
    (tmp_path / "my.py").rename(tmp_path / "other.py")
    monkeypatch.setattr(copying, "__version__", "9.9")
    assert cli.main(["copy", "--diff", "other.py"]) == 0, "neither another name nor another version is a change"


@pytest.mark.parametrize("name", ["keras.py", "sub/numpy.py", "dataclasses.py", "random.py"])
def test_names_of_modules_are_refused(name, tmp_path, monkeypatch, capsys):
    """The run would import the user's file in their place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    assert cli.main(["copy", "squeezenet_digits", name]) == 2
    assert f"another name than a module it imports, received '{name}'" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_what_to_run_can_be_pasted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["copy", "squeezenet_digits", "my own.py"]) == 0
    assert "run `python 'my own.py'`" in capsys.readouterr().out
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9")
    assert cli.main(["copy", "--diff", "latin.py"]) == 2
    assert "latin.py is no copy of a recipe: it is not UTF-8 text." in capsys.readouterr().err
