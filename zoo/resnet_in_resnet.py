"""ResNet in ResNet (Targ, Almeida, Lyman 2016, arXiv 1603.08029): a stream with shortcuts beside one without.

Each unit has four 3x3 convolutions: from the residual stream r and the transient stream t to both of them. r carries on
by a shortcut, t can forget. What both end with is classified by 1x1 kernels, then averaged.
"""

from dataclasses import replace

from keras import layers

from convcraft.layers import ClassNames

from .blocks import conv, drop_path, dropout, head, join, pooled, preprocess, stem
from .design import Design
from .registry import family
from .residual import CIFAR, Block, needs_bias, plan, preactivate

VARIANTS: dict[str, dict] = {"resnet_in_resnet": {"units": (4, 6, 6), "widths": (48, 96, 192)}}


@family(
    VARIANTS,
    size=32,
    source="Targ, Almeida, Lyman: Resnet in Resnet: Generalizing Residual Architectures, arXiv 1603.08029",
    year=2016,
    paper=Design(
        activation="relu",
        normalization="batch",
        norm_position="before",
        join="sum",
        conv="plain",
        conv_init="he_normal",
        preprocessing="paper",
    ),
    knobs="activation normalization norm_position join conv kernel_size conv_init kernel_regularizer kernel_constraint "
    "dropout drop_path width stem_width stem_stride depth preprocessing",
    published={"resnet_in_resnet": "error 5.01 %"},
    deviations="Units, widths and the classifier are those of the public reimplementation in pytorchcv. Images are "
    "standardized by channel.",
)
def resnet_in_resnet(x, classes, design: Design, head_kind: str, *, units, widths):
    """Builds the body; see the module."""
    x = preprocess(x, design, **CIFAR)
    r = stem(x, widths[0], 3, 1, design)
    t = stem(x, widths[0], 3, 1, design, name="stem_transient")
    for block in plan(units, design):
        stride = 2 if block.first and block.stage > 1 else 1
        r, t = unit(r, t, widths[block.stage - 1], stride, block, design)
    x = layers.Concatenate(name="concat")([r, t])
    return classify(x, classes, design, head_kind)


def unit(r, t, filters: int, stride: int, block: Block, design: Design):
    """The next of both streams; the shortcut convolves where the shape changes."""
    name = block.name

    def cross(x, kernel, suffix):
        bias = needs_bias(design)
        return conv(x, filters, kernel, stride, design, f"{name}_{suffix}", act=False, norm=False, bias=bias)

    rr, rt, tr, tt = cross(r, 3, "rr"), cross(r, 3, "rt"), cross(t, 3, "tr"), cross(t, 3, "tt")
    if r.shape[-1] != rr.shape[-1] or stride > 1:
        r = cross(r, 1, "shortcut")
    rr, tr = (drop_path(y, design, f"{name}_{way}_drop", block.depth) for y, way in ((rr, "rr"), (tr, "tr")))
    r = preactivate(join([r, rr, tr], design, f"{name}_r_join"), design, f"{name}_r")
    t = preactivate(join([tt, rt], design, f"{name}_t_join"), design, f"{name}_t")
    return r, t


def classify(x, classes, design: Design, head_kind: str):
    """The classifier is normalized, too."""
    if head_kind == "none":
        return head(x, classes, design, head_kind)
    outputs = len(classes) if isinstance(classes, list) else classes
    x = dropout(x, design, "head_dropout")
    x = pooled(conv(x, outputs, 1, 1, replace(design, width=None), "head", act=False), design)
    return x if head_kind == "regression" else ClassNames(classes, name="class_names")(x)


(ResNet_In_ResNet,) = resnet_in_resnet
