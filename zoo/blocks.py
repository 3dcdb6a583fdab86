"""The few building blocks that every architecture is written in; they alone read the design.

Each takes a symbolic tensor first and returns one; `design` has a value in every field that its family declares.
A block's main layer bears the block's name, the others add a suffix: `fire2_squeeze`, `fire2_squeeze_norm`,
`fire2_squeeze_act`.
"""

from typing import Any

from keras import layers

from convcraft.layers import CeilMaxPooling2D, DropPath, GroupedConv2D, MaxNorm, SameAveragePooling2D
from convcraft.layers.keras_names import pieces

from .design import Design
from .ends import dense, head, named, number_of, pooled, preprocess
from .parts import Tensor, activate, by_schedule, dropout, kernels_of, normalize, scaled, shifts, without_lrn

# those of `ends` and `parts` among them: an architecture needs no other module
__all__ = [
    "Tensor",
    "activate",
    "after_join",
    "bottleneck",
    "by_schedule",
    "conv",
    "dense",
    "depthwise",
    "downsample",
    "drop_path",
    "dropout",
    "fire",
    "head",
    "join",
    "kernels_of",
    "named",
    "normalize",
    "number_of",
    "pooled",
    "preprocess",
    "scaled",
    "separable",
    "shifts",
    "stem",
    "without_lrn",
]


def conv(
    x: Tensor,
    filters: int,
    kernel: int | tuple[int, int],
    stride: int,
    design: Design,
    name: str,
    *,
    pool: dict[str, Any] | None = None,
    act: bool = True,
    padding: str = "same",
    groups: int = 1,
    norm: bool | dict[str, Any] = True,
    bias: bool | None = None,
    rate: float = 0.0,
) -> Tensor:
    """Convolution, normalization and activation, in the design's order.

    Args:
        x: images, channels last.
        filters: number of channels before the design's `width` is applied.
        kernel: size, or (height, width) for a stride of 1; the design's `kernel_size` replaces 3.
        stride: step. With "same" padding it pads both sides alike, as PyTorch and Caffe do, where Keras would pad
            only the end.
        design: the design.
        name: of the convolution.
        pool: None, or arguments for `downsample`: pooling inside the block, before or after the activation.
        act: whether there is an activation.
        padding: "same", "valid", or "keras": the same number of pixels as "same", where Keras puts them.
        groups: of the convolution.
        norm: whether there is a normalization; or arguments for it, as {"epsilon": 1e-3}.
        bias: whether the convolution has one; None: unless a normalization follows at once.
        rate: of dropout between the convolution and what follows, as in FractalNet.
    """
    filters = scaled(filters, design)
    kernel = design.kernel_size if kernel == 3 and design.kernel_size else kernel
    wide = filters * (pieces(design.activation) if act else 1)  # for maxout, which gives out `filters`
    if padding == "same" and stride > 1 and isinstance(kernel, int) and kernel > 1:
        x = layers.ZeroPadding2D((kernel - 1) // 2, name=f"{name}_pad")(x)
        padding = "valid"
    padding = "same" if padding == "keras" else padding
    if bias is None:  # the normalization's offset stands in for it, unless an activation comes between them
        bias = not norm or not shifts(design.normalization) or (act and design.norm_position == "after")
    x = _convolve(x, wide, kernel, stride, design, name, padding, groups, bias)

    def level(x):
        return normalize(x, design.normalization, f"{name}_norm", **(norm if isinstance(norm, dict) else {}))

    def bend(x):
        return activate(x, design.activation, f"{name}_act")

    def pooling(x):
        return downsample(x, design, **(pool or {}))

    steps = [step for step, wanted in ((level, norm), (bend, act)) if wanted]
    if design.norm_position == "after":
        steps.reverse()
    if pool is not None:
        first = act and design.pool_position == "before"
        steps.insert(steps.index(bend) if first else len(steps), pooling)
    x = layers.Dropout(rate, name=f"{name}_dropout")(x) if rate else x
    for step in steps:
        x = step(x)
    return x


def _convolve(x, filters, kernel, stride, design, name, padding, groups, bias):
    kernels = kernels_of(design, design.conv_init)
    shared = {"padding": padding, "use_bias": bias, "groups": groups}
    kind = design.conv if kernel != 1 else None
    if kind == "separable":
        x = _convolve_depthwise(x, kernel, stride, design, f"{name}_depthwise", padding, False)
        return layers.Conv2D(filters, 1, name=name, **shared, **kernels)(x)
    if kind == "factored" and isinstance(kernel, int):
        row = {**shared, "use_bias": False}  # the column's does
        x = layers.Conv2D(filters, (1, kernel), (1, stride), name=f"{name}_row", **row, **kernels)(x)
        return layers.Conv2D(filters, (kernel, 1), (stride, 1), name=name, **shared, **kernels)(x)
    if kind == "grouped" and groups == 1 and filters % 2 == 0 and x.shape[-1] % 2 == 0:
        shared["groups"] = 2
    made = GroupedConv2D if shared["groups"] > 1 else layers.Conv2D
    return made(filters, kernel, stride, name=name, **shared, **kernels)(x)


def _convolve_depthwise(x, kernel, stride, design, name, padding, bias):
    kernels = {key.replace("kernel", "depthwise", 1): v for key, v in kernels_of(design, design.conv_init).items()}
    if isinstance(design.kernel_constraint, MaxNorm):
        kernels["depthwise_constraint"] = design.kernel_constraint.depthwise()
    return layers.DepthwiseConv2D(kernel, stride, padding=padding, use_bias=bias, name=name, **kernels)(x)


def depthwise(
    x: Tensor,
    kernel: int,
    stride: int,
    design: Design,
    name: str,
    *,
    padding: str = "same",
    norm: dict[str, Any] | None = None,
) -> Tensor:
    """One kernel a channel, normalization and activation, in the design's order; no maxout, which needs more channels.

    Args:
        x: images, channels last.
        kernel: size; the design's `kernel_size` replaces 3.
        stride: step.
        design: the design.
        name: of the convolution.
        padding: with a stride above 1: "same" on both sides alike, "keras" where Keras puts it, "end" the same at
            every size: one pixel more at the end, as Keras pads an even size.
        norm: arguments for the normalization.
    """
    kernel = design.kernel_size if kernel == 3 and design.kernel_size else kernel
    if stride > 1 and kernel > 1 and padding != "keras":
        start = (kernel - 2) // 2 if padding == "end" else (kernel - 1) // 2
        pads = (start, (kernel - 1) // 2)
        x, padding = layers.ZeroPadding2D((pads, pads), name=f"{name}_pad")(x), "valid"
    else:
        padding = "same"
    kind = design.activation if pieces(design.activation) == 1 else None
    last = design.norm_position == "after" and kind is not None
    bias = last or not shifts(design.normalization)
    x = _convolve_depthwise(x, kernel, stride, design, name, padding, bias)
    if last:
        x = activate(x, kind, f"{name}_act")
    x = normalize(x, design.normalization, f"{name}_norm", **(norm or {}))
    return x if last else activate(x, kind, f"{name}_act")


def stem(
    x: Tensor, filters: int, kernel: int, stride: int, design: Design, name: str = "stem", **options: Any
) -> Tensor:
    """The first convolution: `conv` with the design's `stem_width` and `stem_stride`."""
    return conv(x, design.stem_width or filters, kernel, design.stem_stride or stride, design, name, **options)


def downsample(
    x: Tensor,
    design: Design,
    name: str,
    size: int = 2,
    stride: int = 2,
    ceil: bool = False,
    padding: str = "same",
    usual: str = "max",
) -> Tensor:
    """Halves the resolution in the design's way.

    Args:
        x: images, channels last.
        design: its `transition` is max, avg, max+avg (their sum), stride (a convolution) or concat (max pooling and a
            convolution of half as many channels).
        name: of the layer.
        size: of the window.
        stride: step.
        ceil: whether transition "max" rounds the size up without padding at the start, as Caffe does.
        padding: "same" (Keras's, where an even size is padded at the end only) or "valid".
        usual: the transition here where the design has none, for papers that have several.
    """
    kind = design.transition or usual

    def largest(name):
        return layers.MaxPooling2D(size, stride, padding=padding, name=name)(x)

    def average(name):
        if padding == "same":  # Keras's own differs on PyTorch
            return SameAveragePooling2D(size, stride, name=name)(x)
        return layers.AveragePooling2D(size, stride, padding=padding, name=name)(x)

    def strided(filters, name):
        kernels = kernels_of(design, design.conv_init)
        return layers.Conv2D(filters, size, stride, padding=padding, name=name, **kernels)(x)

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


def drop_path(x: Tensor, design: Design, name: str, depth: float = 1.0) -> Tensor:
    """Stochastic depth of a branch before its join: the design's rate times `depth`, 0 at the input, 1 at the end."""
    rate = (design.drop_path or 0.0) * depth
    return DropPath(rate, name=name)(x) if rate else x


def after_join(x: Tensor, design: Design, name: str) -> Tensor:
    """The design's activation where branches have met; for maxout a 1x1 convolution makes the pieces first."""
    if (wider := pieces(design.activation)) > 1:
        x = _convolve(x, wider * x.shape[-1], 1, 1, design, f"{name}_pieces", "same", 1, bias=True)
    return activate(x, design.activation, name)


def fire(
    x: Tensor, squeeze: int, expand: int, design: Design, name: str, *, pool: dict[str, Any] | None = None
) -> Tensor:
    """SqueezeNet's module: 1x1 kernels squeeze to few channels, 1x1 and 3x3 kernels side by side expand them.

    Args:
        x: images, channels last.
        squeeze: number of channels in between.
        expand: of each of the two kinds of kernel; twice as many come out.
        design: of all three convolutions.
        name: before `_squeeze`, `_expand1x1`, `_expand3x3` and `_concat`.
        pool: None, or arguments for `downsample`, but its name: each kind is pooled by itself, where the design has
            its `pool_position`.
    """
    x = conv(x, squeeze, 1, 1, design, name=f"{name}_squeeze")
    kinds = {f"{name}_expand1x1": 1, f"{name}_expand3x3": 3}
    wide, high = (
        conv(x, expand, kernel, 1, design, kind, pool=pool and {**pool, "name": f"{kind}_pool"})
        for kind, kernel in kinds.items()
    )
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
    x = depthwise(x, kernel, stride, design, f"{name}_depthwise")
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
