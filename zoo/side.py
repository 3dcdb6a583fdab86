"""Auxiliary classifiers, which train the first half of GoogLeNet and of Inception V3, and are gone at inference."""

from collections.abc import Callable

import keras

from convcraft.layers import AuxiliaryClassifier

from .parts import Tensor

WEIGHT = 0.3  # GoogLeNet's


def weight_of(auxiliary: bool | float, model: str, head_kind: str) -> float:
    """The weight of the auxiliary losses that an option asks for: 0 without, `WEIGHT` for True."""
    if not isinstance(auxiliary, int | float) or not 0 <= auxiliary < float("inf"):
        raise ValueError(
            f"{model}: expected auxiliary to be True, False or the weight of the auxiliary losses, received "
            f"{auxiliary!r}."
        )
    if auxiliary and head_kind == "none":
        raise ValueError(f"{model}: expected auxiliary=False for head='none': there is nothing to classify.")
    return WEIGHT if auxiliary is True else float(auxiliary)


def beside(x: Tensor, weight: float, build: Callable[[Tensor], Tensor], name: str) -> Tensor:
    """`x`, and beside it a network that `build` makes of it, whose loss counts `weight` in training; none for 0."""
    if not weight:
        return x
    inputs = keras.Input(x.shape[1:], name=f"{name}_features")
    return AuxiliaryClassifier(keras.Model(inputs, build(inputs), name=f"{name}_net"), weight, name=name)(x)
