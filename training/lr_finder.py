"""The learning rate range test: how far the rate can rise before training breaks (Smith 2017, arXiv 1506.01186)."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np

from . import distribute, feeding
from .data import Data
from .heads import last_activation
from .losses import crossentropy
from .restoring import apart, compile_apart, same_draws, unchanged

WINDOW = 0.05  # of the steps, over which the loss is smoothed: it lags by so much
LEAST = 1e-3  # relative change of the loss: below, nothing is learned at any rate
CLEAR = 4.0  # times the deviation of accuracies before they rise
BROKEN = 4.0  # times the best loss: nothing is learned beyond that


@dataclass(frozen=True, repr=False)
class LearningRates:
    """What a range test found.

    Attributes:
        rates: of each step.
        losses: of each step, smoothed.
        accuracies: the same, smoothed; empty where there are no classes.
        suggestions: name of a rule to its rate: "steep" where the loss falls fastest, "valley" in the middle of its
            longest fall, "minimum/10" a tenth of where it is least.
        min_lr: where accuracy begins to rise; where it does not clearly rise, where the loss begins to fall.
        max_lr: where accuracy is highest, before it falls; else a quarter of where the loss is least. The
            two are the ends of a cycle (Smith 2017, section 3.3).
    """

    rates: np.ndarray
    losses: np.ndarray
    suggestions: dict[str, float]
    min_lr: float
    max_lr: float
    accuracies: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __repr__(self) -> str:
        """The rates in one line."""
        said = ", ".join(f"{name} {rate:.2g}" for name, rate in self.suggestions.items())
        return f"<LearningRates {self.min_lr:.2g} to {self.max_lr:.2g}: {said}>"

    def plot(self, axes: Any = None) -> Any:
        """Draws the loss over the rate, with the suggestions.

        Args:
            axes: of matplotlib; None for a figure of its own.

        Returns:
            The axes.
        """
        if axes is None:
            from matplotlib.figure import Figure  # without pyplot, which would need a display

            axes = Figure(layout="constrained").subplots()
        axes.semilogx(self.rates, self.losses, color="0.3")
        axes.axvspan(self.min_lr, self.max_lr, color="0.93")
        for number, (name, rate) in enumerate(self.suggestions.items()):
            loss = np.interp(np.log(rate), np.log(self.rates), self.losses)
            axes.plot([rate], [loss], "o", color=f"C{number}", label=f"{name} {rate:.2g}")
        axes.set(xlabel="learning rate", ylabel="loss, smoothed")
        axes.legend(frameon=False)
        if self.rates[1] - self.rates[0] > 0.5 * (self.rates[-1] - self.rates[-2]):  # a linear ramp
            axes.set_xscale("linear")
        return axes


def find_lr(
    model: keras.Model,
    data: Any,
    loss: keras.losses.Loss | str | None = None,
    optimizer: keras.optimizers.Optimizer | str | None = None,
    *,
    start: float = 1e-6,
    stop: float = 10.0,
    steps: int = 100,
    ramp: Literal["exponential", "linear"] = "exponential",
    repeats: int = 1,
) -> LearningRates:
    """Trains for a few steps at rising rates, and says which are good; the model is left as it was.

    Args:
        model: any Keras model, compiled or not; of a class of its own, shown a batch before.
        data: a `training.data.Data`, a pair of arrays (images, labels), or anything that yields batches (x, y), which
            is read again from the beginning where it ends too soon. A generator has moved on by what was read.
        loss: None: the compiled one, else crossentropy of class numbers, from logits unless the model ends in softmax.
        optimizer: of which a copy is used; None: the compiled one, else SGD with momentum .9. A schedule of its rate
            is left out.
        start: the first rate.
        stop: the last, unless the loss has reached four times its least value before.
        steps: to take.
        ramp: how the rate rises: by the same factor each step, or by the same amount, as in the paper.
        repeats: tests to make, from the same weights with other batches; their curves are averaged.

    Returns:
        A `LearningRates`, with `min_lr`, `max_lr`, `suggestions` and `plot()`.

    Raises:
        ValueError: for rates or data with which no test can be made.

    Reference:
        Smith 2017, "Cyclical learning rates for training neural networks", section 3.3.

    Example:
        >>> keras.utils.set_random_seed(0)
        >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
        >>> found = find_lr(net, (x, (x[:, 0] > 0).astype("int32")), steps=60)
        >>> 0.01 < found.max_lr <= 10
        True
    """
    if not 0 < start < stop < float("inf"):
        raise ValueError(f"find_lr: expected 0 < start < stop, both finite, received start={start}, stop={stop}.")
    if not isinstance(steps, int) or steps < 10:
        raise ValueError(f"find_lr: expected steps to be a whole number from 10 on, received steps={steps}.")
    if ramp not in ("exponential", "linear") or not isinstance(repeats, int) or repeats < 1:
        raise ValueError(
            f"find_lr: expected ramp to be exponential or linear and repeats to be at least 1, received {ramp!r} and "
            f"{repeats}."
        )
    if not model.built:
        raise ValueError(f"find_lr: expected {model.name} to be built: show it a batch of images first, model(images).")
    compiled = getattr(model, "compiled", False)
    if loss is None:
        loss = model.loss if compiled else _guessed(model)
    if loss is None:
        raise ValueError(f"find_lr: expected a loss, but {model.name} was compiled without one: pass loss=….")
    if optimizer is None:
        optimizer = model.optimizer if compiled else keras.optimizers.SGD(momentum=0.9)
    rates = np.geomspace(start, stop, steps) if ramp == "exponential" else np.linspace(start, stop, steps)
    batches = _endless(data)
    with same_draws():
        first = next(batches)
        batches = itertools.chain([first], batches)
        metrics = _accuracy(loss, first[1])
        with distribute.scope(distribute.strategy_of(model)):
            trial = apart(model)
            compile_apart(trial, model, start, optimizer=optimizer, loss=loss, weighted_metrics=metrics)
        curves = [_curve(trial, rates, batches, 2 if metrics else 1) for _ in range(repeats)]
    taken = min(len(curve) for curve in curves)
    if taken < 5:
        raise ValueError(
            f"find_lr: the loss of {model.name} breaks, or is no number, after {taken} steps from a rate of {start:g} "
            "on. Expected a smaller start, more steps, or images and labels that fit the model."
        )
    losses, *accuracies = np.mean([curve[:taken] for curve in curves], axis=0).T
    if np.ptp(losses) <= LEAST * np.abs(losses).max() or not model.trainable_variables:
        raise ValueError(
            f"find_lr: the loss of {model.name} is {losses[0]:.4g} at every rate: nothing is learned, and there is "
            "nothing to suggest. `training.check` may say why."
        )
    return _judged(rates[:taken], losses, accuracies[0] if accuracies else np.zeros(0))


def _curve(trial: keras.Model, rates: np.ndarray, batches: Iterator[tuple[Any, Any]], told: int) -> np.ndarray:
    """(steps, 1 or 2): loss and, of classes, accuracy at rising rates, smoothed; until training breaks."""
    smoothing = max(0.0, 1 - 1 / (WINDOW * len(rates)))
    average: Any = 0.0
    found: list[np.ndarray] = []
    with unchanged(trial):
        for step, rate in enumerate(rates):
            trial.optimizer.learning_rate = float(rate)
            trial.reset_metrics()  # else Keras gives the mean of all steps so far
            values = np.atleast_1d(np.asarray(trial.train_on_batch(*next(batches)), "float64"))
            values = values[:told]  # of several outputs there are their losses, too
            if not np.isfinite(values[0]):
                break
            average = smoothing * average + (1 - smoothing) * values
            found.append(average / (1 - smoothing ** (step + 1)))
            if step > len(rates) // 10 and found[-1][0] > BROKEN * min(each[0] for each in found):
                break
    return np.array(found) if found else np.zeros((0, 1))


def _guessed(model: keras.Model) -> keras.losses.Loss:
    """The loss of a model that was not compiled."""
    bent = last_activation(model) if getattr(model, "inputs", None) else None
    return keras.losses.SparseCategoricalCrossentropy(from_logits=bent != "softmax")


def _accuracy(loss: Any, y: Any) -> list[str] | None:
    """The metric of a loss of classes; None of several outputs."""
    several = isinstance(loss, list | tuple | dict) or not hasattr(y, "shape")
    return None if several or crossentropy(loss) is None else ["accuracy"]


def _judged(rates: np.ndarray, losses: np.ndarray, accuracies: np.ndarray) -> LearningRates:
    """The rates that the curves suggest."""
    lowest, tenth = int(np.argmin(losses)), max(2, len(rates) // 10)
    # from where on the curve has come a tenth of its way down: before, it rises and falls with the batches
    first = float(np.median(losses[:tenth]))
    above = np.flatnonzero(losses[:lowest] > first - 0.1 * (first - losses[lowest]))
    begun = int(above[-1]) + 1 if len(above) else 0
    falling = np.arange(begun, lowest + 1)  # up to the least loss
    steep = int(falling[np.argmin(np.gradient(losses, np.log(rates))[falling])])
    valley = int(round(begun + (lowest - begun) * 2 / 3))
    suggestions = {"steep": rates[steep], "valley": rates[valley], "minimum/10": rates[lowest] / 10}
    low, high = rates[begun], max(rates[begun], rates[lowest] / 4)
    if len(accuracies) and np.ptp(accuracies) > CLEAR * accuracies[: 2 * tenth].std():  # else it rose by chance
        peak, begin = int(np.argmax(accuracies)), accuracies[:tenth].mean()
        below = np.flatnonzero(accuracies[:peak] < begin + 0.1 * (accuracies[peak] - begin))
        low, high = rates[below[-1] + 1 if len(below) else 0], rates[peak]
    named = {name: float(rate) for name, rate in suggestions.items()}
    return LearningRates(rates, losses, named, float(low), float(high), accuracies)


def _endless(data: Any) -> Iterator[tuple[Any, Any]]:
    """Batches (x, y), from the beginning again where they end."""
    arrays = None
    if isinstance(data, Data):
        data = data.feed("train").dataset()
    elif (arrays := feeding.pair(data, "find_lr: ")) is not None:
        total = feeding.count(arrays[0])
        data = [feeding.rows(arrays, slice(at, at + 32)) for at in range(0, max(1, total - 31), 32)]
    read = 0
    while True:
        before = read
        for batch in feeding.batches(data, "find_lr: "):
            if not isinstance(batch, tuple | list) or len(batch) < 2:
                raise ValueError(f"find_lr: expected batches (images, labels), received {type(batch).__name__}.")
            read += 1
            yield batch[0], batch[1]
        if read == before:
            said = f"ended after {read}, and cannot be read again: pass what it was made from" if read else "has none"
            raise ValueError(f"find_lr: expected more batches; {type(data).__name__} {said}.")
