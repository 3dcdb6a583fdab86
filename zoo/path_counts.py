"""How many ways lead through a network, by their length (Veit, Wilber, Belongie 2016, arXiv 1605.06431)."""

from collections.abc import Sequence
from typing import Any

import keras

from convcraft.layers import CompetitiveConv2D, ConcatDownsample

from .graphs import is_model, nodes, signals, weighs

Counts = dict[int, int]  # length: number of paths


def paths(model: keras.Model) -> Counts:
    """Counts the paths from a model's inputs to its outputs by the number of convolutions and dense layers on them.

    Each join ends as many paths as have met there, so that n residual blocks make 2^n. Many short paths beside few
    long ones are why deep residual and fractal networks train, and lose little where a block is deleted.

    A branch that multiplies another, as in squeeze-and-excitation, counts as one that is added; a tensor that a layer
    takes twice counts twice; auxiliary classifiers, which inference leaves out, do not count. Models inside the model
    are walked through, and a layer that is shared is counted wherever it is called.

    Args:
        model: any functional or sequential `keras.Model`.

    Returns:
        A dictionary, length to the number of paths: exact integers, shortest first. `sum(paths(model).values())` is
        how many there are in all.

    Raises:
        ValueError: for a model that is not functional.

    Example:
        >>> from convcraft import zoo
        >>> net = zoo.create("resnet20_cifar", design=zoo.Design(width=0.25, depth=1))  # three blocks of two
        >>> paths(net)
        {2: 1, 4: 3, 6: 3, 8: 1}

    Reference:
        Veit, Wilber, Belongie 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow Networks",
        arXiv 1605.06431, section 3.
    """
    try:
        outputs = _walk(model, [{0: 1}] * len(model.inputs))
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"paths: expected a functional or sequential keras.Model, received {model!r}.") from error
    total = _sum(outputs)
    return {length: total[length] for length in sorted(total)}


def _walk(model: keras.Model, starts: Sequence[Counts]) -> list[Counts]:
    """The counts at a model's outputs, given those at its inputs."""
    reached: dict[int, Counts] = {id(t): counts for t, counts in zip(model.inputs, starts, strict=True)}
    for node in nodes(model):
        if not node.input_tensors:  # an input
            continue
        arriving = [reached[id(tensor)] for tensor in signals(node)]
        layer = node.operation
        if is_model(layer):
            leaving = _walk(layer, arriving)
        else:
            leaving = [_times(_sum(arriving), _ways(layer))] * len(node.output_tensors)
        reached.update({id(t): counts for t, counts in zip(node.output_tensors, leaving, strict=True)})
    return [reached[id(tensor)] for tensor in model.outputs]


def _ways(layer: Any) -> Counts:
    """The paths through one layer, some of which have branches inside."""
    if isinstance(layer, CompetitiveConv2D):
        return {1: len(layer.kernel_sizes) + layer.pool}
    if isinstance(layer, ConcatDownsample):
        return {0: 1, 1: 1}
    return {weighs(layer): 1}


def _sum(several: Sequence[Counts]) -> Counts:
    total: Counts = {}
    for counts in several:
        for length, number in counts.items():
            total[length] = total.get(length, 0) + number
    return total


def _times(one: Counts, other: Counts) -> Counts:
    """What follows each other: lengths add up, numbers multiply."""
    product: Counts = {}
    for length, number in one.items():
        for more, ways in other.items():
            product[length + more] = product.get(length + more, 0) + number * ways
    return product
