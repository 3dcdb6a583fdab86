"""What is refused before hours of training."""

from collections.abc import Iterable
from typing import Any

import keras

from convcraft import zoo

from .data import Data, check_fits
from .distribute import Strategy, strategy_of
from .optimize import innermost


def loaded(data: Any, what: str) -> Data:
    """`data`, if it is a `training.data.Data`.

    Args:
        data: what a function was given.
        what: the function's name.

    Raises:
        ValueError: for arrays and the like, saying how to load them.
    """
    if not isinstance(data, Data):
        raise ValueError(
            f"{what}: expected data to be a training.data.Data, received {type(data).__name__}: load it with "
            "training.data.load, which takes arrays, too."
        )
    return data


def fits(model: keras.Model, data: Data) -> None:
    """Checks that `model` can be trained on `data`.

    Args:
        model: a compiled, functional Keras model.
        data: a `training.data.Data`.

    Raises:
        ValueError: saying what the model expects and what the data are.
    """
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.inputs[0].shape) != 4:
        raise ValueError(f"Expected {model.name} to be a functional model with one input, a batch of images.")
    expected, found = tuple(model.input_shape[1:]), tuple(data.image_shape)
    if any(e is not None and e != f for e, f in zip(expected, found, strict=True)):
        raise ValueError(
            f"{model.name} expects images of {_shape(expected)}, the data are {_shape(found)}. "
            "Build it with input_shape=data.image_shape."
        )
    if (len(model.output_shape) == 4) != data.masks:
        gives, have = ("each image", "each pixel") if data.masks else ("each pixel", "each image")
        raise ValueError(f"{model.name} gives {gives} a class, the data have one for {have}.")
    outputs, classes = model.output_shape[-1], len(data.class_names)
    if outputs != classes:
        raise ValueError(
            f"{model.name} has {outputs} outputs, the data {classes} classes. Build it with classes=data.class_names."
        )
    names = zoo.class_names(model)
    numbers = [str(number) for number in range(classes)]
    if names is not None and names not in (list(data.class_names), numbers):
        pairs = list(zip(names, data.class_names, strict=True))
        number, (ours, theirs) = next((n, p) for n, p in enumerate(pairs) if p[0] != p[1])
        raise ValueError(
            f"{model.name}'s class {number} is {ours!r}, the data's is {theirs!r}: the labels would be mixed up. "
            "Build it with classes=data.class_names."
        )
    if not getattr(model, "compiled", False):
        raise ValueError(f"Expected a compiled model, received {model.name} as it was built: call model.compile(…).")
    check_fits(data, max(zoo.cost(sized(model, found)).stride), model.name)


def sized(model: keras.Model, shape: tuple[int, ...]) -> keras.Model:
    """`model`, or where it takes images of any size, the same for `shape`."""
    if None not in model.input_shape[1:]:
        return model
    try:
        return keras.models.clone_model(model, input_tensors=keras.Input(shape))
    except ValueError as error:
        raise ValueError(
            f"{model.name} expects larger images: nothing is left of {_shape(shape)} after its strides. "
            "Load the data with a larger size=…"
        ) from error


def fits_strategy(model: keras.Model, strategy: Strategy | None) -> None:
    """Checks that `model` was built under `strategy`; Keras would train it on one device without a word."""
    if strategy is None or not hasattr(strategy, "scope"):
        return
    if strategy_of(model) is not strategy:
        raise ValueError(
            f"Expected {model.name} to be built inside the scope of {type(strategy).__name__}, received a model built "
            "outside it. Build and compile it under `with run.scope():`."
        )


def fits_schedule(model: keras.Model, callbacks: Iterable[keras.callbacks.Callback]) -> None:
    """Checks that no callback sets a learning rate that follows a schedule; Keras raises when it first does, in
    the middle of training.

    Raises:
        ValueError: saying which of the two to take out.
    """
    rate = getattr(innermost(model.optimizer), "_learning_rate", None)
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return
    setters = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)
    for callback in callbacks:
        if isinstance(callback, setters):
            raise ValueError(
                f"Expected either a schedule or {type(callback).__name__} to set the learning rate, received both: "
                f"the optimizer of {model.name} follows {type(rate).__name__}. For the callback, compile with a plain "
                "number (in a recipe, --schedule constant)."
            )


def _shape(shape: Iterable[int | None]) -> str:
    return "x".join("any" if size is None else str(size) for size in shape)
