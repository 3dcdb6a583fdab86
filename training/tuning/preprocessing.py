"""What stands between raw images and a pretrained network: found in it, or put before it."""

import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from convcraft.layers import Model, Squeeze, Standardize, Whitening
from convcraft.zoo.graphs import is_model, weighs

PREPROCESSING = (keras.layers.Rescaling, keras.layers.Normalization, Standardize, Squeeze, Whitening)
# of keras.applications, whose models expect images that `preprocess_input` has changed
MODES = {
    "caffe": r"^(vgg1[69]|resnet(50|101|152))$",
    "tf": r"^(xception|inception_v3|inception_resnet_v2|mobilenet_[\d.]+_\d+|mobilenet_[\d.]+_None|mobilenetv2_.*"
    r"|resnet(50|101|152)v2|nasnet.*|NASNet)$",
    "torch": r"^densenet(121|169|201)$",
}
INPUTS = ("raw", "0-1", "tf", "torch", "caffe")


def raw(body: Model, wanted: str | None) -> tuple[Model, str]:
    """A body that takes raw images, with what was done for it.

    Raises:
        ValueError: where nothing tells what the body expects, and for `wanted` of one that preprocesses itself.
    """
    for layer in leaves(body):
        if weighs(layer) and not preprocesses(layer):
            break
        if preprocesses(layer):
            if wanted in (None, "raw"):
                return body, f"raw 0-255 images, which its layer {layer.name!r} preprocesses"
            raise ValueError(f"{body.name} preprocesses images itself, in {layer.name!r}: leave preprocessing out.")
    mode = wanted or next((mode for mode, pattern in MODES.items() if re.match(pattern, body.name)), None)
    if mode is None:
        if _normalizes_first(body):
            return body, "raw 0-255 images, which its first normalization scales"
        raise ValueError(
            f"{body.name} has no layer that preprocesses images, and is not one of keras.applications: expected "
            f"preprocessing to be one of {', '.join(INPUTS)}, as it was trained (raw: on 0-255, or it computes what it "
            "needs itself). A wrong guess would cost accuracy without a word."
        )
    if mode == "raw":
        return body, "raw 0-255 images, as you say"
    return behind(body, lambda images: _changed(images, mode)), f"raw 0-255 images; {mode!r} preprocessing added"


def preprocesses(layer: keras.layers.Layer) -> bool:
    """Whether a layer is Keras's or ours for it, or the convolution that `_changed` has put there."""
    return isinstance(layer, PREPROCESSING) or layer.name == "preprocess"


def behind(body: keras.Model, change: Any) -> Model:
    """The same layers behind `change`, a function of the images."""
    changed: dict[int, Any] = {}

    def behind_it(x):
        if not isinstance(getattr(getattr(x, "_keras_history", None), "operation", None), keras.layers.InputLayer):
            return x
        if id(x) not in changed:
            changed[id(x)] = change(x)
        return changed[id(x)]

    def call(layer, *args, **kwargs):
        return layer(*keras.tree.map_structure(behind_it, args), **kwargs)  # some layers take lists

    made = keras.models.clone_model(body, clone_function=lambda layer: layer, call_function=call)
    return Model(made.inputs[0], made.outputs[0], name=body.name)


def _changed(images: Any, mode: str) -> Any:
    kind = keras.layers.Rescaling
    if mode == "0-1":
        return kind(1 / 255, name="preprocess")(images)
    if mode == "tf":
        return kind(1 / 127.5, -1.0, name="preprocess")(images)
    if mode == "torch":
        scale: Any = [1 / (255 * std) for std in (0.229, 0.224, 0.225)]
        offset: Any = [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]
        return kind(scale, offset, name="preprocess")(images)
    # blue, green, red less their means: a frozen 1x1 convolution, for no layer of Keras swaps channels
    swap = keras.layers.Conv2D(3, 1, trainable=False, name="preprocess")
    x = swap(images)
    swap.set_weights([np.eye(3, dtype="float32")[::-1][None, None], -np.array([103.939, 116.779, 123.68], "float32")])
    return x


def _normalizes_first(body: keras.Model) -> bool:
    """Whether batch normalization comes before any weights: it makes up for the images' scale."""
    for layer in leaves(body):
        if weighs(layer):
            return False
        if isinstance(layer, keras.layers.BatchNormalization):
            return True
    return False


def leaves(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model, those within nested models in their place."""
    for layer in model.layers:
        if is_model(layer):
            yield from leaves(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer
