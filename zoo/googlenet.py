"""GoogLeNet (Szegedy et al. 2014, arXiv 1409.4842): 1x1, 3x3 and 5x5 kernels side by side in nine modules.

1x1 kernels before the large ones keep them cheap: 22 layers, a twelfth of AlexNet's weights. `auxiliary=True` adds the
paper's two classifiers in the middle: `fit` with one loss trains them, too, each counting .3, and `evaluate`, `predict`
and the cost know nothing of them; `zoo.without_auxiliary` takes them out for good. `googlenet` is the paper's, with
local response normalization, `googlenet_bn` the form with batch normalization. The form for small images has it, too,
and a 3x3 stem without stride and poolings, so that the modules work on 32, 16 and 8 pixels.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from keras import layers

from .blocks import conv, dense, downsample, head, normalize, preprocess, scaled, without_lrn
from .design import Design
from .parts import LRN
from .registry import family
from .side import beside, weight_of

# table 1: 1x1; 3x3 after a 1x1 "reduce"; 5x5 after another; 1x1 after a pooling. "/2": pooling.
MODULES: dict[str, Any] = {
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "pool3": "/2",
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "pool4": "/2",
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}
AUXILIARY = {"4a": "auxiliary1", "4d": "auxiliary2"}
VARIANTS: dict[str, dict] = {
    "googlenet": {"entry": (7, 2)},
    "googlenet_bn": {"entry": (7, 2), "paper": Design(normalization="batch")},
    "googlenet_cifar": {"entry": (3, 1), "paper": Design(normalization="batch"), "size": 32},
}
DROPOUT, AUXILIARY_DROPOUT = 0.4, 0.7


@family(
    VARIANTS,
    source="Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich: Going Deeper with Convolutions, "
    "arXiv 1409.4842; with batch normalization Ioffe, Szegedy 2015, arXiv 1502.03167",
    year=2014,
    sections={"inception*": "table 1, figure 2 (b)", "auxiliary*": "section 5", "*": "table 1"},
    paper=Design(
        activation="relu",
        normalization="lrn_caffe",
        norm_position="before",
        transition="max",
        conv="plain",
        dropout=DROPOUT,
        preprocessing="paper",
        pooling="gap",
    ),
    knobs="activation head_activation normalization norm_position transition conv kernel_size conv_init dense_init "
    "kernel_regularizer kernel_constraint dropout dropout_min_units width stem_width stem_stride head_layers pooling "
    "preprocessing",
    published={
        "googlenet": "top-1 68.7 %, top-5 88.9 % (Caffe)",
        "googlenet_bn": "top-1 72.05 %, top-5 90.87 % (lim0606's Caffe model)",
    },
    deviations="auxiliary=True trains with the paper's auxiliary classifiers, a number gives their weight; they need "
    "convcraft's Model, which every builder returns. Their dense layers are 4x4 convolutions, averaged where images "
    "are larger. googlenet_bn keeps GoogLeNet's modules, where the batch normalization paper also changed them. "
    "torchvision=True builds the network of that library's weights: 3x3 kernels in place of 5x5, and a last pooling of "
    "2x2. googlenet_cifar is ours.",
)
def googlenet(
    x,
    classes,
    design: Design,
    head_kind: str,
    *,
    entry: tuple[int, int],
    auxiliary: bool | float = False,
    torchvision: bool = False,
):
    """Builds the body; see the module."""
    weight = weight_of(auxiliary, "googlenet", head_kind)
    kernel, stride = entry
    x = preprocess(x, design, mean=(123.0, 117.0, 104.0), std=(58.4, 57.1, 57.4), divide=False)
    plain = without_lrn(design)  # local response normalization is in two places only
    x = conv(x, design.stem_width or 64, kernel, design.stem_stride or stride, plain, "stem")
    x = x if stride == 1 else downsample(x, design, "pool1", size=3, ceil=True)
    x = neighbours(x, design, "norm1")
    x = conv(x, 64, 1, 1, plain, "conv2_reduce")
    x = neighbours(conv(x, 192, 3, 1, plain, "conv2"), design, "norm2")
    x = x if stride == 1 else downsample(x, design, "pool2", size=3, ceil=True)
    outputs = len(classes) if isinstance(classes, list) else classes
    for name, row in MODULES.items():
        if isinstance(row, str):
            x = downsample(x, design, name, size=2 if torchvision and name == "pool4" else 3, ceil=True)
            continue
        one, three, five, pooled = row
        x = inception(x, one, three, five, pooled, plain, f"inception{name}", large=3 if torchvision else 5)
        if (side := AUXILIARY.get(name)) is not None:
            x = beside(x, weight, partial(classifier, outputs=outputs, design=plain, name=side), side)
    return head(x, classes, design, head_kind)


def neighbours(x, design: Design, name: str):
    """Local response normalization, where the design has it."""
    return normalize(x, design.normalization, name) if design.normalization in LRN else x


def inception(
    x, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int, design: Design, name: str, large: int = 5
):
    """A module: four branches of kernels of different sizes, side by side."""
    branches = [conv(x, one, 1, 1, design, f"{name}_1x1")]
    for size, (narrow, filters) in ((3, three), (5, five)):
        y = conv(x, narrow, 1, 1, design, f"{name}_{size}x{size}_reduce")
        kernel = size if size == 3 else large
        branches.append(conv(y, filters, kernel, 1, design, f"{name}_{size}x{size}"))
    y = layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    branches.append(conv(y, pooled, 1, 1, design, f"{name}_pool_1x1"))
    return layers.Concatenate(name=name)(branches)


def classifier(x, outputs: int, design: Design, name: str):
    """The auxiliary classifier: means of 5x5 tiles, 128 channels, 1024 units on 4x4 of them, dropout, the logits.

    Smaller images have smaller tiles and fewer of them.
    """
    sizes = [min(5, size) if size else 5 for size in x.shape[1:3]]
    x = layers.AveragePooling2D(sizes, 3, name=f"{name}_pool")(x)
    x = conv(x, 128, 1, 1, design, f"{name}_conv")
    if design.dropout == DROPOUT:  # another rate holds here, too
        design = replace(design, dropout=AUXILIARY_DROPOUT)
    high, wide = (min(4, size) if size else 4 for size in x.shape[1:3])
    x = dense(x, scaled(1024, design), design, f"{name}_dense", grid=(high, wide))
    x = layers.GlobalAveragePooling2D(name=f"{name}_mean")(x)
    return dense(x, outputs, design, f"{name}_logits", act=False)


GoogLeNet, GoogLeNet_BN, GoogLeNet_CIFAR = googlenet
