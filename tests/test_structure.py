"""The shape of the code: who may import whom, what is loaded when, sizes, and that every example runs."""

import ast
import doctest
import importlib
import inspect
import pathlib
import re
import textwrap
import types

import keras
import numpy as np
import pytest
from harness import python

import convcraft

HOME = pathlib.Path(convcraft.__file__).parent
ORDER = ["layers", "zoo", "training", "recipes"]  # each may import those before it
BACKENDS = {"tensorflow", "jax", "torch", "tf_keras"}
# modules that are TensorFlow's own, imported only where that is the backend
TENSORFLOW_ONLY = {"layers/tensorflow_model.py"}
HEADINGS = ["Teaches", "Data", "Accuracy", "Time", "Command", "Differs", "Not for"]


def sources(part):
    """Path (relative to the package, links not followed) to syntax tree, of a package's modules."""
    folder = HOME / part
    return {path.relative_to(HOME).as_posix(): ast.parse(path.read_text("utf-8")) for path in folder.rglob("*.py")}


MODULES = {path: tree for part in ORDER for path, tree in sources(part).items()}
MODULES |= {path.name: ast.parse(path.read_text("utf-8")) for path in HOME.glob("*.py")}


def imports(tree):
    """(level, dotted name, imported names, whether at import time) of each import in a module."""
    inside = {id(node) for function in ast.walk(tree) if isinstance(function, FUNCTIONS) for node in ast.walk(function)}
    for node in ast.walk(tree):
        now = id(node) not in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name, [], now
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", [alias.name for alias in node.names], now


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def parts_imported(path, tree):
    """(package of ours, whether relative) for each import of one."""
    for level, name, names, _ in imports(tree):
        if level:
            folder = pathlib.PurePosixPath(path).parents[level - 1].as_posix()
            if folder == ".":  # out of the package: from .. import zoo
                yield from ((part, True) for part in [name.split(".")[0] or names[0]])
            else:
                yield folder.split("/")[0], True
        elif name == "convcraft":
            yield from ((part, False) for part in names)
        elif name.startswith("convcraft."):
            yield name.split(".")[1], False


def broken_imports(path, tree):
    """What in a module of a package goes against the order, as sentences."""
    own = path.split("/")[0]
    for part, relative in parts_imported(path, tree):
        if part in ORDER and ORDER.index(part) > ORDER.index(own):
            yield f"{path} imports {part}, which stands above {own}"
        if part == own and not relative:
            yield f"{path} imports its own package by name; siblings import each other relatively"
        if part in ORDER and part != own and relative:
            yield f"{path} imports {part} relatively; expected convcraft.{part}"


def heavy_imports(path, tree):
    """Backends that are loaded together with a module."""
    for level, name, _, now in imports(tree):
        if now and not level and name.split(".")[0] in BACKENDS and path not in TENSORFLOW_ONLY:
            yield f"{path} imports {name} at module level; expected inside the function that needs it"


@pytest.mark.parametrize("path", sorted(path for path in MODULES if "/" in path))
def test_imports(path):
    assert not list(broken_imports(path, MODULES[path]))
    assert not list(heavy_imports(path, MODULES[path]))


@pytest.mark.parametrize(
    "path, code, expected",
    [
        ("layers/a.py", "from convcraft import zoo", "stands above"),
        ("layers/a.py", "from convcraft.training.data import load", "stands above"),
        ("zoo/a.py", "def f():\n    import convcraft.recipes.x", "stands above"),
        ("training/data/a.py", "from ... import zoo", "relatively; expected"),
        ("zoo/a.py", "from ..layers import RReLU", "relatively; expected"),
        ("zoo/a.py", "from .. import layers", "relatively; expected"),
        ("zoo/a.py", "from convcraft.zoo import index", "siblings"),
        ("zoo/a.py", "from convcraft import zoo", "siblings"),
        ("zoo/a.py", "import tensorflow as tf", "at module level"),
        ("training/a.py", "class A:\n    from jax import numpy", "at module level"),
        ("zoo/a.py", "try:\n    import torch.nn\nexcept ImportError:\n    pass", "at module level"),
        ("zoo/a.py", "def f():\n    import torch\nfrom convcraft.layers import RReLU\nfrom . import index", None),
        ("training/data/a.py", "from .. import check\nfrom ..check import x\nfrom convcraft import zoo", None),
        ("layers/tensorflow_model.py", "import tensorflow", None),
    ],
)
def test_the_check_of_imports(path, code, expected):
    """It sees what it is there to see, and nothing else."""
    found = [*broken_imports(path, ast.parse(code)), *heavy_imports(path, ast.parse(code))]
    assert len(found) == (expected is not None), found
    assert expected is None or expected in found[0]


def test_every_module_was_looked_at():
    assert {path.split("/")[0] for path in MODULES if "/" in path} == set(ORDER)
    assert len(MODULES) > 40


@pytest.mark.parametrize("path", sorted(path for path in sources("recipes") if not path.endswith("__init__.py")))
def test_recipe(path):
    """One copyable file: short, told in full, and built on what is public."""
    text = (HOME / path).read_text("utf-8")
    assert len(text.splitlines()) <= 150
    allowed = {(0, "convcraft"), *((0, f"convcraft.{part}") for part in ("layers", "training", "zoo"))}
    for level, name, names, _ in imports(MODULES[path]):
        if level or name.startswith("convcraft"):
            assert (level, name) in allowed, f"{name} is not public"
            module = importlib.import_module(name)
            assert set(names) <= set(module.__all__), f"{names} of {name} are not all public"
    story = ast.get_docstring(MODULES[path])
    headings = re.findall(r"^(Not for|[A-Z]\w+)(?=  )", story, re.M)
    assert headings == HEADINGS
    for heading in HEADINGS:
        assert len(re.search(rf"^{heading} +(.*)", story, re.M)[1]) > 2
    command = re.search(r"^Command +(.*)", story, re.M)[1]
    assert command.startswith(f"convcraft train {pathlib.Path(path).stem}")
    functions = {node.name for node in MODULES[path].body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert functions >= {"Config", "data", "model", "train"}  # and its own parts, where the zoo has none
    # <architecture>_<data>[_<trick>].py
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+\.py", pathlib.Path(path).name)


@pytest.mark.parametrize("path", sorted(MODULES))
def test_module_size(path):
    lines = (HOME / path).read_text("utf-8").splitlines()
    assert len(lines) <= 400
    assert not MODULES[path].body or ast.get_docstring(MODULES[path]), "a module says what it is"


def test_import_loads_neither_keras_nor_tensorflow():
    code = """
import sys, convcraft, convcraft.layers, convcraft.zoo, convcraft.training, convcraft.recipes
import convcraft.cli, convcraft.catalog, convcraft.zoo.index
from convcraft.zoo import list_models
assert dir(convcraft.zoo) and convcraft.__version__ and list_models()
print(sorted({"keras", "tensorflow", "jax", "torch", "numpy"} & set(sys.modules)))
"""
    assert python(code).strip() == "[]"


BLOCKED = """
import importlib.machinery
whole = importlib.machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):  # None, as of what is not installed: PyTorch asks, too
    return None if name.split(".")[0] in ("tensorflow", "tf_keras") else whole(name, path, target)
importlib.machinery.PathFinder.find_spec = find_spec
import sys
try:
    import tensorflow
except ModuleNotFoundError:
    print("no tensorflow")
"""


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_works_where_tensorflow_is_not_installed(backend):
    """Layers, zoo and training, on another backend."""
    code = f"""{BLOCKED}
import numpy as np, convcraft.zoo, convcraft.layers, convcraft.training
from convcraft import layers, training, zoo
for package in (layers, zoo, training):
    for name in package.__all__:
        getattr(package, name)
import keras
x = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 1)).astype("float32")
big = zoo.create("resnet20_cifar", classes=3, input_shape=(32, 32, 1), design=zoo.Design(width=0.25))
assert type(big) is layers.Model and big.predict(x, verbose=0).shape == (4, 3)
inputs = keras.Input((32, 32, 1))
small = layers.Model(inputs, keras.layers.Dense(3)(layers.RReLU(seed=1)(keras.layers.Flatten()(inputs))))
small.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
assert np.isfinite(small.fit(x, np.arange(4) % 3, verbose=0).history["loss"]).all()
print(keras.backend.backend(), *[name for name in sys.modules if name.split(".")[0] == "tensorflow"])
"""
    assert python(code, KERAS_BACKEND=backend).split("\n")[:2] == ["no tensorflow", backend]


PACKAGES = [
    "convcraft",
    *(f"convcraft.{part}" for part in ORDER),
    "convcraft.training.data",
    "convcraft.training.report",
]
EXPORTS = [(package, name) for package in PACKAGES for name in importlib.import_module(package).__all__]


def test_exports_are_what_they_say():
    for package, name in EXPORTS:
        module = importlib.import_module(package)
        value = getattr(module, name)
        assert name in dir(module)
        exports = getattr(module, "EXPORTS", {})
        # once its module is loaded, `package.name` must still be the object: a name that is its module's is replaced
        assert exports.get(name) != name, f"{package}.{name} has its module's name"
        assert isinstance(value, types.ModuleType) == (name in ORDER or name in exports and exports[name] is None)
        assert getattr(value, "__name__", name).split(".")[-1] == name, f"{package}.{name} is {value}"


def test_names_stay_what_they_are_once_everything_is_loaded():
    code = """
import importlib, pkgutil, convcraft
packages = [convcraft.layers, convcraft.zoo, convcraft.training]
before = {(package, name): getattr(package, name) for package in packages for name in package.__all__}
for package in packages:
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
for (package, name), value in before.items():
    assert getattr(package, name) is value, (package, name)
print(len(before))
"""
    lazy = ("convcraft.layers", "convcraft.zoo", "convcraft.training")
    assert int(python(code)) == len([name for package, name in EXPORTS if package in lazy])


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_is_not_there(package):
    with pytest.raises(AttributeError, match=f"'{package}' has no attribute 'nope'"):
        importlib.import_module(package).nope  # noqa: B018


# Why a public name shows no example: the builders share that of `zoo.create`; results and the recipes' own tools are
# shown by what makes or uses them.
WITHOUT_EXAMPLE = {
    "convcraft": {"load_model"},
    "convcraft.layers": {"as_model"},
    "convcraft.zoo": {"Cost", "Info", "LoadReport", "load_model"},
    "convcraft.training": {"Common", "Diagnosis", "Finding", "FineTuned", "Run", "main", "optimizer", "run", "verify"},
    "convcraft.training.data": {"Data", "Report", "Source", "check_fits"},
}


@pytest.mark.parametrize("package, name", EXPORTS, ids=[f"{package}.{name}" for package, name in EXPORTS])
def test_public_names_are_documented(package, name):
    value = getattr(importlib.import_module(package), name)
    text = inspect.getdoc(value) if isinstance(value, types.ModuleType) else value.__doc__  # not an inherited one
    assert text and text[0].isupper() or text[0].islower() and text.startswith("convcraft"), "a sentence"
    if isinstance(value, types.ModuleType) or name.lower() in convcraft.zoo.list_models():
        return
    arguments = [word for word in inspect.signature(value).parameters if word not in ("args", "kwargs", "options")]
    if inspect.isfunction(value) and "Args:" in text:
        section = text.split("Args:")[1]
        missing = [word for word in arguments if not re.search(rf"\b{word}\b", section)]
        assert not missing, f"{package}.{name} says nothing of {missing}"
    if name not in WITHOUT_EXAMPLE.get(package, ()):
        assert ">>>" in text, f"{package}.{name} has no example"


DOCUMENTED = sorted(path for path, _ in MODULES.items() if ">>>" in (HOME / path).read_text("utf-8"))


@pytest.mark.parametrize("path", DOCUMENTED)
def test_examples(path):
    """Every `>>>` gives what is written under it."""
    module = importlib.import_module(
        "convcraft." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    )
    known = {"np": np, "keras": keras, "ops": keras.ops, "convcraft": convcraft, **vars(module)}
    finder, failed, tried = doctest.DocTestFinder(exclude_empty=True), [], 0
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for example in finder.find(module, globs=known):
        result = runner.run(example, out=failed.append)
        tried += result.attempted
    assert not failed, "".join(failed)
    written = len(re.findall(r"^\s*>>> (?!.*doctest: \+SKIP)", inspect.getsource(module), re.M))
    assert tried == written, "every example is found"


def test_docstrings_are_clean():
    """Sections are Google's, and no docstring is indented into nonsense."""
    for path, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and (text := ast.get_docstring(node)):
                assert "\t" not in text, path
                for heading in re.findall(r"^(Arguments|Parameters|Return|Raise|Examples?):?$", text, re.M):
                    assert heading == "Example", f"{path}: {heading}"
                assert text == textwrap.dedent(text)
