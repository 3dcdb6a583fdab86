"""All settings of a grid of a recipe's options, looked at before anything is trained."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import common

OWN = ("data", "output", "seeds")  # options that the folds decide


def combinations(grid: Any, options: common.Common) -> list[dict[str, Any]]:
    """All settings of a grid, each of the type that the option has.

    Raises:
        ValueError: for options that there are not, and values of another type.
    """
    from sklearn.model_selection import ParameterGrid

    if not grid:
        return [{}]
    parts = [grid] if isinstance(grid, Mapping) else list(grid)
    known = [field.name for field in dataclasses.fields(options) if field.name not in OWN]
    for part in parts:
        if not isinstance(part, Mapping):
            raise ValueError(f"Expected grid to be a dictionary of options to lists of values, received {part!r}.")
        for name, values in part.items():
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else f" It has {', '.join(known)}."
                raise ValueError(f"The recipe has no option {name!r}.{hint}")
            if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray) or not len(values):
                raise ValueError(f"Expected a list of values for {name}, received {values!r}.")
    typed = [{k: [_typed(k, v, getattr(options, k)) for v in part[k]] for k in part} for part in parts]
    order = dict.fromkeys(name for part in typed for name in part)
    return [{name: setting[name] for name in order if name in setting} for setting in ParameterGrid(typed)]


def _typed(name: str, value: Any, now: Any) -> Any:
    """A value as the option has it; texts, as the command line gives them, are read."""
    kind = type(now)
    value = value.item() if isinstance(value, np.generic) else value
    try:
        if kind is bool:
            found = {"true": True, "false": False}[str(value).lower()]
        elif isinstance(value, bool) or (kind is int and isinstance(value, float)):
            raise ValueError
        else:
            found = kind(value)
    except (ValueError, KeyError, TypeError):
        what = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise ValueError(f"Expected {name} in the grid to be {what}, received {value!r}.") from None
    return found
