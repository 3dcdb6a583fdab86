"""Competitive multi-scale network (Liao, Carneiro 2015, arXiv 1511.05635): kernels of several sizes compete.

Network In Network whose every layer is a module: convolutions of several kernel sizes side by side, each normalized,
of which at each place and channel the largest answer wins. It suits things that come in different sizes.

The maximum is the activation. Where another `join` takes its place, a ReLU follows, as in the inception module that
the paper starts from; the knob `activation` puts one after any of them.
"""

import dataclasses

from keras import layers

from .blocks import Tensor, after_join, conv, downsample, dropout, join, named, number_of, pooled, preprocess
from .design import Design
from .registry import family

VARIANTS: dict[str, dict] = {"competitive_cifar": {}}
# The modules of each block: (filters, kernel sizes). The last block ends in the classifier, a module, too.
BLOCKS: list[list[tuple[int, tuple[int, ...]]]] = [
    [(192, (1, 3, 5, 7)), (160, (1, 3)), (96, (1, 3))],
    [(192, (1, 3, 5, 7)), (192, (1, 3)), (192, (1, 3))],
    [(192, (1, 3, 5)), (192, (1, 3))],
]
CLASSIFIER = (1, 3)


@family(
    VARIANTS,
    size=32,
    source="Liao, Carneiro: Competitive Multi-scale Convolution, arXiv 1511.05635",
    year=2015,
    paper=Design(
        normalization="batch",
        join="max",
        transition="max",
        conv="plain",
        dropout=0.5,
        pooling="gap",
        preprocessing="paper",
    ),
    knobs="activation normalization join transition conv conv_init kernel_regularizer kernel_constraint dropout width "
    "stem_width preprocessing",
    published={"competitive_cifar": "accuracy 93.1 % (paper)"},
    deviations="We could not open the paper's table: widths and kernel sizes are those of a public implementation "
    "(IBM's AutoDP), which sums up to Network In Network in shape; its poolings do not stride, here they do, as in "
    "Network In Network. Images are standardized by channel. pool=True adds a branch of 3x3 max pooling and a 1x1 "
    "convolution to each module but the classifier, the paper's second form; where it pools, and how wide, is our "
    "reading.",
)
def competitive(x, classes, design: Design, head_kind: str, *, pool: bool = False):
    """Builds the body; see the module."""
    if not isinstance(pool, bool):
        raise ValueError(f"competitive_cifar: expected pool to be True or False, received {pool!r}.")
    x = preprocess(x, design, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    if design.activation is None and design.join != "max":
        design = dataclasses.replace(design, activation="relu")
    for block, modules in enumerate(BLOCKS, 1):
        for number, (filters, kernels) in enumerate(modules, 1):
            first = block == number == 1
            name = "stem" if first else f"block{block}_module{number}"
            x = _module(x, design.stem_width or filters if first else filters, kernels, design, name, pool)
            x = after_join(x, design, f"{name}_act")
        if block < len(BLOCKS):
            x = downsample(x, design, f"pool{block}", size=3, ceil=True)
            x = dropout(x, design, f"dropout{block}")
    if head_kind != "none":
        # one channel a class: neither the width nor a concatenation may change that
        last = dataclasses.replace(design, width=None, join="max" if design.join == "concat" else design.join)
        x = _module(x, number_of(classes), CLASSIFIER, last, "head", branch="score")
    x = pooled(x, design)
    return x if head_kind == "none" else named(x, classes, head_kind)


def _module(
    x: Tensor,
    filters: int,
    kernels: tuple[int, ...],
    design: Design,
    name: str,
    pool: bool = False,
    branch: str | None = None,
) -> Tensor:
    """Convolutions of several sizes, normalized and joined; with `pool`, of the pooled input, too."""
    branch = branch or name
    branches = [conv(x, filters, kernel, 1, design, f"{branch}_{kernel}x{kernel}", act=False) for kernel in kernels]
    if pool:
        x = layers.MaxPooling2D(3, 1, padding="same", name=f"{branch}_pool")(x)
        branches.append(conv(x, filters, 1, 1, design, f"{branch}_pooled", act=False))
    return join(branches, design, name)


(Competitive_CIFAR,) = competitive
