"""Trying something on a model, and leaving it as it was."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state  # where Keras keeps the state of draws without a seed

from convcraft.layers import as_model
from convcraft.layers.base import to_numpy

from . import distribute
from .optimize import at_rate


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
        with _torch_draws():
            yield
    finally:
        if getattr(model, "_jax_state", None):  # where Keras on JAX was broken off: it would put this back
            model._jax_state = None
        for variable, value in before:
            variable.assign(value)
        model.stop_training = False


@contextlib.contextmanager
def _torch_draws() -> Iterator[None]:
    """PyTorch's own random state stays: Keras's dropout without a seed draws from it."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.random.fork_rng():
        yield


@contextlib.contextmanager
def same_draws() -> Iterator[None]:
    """Within, anything may be drawn; afterwards Python, NumPy and Keras draw what they would have drawn."""
    python, arrays = random.getstate(), np.random.get_state()
    generator = global_state.get_global_attribute("global_seed_generator")
    state = None if generator is None else to_numpy(generator.state).copy()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        if generator is None:  # what was made within began with a draw of Python's
            global_state.set_global_attribute("global_seed_generator", None)
        else:
            generator.state.assign(state)


class Apart(keras.Model):
    """A model within another, which is compiled apart: whatever is trained has weights in common, and nothing else.

    Args:
        inner: the model, functional or not.

    Example:
        >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> Apart(net).trainable_variables[0] is net.trainable_variables[0]
        True
    """

    def __init__(self, inner: keras.Model):
        super().__init__(name=inner.name)
        self.inner = inner
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """What the model within answers."""
        return self.inner(inputs, training=training)


def apart(model: keras.Model) -> keras.Model:
    """The same layers, to be compiled apart: as our own `Model`, which computes only a batch's branches, or an `Apart`.

    Args:
        model: built. Call this in the scope of its strategy.
    """
    if not getattr(model, "inputs", None) or len(model.inputs) > 1 or len(model.outputs) > 1:
        return Apart(model)
    inner = as_model(model)
    if isinstance(inner.input, keras.KerasTensor) and isinstance(inner.output, keras.KerasTensor):
        return type(inner)(inner.input, inner.output, name=model.name)
    return Apart(model)


def loss_weights(model: keras.Model) -> Any:
    """What a model was compiled with, for its several outputs.

    Args:
        model: compiled.
    """
    return getattr(getattr(model, "_compile_loss", None), "_user_loss_weights", None)


def compile_apart(
    trial: keras.Model, model: keras.Model, rate: float, *, optimizer: Any = None, loss: Any = None, **metrics: Any
) -> None:
    """Compiles what `apart` made as the model itself is, with a copy of its optimizer that stands at one rate.

    Args:
        trial: to be compiled.
        model: compiled, unless optimizer and loss are given.
        rate: of the copy.
        optimizer: to copy. None: the model's.
        loss: None: the model's, with the weights of its outputs.
        metrics: and what else `compile` takes.
    """
    own = loss is None or loss is getattr(model, "loss", None)
    trial.compile(
        at_rate(optimizer or model.optimizer, rate),
        model.loss if loss is None else loss,
        loss_weights=loss_weights(model) if own else None,
        jit_compile=getattr(model, "jit_compile", None) or False,
        run_eagerly=getattr(model, "run_eagerly", False),
        **metrics,
    )
