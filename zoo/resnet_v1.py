"""ResNet for ImageNet as published (He et al. 2015, arXiv 1512.03385), and as in keras.applications: 50 to 152 layers.

As `resnet50`, but for the stride, which is in the first 1x1 convolution of a bottleneck; for a bias in every
convolution; and for preprocessing, which subtracts the mean colour and divides by nothing, as Caffe did.
"""

from typing import Any

from .blocks import head, preprocess, stem
from .design import Design
from .registry import family
from .residual import CAFFE, bottleneck, plan, residual, stem_pooling
from .resnet import KNOBS, PAPER, SOURCE

# blocks in each of the four stages
VARIANTS: dict[str, dict] = {
    "resnet50_v1": {"blocks": (3, 4, 6, 3)},
    "resnet101_v1": {"blocks": (3, 4, 23, 3)},
    "resnet152_v1": {"blocks": (3, 8, 36, 3)},
}


@family(
    VARIANTS,
    source=SOURCE,
    year=2015,
    sections={"*": "table 1"},
    paper=PAPER,
    knobs=KNOBS,
    published={
        "resnet50_v1": "top-1 74.9 % (Keras)",
        "resnet101_v1": "top-1 76.4 % (Keras)",
        "resnet152_v1": "top-1 76.6 % (Keras)",
    },
    deviations="Convolutions have biases, as in keras.applications, which the normalizations after them make idle. "
    "Images are RGB; the files of keras.applications are for BGR: reverse the stem's kernel. zero_gamma=True starts "
    "each block as its shortcut.",
)
def resnet_v1(x, classes, design: Design, head_kind: str, *, blocks, zero_gamma: bool = False):
    """Builds the body; see the module."""
    keras: dict[str, Any] = {"norm": {"epsilon": 1.001e-5}, "bias": True}
    x = preprocess(x, design, **CAFFE, divide=False)
    x = stem(x, 64, 7, 2, design, **keras)
    x = stem_pooling(x, design, name="pool1")
    for block in plan(blocks, design, convs=3):
        filters = 64 * 2 ** (block.stage - 1)
        stride = 2 if block.first and block.stage > 1 else 1
        x = residual(x, bottleneck(filters, stride, early=True), block, design, zero_gamma=zero_gamma, **keras)
    return head(x, classes, design, head_kind)


ResNet50_V1, ResNet101_V1, ResNet152_V1 = resnet_v1
