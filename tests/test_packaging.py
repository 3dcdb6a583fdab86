"""What a user gets: by wheel, sdist, a wheel from the sdist, `pip install .` and `pip install -e .`."""

import email
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

import pytest

import convcraft

ROOT = pathlib.Path(__file__).parents[1]
PARTS = ("layers", "recipes", "training", "zoo")
EXTRAS = ["convert", "cuda", "dev", "docs", "jax", "keras-cv", "keras-hub", "onnx", "tensorboard", "torch"]
LEFT = (".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", "runs", ".hypothesis")
IMPORT = """
import importlib.util, pathlib, sys
import convcraft.layers, convcraft.zoo, convcraft.training, convcraft.recipes, convcraft.training.report
packages = [convcraft, convcraft.layers, convcraft.zoo, convcraft.training, convcraft.recipes]
assert all(package.__all__ for package in packages)
for module in ("training.data.loading", "training.report.page", "recipes.squeezenet_digits", "zoo.squeezenet"):
    assert importlib.util.find_spec("convcraft." + module).origin.endswith(".py")
assert not {"keras", "tensorflow"} & set(sys.modules), "loaded too early"
if "keras" in sys.argv:
    from convcraft.layers import RReLU
    import convcraft.recipes.squeezenet_digits
print(*[pathlib.Path(package.__file__).resolve().parent for package in packages], sep="\\n")
"""


def shell(*words, cwd=None):
    """Runs a command without this test's import path; returns its stdout, or fails with all it said."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CONVCRAFT", "PIP"))}
    env |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1"}
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=cwd, env=env, timeout=300)
    if done.returncode:
        pytest.fail(f"{words}: exit status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def build(kind, source, target):
    """Builds `source` with the setuptools that is installed here; returns the file."""
    shell(sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", target, source)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout, links as links, to build in."""
    target = tmp_path_factory.mktemp("checkout") / "convcraft"
    shutil.copytree(ROOT, target, symlinks=True, ignore=shutil.ignore_patterns(*LEFT))
    return target


@pytest.fixture(scope="module")
def sdist(checkout, tmp_path_factory):
    return build("sdist", checkout, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    return build("wheel", checkout, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def wheel_from_sdist(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel_from_sdist"))


def contents(wheel):
    """Path to bytes of a wheel's files, without its list of hashes."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith(("/RECORD", "/"))}


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_string(archive.read(name).decode())


def environment(folder, *install):
    """A virtual environment with only convcraft in it, which also sees what this Python has; returns its `bin`."""
    shell(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    site = pathlib.Path(shell(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    paths = {
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
        os.path.dirname(os.path.dirname(pytest.__file__)),
    }
    (site / "outer.pth").write_text("".join(f"{path}\n" for path in sorted(paths)))
    shell(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", *install)
    return folder / "bin"


def installed(how, checkout, request, folder):
    if how == "pip install .":
        return environment(folder / "v", checkout)
    if how == "pip install -e .":
        return environment(folder / "v", "--editable", checkout)
    return environment(folder / "v", request.getfixturevalue(how))


@pytest.mark.parametrize("how", ["wheel", "sdist", "wheel_from_sdist", "pip install .", "pip install -e ."])
def test_installed_in_every_way(how, checkout, request, tmp_path):
    binaries = installed(how, checkout, request, tmp_path)
    command = [binaries / "python", "-c", IMPORT, *["keras"][: how in ("wheel", "pip install -e .")]]  # it is slow
    places = [pathlib.Path(line) for line in shell(*command, cwd=tmp_path).splitlines()]
    home = checkout if how == "pip install -e ." else tmp_path / "v"
    assert all(place.is_relative_to(home.resolve()) for place in places), places
    assert "squeezenet_digits" in shell(binaries / "convcraft", "list", cwd=tmp_path)
    if how == "pip install .":
        record = next((tmp_path / "v").rglob("convcraft-*.dist-info/RECORD")).read_text()
        files = {line.split(",")[0] for line in record.splitlines()}
        assert {name for name in files if name.startswith("convcraft/") and ".pyc" not in name} == {
            name for name in contents(request.getfixturevalue("wheel")) if name.startswith("convcraft/")
        }


def test_wheels_are_equal(wheel, wheel_from_sdist):
    direct, roundabout = contents(wheel), contents(wheel_from_sdist)
    assert sorted(direct) == sorted(roundabout)
    assert direct == roundabout


def test_wheel_has_the_package_and_nothing_else(wheel, checkout):
    files = contents(wheel)
    package = {name for name in files if not name.startswith(f"convcraft-{convcraft.__version__}.dist-info/")}
    sources = {"convcraft/py.typed"} | {f"convcraft/{path.name}" for path in (checkout / "convcraft").glob("*.py")}
    for part in PARTS:
        sources |= {f"convcraft/{path.relative_to(checkout)}" for path in (checkout / part).rglob("*.py")}
    weights = {f"convcraft/zoo/pretrained/{path.name}" for path in (checkout / "zoo" / "pretrained").iterdir()}
    tables = {
        f"convcraft/training/sizing/tables/{path.name}"
        for path in (checkout / "training" / "sizing" / "tables").iterdir()
    }
    assert package == sources | weights | tables and weights and tables
    assert any(name.endswith("licenses/LICENSE") for name in files)


def test_sdist_is_complete(sdist, checkout):
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert not [member.name for member in members if member.issym() or member.islnk()], "links do not travel"
    names = {member.name.split("/", 1)[1] for member in members if member.isfile()}
    expected = {"LICENSE", "Makefile", "MANIFEST.in", "pyproject.toml", "setup.cfg", "convcraft/py.typed"}
    expected |= {"CHANGELOG.md", "CONTRIBUTING.md", "README.md", "requirements.txt", "requirements-oracle.txt"}
    for folder in ("tests", "docs", "benchmarks", "convcraft/zoo/pretrained", "convcraft/training/sizing/tables"):
        expected |= {str(path.relative_to(checkout)) for path in (checkout / folder).rglob("*") if path.is_file()}
    assert not expected - names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def requirements(path):
    """The requirements in a file, comments left out, spelled as in METADATA."""
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in path.read_text().splitlines()]
    return {re.sub(r"\s", "", line) for line in lines if line}


def test_metadata(wheel, checkout):
    described = metadata(wheel)
    required = [re.sub(r"\s", "", line) for line in described.get_all("Requires-Dist")]
    assert {line for line in required if "extra==" not in line} == requirements(checkout / "requirements.txt")
    assert sorted(described.get_all("Provides-Extra")) == EXTRAS
    assert described["Name"] == "convcraft" and described["Version"] == convcraft.__version__
    assert described["License-Expression"] == "Apache-2.0"
    classifiers = described.get_all("Classifier")
    assert not [line for line in classifiers if line.startswith("License ::")], "deprecated beside an expression"
    assert described["Requires-Python"] == ">=3.11"
    versions = {line.split(" :: ")[-1] for line in classifiers if " 3." in line}
    assert versions == {"3.11", "3.12", "3.13"}


def test_keras_cv_and_addons_are_explained(checkout):
    """requirements.txt names both in comments, with the file that installs each; neither is installed by it."""
    text = (checkout / "requirements.txt").read_text()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert "keras-cv" in "\n".join(comments) and "setup.cfg" in "\n".join(comments)
    assert "tensorflow-addons" in "\n".join(comments) and "requirements-oracle.txt" in "\n".join(comments)
    assert not {line for line in requirements(checkout / "requirements.txt") if "addons" in line or "cv" in line}
    assert {"tensorflow-cpu==2.15.1", "tensorflow-addons==0.23.0", "numpy<2"} == requirements(
        checkout / "requirements-oracle.txt"
    )


def test_checkout_whose_links_are_text(checkout, tmp_path):
    """As git makes it on Windows: a file that holds the link's target."""
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy, symlinks=True)
    links = [copy / "convcraft" / part for part in PARTS]
    if not all(link.is_symlink() for link in links):
        pytest.skip("this is no checkout but an unpacked sdist, which has no links")
    for link in links:
        target = os.readlink(link)
        assert target == f"../{link.name}", "a relative link"
        link.unlink()
        link.write_text(target)
    code = f"import sys; sys.path.insert(0, {str(copy)!r})\n{IMPORT}"
    places = shell(sys.executable, "-c", code, "keras", cwd=tmp_path).splitlines()
    assert places == [str((copy / name).resolve()) for name in ("convcraft", "layers", "zoo", "training", "recipes")]


@pytest.mark.parametrize("part", PARTS)
def test_folders_refuse_to_be_packages_of_their_own(part, checkout):
    if not (checkout / part).is_dir():
        pytest.skip("an unpacked sdist has no such folder at its root")
    code = f"""
import sys; sys.path.insert(0, "")
try:
    import {part}
except ImportError as error:
    print(error)
"""
    expected = f"Expected 'import convcraft.{part}', received 'import {part}'."
    assert shell(sys.executable, "-c", code, cwd=checkout).strip() == expected


def test_what_is_tested_is_what_is_installed():
    """`make test` installs the wheel, and says where: the checkout must not stand in for it."""
    place = pathlib.Path(convcraft.__file__).resolve()
    if site := os.environ.get("CONVCRAFT_SITE"):
        assert place.is_relative_to(pathlib.Path(site).resolve())
        assert not (place.parent / "layers").is_symlink()
    for part in PARTS:
        assert pathlib.Path(getattr(convcraft, part).__file__).parent == pathlib.Path(convcraft.__file__).parent / part


def test_licence(checkout):
    text = (checkout / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_ruff_is_the_same_everywhere(wheel, checkout):
    """The hook before a commit, and `make lint`."""
    required = [re.sub(r"\s", "", line) for line in metadata(wheel).get_all("Requires-Dist")]
    (version,) = [line.split(";")[0].removeprefix("ruff==") for line in required if line.startswith("ruff==")]
    hooks = checkout / ".pre-commit-config.yaml"
    if not hooks.exists():
        pytest.skip("an unpacked sdist has no hooks")
    assert f"rev: v{version}\n" in hooks.read_text()


# the Makefile, with a Python that notes what is asked of it in place of doing it

FAKE = """#!/bin/sh
echo "$*" >> "$LOG"
case "$*" in
*"$FAILING"*) exit 1 ;;
"-m venv "*) for last; do :; done; mkdir -p "$last/bin" && cp "$0" "$last/bin/python" ;;
"-m pip wheel"*) mkdir -p build/wheel && touch build/wheel/a.whl ;;
esac
"""


@pytest.fixture
def make(checkout, tmp_path):
    """`make(words, failing="…")` in a folder with a space in its name; returns status, output, and what Python got."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    for name in ("Makefile", "setup.cfg", "requirements.txt", "requirements-oracle.txt"):
        shutil.copy(checkout / name, folder)
    python = tmp_path / "fake-python"
    python.write_text(FAKE)
    python.chmod(0o755)

    def run(*words, failing="nothing at all", fake=True):
        log = tmp_path / "log"
        log.write_text("")
        env = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
        pythons = [f"PYTHON={python}", f"ORACLE_PYTHON={python}"] if fake else []
        done = subprocess.run(
            ["make", *words, *pythons],
            cwd=folder,
            env={**env, "LOG": str(log), "FAILING": failing},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr, log.read_text()

    return run


def test_make_venv_is_idempotent(make):
    status, said, asked = make("venv")
    assert status == 0, said
    assert "-m venv --clear .venv" in asked and "install --quiet --disable-pip-version-check --editable .[dev]" in asked
    status, said, asked = make("venv")
    assert (status, asked) == (0, "")


@pytest.mark.parametrize("name", ["", "/bin/false", "/no/such/python"])
def test_make_venv_without_a_fitting_python(make, name):
    """One sentence that says what is needed."""
    status, said, asked = make("venv", f"PYTHON={name}", fake=False)
    first, *rest = said.splitlines()
    assert status and len(rest) == 1 and rest[0].startswith("make: ***")
    assert first.startswith("convcraft needs Python 3.11, 3.12 or 3.13 with the module venv")
    assert "make venv PYTHON=" in first and (name or "none was found") in first


def test_make_venv_starts_again_after_a_failure(make):
    """Broken off while installing, it is not taken for ready."""
    status, _, _ = make("venv", failing="--editable")
    assert status
    status, _, asked = make("venv")
    assert not status and "--editable" in asked and "-m venv" not in asked
    status, _, asked = make("venv", "-W", "setup.cfg", failing="pip --version")  # an environment without pip
    assert "-m venv --clear .venv" in asked


PARTS_OF_TEST = ["ruff check .", "ruff format --check .", "-m mypy", "pip wheel", "--target build/site", "-m pytest"]


def test_make_test_runs_every_part(make):
    status, said, asked = make("test", "ARGS=-x")
    assert status == 0, said
    for part in PARTS_OF_TEST:
        assert part in asked, part
    assert re.search(r"/a folder/tests -n auto .* -x$", asked.splitlines()[-1])


@pytest.mark.parametrize(
    "part", ["ruff check", "ruff format", "-m mypy", "pip wheel", "--target build/site", "-m pytest"]
)
@pytest.mark.parametrize("target", ["test", "test-all"])
def test_make_test_fails_if_a_part_fails(make, target, part):
    status, _, asked = make(target, failing=part)
    assert status and part in asked


def test_make_test_all_does_what_it_can(make):
    status, said, asked = make("test-all", failing="import torch")
    assert status == 0, said
    assert "install --quiet --disable-pip-version-check torch\n" in asked and "requirements-oracle.txt" in asked
    assert re.findall(r"/tests -m  --part (\d)/6 -n auto ", asked) == list("123456"), "together all of them"
    status, said, asked = make("test-all", failing="torch")
    assert status == 0 and "PyTorch cannot be installed here: its tests are skipped." in said
    assert re.search(r"/tests -m  --part 6/6 -n auto ", asked.splitlines()[-1])
    make("clean")
    status, said, asked = make("test-all", failing="requirements-oracle.txt")
    assert status == 0 and "tensorflow-addons cannot be installed here: its tests are skipped." in said


def test_make_oracle_without_a_fitting_python(make):
    status, said, _ = make("oracle", "ORACLE_PYTHON=", fake=False)
    assert status and said.startswith("tensorflow-addons needs Python 3.9, 3.10 or 3.11")


def test_makefile_is_plain():
    """For macOS's make 3.81 and any POSIX sh."""
    text = (ROOT / "Makefile").read_text()
    for newer in (".ONESHELL", "$(file ", "!=", "&:", "undefine", "[[", "pipefail", "function ", "<<<", "source "):
        assert newer not in text, newer
    assert "SHELL" not in text.replace(".ONESHELL", "")


def test_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("an unpacked sdist has no CI")
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "make test"
