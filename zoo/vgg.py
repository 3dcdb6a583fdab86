"""VGG (Simonyan, Zisserman 2014, arXiv 1409.1556): 11 to 19 layers of 3x3 kernels only.

Five stages of convolutions, a pooling after each, 64 channels doubled up to 512; two dense layers of 4096 hold most of
the weights. The forms with batch normalization are later, and train without tricks; so does the one for small images,
whose only dense layer is the classifier.
"""

from typing import Any

from .blocks import Tensor, by_schedule, conv, head, preprocess, stem
from .design import Design
from .registry import family

BN = Design(normalization="batch")
IMAGENET: dict[str, Any] = {"mean": (123.68, 116.779, 103.939), "std": (58.395, 57.12, 57.375), "divide": False}
CIFAR = {"mean": (125.3, 123.0, 113.9), "std": (63.0, 62.1, 66.7)}
SMALL = Design(normalization="batch", head_layers=(), pooling="gap", dropout=0.0)

# convolutions in each of the five stages: configurations A, B, D and E
VARIANTS: dict[str, dict] = {
    "vgg11": {"stages": (1, 1, 2, 2, 2), "colours": IMAGENET},
    "vgg13": {"stages": (2, 2, 2, 2, 2), "colours": IMAGENET},
    "vgg16": {"stages": (2, 2, 3, 3, 3), "colours": IMAGENET},
    "vgg19": {"stages": (2, 2, 4, 4, 4), "colours": IMAGENET},
    "vgg11_bn": {"stages": (1, 1, 2, 2, 2), "colours": IMAGENET, "paper": BN},
    "vgg13_bn": {"stages": (2, 2, 2, 2, 2), "colours": IMAGENET, "paper": BN},
    "vgg16_bn": {"stages": (2, 2, 3, 3, 3), "colours": IMAGENET, "paper": BN},
    "vgg19_bn": {"stages": (2, 2, 4, 4, 4), "colours": IMAGENET, "paper": BN},
    "vgg_cifar": {"stages": (2, 2, 3, 3, 3), "colours": CIFAR, "paper": SMALL, "size": 32},
}
WIDTHS = (64, 128, 256, 512, 512)


@family(
    VARIANTS,
    source="Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv 1409.1556",
    year=2014,
    sections={
        "stem": "section 2.1, table 1",
        "stage*": "section 2.1, table 1",
        "pool*": "section 2.1",
        "head": "table 1",
    },
    paper=Design(
        activation="relu",
        head_activation="relu",
        normalization="none",
        norm_position="before",
        pool_position="after",
        transition="max",
        conv="plain",
        dropout=0.5,
        width_schedule="pyramid",
        head_layers=(4096, 4096),
        pooling="flatten",
        preprocessing="paper",
    ),
    knobs="activation head_activation normalization norm_position pool_position transition conv kernel_size conv_init "
    "dense_init kernel_regularizer kernel_constraint dropout dropout_min_units width width_schedule stem_width "
    "stem_stride depth head_layers pooling preprocessing",
    published={
        "vgg11": "top-1 69.1 % (torchvision)",
        "vgg13": "top-1 70.0 % (torchvision)",
        "vgg16": "top-1 71.6 % (torchvision), 71.3 % (Keras)",
        "vgg19": "top-1 72.4 % (torchvision), 71.3 % (Keras)",
        "vgg11_bn": "top-1 70.4 % (torchvision)",
        "vgg13_bn": "top-1 71.6 % (torchvision)",
        "vgg16_bn": "top-1 73.4 % (torchvision)",
        "vgg19_bn": "top-1 74.2 % (torchvision)",
    },
    deviations="Kernels start as Glorot's. Beside batch normalization the convolutions keep their biases, as in "
    "torchvision's models; conv_bias=False leaves out those that do nothing. vgg_cifar has the stages of vgg16.",
)
def vgg(x, classes, design: Design, head_kind: str, *, stages, colours, conv_bias: bool = True):
    """Builds the body; see the module."""
    x = preprocess(x, design, **colours)
    *_, x = convolutions(x, stages, design, conv_bias)
    return head(x, classes, design, head_kind, grid=7)


def convolutions(
    x: Tensor, stages: tuple[int, ...], design: Design, conv_bias: bool = True, padding: str = "valid"
) -> list[Tensor]:
    """The stages, without the dense layers: what comes out of each stage's pooling, whose padding is `padding`."""
    maps = []
    for stage, (count, filters) in enumerate(zip(stages, by_schedule(WIDTHS, design), strict=True), 1):
        count = design.depth or count
        for number in range(1, count + 1):
            pool = {"name": f"pool{stage}", "padding": padding} if number == count else None
            # bias None: where no normalization stands in for it
            options: dict[str, Any] = {"pool": pool, "bias": conv_bias or None}
            if stage == number == 1:
                x = stem(x, filters, 3, 1, design, **options)
            else:
                x = conv(x, filters, 3, 1, design, f"stage{stage}_conv{number}", **options)
        maps.append(x)
    return maps


VGG11, VGG13, VGG16, VGG19, VGG11_BN, VGG13_BN, VGG16_BN, VGG19_BN, VGG_CIFAR = vgg
