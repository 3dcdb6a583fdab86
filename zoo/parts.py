"""The smallest parts of the blocks: what each reads of the design."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from convcraft.layers import BatchNormalization, LocalResponseNormalization, activation

from .design import Design

Tensor = Any  # symbolic: a keras.KerasTensor

# Over five channels: the constants of AlexNet's paper, and those of Caffe's AlexNet and GoogLeNet.
LRN = {"lrn": {"bias": 2.0, "alpha": 1e-4}, "lrn_caffe": {"bias": 1.0, "alpha": 2e-5}}


def kernels_of(design, init, default="glorot_uniform"):
    """What the design says of every kernel, as arguments of a Keras layer."""
    init = init or default
    return {
        # one instance draws the same numbers each time: every layer gets a copy of its own
        "kernel_initializer": init.clone() if isinstance(init, keras.initializers.Initializer) else init,
        "kernel_regularizer": design.kernel_regularizer,
        "kernel_constraint": design.kernel_constraint,
    }


def scaled(filters: int, design: Design) -> int:
    """The number of filters times the design's `width`, at least 1."""
    return filters if design.width in (None, 1) else max(1, round(filters * design.width))


def normalize(x: Tensor, kind: str | None, name: str, **options: Any) -> Tensor:
    """Normalization by name; "none" or None leaves `x` as it is. `options` are the Keras layer's, as epsilon."""
    if kind in (None, "none"):
        return x
    if kind in LRN:
        return LocalResponseNormalization(2, beta=0.75, name=name, data_format="channels_last", **LRN[kind])(x)
    if kind == "batch":
        return BatchNormalization(name=name, **options)(x)
    options.pop("momentum", None)  # there are no moving statistics
    if kind == "layer":
        return layers.GroupNormalization(1, name=name, **options)(x)  # over height, width and channels of each image
    if kind == "instance":
        return layers.GroupNormalization(-1, name=name, **options)(x)
    channels = x.shape[-1]
    groups = max(1, channels // 8)
    while channels % groups:
        groups -= 1
    return layers.GroupNormalization(groups, name=name, **options)(x)


def shifts(kind: str | None) -> bool:
    """Whether a normalization adds an offset, which stands in for the bias before it."""
    return kind not in (None, "none", *LRN)


def without_lrn(design: Design) -> Design:
    """The design for layers that the paper does not normalize: local response normalization is left out there, every
    other kind stays. It was made for a few places, the others for all.
    """
    return dataclasses.replace(design, normalization="none") if design.normalization in LRN else design


def by_schedule(widths: Sequence[int], design: Design) -> list[int]:
    """The widths of a network's stages: as given (pyramid), all their mean (flat), or the last first (inverse)."""
    if design.width_schedule == "flat":
        return [round(sum(widths) / len(widths))] * len(widths)
    return list(widths)[::-1] if design.width_schedule == "inverse" else list(widths)


def activate(x: Tensor, kind: str | None, name: str) -> Tensor:
    """Activation by name; see `layers.activation`. None or "linear" leaves `x` as it is."""
    if kind in (None, "linear"):
        return x
    return activation(kind, name=name)(x)


def dropout(x: Tensor, design: Design, name: str, units: int | None = None, share: float = 1.0) -> Tensor:
    """Dropout at `share` of the design's rate; with `units`, only from `dropout_min_units` on."""
    threshold = design.dropout_min_units
    if not design.dropout or (units is not None and threshold is not None and units < threshold):
        return x
    return layers.Dropout(design.dropout * share, name=name)(x)
