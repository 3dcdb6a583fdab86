"""AlexNet (Krizhevsky, Sutskever, Hinton 2012; one tower: Krizhevsky 2014, arXiv 1404.5997): five convolutions.

The paper's network was split over two GPUs, so its second, fourth and fifth convolution see half of the channels each,
and it normalizes the first two by their neighbours. The later one-tower form has neither, nor as many channels; it is
torchvision's. The form for small images (bearpaw's) keeps the large first kernel.

As in the authors' files, images are not padded for the stem of 2012, and pooling drops what is left over at the end.
"""

from math import gcd

from keras.initializers import RandomNormal
from keras.layers import ZeroPadding2D

from .blocks import conv, head, preprocess, scaled, stem, without_lrn
from .design import Design
from .registry import family

IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375), "divide": False}
# The stem is (filters, kernel, stride, padding), every row one more convolution: (filters, kernel, groups, whether a
# pooling follows). One follows the stem, too.
ONE_TOWER = [(192, 5, 1, True), (384, 3, 1, False), (256, 3, 1, False), (256, 3, 1, True)]
VARIANTS: dict[str, dict] = {
    "alexnet_2012": {
        "entry": (96, 11, 4, 0),
        "rows": [(256, 5, 2, True), (384, 3, 1, False), (384, 3, 2, False), (256, 3, 2, True)],
        "window": 3,
        "colours": IMAGENET,
        "size": 227,
        "paper": Design(normalization="lrn", norm_position="after"),
    },
    "alexnet": {"entry": (64, 11, 4, 2), "rows": ONE_TOWER, "window": 3, "colours": IMAGENET},
    "alexnet_cifar": {
        "entry": (64, 11, 4, 5),
        "rows": ONE_TOWER,
        "window": 2,
        "colours": {"mean": (125.3, 123.0, 113.9), "std": (63.0, 62.1, 66.7)},
        "size": 32,
        "paper": Design(
            conv_init="glorot_uniform", dense_init="glorot_uniform", head_layers=(), pooling="gap", dropout=0.0
        ),
    },
}


@family(
    VARIANTS,
    source="Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012; "
    "Krizhevsky: One weird trick for parallelizing convolutional neural networks, arXiv 1404.5997",
    year=2012,
    sections={"pool*": "2012: section 3.4", "*": "2012: section 3.5"},
    paper=Design(
        activation="relu",
        head_activation="relu",
        normalization="none",
        norm_position="before",
        pool_position="after",
        transition="max",
        conv="plain",
        conv_init=RandomNormal(stddev=0.01),
        dense_init=RandomNormal(stddev=0.01),
        dropout=0.5,
        head_layers=(4096, 4096),
        pooling="flatten",
        preprocessing="paper",
    ),
    knobs="activation head_activation normalization norm_position pool_position transition conv kernel_size conv_init "
    "dense_init kernel_regularizer kernel_constraint dropout dropout_min_units width stem_width stem_stride "
    "head_layers pooling preprocessing",
    published={
        "alexnet_2012": "top-1 57.1 %, top-5 80.2 % (Caffe)",
        "alexnet": "top-1 56.5 % (torchvision)",
        "alexnet_cifar": "error 22.78 % (bearpaw's pytorch-classification)",
    },
    deviations="Biases start at zero, some of the paper's at 1. The mean is subtracted by channel, the paper's by "
    "pixel. normalization='lrn_caffe' has the constants of Caffe's weights. Dropout follows the dense layers, as in "
    "the paper; torchvision's precedes them.",
)
def alexnet(x, classes, design: Design, head_kind: str, *, entry, rows, window, colours):
    """Builds the body; see the module."""

    def pool(number):
        return {"name": f"pool{number}", "size": window, "padding": "valid"}

    filters, kernel, stride, padding = entry
    x = preprocess(x, design, **colours)
    x = ZeroPadding2D(padding, name="stem_pad")(x) if padding else x
    x = stem(x, filters, kernel, stride, design, padding="valid", pool=pool(1))
    for number, (filters, kernel, groups, pooled) in enumerate(rows, 2):
        groups = gcd(groups, x.shape[-1], scaled(filters, design))  # one where the design leaves odd widths
        here = design if number == 2 else without_lrn(design)
        name = f"conv{number}"
        x = conv(x, filters, kernel, 1, here, name, groups=groups, pool=pool(number) if pooled else None)
    return head(x, classes, design, head_kind, grid=6)


AlexNet_2012, AlexNet, AlexNet_CIFAR = alexnet
