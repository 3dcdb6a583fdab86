"""A functional model as a graph: what flows into each layer, in order."""

from typing import Any

import keras

from convcraft.layers import CropLike, FractalPath


def nodes(model: keras.Model) -> list[Any]:
    """The calls of a functional or sequential model's layers, each after those that it needs.

    Args:
        model: a `keras.Model` with symbolic inputs.
    """
    graph = getattr(model, "_functional", None) or model
    if not hasattr(graph, "_nodes_by_depth"):
        raise ValueError(f"expected a functional or sequential keras.Model, received {model!r}.")
    depths = graph._nodes_by_depth
    return [node for depth in sorted(depths, reverse=True) for node in depths[depth]]


def signals(node: Any) -> list[Any]:
    """The tensors whose values pass through a call; not those that only tell it a size or which column to take."""
    tensors = list(node.input_tensors)
    if isinstance(node.operation, CropLike):
        return tensors[:1]
    return [t for t in tensors if not isinstance(t._keras_history.operation, FractalPath)]


def is_model(layer: Any) -> bool:
    """Whether a layer is a functional model itself."""
    return isinstance(layer, keras.Model) and bool(getattr(layer, "inputs", None))


def give_weights(model: keras.Model, weights: list[Any]) -> None:
    """`model.set_weights`, which alone leaves Keras's `Normalization` to the mean 0 and the variance 1 of its start.

    That layer computes with constants, which it takes from its weights when it is adapted or loaded from a file.

    Args:
        model: built.
        weights: arrays, as of `get_weights`.
    """
    model.set_weights(weights)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def weighs(layer: Any) -> int:
    """How many convolutions or dense layers a signal passes in one layer; 2 in Keras's separable ones."""
    kinds = keras.layers
    if isinstance(layer, kinds.SeparableConv1D | kinds.SeparableConv2D):
        return 2
    plain = (
        kinds.Conv1D,
        kinds.Conv2D,
        kinds.Conv3D,
        kinds.Conv1DTranspose,
        kinds.Conv2DTranspose,
        kinds.Conv3DTranspose,
        kinds.DepthwiseConv1D,
        kinds.DepthwiseConv2D,
        kinds.Dense,
        kinds.EinsumDense,
    )
    return int(isinstance(layer, plain))
