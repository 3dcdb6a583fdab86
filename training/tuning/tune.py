"""From a pretrained network to one for a folder of one's own photographs, without the traps on the way."""

import json
import os
import pathlib
import random
import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from convcraft.layers import Model

from .. import balancing, data, distribute, evaluate, presets, requirements, rundir
from ..callbacks import History
from ..restoring import same_draws
from ..runs import Run, save_model
from . import bodies
from .choices import Choice
from .choosing import choose
from .options import FineTuning, options_of, suggest_size
from .policies import Plan
from .task import Task, expected_seconds

DECIDED = pathlib.Path("checkpoint", "plan.json")  # what a resumed run must not decide anew


@dataclass
class FineTuned:
    """What `fine_tune` returns.

    Attributes:
        model: raw 0-255 images to logits; `zoo.class_names(model)` are the classes, also after saving and loading.
        plan: what was done.
        history: name of a number to its value after each epoch.
        metrics: of the test images, where there are any: accuracy, balanced_accuracy, loss, n.
        policy: the one that was used.
    """

    model: Model
    plan: Plan
    history: dict[str, list[float]]
    metrics: dict[str, Any]
    policy: str


def fine_tune(
    model_or_name: keras.Model | str | os.PathLike[str],
    data: Any,
    *,
    policy: str | None = None,
    config: FineTuning | None = None,
    run: Run | None = None,
    verbose: bool = True,
    **options: Any,
) -> FineTuned:
    """Fits a pretrained network to other images: a new classifier, and as much of the rest as helps.

    It prints its plan before it runs. The pretrained model itself stays as it is. The preprocessing is part of the
    result, batch normalization in what is pretrained keeps its statistics, and everything is compiled after freezing.

    Args:
        model_or_name: MODEL:WEIGHTS of the zoo, as "squeezenet1_1:imagenet"; a `.keras` file or a run's directory; or
            any functional or sequential Keras model of images, of keras.applications, of keras-hub, or your own.
        data: a `training.data.Data`, or what `training.data.load` takes: a folder of class folders.
        policy: what is trained. "linear": a logistic regression on frozen features. "svm": a support vector machine on
            frozen features of an earlier layer. "top": the last third of the layers. "deep": all, the early ones
            slowly. "scratch": all, from new weights. "auto", the default, measures these on held-out training images
            and chooses.
        config: options as one object, as recipes have them; `options` and `policy` replace what it says.
        run: where it is part of a recipe.
        verbose: whether to print the plan and the progress.
        options: fields of `training.FineTuning`: epochs, views, learning_rate, schedule, augment, loss, balance,
            find_lr, image_size, batch_size, seed, ….

    Returns:
        A `FineTuned` with `model`, `plan`, `history`, `metrics` and `policy`.

    Raises:
        ValueError: for options, models and data that do not fit each other, before anything is trained.

    Example:
        >>> import numpy as np
        >>> from convcraft import zoo
        >>> pretrained = zoo.create("squeezenet_cifar", design=zoo.Design(width=0.25))
        >>> images = np.random.default_rng(0).integers(0, 255, (20, 32, 32, 3), "uint8")
        >>> labels = np.repeat(np.arange(2), 10)
        >>> tuned = fine_tune(pretrained, (images, labels), policy="linear", verbose=False)
        >>> tuned.model.output_shape, tuned.policy
        ((None, 2), 'linear')
    """
    config = options_of(model_or_name, policy, config, options)
    if run:  # which has seeded everything
        return _fine_tune(model_or_name, data, config, run, verbose)
    with same_draws():
        random.seed(config.seed)  # of new layers' weights, of dropout
        np.random.seed(config.seed)
        return _fine_tune(model_or_name, data, config, None, verbose)


def _fine_tune(model_or_name: Any, data: Any, config: FineTuning, run: Run | None, verbose: bool) -> FineTuned:
    """As `fine_tune`, by options that are checked."""
    images = _data(model_or_name, data, config)
    if config.policy == "auto" and images.streams:
        raise ValueError("Expected a policy other than 'auto' with tf.data, of which no images can be held out.")
    say = print if verbose else _silent
    began = time.monotonic()
    scope = run.scope() if run else distribute.scope(None)
    jit = run.jit if run else distribute.compile_xla(None)
    with scope:
        task = Task(model_or_name, images, config, jit, say)
        choice = _chosen(task, run)
        model, plan = task.build(choice)
    resumes = bool(run and (run.directory / rundir.STATE).exists())
    if plan.epochs and not resumes:
        plan.seconds = expected_seconds(model, task.shown(), plan.steps) if plan.seconds is None else plan.seconds
    elif not plan.epochs:
        plan.seconds = time.monotonic() - began
    if run:
        run.tell(images)
    else:
        for line in images.report.remarks():
            say(line, flush=True)
    if not resumes:
        say(str(plan), flush=True)
    _remember(run, choice)
    history = _train(task, model, plan, run, verbose)
    metrics = {} if run or "test" not in images.counts else measure(model, images)
    if metrics:
        say(f"Test accuracy {100 * metrics['accuracy']:.2f} % of {metrics['n']} images.", flush=True)
    return FineTuned(model, plan, history, metrics, plan.policy)


def measure(model: keras.Model, images: data.Data, split: str = "test") -> dict[str, Any]:
    """Accuracy, balanced accuracy, loss and n of a split.

    Args:
        model: raw 0-255 images to logits.
        images: a `training.data.Data`.
        split: "test", "val" or "train".

    Returns:
        A dictionary, name to number.

    Example:
        >>> from convcraft import training
        >>> data = training.data.load("digits", size=8)
        >>> net = keras.Sequential([keras.Input(data.image_shape), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> sorted(measure(net, data))
        ['accuracy', 'balanced_accuracy', 'loss', 'n']
    """
    metrics, labels, probabilities = evaluate.score(model, images, split)
    return metrics | {"balanced_accuracy": balancing.balanced_accuracy(labels, probabilities.argmax(axis=1))}


def _train(task: Task, model: keras.Model, plan: Plan, run: Run | None, verbose: bool) -> dict[str, list[float]]:
    """Trains what the plan says; returns the history."""
    shown = task.shown() if plan.epochs else task.images
    requirements.fits(model, task.images)
    if run:
        run.epochs = 1 if task.config.smoke else max(1, plan.epochs)
        if plan.epochs:
            run.fit(model, shown)
        else:
            _keep(run, model, task.images, plan)
        _, epochs = rundir.read_history(run.directory / "history.jsonl")
        names = [key for key in (epochs[0] if epochs else {}) if key not in ("event", "epoch")]
        return {name: [row[name] for row in epochs] for name in names}
    if not plan.epochs:
        model.optimizer.build(model.trainable_variables)  # as saving and loading expect it
        row = _row(model, task.images)
        return {name: [value] for name, value in row.items()}
    share = {"multiple_of": task.replicas}
    feed = shown.feed("train", **share) if shown.streams else shown.feed("train", auto_epoch=True, **share)
    validation = shown.feed("val", **share).dataset() if "val" in shown.counts else None
    callbacks = [_Lines(plan.epochs)] if verbose else []
    done = model.fit(
        feed.dataset(),
        epochs=plan.epochs,
        validation_data=validation,
        callbacks=callbacks,
        verbose=0,
        shuffle=False,
    )
    return done.history


def _data(source: Any, given: Any, config: FineTuning) -> data.Data:
    """The images, at a size that suits the model, and as the preset shows them."""
    images = given if isinstance(given, data.Data) else _loaded(source, given, config)
    if config.preset != "modern":
        return images
    return presets.modern(images, config.mirror and presets.can_mirror(images.report.name))


def _loaded(source: Any, given: Any, config: FineTuning) -> data.Data:
    channels: int | None
    if isinstance(source, str | os.PathLike):
        size: Any = config.image_size or suggest_size(str(source), given)
        channels = bodies.documented_shape(str(source))[2]
    else:
        height, width, channels = bodies.shape_of_files(source)
        size = config.image_size or (height or width or 224, width or height or 224)
    return data.load(
        given,
        size=size,
        batch_size=config.batch_size,
        validation=config.validation,
        seed=config.seed,
        channels=channels,
    )


def _row(model: keras.Model, images: data.Data) -> dict[str, float]:
    """The numbers of a classifier that was solved at once, as `fit` names them."""
    row: dict[str, float] = {}
    for split, prefix in (("train", ""), ("val", "val_")):
        if split in images.counts:
            numbers, *_ = evaluate.score(model, images, split)
            row |= {f"{prefix}accuracy": numbers["accuracy"], f"{prefix}loss": numbers["loss"]}
    return row


def _keep(run: Run, model: keras.Model, images: data.Data, plan: Plan) -> None:
    """The files that `run.fit` would leave, of a model whose classifier was solved at once."""
    feed = images.feed("train")
    began = time.monotonic()
    row = _row(model, images)
    run._describe(model, images)
    model.optimizer.build(model.trainable_variables)  # else its saved file cannot be read back
    history = History(run.directory / "history.jsonl", feed, feed.steps, run.strategy, None, run.chief)
    seconds = time.monotonic() - began + (plan.seconds or 0.0)
    line = {"event": "epoch", "epoch": 0, "steps": feed.steps, "learning_rate": 0.0, **row}
    shown = sum(images.counts["train"].values())
    history.write([{**line, "seconds": round(seconds, 3), "images_per_second": round(shown / max(seconds, 1e-6), 1)}])
    if run.chief:
        save_model(model, run.directory / "model.keras")
    run.model = model


def _chosen(task: Task, run: Run | None) -> Choice:
    """The policy: as the user says, as an earlier start of the run has chosen, or by measuring."""
    if task.config.policy != "auto":
        return Choice(task.config.policy, "you chose it")
    if task.config.smoke:
        return Choice("top", "a smoke run measures nothing")
    return _decided(run) or choose(task)


def _remember(run: Run | None, choice: Choice) -> None:
    """Writes what was chosen, for a start that resumes."""
    if run and run.chief:
        (run.directory / DECIDED).parent.mkdir(parents=True, exist_ok=True)
        rundir.write_json(run.directory / DECIDED, {"policy": choice.policy, "why": choice.why, "rate": choice.rate})


def _decided(run: Run | None) -> Choice | None:
    """What an earlier start of this run has chosen."""
    path = run.directory / DECIDED if run else None
    if path is None or not path.exists():
        return None
    try:
        return Choice(**rundir.read_json(path))
    except (json.JSONDecodeError, TypeError):
        return None


def _silent(*args: Any, **options: Any) -> None:
    """Prints nothing."""


class _Lines(keras.callbacks.Callback):
    """A line an epoch."""

    def __init__(self, epochs: int):
        super().__init__()
        self.epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        print(f"epoch {epoch + 1}/{self.epochs}  {numbers}", flush=True)
