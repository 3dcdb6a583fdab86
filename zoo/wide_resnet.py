"""Wide ResNet (Zagoruyko & Komodakis 2016, arXiv 1605.07146): fewer layers than ResNet, several times as many channels.

A 3x3 stem of 16 channels, then three stages of n pre-activated blocks of two 3x3 convolutions, with k times 16, 32 and
64 channels: WRN-(6n + 4)-k. As accurate as far deeper nets, and faster, for there is less to wait for. Dropout, where
wanted, is between a block's convolutions.
"""

from dataclasses import replace

from .blocks import head, preprocess, stem
from .design import Design
from .registry import family
from .residual import CIFAR, basic, needs_bias, plan, preactivate, preactivated
from .resnet_cifar import KNOBS, PAPER

# WRN-depth-widen
VARIANTS = {
    "wide_resnet28_10": {"wrn": (28, 10)},
    "wide_resnet16_4": {"wrn": (16, 4)},
}


@family(
    VARIANTS,
    size=32,
    source="Zagoruyko, Komodakis: Wide Residual Networks, arXiv 1605.07146",
    year=2016,
    sections={"stem": "table 1", "stage*": "table 1", "head": "table 1"},
    paper=replace(PAPER, dropout=0.0),
    knobs=KNOBS.replace("dropout_min_units ", ""),
    published={
        "wide_resnet28_10": "error 4.00 %, 3.89 % with dropout .3",
        "wide_resnet16_4": "error 5.0 to 5.2 %",
    },
    deviations="Images are standardized by channel. depth=40, widen=4 builds the paper's WRN-40-4, and so on; the knob "
    "depth counts a stage's blocks, and the knob width scales the stem, too.",
)
def wide_resnet(
    x,
    classes,
    design: Design,
    head_kind: str,
    *,
    wrn: tuple[int, float],
    depth: int | None = None,
    widen: float | None = None,
):
    """Builds the body; see the module. `depth` and `widen` replace the variant's."""
    depth, widen = wrn[0] if depth is None else depth, wrn[1] if widen is None else widen
    blocks, rest = divmod(depth - 4, 6) if isinstance(depth, int) else (0, 0)
    if isinstance(depth, bool) or rest or blocks < 1:
        raise ValueError(f"wide_resnet: expected depth to be 6n + 4: 10, 16, 22, 28, 40, …; received {depth!r}.")
    if isinstance(widen, bool) or not isinstance(widen, int | float) or not 0 < widen < float("inf"):
        raise ValueError(f"wide_resnet: expected widen to be a positive number, received {widen!r}.")
    x = preprocess(x, design, **CIFAR)
    x = stem(x, 16, 3, 1, design, norm=False, act=False, bias=needs_bias(design))
    for block in plan((blocks,) * 3, design):
        filters = max(1, round(widen * 16 * 2 ** (block.stage - 1)))
        stride = 2 if block.first and block.stage > 1 else 1
        x = preactivated(x, basic(filters, stride, block.convs), block, design, drop=True)
    x = preactivate(x, design, "post")
    return head(x, classes, design, head_kind, drop=False)


Wide_ResNet28_10, Wide_ResNet16_4 = wide_resnet
