"""The widest network that a budget allows."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from convcraft import zoo

from .. import distribute
from ..restoring import unchanged

FINE = 1.01  # the ratio of two widths that need not be told apart
STEPS = 5  # that are timed
SLOTS = 4  # numbers a weight takes in training: itself, its gradient, and two of the optimizer's


@dataclass(frozen=True)
class Fitted:
    """The widest network within a budget.

    Attributes:
        width: factor of the paper's widths.
        model: not trained.
        spent: name of each budget to what of it the model takes.
        limit: the budget that a wider network would exceed; "widest" where none would.
    """

    width: float
    model: keras.Model
    spent: dict[str, float]
    limit: str

    def __repr__(self) -> str:
        """In one line."""
        said = ", ".join(f"{name} {value:,.4g}" for name, value in self.spent.items())
        return f"<Fitted {self.model.name} at width {self.width:.4g}: {said}; limit: {self.limit}>"


def fit_width(
    model: str | Callable[[float], keras.Model],
    *,
    parameters: float | None = None,
    multiply_adds: float | None = None,
    memory: float | None = None,
    step_seconds: float | None = None,
    batch_size: int = 32,
    narrowest: float = 1 / 16,
    widest: float = 4.0,
    design: zoo.Design | None = None,
    **options: Any,
) -> Fitted:
    """Finds the widest network within one budget or several, by halving the range of widths.

    Width buys accuracy as long as the data bear it, and costs parameters and multiply-adds with its square.

    Args:
        model: a name of the zoo, or a function from a width to a model.
        parameters: at most so many.
        multiply_adds: of one image, at most so many.
        memory: bytes that training a batch takes, at most: four numbers for each weight (itself, its gradient, two
            of the optimizer) and the outputs of all layers. An estimate: backends keep some outputs twice, free others.
        step_seconds: of a training step, at most, measured on this machine with images of noise.
        batch_size: for `memory` and `step_seconds`.
        narrowest: the first width that is tried.
        widest: the last.
        design: of the zoo's model, without a width.
        options: what else `zoo.create` takes: classes, input_shape, ….

    Returns:
        A `Fitted`, with `width`, `model`, `spent` and `limit`.

    Raises:
        ValueError: without a budget, and where not even the narrowest network is within.

    Example:
        >>> found = fit_width("squeezenet_cifar", parameters=100_000, input_shape=(32, 32, 3), classes=10)
        >>> found.spent["parameters"] <= 100_000, found.limit
        (True, 'parameters')

    Reference:
        Notes on designing CNNs: "the widest network that the hardware bears"; Smith & Topin 2016, arXiv 1611.00847,
        design pattern 5.
    """
    budgets = {
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "memory": memory,
        "step_seconds": step_seconds,
    }
    wanted = {name: float(value) for name, value in budgets.items() if value is not None}
    if not wanted:
        raise ValueError(f"fit_width: expected a budget, one of {', '.join(budgets)}; received none.")
    for name, value in wanted.items():
        if not 0 < value < math.inf:
            raise ValueError(f"fit_width: expected {name} to be positive; received {value}.")
    if not 0 < narrowest < widest:
        raise ValueError(f"fit_width: expected 0 < narrowest < widest; received {narrowest} and {widest}.")
    if batch_size < 1:
        raise ValueError(f"fit_width: expected batch_size to be at least 1; received {batch_size}.")
    if design is not None and design.width is not None:
        raise ValueError(f"fit_width: expected a design without a width; received width={design.width}.")

    def make(width):
        if callable(model):
            return model(width)
        return zoo.create(model, design=replace(design or zoo.Design(), width=width), **options)

    def tried(width):
        built = make(width)
        spent = _spent(built, wanted, batch_size)
        beyond = max(wanted, key=lambda name: spent[name] / wanted[name])
        return built, spent, beyond if spent[beyond] > wanted[beyond] else ""

    best, spent, beyond = tried(narrowest)
    if beyond:
        raise ValueError(
            f"fit_width: {best.name} takes {spent[beyond]:,.4g} {beyond} at width {narrowest:g}, the narrowest; the "
            f"budget is {wanted[beyond]:,.4g}."
        )
    low, high, limit = narrowest, widest, "widest"
    built, taken, beyond = tried(widest)
    if not beyond:
        return Fitted(widest, built, taken, limit)
    limit = beyond
    while high / low > FINE:
        middle = math.sqrt(low * high)
        built, taken, beyond = tried(middle)
        if beyond:
            high, limit = middle, beyond
        else:
            low, best, spent = middle, built, taken
    return Fitted(low, best, spent, limit)


def _spent(model: keras.Model, wanted: dict[str, float], batch_size: int) -> dict[str, float]:
    """What the model takes of each budget."""
    found = zoo.cost(model)
    spent = {
        "parameters": float(found.parameters),
        "multiply_adds": float(found.multiply_adds),
        "memory": training_memory(found.parameters, found.activation_bytes, batch_size),
    }
    if "step_seconds" in wanted:
        spent["step_seconds"] = step_seconds(model, batch_size)
    return {name: spent[name] for name in wanted}


def training_memory(parameters: float, activation_bytes: float, batch_size: int) -> float:
    """Bytes that training a batch takes, roughly: see `fit_width`.

    Args:
        parameters: of the model.
        activation_bytes: of all layers' outputs for one image.
        batch_size: images a batch.
    """
    return float(4 * SLOTS * parameters + batch_size * activation_bytes)


def step_seconds(model: keras.Model, batch_size: int = 32) -> float:
    """The median time of a training step on images of noise; the model's weights are put back.

    Args:
        model: functional, from images to logits; it need not be compiled, and stays so.
        batch_size: images a step.

    Example:
        >>> 0 < step_seconds(zoo.create("plain_cnn", input_shape=(16, 16, 3)), 4)
        True
    """
    trial = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trial.compile(keras.optimizers.SGD(1e-6, momentum=0.9), loss, jit_compile=distribute.compile_xla())
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (batch_size, *model.input_shape[1:])).astype("float32")
    y = rng.integers(0, model.output_shape[-1], batch_size)
    times = []
    with unchanged(trial):
        for _ in range(STEPS + 2):
            began = time.perf_counter()
            trial.train_on_batch(x, y)
            times.append(time.perf_counter() - began)
    return float(np.median(times[2:]))  # the first ones compile
