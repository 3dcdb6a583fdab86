"""What the curves of `fit` do not show: each batch's loss, gradients by depth, units that do nothing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from convcraft.layers.base import to_numpy
from convcraft.zoo.graphs import is_model

from .. import distribute, feeding
from ..data import Data
from ..optimize import learning_rate
from ..restoring import Apart, loss_weights, unchanged

PROBE = 128  # images
SATURATED = {"tanh": (-0.99, 0.99), "sigmoid": (0.01, 0.99), "relu6": (-np.inf, 5.999)}  # beyond: hardly a gradient


class Monitor(keras.callbacks.Callback):
    """Watches a training from within, for `diagnose` and for plots; training itself is not changed by it.

    Losses are kept of every batch. After each epoch a few images, always the same, are shown once more: for the
    gradient of each layer's weights, and for the share of its units that are dead (0 for all images) or saturated
    (where the activation is all but flat). That costs about as much as two steps.

    Args:
        probe: the images, a pair of arrays (x, y) or a `training.data.Data`, of whose training images the first ones
            are taken, without augmentation. None: no gradients, no units; losses alone.
        images: at most so many of them.

    Attributes:
        losses: of each batch, in order.
        steps: number of batches after each epoch, all epochs together.
        epochs: what `fit` tells of each epoch, with `learning_rate`.
        gradients: layer to the norm of its weights' gradient divided by the square root of their number, after
            each epoch; in the order of the signal.
        changes: layer to the relative change of its weights in an epoch, a step: |w - w'| / |w| / steps.
        dead: layer to the share of its units, channels of maps, that are 0 for all images and places.
        saturated: layer to the share of its answers that lie where the activation is all but flat.

    Example:
        >>> keras.utils.set_random_seed(0)
        >>> net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])
        >>> net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> x, y = np.ones((64, 3), "float32"), np.zeros(64, "int32")
        >>> monitor = Monitor((x, y))
        >>> _ = net.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=[monitor])
        >>> len(monitor.losses), monitor.steps, list(monitor.gradients) == list(monitor.changes)
        (8, [4, 8], True)

    Reference:
        Wei, "Must Know Tips/Tricks in Deep Neural Networks", sections 4 and 7: the width of the loss curve, dead units;
        Glorot & Bengio 2010 for gradients by depth.
    """

    def __init__(self, probe: tuple[Any, Any] | Data | None = None, images: int = PROBE):
        super().__init__()
        if images < 1:
            raise ValueError(f"Monitor: expected images to be at least 1; received {images}.")
        self.probe = _probe(probe, images)
        self._forget()

    def _forget(self) -> None:
        self.losses: list[float] = []
        self.steps: list[int] = []
        self.epochs: list[dict[str, float]] = []
        self.gradients: dict[str, list[float]] = {}
        self.changes: dict[str, list[float]] = {}
        self.dead: dict[str, list[float]] = {}
        self.saturated: dict[str, list[float]] = {}
        self._trial: keras.Model | None = None
        self._looking: keras.Model | None = None
        self._seen = (0.0, 0.0)
        self._weights: dict[str, list[np.ndarray]] = {}

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Starts anew."""
        self._forget()
        if self.probe is not None and not getattr(self.model, "inputs", None):
            raise ValueError(
                f"Monitor: expected a functional or sequential model to look into, received {self.model.name}, a class "
                "of its own. Monitor() without a probe watches its losses."
            )
        self._weights = _weights(self.model) if self.probe is not None else {}

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keras's mean begins anew."""
        self._seen = (0.0, 0.0)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Takes the batch's own loss out of the mean that Keras tells."""
        before, total = self._seen
        count = self._count(before)
        mean = float((logs or {}).get("loss", np.nan))
        self.losses.append((count * mean - total) / (count - before))
        self._seen = (count, count * mean)

    def _count(self, before: float) -> float:
        """Images so far, of which Keras tells the mean: a last batch may be smaller. On JAX, where they are not known
        within an epoch, batches."""
        tracker = next((each for each in self.model.metrics if each.name == "loss"), None)
        if tracker is None or keras.backend.backend() == "jax" or not hasattr(tracker, "count"):
            return before + 1
        count = float(to_numpy(tracker.count))
        return count if count > before else before + 1

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Looks at gradients, changes and units."""
        steps = len(self.losses) - (self.steps[-1] if self.steps else 0)
        self.steps.append(len(self.losses))
        rate = learning_rate(self.model)
        self.epochs.append({"learning_rate": rate, **{key: float(value) for key, value in (logs or {}).items()}})
        if self.probe is None:
            return
        now = _weights(self.model)
        for name, weights in now.items():
            before = self._weights.get(name, weights)
            moved = _norm([one - other for one, other in zip(weights, before, strict=True)])
            self.changes.setdefault(name, []).append(moved / max(_norm(before), 1e-12) / max(1, steps))
        self._weights = now
        for name, value in self._gradients().items():
            self.gradients.setdefault(name, []).append(value)
        self._units()

    def _gradients(self) -> dict[str, float]:
        """The gradient of each layer's weights: what a step of plain gradient descent at a rate of 1 takes off."""
        x, y = self.probe
        if self._trial is None:
            loss, weights = self.model.loss, loss_weights(self.model)
            with distribute.scope(distribute.strategy_of(self.model)):
                self._trial = Apart(self.model)
                self._trial.compile(keras.optimizers.SGD(1.0), loss, loss_weights=weights, jit_compile=False)
        return gradient_norms(self._trial, x, y)

    def _units(self) -> None:
        """Dead and saturated units of every activation that the model shows."""
        if self._looking is None:
            self._looking = activations(self.model)
        if self._looking is None:
            return
        answers = distribute.answers(self._looking, self.probe[0])
        for name, values in answers.items():
            kind = activation_of(self.model.get_layer(name))
            if kind == "relu":
                silent = (values == 0).reshape(-1, values.shape[-1]).all(axis=0)
                self.dead.setdefault(name, []).append(float(silent.mean()))
            if kind in SATURATED:
                low, high = SATURATED[kind]
                self.saturated.setdefault(name, []).append(float(((values < low) | (values > high)).mean()))


def gradient_norms(trial: keras.Model, x: Any, y: Any) -> dict[str, float]:
    """Layer to the norm of its weights' gradient divided by the square root of their number, in the signal's order.

    Args:
        trial: compiled with plain gradient descent at a rate of 1; its weights are as before in the end.
        x: images.
        y: their labels.
    """
    with unchanged(trial):
        before = _weights(trial)
        trial.train_on_batch(x, y)
        after = _weights(trial)
    found = {}
    for name, weights in before.items():
        taken = [one - other for one, other in zip(weights, after[name], strict=True)]
        found[name] = _norm(taken) / max(1, sum(each.size for each in taken)) ** 0.5
    return found


def _probe(given: Any, images: int) -> Any:
    """A pair of arrays, or None."""
    if given is None:
        return None
    if isinstance(given, Data):
        if given.sources:
            return given.sources["train"].batch(np.arange(min(images, len(given.sources["train"]))))
        given = given.arrays("train")
    pair = feeding.pair(given, "Monitor: of probe: ")
    if pair is None:
        raise ValueError(f"Monitor: expected probe to be a pair (x, y) or data, received {type(given).__name__}.")
    return feeding.rows(pair, slice(0, images))


def _weights(model: keras.Model) -> dict[str, list[np.ndarray]]:
    """The trainable kernels of each layer, by its path, in the order of the signal."""
    found = {}
    for layer in _in_order(model):
        own = [variable for variable in layer._trainable_variables if layer.trainable and len(variable.shape) > 1]
        if own:
            found[own[0].path.rpartition("/")[0]] = [to_numpy(variable).astype("float64") for variable in own]
    return found


def _in_order(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """All layers within, nested ones where their model stands, where Keras's `_flatten_layers` turns them round."""
    for inner in layer._layers:
        yield inner
        yield from _in_order(inner)


def _norm(arrays: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.square(each).sum() for each in arrays)))


def activation_of(layer: keras.layers.Layer) -> str:
    """The name of a layer's activation; "" where it has none that could die or saturate.

    Args:
        layer: any.

    Example:
        >>> activation_of(keras.layers.Dense(2, "tanh")), activation_of(keras.layers.Dense(2))
        ('tanh', '')
    """
    if isinstance(layer, keras.layers.ReLU):
        return "relu6" if layer.max_value == 6 else "" if layer.negative_slope else "relu"
    activation = getattr(layer, "activation", None)
    if activation is None:
        return ""
    name = getattr(activation, "name", None) or getattr(activation, "__name__", "")
    return name if name == "relu" or name in SATURATED else ""


def activations(model: keras.Model) -> keras.Model | None:
    """The same model with the answers of all its activations that can die or saturate, by layer; None without any.

    Args:
        model: functional.
    """
    found = {}
    for layer in model.layers:
        if not is_model(layer) and activation_of(layer) and len(layer._inbound_nodes):
            found[layer.name] = layer.output
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs  # as arrays are given; Keras warns otherwise
    return keras.Model(inputs, found) if found else None
