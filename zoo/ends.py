"""The first and the last layers of every architecture: preprocessing, pooling, the classifier."""

import dataclasses
from collections.abc import Sequence

import keras
from keras import layers

from convcraft.layers import ClassNames, SlidingDense, Whitening
from convcraft.layers.keras_names import pieces

from .design import Design
from .parts import Tensor, activate, dropout, kernels_of


def dense(
    x: Tensor, units: int, design: Design, name: str, act: bool = True, grid: int | tuple[int, int] | None = None
) -> Tensor:
    """Dense layer, the head's activation, and dropout where the design asks for it.

    With `grid`, the size of the features that would be flattened, it slides over images of features.
    """
    wide = units * (pieces(design.head_activation) if act else 1)
    kernels = kernels_of(design, design.dense_init)
    kind = layers.Dense(wide, name=name, **kernels) if grid is None else SlidingDense(wide, grid, name=name, **kernels)
    x = kind(x)
    if not act:
        return x
    x = activate(x, design.head_activation or "relu", f"{name}_act")
    return dropout(x, design, f"{name}_dropout", units)


def preprocess(
    x: Tensor,
    design: Design,
    mean: Sequence[float],
    std: Sequence[float],
    divide: bool = True,
    squeeze: bool = False,
) -> Tensor:
    """The first layers: raw 0-255 images to what the network is trained on.

    Args:
        x: images.
        design: its `preprocessing`: "paper" subtracts `mean` and, where the paper does, divides by `std`;
            "standardize" does both; "squeeze" maps to -1..1; "whitening" (ZCA of the colours) must be adapted to the
            training images before use, as `training.run` does; "none" leaves the images as they are.
        mean: of the paper's data by channel, on the 0-255 scale, for RGB; images of other channels use its average.
        std: their standard deviation, the same way.
        divide: whether the paper divides by it.
        squeeze: whether the paper maps to -1..1 instead.
    """
    kind = design.preprocessing
    if kind == "none":
        return x
    if kind == "squeeze" or (squeeze and kind == "paper"):
        return layers.Rescaling(1 / 127.5, -1.0, name="preprocess")(x)
    if kind == "whitening":
        return Whitening(name="preprocess", data_format="channels_last")(x)
    if not divide and kind != "standardize":
        std = [1.0] * len(mean)
    if x.shape[-1] != len(mean):
        grey, deviation = sum(mean) / len(mean), sum(std) / len(std)
        return layers.Rescaling(1 / deviation, -grey / deviation, name="preprocess")(x)
    offset = [-m / s for m, s in zip(mean, std, strict=True)]
    return layers.Rescaling([1 / s for s in std], offset, name="preprocess")(x)


def head(
    x: Tensor,
    classes: list[str] | int,
    design: Design,
    kind: str = "softmax",
    kernel: int | None = None,
    *,
    grid: int | tuple[int, int] | None = None,
    drop: bool = True,
) -> Tensor:
    """From the last features to the logits.

    Args:
        x: images of features, channels last.
        classes: list of class names, or for regression the number of outputs.
        design: `pooling`, `head_layers`, `head_activation`, `dropout`.
        kind: "softmax" and "multilabel" (logits, then the class names), "regression", or "none" (pooled features).
        kernel: where the classifier is a convolution of this size before the pooling, as in SqueezeNet. Its
            activation is left out for multilabel and regression, whose outputs must be able to be negative.
        grid: size of the features at the documented image size, for networks that flatten them. Where height or width
            is None, the dense layers slide over larger features, with the same weights, and their outputs are
            averaged; without a classifier, the features are averaged to this size.
        drop: whether the design's dropout is here, too, where there are no `head_layers`; not where the paper has it
            in other places only.
    """
    outputs = number_of(classes)
    slides = grid is not None and design.pooling == "flatten" and None in x.shape[1:3]
    if kind == "none":
        tiles = dataclasses.replace(design, pooling="adaptive")
        return pooled(x, tiles, grid) if slides and grid is not None else pooled(x, design)
    if kernel is not None:
        x = dropout(x, design, "head_dropout") if drop else x
        kernels = kernels_of(design, design.conv_init, keras.initializers.RandomNormal(stddev=0.01))
        x = layers.Conv2D(outputs, kernel, name="head", **kernels)(x)
        if kind == "softmax":
            x = activate(x, "relu" if pieces(design.activation) > 1 else design.activation, "head_act")
        x = pooled(x, design)
    else:
        x = x if slides else pooled(x, design)
        first = grid if slides else None  # of the dense layers; the others work on the last axis, as 1x1 kernels do
        for number, units in enumerate(design.head_layers or (), 1):
            x, first = dense(x, units, design, f"head_dense{number}", grid=first), None
        if not design.head_layers and drop:
            x = dropout(x, design, "head_dropout", x.shape[-1])
        x = dense(x, outputs, design, "head", act=False, grid=first)
        x = layers.GlobalAveragePooling2D(name="pool")(x) if slides else x
    return named(x, classes, kind)


def number_of(classes: list[str] | int) -> int:
    """How many outputs there are."""
    return len(classes) if isinstance(classes, list) else classes


def named(x: Tensor, classes: list[str] | int, kind: str) -> Tensor:
    """The logits, and with them the names of the classes; for regression as they are."""
    return x if kind == "regression" else ClassNames(classes, name="class_names")(x)


def pooled(x: Tensor, design: Design, grid: int | tuple[int, int] = 2) -> Tensor:
    """From images of features to vectors: the mean, all of them, or the means of a `grid` of tiles."""
    kind, sizes = design.pooling, x.shape[1:3]
    if kind == "flatten":
        if None in sizes:
            raise ValueError("Design: pooling='flatten' needs images of a fixed size, received input_shape with None.")
        return layers.Flatten(name="pool")(x)
    if kind == "adaptive":
        high, wide = (grid, grid) if isinstance(grid, int) else grid
        if any(size is not None and size < least for size, least in zip(sizes, (high, wide), strict=True)):
            raise ValueError(f"Design: pooling='adaptive' needs {high}x{wide} features or more, received {sizes}.")
        return layers.Flatten(name="pool")(layers.AdaptiveAveragePooling2D(grid, name="pool_tiles")(x))
    return layers.GlobalAveragePooling2D(name="pool")(x)
