"""Before hours of training: what can be found wrong with data and network in a second or a few."""

import math
import os
from typing import Any

import keras
import numpy as np

from convcraft import zoo

from .. import distribute, environment, feeding, requirements
from ..data import Data
from ..diagnosis.symptoms import Finding
from ..losses import crossentropy
from ..restoring import same_draws
from . import data_faults, model_faults
from .overfitting import STEPS, Check, Trial, few, learned, require_ready, told
from .samples import Samples, sampled

FEW = 16  # images to learn by heart
LOOKED = 64  # images that the network is shown, fewer where they are large
PIXELS = 2**18  # of them together
WORK = 2e11  # multiply-adds to learn them that a run without a GPU spends on it; a second or a few
SHORT = 200  # steps of a run
LEAST = 20  # steps after which something can be said
LAYERS = 150  # beyond, building the step takes longer than doing it

# a finding, and what is only its consequence
FOLLOWS = {
    "blank images": ("labels look shuffled",),
    "one class": ("labels look shuffled",),
    "images are not scaled": ("learning rate too high", "a few images are not learned by heart"),
    "images of another range": ("dead units", "loss at start too high", "a few images are not learned by heart"),
    "all units alike": ("dead units", "a few images are not learned by heart", "learning rate too low"),
    "dead units": ("a few images are not learned by heart", "learning rate too low"),
    "softmax twice": ("a few images are not learned by heart", "learning rate too low"),
    "logits taken for probabilities": (
        "a few images are not learned by heart",
        "learning rate too low",
        "learning rate too high",
        "loss at start too high",
    ),
    "loss at start too high": ("a few images are not learned by heart", "learning rate too high"),
}


def check(
    model: keras.Model, data: Any, validation: Any = None, *, batch_size: int = 32, steps: int | None = None
) -> Check:
    """Looks for what would spoil a training; the model is left as it was, and so are all random draws.

    Images and labels of each split; the network's answers to a few images; and whether it learns a few by heart, with
    its own loss and optimizer, and if not, whether it does at another rate. docs/checks.md has the list, and how often
    each fault is found.

    Args:
        model: compiled and built. Of a model that is no graph of layers, less is looked at.
        data: to train on, as `fit` takes them: a pair of arrays (x, y) or batches that can be read again (of which the
            first are read); or a `training.data.Data`, with all its splits. Of a model with several inputs or outputs,
            x and y may be lists or dictionaries; then range, sizes and units, or labels, are not looked at.
        validation: the same, where `data` has none of its own.
        batch_size: of arrays.
        steps: in which to learn by heart, at most, from 20 on, for fewer tell nothing; 0 leaves that out. None: 100.

    Returns:
        A `Check`: true where nothing was found. `findings` have a name, the number each rests on, and advice; `fatal`
        the names of those with which training is certain to fail.

    Raises:
        ValueError: for a model that is not compiled, or data that it cannot be shown.

    Example:
        >>> net = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> net.compile("adam", "sparse_categorical_crossentropy")
        >>> x = np.random.default_rng(0).normal(size=(64, 4, 4, 1))
        >>> check(net, (x, np.arange(64) % 2)).names
        ['logits taken for probabilities']

    Reference:
        Karpathy 2019, "A Recipe for Training Neural Networks", steps 1 and 2.
    """
    steps = STEPS if steps is None else steps
    if steps != 0 and steps < LEAST:
        raise ValueError(f"check: expected steps to be 0 or at least {LEAST}, received {steps}.")
    require_ready(model)
    if isinstance(data, Data):
        requirements.fits(model, data)
    return _looked(model, data, validation, batch_size, steps)


def before(model: keras.Model, data: Data, training: int) -> Check:
    """The check of a run, before it trains: nothing that takes long, beside the run or by itself.

    Args:
        model: of the run, which fits the data (`requirements.fits`).
        data: of the run.
        training: steps of the run; of a short one, learning by heart is left out.

    Raises:
        ValueError: for what is certain to fail.
    """
    done = _looked(model, data, None, 0, 0 if training < SHORT or _long(model, data) else STEPS)
    if done.fatal:
        first = next(finding for finding in done.findings if finding.name in done.fatal)
        raise ValueError(f"{first} (--no-check trains all the same.)")
    return done


def _looked(model: keras.Model, data: Any, validation: Any, batch_size: int, steps: int) -> Check:
    """What is found; nothing is changed by it."""
    with same_draws(), distribute.scope(distribute.strategy_of(model)):
        return _checked(model, sampled(data, validation), 0 if isinstance(data, Data) else batch_size, steps)


def _checked(model: keras.Model, samples: Samples, batch_size: int, steps: int) -> Check:
    """All that applies."""
    unknown: list[str] = []
    outputs = _output_shape(model, samples)
    single = isinstance(outputs, tuple) and isinstance(samples.train[1], np.ndarray)
    single = single and not isinstance(model.loss, list | tuple | dict)
    kind = crossentropy(model.loss) if single else None
    ignore = getattr(model.loss, "ignore", getattr(model.loss, "ignore_class", None))
    if not single:
        unknown.append("labels and loss, for the model has several outputs: images, units and learning by heart are")
    elif kind is None:
        unknown.append("labels, for the loss is none of classes")
    classes = int(outputs[-1]) if single else 0
    found = [data_faults.no_numbers(samples), data_faults.constant(samples), data_faults.copies(samples)]
    if batch_size:
        replicas = distribute.replicas(distribute.strategy_of(model))
        found.append(data_faults.last_batch(samples.totals["train"], batch_size, replicas))
    if kind:
        found += _labels(samples, classes, kind, ignore, len(outputs) == 4, unknown)
    fatal = {finding.name for finding in found if finding} & {*data_faults.FATAL}
    history: dict[str, list[float]] = {}
    if fatal:
        unknown.append("the network, before the data are mended")
    else:
        if ignore is not None and kind:
            samples.images["train"], samples.labels["train"] = _known(samples, ignore)
        more, history = _network(model, samples, kind, classes, steps, unknown)
        found += more
    findings = [finding for finding in found if finding]
    hidden = {name for finding in findings for name in FOLLOWS.get(finding.name, ())}
    findings = [finding for finding in findings if finding.name not in hidden]
    certain = [finding.name for finding in findings if finding.name in (*data_faults.FATAL, *model_faults.FATAL)]
    heart = f" {told(history, min(FEW, feeding.count(samples.train[0])))}." if history else ""
    reason = "\n".join(map(str, findings)) or f"Nothing wrong was found.{heart}"
    return Check(not findings, reason, history, findings, certain, unknown)


def _output_shape(model: keras.Model, samples: Samples) -> Any:
    """With the batch first; a structure of shapes where there are several answers."""
    if getattr(model, "inputs", None):
        return model.output_shape
    given = model_faults.answers(model, feeding.rows(samples.train[0], slice(2)))
    return given.shape if hasattr(given, "shape") else [given]


def _labels(samples, classes, kind, ignore, per_pixel, unknown) -> list[Finding | None]:
    """What is wrong with labels."""
    wrong = data_faults.labels_fit(samples, classes, kind, per_pixel)
    wrong = wrong or data_faults.labels_in_range(samples, classes, kind, ignore)
    if wrong or per_pixel:
        return [wrong]
    several = kind == "binary" and classes > 1  # labels an image: there is no one class to look for
    if several:
        unknown.append("classes and neighbours, for an image has several labels")
        return []
    for split, y in samples.every_label.items():
        if ignore is not None and y.ndim == 1:
            samples.every_label[split] = y[y != ignore]
    count = 2 if kind == "binary" else classes
    found = [data_faults.missing_classes(samples, count)]
    if samples.pictures is not None:
        x, y = _known(samples, ignore)
        if len(x) < data_faults.PROBED or len(x) < 8 * count:
            unknown.append(f"whether labels belong to their images, for {len(x)} are too few to tell")
        else:
            found.append(data_faults.unrelated(x, y))
    return found


def _network(model, samples, kind, classes, steps, unknown) -> tuple[list[Finding | None], dict[str, list[float]]]:
    """What is wrong with the network; and the history of learning by heart."""
    x, y = samples.train
    largest = max(math.prod(each.shape[1:3]) for each in keras.tree.flatten(x))
    images = feeding.rows(x, slice(max(8, min(LOOKED, PIXELS // largest))))
    graph = bool(getattr(model, "inputs", None))
    found = [model_faults.frozen(model)]
    if kind:
        found.append(model_faults.probabilities(model, np.asarray(model_faults.answers(model, images)), kind))
    single = graph and len(model.inputs) == 1 and isinstance(images, np.ndarray)
    if single:
        if images.ndim == 4:
            found.append(model_faults.left_out(requirements.sized(model, images.shape[1:])))
        found += [model_faults.scale(model, images), model_faults.dead(model, images)]
    else:
        unknown.append("range, sizes and units, for the model is no graph with one input")
    if found[0] or not steps:
        if not steps:
            unknown.append("whether a few images are learned by heart, which takes a while")
        return found, {}
    trial = Trial(model, *few(x, y, FEW))
    history = trial.learn(trial.rate, steps)
    after = trial.after
    guessing = math.log(max(2, classes)) if kind else 0.0
    found.append(model_faults.alike(model, after, len(history["loss"])))
    if "crossentropy" in history and graph:
        found.append(model_faults.start(model, images, history["crossentropy"][0], guessing))
    known = {finding.name for finding in found if finding}
    if not learned(history) and not known & {*FOLLOWS}:
        found.append(model_faults.rate(trial, history, steps, guessing))
    return found, history


def _known(samples: Samples, ignore: int | None) -> tuple[Any, np.ndarray]:
    """Training images and labels without those that have no label."""
    x, y = samples.train
    if ignore is None or y.ndim != 1:
        return x, y
    return feeding.rows(x, y != ignore), y[y != ignore]


def _long(model: keras.Model, data: Data) -> bool:
    """Whether learning by heart would take more than a few seconds."""
    if os.environ.get("TF_CONFIG"):  # several workers would have to do it in step
        return True
    work = zoo.cost(requirements.sized(model, tuple(data.image_shape))).multiply_adds
    return len(model.layers) > LAYERS or (3 * work * FEW * STEPS > WORK and environment.devices() == ["CPU"])
