"""ResNet for small images (He et al. 2015, arXiv 1512.03385, section 4.2): 6n + 2 layers in three stages.

A 3x3 stem of 16 channels, then three stages of n blocks of two 3x3 convolutions with 16, 32 and 64 channels; the
second and third stage halve the resolution in their first block.
"""

from .blocks import head, preprocess, stem
from .design import Design
from .registry import family
from .residual import CIFAR, basic, check_shortcut, plan, residual

# n, the number of blocks in each of the three stages: 6n + 2 layers
VARIANTS = {
    "resnet20_cifar": {"blocks": 3},
    "resnet32_cifar": {"blocks": 5},
    "resnet44_cifar": {"blocks": 7},
    "resnet56_cifar": {"blocks": 9},
    "resnet110_cifar": {"blocks": 18},
}


KNOBS = (
    "activation head_activation normalization norm_position join conv kernel_size conv_init dense_init "
    "kernel_regularizer kernel_constraint dropout dropout_min_units drop_path width stem_width stem_stride depth "
    "skip_length head_layers pooling preprocessing"
)
PAPER = Design(
    activation="relu",
    normalization="batch",
    norm_position="before",
    join="sum",
    conv="plain",
    conv_init="he_normal",
    preprocessing="paper",
    pooling="gap",
)


@family(
    VARIANTS,
    size=32,
    source="He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, arXiv 1512.03385, section 4.2",
    year=2015,
    sections={"*": "section 4.2"},
    paper=PAPER,
    knobs=KNOBS,
    published={
        "resnet20_cifar": "error 8.75 %",
        "resnet32_cifar": "error 7.51 %",
        "resnet44_cifar": "error 7.17 %",
        "resnet56_cifar": "error 6.97 %",
        "resnet110_cifar": "error 6.43 %",
    },
    deviations="Images are standardized by channel; the paper subtracts the mean of each pixel. shortcut='B' projects "
    "between stages, the paper's second option. zero_gamma=True starts each block as its shortcut.",
)
def resnet_cifar(
    x, classes, design: Design, head_kind: str, *, blocks: int, shortcut: str = "A", zero_gamma: bool = False
):
    """Builds the body; see the module."""
    check_shortcut("resnet_cifar", shortcut)
    x = preprocess(x, design, **CIFAR)
    x = stem(x, 16, 3, 1, design)
    for block in plan((blocks,) * 3, design):
        filters = 16 * 2 ** (block.stage - 1)
        stride = 2 if block.first and block.stage > 1 else 1
        rows = basic(filters, stride, block.convs)
        x = residual(x, rows, block, design, shortcut=shortcut, zero_gamma=zero_gamma)
    return head(x, classes, design, head_kind)


ResNet20_CIFAR, ResNet32_CIFAR, ResNet44_CIFAR, ResNet56_CIFAR, ResNet110_CIFAR = resnet_cifar
