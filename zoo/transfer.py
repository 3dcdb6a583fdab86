"""From one set of classes to another."""

from collections.abc import Sequence

import keras

from convcraft.layers import AuxiliaryClassifier, ClassNames, Model, as_model


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
    if not any(isinstance(layer, AuxiliaryClassifier) for layer in model.layers):
        return as_model(model)

    def call(layer, *args, **kwargs):
        return args[0] if isinstance(layer, AuxiliaryClassifier) else layer(*args, **kwargs)

    bare = as_model(keras.models.clone_model(model, call_function=call))
    for layer in bare.layers[1:]:  # Keras gives the input another name
        layer.set_weights(model.get_layer(layer.name).get_weights())
    return bare


def replace_head(model: keras.Model, classes: int | Sequence[str]) -> Model:
    """The same network with a new, untrained classifier; all other layers are shared.

    Auxiliary classifiers knew the old classes and are left out: there, the layers are copies.

    Args:
        model: a zoo model with a classifier: its layer `head` and what follows are made anew.
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
    if "head" not in names:
        raise ValueError(
            f"replace_head: expected a zoo model with a layer named 'head', received {model.name!r}, whose last "
            f"layers are {', '.join(names[-3:])}."
        )
    labels = [str(number) for number in range(classes)] if isinstance(classes, int) else list(classes)
    x = model.get_layer("head").input
    for layer in model.layers[names.index("head") :]:
        config = layer.get_config()
        for key in ("units", "filters"):
            if layer.name == "head" and key in config:
                config[key] = len(labels)
        if isinstance(layer, ClassNames):
            config["names"] = labels
        config["trainable"] = True
        x = type(layer).from_config(config)(x)
    return without_auxiliary(Model(model.input, x, name=model.name))
