"""The few building blocks that every architecture is written in; they alone read the design.

Each takes a symbolic tensor first and returns one; `design` has a value in every field that its family declares.
A block's main layer bears the block's name, the others add a suffix: `fire2_squeeze`, `fire2_squeeze_norm`,
`fire2_squeeze_act`.
"""

import keras
from keras import layers

from convcraft.layers import BatchNormalization, CeilMaxPooling2D, ClassNames, Maxout, RReLU


def conv(x, filters, kernel, stride, design, name, *, pool=None, act=True, padding="same", groups=1):
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
    pieces = 2 if act and design.activation == "maxout" else 1
    if padding == "same" and stride > 1 and kernel > 1:
        x = layers.ZeroPadding2D((kernel - 1) // 2, name=f"{name}_pad")(x)
        padding = "valid"
    x = _convolve(x, filters * pieces, kernel, stride, design, name, padding, groups)
    steps = [lambda x: normalize(x, design.normalization, f"{name}_norm")]
    if act:
        steps.append(lambda x: activate(x, design.activation, f"{name}_act"))
    if design.norm_position == "after":
        steps.reverse()
    if pool is not None:
        place = len(steps) - 1 if design.pool_position == "before" else len(steps)
        steps.insert(place, lambda x: downsample(x, design, **pool))
    for step in steps:
        x = step(x)
    return x


def _convolve(x, filters, kernel, stride, design, name, padding, groups):
    shared = {
        "padding": padding,
        "use_bias": design.normalization in (None, "none"),
    }
    kernels = {
        "kernel_initializer": design.conv_init or "glorot_uniform",
        "kernel_regularizer": design.kernel_regularizer,
        "kernel_constraint": design.kernel_constraint,
    }
    kind = design.conv if kernel > 1 else None
    if kind == "separable":
        x = layers.DepthwiseConv2D(
            kernel,
            stride,
            padding=padding,
            use_bias=False,
            name=f"{name}_depthwise",
            **{key.replace("kernel", "depthwise", 1): value for key, value in kernels.items()},
        )(x)
        return layers.Conv2D(filters, 1, name=name, **shared, **kernels)(x)
    if kind == "factored":
        row = {**shared, "use_bias": False}
        x = layers.Conv2D(filters, (1, kernel), (1, stride), name=f"{name}_row", **row, **kernels)(x)
        return layers.Conv2D(filters, (kernel, 1), (stride, 1), name=name, **shared, **kernels)(x)
    if kind == "grouped" and filters % 2 == 0 and x.shape[-1] % 2 == 0:
        groups = 2
    return layers.Conv2D(filters, kernel, stride, groups=groups, name=name, **shared, **kernels)(x)


def scaled(filters, design):
    """The number of filters times the design's `width`, at least 1."""
    return filters if design.width in (None, 1) else max(1, round(filters * design.width))


def stem(x, filters, kernel, stride, design, name="stem", **options):
    """The first convolution: `conv` with the design's `stem_width` and `stem_stride`."""
    return conv(x, design.stem_width or filters, kernel, design.stem_stride or stride, design, name, **options)


def normalize(x, kind, name):
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


def activate(x, kind, name):
    """Activation by name; see `Design.activation`. None or "linear" leaves `x` as it is."""
    if kind in (None, "linear"):
        return x
    if kind in ("leaky", "very_leaky"):
        return layers.LeakyReLU({"leaky": 0.01, "very_leaky": 1 / 3}[kind], name=name)(x)
    if kind in ("prelu", "prelu0.1"):
        slope = keras.initializers.Constant({"prelu": 0.25, "prelu0.1": 0.1}[kind])
        return layers.PReLU(alpha_initializer=slope, shared_axes=list(range(1, len(x.shape) - 1)), name=name)(x)
    if kind == "rrelu":
        return RReLU(name=name)(x)
    if kind == "maxout":
        return Maxout(x.shape[-1] // 2, name=name)(x)
    return layers.Activation(kind, name=name)(x)


def downsample(x, design, name, size=2, stride=2, ceil=False):
    """Halves the resolution in the design's way.

    Args:
        x: images, channels last.
        design: its `transition` is max, avg, max+avg (their sum), stride (a convolution) or concat (max pooling and a
            convolution of half as many channels).
        name: of the layer.
        size: of the window.
        stride: step.
        ceil: whether max pooling rounds the size up without padding at the start, as Caffe does.
    """
    kind = design.transition or "max"

    def pooled(kind, name):
        if kind == "avg":
            return layers.AveragePooling2D(size, stride, padding="same", name=name)(x)
        if ceil and kind == design.transition:
            return CeilMaxPooling2D(size, stride, name=name)(x)
        return layers.MaxPooling2D(size, stride, padding="same", name=name)(x)

    def strided(filters, name):
        return layers.Conv2D(
            filters,
            size,
            stride,
            padding="same",
            kernel_initializer=design.conv_init or "glorot_uniform",
            kernel_regularizer=design.kernel_regularizer,
            kernel_constraint=design.kernel_constraint,
            name=name,
        )(x)

    if kind in ("max", "avg"):
        return pooled(kind, name)
    if kind == "max+avg":
        return layers.Add(name=name)([pooled("max", f"{name}_max"), pooled("avg", f"{name}_avg")])
    if kind == "stride":
        return strided(x.shape[-1], name)
    half = max(1, x.shape[-1] // 2)
    return layers.Concatenate(name=name)([pooled("max", f"{name}_max"), strided(half, f"{name}_conv")])


def join(branches, design, name):
    """Brings branches of equal shape together: by sum, mean, max or concat, as the design says."""
    kinds = {"sum": layers.Add, "mean": layers.Average, "max": layers.Maximum, "concat": layers.Concatenate}
    return kinds[design.join or "sum"](name=name)(branches)


def dense(x, units, design, name, act=True):
    """Dense layer, the head's activation, and dropout where the design asks for it."""
    pieces = 2 if act and design.head_activation == "maxout" else 1
    x = layers.Dense(
        units * pieces,
        kernel_initializer=design.dense_init or "glorot_uniform",
        kernel_regularizer=design.kernel_regularizer,
        kernel_constraint=design.kernel_constraint,
        name=name,
    )(x)
    if not act:
        return x
    x = activate(x, design.head_activation or "relu", f"{name}_act")
    return dropout(x, design, f"{name}_dropout", units)


def dropout(x, design, name, units=None):
    """Dropout at the design's rate; with `units`, only from `dropout_min_units` on."""
    threshold = design.dropout_min_units
    if not design.dropout or (units is not None and threshold is not None and units < threshold):
        return x
    return layers.Dropout(design.dropout, name=name)(x)


def preprocess(x, design, mean, std=1.0):
    """The first layers: raw 0-255 images to what the network is trained on.

    Args:
        x: images.
        design: its `preprocessing`: "paper" subtracts `mean` and divides by `std`; "standardize" is the same where
            the paper standardizes; "squeeze" maps to -1..1; "none" leaves the images as they are.
        mean: per channel, on the 0-255 scale, for RGB; images of other channels use its average.
        std: the same, or a number.
    """
    kind = design.preprocessing
    if kind == "none":
        return x
    if kind == "squeeze":
        return layers.Rescaling(1 / 127.5, -1.0, name="preprocess")(x)
    if kind == "whitening":
        raise ValueError(
            "Design: preprocessing='whitening' needs data to adapt to, which this version cannot take yet."
        )
    deviations = list(std) if isinstance(std, tuple) else [std] * len(mean)
    if x.shape[-1] != len(mean):
        mean, deviations = [sum(mean) / len(mean)], [sum(deviations) / len(deviations)]
    scale = [1 / d for d in deviations]
    offset = [-m / d for m, d in zip(mean, deviations, strict=True)]
    if len(scale) == 1:
        scale, offset = scale[0], offset[0]
    return layers.Rescaling(scale, offset, name="preprocess")(x)


def head(x, classes, design, kind="softmax", kernel=None):
    """From the last features to the logits.

    Args:
        x: images of features, channels last.
        classes: list of class names, or for regression the number of outputs.
        design: `pooling`, `head_layers`, `head_activation`, `dropout`.
        kind: "softmax" and "multilabel" (logits, then the class names), "regression", or "none" (pooled features).
        kernel: where the classifier is a convolution of this size before the pooling, as in SqueezeNet.
    """
    outputs = len(classes) if isinstance(classes, list) else classes
    if kernel is not None and kind != "none":
        x = dropout(x, design, "head_dropout")
        x = layers.Conv2D(
            outputs,
            kernel,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            kernel_regularizer=design.kernel_regularizer,
            name="head",
        )(x)
        x = activate(x, "relu" if design.activation == "maxout" else design.activation, "head_act")
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    else:
        flat = design.pooling == "flatten"
        x = layers.Flatten(name="pool")(x) if flat else layers.GlobalAveragePooling2D(name="pool")(x)
        if kind != "none":
            for number, units in enumerate(design.head_layers or (), 1):
                x = dense(x, units, design, f"head_dense{number}")
            x = dense(x, outputs, design, "head", act=False)
    return ClassNames(classes, name="class_names")(x) if kind in ("softmax", "multilabel") else x
