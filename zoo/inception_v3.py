"""Inception V3 (Szegedy et al. 2015, arXiv 1512.00567): GoogLeNet with its large kernels taken apart.

A 5x5 kernel becomes two of 3x3, a 7x7 one a row and a column; every convolution is batch-normalized, and the
resolution halves by convolutions and a pooling side by side. Same numbers as keras.applications.InceptionV3.
`auxiliary=True` adds the paper's classifier after the 17x17 modules, as in GoogLeNet.
"""

from dataclasses import replace
from typing import Any

from keras import layers

from .blocks import Tensor, conv, dense, downsample, head, preprocess, stem
from .design import Design
from .registry import family
from .side import beside, weight_of

ROW, COLUMN = (1, 7), (7, 1)
# Each branch of a module is a chain of (filters, kernel); "/2" convolutions stride. A set of kernels goes side by side.
# "average" and "max" stand for a pooling of 3x3.
MODULES: dict[str, list[list]] = {
    **{
        f"mixed{number}": [
            [(64, 1)],
            [(48, 1), (64, 5)],
            [(64, 1), (96, 3), (96, 3)],
            ["average", (pooled, 1)],
        ]
        for number, pooled in enumerate((32, 64, 64))
    },
    "mixed3": [[(384, 3, "/2")], [(64, 1), (96, 3), (96, 3, "/2")], ["/2"]],
    **{
        f"mixed{number}": [
            [(192, 1)],
            [(narrow, 1), (narrow, ROW), (192, COLUMN)],
            [(narrow, 1), (narrow, COLUMN), (narrow, ROW), (narrow, COLUMN), (192, ROW)],
            ["average", (192, 1)],
        ]
        for number, narrow in enumerate((128, 160, 160, 192), 4)
    },
    "mixed8": [
        [(192, 1), (320, 3, "/2")],
        [(192, 1), (192, ROW), (192, COLUMN), (192, 3, "/2")],
        ["/2"],
    ],
    **{
        f"mixed{number}": [
            [(320, 1)],
            [(384, 1), [(384, (1, 3)), (384, (3, 1))]],
            [(448, 1), (384, 3), [(384, (1, 3)), (384, (3, 1))]],
            ["average", (192, 1)],
        ]
        for number in (9, 10)
    },
}
NORM = {"epsilon": 1e-3, "scale": False}  # the activation's next convolution scales


@family(
    {"inception_v3": {}},
    size=299,
    source="Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: Rethinking the Inception Architecture for Computer Vision, "
    "arXiv 1512.00567",
    year=2015,
    sections={
        "mixed[0-2]*": "table 1, figure 5",
        "mixed3": "table 1, figure 10",
        "mixed[4-7]*": "table 1, figure 6",
        "mixed8": "table 1, figure 10",
        "mixed9*": "table 1, figure 7",
        "*": "table 1",
    },
    paper=Design(
        activation="relu",
        normalization="batch",
        norm_position="before",
        transition="max",
        conv="plain",
        preprocessing="paper",
        pooling="gap",
    ),
    knobs="activation head_activation normalization norm_position transition conv kernel_size conv_init dense_init "
    "kernel_regularizer kernel_constraint dropout dropout_min_units width stem_width stem_stride head_layers pooling "
    "preprocessing",
    published={"inception_v3": "top-1 77.9 % (keras.applications)"},
    deviations="As keras.applications has it: a 3x3 stem, normalization without a factor, no dropout. auxiliary=True "
    "trains with the paper's auxiliary classifier at GoogLeNet's weight of .3, a number gives another.",
)
def inception_v3(x, classes, design: Design, head_kind: str, *, auxiliary: bool | float = False):
    """Builds the body; see the module."""
    weight = weight_of(auxiliary, "inception_v3", head_kind)
    outputs = len(classes) if isinstance(classes, list) else classes
    x = preprocess(x, design, mean=(123.7, 116.8, 103.9), std=(58.4, 57.1, 57.4), squeeze=True)
    x = stem(x, 32, 3, 2, design, padding="valid", norm=NORM)
    x = conv(x, 32, 3, 1, design, "conv2", padding="valid", norm=NORM)
    x = conv(x, 64, 3, 1, design, "conv3", norm=NORM)
    x = downsample(x, design, "pool1", size=3, padding="valid")
    x = conv(x, 80, 1, 1, design, "conv4", norm=NORM)
    x = conv(x, 192, 3, 1, design, "conv5", padding="valid", norm=NORM)
    x = downsample(x, design, "pool2", size=3, padding="valid")
    for name, branches in MODULES.items():
        ends = [chain(x, steps, design, f"{name}_branch{number}") for number, steps in enumerate(branches, 1)]
        x = layers.Concatenate(name=name)(ends)
        if name == "mixed7":
            x = beside(x, weight, lambda y: classifier(y, outputs, design, "auxiliary"), "auxiliary")
    return head(x, classes, design, head_kind)


def chain(x: Tensor, steps: list[Any], design: Design, name: str) -> Tensor:
    """One branch of a module."""
    for number, step in enumerate(steps, 1):
        if step == "/2":
            x = downsample(x, design, f"{name}_pool", size=3, padding="valid")
        elif step == "average":
            x = layers.AveragePooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
        elif isinstance(step, list):  # the last convolutions, side by side
            (filters, kernel), (others, other) = step
            ends = [
                conv(x, filters, kernel, 1, design, f"{name}_conv{number}a", norm=NORM),
                conv(x, others, other, 1, design, f"{name}_conv{number}b", norm=NORM),
            ]
            x = layers.Concatenate(name=name)(ends)
        else:
            filters, kernel, *halves = step
            if halves:  # as the pooling beside it: `kernel_size` is for the others
                size = replace(design, kernel_size=None)
                x = conv(x, filters, kernel, 2, size, f"{name}_conv{number}", padding="valid", norm=NORM)
            else:
                x = conv(x, filters, kernel, 1, design, f"{name}_conv{number}", norm=NORM)
    return x


def classifier(x: Tensor, outputs: int, design: Design, name: str) -> Tensor:
    """The auxiliary classifier: means of 5x5 tiles, 128 channels, 5x5 of them to 768; fewer where images are small."""
    sizes = [min(5, size) if size else 5 for size in x.shape[1:3]]
    x = layers.AveragePooling2D(sizes, 3, name=f"{name}_pool")(x)
    x = conv(x, 128, 1, 1, design, f"{name}_conv1", norm=NORM)
    high, wide = (min(5, size) if size else 5 for size in x.shape[1:3])
    x = conv(x, 768, (high, wide), 1, design, f"{name}_conv2", padding="valid", norm=NORM)
    x = layers.GlobalAveragePooling2D(name=f"{name}_mean")(x)
    return dense(x, outputs, design, f"{name}_logits", act=False)


(Inception_V3,) = inception_v3
