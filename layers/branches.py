"""Dropped branches cost nothing: a functional model's smaller graph for each choice of branches."""

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from .base import Tensor, to_numpy
from .chooser import Chooser

LIMIT = 64
"""Choices that get a function of their own; where there are more, the layers beyond mask."""


class Branches:
    """The choices that a model can make in training, and what each of them needs to compute.

    Args:
        model: a functional model.

    Attributes:
        choosers: the layers that choose, in the order of the model's layers.
        taken: the choice that is being traced or computed, one number a chooser; None elsewhere.
        count: of choices, each of which compiles a step of its own when it first comes.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self.choosers = _choosers(model)
        self.count = math.prod(len(chooser.odds) for chooser in self.choosers)
        self.taken: tuple[int, ...] | None = None
        self._graphs: dict[tuple[int, ...], _Graph] = {}
        self._calls: list[tuple[int, int]] = []

    def synchronize(self) -> None:
        """Reads the states of the random generators, once before training; afterwards `next` counts along."""
        states = [to_numpy(chooser.seed_generator.state) for chooser in self.choosers]
        self._calls = [(int(seed), int(calls)) for seed, calls in states]

    def next(self) -> tuple[int, ...]:
        """The choice of the next batch."""
        choice = tuple(chooser.foresee(*state) for chooser, state in zip(self.choosers, self._calls, strict=True))
        self._calls = [(seed, calls + 1) for seed, calls in self._calls]
        return choice

    @contextmanager
    def take(self, choice: tuple[int, ...]) -> Iterator[None]:
        """Within it, the model's training call computes what `choice` needs."""
        whole = not any(chooser.leaves_out(c) for chooser, c in zip(self.choosers, choice, strict=True))
        before, self.taken = self.taken, None if whole else choice
        if not whole:
            self._prepare(choice)
        try:
            yield
        finally:
            self.taken = before

    def _prepare(self, choice: tuple[int, ...]) -> None:
        if choice not in self._graphs:
            self._graphs[choice] = _Graph(self.model, self.choosers, choice)

    def dispatcher(self, compile: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        """A train function that calls, for each batch, the function that was compiled for its choice.

        Args:
            compile: makes a train function of the model as it is.
        """
        functions: dict[tuple[int, ...], Callable[..., Any]] = {}
        logging.getLogger("tensorflow").addFilter(_unexpected)
        if keras.backend.backend() == "jax":  # while training, the layers' variables have no values to build with
            for every in itertools.product(*(range(len(chooser.odds)) for chooser in self.choosers)):
                self._prepare(every)

        def train_function(*args: Any) -> Any:
            if self.model.steps_per_execution != 1 and keras.backend.backend() == "tensorflow":
                self.synchronize()  # how many batches the last call had is known to the graph alone
            choice = self.next()
            with self.take(choice):
                if choice not in functions:
                    functions[choice] = self._compile(choice, compile)
                return functions[choice](*args)

        return train_function

    def _compile(self, choice: tuple[int, ...], compile: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        model = self.model

        def train_step(*args: Any) -> Any:
            with self.take(choice):
                return type(model).train_step(model, *args)

        # a function of its own for each choice: JAX's cache takes the same bound method for the same function
        model.__dict__["train_step"] = train_step
        try:
            return compile()
        finally:
            del model.__dict__["train_step"]

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """The model's output in training for the choice that is taken."""
        graph = self._graphs[self.taken]  # type: ignore[index]  # called within `take`
        for chooser in graph.silent:  # what was left out counts on, so that masking makes the same choices
            chooser.seed_generator.next()
        return graph.model(inputs, training=True, mask=mask)

    def zero(self) -> Tensor | float:
        """A zero that depends on all variables the loss does not: they get gradients of zero, as under masking.

        Without gradients Keras would leave them alone: momentum would not coast, and weight decay not act.
        """
        untouched = self._graphs[self.taken].untouched  # type: ignore[index]
        terms = [ops.cast(ops.reshape(ops.convert_to_tensor(v), (-1,))[0], "float32") for v in untouched]
        return 0.0 * ops.sum(ops.stack(terms)) if terms else 0.0


class _Graph:
    """What one choice computes.

    Attributes:
        model: on the same layers as the whole model.
        silent: choosers that it leaves out.
        untouched: trainable variables that the gradient does not reach.
    """

    def __init__(self, model: keras.Model, choosers: list[Chooser], choice: tuple[int, ...]):
        taken = dict(zip(map(id, choosers), choice, strict=True))
        self.model = _pruned(model, taken, "branch")
        computed = {id(layer) for layer in self.model.layers}
        self.silent = [chooser for chooser in choosers if id(chooser) not in computed]
        same = all(type(chooser).trained is type(chooser).branch for chooser in choosers if hasattr(chooser, "branch"))
        trained = self.model if same else _pruned(model, taken, "trained")
        reached = {id(v) for v in trained.trainable_variables}
        self.untouched = [v for v in model.trainable_variables if id(v) not in reached]


def _unexpected(record: logging.LogRecord) -> bool:
    """All but TensorFlow's warning that steps are compiled again and again, which here is meant."""
    return "triggered tf.function retracing" not in str(record.msg)


def _choosers(model: keras.Model) -> list[Chooser]:
    """The layers of a functional model whose choice can leave something out, as many as stay within the limit."""
    found: list[Chooser] = []

    def look(join: Any, chooser: Chooser, inputs: list[Tensor]) -> None:
        if chooser.skips and not any(chooser is other for other in found):
            found.append(chooser)

    if any(isinstance(layer, Chooser) for layer in model.layers):
        _rewired(model, look)
    sizes = itertools.accumulate((len(chooser.odds) for chooser in found), lambda a, b: a * b)
    return [chooser for chooser, size in zip(found, sizes, strict=True) if size <= LIMIT]


def _pruned(model: keras.Model, taken: dict[int, int], method: str) -> keras.Model:
    """The model with every join replaced by what its `method` passes; what nothing reads is not in it."""

    def passed(join: Any, chooser: Chooser, inputs: list[Tensor]) -> Tensor | None:
        choice = taken.get(id(chooser))
        return None if choice is None else getattr(join, method)(inputs, choice)

    return _rewired(model, passed)


def _rewired(model: keras.Model, passed: Callable[[Any, Chooser, list[Tensor]], Tensor | None]) -> keras.Model:
    """The graph again on the same layers, with `passed(join, chooser, inputs)` in place of a join unless it is None."""
    drawn_by: dict[int, Chooser] = {}  # id of a tensor: the chooser that gave it

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, Chooser) and hasattr(layer, "branch") and kwargs.get("training") is not False:
            path = kwargs.get("path", args[1] if len(args) > 1 else None)
            chooser = layer if path is None else drawn_by.get(id(path))
            if path is None:
                layer.compute_output_spec(args[0])  # it learns how many inputs there are
            output = None if chooser is None else passed(layer, chooser, list(args[0]))
            if output is not None:
                return output
        outputs = layer(*args, **kwargs)
        if isinstance(layer, Chooser):
            drawn_by[id(outputs)] = layer
        return outputs

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
