"""The weights that one training passes by: kept, made models of, and averaged."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from convcraft.layers.base import to_numpy
from convcraft.zoo.graphs import give_weights

from ..recalibration import recalibrate
from ..restoring import same_draws
from .ensemble import listed


class Keeper(keras.callbacks.Callback):
    """Keeps weights of several moments of a training; what is kept is part of a run's checkpoints."""

    def __init__(self):
        super().__init__()
        self.kept: list[np.ndarray] = []  # of all moments in a row: a list of arrays is what checkpoints hold
        self.epochs: list[np.ndarray] = []  # in which they were kept, from 1 on

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets what an earlier training left."""
        self.kept, self.epochs = [], []

    def keep(self, epoch: int) -> None:
        """Keeps the weights as they are."""
        self.kept += [to_numpy(weight).copy() for weight in self.model.weights]
        self.epochs = [*self.epochs, np.array(epoch)]

    def models(self, model: keras.Model) -> list[keras.Model]:
        """A copy of `model` for each moment, the earliest first."""
        count = len(model.weights)
        made = []
        for start in range(0, len(self.kept), count):
            copy = _copy(model)
            give_weights(copy, self.kept[start : start + count])
            made.append(copy)
        return made


def _whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"Expected {name} to be a positive integer, received {value!r}.")


def _copy(model: keras.Model) -> keras.Model:
    """The same layers with weights of their own.

    Raises:
        ValueError: for a model class of the user's own that Keras cannot build again.
    """
    try:
        return keras.models.clone_model(model)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected a functional or sequential model, of which Keras can make copies; {model.name} is a "
            f"{type(model).__name__}. Give that class get_config, or build it from functions."
        ) from error


class Snapshots(Keeper):
    """Keeps the weights at the end of each cycle of the learning rate: several models for the price of one.

    The rate should be low where a cycle ends, and high where the next begins, so that the model leaves one minimum for
    another: `keras.optimizers.schedules.CosineDecayRestarts`. What is kept is part of a run's checkpoints;
    `models(model)` gives a model for each.

    Args:
        epochs: of the training.
        cycles: how many; they divide the epochs as evenly as possible.

    Example:
        >>> Snapshots(epochs=10, cycles=3).ends
        [3, 7, 10]

    Reference:
        Huang, Li, Pleiss, Liu, Hopcroft, Weinberger 2017, "Snapshot Ensembles: Train 1, Get M for Free",
        arXiv 1704.00109.
    """

    def __init__(self, epochs: int, cycles: int):
        super().__init__()
        for name, value in (("epochs", epochs), ("cycles", cycles)):
            _whole(name, value)
        if cycles > epochs:
            raise ValueError(f"Expected from 1 to {epochs} cycles in {epochs} epochs, received {cycles}.")
        self.ends = [round(epochs * cycle / cycles) for cycle in range(1, cycles + 1)]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the weights where a cycle ends."""
        if epoch + 1 in self.ends:
            self.keep(epoch + 1)


class Checkpoints(Keeper):
    """Keeps the weights of the last epochs, or of the best ones by validation: members, or what to average.

    `models(model)` gives a model for each, the earliest first: for an `Ensemble`, or for `average_weights`. They are
    held in memory and in a run's checkpoints, so a large network's weigh as often as they are kept.

    Args:
        count: how many to keep.
        every: epochs from one to the next that is considered, the last of the training included if its number divides.
        monitor: None: the last ones. Or the name of a measure of the epoch's end such as "val_accuracy": the best ones
            by it, the lowest where its name has "loss" or "error" in it, else the highest; of equals the later.

    Example:
        >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> net.compile("sgd", "mse")
        >>> keeper = Checkpoints(2)
        >>> _ = net.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=5, verbose=0, callbacks=[keeper])
        >>> [int(epoch) for epoch in keeper.epochs], len(keeper.models(net))
        ([4, 5], 2)
    """

    def __init__(self, count: int = 5, *, every: int = 1, monitor: str | None = None):
        super().__init__()
        for name, value in (("count", count), ("every", every)):
            _whole(name, value)
        self.count, self.every, self.monitor = count, every, monitor
        self.scores: list[np.ndarray] = []  # higher is better

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets what an earlier training left."""
        super().on_train_begin(logs)
        self.scores = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the weights if they are among the last, or the best."""
        if (epoch + 1) % self.every:
            return
        score = self._score(epoch, logs or {})
        if len(self.scores) == self.count:
            worst = int(np.argmin(self.scores))  # of equals the earliest
            if score < self.scores[worst]:
                return
            size = len(self.kept) // len(self.scores)
            del self.kept[worst * size : (worst + 1) * size], self.scores[worst], self.epochs[worst]
        self.keep(epoch + 1)
        self.scores = [*self.scores, np.array(score)]

    def _score(self, epoch: int, logs: dict[str, Any]) -> float:
        if self.monitor is None:
            return float(epoch)
        if self.monitor not in logs:
            there = ", ".join(sorted(logs)) or "nothing"
            raise ValueError(f"Expected monitor to be one of an epoch's measures, {there}; received {self.monitor!r}.")
        value = float(logs[self.monitor])
        value = -value if "loss" in self.monitor or "error" in self.monitor else value
        return value if np.isfinite(value) else -np.inf


@same_draws()
def average_weights(models: Sequence[keras.Model], data: Any) -> keras.Model:
    """One network whose weights are the means of those that a training passed by, as quick as any of them.

    Of networks that a training at a large or cyclical rate passes by, in one valley of the loss, the middle is often
    better than each: stochastic weight averaging. Of networks that began with other weights, or left a minimum for
    another, the mean is worth nothing: their probabilities can be averaged (`Ensemble`), their weights cannot. What
    batch normalization gathered along the way fits none of it, so it is measured anew.

    Keras averages as it trains: an optimizer with `use_ema=True`, and `keras.callbacks.SwapEMAWeights` to validate
    with the averages. `--preset modern` of every recipe does that.

    Args:
        models: of one architecture, such as `Checkpoints(…).models(model)` or `Snapshots(…).models(model)`.
        data: a `training.data.Data`, or an array of training images: for `recalibrate`.

    Returns:
        A new model like the first.

    Raises:
        ValueError: for no models, and for models of other architectures.

    Example:
        >>> from convcraft import zoo
        >>> nets = [zoo.create("resnet20_cifar", design=zoo.Design(width=0.25)) for _ in range(2)]
        >>> mean = average_weights(nets, np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)))
        >>> kernels = [float(np.mean(net.get_layer("head").kernel)) for net in (*nets, mean)]
        >>> bool(np.isclose(kernels[2], np.mean(kernels[:2]), atol=1e-6))
        True

    Reference:
        Izmailov, Podoprikhin, Garipov, Vetrov, Wilson 2018, "Averaging Weights Leads to Wider Optima and Better
        Generalization", arXiv 1803.05407, algorithm 1.
    """
    models = listed(models, "models")
    first = models[0]
    for model in models:
        shapes = [[tuple(weight.shape) for weight in each.weights] for each in (first, model)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"Expected models of one architecture, whose weights can be averaged; {model.name} has other weights "
                f"than {first.name}. Ensemble averages what they answer."
            )
    means = []
    for values in zip(*(model.get_weights() for model in models), strict=True):
        exact = np.issubdtype(values[0].dtype, np.integer)  # a count, of which there is no mean
        means.append(values[0] if exact else np.mean(np.stack(values), axis=0, dtype="float64"))
    made = _copy(first)
    give_weights(made, means)
    recalibrate(made, data)
    return made
