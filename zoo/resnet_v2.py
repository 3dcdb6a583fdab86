"""ResNet with pre-activation for ImageNet (He et al. 2016, arXiv 1603.05027), as in keras.applications.

Normalization and activation come before each convolution, and nothing stands in the way of the signal from the stem to
the last block. As in keras.applications, the last block of a stage halves the resolution, in its 3x3 convolution, and
its shortcut takes every second pixel; the first block of a stage widens it.
"""

from .blocks import head, preprocess, stem
from .design import Design
from .registry import family
from .residual import IMAGENET, bottleneck, plan, preactivate, preactivated, stem_pooling
from .resnet import KNOBS, PAPER

# blocks in each of the four stages
VARIANTS: dict[str, dict] = {
    "resnet50_v2": {"blocks": (3, 4, 6, 3)},
    "resnet101_v2": {"blocks": (3, 4, 23, 3)},
    "resnet152_v2": {"blocks": (3, 8, 36, 3)},
}


@family(
    VARIANTS,
    source="He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks, arXiv 1603.05027",
    year=2016,
    sections={"stage*": "figure 4 (e)"},
    paper=PAPER,
    knobs=KNOBS,
    published={
        "resnet50_v2": "top-1 76.0 % (Keras)",
        "resnet101_v2": "top-1 77.2 % (Keras)",
        "resnet152_v2": "top-1 78.0 % (Keras)",
    },
    deviations="As in keras.applications: a stage halves the resolution in its last block, where the paper does in its "
    "first; the stem, each branch's last convolution and each projection have biases; images are mapped to -1..1.",
)
def resnet_v2(x, classes, design: Design, head_kind: str, *, blocks):
    """Builds the body; see the module."""
    norm = {"epsilon": 1.001e-5}
    x = preprocess(x, design, **IMAGENET, squeeze=True)
    x = stem(x, 64, 7, 2, design, norm=False, act=False)
    x = stem_pooling(x, design, name="pool1")
    for block in plan(blocks, design, convs=3):
        stride = 2 if block.last and block.stage < len(blocks) else 1
        rows = bottleneck(64 * 2 ** (block.stage - 1), stride)
        x = preactivated(x, rows, block, design, norm=norm, bias=True)
    x = preactivate(x, design, "post", norm)
    return head(x, classes, design, head_kind)


ResNet50_V2, ResNet101_V2, ResNet152_V2 = resnet_v2
