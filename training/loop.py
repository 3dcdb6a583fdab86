"""The loop that every recipe uses: check, train, resume, evaluate, report."""

import dataclasses
import importlib
import importlib.util
import math
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from typing import Any

import keras

from convcraft import catalog, zoo

from . import common, distribute, environment, rundir
from .report.format import duration
from .runs import Run
from .sizing import batch_sizes


def run(
    recipe: str | os.PathLike[str] | types.ModuleType,
    config: common.Common | dict[str, Any] | None = None,
    directory: str | os.PathLike[str] | None = None,
) -> Run:
    """Runs a recipe: trains (or resumes), measures the saved file in a fresh process, writes the report.

    Args:
        recipe: a name in `convcraft.recipes`, the path of a recipe's file, or its module.
        config: the recipe's `Config`, a dictionary of some of its fields, or None for its defaults.
        directory: the run's directory; the same again resumes. None: `config.output`, or `runs/RECIPE`, or the first
            `runs/RECIPE-2`, … that is free or belongs to an unfinished run with this config.

    Returns:
        A `Run` with `directory`, `model` and `metrics`.
    """
    module = load_recipe(recipe)
    options = module.Config(**(config or {})) if config is None or isinstance(config, dict) else config
    return execute(module, options, directory)


def main(config_class: type[common.Common], train: Callable[[Any, Run], object]) -> None:
    """What `python my_recipe.py [options]` does: options from the command line, then the run.

    Args:
        config_class: the recipe's `Config`.
        train: its function `train(config, run)`.
    """
    from convcraft.guarding import guarded
    from convcraft.options import recipe_options

    module = sys.modules[train.__module__]
    path = pathlib.Path(module.__file__ or "")

    def start() -> None:
        config = recipe_options(config_class, sys.argv[1:], prog=f"python {path.name}")
        execute(module, config, command=f"python {path.name}")

    sys.exit(guarded(start))


def execute(
    module: types.ModuleType,
    config: common.Common,
    directory: str | os.PathLike[str] | None = None,
    command: str | None = None,
    brief: bool = False,
) -> Run:
    """Runs a loaded recipe; see `run`.

    `command` is what started it, without options; `brief` leaves out what could be done next.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # the evaluation's process needs the GPU as well
    config = batch_sizes.settled(module, common.resolve(config), directory)
    path = pathlib.Path(module.__file__).resolve()  # type: ignore[arg-type]  # a recipe is a file
    if command is None:
        ours = module.__name__.startswith("convcraft.recipes.")
        command = f"convcraft train {path.stem if ours else shlex.quote(path.name)}"
    if config.seeds > 1:
        from . import seeds

        return seeds.execute(module, config, directory, command)
    strategy = distribute.strategy(config.strategy)  # first: several workers must meet before anything else
    directory = rundir.choose(directory or config.output, path.stem, config)
    config = dataclasses.replace(config, output=str(directory))
    command += options_of(config)
    one = Run(directory, config, path.stem, command, strategy)
    if (directory / "metrics.json").exists():
        print(f"{directory} is finished. Choose another --output to train again.")
        one.model, one.metrics = zoo.load_model(directory / "model.keras"), rundir.read_json(directory / "metrics.json")
        return one
    before = directory.exists()
    if one.chief:
        rundir.write_atomically(directory / "recipe.py", lambda file: file.write(path.read_bytes()))
        print(f"{path.stem} on {config.data}, {_devices(strategy)}. Everything goes to {directory}", flush=True)
    else:  # reads the chief's checkpoint, and writes nothing that stays
        one.directory = pathlib.Path(tempfile.mkdtemp(prefix="convcraft-worker-"))
        if (directory / rundir.STATE).exists():
            shutil.copytree((directory / rundir.STATE).parent, (one.directory / rundir.STATE).parent)
    keras.utils.set_random_seed(config.seed)
    try:
        module.train(config, one)
    except BaseException:
        if one.chief and not before:
            _forget(directory)
        raise
    if one.model is None:
        raise ValueError(f"{path.stem}: expected train(config, run) to call run.fit(model, data).")
    if one.chief:
        one.metrics = _finish(one, brief)
    else:
        shutil.rmtree(one.directory)
    return one


def _forget(directory: pathlib.Path) -> None:
    """Removes the directory of a run that was refused before anything came of it: the recipe alone is there."""
    if directory.is_dir() and [path.name for path in directory.iterdir()] == ["recipe.py"]:
        shutil.rmtree(directory)


def _finish(one: Run, brief: bool) -> dict[str, Any]:
    """Measures the saved file in a fresh process, on one device; writes report and card; says what is where."""
    from . import card, report

    seconds = one.seconds()
    command = [
        sys.executable,
        "-m",
        "convcraft.training.evaluate",
        str(one.directory),
        str(round(seconds, 1)),
    ]
    if subprocess.run(command, env=child_environment()).returncode:
        raise ChildProcessError(
            f"{one.directory / 'model.keras'} is trained and saved, but measuring it in a fresh process failed; its "
            "message stands above. The same command tries again."
        )
    metrics = rundir.read_json(one.directory / "metrics.json")
    page = report.write(one.directory)
    card.write(one.directory)
    here = one.directory.is_relative_to(pathlib.Path.cwd())
    directory = shlex.quote(str(one.directory.relative_to(pathlib.Path.cwd()) if here else one.directory))
    print(
        f"\nTest {_result(metrics['test'])}, measured on the saved file, reloaded. Trained in {duration(seconds)}.",
        flush=True,
    )
    if not math.isfinite(metrics["test"].get("loss", 0.0)):
        print("The network no longer answers with numbers: the training diverged. Try a smaller learning rate.")
    if brief:
        return metrics
    print(
        f"\n  the report    {page}\n  the model     {one.directory / 'model.keras'}\n\nTry next:",
        flush=True,
    )
    if "mean_iou" not in metrics["test"]:
        print(f"  convcraft predict {directory} PICTURE …")
    if one.recipe in catalog.entries("recipe"):
        print(f"  convcraft copy {one.recipe} my.py && python my.py --help")
    print("  convcraft list", flush=True)
    return metrics


def _result(test: dict[str, Any]) -> str:
    if "mean_iou" in test:
        pixels = f"{100 * test['accuracy']:.2f} % of the pixels"
        return f"mean IoU {100 * test['mean_iou']:.2f} % ({pixels}, {test['n']} images)"
    right = round(test["accuracy"] * test["n"])
    balanced = f", balanced {100 * test['balanced_accuracy']:.2f} %" if "balanced_accuracy" in test else ""
    return f"accuracy {100 * test['accuracy']:.2f} % ({right} of {test['n']}){balanced}"


def child_environment() -> dict[str, str]:
    """The environment for a process of one device that works for this one."""
    env = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
    env |= {"KERAS_BACKEND": keras.backend.backend(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    env.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # this process still holds the GPU's memory
    return {**env, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def load_recipe(recipe: str | os.PathLike[str] | types.ModuleType) -> types.ModuleType:
    """The module of a recipe: by name, by path, or as it is."""
    if isinstance(recipe, types.ModuleType):
        return recipe
    if str(recipe).endswith(".py"):
        path = pathlib.Path(recipe).resolve()
        if not path.exists():
            raise FileNotFoundError(f"There is no recipe file {path}.")
        return _checked(_import_file(path))
    return importlib.import_module(f"convcraft.recipes.{catalog.require(str(recipe), ['recipe'])}")


def _checked(module: types.ModuleType) -> types.ModuleType:
    missing = [part for part in ("Config", "data", "train") if not hasattr(module, part)]
    if missing:
        name = pathlib.Path(module.__file__ or module.__name__).name
        raise ValueError(f"Expected a recipe, with Config, data and train; {name} has no {missing[0]}.")
    return module


def _import_file(path: pathlib.Path) -> types.ModuleType:
    name = f"convcraft_recipe_{path.stem}"  # a name of its own: a recipe may be called keras.py
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"Expected a Python file, received {path}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def options_of(config: common.Common) -> str:
    """The options that differ from the recipe's defaults, as they are typed; not the directory, which is taken."""
    words = []
    for field in dataclasses.fields(config):
        value, flag = getattr(config, field.name), field.name.replace("_", "-")
        if value != field.default and field.name != "output":
            said = f"{flag} {shlex.quote(str(value))}"
            words.append(f" --{flag}" if value is True else f" --no-{flag}" if value is False else f" --{said}")
    return "".join(words)


def _devices(strategy: distribute.Strategy | None) -> str:
    count, names = distribute.replicas(strategy), environment.devices()
    if names == ["CPU"]:
        return "without a GPU" if count == 1 else f"on {count} CPU devices"
    return f"on {names[0]}" if count == 1 else f"on {count} devices ({names[0]}, …)"
