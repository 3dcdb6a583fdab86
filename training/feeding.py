"""What `fit` takes, as the tools read it: a pair of arrays, of several inputs or outputs too, or batches of both."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from convcraft.layers.base import to_numpy


def pair(data: Any, what: str) -> tuple[Any, Any] | None:
    """Images and labels in NumPy, where data are arrays; None for batches and whatever else.

    Args:
        data: (x, y), or (x, y, weights); x and y are an array each, or where a model has several inputs or outputs a
            list or dictionary of arrays.
        what: asks, for its errors: "check: ".

    Raises:
        ValueError: for arrays without images, or with another number of labels.

    Example:
        >>> pair((np.zeros((2, 3)), {"a": np.arange(2), "b": np.ones(2)}), "")[1]["a"].tolist()
        [0, 1]
    """
    if not isinstance(data, tuple | list) or len(data) not in (2, 3) or not any(map(_is_array, data[:2])):
        return None
    x, y = split(data, what)
    counts = {len(each) if each.ndim else 0 for each in keras.tree.flatten((x, y))}
    if counts == {0} or len(counts) != 1 or not keras.tree.flatten(y):
        said = ", ".join(str(len(each)) if each.ndim else "none" for each in keras.tree.flatten((x, y)))
        raise ValueError(f"{what}expected images, and as many labels; received {said}.")
    return x, y


def batches(data: Any, what: str) -> Iterable[Any]:
    """Batches, from the first on.

    Args:
        data: tf.data, a `PyDataset`, a PyTorch `DataLoader`, a list or a generator of batches.
        what: asks, for its errors.

    Raises:
        ValueError: for anything else.
    """
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, str | Mapping):
        # a PyDataset does not end by itself
        return (data[number] for number in range(len(data)))
    if isinstance(data, Iterable) and not isinstance(data, str | Mapping) and not hasattr(data, "shape"):
        return data
    raise ValueError(
        f"{what}expected a training.data.Data, a pair of arrays (x, y) or batches of both, received "
        f"{type(data).__name__}."
    )


def split(batch: Any, what: str) -> tuple[Any, Any]:
    """Images and labels of a batch, in NumPy.

    Args:
        batch: (x, y), or (x, y, weights).
        what: asks, for its errors.

    Raises:
        ValueError: for a batch without labels.
    """
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise ValueError(f"{what}expected batches (images, labels), received {type(batch).__name__}.")
    x, y = map(_numbers, batch[:2])
    if any(each.dtype.kind not in "biufV" for each in keras.tree.flatten((x, y)) if each.ndim):
        raise ValueError(
            f"{what}expected numbers as images and as labels, received text or objects: count the classes."
        )
    return x, y


def count(arrays: Any) -> int:
    """How many samples; of several inputs, those of the first.

    Example:
        >>> count({"image": np.zeros((5, 8, 8, 3)), "size": np.zeros((5, 1))})
        5
    """
    return len(keras.tree.flatten(arrays)[0])


def rows(arrays: Any, chosen: Any) -> Any:
    """The same rows of every array.

    Args:
        arrays: one, or a structure of them.
        chosen: an index.
    """
    return keras.tree.map_structure(lambda each: each[chosen], arrays)


def _is_array(given: Any) -> bool:
    return hasattr(given, "shape") or isinstance(given, Mapping)


def _numbers(given: Any) -> Any:
    """A structure of arrays; a list of numbers is an array."""
    if isinstance(given, tuple | list) and not any(map(_is_array, given)):
        return np.asarray(given)
    return keras.tree.map_structure(
        lambda each: to_numpy(each) if keras.ops.is_tensor(each) else np.asarray(each), given
    )
