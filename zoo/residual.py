"""Residual blocks, which every ResNet is made of (He et al. 2015, arXiv 1512.03385; 2016, arXiv 1603.05027).

`plan` says which blocks there are, `residual` and `preactivated` build one. Like those of `blocks`, they read the
design, so that a family's file does not.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from keras import layers

from convcraft.layers import PadShortcut

from .blocks import Tensor, after_join, conv, downsample, drop_path, dropout, join, normalize
from .design import Design
from .parts import shifts

# of ImageNet's images, RGB, 0-255: those of torchvision, and those of Caffe, which divides by nothing
IMAGENET: dict[str, Any] = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
CAFFE: dict[str, Any] = {"mean": (123.68, 116.779, 103.939), "std": IMAGENET["std"]}
CIFAR: dict[str, Any] = {"mean": (125.3, 123.0, 113.9), "std": (63.0, 62.1, 66.7)}

Convolution = tuple[int, int, int]  # filters, kernel, stride


class Block(NamedTuple):
    """One block's place.

    Attributes:
        name: as "stage2_block1".
        stage: its number, from 1.
        convs: number of convolutions that its shortcut bridges.
        first: whether it is the first of its stage.
        last: whether it is the last of its stage.
        depth: its number among all blocks divided by how many there are: 1 for the last.
    """

    name: str
    stage: int
    convs: int
    first: bool
    last: bool
    depth: float


def plan(blocks: Sequence[int], design: Design, convs: int = 2) -> Iterator[Block]:
    """The blocks, in order.

    Args:
        blocks: number of blocks in each stage; the design's `depth` replaces it.
        design: the design. Another `skip_length` leaves the number of convolutions as it is: shortcuts are as many
            times fewer as they are longer, and the last of a stage may be shorter.
        convs: convolutions in a block.
    """
    skip, rows = design.skip_length or convs, []
    for stage, count in enumerate(blocks, 1):
        left = convs * (design.depth or count)
        rows += [(stage, done, min(skip, left - done), done + skip >= left) for done in range(0, left, skip)]
    for index, (stage, done, length, last) in enumerate(rows, 1):
        yield Block(f"stage{stage}_block{done // skip + 1}", stage, length, done == 0, last, index / len(rows))


def basic(filters: int, stride: int, convs: int = 2) -> list[Convolution]:
    """3x3 convolutions, for `residual` and `preactivated`; the first one strides."""
    return [(filters, 3, stride), *[(filters, 3, 1)] * (convs - 1)]


def bottleneck(filters: int, stride: int, early: bool = False) -> list[Convolution]:
    """1x1, 3x3, and 1x1 with four times as many channels, for `residual` and `preactivated`.

    Args:
        filters: of the first two.
        stride: of the 3x3, where it sees every pixel.
        early: whether the first 1x1 strides instead, as in the paper.
    """
    return [(filters, 1, stride if early else 1), (filters, 3, 1 if early else stride), (4 * filters, 1, 1)]


def residual(
    x: Tensor,
    convs: Sequence[Convolution],
    block: Block,
    design: Design,
    *,
    shortcut: str = "B",
    zero_gamma: bool = False,
    norm: dict[str, Any] | None = None,
    bias: bool | None = None,
) -> Tensor:
    """Convolutions beside a shortcut; the last activation follows the join.

    Args:
        x: images, channels last.
        convs: (filters, kernel, stride) of each convolution.
        block: from `plan`.
        design: the design.
        shortcut: where the shape changes: "A" subsamples and pads with zeros, "B" convolves. A cannot take channels
            away: there, too, B does.
        zero_gamma: whether the branch's last normalization starts with a scale of zero, and the block as its shortcut.
        norm: arguments for the normalizations.
        bias: of the convolutions; see `blocks.conv`.
    """
    y, name, norm = x, block.name, norm or {}
    if zero_gamma and not shifts(design.normalization):
        raise ValueError(
            f"residual: expected a normalization with a scale for zero_gamma=True, received {design.normalization!r}."
        )
    for number, (filters, kernel, stride) in enumerate(convs, 1):
        end = number == len(convs)
        options = {**norm, "gamma_initializer": "zeros"} if end and zero_gamma else norm
        own = f"{name}_conv{number}"
        y = conv(y, filters, kernel, stride, design, own, act=not end, norm=options or True, bias=bias)
    stride = prod(step for _, _, step in convs)
    if x.shape[-1] != y.shape[-1] or stride > 1:
        if shortcut == "B" or x.shape[-1] > y.shape[-1]:
            filters = convs[-1][0]
            x = conv(x, filters, 1, stride, design, f"{name}_shortcut", act=False, norm=norm or True, bias=bias)
        else:
            x = PadShortcut(y.shape[-1], stride, name=f"{name}_shortcut")(x)
    y = drop_path(y, design, f"{name}_drop", block.depth)
    return after_join(join([x, y], design, f"{name}_join"), design, f"{name}_act")


def preactivated(
    x: Tensor,
    convs: Sequence[Convolution],
    block: Block,
    design: Design,
    *,
    shortcut: str = "B",
    drop: bool = False,
    norm: dict[str, Any] | None = None,
    bias: bool | None = None,
) -> Tensor:
    """Normalization and activation come before each convolution, and nothing follows the join.

    Args:
        x: images, channels last.
        convs: (filters, kernel, stride) of each convolution.
        block: from `plan`.
        design: the design.
        shortcut: where the number of channels grows: "A" subsamples and pads with zeros, "B" convolves what is
            activated. Where it stays, both subsample; where it falls, both convolve.
        drop: whether there is dropout between the convolutions.
        norm: arguments for the normalizations.
        bias: of the branch's last convolution and the shortcut's; None: unless a normalization follows.
    """
    name, norm = block.name, norm or {}
    bias = needs_bias(design) if bias is None else bias
    y = start = preactivate(x, design, f"{name}_pre", norm)
    for number, (filters, kernel, stride) in enumerate(convs, 1):
        if drop and number > 1:
            y = dropout(y, design, f"{name}_dropout{number - 1}")
        if number < len(convs):
            y = conv(y, filters, kernel, stride, design, f"{name}_conv{number}", norm=norm or True)
        else:
            y = conv(y, filters, kernel, stride, design, f"{name}_conv{number}", act=False, norm=False, bias=bias)
    stride, before, after = prod(step for _, _, step in convs), x.shape[-1], y.shape[-1]
    if before > after or (before < after and shortcut == "B"):
        x = conv(start, convs[-1][0], 1, stride, design, f"{name}_shortcut", act=False, norm=False, bias=bias)
    elif before < after or stride > 1:
        x = PadShortcut(after, stride, name=f"{name}_shortcut")(x)
    y = drop_path(y, design, f"{name}_drop", block.depth)
    return join([x, y], design, f"{name}_join")


def needs_bias(design: Design) -> bool:
    """Whether a convolution does before `preactivate`: not where a normalization comes next, with an offset."""
    return not shifts(design.normalization) or design.norm_position == "after"


def preactivate(x: Tensor, design: Design, name: str, norm: dict[str, Any] | None = None) -> Tensor:
    """Normalization and activation in the design's order, with nothing before them."""

    def level(x):
        return normalize(x, design.normalization, f"{name}_norm", **(norm or {}))

    def bend(x):
        return after_join(x, design, f"{name}_act")

    return level(bend(x)) if design.norm_position == "after" else bend(level(x))


def stem_pooling(x: Tensor, design: Design, name: str) -> Tensor:
    """3x3 pooling of stride 2 on images padded with zeros alike on all sides, as ImageNet's ResNets have it."""
    x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return downsample(x, design, name, size=3, padding="valid")


def check_shortcut(model: str, shortcut: str) -> None:
    """Raises a ValueError for a shortcut that is neither A nor B."""
    if shortcut not in ("A", "B"):
        raise ValueError(f"{model}: expected shortcut 'A' or 'B', received {shortcut!r}.")
