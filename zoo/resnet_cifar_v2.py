"""ResNet with pre-activation for small images (He et al. 2016, arXiv 1603.05027): 6n + 2 layers in three stages.

As `resnet20_cifar`, but normalization and activation come before each convolution, and once more after the last
block: nothing stands in the way of the signal from the stem to there. As many parameters.
"""

from .blocks import head, preprocess, stem
from .design import Design
from .registry import family
from .residual import CIFAR, basic, check_shortcut, needs_bias, plan, preactivate, preactivated
from .resnet_cifar import KNOBS, PAPER

# n, the number of blocks in each of the three stages: 6n + 2 layers
VARIANTS = {
    "resnet20_cifar_v2": {"blocks": 3},
    "resnet32_cifar_v2": {"blocks": 5},
    "resnet44_cifar_v2": {"blocks": 7},
    "resnet56_cifar_v2": {"blocks": 9},
    "resnet110_cifar_v2": {"blocks": 18},
}


@family(
    VARIANTS,
    size=32,
    source="He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, arXiv 1603.05027",
    year=2016,
    sections={"stage*": "figure 4 (e)"},
    paper=PAPER,
    knobs=KNOBS,
    published={"resnet110_cifar_v2": "error 4.94 % (bearpaw's implementation)"},
    deviations="Images are standardized by channel. shortcut='B' projects between stages, by a convolution of what is "
    "normalized and activated, without normalization.",
)
def resnet_cifar_v2(x, classes, design: Design, head_kind: str, *, blocks: int, shortcut: str = "A"):
    """Builds the body; see the module."""
    check_shortcut("resnet_cifar_v2", shortcut)
    x = preprocess(x, design, **CIFAR)
    x = stem(x, 16, 3, 1, design, norm=False, act=False, bias=needs_bias(design))
    for block in plan((blocks,) * 3, design):
        filters = 16 * 2 ** (block.stage - 1)
        stride = 2 if block.first and block.stage > 1 else 1
        x = preactivated(x, basic(filters, stride, block.convs), block, design, shortcut=shortcut)
    x = preactivate(x, design, "post")
    return head(x, classes, design, head_kind)


ResNet20_CIFAR_V2, ResNet32_CIFAR_V2, ResNet44_CIFAR_V2, ResNet56_CIFAR_V2, ResNet110_CIFAR_V2 = resnet_cifar_v2
