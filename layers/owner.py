"""Activations that are layers, inside of layers of Keras: built with them, for the shape that these give out."""

import sys
from types import FrameType
from typing import Any

import keras


def build_with_owner(layer: keras.layers.Layer) -> None:
    """Has `layer` built with the Keras layer that it is being made the activation of, if it is.

    Keras builds no activation: `Dense(8, activation="prelu")` would have no slopes before the first batch, so that
    neither `count_params`, `load_weights` nor an optimizer built before would see them; and it takes an activation to
    leave the shape alone. So the owner's `build` and `compute_output_shape` are extended, on this one object.

    For the constructor of a layer that has an `axis`, as its last line.
    """
    owner = _owner(layer)
    if owner is None or getattr(owner.compute_output_shape, "_is_default", False):  # as in recurrent cells
        return
    build, shape_of = owner.build, owner.compute_output_shape
    if getattr(owner, "data_format", None) == "channels_first" and layer.axis == -1:
        layer.axis = 1

    def build_both(input_shape: Any) -> None:
        build(input_shape)
        if not layer.built:
            layer.build(shape_of(input_shape))

    def compute_output_shape(input_shape: Any) -> Any:
        return layer.compute_output_shape(shape_of(input_shape))

    owner.build, owner.compute_output_shape = build_both, compute_output_shape


def _owner(layer):
    """The layer of Keras's whose constructor waits for `keras.activations.get` to return `layer`, or None."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code is not keras.activations.get.__code__:
        other = frame.f_locals.get("self") if frame.f_code.co_name == "__init__" else None
        if isinstance(other, keras.layers.Layer) and other is not layer:
            return None  # `layer` is a part of that one
        frame = frame.f_back
    frame = frame and frame.f_back
    if frame is None or frame.f_code.co_name != "__init__" or not frame.f_globals["__name__"].startswith("keras."):
        return None
    owner = frame.f_locals.get("self")
    return owner if isinstance(owner, keras.layers.Layer) else None
