"""The few building blocks that every architecture is written in; they alone read the design.

Each takes a symbolic tensor first and returns one; `design` has a value in every field that its family declares.
A block's main layer bears the block's name, the others add a suffix: `fire2_squeeze`, `fire2_squeeze_norm`,
`fire2_squeeze_act`.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from convcraft.layers import BatchNormalization, CeilMaxPooling2D, ClassNames, MaxNorm, Whitening, activation
from convcraft.layers.keras_names import pieces

from .design import Design

Tensor = Any  # symbolic: a keras.KerasTensor


def conv(
    x: Tensor,
    filters: int,
    kernel: int,
    stride: int,
    design: Design,
    name: str,
    *,
    pool: dict[str, Any] | None = None,
    act: bool = True,
    padding: str = "same",
    groups: int = 1,
) -> Tensor:
    """Convolution, normalization and activation, in the design's order.

    Args:
        x: images, channels last.
        filters: number of channels before the design's `width` is applied.
        kernel: size; the design's `kernel_size` replaces 3.
        stride: step. With "same" padding it pads both sides alike, as PyTorch and Caffe do, where Keras would pad
            only the end.
        design: the design.
        name: of the convolution.
        pool: None, or arguments for `downsample`: pooling inside the block, before or after the activation.
        act: whether there is an activation.
        padding: "same" or "valid".
        groups: of the convolution.
    """
    filters = scaled(filters, design)
    kernel = design.kernel_size if kernel == 3 and design.kernel_size else kernel
    wide = filters * (pieces(design.activation) if act else 1)  # for maxout, which gives out `filters`
    if padding == "same" and stride > 1 and kernel > 1:
        x = layers.ZeroPadding2D((kernel - 1) // 2, name=f"{name}_pad")(x)
        padding = "valid"
    # the normalization's offset stands in for the bias, unless an activation comes between them
    bias = design.normalization in (None, "none") or (act and design.norm_position == "after")
    x = _convolve(x, wide, kernel, stride, design, name, padding, groups, bias)

    def norm(x):
        return normalize(x, design.normalization, f"{name}_norm")

    def bend(x):
        return activate(x, design.activation, f"{name}_act")

    def pooling(x):
        return downsample(x, design, **(pool or {}))

    steps = [norm, bend] if act else [norm]
    if design.norm_position == "after":
        steps.reverse()
    if pool is not None:
        first = act and design.pool_position == "before"
        steps.insert(steps.index(bend) if first else len(steps), pooling)
    for step in steps:
        x = step(x)
    return x


def _convolve(x, filters, kernel, stride, design, name, padding, groups, bias):
    kernels = _kernels(design, design.conv_init)
    shared = {"padding": padding, "use_bias": bias, "groups": groups}
    kind = design.conv if kernel > 1 else None
    if kind == "separable":
        depthwise = {key.replace("kernel", "depthwise", 1): value for key, value in kernels.items()}
        if isinstance(design.kernel_constraint, MaxNorm):
            depthwise["depthwise_constraint"] = design.kernel_constraint.depthwise()
        x = layers.DepthwiseConv2D(
            kernel,
            stride,
            padding=padding,
            use_bias=False,
            name=f"{name}_depthwise",
            **depthwise,
        )(x)
        return layers.Conv2D(filters, 1, name=name, **shared, **kernels)(x)
    if kind == "factored":
        row = {**shared, "use_bias": False}  # the column's does
        x = layers.Conv2D(filters, (1, kernel), (1, stride), name=f"{name}_row", **row, **kernels)(x)
        return layers.Conv2D(filters, (kernel, 1), (stride, 1), name=name, **shared, **kernels)(x)
    if kind == "grouped" and groups == 1 and filters % 2 == 0 and x.shape[-1] % 2 == 0:
        shared["groups"] = 2
    return layers.Conv2D(filters, kernel, stride, name=name, **shared, **kernels)(x)


def _kernels(design, init, default="glorot_uniform"):
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


def stem(
    x: Tensor, filters: int, kernel: int, stride: int, design: Design, name: str = "stem", **options: Any
) -> Tensor:
    """The first convolution: `conv` with the design's `stem_width` and `stem_stride`."""
    return conv(x, design.stem_width or filters, kernel, design.stem_stride or stride, design, name, **options)


def normalize(x: Tensor, kind: str | None, name: str) -> Tensor:
    """Normalization by name; "none" or None leaves `x` as it is."""
    if kind in (None, "none"):
        return x
    if kind == "batch":
        return BatchNormalization(name=name)(x)
    if kind == "layer":
        return layers.GroupNormalization(1, name=name)(x)  # over height, width and channels of each image
    if kind == "instance":
        return layers.GroupNormalization(-1, name=name)(x)
    channels = x.shape[-1]
    groups = max(1, channels // 8)
    while channels % groups:
        groups -= 1
    return layers.GroupNormalization(groups, name=name)(x)


def activate(x: Tensor, kind: str | None, name: str) -> Tensor:
    """Activation by name; see `layers.activation`. None or "linear" leaves `x` as it is."""
    if kind in (None, "linear"):
        return x
    return activation(kind, name=name)(x)


def downsample(x: Tensor, design: Design, name: str, size: int = 2, stride: int = 2, ceil: bool = False) -> Tensor:
    """Halves the resolution in the design's way.

    Args:
        x: images, channels last.
        design: its `transition` is max, avg, max+avg (their sum), stride (a convolution) or concat (max pooling and a
            convolution of half as many channels).
        name: of the layer.
        size: of the window.
        stride: step.
        ceil: whether transition "max" rounds the size up without padding at the start, as Caffe does.
    """
    kind = design.transition or "max"

    def largest(name):
        return layers.MaxPooling2D(size, stride, padding="same", name=name)(x)

    def average(name):
        return layers.AveragePooling2D(size, stride, padding="same", name=name)(x)

    def strided(filters, name):
        kernels = _kernels(design, design.conv_init)
        return layers.Conv2D(filters, size, stride, padding="same", name=name, **kernels)(x)

    if kind == "max":
        return CeilMaxPooling2D(size, stride, name=name)(x) if ceil else largest(name)
    if kind == "avg":
        return average(name)
    if kind == "max+avg":
        return layers.Add(name=name)([largest(f"{name}_max"), average(f"{name}_avg")])
    if kind == "stride":
        return strided(x.shape[-1], name)
    half = max(1, x.shape[-1] // 2)
    return layers.Concatenate(name=name)([largest(f"{name}_max"), strided(half, f"{name}_conv")])


def join(branches: list[Tensor], design: Design, name: str) -> Tensor:
    """Brings branches of equal shape together: by sum, mean, max or concat, as the design says."""
    kinds = {"sum": layers.Add, "mean": layers.Average, "max": layers.Maximum, "concat": layers.Concatenate}
    return kinds[design.join or "sum"](name=name)(branches)


def after_join(x: Tensor, design: Design, name: str) -> Tensor:
    """The design's activation where branches have met; for maxout a 1x1 convolution makes the pieces first."""
    if (wider := pieces(design.activation)) > 1:
        x = _convolve(x, wider * x.shape[-1], 1, 1, design, f"{name}_pieces", "same", 1, bias=True)
    return activate(x, design.activation, name)


def fire(x: Tensor, squeeze: int, expand: int, design: Design, name: str) -> Tensor:
    """SqueezeNet's module: 1x1 kernels squeeze to few channels, 1x1 and 3x3 kernels side by side expand them.

    Args:
        x: images, channels last.
        squeeze: number of channels in between.
        expand: of each of the two kinds of kernel; twice as many come out.
        design: of all three convolutions.
        name: before `_squeeze`, `_expand1x1`, `_expand3x3` and `_concat`.
    """
    x = conv(x, squeeze, 1, 1, design, name=f"{name}_squeeze")
    wide = conv(x, expand, 1, 1, design, name=f"{name}_expand1x1")
    high = conv(x, expand, 3, 1, design, name=f"{name}_expand3x3")
    return layers.Concatenate(name=f"{name}_concat")([wide, high])


def separable(x: Tensor, filters: int, kernel: int, stride: int, design: Design, name: str, act: bool = True) -> Tensor:
    """MobileNet's depthwise separable convolution: one kernel a channel, then 1x1 kernels, each normalized.

    `conv` with the design's conv="separable" has nothing between the two; here normalization and activation are
    (but for maxout, which would need more channels).

    Args:
        x: images, channels last.
        filters: number of channels that come out.
        kernel: size of the depthwise kernels.
        stride: of the depthwise part, padded alike on both sides.
        design: of both parts.
        name: of the 1x1 convolution; the depthwise one adds `_depthwise`.
        act: whether there is an activation at the end.
    """
    kernel = design.kernel_size if kernel == 3 and design.kernel_size else kernel
    padding = "same"
    if stride > 1 and kernel > 1:
        x, padding = layers.ZeroPadding2D((kernel - 1) // 2, name=f"{name}_depthwise_pad")(x), "valid"
    middle = design.activation if pieces(design.activation) == 1 else None
    x = layers.DepthwiseConv2D(
        kernel,
        stride,
        padding=padding,
        use_bias=design.normalization in (None, "none"),
        name=f"{name}_depthwise",
        **{key.replace("kernel", "depthwise", 1): value for key, value in _kernels(design, design.conv_init).items()},
    )(x)
    x = activate(normalize(x, design.normalization, f"{name}_depthwise_norm"), middle, f"{name}_depthwise_act")
    return conv(x, filters, 1, 1, design, name, act=act)


def bottleneck(
    x: Tensor,
    narrow: int,
    filters: int,
    stride: int,
    design: Design,
    name: str,
    *,
    widen: int | None = None,
    act: bool = True,
) -> Tensor:
    """A 3x3 convolution on fewer channels, which 1x1 kernels make first (Inception), and undo after (ResNet).

    Args:
        x: images, channels last.
        narrow: number of channels that the first 1x1 kernels leave.
        filters: of the 3x3 convolution.
        stride: of the 3x3 convolution.
        design: of all.
        name: before `_conv1`, `_conv2` and `_conv3`.
        widen: None, or the number of channels that a last 1x1 convolution gives out.
        act: whether the last convolution has an activation; not where a join follows.
    """
    x = conv(x, narrow, 1, 1, design, name=f"{name}_conv1")
    x = conv(x, filters, 3, stride, design, name=f"{name}_conv2", act=act or widen is not None)
    return x if widen is None else conv(x, widen, 1, 1, design, name=f"{name}_conv3", act=act)


def dense(x: Tensor, units: int, design: Design, name: str, act: bool = True) -> Tensor:
    """Dense layer, the head's activation, and dropout where the design asks for it."""
    wide = units * (pieces(design.head_activation) if act else 1)
    x = layers.Dense(wide, name=name, **_kernels(design, design.dense_init))(x)
    if not act:
        return x
    x = activate(x, design.head_activation or "relu", f"{name}_act")
    return dropout(x, design, f"{name}_dropout", units)


def dropout(x: Tensor, design: Design, name: str, units: int | None = None) -> Tensor:
    """Dropout at the design's rate; with `units`, only from `dropout_min_units` on."""
    threshold = design.dropout_min_units
    if not design.dropout or (units is not None and threshold is not None and units < threshold):
        return x
    return layers.Dropout(design.dropout, name=name)(x)


def preprocess(x: Tensor, design: Design, mean: Sequence[float], std: Sequence[float], divide: bool = True) -> Tensor:
    """The first layers: raw 0-255 images to what the network is trained on.

    Args:
        x: images.
        design: its `preprocessing`: "paper" subtracts `mean` and, where the paper does, divides by `std`;
            "standardize" does both; "squeeze" maps to -1..1; "whitening" (ZCA of the colours) must be adapted to the
            training images before use, as `training.run` does; "none" leaves the images as they are.
        mean: of the paper's data by channel, on the 0-255 scale, for RGB; images of other channels use its average.
        std: their standard deviation, the same way.
        divide: whether the paper divides by it.
    """
    kind = design.preprocessing
    if kind == "none":
        return x
    if kind == "squeeze":
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
    x: Tensor, classes: list[str] | int, design: Design, kind: str = "softmax", kernel: int | None = None
) -> Tensor:
    """From the last features to the logits.

    Args:
        x: images of features, channels last.
        classes: list of class names, or for regression the number of outputs.
        design: `pooling`, `head_layers`, `head_activation`, `dropout`.
        kind: "softmax" and "multilabel" (logits, then the class names), "regression", or "none" (pooled features).
        kernel: where the classifier is a convolution of this size before the pooling, as in SqueezeNet. Its
            activation is left out for multilabel and regression, whose outputs must be able to be negative.
    """
    outputs = len(classes) if isinstance(classes, list) else classes
    if kind == "none":
        return pooled(x, design)
    if kernel is not None:
        x = dropout(x, design, "head_dropout")
        kernels = _kernels(design, design.conv_init, keras.initializers.RandomNormal(stddev=0.01))
        x = layers.Conv2D(outputs, kernel, name="head", **kernels)(x)
        if kind == "softmax":
            x = activate(x, "relu" if pieces(design.activation) > 1 else design.activation, "head_act")
        x = pooled(x, design)
    else:
        x = pooled(x, design)
        for number, units in enumerate(design.head_layers or (), 1):
            x = dense(x, units, design, f"head_dense{number}")
        if not design.head_layers:
            x = dropout(x, design, "head_dropout", x.shape[-1])
        x = dense(x, outputs, design, "head", act=False)
    return x if kind == "regression" else ClassNames(classes, name="class_names")(x)


def pooled(x: Tensor, design: Design, grid: int = 2) -> Tensor:
    """From images of features to vectors: the mean, all of them, or the means of a `grid` of tiles."""
    kind, sizes = design.pooling, x.shape[1:3]
    if kind == "flatten":
        if None in sizes:
            raise ValueError("Design: pooling='flatten' needs images of a fixed size, received input_shape with None.")
        return layers.Flatten(name="pool")(x)
    if kind == "adaptive":
        if any(size is not None and size < grid for size in sizes):
            raise ValueError(f"Design: pooling='adaptive' needs {grid}x{grid} features or more, received {sizes}.")
        return layers.Flatten(name="pool")(layers.AdaptiveAveragePooling2D(grid, name="pool_tiles")(x))
    return layers.GlobalAveragePooling2D(name="pool")(x)
