"""ResNet for ImageNet as it is trained today (He et al. 2015, arXiv 1512.03385, "v1.5"), 18 to 152 layers.

A 7x7 stem and a pooling quarter the resolution; four stages of residual blocks follow, of which the last three halve
it and double the channels. 18 and 34 layers have blocks of two 3x3 convolutions, deeper nets bottlenecks. These stride
in the 3x3 convolution, where the paper does in the 1x1 before it (`resnet50_v1`), which looks at a quarter of the
pixels only: as many parameters, more work. Parameters are those of torchvision's models.
"""

from functools import partial

from .blocks import head, preprocess, stem
from .design import Design
from .registry import family
from .residual import IMAGENET, basic, bottleneck, plan, residual, stem_pooling

# blocks in each of the four stages
BASIC: dict[str, dict] = {
    "resnet18": {"blocks": (2, 2, 2, 2), "convs": 2},
    "resnet34": {"blocks": (3, 4, 6, 3), "convs": 2},
}
BOTTLENECK: dict[str, dict] = {
    "resnet50": {"blocks": (3, 4, 6, 3), "convs": 3},
    "resnet101": {"blocks": (3, 4, 23, 3), "convs": 3},
    "resnet152": {"blocks": (3, 8, 36, 3), "convs": 3},
}
KNOBS = (
    "activation head_activation normalization norm_position transition join conv kernel_size conv_init dense_init "
    "kernel_regularizer kernel_constraint dropout dropout_min_units drop_path width stem_width stem_stride depth "
    "head_layers pooling preprocessing"
)
SOURCE = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, arXiv 1512.03385, table 1"
PAPER = Design(
    activation="relu",
    normalization="batch",
    norm_position="before",
    transition="max",
    join="sum",
    conv="plain",
    conv_init="he_normal",
    preprocessing="paper",
    pooling="gap",
)
resnets = partial(
    family,
    source=SOURCE,
    year=2015,
    sections={"*": "table 1"},
    paper=PAPER,
    published={
        "resnet18": "top-1 69.75 % (torchvision)",
        "resnet34": "top-1 73.30 % (torchvision)",
        "resnet50": "top-1 76.16 % (torchvision)",
        "resnet101": "top-1 77.40 % (torchvision)",
        "resnet152": "top-1 78.33 % (torchvision)",
    },
    deviations="Bottlenecks stride in the 3x3 convolution, the paper's in the first 1x1. Images are divided by their "
    "deviation, too, as torchvision does. zero_gamma=True starts each block as its shortcut.",
)


def resnet(x, classes, design: Design, head_kind: str, *, blocks, convs: int, zero_gamma: bool = False):
    """Builds the body; see the module."""
    x = preprocess(x, design, **IMAGENET)
    x = stem(x, 64, 7, 2, design)
    x = stem_pooling(x, design, name="pool1")
    for block in plan(blocks, design, convs):
        filters = 64 * 2 ** (block.stage - 1)
        stride = 2 if block.first and block.stage > 1 else 1
        rows = bottleneck(filters, stride) if convs == 3 else basic(filters, stride, block.convs)
        x = residual(x, rows, block, design, zero_gamma=zero_gamma)
    return head(x, classes, design, head_kind)


# a bottleneck is one unit, which a shortcut of another length would take apart
ResNet18, ResNet34 = resnets(BASIC, knobs=f"{KNOBS} skip_length")(resnet)
ResNet50, ResNet101, ResNet152 = resnets(BOTTLENECK, knobs=KNOBS)(resnet)
