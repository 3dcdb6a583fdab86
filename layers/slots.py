"""Which of an optimizer's variables belong to which of the model's, and how users name these: for `Freezable`."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

AVERAGE = "_model_variables_moving_average"


@dataclass
class Held:
    """A trainable variable and the optimizer's variables that belong to it, in an object that Keras does not track."""

    variable: keras.Variable
    slots: list[keras.Variable]
    averages: list[keras.Variable]


def path_of(variable: Any) -> str:
    """A variable's path; of a tf.Variable its name."""
    return getattr(variable, "path", None) or variable.name.split(":")[0]


def patterns_of(patterns: str | Sequence[str]) -> tuple[str, ...]:
    """Patterns as a tuple; raises for what is no regular expression."""
    patterns = (patterns,) if isinstance(patterns, str) else patterns
    if not isinstance(patterns, list | tuple) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError(f"Freezable: expected patterns to be a string or a list of strings, received {patterns!r}.")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"Freezable: expected a regular expression, received {pattern!r}: {error}.") from error
    return tuple(patterns)


def match(patterns: Sequence[str], paths: list[str]) -> np.ndarray:
    """Which of `paths` match a pattern; raises for a pattern that matches none."""
    chosen = np.zeros(len(paths), bool)
    for pattern in patterns:
        hits = np.array([re.search(pattern, path) is not None for path in paths], bool)
        if not hits.any():
            near = difflib.get_close_matches(pattern, paths, 5, cutoff=0.3) or paths[:5]
            raise ValueError(
                f"Freezable: expected a pattern of the path of a trainable variable, received {pattern!r}, which "
                f"matches none of {len(paths)}. Near it: {', '.join(near)}."
            )
        chosen |= hits
    return chosen


def _parts(optimizer: keras.optimizers.Optimizer) -> Iterator[keras.optimizers.Optimizer]:
    """An optimizer, and those that it is made of (`keras.optimizers.MultiOptimizer`)."""
    yield optimizer
    for value in vars(optimizer).values():
        for item in value if isinstance(value, list) else ():
            if isinstance(item, keras.optimizers.Optimizer):
                yield from _parts(item)


def held_by(optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable]) -> list[Held]:
    """Which of the optimizer's variables belong to which of the model's.

    Keras's optimizers keep their slots in lists in the order of the variables they were built with, None where a
    variable has none. What is in no such list must be a single number for all variables, such as the iterations.
    """
    found = [Held(variable, [], []) for variable in variables]
    places = {optimizer._var_key(variable): n for n, variable in enumerate(variables)}
    known = {id(variable) for variable in optimizer.variables}
    assigned = set()
    for part in _parts(optimizer):
        own = part._trainable_variables
        for name, value in vars(part).items():
            slots = value if isinstance(value, list) and len(value) == len(own) else []
            if name in ("_variables", "_trainable_variables") or not all(s is None or id(s) in known for s in slots):
                continue
            for variable, slot in zip(own, slots, strict=False):
                if slot is not None and id(slot) not in assigned:
                    assigned.add(id(slot))
                    held = found[places[optimizer._var_key(variable)]]
                    (held.averages if name == AVERAGE else held.slots).append(slot)
    lost = [v.path for v in optimizer.variables if id(v) not in assigned and len(v.shape) > 0]
    if lost:
        raise ValueError(
            f"Freezable: cannot tell to which variables of the model {', '.join(lost)} of {type(optimizer).__name__} "
            "belong. Expected an optimizer that keeps its slots in lists, in the order of the model's variables."
        )
    return found
