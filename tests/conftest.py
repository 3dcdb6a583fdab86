"""Shared by all tests: two logical CPU devices on TensorFlow, the harness on the path, a fresh process to load in."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).parent))  # for harness.py; the packages come from what is installed

import keras
import pytest
from harness import FreshProcess

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # stand-ins for two GPUs; must be set before TensorFlow starts its devices
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )


@pytest.fixture(scope="session")
def fresh_process():
    """A process that has never built our layers: it knows them only through `convcraft.load_model`."""
    process = FreshProcess()
    yield process
    process.close()


@pytest.fixture(scope="session")
def shared():
    """The folder of data and weights beside the checkout; tests that need it skip where it is absent."""
    folder = pathlib.Path(os.environ.get("CONVCRAFT_SHARED", pathlib.Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs real data in {folder}, which is absent (CONVCRAFT_SHARED names another folder)")
    return folder


@pytest.fixture(scope="session")
def unpacked(shared, tmp_path_factory):
    """A function: name of a data set to its path, unpacked from `shared` unless $CONVCRAFT_DATA has it."""
    folder = tmp_path_factory.mktemp("unpacked")
    found = {}

    def path(name):
        if name not in found:
            ready = pathlib.Path(os.environ.get("CONVCRAFT_DATA") or os.devnull) / f"{name}.npz"
            if not ready.exists():
                subprocess.run([sys.executable, shared / "tools" / "unpack", folder, name], check=True)
            found[name] = ready if ready.exists() else next(folder.glob(f"{name}*"))
        return found[name]

    yield path
    shutil.rmtree(folder)  # hundreds of megabytes


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same random state."""
    keras.utils.set_random_seed(0)


# minutes each: begun first, so that no process is left alone with one of them at the end
LONG = ("test_backends.py", "test_packaging.py", "test_resume.py", "test_distribute.py", "test_branches.py")


def pytest_addoption(parser):
    parser.addoption("--part", default="1/1", help="K/N: every Nth test, from the Kth on")


@pytest.hookimpl(trylast=True)  # after -m and -k have chosen
def pytest_collection_modifyitems(config, items):
    """The longest files come first; what a machine cannot run is skipped, saying why."""
    part, parts = map(int, config.getoption("--part").split("/"))
    others = list(items)
    del others[part - 1 :: parts]
    config.hook.pytest_deselected(items=others)
    items[:] = items[part - 1 :: parts]
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
    for item in items:
        if item.get_closest_marker("gpu") and not _gpu():
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))
        if item.get_closest_marker("torch") and not importlib.util.find_spec("torch"):
            item.add_marker(pytest.mark.skip(reason="needs PyTorch, which is not installed"))


def _gpu():
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
