"""Reads the curves of a training as a practitioner does: what is wrong, by which number, and what to do."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from .. import losses
from . import symptoms
from .curves import EPOCHS, Curves
from .symptoms import Finding

if TYPE_CHECKING:  # reports are written without Keras
    import keras

    from .monitor import Monitor

Training = Union["Monitor", "keras.callbacks.History", Mapping[str, Any]]


@dataclass
class Diagnosis:
    """What `diagnose` found.

    Attributes:
        findings: the most telling first; none where training looks as it should.
        unknown: what could not be judged, and what would show it.
    """

    findings: list[Finding] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Of the findings."""
        return [finding.name for finding in self.findings]

    def __bool__(self) -> bool:
        """Whether something is wrong."""
        return bool(self.findings)

    def __str__(self) -> str:
        """A line for each finding, and for what is not known."""
        lines = [str(finding) for finding in self.findings] or ["Nothing wrong was found."]
        return "\n".join([*lines, *(f"Not judged: {what}." for what in self.unknown)])


def diagnose(training: Training, classes: int | None = None) -> Diagnosis:
    """Judges a training by its curves.

    Args:
        training: a `Monitor` that watched it, for all that is known here; or what `fit` returned, or its `.history`, of
            which less can be said. Of accuracy, `accuracy` and `val_accuracy` are read (or `acc`, or Keras's longer
            names), of losses `loss` and `val_loss`.
        classes: how many; None: the number of the model's outputs, where the model is known and its loss is one of
            classes.

    Returns:
        A `Diagnosis`: `findings`, each with its number and its advice, and what is `unknown`.

    Raises:
        ValueError: for a history without a loss or without an epoch.

    Example:
        >>> falling = {"loss": [2.2, 1.0, 0.5, 0.3, 0.2, 0.1], "val_loss": [2.1, 1.1, 0.9, 1.0, 1.3, 1.6]}
        >>> diagnose(falling, classes=10).names
        ['overfitting']

    Reference:
        Wei, "Must Know Tips/Tricks in Deep Neural Networks", sections 4, 7 and 8; how often it is right:
        docs/diagnosis.md.
    """
    monitor: Any = training if hasattr(training, "losses") else None
    history = _history(training)
    if classes is None:
        classes = _classes(getattr(training, "model", None))
    curves = Curves(
        loss=_floats(history["loss"]),
        val_loss=_floats(history.get("val_loss", ())),
        accuracy=_accuracy(history, ""),
        val_accuracy=_accuracy(history, "val_"),
        guessing=math.log(classes) if classes else 0.0,
        batches=_floats(monitor.losses if monitor else ()),
        steps=list(monitor.steps) if monitor else [],
        changes=_by_layer(monitor.changes if monitor else {}),
        gradients=_by_layer(monitor.gradients if monitor else {}),
        dead=dict(monitor.dead) if monitor else {},
        saturated=dict(monitor.saturated) if monitor else {},
    )
    return Diagnosis(symptoms.findings(curves), _unknown(curves, monitor is not None))


def _classes(model: Any) -> int | None:
    """How many a model tells apart; None of quantities, of several labels an image, and of several outputs."""
    loss, shape = getattr(model, "loss", None), getattr(model, "output_shape", None)
    kind = None if isinstance(loss, list | tuple | dict) else losses.crossentropy(loss)
    if kind is None or not isinstance(shape, tuple) or not isinstance(shape[-1], int):
        return None
    return 2 if shape[-1] == 1 else None if kind == "binary" else shape[-1]


def _history(training: Any) -> Mapping[str, Sequence[float]]:
    """Name of a number to its value after each epoch."""
    if hasattr(training, "losses"):  # a Monitor
        names = {name for epoch in training.epochs for name in epoch}
        found: Any = {name: [epoch.get(name, math.nan) for epoch in training.epochs] for name in names}
    else:
        found = getattr(training, "history", training)
    if not isinstance(found, Mapping):
        raise ValueError(f"diagnose: expected a Monitor, a History or its dictionary, received {type(found).__name__}.")
    if not np.size(found.get("loss", ())) or not np.ndim(found["loss"]):
        received = ", ".join(sorted(found)) or "nothing; has the model been trained?"
        raise ValueError(f"diagnose: expected the loss of at least one epoch, received {received}.")
    return found


def _accuracy(history: Mapping[str, Sequence[float]], prefix: str) -> np.ndarray:
    names = ("accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy")
    return _floats(next((history[prefix + name] for name in names if prefix + name in history), ()))


def _floats(values: Any) -> np.ndarray:
    return np.asarray(values, "float64")


def _by_layer(values: Mapping[str, Sequence[float]]) -> np.ndarray:
    """(epochs, layers), the first layer first; (0, 0) where there is nothing."""
    return np.array(list(values.values()), "float64").T if values else np.zeros((0, 0))


def _unknown(curves: Curves, monitored: bool) -> list[str]:
    """What cannot be judged, and what would show it."""
    found = []
    if len(curves.loss) < EPOCHS:
        found.append(f"the course of the curves, for there are {len(curves.loss)} epochs: train {EPOCHS}")
    if not len(curves.val_loss):
        found.append("overfitting, for there is no validation loss: give fit validation_data")
    if not len(curves.accuracy):
        found.append("how much there is left to learn, for there is no accuracy: compile with metrics=['accuracy']")
    if not curves.guessing:
        found.append("whether anything was learned at all, for the number of classes is not known: pass classes")
    if not monitored:
        found.append("batch size, steps, gradients by depth, dead units: pass a Monitor to fit, and here")
    elif not curves.gradients.size:
        found.append("steps, gradients by depth and dead units: give the Monitor a probe")
    return found
