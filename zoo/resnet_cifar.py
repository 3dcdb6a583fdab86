"""ResNet for small images (He et al. 2015, arXiv 1512.03385, section 4.2): 6n + 2 layers in three stages.

A 3x3 stem of 16 channels, then three stages of n blocks of two 3x3 convolutions with 16, 32 and 64 channels; the
second and third stage halve the resolution in their first block.
"""

from convcraft.layers import PadShortcut

from .blocks import after_join, conv, head, join, preprocess, scaled, stem
from .design import Design
from .registry import family

# n, the number of blocks in each of the three stages: 6n + 2 layers
VARIANTS = {
    "resnet20_cifar": {"blocks": 3},
    "resnet32_cifar": {"blocks": 5},
    "resnet44_cifar": {"blocks": 7},
    "resnet56_cifar": {"blocks": 9},
    "resnet110_cifar": {"blocks": 18},
}


@family(
    VARIANTS,
    size=32,
    source="He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, arXiv 1512.03385, section 4.2",
    year=2015,
    paper=Design(
        activation="relu",
        normalization="batch",
        norm_position="before",
        join="sum",
        conv="plain",
        conv_init="he_normal",
        preprocessing="paper",
        pooling="gap",
    ),
    knobs="activation head_activation normalization norm_position join conv kernel_size conv_init dense_init "
    "kernel_regularizer kernel_constraint dropout dropout_min_units width stem_width stem_stride head_layers pooling "
    "preprocessing",
    published={
        "resnet20_cifar": "error 8.75 %",
        "resnet32_cifar": "error 7.51 %",
        "resnet44_cifar": "error 7.17 %",
        "resnet56_cifar": "error 6.97 %",
        "resnet110_cifar": "error 6.43 %",
    },
    deviations="Images are standardized by channel; the paper subtracts the mean of each pixel. shortcut='B' projects "
    "between stages, the paper's second option.",
)
def resnet_cifar(x, classes, design: Design, head_kind: str, *, blocks: int, shortcut: str = "A"):
    """Builds the body; see the module."""
    if shortcut not in ("A", "B"):
        raise ValueError(f"resnet_cifar: expected shortcut 'A' or 'B', received {shortcut!r}.")
    x = preprocess(x, design, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    x = stem(x, 16, 3, 1, design)
    for stage, filters in enumerate((16, 32, 64), 1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = residual(x, filters, stride, design, shortcut, name=f"stage{stage}_block{block}")
    return head(x, classes, design, head_kind)


def residual(x, filters: int, stride: int, design: Design, shortcut: str, name: str):
    """Two 3x3 convolutions beside a shortcut; the second activation follows the join."""
    y = conv(x, filters, 3, stride, design, name=f"{name}_conv1")
    y = conv(y, filters, 3, 1, design, name=f"{name}_conv2", act=False)
    if x.shape[-1] != y.shape[-1] or stride > 1:
        if shortcut == "B" or x.shape[-1] > y.shape[-1]:  # padding can add channels, not take them away
            x = conv(x, filters, 1, stride, design, name=f"{name}_shortcut", act=False)
        else:
            x = PadShortcut(scaled(filters, design), stride, name=f"{name}_shortcut")(x)
    x = join([x, y], design, name=f"{name}_join")
    return after_join(x, design, f"{name}_act")


ResNet20_CIFAR, ResNet32_CIFAR, ResNet44_CIFAR, ResNet56_CIFAR, ResNet110_CIFAR = resnet_cifar
