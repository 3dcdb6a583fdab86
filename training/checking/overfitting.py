"""A few images, learned by heart: what cannot do that will not learn from many."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from convcraft import layers

from .. import distribute, feeding
from ..diagnosis.symptoms import Finding
from ..losses import crossentropy, from_logits
from ..optimize import largest_rate
from ..restoring import Apart, compile_apart, same_draws, unchanged

IMAGES = 16
STEPS = 100  # of a check, after which a loss that has fallen by a tenth is on its way
PATIENT = 500  # of can_overfit, which has to say yes or no
RIGHT = 0.9  # of the images, learned by heart
FALLEN = 0.3  # of the first loss, where there are no classes to be right about


@dataclass
class Check:
    """What a check found; true where it found nothing wrong.

    Attributes:
        ok: whether all is well.
        reason: in a sentence, or one line a finding.
        history: losses, and accuracies where there are classes, of each step on the few images.
        findings: what is wrong, the most telling first.
        fatal: names of those with which training is certain to fail.
        unknown: what could not be checked, and why.

    Example:
        >>> bool(Check(False, "labels out of range: 3 labels of train are outside 0 to 9."))
        False
    """

    ok: bool
    reason: str
    history: dict[str, list[float]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    fatal: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether all is well."""
        return self.ok

    @property
    def names(self) -> list[str]:
        """Of the findings."""
        return [finding.name for finding in self.findings]

    def __str__(self) -> str:
        """The reason, and what was not checked."""
        return "\n".join([self.reason, *(f"Not checked: {what}." for what in self.unknown)])


def can_overfit(model: keras.Model, data: Any, *, images: int = IMAGES, steps: int = PATIENT) -> Check:
    """Whether a model learns a few images by heart; it is left as it was.

    With its own loss and its own optimizer, at the largest rate of its schedule, the same batch again and again. What
    keeps a network from learning by heart is switched off: dropout and drop-path. Augmentation within the model, weight
    decay and the paths of FractalNet stay.

    Args:
        model: compiled and built, functional or not.
        data: as `check` takes them: a pair of arrays (x, y), batches that can be read again, or a
            `training.data.Data`. Of more images than are asked for, some of each class. Of a model with several inputs
            or outputs, x and y may be lists or dictionaries of arrays.
        images: how many.
        steps: at most; fewer where they are learned before.

    Returns:
        A `Check`, true where 90 % of the images are told right, or, where there are no classes to be right about and
        of several outputs, the loss fell to 30 % of the first. Its `history` has the loss of each step.

    Raises:
        ValueError: for a model that is not compiled or not built, and for data without images or of one class.

    Example:
        >>> keras.utils.set_random_seed(0)
        >>> net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> net.compile(keras.optimizers.Adam(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> x, y = np.random.default_rng(0).normal(size=(4, 4)), np.array([0, 1, 0, 1])
        >>> bool(can_overfit(net, (x, y)))
        True

    Reference:
        Karpathy 2019, "A Recipe for Training Neural Networks", step 2: overfit one batch.
    """
    if images < 2 or steps < 1:
        raise ValueError(f"can_overfit: expected images >= 2 and steps >= 1, received {images} and {steps}.")
    x, y = few(*_pair(data), images)
    with same_draws():
        trial = Trial(model, x, y)
        history = trial.learn(trial.rate, steps)
    unknown = [] if isinstance(y, np.ndarray) else ["each output by itself: the loss of all together is judged"]
    return Check(learned(history), told(history, trial.count), history, unknown=unknown)


class Trial:
    """A model with a copy of its optimizer, before a few images; each `learn` leaves it as it was.

    Args:
        model: compiled and built.
        x: images; of several inputs a structure of arrays.
        y: labels, as its loss wants them.

    Attributes:
        count: of the images.
        rate: the optimizer's, or the largest of its schedule.
        after: weights at the end of the last `learn`, in the order of `model.trainable_variables`.
    """

    def __init__(self, model: keras.Model, x: Any, y: Any):
        require_ready(model)
        self.model, self.x, self.y = model, x, y
        self.count = feeding.count(x)
        self.rate = largest_rate(model.optimizer)
        self.after: list[np.ndarray] = []
        with distribute.scope(distribute.strategy_of(model)):
            self.apart = Apart(model)
            compile_apart(self.apart, model, self.rate, metrics=metrics(model.loss, y))

    def learn(self, rate: float, steps: int) -> dict[str, list[float]]:
        """The history of at most so many steps from the model's own weights; less where all is learned, or lost."""
        with _steady(self.model), unchanged(self.apart):
            self.apart.optimizer.learning_rate = rate
            options = {"batch_size": self.count, "epochs": steps, "shuffle": False, "verbose": 0}
            done = self.apart.fit(self.x, self.y, callbacks=[_Enough()], **options)
            self.after = [layers.base.to_numpy(variable).copy() for variable in self.model.trainable_variables]
        return {name: [float(value) for value in values] for name, values in done.history.items()}


def learned(history: Mapping[str, list[float]]) -> bool:
    """Whether the images are known by heart."""
    if "accuracy" in history:
        return history["accuracy"][-1] >= RIGHT
    return bool(history["loss"][-1] <= FALLEN * history["loss"][0])


def told(history: Mapping[str, list[float]], count: int) -> str:
    """What became of the images, in words."""
    losses = history["loss"]
    known = "were learned" if learned(history) else "were not learned"
    right = f", accuracy {history['accuracy'][-1]:.2f}" if "accuracy" in history else ""
    course = f"the loss went from {losses[0]:.3g} to {losses[-1]:.3g}{right}"
    return f"{count} images {known} by heart in {len(losses)} steps: {course}"


def few(x: Any, y: Any, count: int) -> tuple[Any, Any]:
    """So many of the images: of each class (of the first output) in turn, those first that come first.

    Example:
        >>> few(np.arange(6), np.array([0, 0, 0, 0, 1, 2]), 4)[1].tolist()
        [0, 1, 2, 0]
    """
    first = keras.tree.flatten(y)[0]
    labels = first.argmax(axis=-1) if first.ndim == 2 and first.shape[1] > 1 else first.reshape(len(first), -1)[:, 0]
    turn = np.zeros(len(first), "int64")
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    chosen = np.lexsort((labels, turn))[:count]
    return feeding.rows(x, chosen), feeding.rows(y, chosen)


def metrics(loss: Any, y: Any) -> list[Any] | None:
    """Crossentropy without penalties, and accuracy; None for a loss that is none of classes, and several outputs."""
    kind = crossentropy(loss) if isinstance(y, np.ndarray) else None
    if kind is None or kind == "binary":
        return ["accuracy"] if kind else None
    one_hot = kind != "sparse" and y.ndim in (2, 4) and y.shape[-1] > 1
    made = keras.metrics.CategoricalCrossentropy if one_hot else keras.metrics.SparseCategoricalCrossentropy
    guessed = made(name="crossentropy", from_logits=from_logits(loss))
    return [guessed, "accuracy"] if y.ndim <= 2 else [guessed]  # most of a mask is background, which is soon right


def require_ready(model: keras.Model) -> None:
    """Raises a ValueError where a model cannot be trained as it is."""
    if not getattr(model, "compiled", False):
        raise ValueError(f"Expected a compiled model, received {model.name} as it was built: call model.compile(…).")
    if getattr(model, "loss", None) is None:
        raise ValueError(f"Expected {model.name} to be compiled with a loss, received none: its own steps are unknown.")
    if not model.built:
        raise ValueError(f"Expected {model.name} to be built: show it a batch of images first, model(images).")


class _Enough(keras.callbacks.Callback):
    """Stops where all is learned, or nothing is a number any more."""

    def __init__(self) -> None:
        super().__init__()
        self.first = 0.0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """After each step, for an epoch is one batch."""
        history = {name: [float(value)] for name, value in (logs or {}).items()}
        self.first = self.first or history["loss"][0]
        history["loss"].insert(0, self.first)
        self.model.stop_training = learned(history) or not np.isfinite(history["loss"][-1])


@contextlib.contextmanager
def _steady(model: keras.Model) -> Iterator[None]:
    """Within, nothing is dropped at random: dropout and drop-path have a rate of 0."""
    kinds = keras.layers
    noisy = (
        kinds.Dropout,
        kinds.SpatialDropout1D,
        kinds.SpatialDropout2D,
        kinds.SpatialDropout3D,
        kinds.AlphaDropout,
        kinds.GaussianDropout,
        layers.DropPath,
    )
    found = [layer for layer in model._flatten_layers() if isinstance(layer, noisy)]
    rates = [layer.rate for layer in found]
    try:
        for layer in found:
            layer.rate = 0
        yield
    finally:
        for layer, rate in zip(found, rates, strict=True):
            layer.rate = rate


def _pair(data: Any) -> tuple[Any, Any]:
    """Arrays, of at least two classes or values."""
    from .samples import read

    x, y = read(data, "can_overfit: ")
    if feeding.count(x) < 2:
        raise ValueError("can_overfit: expected two images at least, each with a label, received one.")
    if all((each == each[:1]).all() for each in keras.tree.flatten(y)):
        raise ValueError("can_overfit: expected images of two classes at least, received one, which any bias learns.")
    return x, y
