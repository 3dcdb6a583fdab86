"""One training run: its model and data, its checkpoints, its directory."""

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras

import convcraft
from convcraft import zoo

from . import adapt, checkpoint, common, distribute, requirements, rundir
from .callbacks import History, Phases, TimeLimit
from .checking import preflight
from .data import Data, Feed
from .data.streams import StreamFeed
from .diagnosis.findings import diagnose
from .diagnosis.monitor import Monitor
from .optimize import innermost
from .progress import Progress


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
        earlier: seconds that earlier starts of this run took.
        checks: what was found wrong before training, a line each; None where that was left out.
        diagnosis: what a `Monitor` among the callbacks saw, as a dictionary; None without one.
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
        self.began = time.monotonic()
        self.earlier = 0.0
        self.parts: list[Run] = []
        self.told = False
        self.checks: list[str] | None = None
        self.diagnosis: dict[str, Any] | None = None
        self.model: keras.Model | None = None
        self.metrics: dict[str, Any] | None = None

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """The context to build and compile the model in: the strategy's, and the precision that was asked for."""
        before = keras.config.dtype_policy()
        with distribute.scope(self.strategy):
            if self.config.precision != "float32":  # the user's own policy stands otherwise
                keras.config.set_dtype_policy(self.config.precision)
            try:
                yield
            finally:
                keras.config.set_dtype_policy(before)

    def steps(self, data: Data) -> int:
        """Number of training steps in all, for schedules."""
        return self._feed(data).steps * self.epochs

    def seconds(self) -> float:
        """How long this run has taken, earlier starts included as far as their last checkpoint."""
        earlier = self.earlier + sum(part.earlier for part in self.parts)
        return earlier + time.monotonic() - self.began

    def part(self, name: str) -> "Run":
        """A run within this one, for a recipe that trains several models: `part.fit` resumes by itself.

        The first model is the run's own, `run.fit`, whose curves the report shows; in the end `run.save` says what
        becomes of all of them.

        Args:
            name: of its directory, within the run's.

        Raises:
            ValueError: with several workers, of which only the first would find the part's checkpoint.
        """
        if os.environ.get("TF_CONFIG"):
            raise ValueError("Expected a single worker where a run has parts, received TF_CONFIG.")
        made = Run(self.directory / name, self.config, self.recipe, self.command, self.strategy)
        made.told, made.checks = True, []  # by the run itself
        self.parts.append(made)
        return made

    def save(self, model: keras.Model) -> keras.Model:
        """Makes `model` the run's in place of the one that was trained: it is saved, measured and reported.

        For what is made of trained models, such as an `Ensemble`. Call it after `fit`, each time: it is quick.

        Args:
            model: of the same images and classes.

        Returns:
            The model.
        """
        if self.chief:
            described = rundir.read_json(self.directory / "config.json")
            described["model"] = _describe_model(model, described["data"]["image_shape"])
            rundir.write_json(self.directory / "config.json", described)
            save_model(model, self.directory / "model.keras")
        self.model = model
        return model

    def tell(self, data: Data) -> None:
        """Prints, once, what was found in the data that their user should know: files left out, copies, splits."""
        if self.chief and not self.told:
            for line in data.report.remarks(most=5):
                print(line, flush=True)
        self.told = True

    def fit(self, model: keras.Model, data: Data, callbacks: Sequence[keras.callbacks.Callback] = ()) -> keras.Model:
        """Trains `model` on the training images, from where an earlier start of this run stopped.

        Args:
            model: compiled, built under `self.scope()`.
            data: a `training.data.Data`.
            callbacks: Keras callbacks; their numbers and arrays are part of the checkpoints. What a `Monitor` among
                them sees goes into the report's diagnosis.

        Returns:
            The trained model, which is saved as `model.keras`.
        """
        self._refuse(model, data, callbacks)
        feed = self._feed(data)
        steps = min(2, feed.steps) if self.config.smoke else feed.steps
        validation = None
        if "val" in data.counts:
            validation = data.feed("val", multiple_of=distribute.replicas(self.strategy)).dataset()
        saved = checkpoint.load(self.directory / rundir.STATE)
        start, trained = 0, False
        if saved:
            self._refuse_others(data)
            start, feed.start = saved["progress"]["epoch"], saved["progress"]["step"]
            trained = saved["progress"]["stopped"] or start >= self.epochs
            self.earlier = saved["progress"]["seconds"]
            with self.scope():  # the optimizer's variables are made here
                checkpoint.restore_model(model, saved)  # what layers were adapted to, too
            if self.chief:
                known = rundir.read_json(self.directory / "config.json")
                self.checks, self.diagnosis = known.get("checks"), known.get("diagnosis")
            print(f"Resuming after {start} of {self.epochs} epochs and {feed.start} of {feed.steps} steps.", flush=True)
        else:
            self._adapt(model, data)
            self._check(model, data)
        self._describe(model, data)
        history = History(
            self.directory / "history.jsonl", feed, steps, self.strategy, saved and saved["progress"], self.chief
        )
        keeper = checkpoint.Checkpoint(
            self.directory / rundir.STATE,
            feed,
            history,
            saved,
            watched=list(callbacks),
            minutes=self.checkpoint_minutes,
            seconds=self.seconds,
            write=self.chief,
        )
        own = [history, keeper]
        average = getattr(innermost(model.optimizer), "use_ema", False)
        # validates with the averaged weights, which the user's callbacks are to see then
        first = [keras.callbacks.SwapEMAWeights()] if average else []
        if self.config.time_limit:
            own.append(TimeLimit(self.config.time_limit, self.epochs))
        if self.chief and self.config.tensorboard:  # resumed, it goes on in the same folder
            own.append(keras.callbacks.TensorBoard(self.directory / "tensorboard", write_graph=False))
        if self.chief:
            own.append(Progress(feed, steps, self.epochs, earlier=saved["progress"]["epochs"] if saved else ()))
        phases = Phases([*first, *callbacks, *own], model)
        options = {"validation_data": validation, "callbacks": phases, "verbose": 0, "shuffle": False}
        if self.config.smoke:
            options |= {"steps_per_epoch": steps}
        if feed.start:  # an epoch that was broken off: the rest of it, in a call of its own
            self._build_metrics(model, data)
            with _unaveraged(model):
                model.fit(feed.dataset(), epochs=start + 1, initial_epoch=start, **options)
            start, feed.start = start + 1, 0
            trained = start == self.epochs
        if trained or model.stop_training:  # what callbacks do at the end is not part of the checkpoint
            phases.finish()
        else:
            phases.last = True
            with _unaveraged(model):
                model.fit(feed.dataset(), epochs=self.epochs, initial_epoch=start, **options)
        if average:
            model.optimizer.finalize_variable_values(model.trainable_weights)
        if self.chief:
            self._diagnose(model, data, callbacks)
            save_model(model, self.directory / "model.keras")
        self.model = model
        return model

    def _diagnose(self, model: keras.Model, data: Data, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """Keeps what a `Monitor` saw; of a run that was resumed, since then."""
        monitor = next((each for each in callbacks if isinstance(each, Monitor) and each.epochs), None)
        if monitor is not None:
            found = diagnose(monitor, len(data.class_names))
            self.diagnosis = {**dataclasses.asdict(found), "epochs": len(monitor.epochs)}
            self._describe(model, data)

    def _refuse(self, model: keras.Model, data: Data, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """Raises a ValueError for what cannot be trained, and tells what was found in the data."""
        requirements.fits(model, data)
        requirements.fits_strategy(model, self.strategy)
        requirements.fits_schedule(model, callbacks)
        self.tell(data)

    def _refuse_others(self, data: Data) -> None:
        """Raises a ValueError where the data are not those that the run began with: the splits would be others."""
        described = self.directory / "config.json"
        known = rundir.read_json(described)["data"]["sha256"] if described.exists() else data.sha256
        if known != data.sha256:
            raise ValueError(
                f"The data have changed since {self.directory} began: SHA-256 {data.sha256}, expected {known}. Images "
                "held out then could be trained on now. Begin anew with another output, or put the data back."
            )

    def _adapt(self, model: keras.Model, data: Data) -> None:
        """Gives layers such as `Whitening` what they need to know of the images."""
        with self.scope():
            adapted = adapt.to_data(model, data)
        if adapted and self.chief:
            print(f"Adapted to {adapted.images} training images: {', '.join(adapted.layers)}.", flush=True)

    def _check(self, model: keras.Model, data: Data) -> None:
        """Looks for what would spoil the training; training itself is not changed by it."""
        if not self.config.check or self.checks is not None:
            return
        with self.scope():
            found = preflight.before(model, data, 0 if self.config.smoke else self.steps(data)).findings
        self.checks = [str(finding) for finding in found]
        if self.chief:
            print("\n".join(f"Check: {line}" for line in self.checks or ["nothing wrong was found."]), flush=True)

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
        rundir.write_json(
            self.directory / "config.json",
            {
                "recipe": self.recipe,
                "convcraft": convcraft.__version__,
                "command": self.command,
                "config": dataclasses.asdict(self.config),
                "model": _describe_model(model, data.image_shape),
                "data": {
                    "name": self.config.data,
                    "sha256": data.sha256,
                    "classes": list(data.class_names),
                    "counts": data.counts,
                    "image_shape": list(data.image_shape),
                    "remarks": data.report.remarks(),
                },
                "checks": self.checks,
                "diagnosis": self.diagnosis,
            },
        )


@contextlib.contextmanager
def _unaveraged(model: keras.Model) -> Iterator[None]:
    """Keeps `fit` from putting the averaged weights in: one training may be several calls of it."""
    optimizer = model.optimizer
    optimizer.finalize_variable_values = lambda _: None
    try:
        yield
    finally:
        del optimizer.finalize_variable_values


def _describe_model(model: keras.Model, shape: Sequence[int]) -> dict[str, Any]:
    spent = zoo.cost(requirements.sized(model, tuple(shape)))
    return {
        "name": model.name,
        "parameters": model.count_params(),
        "trainable": spent.trainable,
        "multiply_adds": spent.multiply_adds,
    }


def save_model(model: keras.Model, path: pathlib.Path) -> None:
    """Saves a `.keras` file whole or not at all."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    model.save(temporary)
    os.replace(temporary, path)
