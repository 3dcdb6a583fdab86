"""Trying something on a model, and leaving it as it was."""

import contextlib
from collections.abc import Iterator

import keras

from convcraft.layers.base import to_numpy

from . import distribute


@contextlib.contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Within, `model` may be trained; afterwards weights, statistics, random state and optimizer are as before.

    Args:
        model: built; where it is compiled, its optimizer's variables are made here, if need be.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built:
        with distribute.scope(distribute.strategy_of(model)):
            optimizer.build(model.trainable_variables)
    variables = [*model.variables, *(optimizer.variables if optimizer is not None else [])]
    before = [(variable, to_numpy(variable).copy()) for variable in variables]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)
        model.stop_training = False
