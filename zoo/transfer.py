"""From one set of classes to another."""

from collections.abc import Sequence
from typing import Any

import keras

from convcraft.layers import AuxiliaryClassifier, ClassNames, Model, as_model

from .graphs import nodes


def without_auxiliary(model: keras.Model) -> Model:
    """A copy of a trained network without its auxiliary classifiers, which matter in training only.

    It is the network that is built without them, and its files are smaller by what they weighed: half of GoogLeNet.

    Args:
        model: a functional model; one without auxiliary classifiers is returned as it is.

    Returns:
        A `convcraft.Model`, to be compiled. Layers that were frozen stay so.

    Example:
        >>> from convcraft import zoo
        >>> trained = zoo.create("googlenet_cifar", auxiliary=True)
        >>> len(trained.weights) - len(without_auxiliary(trained).weights)
        18
    """
    bare = bypassing_auxiliary(model)
    if bare is not model:
        for layer in bare.layers[1:]:  # Keras gives the input another name
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return as_model(bare)


def bypassing_auxiliary(model: keras.Model, **options: Any) -> keras.Model:
    """`keras.models.clone_model` without the auxiliary classifiers; a model that has none is returned as it is."""
    if not any(isinstance(layer, AuxiliaryClassifier) for layer in model.layers):
        return model

    def call(layer, *args, **kwargs):
        return args[0] if isinstance(layer, AuxiliaryClassifier) else layer(*args, **kwargs)

    return keras.models.clone_model(model, call_function=call, **options)


def replace_head(model: keras.Model, classes: int | Sequence[str]) -> Model:
    """The same network with a new, untrained classifier; all other layers are shared.

    Auxiliary classifiers knew the old classes and are left out: there, the layers are copies.

    Args:
        model: a zoo model with a classifier: its layer `head`, or several whose names start with `score`, and what
            follows are made anew.
        classes: number of classes, or the list of their names.

    Returns:
        A `convcraft.Model`, to be compiled. Layers that were frozen stay so; the new head is trainable.

    Raises:
        ValueError: for a model without a layer named `head`.

    Example:
        >>> from convcraft import zoo
        >>> digits = zoo.create("squeezenet_cifar", classes=10, design=zoo.Design(width=0.25))
        >>> replace_head(digits, ["ant", "bee"]).output_shape
        (None, 2)
    """
    names = [layer.name for layer in model.layers]
    first = next((number for number, name in enumerate(names) if classifies(name)), None)
    if first is None:
        raise ValueError(
            f"replace_head: expected a zoo model with a layer named 'head', received {model.name!r}, whose last "
            f"layers are {', '.join(names[-3:])}."
        )
    labels = [str(number) for number in range(classes)] if isinstance(classes, int) else list(classes)
    renewed = {layer.name: _renewed(layer, labels) for layer in model.layers[first:]}
    tensors: dict[int, object] = {}  # id of an old layer's output: the new one's
    for node in nodes(model):
        if node.operation.name in renewed:
            inputs = [tensors.get(id(tensor), tensor) for tensor in node.input_tensors]
            x = renewed[node.operation.name](inputs[0] if len(inputs) == 1 else inputs)
            tensors[id(node.output_tensors[0])] = x
    return without_auxiliary(Model(model.input, tensors[id(model.output)], name=model.name))


def classifies(name: str) -> bool:
    """Whether a layer of this name is the classifier of a zoo model, or one of several."""
    return name == "head" or name.startswith("score")


def _renewed(layer, labels):
    """A new layer for other classes."""
    config = layer.get_config()
    for key in ("units", "filters"):
        if classifies(layer.name) and key in config:
            config[key] = len(labels)
    if isinstance(layer, ClassNames):
        config["names"] = labels
    config["trainable"] = True
    return type(layer).from_config(config)
