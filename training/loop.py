"""The loop that every recipe uses: check, train, resume, evaluate, report."""

import contextlib
import dataclasses
import importlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

import keras

import convcraft

from . import check, checkpoint, common, distribute, environment, rundir
from .callbacks import History, Phases, TimeLimit
from .data import Data, Feed
from .data.streams import StreamFeed
from .progress import Progress
from .report.format import duration


class Run:
    """One training run and its directory.

    A recipe's `train(config, run)` receives it, builds and compiles its model under `run.scope()`, and hands model and
    data to `run.fit`.

    Attributes:
        directory: where everything of the run lies.
        config: the recipe's options.
        recipe: its name.
        command: what repeats the run.
        strategy: a `tf.distribute.Strategy`, a `keras.distribution.DataParallel`, or None.
        jit: what to pass as `jit_compile`: XLA where it helps on this device.
        model: after `fit`.
        metrics: after the run, the content of `metrics.json`.
        checkpoint_minutes: between checkpoints within an epoch; there is one at the end of each, too.
    """

    checkpoint_minutes = 5.0

    def __init__(
        self,
        directory: str | os.PathLike[str],
        config: common.Common,
        recipe: str,
        command: str,
        strategy: distribute.Strategy | None = None,
    ):
        self.directory = pathlib.Path(directory)
        self.config = config
        self.recipe = recipe
        self.command = command
        self.strategy = strategy
        self.chief = distribute.is_chief(strategy)
        self.jit = distribute.compile_xla(strategy)
        self.epochs = 1 if config.smoke else config.epochs
        self.model: keras.Model | None = None
        self.metrics: dict[str, Any] | None = None

    def scope(self) -> contextlib.AbstractContextManager[None]:
        """The context to build and compile the model in: the strategy's, or none."""
        return distribute.scope(self.strategy)

    def steps(self, data: Data) -> int:
        """Number of training steps in all, for schedules."""
        return self._feed(data).steps * self.epochs

    def fit(self, model: keras.Model, data: Data, callbacks: Sequence[keras.callbacks.Callback] = ()) -> keras.Model:
        """Trains `model` on the training images, from where an earlier start of this run stopped.

        Args:
            model: compiled, built under `self.scope()`.
            data: a `training.data.Data`.
            callbacks: Keras callbacks; their numbers and arrays are part of the checkpoints.

        Returns:
            The trained model, which is saved as `model.keras`.
        """
        check.fits(model, data)
        check.fits_strategy(model, self.strategy)
        feed = self._feed(data)
        validation = None
        if "val" in data.counts:
            validation = data.feed("val", multiple_of=distribute.replicas(self.strategy)).dataset()
        saved = checkpoint.load(self.directory / rundir.STATE)
        start, trained = 0, False
        if saved:
            start, feed.start = saved["progress"]["epoch"], saved["progress"]["step"]
            trained = saved["progress"]["stopped"] or start >= self.epochs
            checkpoint.restore_model(model, saved)
            print(f"Resuming after {start} of {self.epochs} epochs and {feed.start} of {feed.steps} steps.", flush=True)
        self._describe(model, data)
        history = History(
            self.directory / "history.jsonl", feed, self.strategy, saved and saved["progress"], self.chief
        )
        keeper = checkpoint.Checkpoint(
            self.directory / rundir.STATE,
            feed,
            history,
            saved,
            watched=list(callbacks),
            minutes=self.checkpoint_minutes,
            write=self.chief,
        )
        own = [history, keeper]
        if self.config.time_limit:
            own.append(TimeLimit(self.config.time_limit, self.epochs))
        if self.chief:
            own.append(Progress(feed, self.epochs))
        phases = Phases([*callbacks, *own], model)
        options = {"validation_data": validation, "callbacks": phases, "verbose": 0, "shuffle": False}
        if self.config.smoke:
            options |= {"steps_per_epoch": min(2, feed.steps)}
        if feed.start:  # an epoch that was broken off: the rest of it, in a call of its own
            self._build_metrics(model, data)
            model.fit(feed.dataset(), epochs=start + 1, initial_epoch=start, **options)
            start, feed.start = start + 1, 0
            trained = start == self.epochs
        if trained or model.stop_training:  # what callbacks do at the end is not part of the checkpoint
            phases.finish()
        else:
            phases.last = True
            model.fit(feed.dataset(), epochs=self.epochs, initial_epoch=start, **options)
        if self.chief:
            save_model(model, self.directory / "model.keras")
        self.model = model
        return model

    def _feed(self, data: Data) -> Feed | StreamFeed:
        return data.feed("train", multiple_of=distribute.replicas(self.strategy))

    def _build_metrics(self, model: keras.Model, data: Data) -> None:
        """Metrics make their variables at the first batch; to be restored, they must exist before it."""
        feed = data.feed("train", multiple_of=distribute.replicas(self.strategy))
        model.evaluate(feed.dataset(), steps=1, verbose=0)

    def _describe(self, model: keras.Model, data: Data) -> None:
        """Writes config.json: recipe, options, model and data."""
        if not self.chief:
            return
        from convcraft.zoo import cost

        spent = cost(model) if None not in model.input_shape[1:] else None
        rundir.write_json(
            self.directory / "config.json",
            {
                "recipe": self.recipe,
                "convcraft": convcraft.__version__,
                "command": self.command,
                "config": dataclasses.asdict(self.config),
                "model": {
                    "name": model.name,
                    "parameters": model.count_params(),
                    "trainable": spent and spent.trainable,
                    "multiply_adds": spent and spent.multiply_adds,
                },
                "data": {
                    "name": self.config.data,
                    "sha256": data.sha256,
                    "classes": list(data.class_names),
                    "counts": data.counts,
                    "image_shape": list(data.image_shape),
                },
            },
        )


def run(
    recipe: str | pathlib.Path | types.ModuleType,
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
    from convcraft.cli import guarded, recipe_options

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
) -> Run:
    """Runs a loaded recipe; see `run`. `command` is what started it, without options."""
    began = time.perf_counter()
    config = common.resolve(config)
    path = pathlib.Path(module.__file__).resolve()  # type: ignore[arg-type]  # a recipe is a file
    strategy = distribute.strategy(config.strategy)  # first: several workers must meet before anything else
    directory = rundir.choose(directory or config.output, path.stem, config)
    config = dataclasses.replace(config, output=str(directory))
    command = (command or f"convcraft train {path.stem}") + _options(config)
    one = Run(directory, config, path.stem, command, strategy)
    if (directory / "metrics.json").exists():
        print(f"{directory} is finished. Choose another --output to train again.")
        one.model, one.metrics = _saved_model(directory), rundir.read_json(directory / "metrics.json")
        return one
    if one.chief:
        rundir.write_atomically(directory / "recipe.py", lambda file: file.write(path.read_bytes()))
        print(f"{path.stem} on {config.data}, {_devices(strategy)}. Everything goes to {directory}", flush=True)
    else:  # reads the chief's checkpoint, and writes nothing that stays
        one.directory = pathlib.Path(tempfile.mkdtemp(prefix="convcraft-worker-"))
        if (directory / rundir.STATE).exists():
            shutil.copytree((directory / rundir.STATE).parent, (one.directory / rundir.STATE).parent)
    keras.utils.set_random_seed(config.seed)
    module.train(config, one)
    if one.model is None:
        raise ValueError(f"{path.stem}: expected train(config, run) to call run.fit(model, data).")
    if one.chief:
        one.metrics = _finish(one, time.perf_counter() - began)
    else:
        shutil.rmtree(one.directory)
    return one


def _finish(one: Run, seconds: float) -> dict[str, Any]:
    """Measures the saved file in a fresh process, on one device; writes report and card; says what is where."""
    from . import card, report

    env = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
    env |= {"KERAS_BACKEND": keras.backend.backend(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    env.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # this process still holds the GPU's memory
    env["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    command = [
        sys.executable,
        "-m",
        "convcraft.training.evaluate",
        str(one.directory),
        str(round(seconds, 1)),
    ]
    subprocess.run(command, check=True, env=env)
    metrics = rundir.read_json(one.directory / "metrics.json")
    page = report.write(one.directory)
    card.write(one.directory)
    test = metrics["test"]
    right = round(test["accuracy"] * test["n"])
    print(
        f"\nTest accuracy {100 * test['accuracy']:.2f} % ({right} of {test['n']}), measured on the saved file, "
        f"reloaded. Trained in {duration(seconds)}.\n\n"
        f"  the report    {page}\n"
        f"  the model     {one.directory / 'model.keras'}\n"
        "\nTry next:\n"
        f"  convcraft predict {one.directory} PICTURE …\n"
        f"  convcraft copy {one.recipe} my.py && python my.py --help\n"
        "  convcraft list",
        flush=True,
    )
    return metrics


def load_recipe(recipe: str | pathlib.Path | types.ModuleType) -> types.ModuleType:
    """The module of a recipe: by name, by path, or as it is."""
    if not isinstance(recipe, str | pathlib.Path):
        return recipe
    if str(recipe).endswith(".py"):
        path = pathlib.Path(recipe).resolve()
        if not path.exists():
            raise FileNotFoundError(f"There is no recipe file {path}.")
        return _import_file(path)
    from convcraft import catalog

    return importlib.import_module(f"convcraft.recipes.{catalog.require(recipe, ['recipe'])}")


def _import_file(path: pathlib.Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"Expected a Python file, received {path}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def save_model(model: keras.Model, path: pathlib.Path) -> None:
    """Saves a `.keras` file whole or not at all."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    model.save(temporary)
    os.replace(temporary, path)


def _options(config: common.Common) -> str:
    """The options that differ from the recipe's defaults, as they are typed."""
    words = []
    for field in dataclasses.fields(config):
        value, flag = getattr(config, field.name), field.name.replace("_", "-")
        if value != field.default:
            words.append(f" --{flag}" if value is True else f" --no-{flag}" if value is False else f" --{flag} {value}")
    return "".join(words)


def _devices(strategy: distribute.Strategy | None) -> str:
    count, names = distribute.replicas(strategy), environment.devices()
    if names == ["CPU"]:
        return "without a GPU" if count == 1 else f"on {count} CPU devices"
    return f"on {names[0]}" if count == 1 else f"on {count} devices ({names[0]}, …)"


def _saved_model(directory: pathlib.Path) -> keras.Model:
    from convcraft.zoo import load_model

    return load_model(directory / "model.keras")
