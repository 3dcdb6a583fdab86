"""MobileNet V2 (Sandler et al. 2018, arXiv 1801.04381): residual blocks that are narrow outside and wide inside.

A block widens six times by 1x1 kernels, convolves each channel by itself, and narrows again without an activation,
which would lose information where channels are few; the shortcut joins the narrow ends. Same numbers as
keras.applications.MobileNetV2 at any `Design(width=...)`. The form for small images leaves out the first two halvings.
"""

from dataclasses import replace

from .blocks import conv, head, preprocess
from .design import Design
from .mobile import NORM, divisible, inverted_residual
from .registry import family

# table 2: (expansion, channels, blocks, stride of the first) of each row, between a stem of 32 and a 1x1 of 1280
ROWS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
VARIANTS: dict[str, dict] = {
    "mobilenet_v2": {"entry": 2, "rows": ROWS},
    "mobilenet_v2_cifar": {"entry": 1, "rows": [ROWS[0], (6, 24, 2, 1), *ROWS[2:]], "size": 32},
}


@family(
    VARIANTS,
    source="Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks, "
    "arXiv 1801.04381",
    year=2018,
    sections={"block*": "section 3.3, table 2", "*": "table 2"},
    paper=Design(
        activation="relu6",
        normalization="batch",
        norm_position="before",
        join="sum",
        preprocessing="paper",
        pooling="gap",
    ),
    knobs="activation head_activation normalization norm_position join kernel_size conv_init dense_init "
    "kernel_regularizer kernel_constraint dropout dropout_min_units drop_path width stem_width stem_stride head_layers "
    "pooling preprocessing",
    published={"mobilenet_v2": "top-1 71.3 % (keras.applications)"},
    deviations="The last convolution keeps its 1280 channels at widths below 1, as the paper's do. "
    "mobilenet_v2_cifar is ours: the paper has no form for small images.",
)
def mobilenet_v2(x, classes, design: Design, head_kind: str, *, entry: int, rows: list[tuple[int, int, int, int]]):
    """Builds the body; see the module."""
    width, design = design.width or 1, replace(design, width=None)  # rounded here, to multiples of eight
    x = preprocess(x, design, mean=(123.7, 116.8, 103.9), std=(58.4, 57.1, 57.4), squeeze=True)
    entry = design.stem_stride or entry
    x = conv(x, divisible((design.stem_width or 32) * width), 3, entry, design, "stem", padding="keras", norm=NORM)
    number, last = 0, sum(blocks for _, _, blocks, _ in rows)
    for expansion, filters, blocks, first in rows:
        for stride in [first] + [1] * (blocks - 1):
            number += 1
            x = inverted_residual(
                x,
                expansion * x.shape[-1] if expansion > 1 else None,
                divisible(int(filters * width)),
                3,
                stride,
                design,
                f"block{number}",
                depth=number / last,
            )
    x = conv(x, divisible(1280 * max(width, 1)), 1, 1, design, "last", norm=NORM)
    return head(x, classes, design, head_kind)


MobileNet_V2, MobileNet_V2_CIFAR = mobilenet_v2
