"""The classifier of a pretrained model: which layer it is, what it is given, and what it knows."""

from typing import Any

import keras
import numpy as np

from convcraft.layers import ClassNames
from convcraft.zoo.graphs import is_model, nodes
from convcraft.zoo.transfer import classifies

# layers that may follow a classifier without being one
BEHIND = (
    keras.layers.Activation,
    keras.layers.Softmax,
    keras.layers.ReLU,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Dropout,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.InputLayer,
    ClassNames,
)
SHARES = ("softmax", "sigmoid", "log_softmax")


def find(model: keras.Model) -> tuple[Any, keras.layers.Layer | None]:
    """What the classifier of a model is given, and its layer; the output and None where it has none.

    Raises:
        ValueError: for shares of classes that no known layer makes.
    """
    calls = nodes(model)
    for node in calls:
        if classifies(node.operation.name):
            return node.input_tensors[0], node.operation
    shares = bent = False  # whether what follows makes probabilities; whether it cuts off what is negative
    for node in reversed(calls):
        layer = node.operation
        kind = activation(layer)
        shares, bent = shares or kind in SHARES, bent or kind not in (*SHARES, "linear")
        if is_model(layer):  # a whole network behind preprocessing, perhaps
            features, head = find(layer)
            if head is not None:
                inner = keras.Model(layer.inputs, features, name=layer.name)
                return inner(*node.arguments.args, **node.arguments.kwargs), head
            break
        if isinstance(layer, keras.layers.Dense) and (shares or not bent):
            return node.input_tensors[0], layer
        # on maps of one pixel, as the MobileNets of Keras have it; or, as in SqueezeNet, on larger ones
        on_one = isinstance(layer, keras.layers.Conv2D) and tuple(node.input_tensors[0].shape[1:3]) == (1, 1)
        if on_one and not bent or isinstance(layer, keras.layers.Conv2D) and shares:
            return node.input_tensors[0], layer
        if not isinstance(layer, BEHIND):
            break
    if shares:
        raise ValueError(
            f"{model.name} ends in shares of classes, and the layer that makes them is none that is known: pass "
            "keras.Model(model.input, the features before it)."
        )
    return model.outputs[0], None


def answers(layer: keras.layers.Layer | None, features: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Kernel and bias by which a classifier answers from pooled features; None where it is not that simple.

    A 1x1 convolution before its maps are averaged is as a dense layer after it, but for an activation between the two.

    Args:
        layer: of `find`.
        features: how many the body has.
    """
    kernel = getattr(layer, "kernel", None)
    if kernel is None or not isinstance(layer, keras.layers.Dense | keras.layers.Conv2D):
        return None
    kernel = keras.ops.convert_to_numpy(keras.ops.cast(kernel, "float32"))
    if kernel.size != features * kernel.shape[-1]:  # larger than 1x1, or grouped
        return None
    kernel = kernel.reshape(features, -1)
    bias = np.zeros(kernel.shape[1], "float32")
    if layer.use_bias:
        bias = keras.ops.convert_to_numpy(keras.ops.cast(layer.bias, "float32"))
    return (kernel, bias) if np.isfinite(kernel).all() and np.isfinite(bias).all() else None


def without_dropout(features: Any) -> Any:
    """Without the dropout of an earlier fine-tuning, for there will be another."""
    layer, node, _ = features._keras_history
    return layer._inbound_nodes[node].input_tensors[0] if layer.name == "fine_tuned_dropout" else features


def activation(layer: Any) -> str:
    """The name of a layer's activation, "linear" where it has none."""
    kind = getattr(getattr(layer, "activation", None), "__name__", None)
    # layers that are one, and those of keras.ops, which stand in the graph under their names
    return kind or {"ReLU": "relu", "Softmax": "softmax", "Sigmoid": "sigmoid"}.get(type(layer).__name__, "linear")
